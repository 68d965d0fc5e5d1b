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
//! | GETLK, SETLK, SETLKW, FLUSH | [`lock`] |
//! | POLL | [`poll`] |
//!
//! What people are told of all that is in [`report`], and locks are broken for them in [`unlock`].
//!
//! What must wait for a lock (SETLKW, READ, WRITE, SETATTR, FALLOCATE) is parked by who received it, and done later ([`wait`], [`transfer`]).
//!
//! The rules for sticky directories (LOOKUP, READLINK, LINK, OPEN) are in `rules`.

pub mod ageing;
pub mod attr;
pub mod create;
pub mod hoard;
pub mod io;
pub mod lock;
mod looks;
pub mod lookup;
pub mod names;
pub mod open;
mod pages;
pub mod poll;
pub mod readdir;
pub mod report;
mod rules;
pub mod statfs;
pub mod transfer;
pub mod unlock;
pub mod wait;
pub mod xattr;

use std::sync::Arc;
use std::time::Duration;

use crate::content::Store;
use crate::events::Events;
use crate::lock::{Purses, Waits};
use crate::tree::{FOR_SPACE, Inode, Tree};
use crate::types::{AtimePolicy, Attr, Enforcement, Errno, FileType, Mandatory, NodeId, Rules, Settings};

use hoard::Hoard;
use looks::Looks;

/// How long the kernel may keep an entry or attributes: only this mount changes them, and what the server changes by
/// itself is invalidated by a notification.
pub const CACHE_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// One filesystem: its tree, contents and limits.
#[derive(Debug)]
pub struct Filesystem {
    tree: Tree,
    atime: AtimePolicy,
    diratime: bool,
    umask: u32,
    rules: Rules,
    mandatory: Mandatory,
    /// Who waits for whose record locks.
    waits: Waits,
    /// How many locks each user has.
    purses: Purses,
    /// The data of writes that wait.
    hoard: Arc<Hoard>,
    looks: Looks,
    events: Arc<Events>,
}

/// An inode as the kernel learns of it; a reference of the kernel's is counted for each one handed out.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The kernel's handle for it.
    pub node: NodeId,
    /// Its attributes.
    pub attr: Attr,
    /// Whether the kernel may keep the entry. Not of a FIFO: it opens those without asking, so they must be looked up each
    /// time for the rule against squatting (semantics 3.4). Nor of a marked file, which has a node for each look-up.
    pub lasting: bool,
}

impl Filesystem {
    /// A filesystem with an empty root directory. Errors: ENOSPC where the limits leave no room for that.
    pub fn new(settings: &Settings) -> Result<Filesystem, Errno> {
        Filesystem::with_store(settings, None)
    }

    /// [`Filesystem::new`] with a store for the contents of files, which the kernel then reads and writes without asking.
    pub fn with_store(settings: &Settings, store: Option<Arc<Store>>) -> Result<Filesystem, Errno> {
        Ok(Filesystem {
            tree: Tree::new(settings, store)?,
            atime: settings.atime,
            diratime: settings.diratime,
            umask: settings.umask,
            rules: settings.rules,
            mandatory: settings.mandatory,
            waits: Waits::default(),
            purses: Purses::default(),
            hoard: Arc::default(),
            looks: Looks::default(),
            events: Arc::default(),
        })
    }

    /// What the rules refused.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// An inode as the kernel learns of it by a node id of it.
    fn entry(&self, inode: &Inode, node: NodeId) -> Entry {
        Entry {
            node,
            attr: inode.attr(),
            lasting: match inode.file_type {
                FileType::Fifo => self.rules.squatting == Enforcement::Off,
                FileType::Regular => !inode.counts_as_marked(&inode.meta.lock()),
                _ => true,
            },
        }
    }

    /// Does what needs space, or descriptors. Where there is no space it is tried again while what was just unlinked and
    /// closed goes: on tmpfs that is free at once. Where there are no descriptors, once files that nobody has open are closed.
    fn with_room<T>(&self, mut attempt: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        let mut result = attempt();
        if matches!(result, Err(Errno::ENFILE)) && self.tree.cool_down() {
            result = attempt();
        }
        let is_full = |result: &Result<T, Errno>| matches!(result, Err(Errno::ENOSPC | Errno::EDQUOT));
        if is_full(&result)
            && let Some(mut patience) = self.tree.patience(FOR_SPACE)
        {
            while is_full(&result) && patience.again() {
                result = attempt();
            }
        }
        result
    }

    /// Somebody is about to write without asking us. Where that could find no room, what was just unlinked and closed is given
    /// back first: on tmpfs that is free at once.
    fn make_room(&self, uid: u32) {
        if let Some(mut patience) = self.tree.patience(FOR_SPACE) {
            while self.tree.limits.is_tight(uid) && patience.again() {}
        }
    }

    /// The number of inodes in memory, unlinked ones in use included.
    pub fn inode_count(&self) -> usize {
        self.tree.inode_count()
    }
}
