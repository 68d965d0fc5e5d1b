//! Requests that wait for their answer without keeping a worker, and the signals that end the wait.
//!
//! A signal for the waiting caller makes the kernel send INTERRUPT with the number of the request it means. Three things can
//! have happened to that request:
//!
//! - it is parked: whoever parked it gives the wait up, it is answered EINTR, and the kernel restarts or ends the system
//!   call as SA_RESTART says. Should the wait have ended at the same moment, whoever ended it answers;
//! - a worker is at it: should it park later, it is answered EINTR then;
//! - neither: the INTERRUPT has overtaken it, or came too late. EAGAIN makes the kernel send it again if the request is
//!   still there.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::device::Device;
use super::reply::{Delivery, deliver};
use crate::sync::{Mutex, PARKED};
use crate::types::{Errno, Unique};

/// The most requests that wait at once; the next one gets EAGAIN.
pub const MAX_PARKED: usize = 1 << 16;

/// No request: the kernel counts from 2.
const IDLE: u64 = 0;

/// Gives a wait up, and tells whether the request is still to be answered EINTR: not where that was done, and not where the wait
/// has just ended and somebody is about to answer.
pub type GiveUp = Box<dyn FnOnce() -> bool + Send>;

struct Waiting {
    slot: Arc<Slot>,
    give_up: GiveUp,
}

/// Where a parked request is answered, and whether it was.
#[derive(Debug)]
struct Slot {
    device: Arc<Device>,
    unique: Unique,
    answered: AtomicBool,
}

impl Slot {
    /// Answers unless that has been done.
    fn answer(&self, result: Result<&[&[u8]], Errno>) -> Delivery {
        if self.answered.swap(true, Ordering::AcqRel) {
            return Delivery::Refused;
        }
        deliver(&self.device, self.unique, result)
    }
}

#[derive(Default)]
struct State {
    waiting: HashMap<Unique, Waiting>,
    /// Requests that a worker is at and whose INTERRUPT has come.
    interrupted: Vec<Unique>,
}

/// All parked requests of a session.
pub struct Parking {
    state: Mutex<PARKED, State>,
    /// What each worker is at.
    running: Box<[AtomicU64]>,
    /// The length of `interrupted`, so that a worker that finishes need not lock to see that it is not in it.
    interrupted: AtomicUsize,
}

impl std::fmt::Debug for Parking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parking").field("waiting", &self.len()).finish()
    }
}

impl Parking {
    /// Room for the parked requests of a session with so many workers.
    pub fn new(workers: NonZeroUsize) -> Arc<Parking> {
        Arc::new(Parking {
            state: Mutex::new(State::default()),
            running: (0..workers.get()).map(|_| AtomicU64::new(IDLE)).collect(),
            interrupted: AtomicUsize::new(0),
        })
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A worker begins a request; dropping the result ends that, the request being answered or parked.
    pub(super) fn begin(&self, worker: usize, unique: Unique) -> Running<'_> {
        self.running[worker].store(unique.0, Ordering::Release);
        Running { parking: self, worker }
    }

    fn is_running(&self, unique: Unique) -> bool {
        self.running.iter().any(|at| at.load(Ordering::Acquire) == unique.0)
    }

    /// Whether an INTERRUPT has come for a request, which need not be remembered any more. Neither need those of requests
    /// that no worker is at: one that finished while its INTERRUPT was looked at may have left its number behind.
    fn take_interrupted(&self, state: &mut State, unique: Unique) -> bool {
        let found = state.interrupted.contains(&unique);
        state
            .interrupted
            .retain(|&other| other != unique && self.is_running(other));
        self.interrupted.store(state.interrupted.len(), Ordering::Release);
        found
    }

    pub(super) fn park(
        this: &Arc<Parking>,
        device: &Arc<Device>,
        unique: Unique,
        give_up: GiveUp,
    ) -> Result<Parked, Errno> {
        let mut state = this.state.lock();
        if this.take_interrupted(&mut state, unique) {
            return Err(Errno::EINTR);
        }
        if state.waiting.len() >= MAX_PARKED {
            return Err(Errno::EAGAIN);
        }
        let slot = Arc::new(Slot {
            device: Arc::clone(device),
            unique,
            answered: AtomicBool::new(false),
        });
        let waiting = Waiting {
            slot: Arc::clone(&slot),
            give_up,
        };
        state.waiting.insert(unique, waiting);
        Ok(Parked {
            slot,
            parking: Arc::clone(this),
        })
    }

    /// An INTERRUPT for a request. Returns what to answer to the INTERRUPT itself: nothing, or EAGAIN.
    pub(super) fn interrupt(&self, unique: Unique) -> Option<Errno> {
        let mut state = self.state.lock();
        if let Some(waiting) = state.waiting.remove(&unique) {
            drop(state);
            // Whoever waits is answered also where giving up has gone wrong.
            if catch_unwind(AssertUnwindSafe(waiting.give_up)).unwrap_or(true) {
                let _nothing_handed_over = waiting.slot.answer(Err(Errno::EINTR));
            }
            return None;
        }
        // Looked at under the lock that parking takes: a worker parks either before (and is found above) or later.
        if !self.is_running(unique) {
            return Some(Errno::EAGAIN);
        }
        self.take_interrupted(&mut state, unique);
        state.interrupted.push(unique);
        self.interrupted.store(state.interrupted.len(), Ordering::Release);
        None
    }
}

/// A worker is at a request, until dropped.
pub(super) struct Running<'a> {
    parking: &'a Parking,
    worker: usize,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Running { parking, worker } = self;
        let unique = Unique(parking.running[*worker].swap(IDLE, Ordering::AcqRel));
        if parking.interrupted.load(Ordering::Acquire) > 0 {
            parking.take_interrupted(&mut parking.state.lock(), unique);
        }
    }
}

/// The duty to answer a request that waits. Dropped, it answers EIO.
#[derive(Debug)]
pub struct Parked {
    slot: Arc<Slot>,
    parking: Arc<Parking>,
}

impl Parked {
    /// Answers, unless an INTERRUPT has.
    pub fn answer(self, result: Result<&[&[u8]], Errno>) -> Delivery {
        self.leave();
        self.slot.answer(result)
    }

    /// From now on no INTERRUPT answers it: the kernel sends one again until it is answered, or [waits on](Parked::rejoin). Returns
    /// whether it still is to be answered.
    pub fn hold(&self) -> bool {
        self.leave();
        !self.is_answered()
    }

    /// It waits on, and an INTERRUPT gives up the wait.
    pub fn rejoin(&self, give_up: GiveUp) {
        let waiting = Waiting {
            slot: Arc::clone(&self.slot),
            give_up,
        };
        self.parking.state.lock().waiting.insert(self.slot.unique, waiting);
    }

    /// No INTERRUPT is to find it any more. What was to run on one is dropped with no lock held: it may own other parked
    /// requests.
    fn leave(&self) {
        let waiting = self.parking.state.lock().waiting.remove(&self.slot.unique);
        drop(waiting);
    }

    /// Whether an INTERRUPT has answered it.
    pub fn is_answered(&self) -> bool {
        self.slot.answered.load(Ordering::Acquire)
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if !self.is_answered() {
            self.leave();
            let _nothing_handed_over = self.slot.answer(Err(Errno::EIO));
        }
    }
}
