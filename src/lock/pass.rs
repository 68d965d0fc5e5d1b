//! The state of one file's locks, and what becomes of its waiters when bytes are freed.
//!
//! In order of arrival (semantics 4.6): a lock is granted where no lock that is held stops it, and no access that came before
//! it and is about to be performed; an access is admitted where no lock that is held stops it. Who still has to wait for a
//! held lock hinders nobody.

use std::collections::BTreeMap;
use std::task::Waker;

use super::held::{Access, Kind, Lock, Owner, Request};
use super::purse::Purse;
use super::queue::{Queue, Ticket, Waiter, Wake, Want};
use super::range::Range;
use super::runs::Runs;
use super::table::Table;
use crate::types::{Errno, Fh, LockOwner};

/// Asked directly before each grant, under the lock, whether the lock can be kept (semantics 5.6). An error is the answer to
/// whoever wanted the lock.
pub type MayGrant<'a> = &'a dyn Fn() -> Result<(), Errno>;

/// What is to be done once the lock on the state is dropped.
#[derive(Default)]
pub(super) struct Outcome {
    /// In order.
    pub(super) answers: Vec<(Box<dyn Wake>, Result<(), Errno>)>,
    /// Waits of processes that are over.
    pub(super) ended: Vec<(LockOwner, Ticket)>,
    /// Processes that were given a lock while others wait: these may wait for each other now.
    pub(super) granted: Vec<LockOwner>,
    /// An access that waits again.
    pub(super) again: Option<Ticket>,
    /// Who polls, where locks may have gone.
    pub(super) pollers: Vec<Waker>,
}

/// The locks of one file, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) table: Table,
    pub(super) queue: Queue,
    /// Who polls, by which open file: where he was refused because of a lock he may try again when one has gone.
    pub(super) pollers: BTreeMap<Fh, Waker>,
}

/// One walk over the waiters.
struct Pass<'a> {
    table: &'a mut Table,
    freed: &'a Runs,
    may_grant: MayGrant<'a>,
    /// What of the freed bytes no write lock was granted on since.
    open: Runs,
    /// The accesses that came before and are about to be performed.
    admitted: Vec<Access>,
    /// The lock that stopped somebody last: likely it stops the next one too.
    blocker: Option<Lock>,
    /// The same for `admitted`.
    last: usize,
    /// Where a write lock became a read lock, or locks have gone.
    downgraded: Option<Range>,
}

impl State {
    /// Grants a lock where no other stops it; whether it did. Errors: what `may_grant` says; ENOLCK.
    pub(super) fn grant(
        &mut self,
        request: &Request,
        purse: &Purse,
        may_grant: MayGrant<'_>,
        outcome: &mut Outcome,
    ) -> Result<bool, Errno> {
        if self.table.is_stopped(&request.access()) {
            return Ok(false);
        }
        let downgraded = set(&mut self.table, request, purse, may_grant)?;
        if !self.queue.is_empty() {
            outcome.granted.extend(request.owner.process());
        }
        if let Some(range) = downgraded {
            self.freed(range, may_grant, outcome);
        }
        Ok(true)
    }

    /// Sees to the waiters after locks or accesses in `range` have gone.
    pub(super) fn freed(&mut self, range: Range, may_grant: MayGrant<'_>, outcome: &mut Outcome) {
        self.wake_pollers(outcome);
        if self.queue.is_empty() {
            return;
        }
        let mut freed = Runs::of(range);
        // A grant may be a downgrade, which lets in others who may have come before: the walk begins again.
        while let Some(more) = self.walk(&freed, may_grant, outcome) {
            freed.unite(more);
        }
    }

    /// Lets all who poll look again.
    pub(super) fn wake_pollers(&self, outcome: &mut Outcome) {
        if outcome.pollers.is_empty() {
            outcome.pollers.extend(self.pollers.values().cloned());
        }
    }

    /// Returns what else was freed, if it broke off for that.
    fn walk(&mut self, freed: &Runs, may_grant: MayGrant<'_>, outcome: &mut Outcome) -> Option<Range> {
        let mut pass = Pass {
            table: &mut self.table,
            freed,
            may_grant,
            open: freed.clone(),
            admitted: Vec::new(),
            blocker: None,
            last: 0,
            downgraded: None,
        };
        let mut gone = Vec::new();
        let mut of_same_owner = false;
        for (&ticket, waiter) in &mut self.queue.waiters {
            let Some(result) = pass.consider(waiter) else { continue };
            outcome.answers.extend(waiter.wake.take().map(|wake| (wake, result)));
            let Want::Lock(request, _) = &waiter.want else { continue };
            gone.push(ticket);
            if result.is_ok() {
                outcome.granted.extend(request.owner.process());
                of_same_owner |= self.queue.of_owner.get(&request.owner).is_some_and(|&count| count > 1);
            }
            // All is taken again, and only who took it can get more of it.
            let over = pass.open.is_empty() && !of_same_owner;
            if over || pass.downgraded.is_some() {
                break;
            }
        }
        let downgraded = pass.downgraded;
        for ticket in gone {
            self.leave(ticket, outcome);
        }
        downgraded
    }

    /// Those whom locks of the process `holder` stop, the youngest first: process and wait.
    pub(super) fn stopped_by(&self, holder: LockOwner) -> impl Iterator<Item = (LockOwner, Ticket)> {
        self.queue.waiters.iter().rev().filter_map(move |(&ticket, waiter)| {
            let process = waiter.process().filter(|_| !waiter.is_admitted())?;
            let stops = self.table.stops(Owner::Process(holder), &waiter.want.access());
            stops.then_some((process, ticket))
        })
    }

    /// Takes a waiter out of the queue.
    pub(super) fn leave(&mut self, ticket: Ticket, outcome: &mut Outcome) -> Option<Waiter> {
        let waiter = self.queue.remove(ticket)?;
        outcome.ended.extend(waiter.process().map(|process| (process, ticket)));
        Some(waiter)
    }
}

impl Pass<'_> {
    /// The end of the wait, if it has come.
    fn consider(&mut self, waiter: &Waiter) -> Option<Result<(), Errno>> {
        let access = waiter.want.access();
        if waiter.is_admitted() {
            self.admitted.push(access);
            return None;
        }
        // The cheapest question first: most often all want the same.
        let stopped = self.blocker.is_some_and(|lock| lock.stops(&access))
            || self.freed.first_overlapping(access.range).is_none()
            || self.is_stopped(&access);
        if stopped {
            return None;
        }
        match &waiter.want {
            Want::Access(_) => {
                self.admitted.push(access);
                Some(Ok(()))
            }
            Want::Lock(request, _) if self.is_held_back(request) => None,
            Want::Lock(request, _) if waiter.closed => Some(self.zap(request.owner)),
            Want::Lock(request, purse) => Some(self.grant(request, purse)),
        }
    }

    fn is_stopped(&mut self, access: &Access) -> bool {
        let found = self.table.conflict(access.own, access.kind, access.range);
        self.blocker = found.or(self.blocker);
        found.is_some()
    }

    fn is_held_back(&mut self, request: &Request) -> bool {
        let holds_back = |access: &Access| {
            access.kind.conflicts(request.kind)
                && access.range.overlaps(request.range)
                && !access.own.has(request.owner)
        };
        if self.admitted.get(self.last).is_some_and(holds_back) {
            return true;
        }
        let found = self.admitted.iter().position(holds_back);
        self.last = found.unwrap_or(self.last);
        found.is_some()
    }

    /// It is the turn of one who has closed the descriptor by which he waited: as on Linux he loses all his locks on the file
    /// (`fcntl_setlk`).
    fn zap(&mut self, owner: Owner) -> Result<(), Errno> {
        self.downgraded = self.table.released(owner);
        self.blocker = None;
        Err(Errno::EBADF)
    }

    fn grant(&mut self, request: &Request, purse: &Purse) -> Result<(), Errno> {
        self.downgraded = set(self.table, request, purse, self.may_grant)?;
        // The one remembered may have been his.
        self.blocker = None;
        if request.kind == Kind::Write {
            self.open.carve(request.range);
        }
        Ok(())
    }
}

/// Sets a lock that nothing stops; returns where a write lock may have become a read lock. Errors: what `may_grant` says; ENOLCK.
fn set(table: &mut Table, request: &Request, purse: &Purse, may_grant: MayGrant<'_>) -> Result<Option<Range>, Errno> {
    let Request {
        owner,
        pid,
        kind,
        range,
    } = *request;
    may_grant()?;
    let downgrades = kind == Kind::Read && table.has(owner, Kind::Write, range);
    table.set(owner, pid, purse, kind, range)?;
    Ok(downgrades.then_some(range))
}
