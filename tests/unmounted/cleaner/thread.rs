//! The thread that walks when it is time, by a clock that jumps from one moment to the next.

use owltmp::clean::{self, Clock, Now, Terms};

use super::*;

/// Goes on by as much as is waited for, and ends after so long.
struct Fast {
    started: Timestamp,
    running: Mutex<Duration>,
    end: Duration,
    /// When the clock is set forward, and by how much.
    leap: Option<(Duration, Duration)>,
    waits: Arc<Mutex<u64>>,
}

impl Clock for Fast {
    fn now(&self) -> Now {
        let running = *self.running.lock().unwrap();
        let leap = self
            .leap
            .filter(|(when, _)| running >= *when)
            .map_or(Duration::ZERO, |(_, by)| by);
        let gone_on = running + leap;
        Now {
            clock: Timestamp {
                secs: self.started.secs + gone_on.as_secs().cast_signed(),
                nanos: self.started.nanos,
            },
            running,
        }
    }

    fn wait(&self, duration: Duration) -> ControlFlow<()> {
        let mut running = self.running.lock().unwrap();
        *running += duration.max(Duration::from_secs(1));
        *self.waits.lock().unwrap() += 1;
        if *running < self.end {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs the thread for so long; returns how often it woke.
fn run(world: World, days: u32, leap: Option<(Duration, Duration)>) -> (Arc<Filesystem>, u64) {
    let fs = Arc::clone(&world.fs);
    let waits = Arc::new(Mutex::new(0));
    let clock = Fast {
        started: Timestamp::now(),
        running: Mutex::new(Duration::ZERO),
        end: DAY * days,
        leap,
        waits: Arc::clone(&waits),
    };
    let thread = clean::start(Arc::new(world.cleaner), Terms::of(AGE), clock).unwrap();
    thread.join().unwrap();
    let waits = *waits.lock().unwrap();
    (fs, waits)
}

#[test]
fn it_removes_after_the_age_and_not_before() {
    for (days, gone) in [(9, false), (12, true)] {
        let world = World::new(&[], &[]);
        world.file("f");
        let (fs, waits) = run(world, days, None);
        assert_eq!(fs.find(Ino::ROOT, b"f").is_none(), gone, "after {days} days");
        assert!(waits < u64::from(days) * 100, "it sleeps in between: {waits}");
    }
}

#[test]
fn a_clock_set_forward_removes_nothing() {
    for (days, gone) in [(12, false), (16, true)] {
        let world = World::new(&[], &[]);
        world.file("f");
        let (fs, _) = run(world, days, Some((DAY * 4, DAY * 365)));
        assert_eq!(fs.find(Ino::ROOT, b"f").is_none(), gone, "after {days} days");
    }
}
