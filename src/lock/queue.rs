//! Who waits for the locks of one file, in order of arrival.

use std::collections::{BTreeMap, HashMap};

use super::held::{Access, Owner, Request};
use super::purse::Purse;
use crate::types::{Caller, Errno, LockOwner, Timestamp};

/// Told when a wait is over: a lock is held, or an access may be tried again. Called with no lock of this layer held.
pub trait Wake: Send + Sync {
    /// The wait is over: granted, or why not.
    fn wake(self: Box<Self>, result: Result<(), Errno>);

    /// The descriptor by which a lock is waited for, where it is known.
    fn descriptor(&self) -> Option<u64> {
        None
    }

    /// Who waits, where it is known.
    fn caller(&self) -> Option<Caller> {
        None
    }
}

/// A wait. Numbers grow in order of arrival on one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// What is waited for.
#[derive(Debug)]
pub(super) enum Want {
    Lock(Request, Purse),
    Access(Access),
}

impl Want {
    /// What must not be held by others.
    pub(super) fn access(&self) -> Access {
        match self {
            Want::Lock(request, _) => request.access(),
            Want::Access(access) => *access,
        }
    }
}

/// One that waits.
pub(super) struct Waiter {
    pub(super) want: Want,
    /// Whom to tell. None: it was told. It is an access then, which is about to be performed.
    pub(super) wake: Option<Box<dyn Wake>>,
    /// The descriptor by which it waits was closed meanwhile: it gets no lock in the end.
    pub(super) closed: bool,
    /// Since when it waits.
    pub(super) since: Timestamp,
}

impl Waiter {
    /// The process that waits, as far as the graph is concerned (semantics 4.3).
    pub(super) fn process(&self) -> Option<LockOwner> {
        match &self.want {
            Want::Lock(request, _) => request.owner.process(),
            Want::Access(access) => access.own.process,
        }
    }

    pub(super) fn is_admitted(&self) -> bool {
        self.wake.is_none()
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter")
            .field("want", &self.want)
            .field("admitted", &self.is_admitted())
            .finish()
    }
}

/// All that wait for the locks of one file. How many may is for whoever parks them to say.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiters: BTreeMap<Ticket, Waiter>,
    /// How many waits each owner has here; an access counts for each of its two.
    pub(super) of_owner: HashMap<Owner, usize>,
    next: u64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// The number of whoever comes next.
    pub(super) fn draw(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    pub(super) fn insert(&mut self, ticket: Ticket, want: Want, wake: Box<dyn Wake>) {
        for owner in want.access().own.owners() {
            *self.of_owner.entry(owner).or_default() += 1;
        }
        let waiter = Waiter {
            want,
            wake: Some(wake),
            closed: false,
            since: Timestamp::recent(),
        };
        self.waiters.insert(ticket, waiter);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiter> {
        let waiter = self.waiters.remove(&ticket)?;
        for owner in waiter.want.access().own.owners() {
            if let Some(count) = self.of_owner.get_mut(&owner) {
                *count -= 1;
                if *count == 0 {
                    self.of_owner.remove(&owner);
                }
            }
        }
        if self.waiters.is_empty() {
            self.of_owner = HashMap::new();
        }
        Some(waiter)
    }
}
