//! Making inodes.

use std::sync::Arc;

use super::open::{Opened, Served};
use super::{Entry, Filesystem};
use crate::policy::birth::{self, Parent, Wish};
use crate::policy::xattr::{ACL_ACCESS, ACL_DEFAULT};
use crate::sys::proc::{self, Capability};
use crate::tree::{Inode, Meta, Seed};
use crate::types::attr::{S_ISGID, S_IXGRP};
use crate::types::{Caller, Errno, FileType, Name, NodeId, OpenFlags};

/// The longest path a symlink can hold, in bytes (`PATH_MAX` without its NUL).
const TARGET_MAX: usize = 4095;

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewNode<'a> {
    /// Its type.
    pub file_type: FileType,
    /// The permission bits asked for.
    pub perm: u32,
    /// The caller's umask; a default ACL of the directory goes before it.
    pub umask: u32,
    /// Device number of a device node, as the FUSE protocol packs it.
    pub rdev: u32,
    /// What a symlink points to.
    pub target: &'a [u8],
}

impl NewNode<'_> {
    /// A regular file.
    pub fn regular(perm: u32, umask: u32) -> NewNode<'static> {
        NewNode {
            file_type: FileType::Regular,
            perm,
            umask,
            rdev: 0,
            target: b"",
        }
    }
}

impl Filesystem {
    /// Makes an inode under a name that does not exist yet. Errors: EEXIST, ENOSPC, ENAMETOOLONG, ENOENT in a removed
    /// directory.
    pub fn make(&self, caller: Caller, parent: NodeId, name: &[u8], new: NewNode<'_>) -> Result<Entry, Errno> {
        let (inode, ()) = self.make_inode(caller, parent, name, new, |_| Ok(()))?;
        Ok(self.new_entry(&inode))
    }

    fn make_inode<T>(
        &self,
        caller: Caller,
        parent: NodeId,
        name: &[u8],
        new: NewNode<'_>,
        prepare: impl Fn(&Inode) -> Result<T, Errno>,
    ) -> Result<(Arc<Inode>, T), Errno> {
        if new.target.len() > TARGET_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if new.file_type == FileType::Symlink && new.target.is_empty() {
            return Err(Errno::ENOENT);
        }
        let directory = self.tree.inode(parent)?;
        let name = Name::new(name)?;
        let new = self.masked(new);
        let set_gid = may_set_gid(caller, new, &directory);
        self.with_room(|| {
            self.tree
                .create(&directory, name, |parent| seed(caller, new, parent, set_gid), &prepare)
        })
    }

    /// Makes a regular file and opens it.
    ///
    /// The kernel asks for this only where it knows that the name is free, and then nobody can take it meanwhile. Should it
    /// be wrong, EEXIST is right with O_EXCL; without, ESTALE makes it look again and check the permissions of what is
    /// there, which nobody has checked so far. Errors: as [`Filesystem::make`].
    pub fn create(
        &self,
        caller: Caller,
        parent: NodeId,
        name: &[u8],
        new: NewNode<'_>,
        flags: OpenFlags,
    ) -> Result<(Entry, Opened), Errno> {
        self.make_room(caller.uid);
        let (inode, served) = self
            .make_inode(caller, parent, name, new, |inode| self.serve_new(inode, flags))
            .map_err(|error| match error {
                Errno::EEXIST if !flags.exclusive() => Errno::ESTALE,
                error => error,
            })?;
        Ok((self.new_entry(&inode), self.open_new(caller, &inode, flags, served)))
    }

    fn serve_new(&self, inode: &Inode, flags: OpenFlags) -> Result<Served, Errno> {
        self.serve(inode, NodeId(inode.ino.0), flags, &mut inode.content()?.write())
    }

    /// A new inode as the kernel learns of it: by the node id it is made with, though another thread may have moved it since.
    fn new_entry(&self, inode: &Inode) -> Entry {
        self.entry(inode, NodeId(inode.ino.0))
    }

    /// The caller's wish, with the umask of the mount added to his own.
    fn masked<'a>(&self, new: NewNode<'a>) -> NewNode<'a> {
        NewNode {
            umask: new.umask | self.umask,
            ..new
        }
    }

    /// Makes a regular file without a name and opens it (O_TMPFILE). Errors: ENOSPC.
    pub fn tmpfile(
        &self,
        caller: Caller,
        parent: NodeId,
        new: NewNode<'_>,
        flags: OpenFlags,
    ) -> Result<(Entry, Opened), Errno> {
        let directory = self.tree.inode(parent)?;
        let new = self.masked(new);
        let set_gid = may_set_gid(caller, new, &directory);
        self.make_room(caller.uid);
        let (inode, served) = self.with_room(|| {
            let decide = |parent: &Meta| seed(caller, new, parent, set_gid);
            self.tree
                .create_nameless(&directory, decide, |inode| self.serve_new(inode, flags))
        })?;
        Ok((self.new_entry(&inode), self.open_new(caller, &inode, flags, served)))
    }
}

/// The directory's group, where the caller may make set-group-id programs of it. Looked up before anything is locked, and
/// only where such a program is to be made.
fn may_set_gid(caller: Caller, new: NewNode<'_>, directory: &Inode) -> Option<u32> {
    if new.perm & S_ISGID == 0 || new.perm & S_IXGRP == 0 {
        return None;
    }
    let gid = directory.meta.lock().gid;
    (proc::in_group(caller, gid) || proc::has_capability(caller, Capability::Fsetid)).then_some(gid)
}

/// What the new inode is made from, given the attributes of its directory and the group of which the caller may make
/// set-group-id programs.
pub(super) fn seed(caller: Caller, new: NewNode<'_>, parent: &Meta, set_gid: Option<u32>) -> Result<Seed, Errno> {
    let default_acl = parent.default_acl();
    let wish = Wish {
        file_type: new.file_type,
        perm: new.perm,
        umask: new.umask,
        uid: caller.uid,
        gid: caller.gid,
    };
    let directory = Parent {
        perm: parent.perm,
        gid: parent.gid,
        default_acl: default_acl.as_ref(),
    };
    let born = birth::decide(wish, directory, |gid| set_gid == Some(gid))?;
    let mut xattrs = Vec::new();
    if let Some(acl) = &born.access {
        xattrs.push((ACL_ACCESS, acl.to_bytes()));
    }
    if let Some(acl) = &born.default {
        xattrs.push((ACL_DEFAULT, acl.to_bytes()));
    }
    Ok(Seed {
        file_type: new.file_type,
        perm: born.perm,
        uid: born.uid,
        gid: born.gid,
        rdev: new.rdev,
        target: new.target.into(),
        xattrs,
    })
}
