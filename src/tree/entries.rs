//! The entries of one directory: by name in O(1), in the order of their cookies in O(log n), and a scan that every entry
//! present throughout meets exactly once (semantics 1.2).
//!
//! ```text
//!   slots   [ 3 "a" ][ 4  -  ][ 7 "b" ][ 9 "c" ]   cookies ascend; a removed entry leaves its slot empty
//!   index   hash of the name -> number of the slot
//! ```
//!
//! A cookie is never given out twice. An entry keeps its place when it is renamed within the directory, and a name keeps
//! its place when what it names is replaced: so a scan in progress neither misses nor repeats them. When more than half of
//! the slots are empty they are closed up, which changes numbers of slots but no cookie.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;

use super::inode::Inode;
use crate::types::{Cookie, Errno, Name};

/// The cookie of the first entry made; the smaller ones are for `.` and `..`.
pub const FIRST_COOKIE: Cookie = Cookie(3);

/// Directories smaller than this are never closed up.
const SMALL: usize = 32;

#[derive(Debug)]
struct Slot {
    cookie: Cookie,
    name: Box<[u8]>,
    /// `None` once removed.
    child: Option<Arc<Inode>>,
}

/// The entries of one directory.
#[derive(Debug)]
pub struct Entries {
    slots: Vec<Slot>,
    index: HashTable<u32>,
    hasher: RandomState,
    next_cookie: Cookie,
    dead: bool,
}

impl Entries {
    /// No entries. `hasher` is keyed at random, so that nobody can choose names that collide.
    pub fn new(hasher: RandomState) -> Entries {
        Entries {
            slots: Vec::new(),
            index: HashTable::new(),
            hasher,
            next_cookie: FIRST_COOKIE,
            dead: false,
        }
    }

    /// The number of entries, `.` and `..` not counted.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The cookie the next new entry will get: a scan that ends here is not kept running by creations.
    pub fn next_cookie(&self) -> Cookie {
        self.next_cookie
    }

    /// Errors: ENOENT where the directory was removed.
    pub fn check_alive(&self) -> Result<(), Errno> {
        if self.dead { Err(Errno::ENOENT) } else { Ok(()) }
    }

    /// Marks the directory removed: nothing can be made in it any more. Errors: ENOTEMPTY.
    pub fn kill(&mut self) -> Result<(), Errno> {
        if !self.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.dead = true;
        Ok(())
    }

    /// Lets go of all entries. Preconditions: nobody will look for them any more, and whatever they name is held elsewhere.
    pub(super) fn clear(&mut self) {
        self.index.clear();
        self.slots.clear();
    }

    fn hash(&self, name: &[u8]) -> u64 {
        self.hasher.hash_one(name)
    }

    fn find(&self, name: Name<'_>) -> Option<usize> {
        let bytes = name.as_bytes();
        self.index
            .find(self.hash(bytes), |&slot| *self.slots[slot as usize].name == *bytes)
            .map(|&slot| slot as usize)
    }

    /// What the name names.
    pub fn get(&self, name: Name<'_>) -> Option<&Arc<Inode>> {
        self.slots[self.find(name)?].child.as_ref()
    }

    /// Adds an entry at the end. Errors: EEXIST; ENOSPC where there are as many as can be counted.
    pub fn insert(&mut self, name: Name<'_>, child: Arc<Inode>) -> Result<(), Errno> {
        if self.find(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let number = u32::try_from(self.slots.len()).map_err(|_| Errno::ENOSPC)?;
        self.slots.push(Slot {
            cookie: self.next_cookie,
            name: name.as_bytes().into(),
            child: Some(child),
        });
        self.next_cookie = Cookie(self.next_cookie.0 + 1);
        self.add_to_index(number);
        Ok(())
    }

    /// Makes an existing name name something else; it keeps its place. Returns what it named.
    pub fn replace(&mut self, name: Name<'_>, child: Arc<Inode>) -> Option<Arc<Inode>> {
        let slot = self.find(name)?;
        self.slots[slot].child.replace(child)
    }

    /// Removes an entry. Returns what it named.
    pub fn remove(&mut self, name: Name<'_>) -> Option<Arc<Inode>> {
        let slot = self.find(name)?;
        self.drop_from_index(slot);
        self.slots[slot].name = Box::default();
        let child = self.slots[slot].child.take();
        self.close_up();
        child
    }

    /// Gives an entry a name that no entry has; it keeps its place. Preconditions: `old` exists, `new` does not.
    pub fn rename(&mut self, old: Name<'_>, new: Name<'_>) {
        debug_assert!(self.find(new).is_none(), "the new name is free");
        if let Some(slot) = self.find(old) {
            self.drop_from_index(slot);
            self.slots[slot].name = new.as_bytes().into();
            if let Ok(number) = u32::try_from(slot) {
                self.add_to_index(number);
            }
        }
    }

    /// The entries from a cookie on, in the order of their cookies.
    pub fn iter_from(&self, cookie: Cookie) -> impl DoubleEndedIterator<Item = (Cookie, &[u8], &Arc<Inode>)> {
        let start = self.slots.partition_point(|slot| slot.cookie < cookie);
        self.slots[start..]
            .iter()
            .filter_map(|slot| Some((slot.cookie, &*slot.name, slot.child.as_ref()?)))
    }

    fn add_to_index(&mut self, number: u32) {
        let hash = self.hash(&self.slots[number as usize].name);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index
            .insert_unique(hash, number, |&slot| hasher.hash_one(&*slots[slot as usize].name));
    }

    fn drop_from_index(&mut self, slot: usize) {
        let hash = self.hash(&self.slots[slot].name);
        if let Ok(entry) = self.index.find_entry(hash, |&number| number as usize == slot) {
            entry.remove();
        }
    }

    /// Closes up the slots when more than half are empty: constant cost per removal, in the long run.
    fn close_up(&mut self) {
        if self.slots.len() < SMALL || self.len() * 2 > self.slots.len() {
            return;
        }
        self.slots.retain(|slot| slot.child.is_some());
        self.slots.shrink_to_fit();
        self.index = HashTable::with_capacity(self.slots.len());
        for number in 0..self.slots.len() {
            if let Ok(number) = u32::try_from(number) {
                self.add_to_index(number);
            }
        }
    }
}
