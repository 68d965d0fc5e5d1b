//! Every lock of the program, in the order in which they may be taken. Debug builds panic when a thread takes them in
//! another order, so that a test run shows what would one day be a deadlock.
//!
//! A lock of a level may be taken while only locks of smaller levels are held. Two locks of one level are taken only by
//! the functions named `*_second`, whose callers say why that is safe.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Held over a change that involves more than one directory: whoever locks two directories holds this one too.
pub const RENAME: u8 = 0;
/// The entries of one directory.
pub const DIRECTORY: u8 = 1;
/// Who waits for whose record locks: whoever looks at the locks of more than one file holds this one too.
pub const WAITS: u8 = 2;
/// The locks on one file. Held shared over every transfer that must obey them.
pub const LOCKS: u8 = 3;
/// The bytes of one regular file.
pub const CONTENT: u8 = 4;
/// The attributes of one inode.
pub const META: u8 = 5;
/// Where contents are kept: its size, its spare files, which files are at hand.
pub const STORE: u8 = 6;
/// The requests that wait for their answer.
pub const PARKED: u8 = 7;
/// The requests that wait and have the lock of an inode in the kernel.
pub const HOLDING: u8 = 8;
/// Threads that were told to look at a path again.
pub const LOOKS: u8 = 9;
/// What was refused.
pub const EVENTS: u8 = 10;
/// Where the workers run.
pub const NEAR: u8 = 11;
/// Which processes have locked by an open file.
pub const OWNERS: u8 = 12;
/// Pages that are to go from the kernel's cache.
pub const PASSING: u8 = 13;
/// What the kernel is to be told.
pub const TELLING: u8 = 14;

/// What a thread holds, in debug builds; nothing at all in release builds.
#[derive(Debug)]
struct Held {
    #[cfg(debug_assertions)]
    level: u8,
    /// A guard must be dropped by the thread that took it.
    _thread_bound: PhantomData<*const ()>,
}

#[cfg(debug_assertions)]
mod order {
    use std::cell::Cell;

    const LEVELS: usize = 15;

    thread_local! {
        static HELD: Cell<[u8; LEVELS]> = const { Cell::new([0; LEVELS]) };
    }

    pub(super) fn take(level: u8, second: bool) {
        HELD.with(|held| {
            let mut counts = held.get();
            let first_forbidden = usize::from(level) + usize::from(second);
            let highest = counts.iter().rposition(|&count| count > 0);
            assert!(
                highest.is_none_or(|highest| highest < first_forbidden),
                "lock order: level {level} wanted while level {highest:?} is held"
            );
            counts[usize::from(level)] += 1;
            held.set(counts);
        });
    }

    pub(super) fn give_back(level: u8) {
        HELD.with(|held| {
            let mut counts = held.get();
            counts[usize::from(level)] -= 1;
            held.set(counts);
        });
    }
}

impl Held {
    #[allow(unused_variables, reason = "release builds keep no record")]
    fn take(level: u8, second: bool) -> Held {
        #[cfg(debug_assertions)]
        order::take(level, second);
        Held {
            #[cfg(debug_assertions)]
            level,
            _thread_bound: PhantomData,
        }
    }
}

#[cfg(debug_assertions)]
impl Drop for Held {
    fn drop(&mut self) {
        order::give_back(self.level);
    }
}

/// Access to what a lock guards, until dropped.
#[derive(Debug)]
pub struct Guard<G> {
    inner: G,
    _held: Held,
}

impl<G: Deref> Deref for Guard<G> {
    type Target = G::Target;
    fn deref(&self) -> &G::Target {
        &self.inner
    }
}

impl<G: DerefMut> DerefMut for Guard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.inner
    }
}

/// Exclusive access through a [`Mutex`].
pub type MutexGuard<'a, T> = Guard<parking_lot::MutexGuard<'a, T>>;
/// Shared access through an [`RwLock`].
pub type ReadGuard<'a, T> = Guard<parking_lot::RwLockReadGuard<'a, T>>;
/// Exclusive access through an [`RwLock`].
pub type WriteGuard<'a, T> = Guard<parking_lot::RwLockWriteGuard<'a, T>>;

/// A mutex of one level of the lock order.
#[derive(Debug, Default)]
pub struct Mutex<const LEVEL: u8, T>(parking_lot::Mutex<T>);

impl<const LEVEL: u8, T> Mutex<LEVEL, T> {
    /// A mutex around `value`.
    pub const fn new(value: T) -> Self {
        Mutex(parking_lot::Mutex::new(value))
    }

    /// Locks it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = Held::take(LEVEL, false);
        Guard {
            inner: self.0.lock(),
            _held: held,
        }
    }

    /// What it guards, where nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

/// A readers-writer lock of one level of the lock order.
#[derive(Debug, Default)]
pub struct RwLock<const LEVEL: u8, T>(parking_lot::RwLock<T>);

impl<const LEVEL: u8, T> RwLock<LEVEL, T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        RwLock(parking_lot::RwLock::new(value))
    }

    /// Locks it for reading.
    pub fn read(&self) -> ReadGuard<'_, T> {
        let held = Held::take(LEVEL, false);
        Guard {
            inner: self.0.read(),
            _held: held,
        }
    }

    /// Locks it for writing.
    pub fn write(&self) -> WriteGuard<'_, T> {
        let held = Held::take(LEVEL, false);
        Guard {
            inner: self.0.write(),
            _held: held,
        }
    }

    /// Locks it for reading beside another lock of the level; the caller says why that cannot deadlock.
    pub fn read_second(&self) -> ReadGuard<'_, T> {
        let held = Held::take(LEVEL, true);
        Guard {
            inner: self.0.read(),
            _held: held,
        }
    }

    /// Locks it for writing beside another lock of the level; the caller says why that cannot deadlock.
    pub fn write_second(&self) -> WriteGuard<'_, T> {
        let held = Held::take(LEVEL, true);
        Guard {
            inner: self.0.write(),
            _held: held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_allowed() {
        let directory = RwLock::<DIRECTORY, _>::new(1);
        let meta = Mutex::<META, _>::new(2);
        let outer = directory.write();
        assert_eq!(*outer + *meta.lock(), 3);
        drop(outer);
        assert_eq!(*directory.read(), 1);
    }

    #[test]
    fn two_of_a_level_need_the_second_form() {
        let one = RwLock::<DIRECTORY, _>::new(1);
        let two = RwLock::<DIRECTORY, _>::new(2);
        let outer = one.write();
        assert_eq!(*outer + *two.write_second(), 3);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order")]
    fn inversion_panics() {
        let directory = RwLock::<DIRECTORY, _>::new(1);
        let meta = Mutex::<META, _>::new(2);
        let _inner = meta.lock();
        let _outer = directory.read();
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order")]
    fn two_of_a_level_panic_otherwise() {
        let one = RwLock::<DIRECTORY, _>::new(1);
        let two = RwLock::<DIRECTORY, _>::new(2);
        let _outer = one.read();
        let _inner = two.read();
    }
}
