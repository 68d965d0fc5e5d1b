//! Open file descriptions, by the number the kernel sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use dashmap::DashMap;

use super::inode::{Body, Inode, Meta};
use super::table::{SHARDS, Tree};
use crate::content::Content;
use crate::policy::handle_mode::Mode;
use crate::sync::{CONTENT, Mutex, OWNERS, RwLock};
use crate::types::{Cookie, Errno, Fh, Ino, LockOwner, OpenFlags};

/// How something was opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The flags of open(2).
    pub flags: OpenFlags,
    /// How the kernel serves it.
    pub mode: Mode,
    /// The thread that opened it; 0 where it is not known.
    pub tid: u32,
}

/// No owner: the kernel makes these numbers from addresses, and the odds of this one are nil; if it comes the owner is looked
/// at each time.
const NOBODY: u64 = 0;

/// No count of [`Inode::doubts`].
const NEVER: u32 = 0;

/// A lock owner that is known, or none.
#[derive(Debug, Default)]
pub struct KnownOwner(AtomicU64);

impl KnownOwner {
    /// Whether it is this one.
    pub fn is(&self, owner: LockOwner) -> bool {
        owner.0 != NOBODY && self.0.load(Ordering::Acquire) == owner.0
    }

    /// From now on it is this one.
    pub fn set(&self, owner: LockOwner) {
        self.0.store(owner.0, Ordering::Release);
    }

    /// It is not this one any more.
    fn forget(&self, owner: LockOwner) {
        // Where it is another one, that one stays.
        let _other = self
            .0
            .compare_exchange(owner.0, NOBODY, Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// The processes that have locked by an open file, by their lock owners, each until it closes a descriptor of the open file: till
/// then the number means that process.
#[derive(Debug, Default)]
pub struct Processes {
    /// The one that came last: most often there is no other.
    last: KnownOwner,
    all: Mutex<OWNERS, Vec<LockOwner>>,
}

impl Processes {
    /// Whether this one is among them.
    pub fn has(&self, owner: LockOwner) -> bool {
        self.last.is(owner) || self.all.lock().contains(&owner)
    }

    /// This one locks.
    pub fn add(&self, owner: LockOwner) {
        let mut all = self.all.lock();
        if !all.contains(&owner) {
            all.push(owner);
        }
        self.last.set(owner);
    }

    /// This one closes a descriptor.
    pub fn forget(&self, owner: LockOwner) {
        self.last.forget(owner);
        self.all.lock().retain(|it| *it != owner);
    }

    /// All of them.
    pub fn all(&self) -> Vec<LockOwner> {
        self.all.lock().clone()
    }
}

/// One open file description.
#[derive(Debug)]
pub struct Handle {
    /// What is open.
    pub inode: Arc<Inode>,
    /// Its number.
    pub fh: Fh,
    /// The flags it was opened with.
    pub flags: OpenFlags,
    /// How the kernel serves it.
    pub mode: Mode,
    /// The thread that opened it; 0 where it is not known.
    pub tid: u32,
    /// Who has locked by it.
    pub processes: Processes,
    /// The lock owner that stands for this open file (OFD locks and flock), once it is known.
    pub itself: KnownOwner,
    /// A descriptor of it was closed, and it has not been used since: perhaps it was the last. The count of [`Inode::doubts`] then,
    /// or none.
    perhaps_closed: AtomicU32,
    /// Of a directory: where the scan in progress ends. Entries made after it began lie beyond.
    scan_end: AtomicU64,
}

impl Handle {
    /// A descriptor of it is being closed.
    pub fn note_closing(&self) {
        let mut meta = self.inode.meta.lock();
        if !self.is_perhaps_closed() {
            let now = self.inode.doubts.load(Ordering::Relaxed);
            self.perhaps_closed.store(now, Ordering::Release);
            meta.opened.begin_closing(self.mode);
        }
    }

    /// Somebody uses it, so its last descriptor is not closed.
    pub fn note_use(&self) {
        if self.is_perhaps_closed() {
            self.end_closing(&mut self.inode.meta.lock());
        }
    }

    fn end_closing(&self, meta: &mut Meta) {
        if self.is_perhaps_closed() {
            self.perhaps_closed.store(NEVER, Ordering::Release);
            meta.opened.end_closing(self.mode);
        }
    }

    /// Whether a descriptor of it was closed, and it has not been used since, nor [assumed open](Inode::assume_open).
    pub fn is_perhaps_closed(&self) -> bool {
        let then = self.perhaps_closed.load(Ordering::Acquire);
        then != NEVER && then == self.inode.doubts.load(Ordering::Relaxed)
    }

    /// The cookie before which the scan in progress ends. Relaxed: one open file description is scanned by one reader at a
    /// time, the kernel sees to that.
    pub fn scan_end(&self) -> Cookie {
        Cookie(self.scan_end.load(Ordering::Relaxed))
    }

    /// A scan begins and will end before the cookie.
    pub fn begin_scan(&self, end: Cookie) {
        self.scan_end.store(end.0, Ordering::Relaxed);
    }
}

/// All open file descriptions of a filesystem.
#[derive(Debug)]
pub(super) struct Handles {
    pub(super) open: DashMap<Fh, Arc<Handle>>,
    last: AtomicU64,
}

impl Default for Handles {
    fn default() -> Handles {
        Handles {
            open: DashMap::with_shard_amount(SHARDS),
            last: AtomicU64::new(0),
        }
    }
}

impl Tree {
    /// Opens an inode. Of a regular file it was counted in [`Meta::opened`](super::Meta::opened) when its mode was decided.
    pub fn open(&self, inode: &Arc<Inode>, opening: Opening) -> Fh {
        inode.opens.fetch_add(1, Ordering::Relaxed);
        let fh = Fh(self.handles.last.fetch_add(1, Ordering::Relaxed) + 1);
        let Opening { flags, mode, tid } = opening;
        let handle = Handle {
            inode: Arc::clone(inode),
            fh,
            flags,
            mode,
            tid,
            processes: Processes::default(),
            itself: KnownOwner::default(),
            perhaps_closed: AtomicU32::new(NEVER),
            scan_end: AtomicU64::new(u64::MAX),
        };
        self.handles.open.insert(fh, Arc::new(handle));
        fh
    }

    /// The open file description of a number. Errors: EBADF.
    pub fn handle(&self, fh: Fh) -> Result<Arc<Handle>, Errno> {
        self.handles
            .open
            .get(&fh)
            .map(|entry| Arc::clone(&entry))
            .ok_or(Errno::EBADF)
    }

    /// Open file descriptions of an inode for which `test` holds. Looks at all there are.
    pub fn handles_of(&self, ino: Ino, test: impl Fn(&Handle) -> bool) -> Vec<Arc<Handle>> {
        let all = self.handles.open.iter();
        all.filter(|handle| handle.inode.ino == ino && test(handle))
            .map(|handle| Arc::clone(&handle))
            .collect()
    }

    /// The last descriptor of an open file description is closed: nobody finds it any more. What is to happen before the inode
    /// can go is for [`Tree::close`]. Errors: EBADF.
    pub fn take_handle(&self, fh: Fh) -> Result<Arc<Handle>, Errno> {
        let (_, handle) = self.handles.open.remove(&fh).ok_or(Errno::EBADF)?;
        Ok(handle)
    }

    /// Closes what [`Tree::take_handle`] gave.
    pub fn close(&self, handle: &Handle) {
        if let Body::Regular(content) = &handle.inode.body {
            self.close_content(handle, content);
        }
        if handle.inode.opens.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.reap(&handle.inode);
        }
    }

    fn close_content(&self, handle: &Handle, content: &RwLock<CONTENT, Content>) {
        let inode = &handle.inode;
        let worth_keeping = {
            let mut content = content.write();
            let (changes, last) = content.close(handle.flags, handle.mode);
            let nlink = {
                let mut meta = inode.meta.lock();
                meta.absorb(changes);
                handle.end_closing(&mut meta);
                meta.opened.remove(handle.mode, handle.flags);
                meta.nlink
            };
            if content.is_away() && nlink > 0 {
                // It had another owner when it was opened, or written.
                content.come_home();
                self.move_later(inode, &content);
            }
            last
        };
        if worth_keeping {
            self.keep_warm(inode);
        }
    }
}
