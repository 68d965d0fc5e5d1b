//! Reading and changing attributes. The kernel has checked that the caller may (`default_permissions`).

use super::Filesystem;
use crate::tree::{Inode, Meta};
use crate::types::attr::PERM_MASK;
use crate::types::{Attr, Errno, NodeId, Timestamp};

/// A time to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The time now.
    Now,
    /// The given time.
    At(Timestamp),
}

/// The changes of one SETATTR; `None` leaves what it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits.
    pub perm: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the contents.
    pub mtime: Option<SetTime>,
    /// The size is set through an open file: ftruncate(2), not truncate(2).
    pub through_handle: bool,
    /// Set-id bits end: somebody without CAP_FSETID truncates, or anybody changes the owner.
    pub drop_set_id: bool,
}

impl SetAttr {
    /// Whether nothing is asked for. The kernel sends that for chown(-1, -1) and when it finds that a writer's set-id bits
    /// must go: both end privileges and nothing else.
    fn is_empty(&self) -> bool {
        let SetAttr {
            perm,
            uid,
            gid,
            size,
            atime,
            mtime,
            ..
        } = self;
        perm.is_none() && uid.is_none() && gid.is_none() && size.is_none() && atime.is_none() && mtime.is_none()
    }
}

impl Filesystem {
    /// The attributes of a node.
    pub fn getattr(&self, node: NodeId) -> Result<Attr, Errno> {
        Ok(self.tree.inode(node)?.attr())
    }

    /// Changes attributes, all or none. Errors: EISDIR and EINVAL for the size of what has none, EFBIG.
    pub fn setattr(&self, node: NodeId, change: &SetAttr) -> Result<Attr, Errno> {
        let inode = self.tree.inode(node)?;
        match change.size {
            None => change_meta(&inode, &mut inode.meta.lock(), change, Timestamp::now()),
            Some(size) => {
                let mut content = inode.content()?.write();
                let resized = size != content.size();
                if resized {
                    content.set_size(size)?;
                }
                // ftruncate(2) marks the times always, truncate(2) only where the size changes: as tmpfs.
                let mut meta = inode.meta.lock();
                if resized || change.through_handle {
                    let now = Timestamp::now();
                    meta.touch_contents(now);
                    change_meta(&inode, &mut meta, change, now);
                }
            }
        }
        Ok(inode.attr())
    }
}

fn change_meta(inode: &Inode, meta: &mut Meta, change: &SetAttr, now: Timestamp) {
    meta.uid = change.uid.unwrap_or(meta.uid);
    meta.gid = change.gid.unwrap_or(meta.gid);
    if let Some(perm) = change.perm {
        meta.chmod(perm & PERM_MASK);
    }
    if (change.drop_set_id || change.is_empty()) && !inode.is_directory() {
        meta.drop_privileges(false);
    }
    let at = |time: SetTime| match time {
        SetTime::Now => now,
        SetTime::At(time) => time,
    };
    meta.atime = change.atime.map_or(meta.atime, at);
    meta.mtime = change.mtime.map_or(meta.mtime, at);
    meta.ctime = now;
}
