//! The naive model of a table: what each owner holds of each byte, or of each piece between the offsets that matter.

use owltmp::lock::{Kind, Lock, Own, Owner, Range, Table};

/// What each of some owners holds of each of some pieces that lie side by side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bytes {
    /// Where the pieces begin, and where the last one ends.
    pub cuts: Vec<u64>,
    pub owners: Vec<Owner>,
    pub held: Vec<Vec<Option<Kind>>>,
}

impl Bytes {
    pub fn new(cuts: Vec<u64>, owners: Vec<Owner>) -> Bytes {
        let held = vec![vec![None; cuts.len() - 1]; owners.len()];
        Bytes { cuts, owners, held }
    }

    pub fn pid(owner: usize) -> u32 {
        100 + u32::try_from(owner).unwrap()
    }

    pub fn range(&self, pieces: std::ops::Range<usize>) -> Range {
        Range::new(self.cuts[pieces.start], self.cuts[pieces.end]).unwrap()
    }

    /// Whether that changes anything.
    pub fn set(&mut self, owner: usize, pieces: std::ops::Range<usize>, kind: Option<Kind>) -> bool {
        let pieces = &mut self.held[owner][pieces];
        let changes = pieces.iter().any(|held| *held != kind);
        pieces.fill(kind);
        changes
    }

    /// Whether `owner` holds any of it.
    pub fn has(&self, owner: usize, pieces: std::ops::Range<usize>) -> bool {
        self.held[owner][pieces].iter().any(Option::is_some)
    }

    /// All locks: the longest ranges of one owner and kind, by owner and offset.
    pub fn locks(&self) -> Vec<Lock> {
        let mut found: Vec<Lock> = Vec::new();
        for (owner, held) in self.held.iter().enumerate() {
            let begin = found.len();
            for (piece, kind) in held.iter().enumerate() {
                let Some(kind) = *kind else { continue };
                let (start, end) = (self.cuts[piece], self.cuts[piece + 1]);
                match found[begin..].last_mut() {
                    Some(last) if last.range.end() == start && last.kind == kind => {
                        last.range = Range::new(last.range.start(), end).unwrap();
                    }
                    _ => found.push(Lock {
                        range: Range::new(start, end).unwrap(),
                        kind,
                        owner: self.owners[owner],
                        pid: Bytes::pid(owner),
                    }),
                }
            }
        }
        found
    }

    /// The locks in the way.
    pub fn conflicts(&self, own: Own, kind: Kind, range: Range) -> impl Iterator<Item = Lock> {
        self.locks().into_iter().filter(move |lock| {
            lock.range.overlaps(range) && (lock.kind == Kind::Write || kind == Kind::Write) && !own.has(lock.owner)
        })
    }

    /// The table holds exactly these locks.
    pub fn assert_same(&self, table: &Table) {
        let mut found: Vec<Lock> = table.iter().collect();
        let place = |owner| self.owners.iter().position(|it| *it == owner);
        found.sort_unstable_by_key(|lock| (place(lock.owner), lock.range.start()));
        let expected = self.locks();
        assert_eq!(found, expected);
        assert_eq!((table.len(), table.is_empty()), (expected.len(), expected.is_empty()));
    }

    /// The table says the same about what would be in the way.
    pub fn assert_answers(&self, table: &Table, own: Own, kind: Kind, range: Range) {
        let lowest = self.conflicts(own, kind, range).map(|lock| lock.range.start()).min();
        let found = table.conflict(own, kind, range);
        assert_eq!(
            found.map(|lock| lock.range.start()),
            lowest,
            "{own:?} {kind:?} {range:?}"
        );
        let all: Vec<Lock> = self.conflicts(own, kind, range).collect();
        assert!(found.is_none_or(|lock| all.contains(&lock)));
        let mut told = 0;
        let end = table.conflicts(own, kind, range, &mut |lock| {
            assert!(all.contains(&lock));
            told += 1;
            std::ops::ControlFlow::Continue(())
        });
        assert!(end.is_continue());
        assert_eq!(told, all.len());
    }
}
