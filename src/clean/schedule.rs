//! When a walk is due, and what is old then. Pure: what time it is comes in.
//!
//! Nothing can be older than the mount, so the first walk is due when that is `max_age` old. And the clock may be wrong: where it is
//! set forward, all files look old at once. Then nothing is removed until it has run on for another `max_age`: what is old
//! by then is old whatever the clock showed before.

use std::time::Duration;

use crate::types::Timestamp;

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// By the clock that files are stamped with.
    pub clock: Timestamp,
    /// Since some start, by a clock that nobody can set, which goes on while the machine sleeps.
    pub running: Duration,
}

/// On what terms a mount is cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What was not touched for so long is old.
    pub max_age: Duration,
    /// The time between two walks.
    pub every: Duration,
}

/// The least time between two walks.
const SHORTEST: Duration = Duration::from_secs(60);
/// The longest time between two walks.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the clock is looked at, at least.
const LOOK: Duration = Duration::from_secs(15 * 60);
/// How far the clock may run ahead between two looks before it counts as set.
const LEAP: Duration = Duration::from_secs(60);

impl Terms {
    /// A walk in a tenth of the age, but at most each minute and at least each day.
    pub fn of(max_age: Duration) -> Terms {
        Terms {
            max_age,
            every: (max_age / 10).clamp(SHORTEST, LONGEST),
        }
    }
}

/// An age as people write it: in the largest unit that leaves nothing over.
pub fn shown_age(age: Duration) -> String {
    let seconds = age.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    match units
        .iter()
        .find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit))
    {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{age:?}"),
    }
}

/// What is due when.
#[derive(Debug)]
pub struct Schedule {
    terms: Terms,
    last: Now,
    /// When the next walk is due, by the running clock.
    next: Duration,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Nothing: the clock was set forward by so much.
    ClockWasSet(Duration),
    /// A walk.
    Walk,
}

impl Schedule {
    /// The schedule of a mount made now.
    pub fn new(terms: Terms, now: Now) -> Schedule {
        Schedule {
            terms,
            last: now,
            next: now.running.saturating_add(terms.max_age),
        }
    }

    /// Looks at the clock.
    pub fn look(&mut self, now: Now) -> Due {
        let ran = now.running.saturating_sub(self.last.running);
        let leap = now.clock.since(self.last.clock).saturating_sub(ran);
        self.last = now;
        if leap > LEAP {
            self.next = now.running.saturating_add(self.terms.max_age);
            return Due::ClockWasSet(leap);
        }
        if now.running < self.next {
            return Due::Nothing;
        }
        self.next = now.running.saturating_add(self.terms.every);
        Due::Walk
    }

    /// How long to wait before the next look.
    pub fn wait(&self, now: Now) -> Duration {
        self.next.saturating_sub(now.running).min(LOOK)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(clock: Duration, running: Duration) -> Now {
        let secs = i64::try_from(clock.as_secs()).unwrap();
        Now {
            clock: Timestamp { secs, nanos: 0 },
            running,
        }
    }

    #[test]
    fn a_walk_a_tenth_of_the_age() {
        assert_eq!(Terms::of(10 * DAY).every, DAY);
        assert_eq!(Terms::of(DAY).every, DAY / 10);
        assert_eq!(Terms::of(Duration::from_secs(1)).every, SHORTEST);
        assert_eq!(Terms::of(1000 * DAY).every, DAY);
    }

    #[test]
    fn the_first_walk_is_when_the_mount_is_old_enough() {
        let mut schedule = Schedule::new(Terms::of(10 * DAY), at(100 * DAY, DAY));
        assert_eq!(schedule.look(at(105 * DAY, 6 * DAY)), Due::Nothing);
        assert_eq!(schedule.wait(at(105 * DAY, 6 * DAY)), LOOK);
        let due = at(110 * DAY, 11 * DAY);
        assert_eq!(schedule.look(due), Due::Walk);
        assert_eq!(schedule.look(due), Due::Nothing);
        assert_eq!(schedule.look(at(111 * DAY, 12 * DAY)), Due::Walk);
    }

    #[test]
    fn a_clock_set_forward_starts_the_wait_anew() {
        let mut schedule = Schedule::new(Terms::of(DAY), at(DAY, DAY));
        assert_eq!(schedule.look(at(1002 * DAY, 2 * DAY)), Due::ClockWasSet(1000 * DAY));
        assert_eq!(schedule.look(at(1002 * DAY + DAY / 2, 2 * DAY + DAY / 2)), Due::Nothing);
        assert_eq!(schedule.look(at(1003 * DAY, 3 * DAY)), Due::Walk);
        assert_eq!(schedule.look(at(3 * DAY, 4 * DAY)), Due::Walk, "set back: all is young");
    }

    proptest! {
        #[test]
        fn nothing_goes_that_was_touched_less_than_the_age_ago(
            max_age in 60..1_000_000_u64,
            steps in prop::collection::vec((0..200_000_u64, -500_000..500_000_i64), 1..60),
        ) {
            // Whatever the clock does, a file stamped at any look stays until the running clock has gone on by the age, give or
            // take what a clock may drift between two looks.
            let max_age = Duration::from_secs(max_age);
            let (mut clock, mut running) = (10_000_000_i64, 0_u64);
            let now = |clock: i64, running: u64| at(Duration::from_secs(clock.unsigned_abs()), Duration::from_secs(running));
            let mut schedule = Schedule::new(Terms::of(max_age), now(clock, running));
            let mut stamps = vec![(clock, running)];
            for (pass, set) in steps {
                running += pass;
                clock += i64::try_from(pass).unwrap() + set;
                prop_assume!(clock > 0);
                if schedule.look(now(clock, running)) == Due::Walk {
                    let cut_off = now(clock, running).clock.before(max_age);
                    let slack = LEAP.as_secs() * stamps.len() as u64;
                    for (stamp, then) in &stamps {
                        if *stamp < cut_off.secs {
                            prop_assert!(running - then + slack >= max_age.as_secs());
                        }
                    }
                }
                stamps.push((clock, running));
            }
        }
    }
}
