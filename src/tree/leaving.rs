//! Inodes without a name that the kernel has not given up yet.
//!
//! close(2) and unlink(2) return before RELEASE and FORGET have come, so what they free is free a moment later than on
//! tmpfs. Whoever would notice, because nothing else is left or because he counts, waits for that moment: a short one,
//! and only right after such an inode was seen, as others stay for as long as somebody has them open. One request waits at
//! a time; the others are answered by what is there now. So this can never hold up more than one worker.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::table::Tree;

/// How long ago the last one may have been seen for waiting to be of use. A loaded machine can be that late.
const RECENT: Duration = Duration::from_secs(1);

/// The first of the steps of a wait; each is twice as long as the one before.
const FIRST_STEP: Duration = Duration::from_micros(50);

/// How often it is looked again for space: for 200 ms in all.
pub const FOR_SPACE: u32 = 12;

/// How often it is looked again for a figure: for 6 ms in all.
pub const FOR_A_FIGURE: u32 = 7;

/// How often it is looked again for what was closed: for 50 ms in all.
const FOR_A_CLOSE: u32 = 10;

/// How many there are, and when the last was seen. Relaxed throughout: it decides about a wait and nothing else.
#[derive(Debug)]
pub(super) struct Leaving {
    count: AtomicUsize,
    start: Instant,
    /// Microseconds since the start.
    last: AtomicU64,
    /// Whether somebody waits.
    awaited: AtomicBool,
}

impl Leaving {
    pub(super) fn new() -> Leaving {
        Leaving {
            count: AtomicUsize::new(0),
            start: Instant::now(),
            last: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// One more was seen; `new` where it was not among them before.
    pub(super) fn seen(&self, new: bool) {
        self.count.fetch_add(usize::from(new), Ordering::Relaxed);
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// One of them is gone.
    pub(super) fn gone(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_due(&self) -> bool {
        let age = self.now().saturating_sub(self.last.load(Ordering::Relaxed));
        self.count.load(Ordering::Relaxed) > 0 && Duration::from_micros(age) < RECENT
    }
}

/// The turn of one request to wait; ends with its drop.
#[derive(Debug)]
pub struct Patience<'a> {
    leaving: &'a Leaving,
    steps: u32,
    step: Duration,
    due: bool,
    /// Whether it is worth looking whatever is about to go.
    regardless: bool,
}

impl Patience<'_> {
    /// Waits a step. Returns whether it is worth looking again: not when all steps are done, nor when the last of those that
    /// were about to go is gone and has been looked for.
    pub fn again(&mut self) -> bool {
        if self.steps == 0 || !self.due {
            return false;
        }
        self.due = self.regardless || self.leaving.is_due();
        std::thread::sleep(self.step);
        self.step *= 2;
        self.steps -= 1;
        true
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        self.leaving.awaited.store(false, Ordering::Relaxed);
    }
}

impl Tree {
    /// The turn to wait for the RELEASE of what was closed; `None` where somebody else waits. Preconditions: the caller holds no lock
    /// while it waits.
    pub fn brief_patience(&self) -> Option<Patience<'_>> {
        let awaited = self.leaving.awaited.swap(true, Ordering::Relaxed);
        (!awaited).then(|| Patience {
            leaving: &self.leaving,
            steps: FOR_A_CLOSE,
            step: FIRST_STEP,
            due: true,
            regardless: true,
        })
    }

    /// The turn to wait, in so many steps, for what was just closed or unlinked to be given back; `None` where there is
    /// nothing to wait for or somebody else waits. Preconditions: the caller holds no lock while it waits.
    pub fn patience(&self, steps: u32) -> Option<Patience<'_>> {
        if !self.leaving.is_due() || self.leaving.awaited.swap(true, Ordering::Relaxed) {
            return None;
        }
        Some(Patience {
            leaving: &self.leaving,
            steps,
            step: FIRST_STEP,
            due: true,
            regardless: false,
        })
    }
}
