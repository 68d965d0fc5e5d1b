//! What the files of one user use, against `user_size=` and `user_inodes=`.
//!
//! Every charge names an account. Whom no limit of his own holds (root; everybody where there are no such limits) shares one
//! that counts nothing, so that limits which are not there cost nothing. The others have one each while any file of theirs is
//! there: it goes with its last charge.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::limits::{Pool, Pools};
use crate::sync::{Mutex, STORE};
use crate::types::Errno;

/// The superuser, whom no limit for users holds.
pub(super) const ROOT: u32 = 0;

/// What each user may use.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PerUser {
    /// Pages of contents (`user_size=`).
    pub(super) pages: Option<u64>,
    /// Bytes of inode space (`user_inodes=`).
    pub(super) inode_space: Option<u64>,
}

/// Whom something is charged to.
#[derive(Debug)]
pub struct Account {
    pub(super) pools: Arc<Pools>,
    pub(super) uid: u32,
    /// Not counted where contents are in stores: there the user's own one counts.
    pub(super) pages: Option<Pool>,
    pub(super) inode_space: Option<Pool>,
}

impl Account {
    /// One that no limit but those of all together holds.
    pub(super) fn unlimited(pools: &Arc<Pools>) -> Arc<Account> {
        Account::new(pools, ROOT, PerUser::default())
    }

    fn new(pools: &Arc<Pools>, uid: u32, limits: PerUser) -> Arc<Account> {
        let pool = |limit: u64| Pool::new(Some(limit));
        Arc::new(Account {
            pools: Arc::clone(pools),
            uid,
            pages: limits.pages.map(pool),
            inode_space: limits.inode_space.map(pool),
        })
    }

    /// Takes pages: of the user's, and of all. Errors: ENOSPC, EDQUOT; then nothing is taken.
    pub(super) fn take_pages(&self, pages: u64) -> Result<(), Errno> {
        self.pools.take_pages(self.uid, pages)?;
        take(self.pages.as_ref(), pages).inspect_err(|_| self.pools.give_back_pages(self.uid, pages))
    }

    pub(super) fn give_back_pages(&self, pages: u64) {
        self.pools.give_back_pages(self.uid, pages);
        give_back(self.pages.as_ref(), pages);
    }

    /// Takes inode space: of the user's, and of all. Errors: ENOSPC, EDQUOT; then nothing is taken.
    pub(super) fn take_inode_space(&self, bytes: u64) -> Result<(), Errno> {
        self.pools.inode_space.take(bytes).map_err(|()| Errno::ENOSPC)?;
        take(self.inode_space.as_ref(), bytes).inspect_err(|_| self.pools.inode_space.give_back(bytes))
    }

    pub(super) fn give_back_inode_space(&self, bytes: u64) {
        self.pools.inode_space.give_back(bytes);
        give_back(self.inode_space.as_ref(), bytes);
    }
}

/// Takes of what one user may use. Errors: EDQUOT.
pub(super) fn take(pool: Option<&Pool>, amount: u64) -> Result<(), Errno> {
    pool.map_or(Ok(()), |pool| pool.take(amount))
        .map_err(|()| Errno::EDQUOT)
}

pub(super) fn give_back(pool: Option<&Pool>, amount: u64) {
    if let Some(pool) = pool {
        pool.give_back(amount);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.pools.users.forget(self.uid);
    }
}

/// The accounts of all users that have files.
#[derive(Debug)]
pub(super) struct Users {
    limits: PerUser,
    accounts: Mutex<STORE, HashMap<u32, Weak<Account>>>,
}

impl Users {
    pub(super) fn new(limits: PerUser) -> Users {
        Users {
            limits,
            accounts: Mutex::new(HashMap::new()),
        }
    }

    /// The limits of `uid`.
    pub(super) fn limits_of(&self, uid: u32) -> PerUser {
        match uid {
            ROOT => PerUser::default(),
            _ => self.limits,
        }
    }

    /// Whether `uid` has an account of his own.
    pub(super) fn holds(&self, uid: u32) -> bool {
        uid != ROOT && (self.limits.pages.is_some() || self.limits.inode_space.is_some())
    }

    /// The account of a user that has one of his own. `stored`: his pages are counted elsewhere.
    pub(super) fn account(&self, pools: &Arc<Pools>, uid: u32, stored: bool) -> Arc<Account> {
        let mut accounts = self.accounts.lock();
        if let Some(account) = accounts.get(&uid).and_then(Weak::upgrade) {
            return account;
        }
        let mut limits = self.limits;
        if stored {
            limits.pages = None;
        }
        let account = Account::new(pools, uid, limits);
        accounts.insert(uid, Arc::downgrade(&account));
        account
    }

    /// The account of a user if he has any files.
    pub(super) fn find(&self, uid: u32) -> Option<Arc<Account>> {
        self.accounts.lock().get(&uid).and_then(Weak::upgrade)
    }

    /// How many users have an account of their own.
    pub(super) fn count(&self) -> usize {
        self.accounts.lock().len()
    }

    /// The last charge to an account is gone; by now the user may have another one.
    fn forget(&self, uid: u32) {
        if !self.holds(uid) {
            return;
        }
        let mut accounts = self.accounts.lock();
        if accounts.get(&uid).is_some_and(|account| account.strong_count() == 0) {
            accounts.remove(&uid);
            if accounts.len() * 4 < accounts.capacity() {
                accounts.shrink_to_fit();
            }
        }
    }
}
