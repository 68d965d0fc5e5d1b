//! The locks of one file as people see them: who holds, who waits, and locks that are broken. Nothing here looks at many locks
//! under one hold, but for a glance at each owner.

use super::file::FileLocks;
use super::held::{Access, Held, Owner};
use super::pass::MayGrant;
use super::queue::Want;
use super::range::Range;
use super::waits::Waits;
use super::woken::Woken;
use crate::types::{Caller, Errno, Timestamp};

/// The most locks of each kind that are broken under one hold.
const AT_ONCE: usize = 512;

/// One that waits.
#[derive(Clone, Debug)]
pub struct Waited {
    /// What must not be held by others.
    pub access: Access,
    /// Whose the lock will be; `None` for a read or a write.
    pub owner: Option<Owner>,
    /// The process that asks for a lock; `None` for a read or a write.
    pub pid: Option<u32>,
    /// Who waits, where it is known.
    pub caller: Option<Caller>,
    /// Since when.
    pub since: Timestamp,
    /// The lowest lock in the way.
    pub blocked_by: Option<Held>,
}

/// Locks that were broken.
#[derive(Debug, Default)]
pub struct Broken {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub first: Vec<Held>,
    /// Why not all: a lock would have been split and there are too many (ENOLCK).
    pub failed: Option<Errno>,
}

impl FileLocks {
    /// Up to `most` locks of a user, or of all; and how many more there are.
    pub fn held(&self, of: Option<u32>, most: usize) -> (Vec<Held>, usize) {
        let state = self.state().read();
        let owners = || state.table.owners(move |_, uid| of.is_none_or(|of| of == uid));
        let all = owners().flat_map(|owner| state.table.held_by(owner));
        let found: Vec<Held> = all.take(most).collect();
        let count = match of {
            None => state.table.len(),
            Some(_) => owners().map(|owner| state.table.count_of(owner)).sum(),
        };
        let more = count - found.len();
        (found, more)
    }

    /// Up to `most` of those who wait for which `test` holds, told their user, in order of arrival; and how many more there are.
    pub fn waited(&self, test: &dyn Fn(Option<u32>) -> bool, most: usize) -> (Vec<Waited>, usize) {
        let state = self.state().read();
        let (mut found, mut more) = (Vec::new(), 0);
        for waiter in state.queue.waiters.values() {
            let caller = waiter.wake.as_ref().and_then(|wake| wake.caller());
            let (owner, pid, uid) = match &waiter.want {
                Want::Lock(request, purse) => (Some(request.owner), Some(request.pid), Some(purse.uid())),
                Want::Access(_) => (None, None, caller.map(|caller| caller.uid)),
            };
            // One whose turn it is waits for nothing any more.
            if waiter.is_admitted() || !test(uid) {
                continue;
            }
            if found.len() == most {
                more += 1;
                continue;
            }
            let access = waiter.want.access();
            let lock = state.table.conflict(access.own, access.kind, access.range);
            found.push(Waited {
                access,
                owner,
                pid,
                caller,
                since: waiter.since,
                blocked_by: lock.and_then(|lock| state.table.about(lock)),
            });
        }
        (found, more)
    }

    /// Takes from all owners for which `test` holds, told their process and their user, what they hold of these bytes, and lets in who
    /// waits for it. Others may lock meanwhile, and those owners too: what they take then is theirs. `first` says how many of the broken
    /// locks are told.
    pub fn break_locks(
        &self,
        waits: &Waits,
        test: &dyn Fn(u32, u32) -> bool,
        range: Range,
        may_grant: MayGrant<'_>,
        first: usize,
    ) -> Broken {
        let owners: Vec<Owner> = self.state().read().table.owners(test).collect();
        let mut broken = Broken::default();
        for owner in owners {
            let mut rest = Some(range);
            while let Some(range) = rest {
                let mut woken = Woken::new(self, waits);
                let mut state = self.state().write();
                let Some((found, piece)) = state.table.piece(owner, range, AT_ONCE) else {
                    break;
                };
                match state.table.unset(owner, piece) {
                    Ok(_) => state.freed(piece, may_grant, woken.outcome()),
                    Err(errno) => {
                        broken.failed = Some(errno);
                        break;
                    }
                }
                drop(state);
                woken.run();
                broken.count += found.len();
                let room = first - broken.first.len();
                broken.first.extend(found.into_iter().take(room));
                rest = Range::new(piece.end(), range.end());
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::lock::{Kind, Locked, Own, Purses, Request, Wake};
    use crate::types::LockOwner;

    /// Notes what it is told.
    struct Ear(Arc<Mutex<Vec<Result<(), Errno>>>>);

    impl Wake for Ear {
        fn wake(self: Box<Self>, result: Result<(), Errno>) {
            self.0.lock().unwrap().push(result);
        }
    }

    struct World {
        locks: Arc<FileLocks>,
        waits: Waits,
        purses: Purses,
        told: Arc<Mutex<Vec<Result<(), Errno>>>>,
    }

    fn process(number: u64) -> Owner {
        Owner::Process(LockOwner(number))
    }

    impl World {
        fn new() -> World {
            World {
                locks: Arc::default(),
                waits: Waits::default(),
                purses: Purses::new(),
                told: Arc::default(),
            }
        }

        /// A write lock of the process of that number and user.
        fn lock(&self, number: u32, start: u64, end: u64) -> bool {
            let request = Request {
                owner: process(u64::from(number)),
                pid: number,
                kind: Kind::Write,
                range: Range::new(start, end).unwrap(),
            };
            let purse = self.purses.of(number);
            let mut park = |_| Ok(Box::new(Ear(Arc::clone(&self.told))) as Box<dyn Wake>);
            let locked = self
                .locks
                .lock(&self.waits, &purse, request, &|| Ok(()), Some(&mut park));
            matches!(locked.unwrap(), Locked::Granted(_))
        }

        fn unlock(&self, pid: Option<u32>, start: u64, end: u64) -> Broken {
            let test = |it: u32, _| pid.is_none_or(|pid| pid == it);
            let range = Range::new(start, end).unwrap();
            self.locks.break_locks(&self.waits, &test, range, &|| Ok(()), 3)
        }

        fn count(&self) -> usize {
            self.locks.locks().len()
        }
    }

    #[test]
    fn locks_are_told_with_their_users_up_to_a_bound() {
        let world = World::new();
        for at in 0..10 {
            assert!(world.lock(7, 10 * at, 10 * at + 5) && world.lock(8, 10 * at + 5, 10 * at + 6));
        }
        let (held, more) = world.locks.held(None, 15);
        assert_eq!((held.len(), more), (15, 5));
        let (held, more) = world.locks.held(Some(8), 100);
        assert_eq!((held.len(), more), (10, 0));
        assert!(
            held.iter()
                .all(|it| it.uid == 8 && it.lock.pid == 8 && it.since.secs > 0)
        );
    }

    #[test]
    fn who_waits_is_told_with_what_is_in_the_way() {
        let world = World::new();
        assert!(world.lock(7, 0, 5) && !world.lock(8, 3, 4) && !world.lock(9, 0, 9));
        let (waited, more) = world.locks.waited(&|_| true, 1);
        assert_eq!((waited.len(), more), (1, 1));
        assert_eq!((waited[0].pid, waited[0].blocked_by.unwrap().lock.pid), (Some(8), 7));
        let (waited, more) = world.locks.waited(&|uid| uid == Some(9), 5);
        assert_eq!((waited.len(), waited[0].pid, more), (1, Some(9), 0));
    }

    #[test]
    fn a_broken_lock_lets_in_who_waits() {
        let world = World::new();
        assert!(world.lock(7, 0, 5) && world.lock(8, 5, 9) && !world.lock(9, 2, 3));
        let broken = world.unlock(Some(8), 0, 100);
        assert_eq!((broken.count, broken.first[0].lock.pid), (1, 8));
        assert_eq!(world.told.lock().unwrap().len(), 0);
        assert_eq!(world.unlock(Some(7), 2, 4).count, 1);
        assert_eq!(*world.told.lock().unwrap(), [Ok(())]);
        let held: Vec<_> = world.locks.locks().iter().map(|it| (it.pid, it.range)).collect();
        let mut wanted = vec![
            (7, Range::new(0, 2).unwrap()),
            (7, Range::new(4, 5).unwrap()),
            (9, Range::new(2, 3).unwrap()),
        ];
        wanted.sort_by_key(|it| it.1.start());
        let mut held = held;
        held.sort_by_key(|it| it.1.start());
        assert_eq!(held, wanted);
        assert_eq!(world.unlock(None, 0, Range::END).count, 3);
        assert!(world.locks.is_idle() && world.waits.is_empty());
        assert_eq!(world.unlock(None, 0, Range::END).count, 0);
    }

    #[test]
    fn many_locks_go_piece_by_piece() {
        let world = World::new();
        let many = 5 * AT_ONCE as u64 + 7;
        for at in 0..many {
            assert!(world.lock(7, 4 * at, 4 * at + 2));
        }
        let broken = world.unlock(None, 4, 4 * many - 3);
        assert_eq!((broken.count as u64, broken.first.len()), (many - 1, 3));
        assert_eq!(world.count(), 2, "the first, and a byte of the last");
        let own = Own::default();
        assert_eq!(
            world.locks.test(own, Kind::Write, Range::ALL).unwrap().range,
            Range::new(0, 2).unwrap()
        );
    }
}
