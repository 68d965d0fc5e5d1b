//! What remains to be done after the state of a file's locks has changed, and its lock is dropped: to look for deadlocks that
//! the change has made, and to tell those whose wait is over, and who polls.

use super::file::FileLocks;
use super::pass::{Outcome, State};
use super::queue::Ticket;
use super::waits::{Graph, Here, Waits};
use crate::types::{Errno, LockOwner};

/// Those whose wait is over. They are told when this is dropped; the caller drops it where it holds no lock of the level WAITS or
/// above.
#[must_use = "dropping it tells the waiters, which must not happen under a lock"]
pub struct Woken<'a> {
    locks: &'a FileLocks,
    waits: &'a Waits,
    outcome: Outcome,
}

impl<'a> Woken<'a> {
    /// Of nobody so far.
    pub(super) fn new(locks: &'a FileLocks, waits: &'a Waits) -> Woken<'a> {
        Woken {
            locks,
            waits,
            outcome: Outcome::default(),
        }
    }

    pub(super) fn outcome(&mut self) -> &mut Outcome {
        &mut self.outcome
    }

    /// How many are told.
    pub fn len(&self) -> usize {
        self.outcome.answers.len()
    }

    /// Whether nobody is told.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells them, in order of arrival.
    pub fn run(self) {
        drop(self);
    }

    fn settle(&mut self) {
        let Outcome {
            ended, granted, again, ..
        } = &mut self.outcome;
        let (ended, granted, again) = (std::mem::take(ended), std::mem::take(granted), again.take());
        if ended.is_empty() && granted.is_empty() && again.is_none() || self.waits.is_empty() {
            return;
        }
        let mut graph = self.waits.lock();
        for (process, ticket) in ended {
            graph.remove(process, self.locks, ticket);
        }
        if let Some(ticket) = again {
            self.refuse_again(&mut graph, ticket);
        }
        for process in granted {
            if graph.waits(process) {
                self.refuse_those_who_wait_for(&mut graph, process);
            }
        }
    }

    /// An access that was tried and waits again may wait for whoever waits for its process.
    fn refuse_again(&mut self, graph: &mut Graph<'_>, ticket: Ticket) {
        let locks = self.locks;
        let mut state = locks.state().write();
        let Some(waiter) = state.queue.waiters.get(&ticket).filter(|it| !it.is_admitted()) else {
            return;
        };
        let Some(process) = waiter.process() else { return };
        let here = Here {
            file: locks,
            state: &state,
        };
        if graph.is_deadlock(here, process, &waiter.want.access()) {
            self.refuse(graph, &mut state, ticket);
        }
    }

    /// A process was given a lock while another of its threads waits: those whom the lock stops wait for it now, and it may wait
    /// for them. They are refused, as on Linux when they look again: the youngest first, and none whom that has helped.
    fn refuse_those_who_wait_for(&mut self, graph: &mut Graph<'_>, holder: LockOwner) {
        let locks = self.locks;
        let mut state = locks.state().write();
        while let Some(victim) = victim(graph, self.locks, &state, holder) {
            // Its other threads are in the same circle: what leads to the process does not lead through it.
            let stopped = state.stopped_by(holder);
            let all: Vec<Ticket> = stopped
                .filter(|(process, _)| *process == victim)
                .map(|(_, ticket)| ticket)
                .collect();
            for ticket in all {
                self.refuse(graph, &mut state, ticket);
            }
        }
    }

    fn refuse(&mut self, graph: &mut Graph<'_>, state: &mut State, ticket: Ticket) {
        let Some(waiter) = state.queue.remove(ticket) else {
            return;
        };
        if let Some(process) = waiter.process() {
            graph.remove(process, self.locks, ticket);
        }
        let answer = waiter.wake.map(|wake| (wake, Err(Errno::EDEADLK)));
        self.outcome.answers.extend(answer);
    }
}

/// The process that came last of those whom a lock of `holder` stops and for whom it waits, directly or not.
fn victim(graph: &Graph<'_>, file: &FileLocks, state: &State, holder: LockOwner) -> Option<LockOwner> {
    let mut stopped = state.stopped_by(holder).peekable();
    stopped.peek()?;
    let reach = graph.reach(Here { file, state }, holder);
    stopped
        .map(|(process, _)| process)
        .find(|process| reach.contains(process))
}

impl Drop for Woken<'_> {
    fn drop(&mut self) {
        self.settle();
        for (wake, result) in std::mem::take(&mut self.outcome.answers) {
            wake.wake(result);
        }
        for poller in std::mem::take(&mut self.outcome.pollers) {
            poller.wake();
        }
    }
}

impl std::fmt::Debug for Woken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Woken").field("len", &self.len()).finish()
    }
}
