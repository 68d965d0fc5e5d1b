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

/// The most requests of one user that wait at once, so that nobody can keep all others from waiting.
pub const MAX_PARKED_OF_ONE: usize = MAX_PARKED / 2;

/// Room for so many that wait is kept when nobody does.
const FEW: usize = 1 << 10;

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

/// Who made a request, by number and by user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) unique: Unique,
    pub(super) uid: u32,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Unique, Waiting>,
    /// How many requests are to be answered later: in all, and of each user.
    count: usize,
    users: HashMap<u32, usize>,
    /// Requests that a worker is at and whose INTERRUPT has come.
    interrupted: Vec<Unique>,
}

impl State {
    /// One more of a user. Errors: EAGAIN where that would be too many.
    fn join(&mut self, uid: u32) -> Result<(), Errno> {
        let of_one = self.users.get(&uid).copied().unwrap_or_default();
        if self.count >= MAX_PARKED || of_one >= MAX_PARKED_OF_ONE {
            return Err(Errno::EAGAIN);
        }
        self.count += 1;
        self.users.insert(uid, of_one + 1);
        Ok(())
    }

    /// One less.
    fn leave(&mut self, uid: u32) {
        self.count -= 1;
        match self.users.get_mut(&uid) {
            Some(of_one) if *of_one > 1 => *of_one -= 1,
            _ => drop(self.users.remove(&uid)),
        }
        if self.count == 0 && self.waiting.capacity() > FEW {
            self.waiting.shrink_to_fit();
        }
    }
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
        origin: Origin,
        give_up: GiveUp,
    ) -> Result<Parked, Errno> {
        let Origin { unique, uid } = origin;
        let mut state = this.state.lock();
        if this.take_interrupted(&mut state, unique) {
            return Err(Errno::EINTR);
        }
        state.join(uid)?;
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
            uid,
            parking: Arc::clone(this),
            counted: true,
            relieved: false,
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

/// Ends the wait of a request as a signal for its caller would.
#[derive(Clone, Debug)]
pub(super) struct Signal {
    parking: Arc<Parking>,
    unique: Unique,
}

impl Signal {
    /// The number of the request.
    pub(super) fn number(&self) -> Unique {
        self.unique
    }

    pub(super) fn send(&self) {
        // It comes too late for one that has just ended.
        let _again = self.parking.interrupt(self.unique);
    }
}

/// The duty to answer a request that waits. Dropped, it answers EIO.
#[derive(Debug)]
pub struct Parked {
    slot: Arc<Slot>,
    uid: u32,
    parking: Arc<Parking>,
    /// It is among those that wait.
    counted: bool,
    /// An INTERRUPT has taken the duty over.
    relieved: bool,
}

impl Parked {
    /// Answers, unless an INTERRUPT has.
    pub fn answer(mut self, result: Result<&[&[u8]], Errno>) -> Delivery {
        self.end();
        self.slot.answer(result)
    }

    /// What ends its wait.
    pub(super) fn signal(&self) -> Signal {
        Signal {
            parking: Arc::clone(&self.parking),
            unique: self.slot.unique,
        }
    }

    /// From now on no INTERRUPT answers it: the kernel sends one again until it is answered, or [waits on](Parked::rejoin). `None`
    /// where one has come and answers it, perhaps in a moment. Preconditions: its `give_up` leaves the answer to the INTERRUPT.
    pub fn hold(mut self) -> Option<Parked> {
        self.relieved = !self.leave();
        (!self.relieved).then_some(self)
    }

    /// The wait is over, and what comes now is given up in another way. `None` where an INTERRUPT has come since, for which it was too
    /// late to give the wait up: it is answered EINTR. Preconditions: such an INTERRUPT does not answer.
    pub fn go_on(self, give_up: GiveUp) -> Option<Parked> {
        if self.leave() {
            self.rejoin(give_up);
            return Some(self);
        }
        let _nothing_handed_over = self.answer(Err(Errno::EINTR));
        None
    }

    /// It waits on, and an INTERRUPT gives up the wait.
    pub fn rejoin(&self, give_up: GiveUp) {
        let waiting = Waiting {
            slot: Arc::clone(&self.slot),
            give_up,
        };
        self.parking.state.lock().waiting.insert(self.slot.unique, waiting);
    }

    /// Whether an INTERRUPT has answered it.
    pub fn is_answered(&self) -> bool {
        self.slot.answered.load(Ordering::Acquire)
    }

    /// No INTERRUPT is to find it any more; whether none has. What was to run on one is dropped with no lock held: it may own other
    /// parked requests.
    fn leave(&self) -> bool {
        let waiting = self.parking.state.lock().waiting.remove(&self.slot.unique);
        waiting.is_some()
    }

    /// The same for good.
    fn end(&mut self) {
        if !std::mem::take(&mut self.counted) {
            return;
        }
        let waiting = {
            let mut state = self.parking.state.lock();
            let waiting = state.waiting.remove(&self.slot.unique);
            state.leave(self.uid);
            waiting
        };
        drop(waiting);
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.end();
        if !self.relieved {
            let _nothing_handed_over = self.slot.answer(Err(Errno::EIO));
        }
    }
}
