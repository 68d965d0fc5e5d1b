//! The locks of one file under their lock: what may be asked of them, and how waits begin and end.
//!
//! A waiter is in the queue or it is not, which is decided under the lock. Whoever takes it out answers it, so no wait is
//! answered twice, and none forgotten. An access that is admitted stays in the queue until it is performed, so that it is not
//! overtaken by the locks that wait behind it; meanwhile whoever admitted it has told it so.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Waker;

use super::held::{Access, Kind, Lock, Own, Owner, Request};
use super::pass::{MayGrant, State};
use super::purse::Purse;
use super::queue::{Ticket, Wake, Want};
use super::range::Range;
use super::waits::{Here, Waits};
use super::woken::Woken;
use crate::sync::{LOCKS, ReadGuard, RwLock};
use crate::types::{Errno, Fh};

/// Called under the lock where a request must wait: parks it, and gives whom to tell. An error is the answer to the request,
/// which does not wait then.
pub type Park<'a> = &'a mut dyn FnMut(Ticket) -> Result<Box<dyn Wake>, Errno>;

/// Says which lock stops an access.
pub type Stops<'a> = &'a dyn Fn(&Access) -> Option<Lock>;

/// The locks of one file, and who waits for them.
#[derive(Debug, Default)]
pub struct FileLocks {
    state: RwLock<LOCKS, State>,
}

/// What became of a request for a lock.
#[derive(Debug)]
pub enum Locked<'a> {
    /// It is held. A write lock that became a read lock lets others in.
    Granted(Woken<'a>),
    /// It waits, and is told through its [`Wake`].
    Waiting,
}

/// What became of an access that has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It need not: try again.
    Free,
    /// It waits, and is told through its [`Wake`].
    Waiting,
}

/// What became of an access whose turn it was.
#[derive(Debug)]
pub enum Performed<'a, J, R> {
    /// The result of the transfer. Those it held back may go on.
    Done(R, Woken<'a>),
    /// Somebody was faster. It waits again, at its old place.
    Blocked(Woken<'a>),
    /// It was given up meanwhile; whoever has the job answers.
    Gone(Box<J>),
}

/// No lock is granted on the file while this lives (semantics 5.3): to be held over a transfer.
#[derive(Debug)]
pub struct Transfer<'a> {
    state: ReadGuard<'a, State>,
}

impl Transfer<'_> {
    /// The lowest lock that stops an access.
    pub fn conflict(&self, access: &Access) -> Option<Lock> {
        self.state.table.conflict(access.own, access.kind, access.range)
    }

    /// Whether `test` holds for every owner of a lock; asked about one lock of each (semantics 5.4).
    pub fn every_owner(&self, test: impl Fn(&Lock) -> bool) -> bool {
        !self.state.table.is_any_of_another(test)
    }
}

impl FileLocks {
    /// Nothing is locked, nobody waits.
    pub fn new() -> FileLocks {
        FileLocks::default()
    }

    pub(super) fn state(&self) -> &RwLock<LOCKS, State> {
        &self.state
    }

    /// The lowest lock that stops `own` from a lock of `kind` on `range` (F_GETLK).
    pub fn test(&self, own: Own, kind: Kind, range: Range) -> Option<Lock> {
        self.state.read().table.conflict(own, kind, range)
    }

    /// The lowest lock of `owner` in `range` (F_OFD_GETLK of F_UNLCK).
    pub fn first_of(&self, owner: Owner, range: Range) -> Option<Lock> {
        self.state.read().table.first_of(owner, range)
    }

    /// Sets a lock (F_SETLK; with `wait` F_SETLKW).
    ///
    /// Errors: EAGAIN where it would have to wait and may not; EDEADLK where its wait would close a circle; ENOLCK; what
    /// `may_grant` and `wait` say.
    pub fn lock<'a>(
        self: &'a Arc<Self>,
        waits: &'a Waits,
        purse: &Purse,
        request: Request,
        may_grant: MayGrant<'_>,
        wait: Option<Park<'_>>,
    ) -> Result<Locked<'a>, Errno> {
        let mut woken = Woken::new(self, waits);
        if self.state.write().grant(&request, purse, may_grant, woken.outcome())? {
            return Ok(Locked::Granted(woken));
        }
        let park = wait.ok_or(Errno::EAGAIN)?;
        // The graph comes first, and in between the lock may have become free.
        let mut graph = request.owner.process().map(|process| (process, waits.lock()));
        let mut state = self.state.write();
        if state.grant(&request, purse, may_grant, woken.outcome())? {
            return Ok(Locked::Granted(woken));
        }
        if let Some((process, graph)) = &graph {
            let here = Here {
                file: self,
                state: &state,
            };
            if graph.is_deadlock(here, *process, &request.access()) {
                return Err(Errno::EDEADLK);
            }
        }
        let ticket = state.queue.draw();
        let wake = park(ticket)?;
        state.queue.insert(ticket, Want::Lock(request, purse.clone()), wake);
        if let Some((process, graph)) = &mut graph {
            graph.add(*process, self, ticket);
        }
        Ok(Locked::Waiting)
    }

    /// Sets a lock in place of all its owner holds (flock(2)). As on Linux that is two steps: where the new lock is refused the old one is
    /// lost all the same. Those who wait come after the new lock, if that can be had at once. One who holds just that already keeps it.
    ///
    /// For owners that are open files: no circle of waits is looked for. Errors: as [`FileLocks::lock`].
    pub fn convert<'a>(
        self: &'a Arc<Self>,
        waits: &'a Waits,
        purse: &Purse,
        request: Request,
        may_grant: MayGrant<'_>,
        wait: Option<Park<'_>>,
    ) -> Result<Locked<'a>, Errno> {
        debug_assert!(request.owner.process().is_none());
        let mut woken = Woken::new(self, waits);
        let mut state = self.state.write();
        if state.table.has(request.owner, request.kind, request.range) {
            return Ok(Locked::Granted(woken));
        }
        let freed = state.table.released(request.owner);
        let granted = state.grant(&request, purse, may_grant, woken.outcome());
        if let Some(freed) = freed {
            state.freed(freed, may_grant, woken.outcome());
        }
        // Those who were let in may have made way.
        if granted? || state.grant(&request, purse, may_grant, woken.outcome())? {
            return Ok(Locked::Granted(woken));
        }
        let park = wait.ok_or(Errno::EAGAIN)?;
        let ticket = state.queue.draw();
        let wake = park(ticket)?;
        state.queue.insert(ticket, Want::Lock(request, purse.clone()), wake);
        Ok(Locked::Waiting)
    }

    /// Takes back what `owner` holds of these bytes (F_UNLCK). Errors: ENOLCK (see [`super::Table::unset`]).
    pub fn unlock<'a>(
        &'a self,
        waits: &'a Waits,
        owner: Owner,
        range: Range,
        may_grant: MayGrant<'_>,
    ) -> Result<Woken<'a>, Errno> {
        let mut woken = Woken::new(self, waits);
        let mut state = self.state.write();
        if state.table.unset(owner, range)? {
            state.freed(range, may_grant, woken.outcome());
        }
        drop(state);
        Ok(woken)
    }

    /// Takes back all that `owner` holds: a descriptor was closed, or he died (semantics 4.1).
    pub fn release<'a>(&'a self, waits: &'a Waits, owner: Owner, may_grant: MayGrant<'_>) -> Woken<'a> {
        let mut woken = Woken::new(self, waits);
        // Most files are closed without ever having been locked.
        if self.state.read().table.holds(owner) {
            let mut state = self.state.write();
            if let Some(freed) = state.table.released(owner) {
                state.freed(freed, may_grant, woken.outcome());
            }
        }
        woken
    }

    /// Lets a transfer through, where no lock stops it: to be held until the transfer is done (semantics 5.3). Otherwise the
    /// lowest lock that stops it.
    pub fn access(&self, access: &Access) -> Result<Transfer<'_>, Lock> {
        let state = self.state.read();
        match state.table.conflict(access.own, access.kind, access.range) {
            Some(lock) => Err(lock),
            None => Ok(Transfer { state }),
        }
    }

    /// Lets a transfer through that no lock can stop.
    pub fn share(&self) -> Transfer<'_> {
        Transfer {
            state: self.state.read(),
        }
    }

    /// Makes an access wait that a lock stops.
    ///
    /// Errors: EDEADLK where its wait would close a circle; what `wait` says.
    pub fn wait(self: &Arc<Self>, waits: &Waits, access: Access, wait: Park<'_>) -> Result<Queued, Errno> {
        let mut graph = access.own.process.map(|process| (process, waits.lock()));
        let mut state = self.state.write();
        if !state.table.is_stopped(&access) {
            return Ok(Queued::Free);
        }
        if let Some((process, graph)) = &graph {
            let here = Here {
                file: self,
                state: &state,
            };
            if graph.is_deadlock(here, *process, &access) {
                return Err(Errno::EDEADLK);
            }
        }
        let ticket = state.queue.draw();
        let wake = wait(ticket)?;
        state.queue.insert(ticket, Want::Access(access), wake);
        if let Some((process, graph)) = &mut graph {
            graph.add(*process, self, ticket);
        }
        Ok(Queued::Waiting)
    }

    /// Does the transfer of an access that was told it may try. `transfer` is given what it has waited for, and
    /// what says which lock stops an access, and where
    /// one does gives back the job and the access. No lock is granted or taken while it runs, and no other transfer runs. Should it
    /// panic, the wait is to be [given up](FileLocks::cancel).
    pub fn perform<'a, J: Wake + 'static, R>(
        &'a self,
        waits: &'a Waits,
        ticket: Ticket,
        may_grant: MayGrant<'_>,
        job: Box<J>,
        transfer: impl FnOnce(Box<J>, Access, Stops<'_>) -> Result<R, (Box<J>, Access)>,
    ) -> Performed<'a, J, R> {
        let mut woken = Woken::new(self, waits);
        let mut guard = self.state.write();
        let state = &mut *guard;
        let waiter = state.queue.waiters.get_mut(&ticket);
        let Some(waiter) = waiter.filter(|it| it.is_admitted()) else {
            return Performed::Gone(job);
        };
        let before = waiter.want.access();
        let table = &state.table;
        let performed = match transfer(job, before, &|it| table.conflict(it.own, it.kind, it.range)) {
            Ok(result) => Some(result),
            Err((job, access)) => {
                waiter.want = Want::Access(access);
                waiter.wake = Some(job);
                None
            }
        };
        match performed {
            Some(_) => drop(state.leave(ticket, woken.outcome())),
            None => woken.outcome().again = Some(ticket),
        }
        // It holds nobody back any more.
        state.freed(before.range, may_grant, woken.outcome());
        drop(guard);
        match performed {
            Some(result) => Performed::Done(result, woken),
            None => Performed::Blocked(woken),
        }
    }

    /// Gives a wait up (a signal): whom it would have told, if it still waited. `None` where the wait has just ended; where it was
    /// an access that has not been performed, it will not be, and [`FileLocks::perform`] gives its job back.
    pub fn cancel<'a>(
        &'a self,
        waits: &'a Waits,
        ticket: Ticket,
        may_grant: MayGrant<'_>,
    ) -> Option<(Box<dyn Wake>, Woken<'a>)> {
        let mut woken = Woken::new(self, waits);
        let mut state = self.state.write();
        let waiter = state.leave(ticket, woken.outcome())?;
        if waiter.is_admitted() {
            state.freed(waiter.want.access().range, may_grant, woken.outcome());
        }
        drop(state);
        Some((waiter.wake?, woken))
    }

    /// Descriptors were closed for which `closed` holds, by a process that waits for locks: what it waits for by one of those ends with
    /// EBADF when its turn comes, as on Linux. Errors: none; whoever it has is told then.
    pub fn note_closed(&self, owner: Owner, closed: &dyn Fn(u64) -> bool) {
        let mut state = self.state.write();
        for waiter in state.queue.waiters.values_mut() {
            let is_his = matches!(&waiter.want, Want::Lock(request, _) if request.owner == owner);
            if is_his && let Some(wake) = &waiter.wake {
                waiter.closed |= wake.descriptor().is_some_and(closed);
            }
        }
    }

    /// Whether an owner waits for a lock, or by one of its accesses.
    pub fn waits(&self, owner: Owner) -> bool {
        self.state.read().queue.of_owner.contains_key(&owner)
    }

    /// Somebody polls by an open file: he is told when locks have gone.
    pub fn add_poller(&self, file: Fh, waker: Waker) {
        if !self.state.read().pollers.contains_key(&file) {
            self.state.write().pollers.insert(file, waker);
        }
    }

    /// Nobody polls by an open file any more: it is closed.
    pub fn remove_poller(&self, file: Fh) {
        if self.state.read().pollers.contains_key(&file) {
            self.state.write().pollers.remove(&file);
        }
    }

    /// Lets all accesses that wait, and who polls, try again (semantics 5.7: locks bind them no longer).
    pub fn release_accesses<'a>(&'a self, waits: &'a Waits) -> Woken<'a> {
        let mut woken = Woken::new(self, waits);
        let mut state = self.state.write();
        for waiter in state.queue.waiters.values_mut() {
            if matches!(waiter.want, Want::Access(_)) {
                let wake = waiter.wake.take();
                woken.outcome().answers.extend(wake.map(|wake| (wake, Ok(()))));
            }
        }
        state.wake_pollers(woken.outcome());
        drop(state);
        woken
    }

    /// Looks at all waiters again, as something has changed that `may_grant` depends on (semantics 5.6).
    pub fn reconsider<'a>(&'a self, waits: &'a Waits, may_grant: MayGrant<'_>) -> Woken<'a> {
        let mut woken = Woken::new(self, waits);
        self.state.write().freed(Range::ALL, may_grant, woken.outcome());
        woken
    }

    /// All locks that stop `own` from a lock or an access of `kind` on `range`.
    pub fn holders(&self, own: Own, kind: Kind, range: Range) -> Vec<Lock> {
        let mut found = Vec::new();
        let _ = self.state.read().table.conflicts(own, kind, range, &mut |lock| {
            found.push(lock);
            ControlFlow::Continue(())
        });
        found
    }

    /// Whether `test` holds for every lock that stops an access. Ends with the first for which it does not.
    pub fn every_conflict(&self, access: &Access, test: &dyn Fn(&Lock) -> bool) -> bool {
        let state = self.state.read();
        let mut every = true;
        let _ = state
            .table
            .conflicts(access.own, access.kind, access.range, &mut |lock| {
                every = test(&lock);
                if every {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
        every
    }

    /// Whether a transfer whose wait is over is still to be done.
    pub fn is_anybody_admitted(&self) -> bool {
        let state = self.state.read();
        state.queue.waiters.values().any(|waiter| waiter.is_admitted())
    }

    /// Whether anybody holds a lock that is not the caller's own (semantics 5.4). `own` is asked about one lock of each owner.
    pub fn is_any_of_another(&self, own: impl Fn(&Lock) -> bool) -> bool {
        self.state.read().table.is_any_of_another(own)
    }

    /// A lock of an owner for one of whose locks `test` holds; asked about one lock of each.
    pub fn of_an_owner(&self, test: impl Fn(&Lock) -> bool) -> Option<Lock> {
        let found = Cell::new(None);
        self.is_any_of_another(|lock| {
            let is_it = test(lock);
            if is_it {
                found.set(Some(*lock));
            }
            !is_it
        });
        found.into_inner()
    }

    /// Whether `owner` holds anything.
    pub fn holds(&self, owner: Owner) -> bool {
        self.state.read().table.holds(owner)
    }

    /// All locks that are held, owner by owner.
    pub fn locks(&self) -> Vec<Lock> {
        self.state.read().table.iter().collect()
    }

    /// How many wait, those included whose turn it is.
    pub fn waiting(&self) -> usize {
        self.state.read().queue.waiters.len()
    }

    /// Whether nothing is locked and nobody waits.
    pub fn is_idle(&self) -> bool {
        let state = self.state.read();
        state.table.is_empty() && state.queue.is_empty()
    }
}
