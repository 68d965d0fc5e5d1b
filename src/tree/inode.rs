//! One inode: what it is, its attributes, its body, and who still needs it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::entries::Entries;
use super::nodes::OtherNodes;
use super::opened::Opened;
use super::places::Places;
use super::xattrs::{Precondition, Xattrs};
use crate::content::{Changes, Content, InodeCharge, PageCharge};
use crate::lock::FileLocks;
use crate::policy::acl::Acl;
use crate::policy::handle_mode::Mode;
use crate::policy::mandatory;
use crate::policy::set_id::{self, Keeps};
use crate::policy::xattr::{ACL_ACCESS, ACL_DEFAULT, CAPABILITY};
use crate::sync::{CONTENT, DIRECTORY, META, Mutex, RwLock};
use crate::types::attr::PAGE_SIZE;
use crate::types::{Attr, Errno, FileType, Ino, Mandatory, NodeId, OpenFlags, Timestamp};

/// What an entry adds to the size of its directory, in bytes, and `.` and `..` too (`BOGO_DIRENT_SIZE` of tmpfs).
const DIRENT_SIZE: u64 = 20;

/// What becomes of the names of a file that the kernel remembers from before the file was marked: they are to expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Somebody was told of a mark, and has not begun.
    awaited: bool,
    /// How often he has begun and not ended.
    begun: u32,
}

impl Names {
    /// The file was marked. Returns whether somebody is to be told.
    pub fn note_mark(&mut self) -> bool {
        !std::mem::replace(&mut self.awaited, true)
    }

    /// Who was told begins.
    pub fn begin(&mut self) {
        self.awaited = false;
        self.begun += 1;
    }

    /// Nobody comes any more by a name of before he began.
    pub fn end(&mut self) {
        self.begun = self.begun.saturating_sub(1);
    }

    /// Whether somebody may come by a name that has not expired, or had not when he began to come.
    pub fn expire(self) -> bool {
        self.awaited || self.begun > 0
    }
}

/// The locks on one inode.
#[derive(Debug, Default)]
pub struct Locks {
    /// Record locks.
    pub records: Arc<FileLocks>,
    /// Those of flock(2).
    pub flocks: Arc<FileLocks>,
}

/// The attributes of an inode that change.
#[derive(Debug)]
pub struct Meta {
    /// Permission, set-id and sticky bits.
    pub perm: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names; of a directory 2 and one for each subdirectory. 0 once removed.
    pub nlink: u32,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Where it has names; not of a directory.
    pub places: Places,
    /// How often it has left a sticky directory of somebody else than its owner, a symlink excepted.
    pub departures: u64,
    /// Its open files, of a regular file.
    pub opened: Opened,
    /// Whether the kernel may still find it by names that it remembers from before it was marked.
    pub names: Names,
    /// Its further node ids, as long as the kernel knows them.
    pub(super) others: OtherNodes,
    /// Extended attributes, ACLs among them. Changed only by the methods below, which keep the charge.
    pub(super) xattrs: Xattrs,
    /// What the inode, its further names and its attributes count for.
    pub(super) charge: InodeCharge,
}

impl Meta {
    /// An open file comes to be, by a node id of the inode.
    pub fn begin_open(&mut self, node: NodeId, mode: Mode, flags: OpenFlags) {
        self.opened.add(mode, flags);
        if mode.is_passthrough() {
            self.others.note_passthrough(node);
        }
    }

    /// Whether the kernel may have the inode open with passthrough by this node id.
    pub fn is_passthrough(&self, inode: &Inode, node: NodeId) -> bool {
        let any = self.opened.unseen > 0 || self.opened.checked > 0;
        any && (node == NodeId(inode.ino.0) || self.others.was_passthrough(node))
    }

    /// Whether the kernel knows the inode by more than one node id, or is about to.
    pub fn has_many_nodes(&self, inode: &Inode) -> bool {
        !self.others.is_empty() || inode.counts_as_marked(self)
    }

    /// The extended attributes.
    pub fn xattrs(&self) -> &Xattrs {
        &self.xattrs
    }

    /// Sets an extended attribute. As on tmpfs there must be room for the new value beside the old one. Errors: EEXIST and
    /// ENODATA by the precondition; ENOSPC, then nothing is changed.
    pub fn set_xattr(&mut self, name: &[u8], value: &[u8], precondition: Precondition) -> Result<(), Errno> {
        self.xattrs.check(name, precondition)?;
        let (old, new) = (self.xattrs.space_of(name), Xattrs::space_for(name, value));
        self.charge.grow(new)?;
        self.xattrs.set(name, value);
        self.charge.shrink(old);
        Ok(())
    }

    /// Removes an extended attribute. Errors: ENODATA.
    pub fn remove_xattr(&mut self, name: &[u8]) -> Result<(), Errno> {
        let space = self.xattrs.space_of(name);
        self.xattrs.remove(name)?;
        self.charge.shrink(space);
        Ok(())
    }

    /// The default ACL of a directory.
    pub fn default_acl(&self) -> Option<Acl> {
        Acl::parse(self.xattrs.get(ACL_DEFAULT)?).ok()
    }

    /// Sets the permission bits, and with them the access ACL's view of them (`posix_acl_chmod`).
    pub fn chmod(&mut self, perm: u32) {
        self.perm = perm;
        let Some(acl) = self.xattrs.get(ACL_ACCESS) else {
            return;
        };
        if let Ok(mut acl) = Acl::parse(acl) {
            acl.chmod(perm);
            // Of the same length as before: nothing to charge.
            self.xattrs.set(ACL_ACCESS, &acl.to_bytes());
        }
    }

    /// Drops the privileges that end when somebody changes the file: set-id bits, but for what `keeps` says, and file
    /// capabilities always.
    pub fn drop_privileges(&mut self, keeps: Keeps) {
        self.perm = set_id::after_change(self.perm, keeps);
        if self.xattrs.get(CAPABILITY).is_some() {
            // Present, so it cannot fail.
            let _removed = self.remove_xattr(CAPABILITY);
        }
    }

    /// The kernel has changed the contents by itself, or read them. The time of the last change of anything is the later one
    /// of what it knows and what we know.
    pub fn absorb(&mut self, changes: Changes) {
        self.atime = changes.atime.unwrap_or(self.atime);
        self.mtime = changes.mtime.unwrap_or(self.mtime);
        self.ctime = changes.ctime.map_or(self.ctime, |ctime| ctime.max(self.ctime));
    }

    /// We have changed the contents now.
    pub fn note_change(&mut self, content: &mut Content, now: Timestamp) {
        if content.keeps_times() {
            self.absorb(content.look());
        } else {
            self.touch_contents(now);
        }
    }

    /// The contents, or the entries, changed now.
    pub fn touch_contents(&mut self, now: Timestamp) {
        self.mtime = now;
        self.ctime = now;
    }
}

/// What an inode consists of, by its type.
#[derive(Debug)]
pub enum Body {
    /// Bytes.
    Regular(RwLock<CONTENT, Content>),
    /// Entries.
    Directory {
        /// The directory that holds this one; itself for the root. Written only while the rename lock is held.
        parent: AtomicU64,
        /// The entries.
        entries: Box<RwLock<DIRECTORY, Entries>>,
    },
    /// A symlink.
    Symlink {
        /// The path it points to.
        target: Box<[u8]>,
        /// As on tmpfs a long path uses a page.
        charge: RwLock<CONTENT, PageCharge>,
    },
    /// A device node's number, as the FUSE protocol packs it; 0 for a FIFO or a socket.
    Special(u32),
}

/// One inode.
#[derive(Debug)]
pub struct Inode {
    /// What users see as `st_ino`.
    pub ino: Ino,
    /// Its type.
    pub file_type: FileType,
    /// When it was made.
    pub btime: Timestamp,
    /// Its attributes.
    pub meta: Mutex<META, Meta>,
    /// Its body.
    pub body: Body,
    /// The node id that look-ups hand out. Changed with the attributes locked, and of symlinks only.
    pub(super) node: AtomicU64,
    /// How many references to the node the kernel holds: one for each entry sent. Grows only while the inode has a name
    /// (under the lock of the directory that holds it), is new, or is known to the kernel already.
    pub(super) lookups: AtomicU64,
    /// How many open files there are of it. Grows only while the kernel knows the inode.
    pub(super) opens: AtomicU32,
    /// Whether it is counted among those that are about to go. Changed with the attributes locked.
    pub(super) leaving: AtomicBool,
    /// Whether the cleaner took its last name away. Set with the attributes locked, and with the contents or entries locked too.
    pub(super) aged: AtomicBool,
    /// Whose reads and writes obey record locks.
    pub(super) mandatory: Mandatory,
    /// From which time on an open file may be perhaps closed: what was so before is open after all. Changed with the attributes
    /// locked.
    pub(super) doubts: AtomicU32,
    /// How many reads of pages there were that the kernel is to drop from its cache, and has not.
    pub(super) passing: AtomicU32,
    /// The locks on it, from when somebody first needed them.
    pub(super) locks: OnceLock<Box<Locks>>,
}

/// Pages of a file that the kernel was given and is to drop from its cache. Dropped itself, when it has.
#[derive(Debug)]
pub struct Passing {
    inode: Arc<Inode>,
    /// The node that has them.
    pub node: NodeId,
    /// Where they begin.
    pub offset: u64,
    /// Their bytes.
    pub size: usize,
}

impl Passing {
    /// The kernel gets pages of the file.
    pub fn of(inode: &Arc<Inode>, node: NodeId, offset: u64, size: usize) -> Passing {
        inode.passing.fetch_add(1, Ordering::Relaxed);
        let inode = Arc::clone(inode);
        Passing {
            inode,
            node,
            offset,
            size,
        }
    }

    /// The file's owner. Preconditions: its attributes are not locked by the caller.
    pub fn owner(&self) -> u32 {
        self.inode.meta.lock().uid
    }

    /// Others of the same node go with these, and so does what lies between.
    pub fn join(&mut self, other: &Passing) {
        let end = |pages: &Passing| pages.offset.saturating_add(pages.size as u64);
        let last = end(self).max(end(other));
        self.offset = self.offset.min(other.offset);
        self.size = usize::try_from(last - self.offset).unwrap_or(0);
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.inode.passing.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inode {
    /// The kernel's handle for the inode, as it is handed out now.
    pub fn node(&self) -> NodeId {
        NodeId(self.node.load(Ordering::Relaxed))
    }

    /// Whether the record locks on it bind the reads and writes of others.
    pub fn counts_as_marked(&self, meta: &Meta) -> bool {
        self.file_type == FileType::Regular && mandatory::counts_as_marked(self.mandatory, meta.perm)
    }

    /// Whether a record lock on it can be kept (semantics 5.6).
    pub fn may_lock(&self, meta: &Meta) -> bool {
        self.file_type != FileType::Regular || mandatory::may_lock(self.mandatory, meta.perm, meta.opened.for_lock())
    }

    /// Open files that were perhaps closed are not: they were waited for.
    pub fn assume_open(&self) {
        let mut meta = self.meta.lock();
        meta.opened.closing = 0;
        let next = self.doubts.load(Ordering::Relaxed).wrapping_add(1).max(1);
        self.doubts.store(next, Ordering::Relaxed);
    }

    /// Whether it is mapped by somebody whom no lock on it can stop, and who by semantics 5.6 keeps locks from being granted. The
    /// descriptor by which he did that may be closed: the mapping is of the backing file. Preconditions: neither its content nor its
    /// attributes are locked by the caller.
    pub fn is_mapped_past_locks(&self) -> bool {
        let counts = self.mandatory == Mandatory::Marked && self.counts_as_marked(&self.meta.lock());
        counts && self.content().is_ok_and(|content| content.write().is_mapped())
    }

    /// Whether the kernel may have pages of it in its cache that it is to drop, which no lock would stop.
    pub fn are_pages_passing(&self) -> bool {
        self.passing.load(Ordering::Relaxed) > 0
    }

    /// The locks on it.
    pub fn locks(&self) -> &Locks {
        self.locks.get_or_init(Box::default)
    }

    /// The locks on it; `None` where nobody has needed any so far.
    pub fn locks_if_any(&self) -> Option<&Locks> {
        self.locks.get().map(|locks| &**locks)
    }

    /// The lock of its entries. Errors: ENOTDIR.
    pub fn entries(&self) -> Result<&RwLock<DIRECTORY, Entries>, Errno> {
        match &self.body {
            Body::Directory { entries, .. } => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The lock of its contents. Errors: EISDIR, EINVAL for what has none.
    pub fn content(&self) -> Result<&RwLock<CONTENT, Content>, Errno> {
        match &self.body {
            Body::Regular(content) => Ok(content),
            Body::Directory { .. } => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Whether the kernel knows it: nobody can use what it does not know.
    pub fn is_known(&self) -> bool {
        self.lookups.load(Ordering::Acquire) > 0
    }

    /// Whether anybody has it open.
    pub fn is_open(&self) -> bool {
        self.opens.load(Ordering::Acquire) > 0
    }

    /// To be asked with what is about to be used or changed locked, by whoever may have come by a name. Errors: ESTALE where the
    /// cleaner has just taken the last name away, and the kernel looks the path up again.
    pub fn check_not_aged(&self) -> Result<(), Errno> {
        match self.aged.load(Ordering::Relaxed) {
            true => Err(Errno::ESTALE),
            false => Ok(()),
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.file_type == FileType::Directory
    }

    /// Whether it is a symlink.
    pub fn is_symlink(&self) -> bool {
        self.file_type == FileType::Symlink
    }

    /// The directory that holds this directory; `None` for what is no directory.
    pub fn parent(&self) -> Option<Ino> {
        match &self.body {
            // Relaxed: whoever needs it exact holds the rename lock.
            Body::Directory { parent, .. } => Some(Ino(parent.load(Ordering::Relaxed))),
            _ => None,
        }
    }

    /// Its attributes now. Preconditions: neither its entries, its content nor its attributes are locked by the caller.
    pub fn attr(&self) -> Attr {
        let (size, blocks) = match &self.body {
            Body::Regular(lock) => {
                let content = lock.read();
                if !content.is_in_motion() {
                    return self.attr_of_file(&content, &self.meta.lock());
                }
                drop(content);
                return self.attr_in_motion(&mut lock.write());
            }
            Body::Directory { entries, .. } => ((entries.read().len() as u64 + 2) * DIRENT_SIZE, 0),
            Body::Symlink { target, charge } => (target.len() as u64, charge.read().pages() * (PAGE_SIZE / 512)),
            Body::Special(_) => (0, 0),
        };
        self.attr_with(&self.meta.lock(), size, blocks)
    }

    /// As [`Inode::attr`], for contents that the kernel may be changing.
    fn attr_in_motion(&self, content: &mut Content) -> Attr {
        let mut meta = self.meta.lock();
        meta.absorb(content.look());
        self.attr_of_file(content, &meta)
    }

    /// Its attributes, given its contents as they were last looked at.
    fn attr_of_file(&self, content: &Content, meta: &Meta) -> Attr {
        // The kernel keeps the attributes of each node by itself.
        let one_node = !meta.has_many_nodes(self);
        Attr {
            steady: content.is_steady() && one_node,
            ..self.attr_with(meta, content.known_size(), content.blocks())
        }
    }

    fn attr_with(&self, meta: &Meta, size: u64, blocks: u64) -> Attr {
        Attr {
            ino: self.ino,
            file_type: self.file_type,
            perm: meta.perm,
            nlink: meta.nlink,
            uid: meta.uid,
            gid: meta.gid,
            rdev: match self.body {
                Body::Special(rdev) => rdev,
                _ => 0,
            },
            size,
            blocks,
            atime: meta.atime,
            mtime: meta.mtime,
            ctime: meta.ctime,
            btime: self.btime,
            steady: true,
        }
    }
}
