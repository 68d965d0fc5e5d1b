//! Random locks of many owners, with ranges up to the last offset there is, against the naive model.

use owltmp::lock::{Kind, Own, Owner, Purses, Range, Table};
use owltmp::types::{Fh, LockOwner};
use proptest::prelude::*;

use super::bytes::Bytes;

const OWNERS: usize = 12;
const PIECES: usize = 40;

fn owners() -> Vec<Owner> {
    let half = OWNERS as u64 / 2;
    let processes = (0..half).map(|it| Owner::Process(LockOwner(it)));
    processes.chain((0..half).map(|it| Owner::OpenFile(Fh(it)))).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize, Kind, usize, usize),
    /// Only where nobody is in the way.
    Try(usize, Kind, usize, usize),
    Unset(usize, usize, usize),
    Release(usize),
    Ask(usize, usize, Kind, usize, usize),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Read), Just(Kind::Write)]
}

fn pieces() -> impl Strategy<Value = (usize, usize)> {
    let some = |most: usize| (0..PIECES, 1..most).prop_map(|(start, len)| (start, PIECES.min(start + len)));
    prop_oneof![3 => some(4), 1 => some(PIECES)]
}

fn step() -> impl Strategy<Value = Step> {
    let owner = || 0..OWNERS;
    prop_oneof![
        4 => (owner(), kind(), pieces()).prop_map(|(owner, kind, (start, end))| Step::Set(owner, kind, start, end)),
        4 => (owner(), kind(), pieces()).prop_map(|(owner, kind, (start, end))| Step::Try(owner, kind, start, end)),
        3 => (owner(), pieces()).prop_map(|(owner, (start, end))| Step::Unset(owner, start, end)),
        1 => owner().prop_map(Step::Release),
        3 => (owner(), owner(), kind(), pieces())
            .prop_map(|(one, two, kind, (start, end))| Step::Ask(one, two, kind, start, end)),
    ]
}

/// Offsets in order, the least and the greatest among them, many side by side.
fn cuts() -> impl Strategy<Value = Vec<u64>> {
    let offset = prop_oneof![1..200_u64, Range::END - 50..Range::END, 1..Range::END];
    proptest::collection::btree_set(offset, PIECES - 1).prop_map(|cuts| {
        let between = cuts.into_iter().chain([Range::END]);
        std::iter::once(0).chain(between).collect()
    })
}

fn run(cuts: Vec<u64>, steps: &[Step]) {
    let purses = Purses::new();
    let purse = purses.of(1);
    let mut table = Table::new();
    let owners = owners();
    let mut bytes = Bytes::new(cuts, owners.clone());
    for step in steps {
        match *step {
            Step::Set(owner, kind, start, end) | Step::Try(owner, kind, start, end) => {
                let pieces = start..end;
                let range = bytes.range(pieces.clone());
                let own = owners[owner].own();
                bytes.assert_answers(&table, own, kind, range);
                if matches!(step, Step::Set(..)) || table.conflict(own, kind, range).is_none() {
                    table
                        .set(owners[owner], Bytes::pid(owner), &purse, kind, range)
                        .unwrap();
                    bytes.set(owner, pieces, Some(kind));
                }
            }
            Step::Unset(owner, start, end) => {
                let pieces = start..end;
                let had = bytes.has(owner, pieces.clone());
                assert_eq!(table.unset(owners[owner], bytes.range(pieces.clone())), Ok(had));
                bytes.set(owner, pieces, None);
            }
            Step::Release(owner) => {
                let all = 0..PIECES;
                assert_eq!(table.release(owners[owner]), bytes.has(owner, all.clone()));
                bytes.set(owner, all, None);
            }
            Step::Ask(one, two, kind, start, end) => {
                let range = bytes.range(start..end);
                let own = Own {
                    process: owners[one].own().process,
                    file: owners[two].own().file,
                };
                bytes.assert_answers(&table, own, kind, range);
            }
        }
        bytes.assert_same(&table);
        assert_eq!(purse.held(), table.len());
        for (at, &owner) in owners.iter().enumerate() {
            assert_eq!(table.holds(owner), bytes.has(at, 0..PIECES));
        }
    }
    drop((table, purse));
    assert_eq!(purses.users(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_holds_what_the_model_holds(cuts in cuts(), steps in proptest::collection::vec(step(), 1..150)) {
        run(cuts, &steps);
    }
}
