//! A store for each user, where contents are in stores and the pages of users are limited (`user_size=`): the size of a
//! user's store is what the kernel holds him to when he writes past us.
//!
//! ```text
//!   size=   [ alice: used | free ][ bob: used | free ][ root: used | free ][ pages of long symlinks ]
//!            \____ at most user_size= ____/
//! ```
//!
//! The sizes of all stores, and what is charged besides, are never more than `size=` together, not for a moment: others shrink
//! before one grows, and the kernel lets none shrink below what is in it. Where there is not enough for everybody's limit,
//! what is free is shared (division.rs), again and again as it is used.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::books::{Books, Entry};
use super::division::{Claim, divide};
use super::regulated::{Regulated, look_after};
use super::store::Store;
use super::users::ROOT;
use crate::sync::{Mutex, STORE};
use crate::sys::limits;
use crate::types::Errno;

/// The most stores there are, where there are descriptors enough.
const MOST_STORES: usize = 1024;

/// The part of all descriptors that may go to stores, each with its spare files.
const SHARE: usize = 32;

/// Who shares a store when there are as many as there may be. Nobody has this uid: it means "none" to the kernel.
const OTHERS: u32 = u32::MAX;

/// Pages of a filesystem without a limit: more than any machine has.
const NO_LIMIT: u64 = 1 << 50;

/// A store that has been without contents for so long goes. To make one takes some tenths of a millisecond.
const IDLE: Duration = Duration::from_secs(2);

/// The stores of one filesystem.
#[derive(Debug)]
pub(super) struct Stores {
    me: Weak<Stores>,
    /// What they are made like.
    pattern: Arc<Store>,
    /// Pages of all; `None` where there is no limit.
    limit: Option<u64>,
    /// Pages of one user.
    user: u64,
    most_stores: usize,
    books: Mutex<STORE, Books>,
    wishes: SyncSender<()>,
}

impl Stores {
    /// Stores like `pattern` with room for `limit` pages in all and `user` pages for each user. Errors: where none can be made.
    pub(super) fn new(pattern: &Arc<Store>, limit: Option<u64>, user: u64) -> Result<Arc<Stores>, Errno> {
        let (wishes, received) = sync_channel(1);
        let stores = Arc::new_cyclic(|me| Stores {
            me: Weak::clone(me),
            pattern: Arc::clone(pattern),
            limit,
            user,
            most_stores: MOST_STORES.min(limits::open_files() / SHARE).max(2),
            books: Mutex::default(),
            wishes,
        });
        // Root's, which is always there.
        stores.of(ROOT)?;
        let me = Weak::clone(&stores.me);
        thread::Builder::new()
            .name("stores".to_owned())
            .spawn(move || look_after(&me, &received))?;
        Ok(stores)
    }

    /// The store of `uid`, made now where there is none. Errors: ENFILE, ENOMEM.
    pub(super) fn of(&self, uid: u32) -> Result<Arc<Store>, Errno> {
        let mut books = self.books.lock();
        if let Some(entry) = books.entries.get_mut(&uid) {
            entry.idle = None;
            return Ok(Arc::clone(&entry.store));
        }
        // One place is for those who share.
        let is_full = |books: &Books| {
            let shared = usize::from(books.entries.contains_key(&OTHERS));
            books.entries.len() - shared + 1 >= self.most_stores
        };
        let mut gone = Vec::new();
        if is_full(&books) {
            gone = books.take_idle(Duration::ZERO);
        }
        let uid = if is_full(&books) { OTHERS } else { uid };
        let store = match books.entries.get(&uid) {
            Some(entry) => Ok(Arc::clone(&entry.store)),
            None => self.open_store(&mut books, uid),
        };
        drop(books);
        // A mount ends only now, with nothing locked.
        drop(gone);
        store
    }

    /// Whether that is the store of `uid`.
    pub(super) fn is_of(&self, uid: u32, store: &Arc<Store>) -> bool {
        let books = self.books.lock();
        let entry = books.entries.get(&uid).or_else(|| books.entries.get(&OTHERS));
        entry.is_some_and(|entry| Arc::ptr_eq(&entry.store, store))
    }

    fn open_store(&self, books: &mut Books, uid: u32) -> Result<Arc<Store>, Errno> {
        let regulated = Regulated::new(&self.me, uid);
        let store = Arc::new(self.pattern.another(regulated)?);
        let entry = Entry {
            store: Arc::clone(&store),
            size: 0,
            used: 0,
            grew: Instant::now(),
            promised: 0,
            idle: None,
        };
        books.entries.insert(uid, entry);
        self.share_out(books);
        self.wake();
        Ok(store)
    }

    /// Has it looked soon how much is used.
    pub(super) fn wake(&self) {
        // Full where the thread has been told already.
        let _told = self.wishes.try_send(());
    }

    /// The most that the store of `uid` may have.
    fn most(&self, books: &Books, uid: u32) -> u64 {
        match uid {
            ROOT => u64::MAX,
            _ => self.user.saturating_sub(books.charged_to(uid)),
        }
    }

    /// The most that all stores may have.
    fn room(&self, books: &Books) -> u64 {
        let charged = books.charged.values().sum();
        self.limit.unwrap_or(NO_LIMIT).saturating_sub(charged)
    }

    /// Divides the room anew: what is promised comes first, where it is free and the user may have it.
    fn share_out(&self, books: &mut Books) {
        books.look();
        let room = self.room(books);
        let (uids, claims) = self.claims(books, room);
        let sizes = divide(room, &claims);
        let mut given: u64 = books.entries.values().map(|entry| entry.size).sum();
        let wanted = || uids.iter().zip(&sizes);
        for (uid, &size) in wanted() {
            let Some(entry) = books.entries.get_mut(uid) else {
                continue;
            };
            // The kernel refuses where more has come to be in use meanwhile.
            if size < entry.size && entry.store.resize(size).is_ok() {
                given -= entry.size - size;
                entry.size = size;
            }
        }
        for (uid, &size) in wanted() {
            let Some(entry) = books.entries.get_mut(uid) else {
                continue;
            };
            let more = size.saturating_sub(entry.size).min(room.saturating_sub(given));
            if more > 0 && entry.store.resize(entry.size + more).is_ok() {
                given += more;
                entry.size += more;
            }
        }
        self.note_hunger(books);
    }

    fn claims(&self, books: &Books, room: u64) -> (Vec<u32>, Vec<Claim>) {
        let mut free = room.saturating_sub(books.used());
        let claim = |(&uid, entry): (&u32, &Entry)| {
            let most = self.most(books, uid);
            let promised = entry.promised.min(free).min(most.saturating_sub(entry.used));
            free -= promised;
            let needs = entry.used + promised;
            let weight = entry.weight();
            (uid, Claim { needs, most, weight })
        };
        books.entries.iter().map(claim).unzip()
    }

    fn note_hunger(&self, books: &Books) {
        for (uid, entry) in &books.entries {
            let hungry = entry.size < self.most(books, *uid).min(self.room(books));
            entry.store.regulated().inspect(|it| it.set_hungry(hungry));
        }
    }

    /// Room for so many pages in the store of `uid` until it is [given up](Stores::give_up), where that may be. Returns the error
    /// to give where that is not enough.
    pub(super) fn make_room(&self, uid: u32, pages: u64) -> Errno {
        let mut books = self.books.lock();
        books.promise(uid, |promised| promised.saturating_add(pages));
        self.share_out(&mut books);
        let most = self.most(&books, uid);
        match books.entries.get(&uid) {
            Some(entry) if entry.size >= most => Errno::EDQUOT,
            _ => Errno::ENOSPC,
        }
    }

    pub(super) fn give_up(&self, uid: u32, pages: u64) {
        let mut books = self.books.lock();
        books.promise(uid, |promised| promised.saturating_sub(pages));
        drop(books);
        self.wake();
    }

    /// Whether `uid` may have so many pages more in his store. Errors: EDQUOT.
    pub(super) fn check(&self, uid: u32, pages: u64) -> Result<(), Errno> {
        let books = self.books.lock();
        let used = books.used_in_store(uid).saturating_add(pages);
        match used <= self.most(&books, uid) {
            true => Ok(()),
            false => Err(Errno::EDQUOT),
        }
    }

    /// Takes pages that are not in a store, for which room is made. Errors: ENOSPC, EDQUOT; then nothing is taken.
    pub(super) fn charge(&self, uid: u32, pages: u64) -> Result<(), Errno> {
        if pages == 0 {
            return Ok(());
        }
        let mut books = self.books.lock();
        books.change(uid, |charged| charged.saturating_add(pages));
        let fits = |books: &Books| self.fits(books, uid);
        let mut result = fits(&books);
        if result.is_err() {
            self.share_out(&mut books);
            result = fits(&books);
        }
        if result.is_err() {
            books.change(uid, |charged| charged - pages);
            self.share_out(&mut books);
        }
        result
    }

    /// Whether all that is charged and the stores as they are fit into the limits.
    fn fits(&self, books: &Books, uid: u32) -> Result<(), Errno> {
        let (charged, limit) = (books.charged_to(uid), self.limit.unwrap_or(NO_LIMIT));
        let of_all: u64 = books.charged.values().sum();
        let sizes: u64 = books.entries.values().map(|entry| entry.size).sum();
        if of_all.saturating_add(sizes) > limit {
            return Err(Errno::ENOSPC);
        }
        let size = books.entries.get(&uid).map_or(0, |entry| entry.size);
        match uid != ROOT && charged.saturating_add(size) > self.user {
            true => Err(Errno::EDQUOT),
            false => Ok(()),
        }
    }

    /// Gives back pages that are not in a store.
    pub(super) fn give_back(&self, uid: u32, pages: u64) {
        let mut books = self.books.lock();
        books.change(uid, |charged| charged.saturating_sub(pages));
        self.share_out(&mut books);
    }

    /// Charges pages that are not in a store to somebody else. Errors: EDQUOT, then nothing is changed.
    pub(super) fn transfer(&self, from: u32, to: u32, pages: u64) -> Result<(), Errno> {
        if pages == 0 {
            return Ok(());
        }
        let mut books = self.books.lock();
        let hand_over = |books: &mut Books, from: u32, to: u32| {
            books.change(from, |charged| charged.saturating_sub(pages));
            books.change(to, |charged| charged.saturating_add(pages));
            self.share_out(books);
        };
        hand_over(&mut books, from, to);
        self.fits(&books, to).inspect_err(|_| hand_over(&mut books, to, from))
    }

    /// Pages in use by all.
    pub(super) fn used(&self) -> u64 {
        let mut books = self.books.lock();
        books.look();
        books.used() + books.charged.values().sum::<u64>()
    }

    /// Pages in use by one user.
    pub(super) fn used_by(&self, uid: u32) -> u64 {
        let books = self.books.lock();
        books.used_in_store(uid) + books.charged_to(uid)
    }

    /// Looks how much is used, and shares out anew where somebody has used half of what he was given. Returns whether anything
    /// has changed, and whether there is anything to look after.
    pub(super) fn regulate(&self) -> (bool, bool) {
        let mut books = self.books.lock();
        let before = books.used();
        books.look();
        let changed = books.used() != before;
        let gone = books.take_idle(IDLE);
        let room = self.room(&books);
        let (uids, claims) = self.claims(&books, room);
        let due = uids.iter().zip(divide(room, &claims)).any(|(uid, size)| {
            let entry = &books.entries[uid];
            let (has, share) = (entry.size.saturating_sub(entry.used), size.saturating_sub(entry.used));
            has < share / 2
        });
        if due || !gone.is_empty() {
            self.share_out(&mut books);
        }
        let any = books.entries.len() > 1;
        drop(books);
        // With nothing locked: unmounting takes a while.
        drop(gone);
        (changed || due, any)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use proptest::prelude::*;

    use super::*;
    use crate::types::attr::PAGE_SIZE;

    const ALICE: u32 = 1;
    const BOB: u32 = 2;
    const CAROL: u32 = 3;

    /// `None` where only root could make them.
    fn stores(limit: Option<u64>, user: u64, most_stores: usize) -> Option<Arc<Stores>> {
        let Ok(pattern) = Store::unregistered() else {
            assert!(!nix::unistd::geteuid().is_root());
            return None;
        };
        let (wishes, _) = sync_channel(1);
        let quiet = Arc::new_cyclic(|me| Stores {
            me: Weak::clone(me),
            pattern,
            limit,
            user,
            most_stores,
            books: Mutex::default(),
            wishes,
        });
        quiet.of(ROOT).unwrap();
        Some(quiet)
    }

    fn sizes(stores: &Stores) -> u64 {
        stores.books.lock().entries.values().map(|entry| entry.size).sum()
    }

    fn grow(file: &File, pages: u64) -> u64 {
        let at = file.metadata().unwrap().len();
        let bytes = vec![1; usize::try_from(pages * PAGE_SIZE).unwrap()];
        let written = file.write_at(&bytes, at).unwrap_or(0) as u64;
        file.set_len((at + written) / PAGE_SIZE * PAGE_SIZE).unwrap();
        written / PAGE_SIZE
    }

    #[test]
    fn each_has_his_limit_where_there_is_enough() {
        let Some(stores) = stores(Some(1000), 100, 8) else {
            return;
        };
        let (alice, bob) = (stores.of(ALICE).unwrap(), stores.of(BOB).unwrap());
        assert_eq!((alice.usage(), bob.usage()), (Ok((0, Some(100))), Ok((0, Some(100)))));
        assert_eq!(stores.of(ROOT).unwrap().usage(), Ok((0, Some(800))));
        let file = alice.nameless().unwrap();
        assert_eq!(grow(&file, 101), 100);
        assert_eq!(alice.make_room(1).error, Errno::EDQUOT);
        assert_eq!((stores.used_by(ALICE), stores.used()), (100, 100));
        assert_eq!(stores.check(ALICE, 1), Err(Errno::EDQUOT));
        stores.check(BOB, 100).unwrap();
        let unlimited = super::tests::stores(None, 100, 8).unwrap();
        assert_eq!(unlimited.of(ALICE).unwrap().usage(), Ok((0, Some(100))));
    }

    #[test]
    fn what_is_wished_for_is_given_first() {
        let Some(stores) = stores(Some(90), 80, 8) else { return };
        let (alice, bob) = (stores.of(ALICE).unwrap(), stores.of(BOB).unwrap());
        assert_eq!(alice.usage(), Ok((0, Some(30))));
        let promise = bob.make_room(70);
        assert_eq!(promise.error, Errno::ENOSPC, "he has not all he may have");
        stores.regulate();
        assert!(bob.usage().unwrap().1.unwrap() >= 70);
        let file = bob.nameless().unwrap();
        assert_eq!(grow(&file, 70), 70);
        drop(promise);
        assert_eq!(alice.make_room(30).error, Errno::ENOSPC);
        assert_eq!(alice.usage(), Ok((0, Some(20))));
        assert_eq!(sizes(&stores), 90);
    }

    #[test]
    fn charges_and_stores_keep_to_the_limit_together() {
        let Some(stores) = stores(Some(20), 10, 8) else { return };
        let alice = stores.of(ALICE).unwrap();
        let file = alice.nameless().unwrap();
        assert_eq!(grow(&file, 8), 8);
        stores.charge(ALICE, 2).unwrap();
        assert_eq!(stores.charge(ALICE, 1), Err(Errno::EDQUOT));
        assert_eq!(alice.usage(), Ok((8, Some(0))));
        stores.charge(ROOT, 10).unwrap();
        assert_eq!(stores.charge(BOB, 1), Err(Errno::ENOSPC));
        assert_eq!(stores.transfer(ROOT, ALICE, 1), Err(Errno::EDQUOT));
        stores.transfer(ALICE, BOB, 2).unwrap();
        assert_eq!((stores.used_by(ALICE), stores.used_by(BOB), stores.used()), (8, 2, 20));
        stores.give_back(ROOT, 10);
        stores.give_back(BOB, 2);
        assert_eq!((alice.usage(), stores.used()), (Ok((8, Some(2))), 8));
        assert!(stores.books.lock().charged.is_empty());
    }

    #[test]
    fn further_users_share_a_store() {
        let Some(stores) = stores(Some(1000), 100, 3) else {
            return;
        };
        let alice = stores.of(ALICE).unwrap();
        let (bob, carol) = (stores.of(BOB).unwrap(), stores.of(CAROL).unwrap());
        assert!(Arc::ptr_eq(&bob, &carol) && !Arc::ptr_eq(&alice, &bob));
        assert!(stores.is_of(BOB, &carol) && !stores.is_of(ALICE, &carol) && stores.is_of(ALICE, &alice));
        assert_eq!(stores.books.lock().entries.len(), 3);
        drop(alice);
        let bob_now = stores.of(BOB).unwrap();
        assert!(!Arc::ptr_eq(&bob, &bob_now), "there is room for one of his own");
        drop((bob, carol, bob_now));
        assert_eq!(stores.books.lock().take_idle(Duration::ZERO).len(), 2);
        assert_eq!(stores.books.lock().entries.len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever users do, all sizes are at most the limit, nobody has less than he uses, and in the end all can be used.
        #[test]
        fn the_sizes_are_never_too_large(steps in prop::collection::vec((0..5u8, 0..4u32, 1..60u64), 1..60)) {
            let Some(stores) = stores(Some(100), 70, 8) else { return Ok(()) };
            let mut files: Vec<(u32, Arc<Store>, File)> = Vec::new();
            let mut charged = [0; 4];
            for (what, uid, pages) in steps {
                match what {
                    0 | 1 => {
                        let store = stores.of(uid).unwrap();
                        let file = store.nameless().unwrap();
                        grow(&file, pages);
                        files.push((uid, store, file));
                    }
                    2 => {
                        let store = stores.of(uid).unwrap();
                        let _promise = store.make_room(pages);
                    }
                    3 if stores.charge(uid, pages % 3).is_ok() => charged[uid as usize] += pages % 3,
                    3 => {}
                    _ => {
                        files.retain(|(owner, ..)| *owner != uid);
                        stores.give_back(uid, std::mem::take(&mut charged[uid as usize]));
                        stores.regulate();
                    }
                }
                let sum: u64 = charged.iter().sum();
                prop_assert!(sizes(&stores) + sum <= 100);
                let used: u64 = files.iter().map(|(.., file)| file.metadata().unwrap().len() / PAGE_SIZE).sum();
                prop_assert_eq!(stores.used(), used + sum);
                for uid in 1..4 {
                    prop_assert!(stores.used_by(uid) <= 70);
                }
            }
        }
    }
}
