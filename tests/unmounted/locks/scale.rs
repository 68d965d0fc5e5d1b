//! A file with very many locks (semantics 4.4). What an operation looks at is counted in `src/lock/cost.rs`; here so many are done
//! that they would take the better part of an hour if each looked at every lock.

use owltmp::lock::{Kind, Owner, Purses, Range, Table};
use owltmp::types::LockOwner;

const HELD: u64 = 100_000;
const ROUNDS: u64 = 1_000_000;

fn byte(at: u64) -> Range {
    Range::new(at, at + 1).unwrap()
}

#[test]
fn a_hundred_thousand_locks_are_in_nobodys_way() {
    let purse = Purses::new().of(1000);
    let mut table = Table::new();
    let owner = |number| Owner::Process(LockOwner(number));
    for number in 0..HELD {
        let kind = if number % 2 == 0 { Kind::Read } else { Kind::Write };
        table
            .set(owner(1 + number % 2), 1, &purse, kind, byte(2 * number))
            .unwrap();
    }
    for round in 0..ROUNDS {
        let at = byte(2 * (round * 7919 % HELD) + 1);
        assert_eq!(table.conflict(owner(3).own(), Kind::Write, at), None);
        table.set(owner(3), 3, &purse, Kind::Write, at).unwrap();
        assert_eq!(table.conflict(owner(4).own(), Kind::Read, at).unwrap().owner, owner(3));
        assert_eq!(table.unset(owner(3), at), Ok(true));
    }
    assert_eq!(table.len() as u64, HELD);
}
