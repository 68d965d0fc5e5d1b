//! Accounting: pages of contents against `size=`, inodes and what hangs on them against `nr_inodes=` (semantics 1.5).
//!
//! As on tmpfs every inode counts [`INODE_SPACE`] bytes of one pool of `nr_inodes * INODE_SPACE`; further hard links and
//! extended attributes draw on the same pool, so that neither can be used to fill the daemon's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::store::Store;
use crate::sync::{Mutex, STORE};
use crate::types::Errno;
use crate::types::attr::PAGE_SIZE;

/// What one inode, or one further name of it, counts for, in bytes (`BOGO_INODE_SIZE` of shmem_fs.h).
pub const INODE_SPACE: u64 = 1024;

/// So few free pages (64 MiB) may be written within the milliseconds that others need to be given back.
const TIGHT: u64 = (64 << 20) / PAGE_SIZE;

/// A counter that stays below a limit.
#[derive(Debug)]
struct Pool {
    limit: Option<u64>,
    used: AtomicU64,
}

impl Pool {
    fn new(limit: Option<u64>) -> Pool {
        Pool {
            limit,
            used: AtomicU64::new(0),
        }
    }

    /// Takes `amount`, or nothing and ENOSPC. Relaxed: the counter orders nothing but itself.
    fn take(&self, amount: u64) -> Result<(), Errno> {
        let Some(limit) = self.limit else {
            self.used.fetch_add(amount, Ordering::Relaxed);
            return Ok(());
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(amount).filter(|&sum| sum <= limit)
            })
            .map(drop)
            .map_err(|_| Errno::ENOSPC)
    }

    fn give_back(&self, amount: u64) {
        let before = self.used.fetch_sub(amount, Ordering::Relaxed);
        debug_assert!(before >= amount, "more given back than was taken");
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one filesystem may use and does use.
#[derive(Debug)]
pub struct Limits {
    pages: Pool,
    inode_space: Pool,
    store: Option<Arc<Store>>,
    /// Held while the room of the store is changed.
    resizing: Mutex<STORE, ()>,
}

/// A reading of [`Limits`], for statfs(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Limit of pages; `None` where there is none.
    pub max_pages: Option<u64>,
    /// Pages in use.
    pub used_pages: u64,
    /// Limit of inodes; `None` where there is none.
    pub max_inodes: Option<u64>,
    /// Inodes in use, with what else draws on their pool, rounded up.
    pub used_inodes: u64,
}

impl Limits {
    /// Limits of `max_bytes` of contents and `max_inodes` inodes; `None` is no limit.
    pub fn new(max_bytes: Option<u64>, max_inodes: Option<u64>) -> Arc<Limits> {
        Limits::with_store(max_bytes, max_inodes, None)
    }

    /// Limits as in [`Limits::new`], with a store, made with the same limit of bytes, that keeps the contents.
    pub fn with_store(max_bytes: Option<u64>, max_inodes: Option<u64>, store: Option<Arc<Store>>) -> Arc<Limits> {
        Arc::new(Limits {
            store,
            resizing: Mutex::new(()),
            pages: Pool::new(max_bytes.map(|bytes| bytes / PAGE_SIZE)),
            inode_space: Pool::new(max_inodes.map(|inodes| inodes.saturating_mul(INODE_SPACE))),
        })
    }

    /// Where contents are kept, if not in memfds.
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
    }

    /// Whether the kernel may soon find no room in the store: then it says so without asking us first.
    pub fn is_tight(&self) -> bool {
        let usage = self.store.as_ref().and_then(|store| store.usage().ok());
        matches!(usage, Some((used, Some(free))) if free < TIGHT.min((used + free) / 4))
    }

    /// Takes pages. With a store the room it has shrinks by as much, so that both together keep to the limit. Errors: ENOSPC.
    fn take_pages(&self, pages: u64) -> Result<(), Errno> {
        let _one_at_a_time = self.store.is_some().then(|| self.resizing.lock());
        self.pages.take(pages)?;
        let resized = self.resize_store();
        if resized.is_err() {
            self.pages.give_back(pages);
        }
        resized
    }

    fn give_back_pages(&self, pages: u64) {
        if pages == 0 {
            return;
        }
        let _one_at_a_time = self.store.is_some().then(|| self.resizing.lock());
        self.pages.give_back(pages);
        // It becomes larger, which cannot fail.
        let _done = self.resize_store();
    }

    fn resize_store(&self) -> Result<(), Errno> {
        match (&self.store, self.pages.limit) {
            (Some(store), Some(limit)) => store.resize(limit.saturating_sub(self.pages.used())),
            _ => Ok(()),
        }
    }

    /// What is used and what may be.
    pub fn usage(&self) -> Usage {
        let stored = self.store.as_ref().and_then(|store| store.usage().ok());
        Usage {
            max_pages: self.pages.limit,
            used_pages: self.pages.used() + stored.map_or(0, |(used, _)| used),
            max_inodes: self.inode_space.limit.map(|bytes| bytes / INODE_SPACE),
            used_inodes: self.inode_space.used().div_ceil(INODE_SPACE),
        }
    }
}

/// Pages taken from the limits; given back when dropped.
#[derive(Debug)]
pub struct PageCharge {
    limits: Arc<Limits>,
    pages: u64,
}

impl PageCharge {
    /// A charge of no pages.
    pub fn none(limits: &Arc<Limits>) -> PageCharge {
        PageCharge {
            limits: Arc::clone(limits),
            pages: 0,
        }
    }

    /// Where contents are kept, if not in memfds.
    pub(super) fn store(&self) -> Option<&Arc<Store>> {
        self.limits.store()
    }

    /// A charge of no pages to the same limits.
    pub(super) fn another(&self) -> PageCharge {
        PageCharge::none(&self.limits)
    }

    /// The pages charged.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The limit of all charges together, in pages; `None` where there is none.
    pub(super) fn limit(&self) -> Option<u64> {
        self.limits.pages.limit
    }

    /// Charges `pages` more. Errors: ENOSPC, then nothing is charged.
    pub fn grow(&mut self, pages: u64) -> Result<(), Errno> {
        self.limits.take_pages(pages)?;
        self.pages += pages;
        Ok(())
    }

    /// Takes over pages that are charged to another one already, as many as it has. Returns what is left to be charged.
    pub(super) fn take_over(&mut self, other: &mut PageCharge, pages: u64) -> u64 {
        let taken = pages.min(other.pages);
        other.pages -= taken;
        self.pages += taken;
        pages - taken
    }

    /// Makes the charge what is really in use. That is more than was charged only where the kernel rounds up to huge
    /// pages (`transparent_hugepage/shmem_enabled`); then it counts, limit or not, because it is in use.
    pub(super) fn settle_to(&mut self, pages: u64) {
        if pages <= self.pages {
            self.limits.give_back_pages(self.pages - pages);
        } else {
            self.limits.pages.used.fetch_add(pages - self.pages, Ordering::Relaxed);
        }
        self.pages = pages;
    }
}

impl Drop for PageCharge {
    fn drop(&mut self) {
        self.settle_to(0);
    }
}

/// Inode space taken from the limits, in bytes; given back when dropped.
#[derive(Debug)]
pub struct InodeCharge {
    limits: Arc<Limits>,
    bytes: u64,
}

impl InodeCharge {
    /// The charge of one inode. Errors: ENOSPC.
    pub fn inode(limits: &Arc<Limits>) -> Result<InodeCharge, Errno> {
        let mut charge = InodeCharge {
            limits: Arc::clone(limits),
            bytes: 0,
        };
        charge.grow(INODE_SPACE)?;
        Ok(charge)
    }

    /// Takes `bytes` more. Errors: ENOSPC, then nothing is taken.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Errno> {
        self.limits.inode_space.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives back `bytes`.
    pub fn shrink(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.bytes, "more given back than was taken");
        let bytes = bytes.min(self.bytes);
        self.limits.inode_space.give_back(bytes);
        self.bytes -= bytes;
    }
}

impl Drop for InodeCharge {
    fn drop(&mut self) {
        self.limits.inode_space.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_given_back_when_dropped() {
        let limits = Limits::new(Some(3 * PAGE_SIZE), Some(2));
        let mut charge = PageCharge::none(&limits);
        charge.grow(3).unwrap();
        assert_eq!(charge.grow(1), Err(Errno::ENOSPC));
        assert_eq!(limits.usage().used_pages, 3);
        drop(charge);
        assert_eq!(limits.usage().used_pages, 0);
    }

    #[test]
    fn inodes_links_and_attributes_share_a_pool() {
        let limits = Limits::new(None, Some(2));
        let mut first = InodeCharge::inode(&limits).unwrap();
        first.grow(INODE_SPACE - 1).unwrap();
        assert_eq!(InodeCharge::inode(&limits).err(), Some(Errno::ENOSPC));
        assert_eq!(limits.usage().used_inodes, 2);
        first.shrink(INODE_SPACE - 1);
        drop(InodeCharge::inode(&limits).unwrap());
        drop(first);
        assert_eq!(limits.usage().used_inodes, 0);
    }

    #[test]
    fn amounts_at_the_edge_do_not_wrap() {
        let limits = Limits::new(Some(u64::MAX), Some(u64::MAX));
        let mut charge = PageCharge::none(&limits);
        charge.grow(1).unwrap();
        assert_eq!(charge.grow(u64::MAX), Err(Errno::ENOSPC));
    }
}
