//! What a request means: typed arguments in, a typed result or an errno out. Gathers facts, asks `policy`, changes `tree`
//! and `content`. Knows nothing of how requests travel.
//!
//! | requests of the kernel | function |
//! |---|---|
//! | LOOKUP, FORGET, BATCH_FORGET, READLINK | [`lookup`] |
//! | GETATTR, STATX, SETATTR | [`attr`] |
//! | CREATE, TMPFILE, MKNOD, MKDIR, SYMLINK | [`create`] |
//! | UNLINK, RMDIR, LINK, RENAME, RENAME2 | [`names`] |
//! | OPEN, OPENDIR, RELEASE, RELEASEDIR | [`open`] |
//! | READ, WRITE, FALLOCATE, LSEEK, COPY_FILE_RANGE | [`io`] |
//! | READDIR, READDIRPLUS | [`readdir`] |
//! | SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR | [`xattr`] |
//! | STATFS | [`statfs`] |

pub mod attr;
pub mod create;
pub mod io;
pub mod lookup;
pub mod names;
pub mod open;
pub mod readdir;
pub mod statfs;
pub mod xattr;

use std::time::Duration;

use crate::tree::{FOR_SPACE, Inode, Tree};
use crate::types::{AtimePolicy, Attr, Errno, NodeId, Settings};

/// How long the kernel may keep an entry or attributes: only this mount changes them, and what the server changes by
/// itself is invalidated by a notification.
pub const CACHE_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// One filesystem: its tree, contents and limits.
#[derive(Debug)]
pub struct Filesystem {
    tree: Tree,
    atime: AtimePolicy,
    diratime: bool,
}

/// An inode as the kernel learns of it; a reference of the kernel's is counted for each one handed out.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The kernel's handle for it.
    pub node: NodeId,
    /// Its attributes.
    pub attr: Attr,
}

impl Entry {
    fn of(inode: &Inode) -> Entry {
        Entry {
            node: inode.node(),
            attr: inode.attr(),
        }
    }
}

impl Filesystem {
    /// A filesystem with an empty root directory. Errors: ENOSPC where the limits leave no room for that.
    pub fn new(settings: &Settings) -> Result<Filesystem, Errno> {
        Ok(Filesystem {
            tree: Tree::new(settings)?,
            atime: settings.atime,
            diratime: settings.diratime,
        })
    }

    /// Does what needs space. Where there is none it is tried again while what was just unlinked and closed goes: on tmpfs
    /// that is free at once.
    fn with_room<T>(&self, mut attempt: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        let mut result = attempt();
        if matches!(result, Err(Errno::ENOSPC))
            && let Some(mut patience) = self.tree.patience(FOR_SPACE)
        {
            while matches!(result, Err(Errno::ENOSPC)) && patience.again() {
                result = attempt();
            }
        }
        result
    }

    /// The number of inodes in memory, unlinked ones in use included.
    pub fn inode_count(&self) -> usize {
        self.tree.inode_count()
    }
}
