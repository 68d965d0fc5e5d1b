//! Inodes without a name that the kernel has not given up yet.
//!
//! close(2) and unlink(2) return before RELEASE and FORGET have come, so what they free is free a moment later than on
//! tmpfs. Whoever would notice, because nothing else is left or because he counts, waits for that moment: a short one,
//! and only right after such an inode was seen, as others stay for as long as somebody has them open. One request waits at
//! a time; the others are answered by what is there now. So this can never hold up more than one worker.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::table::Tree;

/// How long ago the last one may have been seen for waiting to be of use.
const RECENT: Duration = Duration::from_millis(50);

/// The longest wait, and its steps.
const PATIENCE: Duration = Duration::from_millis(10);
const STEP: Duration = Duration::from_micros(50);

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

impl Tree {
    /// Waits a moment for what was just closed or unlinked to be given back. Returns whether there was anything to wait
    /// for. Preconditions: the caller holds no lock.
    pub fn wait_for_leaving(&self) -> bool {
        if !self.leaving.is_due() || self.leaving.awaited.swap(true, Ordering::Relaxed) {
            return false;
        }
        let begin = Instant::now();
        while self.leaving.is_due() && begin.elapsed() < PATIENCE {
            std::thread::sleep(STEP);
        }
        // The worker that removed the last one is about to free it.
        std::thread::sleep(4 * STEP);
        self.leaving.awaited.store(false, Ordering::Relaxed);
        true
    }
}
