//! Accounting: pages of contents against `size=`, inodes and what hangs on them against `nr_inodes=` (semantics 1.5).
//!
//! As on tmpfs every inode counts [`INODE_SPACE`] bytes of one pool of `nr_inodes * INODE_SPACE`; further hard links and
//! extended attributes draw on the same pool, so that neither can be used to fill the daemon's memory. Of one user's files the
//! same is counted against `user_size=` and `user_inodes=` (users.rs).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::store::Store;
use super::stores::Stores;
use super::users::{Account, PerUser, Users, give_back, take};
use crate::sync::{Mutex, STORE};
use crate::types::attr::PAGE_SIZE;
use crate::types::{Errno, Settings};

/// What one inode, or one further name of it, counts for, in bytes (`BOGO_INODE_SIZE` of shmem_fs.h).
pub const INODE_SPACE: u64 = 1024;

/// So few free pages (64 MiB) may be written within the milliseconds that others need to be given back.
const TIGHT: u64 = (64 << 20) / PAGE_SIZE;

/// A counter that stays below a limit.
#[derive(Debug)]
pub(super) struct Pool {
    limit: Option<u64>,
    used: AtomicU64,
}

impl Pool {
    pub(super) fn new(limit: Option<u64>) -> Pool {
        Pool {
            limit,
            used: AtomicU64::new(0),
        }
    }

    /// Takes `amount`, or nothing where that is too much. Relaxed: the counter orders nothing but itself.
    pub(super) fn take(&self, amount: u64) -> Result<(), ()> {
        let Some(limit) = self.limit else {
            self.take_anyway(amount);
            return Ok(());
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(amount).filter(|&sum| sum <= limit)
            })
            .map(drop)
            .map_err(drop)
    }

    /// Takes `amount`, limit or not.
    pub(super) fn take_anyway(&self, amount: u64) {
        self.used.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, amount: u64) {
        let before = self.used.fetch_sub(amount, Ordering::Relaxed);
        debug_assert!(before >= amount, "more given back than was taken");
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Where contents are kept.
#[derive(Debug)]
enum Keeping {
    /// In our own memory, and memfds.
    Memory,
    /// In a store for all. The lock is held while its room is changed.
    Store(Arc<Store>, Mutex<STORE, ()>),
    /// In a store for each user.
    Stores(Arc<Stores>),
}

/// What is used of all that may be.
#[derive(Debug)]
pub(super) struct Pools {
    pages: Pool,
    pub(super) inode_space: Pool,
    keeping: Keeping,
    pub(super) users: Users,
}

impl Pools {
    /// Takes pages. With a store the room it has shrinks by as much, so that both together keep to the limit. Errors: ENOSPC;
    /// EDQUOT where there is a store for each user.
    pub(super) fn take_pages(&self, uid: u32, pages: u64) -> Result<(), Errno> {
        match &self.keeping {
            Keeping::Memory => self.pages.take(pages).map_err(|()| Errno::ENOSPC),
            Keeping::Store(store, resizing) => {
                let _one_at_a_time = resizing.lock();
                self.pages.take(pages).map_err(|()| Errno::ENOSPC)?;
                self.resize(store).inspect_err(|_| self.pages.give_back(pages))
            }
            Keeping::Stores(stores) => stores.charge(uid, pages),
        }
    }

    pub(super) fn give_back_pages(&self, uid: u32, pages: u64) {
        if pages == 0 {
            return;
        }
        match &self.keeping {
            Keeping::Memory => self.pages.give_back(pages),
            Keeping::Store(store, resizing) => {
                let _one_at_a_time = resizing.lock();
                self.pages.give_back(pages);
                // It becomes larger, which cannot fail.
                let _done = self.resize(store);
            }
            Keeping::Stores(stores) => stores.give_back(uid, pages),
        }
    }

    fn resize(&self, store: &Store) -> Result<(), Errno> {
        match self.pages.limit {
            Some(limit) => store.resize(limit.saturating_sub(self.pages.used())),
            None => Ok(()),
        }
    }

    fn used_pages(&self) -> u64 {
        match &self.keeping {
            Keeping::Memory => self.pages.used(),
            Keeping::Store(store, _) => self.pages.used() + store.usage().map_or(0, |(used, _)| used),
            Keeping::Stores(stores) => stores.used(),
        }
    }
}

/// What one filesystem may use and does use.
#[derive(Debug)]
pub struct Limits {
    pools: Arc<Pools>,
    /// Whom no limit of his own holds.
    everyone: Arc<Account>,
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

impl Usage {
    fn is_tight(&self) -> bool {
        self.max_pages
            .is_some_and(|most| most.saturating_sub(self.used_pages) < TIGHT.min(most / 4))
    }
}

impl Limits {
    /// Limits of `max_bytes` of contents and `max_inodes` inodes; `None` is no limit.
    pub fn new(max_bytes: Option<u64>, max_inodes: Option<u64>) -> Arc<Limits> {
        Limits::with(max_bytes, max_inodes, PerUser::default(), Keeping::Memory)
    }

    /// The limits that the settings speak of, with a store, made with the same limit of bytes, that keeps the contents.
    /// Errors: where there must be a store for each user and that cannot be.
    pub fn of(settings: &Settings, store: Option<Arc<Store>>) -> Result<Arc<Limits>, Errno> {
        let per_user = PerUser {
            pages: settings.user_bytes.map(|bytes| bytes / PAGE_SIZE),
            inode_space: settings.user_inodes.map(|inodes| inodes.saturating_mul(INODE_SPACE)),
        };
        let keeping = match (store, per_user.pages) {
            (None, _) => Keeping::Memory,
            (Some(store), None) => Keeping::Store(store, Mutex::new(())),
            (Some(store), Some(pages)) => {
                let all = settings.max_bytes.map(|bytes| bytes / PAGE_SIZE);
                Keeping::Stores(Stores::new(&store, all, pages)?)
            }
        };
        Ok(Limits::with(settings.max_bytes, settings.max_inodes, per_user, keeping))
    }

    fn with(max_bytes: Option<u64>, max_inodes: Option<u64>, per_user: PerUser, keeping: Keeping) -> Arc<Limits> {
        let pools = Arc::new(Pools {
            pages: Pool::new(max_bytes.map(|bytes| bytes / PAGE_SIZE)),
            inode_space: Pool::new(max_inodes.map(|inodes| inodes.saturating_mul(INODE_SPACE))),
            keeping,
            users: Users::new(per_user),
        });
        let everyone = Account::unlimited(&pools);
        Arc::new(Limits { pools, everyone })
    }

    /// Whether contents are where the kernel reads and writes them by itself.
    pub fn has_store(&self) -> bool {
        !matches!(self.pools.keeping, Keeping::Memory)
    }

    /// Whether the kernel may soon find no room for what `uid` writes: then it says so without asking us first.
    pub fn is_tight(&self, uid: u32) -> bool {
        let readings = [Some(self.usage()), self.usage_of(uid)];
        self.has_store() && readings.iter().flatten().any(Usage::is_tight)
    }

    /// Whom the files of `uid` are charged to.
    pub fn account(&self, uid: u32) -> Arc<Account> {
        match self.pools.users.holds(uid) {
            false => Arc::clone(&self.everyone),
            true => {
                let stored = matches!(self.pools.keeping, Keeping::Stores(_));
                self.pools.users.account(&self.pools, uid, stored)
            }
        }
    }

    /// How many users have an account of their own.
    pub fn user_count(&self) -> usize {
        self.pools.users.count()
    }

    /// What is used and what may be.
    pub fn usage(&self) -> Usage {
        Usage {
            max_pages: self.pools.pages.limit,
            used_pages: self.pools.used_pages(),
            max_inodes: self.pools.inode_space.limit.map(|bytes| bytes / INODE_SPACE),
            used_inodes: self.pools.inode_space.used().div_ceil(INODE_SPACE),
        }
    }

    /// What `uid` uses and may use by the limits for users; `None` where none holds him.
    pub fn usage_of(&self, uid: u32) -> Option<Usage> {
        if !self.pools.users.holds(uid) {
            return None;
        }
        let limits = self.pools.users.limits_of(uid);
        let account = self.pools.users.find(uid);
        let used = |pool: Option<&Pool>| pool.map_or(0, Pool::used);
        let used_pages = match &self.pools.keeping {
            Keeping::Stores(stores) => stores.used_by(uid),
            _ => used(account.as_ref().and_then(|it| it.pages.as_ref())),
        };
        let inode_space = used(account.as_ref().and_then(|it| it.inode_space.as_ref()));
        Some(Usage {
            max_pages: limits.pages,
            used_pages,
            max_inodes: limits.inode_space.map(|bytes| bytes / INODE_SPACE),
            used_inodes: inode_space.div_ceil(INODE_SPACE),
        })
    }
}

/// Pages taken from the limits; given back when dropped.
#[derive(Debug)]
pub struct PageCharge {
    account: Arc<Account>,
    pages: u64,
}

impl PageCharge {
    /// A charge of no pages, to nobody in particular.
    pub fn none(limits: &Limits) -> PageCharge {
        PageCharge::to(Arc::clone(&limits.everyone))
    }

    /// A charge of no pages.
    pub fn to(account: Arc<Account>) -> PageCharge {
        PageCharge { account, pages: 0 }
    }

    /// Where contents are kept, if not in memfds. Errors: ENFILE, ENOMEM.
    pub(super) fn store(&self) -> Result<Option<Arc<Store>>, Errno> {
        match &self.account.pools.keeping {
            Keeping::Memory => Ok(None),
            Keeping::Store(store, _) => Ok(Some(Arc::clone(store))),
            Keeping::Stores(stores) => stores.of(self.account.uid).map(Some),
        }
    }

    /// Whether that is where the contents are to be of whom it is charged to.
    pub(super) fn has_store(&self, store: &Arc<Store>) -> bool {
        match &self.account.pools.keeping {
            Keeping::Stores(stores) => stores.is_of(self.account.uid, store),
            Keeping::Memory | Keeping::Store(..) => true,
        }
    }

    /// Whom it is charged to.
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Whether whom it is charged to may have so many pages more in his store. Errors: EDQUOT.
    pub(super) fn check_store(&self, pages: u64) -> Result<(), Errno> {
        match &self.account.pools.keeping {
            Keeping::Stores(stores) => stores.check(self.account.uid, pages),
            _ => Ok(()),
        }
    }

    /// A charge of no pages to the same account.
    pub(super) fn another(&self) -> PageCharge {
        PageCharge::to(Arc::clone(&self.account))
    }

    /// The pages charged.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether `pages` may be had at all. Errors: ENOSPC, EDQUOT where they may not be.
    pub(super) fn check(&self, pages: u64) -> Result<(), Errno> {
        let within = |pool: &Pool| pool.limit.is_none_or(|limit| pages <= limit);
        if !within(&self.account.pools.pages) {
            return Err(Errno::ENOSPC);
        }
        match self.account.pages.as_ref().is_none_or(within) {
            true => Ok(()),
            false => Err(Errno::EDQUOT),
        }
    }

    /// Charges `pages` more. Errors: ENOSPC, EDQUOT; then nothing is charged.
    pub fn grow(&mut self, pages: u64) -> Result<(), Errno> {
        self.account.take_pages(pages)?;
        self.pages += pages;
        Ok(())
    }

    /// Takes over pages that are charged to another one already, as many as it has. Returns what is left to be charged.
    pub(super) fn take_over(&mut self, other: &mut PageCharge, pages: u64) -> u64 {
        if other.transfer(&self.account).is_err() {
            return pages;
        }
        let taken = pages.min(other.pages);
        other.pages -= taken;
        self.pages += taken;
        pages - taken
    }

    /// Charges somebody else from now on. Errors: EDQUOT, then nothing is changed.
    pub fn transfer(&mut self, to: &Arc<Account>) -> Result<(), Errno> {
        if Arc::ptr_eq(&self.account, to) {
            return Ok(());
        }
        match &to.pools.keeping {
            Keeping::Stores(stores) => stores.transfer(self.account.uid, to.uid, self.pages)?,
            _ => {
                take(to.pages.as_ref(), self.pages)?;
                give_back(self.account.pages.as_ref(), self.pages);
            }
        }
        self.account = Arc::clone(to);
        Ok(())
    }

    /// Makes the charge what is really in use. That is more than was charged only where the kernel rounds up to huge
    /// pages (`transparent_hugepage/shmem_enabled`); then it counts, limit or not, because it is in use.
    pub(super) fn settle_to(&mut self, pages: u64) {
        if pages <= self.pages {
            self.account.give_back_pages(self.pages - pages);
        } else {
            self.account.pools.pages.take_anyway(pages - self.pages);
            if let Some(pool) = &self.account.pages {
                pool.take_anyway(pages - self.pages);
            }
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
    account: Arc<Account>,
    bytes: u64,
}

impl InodeCharge {
    /// The charge of one inode. Errors: ENOSPC, EDQUOT.
    pub fn inode(account: Arc<Account>) -> Result<InodeCharge, Errno> {
        let mut charge = InodeCharge { account, bytes: 0 };
        charge.grow(INODE_SPACE)?;
        Ok(charge)
    }

    /// Takes `bytes` more. Errors: ENOSPC, EDQUOT; then nothing is taken.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Errno> {
        self.account.take_inode_space(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives back `bytes`.
    pub fn shrink(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.bytes, "more given back than was taken");
        let bytes = bytes.min(self.bytes);
        self.account.give_back_inode_space(bytes);
        self.bytes -= bytes;
    }

    /// Charges somebody else from now on. Errors: EDQUOT, then nothing is changed.
    pub fn transfer(&mut self, to: &Arc<Account>) -> Result<(), Errno> {
        if Arc::ptr_eq(&self.account, to) {
            return Ok(());
        }
        take(to.inode_space.as_ref(), self.bytes)?;
        self.move_to(to);
        Ok(())
    }

    /// Undoes a [`InodeCharge::transfer`]: limits or not, as it was so before.
    pub fn return_to(&mut self, to: &Arc<Account>) {
        if Arc::ptr_eq(&self.account, to) {
            return;
        }
        if let Some(pool) = &to.inode_space {
            pool.take_anyway(self.bytes);
        }
        self.move_to(to);
    }

    fn move_to(&mut self, to: &Arc<Account>) {
        give_back(self.account.inode_space.as_ref(), self.bytes);
        self.account = Arc::clone(to);
    }

    /// Whom it is charged to.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }
}

impl Drop for InodeCharge {
    fn drop(&mut self) {
        self.account.give_back_inode_space(self.bytes);
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
        let mut first = InodeCharge::inode(limits.account(7)).unwrap();
        first.grow(INODE_SPACE - 1).unwrap();
        assert_eq!(InodeCharge::inode(limits.account(7)).err(), Some(Errno::ENOSPC));
        assert_eq!(limits.usage().used_inodes, 2);
        first.shrink(INODE_SPACE - 1);
        drop(InodeCharge::inode(limits.account(7)).unwrap());
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
