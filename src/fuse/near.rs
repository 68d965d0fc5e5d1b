//! Where the workers run: beside the one who asks, while there is one.
//!
//! A request wakes a worker, and the answer wakes the caller. Left to itself the kernel wakes each of them on another CPU than
//! the one it was woken from, if that is free, and waking a CPU that sleeps costs several times what the whole request does
//! (most of all in a virtual machine). So while one thread asks, all workers are tied to its CPU. And they go last there:
//! only then the kernel leaves the caller where the worker that wakes him runs, instead of sending him off to a free CPU.
//! While several ask from different CPUs, each worker is tied to a CPU of its own: it wakes nobody who sleeps there.
//!
//! What takes long does not go last. Still a worker that goes last may have to wait for others who want its CPU, and long where
//! they are many. So while workers are near a thread that has its share looks every few milliseconds ([`TICK`]) whether any
//! request was done since; if not, all are free: as they are when nobody asks. A worker that has waited ([`MUCH`]) keeps all free
//! for a time, which doubles when it happens again. Nothing is polled: who waits for a request sleeps.
//!
//! ```text
//!             looks at the callers agree                   a look disagrees
//!      free ─────────────────────────────▶ near (a CPU) ◀───────────────────▶ spread (a CPU each)
//!        ◀──────────────────────────────────────┴─────────────────────────────────┘
//!                        nothing was done for a tick; a worker had to wait for its CPU
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::watch::{Look, Position, Watch};
use crate::sync::{Mutex, NEAR};
use crate::sys::process::let_go_of_descriptors;
use crate::sys::sched::{Thread, Turn, Waits, cpu_of};

/// The caller is looked at once in so many requests of a worker...
const OFTEN: u32 = 32;
/// ... or when the worker slept before each of so many, as it does when the caller is elsewhere...
const SLEPT: u32 = 4;
/// ... so long (a request that comes from the same CPU is there already) ...
const SLEEP: Duration = Duration::from_micros(12);
/// ... but not more often than this: a look costs about as much as a request...
const SELDOM: Duration = Duration::from_micros(300);
/// ... and less often where many ask.
const SELDOM_OF_MANY: Duration = Duration::from_millis(3);
/// A worker that was away so long while it was tied may have had to wait for the CPU...
const AWAY: Duration = Duration::from_millis(1);
/// ... and this is too much of it (the caller's own work between two requests is seen as that too, and is no loss) ...
const MUCH: Duration = Duration::from_micros(500);
/// ... since so few requests ago at most.
const FEW: u32 = 16;
/// While workers go last something must be done in each of these.
const TICK: Duration = Duration::from_millis(4);

/// Whether a thread waits for our answer, and is not in execve(2). There the kernel holds a lock that a look at the thread waits for,
/// and what it waits for meanwhile may be us, or the server of another filesystem, which never answers: a worker must not look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It does.
    Surely,
    /// It may have gone on.
    Perhaps,
}

/// Looks at a thread; `None` where it cannot be seen.
fn look_at(tid: u32, at: Instant) -> Option<Look> {
    cpu_of(tid).map(|cpu| Look { tid, cpu, at })
}

/// The workers of a session and where they are.
#[derive(Debug)]
pub(super) struct Near {
    watch: Mutex<NEAR, Watch>,
    /// Whether they are tied, to be seen without a lock.
    tied: AtomicBool,
    start: Instant,
    /// When the next look is due, in microseconds from `start`.
    due: AtomicU64,
    /// How many requests were done. Relaxed: only whether it changes matters.
    done: AtomicU64,
    /// Wakes the guardian when the workers go last. `None` where they never do.
    guardian: OnceLock<Sender<()>>,
    /// Tells the looker of a thread that may not be waiting.
    looker: OnceLock<SyncSender<(u32, Instant)>>,
}

impl Near {
    pub(super) fn new(workers: usize) -> Arc<Near> {
        let near = Arc::new(Near {
            watch: Mutex::new(Watch::of(workers)),
            tied: AtomicBool::new(false),
            start: Instant::now(),
            due: AtomicU64::new(0),
            done: AtomicU64::new(0),
            guardian: OnceLock::new(),
            looker: OnceLock::new(),
        });
        if may_come_back() {
            near.start_guardian();
            near.start_looker();
        }
        near
    }

    /// The guardian ends with the last of the workers. Where it cannot be started the workers are always free.
    fn start_guardian(self: &Arc<Near>) {
        let (sender, wanted) = channel();
        let near = Arc::downgrade(self);
        let guard = move || {
            while wanted.recv().is_ok() {
                let Some(near) = near.upgrade() else { return };
                near.guard();
            }
        };
        if thread::Builder::new().name("near".to_owned()).spawn(guard).is_ok() {
            let _first = self.guardian.set(sender);
        }
    }

    /// The looker ends with the last of the workers, unless it looks at somebody for ever. Nobody is looked at by it any more then, and
    /// the workers stay where they are, or become free.
    fn start_looker(self: &Arc<Near>) {
        let (sender, wanted) = sync_channel(1);
        let near = Arc::downgrade(self);
        let look = move || {
            if let_go_of_descriptors().is_err() {
                return;
            }
            while let Ok((tid, at)) = wanted.recv() {
                if let (Some(look), Some(near)) = (look_at(tid, at), near.upgrade()) {
                    near.saw(look);
                }
            }
        };
        if thread::Builder::new().name("looker".to_owned()).spawn(look).is_ok() {
            let _first = self.looker.set(sender);
        }
    }

    /// Returns once the workers do not go last any more.
    fn guard(&self) {
        let mut done = self.done.load(Ordering::Relaxed);
        loop {
            thread::sleep(TICK);
            let now_done = self.done.load(Ordering::Relaxed);
            let mut watch = self.watch.lock();
            if !matches!(watch.position, Position::Near(_)) {
                return;
            }
            if now_done == done {
                watch.agreed = 0;
                self.take_position(&mut watch, Position::Free, Instant::now());
                return;
            }
            done = now_done;
        }
    }

    /// The calling thread is a worker. `None` where workers are always free.
    pub(super) fn join(self: &Arc<Near>, worker: usize) -> Option<Place> {
        let (thread, waits) = (Thread::current().ok()?, Waits::of_current().ok()?);
        self.guardian.get()?;
        self.watch.lock().threads[worker] = Some(thread);
        let now = Instant::now();
        Some(Place {
            near: Arc::clone(self),
            worker,
            waited: None,
            waits,
            asked: now,
            before: now,
            served: 0,
            slept: 0,
        })
    }

    fn micros(&self, time: Instant) -> u64 {
        u64::try_from((time - self.start).as_micros()).unwrap_or(u64::MAX)
    }

    /// Whether it is time for a look, which then is the caller's to take.
    fn is_time(&self, now: Instant) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        let next = self.micros(now + SELDOM);
        self.micros(now) >= due
            && self
                .due
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn look(&self, tid: u32, waiting: Waiting, at: Instant) {
        match waiting {
            Waiting::Surely => {
                if let Some(look) = look_at(tid, at) {
                    self.saw(look);
                }
            }
            Waiting::Perhaps => {
                if let Some(looker) = self.looker.get() {
                    // Where it has not finished the last one, or never will, it need not look at this one.
                    let _busy = looker.try_send((tid, at));
                }
            }
        }
    }

    fn saw(&self, look: Look) {
        let mut watch = self.watch.lock();
        let position = watch.seen(look);
        self.take_position(&mut watch, position, look.at);
        if watch.position == Position::Spread {
            self.due.store(self.micros(look.at + SELDOM_OF_MANY), Ordering::Relaxed);
        }
    }

    fn waited(&self, now: Instant) {
        let mut watch = self.watch.lock();
        // Another worker may have said so already.
        if watch.free_until.is_none_or(|until| now >= until) {
            self.set_free(&mut watch, now);
        }
    }

    /// Gives a worker a turn for a while, where they are near and go last otherwise.
    fn give_while_near(&self, worker: usize, turn: Turn) {
        let watch = self.watch.lock();
        if let (Position::Near(_), Some(thread)) = (watch.position, &watch.threads[worker]) {
            // What was possible before is so now.
            let _given = thread.give(turn);
        }
    }

    fn set_free(&self, watch: &mut Watch, now: Instant) {
        let until = watch.waited(now);
        self.due.store(self.micros(until), Ordering::Relaxed);
        self.take_position(watch, Position::Free, now);
    }

    fn take_position(&self, watch: &mut Watch, position: Position, now: Instant) {
        if watch.position == position {
            return;
        }
        let mut threads = watch
            .threads
            .iter()
            .zip(0..)
            .filter_map(|(thread, number)| Some((thread.as_ref()?, number)));
        let moved = match position {
            Position::Free => threads.try_for_each(|(thread, _)| thread.give(Turn::Share).and(thread.untie())),
            Position::Spread => threads.try_for_each(|(thread, number)| {
                thread.give(Turn::Share)?;
                match thread.nth_of(watch.threads.len(), number) {
                    Some(cpu) => thread.tie(cpu),
                    None => thread.untie(),
                }
            }),
            Position::Near(cpu) => threads.try_for_each(|(thread, _)| thread.tie(cpu).and(thread.give(Turn::Last))),
        };
        let last_before = matches!(watch.position, Position::Near(_));
        watch.position = position;
        if matches!(position, Position::Near(_)) && !last_before {
            // Fails only where the guardian is gone, and then so are we.
            let _woken = self.guardian.get().map(|guardian| guardian.send(()));
        }
        self.tied.store(position != Position::Free, Ordering::Relaxed);
        if moved.is_err() && position != Position::Free {
            // The caller is where we may not be.
            self.set_free(watch, now);
        }
    }
}

/// Whether a thread that went last can take it back: found out by one that ends.
fn may_come_back() -> bool {
    let trial = || {
        let thread = Thread::current()?;
        thread.give(Turn::Last)?;
        thread.give(Turn::Share)
    };
    let trial = thread::spawn(move || trial().is_ok());
    trial.join().unwrap_or(false)
}

/// A worker's share in it.
#[derive(Debug)]
pub(super) struct Place {
    near: Arc<Near>,
    worker: usize,
    waits: Waits,
    /// As was seen a few requests ago, while tied.
    waited: Option<Duration>,
    /// When the request that is worked on came, and when the worker began to wait for it.
    asked: Instant,
    before: Instant,
    served: u32,
    slept: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.near.watch.lock().threads[self.worker] = None;
    }
}

impl Place {
    /// A request has come.
    pub(super) fn asked(&mut self) {
        self.asked = Instant::now();
        self.slept = match self.asked > self.before + SLEEP {
            true => self.slept + 1,
            false => 0,
        };
    }

    /// Has a look at the thread `tid`, 0 where nobody is known, if it is time for that.
    pub(super) fn asks(&mut self, tid: u32, waiting: Waiting) {
        if tid != 0 && (self.served >= OFTEN || self.slept >= SLEPT) && self.near.is_time(self.asked) {
            self.near.look(tid, waiting, self.asked);
            (self.served, self.slept) = (0, 0);
        }
    }

    /// The request is done.
    pub(super) fn served(&mut self) {
        let now = Instant::now();
        self.near.done.fetch_add(1, Ordering::Relaxed);
        let tied = self.near.tied.load(Ordering::Relaxed);
        let away = now > self.before + AWAY;
        // Also where the guardian has noticed it before.
        if self.waited.is_some() && away || tied && (self.waited.is_none() || self.served.is_multiple_of(FEW)) {
            self.check_waits(now);
        }
        if !tied {
            self.waited = None;
        }
        self.served += 1;
        self.before = now;
    }

    /// A request that takes long must not go last: who would notice that it waits is busy with it. Until the result is dropped.
    pub(super) fn share(&self) -> Option<Shared<'_>> {
        let tied = self.near.tied.load(Ordering::Relaxed);
        tied.then(|| {
            self.near.give_while_near(self.worker, Turn::Share);
            Shared(self)
        })
    }

    fn check_waits(&mut self, now: Instant) {
        let total = self.waits.total();
        let before = std::mem::replace(&mut self.waited, total);
        if let (Some(total), Some(before)) = (total, before)
            && total > before + MUCH
            && now > self.before + AWAY
        {
            self.near.waited(now);
        }
    }
}

/// A worker has its share of the CPU, until dropped.
#[derive(Debug)]
pub(super) struct Shared<'a>(&'a Place);

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        self.0.near.give_while_near(self.0.worker, Turn::Last);
    }
}
