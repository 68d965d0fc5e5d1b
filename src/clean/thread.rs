//! The thread that walks when it is time.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::schedule::{Due, Now, Schedule, Terms, shown_age};
use super::{Cleaner, Order, Pace, Summary};
use crate::policy::ageing::Spared;
use crate::sys::clock;
use crate::tree::Stage;
use crate::types::Timestamp;

/// What time it is, and waiting for another.
pub trait Clock: Send {
    /// What time it is.
    fn now(&self) -> Now;

    /// Waits. Returns whether to go on.
    fn wait(&self, duration: Duration) -> ControlFlow<()>;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now {
            clock: Timestamp::recent(),
            running: clock::since_boot(),
        }
    }

    fn wait(&self, duration: Duration) -> ControlFlow<()> {
        thread::sleep(duration);
        ControlFlow::Continue(())
    }
}

/// Starts the thread. It ends when its clock says so: the machine's never does.
pub fn start(cleaner: Arc<Cleaner>, terms: Terms, clock: impl Clock + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name("cleaner".to_owned())
        .spawn(move || run(&cleaner, terms, &clock))
}

fn run(cleaner: &Cleaner, terms: Terms, clock: &dyn Clock) {
    let mut schedule = Schedule::new(terms, clock.now());
    while clock.wait(schedule.wait(clock.now())).is_continue() {
        let now = clock.now();
        match schedule.look(now) {
            Due::Nothing => {}
            Due::ClockWasSet(leap) => log::warn!(
                "max_age: the clock was set forward by {} s, so nothing is removed for {}",
                leap.as_secs(),
                shown_age(terms.max_age)
            ),
            Due::Walk => {
                let began = Instant::now();
                let order = Order {
                    now: now.clock,
                    age: terms.max_age,
                    stage: Stage::Remove,
                    pace: Pace::GENTLE,
                };
                let summary = cleaner.walk(&order, &mut |_| ControlFlow::Continue(()));
                tell(&summary, terms, began.elapsed());
            }
        }
    }
}

fn tell(summary: &Summary, terms: Terms, took: Duration) {
    let Summary {
        looked,
        files,
        directories,
        ..
    } = summary;
    let in_use = summary.spared(Spared::InUse);
    let text = format!(
        "max_age: removed {files} files and {directories} directories that nobody had touched for {}, of {looked} \
         looked at in {:.1} s; {in_use} old ones are in use",
        shown_age(terms.max_age),
        took.as_secs_f64()
    );
    match summary.taken() {
        0 => log::debug!("{text}"),
        _ => log::warn!("{text}"),
    }
}
