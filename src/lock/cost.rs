//! What operations cost on a file with very many locks, in nodes looked at (semantics 4.4), and where the limits are.

use std::sync::Arc;

use super::waits::MAX_STEPS;
use super::*;
use crate::types::{Errno, Fh, LockOwner};

const MANY: u64 = 100_000;
/// Far more than the depth of a treap of that size, far less than its size.
const FEW: usize = 250;

fn process(number: u64) -> Owner {
    Owner::Process(LockOwner(number))
}

fn byte(at: u64) -> Range {
    Range::new(at, at + 1).unwrap()
}

/// A table with many read locks of one owner, on every second byte.
fn many(owner: Owner, purse: &Purse) -> Table {
    let mut table = Table::new();
    for at in 0..MANY {
        table.set(owner, 1, purse, Kind::Read, byte(2 * at)).unwrap();
    }
    table
}

/// What `act` returns, after checking how many nodes it looked at.
fn cheap<R>(table: &mut Table, act: impl FnOnce(&mut Table) -> R) -> R {
    let before = table.visits();
    let result = act(table);
    let visits = table.visits() - before;
    assert!(visits < FEW, "{visits} nodes");
    result
}

#[test]
fn ones_own_locks_are_not_walked_over() {
    let purse = Purses::new().of(1);
    for owner in [process(1), Owner::OpenFile(Fh(1))] {
        let mut table = many(owner, &purse);
        let whole = |table: &mut Table| table.conflict(owner.own(), Kind::Write, Range::ALL);
        assert_eq!(cheap(&mut table, whole), None);
        table.set(process(2), 2, &purse, Kind::Read, byte(MANY)).unwrap();
        let found = cheap(&mut table, whole).unwrap();
        assert_eq!((found.range, found.owner, found.pid), (byte(MANY), process(2), 2));
        let other = |table: &mut Table| {
            table.conflict(process(3).own(), Kind::Write, Range::new(MANY + 1, Range::END).unwrap())
        };
        assert_eq!(cheap(&mut table, other).unwrap().range, byte(MANY + 2));
        let read = |table: &mut Table| table.conflict(process(3).own(), Kind::Read, Range::ALL);
        assert_eq!(cheap(&mut table, read), None);
        assert!(cheap(&mut table, |table| table.is_any_of_another(|lock| lock.owner == owner)));
    }
}

#[test]
fn one_lock_more_or_less_costs_little() {
    let purse = Purses::new().of(1);
    let mut table = many(process(1), &purse);
    for owner in [process(1), process(2)] {
        let one = byte(MANY + 1);
        cheap(&mut table, |table| table.set(owner, 1, &purse, Kind::Write, one)).unwrap();
        assert_eq!(cheap(&mut table, |table| table.unset(owner, one)), Ok(true));
    }
    assert_eq!(table.len() as u64, MANY);
    // What is merged away is paid for, once.
    table.set(process(1), 1, &purse, Kind::Write, Range::ALL).unwrap();
    assert_eq!((table.len(), purse.held()), (1, 1));
}

struct Deaf;

impl Wake for Deaf {
    fn wake(self: Box<Self>, _: Result<(), Errno>) {}
}

/// Some files, and who waits for their locks.
struct Files<const N: usize> {
    waits: Waits,
    purse: Purse,
    files: [Arc<FileLocks>; N],
}

impl<const N: usize> Files<N> {
    fn new() -> Files<N> {
        Files {
            waits: Waits::new(),
            purse: Purses::new().of(1),
            files: std::array::from_fn(|_| Arc::default()),
        }
    }

    /// Whether the lock is held, and does not have to wait.
    fn lock(&self, file: usize, owner: Owner, kind: Kind, range: Range) -> Result<bool, Errno> {
        let request = Request {
            owner,
            pid: 1,
            kind,
            range,
        };
        let wait: Park<'_> = &mut |_| Ok(Box::new(Deaf));
        let locked = self.files[file].lock(&self.waits, &self.purse, request, &|| Ok(()), Some(wait));
        locked.map(|locked| matches!(locked, Locked::Granted(_)))
    }

    fn visits(&self) -> usize {
        let visits = self.files.iter().map(|file| file.state().read().table.visits());
        visits.sum()
    }
}

#[test]
fn a_search_for_circles_does_not_walk_over_all_that_is_held() {
    let files = Files::<1>::new();
    files.files[0].state().write().table = many(process(1), &files.purse);
    let lock = |owner, kind, range| {
        let before = files.visits();
        let locked = files.lock(0, owner, kind, range);
        let visits = files.visits() - before;
        assert!(visits < FEW, "{visits} nodes");
        locked
    };
    assert_eq!(lock(process(2), Kind::Write, byte(2 * MANY)), Ok(true));
    assert_eq!(lock(process(3), Kind::Write, Range::ALL), Ok(false));
    assert_eq!(lock(process(1), Kind::Read, byte(2 * MANY)), Ok(false));
    assert_eq!(lock(process(2), Kind::Write, Range::ALL), Err(Errno::EDEADLK));
}

/// One waits for a crowd, each of whom waits for many of a second crowd, each of whom waits for a last one, who waits for the first.
fn a_search_through_two_crowds(held: impl Fn(u64) -> Range, wanted: impl Fn(u64) -> Range) {
    const CROWD: u64 = 1000;
    let files = Files::<3>::new();
    let (first, last) = (process(0), process(1));
    let beyond = Range::new(CROWD, 2 * CROWD).unwrap();
    let low = Range::new(0, CROWD).unwrap();
    assert_eq!(files.lock(0, first, Kind::Write, byte(0)), Ok(true));
    assert_eq!(files.lock(1, last, Kind::Write, low), Ok(true));
    for at in 0..CROWD {
        let (one, two) = (process(2 + at), process(2 + CROWD + at));
        assert_eq!(files.lock(1, one, Kind::Read, beyond), Ok(true));
        assert_eq!(files.lock(2, two, Kind::Read, held(at)), Ok(true));
        assert_eq!(files.lock(1, two, Kind::Write, byte(at)), Ok(false));
    }
    for at in 0..CROWD {
        assert_eq!(files.lock(2, process(2 + at), Kind::Write, wanted(at)), Ok(false));
    }
    assert_eq!(files.lock(0, last, Kind::Write, byte(0)), Ok(false));
    for (asks, result) in [(first, Err(Errno::EDEADLK)), (process(u64::MAX), Ok(false))] {
        let before = files.visits();
        assert_eq!(files.lock(1, asks, Kind::Write, beyond), result);
        let visits = files.visits() - before;
        assert!(visits < 50_000, "{visits} nodes");
    }
}

#[test]
fn a_search_for_circles_looks_at_a_lock_once_whoever_waits_for_it() {
    let until = |at| Range::new(0, 1 + at).unwrap();
    a_search_through_two_crowds(|_| Range::ALL, byte);
    a_search_through_two_crowds(|_| Range::ALL, until);
    a_search_through_two_crowds(byte, until);
    a_search_through_two_crowds(until, byte);
    a_search_through_two_crowds(until, |at| until(2000 - at));
}

#[test]
fn a_search_for_circles_ends() {
    const LONG: u64 = 3 * MAX_STEPS as u64 / 8;
    const TOO_LONG: u64 = MAX_STEPS as u64;
    let files = Files::<1>::new();
    let write = |at, range| files.lock(0, process(at), Kind::Write, range);
    for at in 0..TOO_LONG {
        assert_eq!(write(at, byte(at)), Ok(true));
    }
    for at in 0..TOO_LONG - 1 {
        if at == LONG {
            assert_eq!(write(at, byte(0)), Err(Errno::EDEADLK));
        }
        assert_eq!(write(at, byte(at + 1)), Ok(false));
    }
    let start = std::time::Instant::now();
    assert_eq!(write(TOO_LONG - 1, byte(0)), Ok(false), "too many wait for each other");
    println!("given up after {:?}", start.elapsed());
}

#[test]
fn memory_is_given_back() {
    let purse = Purses::new().of(1);
    let mut table = many(process(1), &purse);
    for number in 2..1000 {
        table.set(process(number), 1, &purse, Kind::Read, byte(number)).unwrap();
    }
    assert_eq!(table.unset(process(1), Range::new(2, Range::END).unwrap()), Ok(true));
    for number in 2..998 {
        assert!(table.release(process(number)));
    }
    assert_eq!((table.len(), purse.held()), (3, 3));
    assert!(table.room() <= 256, "{}", table.room());
    let found = table.conflict(process(1).own(), Kind::Write, Range::ALL).unwrap();
    assert_eq!((found.owner, found.range), (process(998), byte(998)));
    drop(table);
    assert_eq!(purse.held(), 0);
}

#[test]
fn an_owner_has_a_limit_with_a_reserve_for_unlocking() {
    let purse = Purses::new().of(1);
    let mut table = Table::new();
    let write = |table: &mut Table, range| table.set(process(1), 1, &purse, Kind::Write, range);
    for at in 1..MAX_OF_OWNER as u64 {
        write(&mut table, byte(3 * at)).unwrap();
    }
    let long = Range::new(1 << 40, 1 << 50).unwrap();
    write(&mut table, long).unwrap();
    assert_eq!(write(&mut table, byte(0)), Err(Errno::ENOLCK));
    assert_eq!(
        table.set(process(1), 1, &purse, Kind::Read, byte(1 << 45)),
        Err(Errno::ENOLCK)
    );
    assert_eq!((table.len(), purse.held()), (MAX_OF_OWNER, MAX_OF_OWNER));
    // Others are not kept from it, nor is he from what makes his locks no more.
    table.set(process(2), 1, &purse, Kind::Read, byte(0)).unwrap();
    table.release(process(2));
    write(&mut table, byte(4)).unwrap();
    write(&mut table, byte(6)).unwrap();
    let reserve = MAX_OF_OWNER as u64 / 8;
    for at in 0..reserve {
        assert_eq!(table.unset(process(1), byte((1 << 41) + 2 * at)), Ok(true));
    }
    let held = table.len();
    assert_eq!(held, MAX_OF_OWNER + MAX_OF_OWNER / 8);
    assert_eq!(table.unset(process(1), byte(1 << 42)), Err(Errno::ENOLCK));
    assert_eq!((table.len(), purse.held()), (held, held));
    // Whole locks can still be taken back, and merged.
    assert_eq!(table.unset(process(1), byte(9)), Ok(true));
    write(&mut table, long).unwrap();
    assert_eq!((table.len(), purse.held()), (MAX_OF_OWNER - 1, MAX_OF_OWNER - 1));
}

#[test]
fn a_user_has_a_limit_over_all_files() {
    let purses = Purses::new();
    let (purse, other) = (purses.of(1), purses.of(2));
    let mut tables: Vec<Table> = (0..6).map(|_| Table::new()).collect();
    let mut result = Ok(());
    for at in 0..MAX_OF_USER as u64 / 5 {
        for table in &mut tables {
            result = table.set(process(at), 1, &purse, Kind::Read, byte(at));
            if result.is_err() {
                break;
            }
        }
    }
    assert_eq!((result, purse.held()), (Err(Errno::ENOLCK), MAX_OF_USER));
    assert_eq!(tables[0].set(process(u64::MAX), 1, &other, Kind::Read, byte(0)), Ok(()));
    drop(tables);
    assert_eq!((purse.held(), other.held()), (0, 0));
    drop((purse, other));
    assert_eq!(purses.users(), 0);
}

#[test]
fn a_file_has_a_limit() {
    let purses = Purses::new();
    let mut table = Table::new();
    let mut set = |number: u64| {
        let purse = purses.of(u32::try_from(number % 2).unwrap());
        table.set(process(number), 1, &purse, Kind::Read, byte(number))
    };
    for number in 0..MAX_OF_FILE as u64 {
        set(number).unwrap();
    }
    assert_eq!(set(MAX_OF_FILE as u64), Err(Errno::ENOLCK));
}
