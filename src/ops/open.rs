//! Opening and closing.

use std::sync::Arc;

use super::Filesystem;
use super::io::keeps_set_id;
use crate::policy::atime;
use crate::policy::handle_mode::{self, Facts, Mode};
use crate::tree::Inode;
use crate::types::{AtimePolicy, BackingId, Caller, Errno, Fh, Mandatory, NodeId, OpenFlags, Timestamp};

/// An open file as the kernel learns of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub fh: Fh,
    /// How the kernel is to serve it.
    pub mode: Mode,
    /// What the kernel reads and writes without asking (FUSE passthrough).
    pub backing: Option<BackingId>,
    /// What the kernel knows of the attributes may no longer be true without its noticing: it should ask again.
    pub doubtful: bool,
    /// The kernel may go on serving reads from the pages it has: no read is due that would have to be seen here because it
    /// moves the access time.
    pub keep_cache: bool,
}

impl Filesystem {
    /// Opens a regular file; O_TRUNC empties it in the same step. A kernel before 5.11 never asks to `drop_set_id` then, so
    /// where there are such bits the caller is looked at. Errors: EISDIR, EINVAL for what the kernel opens itself; EACCES and
    /// ESTALE by semantics 3.4.
    pub fn open(&self, caller: Caller, node: NodeId, flags: OpenFlags, drop_set_id: bool) -> Result<Opened, Errno> {
        let inode = self.tree.inode(node)?;
        self.may_open(caller, node, &inode, flags)?;
        if flags.truncates() {
            let keeps = !drop_set_id && keeps_set_id(&inode, caller);
            let mut content = inode.content()?.write();
            content.set_size(0)?;
            let mut meta = inode.meta.lock();
            meta.note_change(&mut content, Timestamp::now());
            meta.drop_privileges(keeps);
        }
        if flags.writes() {
            self.make_room(caller.uid);
        }
        let (backing, doubtful) = self.with_room(|| self.open_content(&inode, flags))?;
        let mode = self.mode_of_files();
        Ok(Opened {
            fh: self.tree.open(&inode, flags),
            mode,
            backing,
            doubtful,
            keep_cache: mode == Mode::Cached && !self.read_would_count(&inode, flags),
        })
    }

    /// How regular files are opened: all alike, as no lock is mandatory yet.
    fn mode_of_files(&self) -> Mode {
        let passthrough = self.tree.limits.has_store();
        handle_mode::decide(Facts {
            regular: true,
            marked: false,
            mandatory: Mandatory::Off,
            passthrough,
            beside_passthrough: false,
        })
    }

    /// Opens a file that was just made with contents that are open already.
    pub(super) fn open_new(&self, inode: &Arc<Inode>, flags: OpenFlags, backing: Option<BackingId>) -> Opened {
        let mode = self.mode_of_files();
        Opened {
            fh: self.tree.open(inode, flags),
            mode,
            backing,
            doubtful: false,
            keep_cache: mode == Mode::Cached,
        }
    }

    /// What the kernel is to read and write by itself. It decides by the times of that whether a read moves the access time;
    /// what has changed them here meanwhile it is told. The second result is whether attributes cease to be
    /// [steady](crate::types::Attr::steady).
    fn open_content(&self, inode: &Inode, flags: OpenFlags) -> Result<(Option<BackingId>, bool), Errno> {
        let mut content = inode.content()?.write();
        let steady_before = content.is_steady();
        let backing = content.open(flags)?;
        if backing.is_some() && flags.reads() && self.atime != AtimePolicy::NoAtime {
            let mut meta = inode.meta.lock();
            meta.absorb(content.look());
            if content.is_behind(meta.ctime) {
                content.set_times(meta.atime, meta.mtime);
            }
        }
        Ok((backing, steady_before && !content.is_steady()))
    }

    fn read_would_count(&self, inode: &Inode, flags: OpenFlags) -> bool {
        if self.atime == AtimePolicy::NoAtime || flags.no_atime() {
            return false;
        }
        let now = Timestamp::recent();
        let meta = inode.meta.lock();
        atime::read_counts(self.atime, meta.atime, meta.mtime, meta.ctime, now)
    }

    /// Opens a directory. Errors: ENOTDIR.
    pub fn opendir(&self, node: NodeId, flags: OpenFlags) -> Result<Fh, Errno> {
        let inode = self.tree.inode(node)?;
        inode.entries()?;
        Ok(self.tree.open(&inode, flags))
    }

    /// The last descriptor of an open file or directory is closed. Errors: EBADF.
    pub fn release(&self, fh: Fh) -> Result<(), Errno> {
        self.tree.close(fh)
    }
}
