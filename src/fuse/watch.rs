//! What is seen of the callers, and where the workers should be then. Pure: no system calls.

use std::time::{Duration, Instant};

use crate::sys::sched::{Cpu, Thread};

/// So many looks must agree before the workers move.
const AGREE: u32 = 3;
/// A look is forgotten after so long.
const RECENT: Duration = Duration::from_millis(50);
/// How long the workers stay free when one had to wait for its CPU, at first and at most.
const PENANCE: Duration = Duration::from_millis(100);
const LONGEST_PENANCE: Duration = Duration::from_secs(1);

/// Where the workers are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Wherever the kernel puts them.
    Free,
    /// Each on a CPU of its own.
    Spread,
    /// On this CPU, going last.
    Near(Cpu),
}

/// One look at a caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) tid: u32,
    pub(super) cpu: Cpu,
    pub(super) at: Instant,
}

/// What was seen, and what follows from it.
#[derive(Debug)]
pub(super) struct Watch {
    last: Option<Look>,
    pub(super) agreed: u32,
    pub(super) position: Position,
    pub(super) free_until: Option<Instant>,
    penance: Duration,
    /// The workers; who has ended is none any more, and its number may be somebody else's.
    pub(super) threads: Vec<Option<Thread>>,
}

impl Watch {
    /// Nothing was seen yet of that many workers.
    pub(super) fn of(workers: usize) -> Watch {
        Watch {
            last: None,
            agreed: 0,
            position: Position::Free,
            free_until: None,
            penance: PENANCE,
            threads: vec![None; workers],
        }
    }

    /// Where the workers should be now that this was seen.
    pub(super) fn seen(&mut self, look: Look) -> Position {
        let agrees = |last: Look| last.tid == look.tid || last.cpu == look.cpu || look.at > last.at + RECENT;
        let agrees = self.last.is_none_or(agrees);
        self.last = Some(look);
        self.agreed = if agrees { self.agreed + 1 } else { 0 };
        match self.position {
            _ if self.free_until.is_some_and(|until| look.at < until) => Position::Free,
            _ if !agrees => Position::Spread,
            Position::Near(_) => Position::Near(look.cpu),
            _ if self.agreed >= AGREE => Position::Near(look.cpu),
            before => before,
        }
    }

    /// A worker had to wait for its CPU. Returns how long all are free now.
    pub(super) fn waited(&mut self, now: Instant) -> Instant {
        // Once in a long time it may happen.
        if self.free_until.is_some_and(|until| now > until + LONGEST_PENANCE) {
            self.penance = PENANCE;
        }
        let until = now + self.penance;
        self.free_until = Some(until);
        self.penance = (self.penance * 2).min(LONGEST_PENANCE);
        self.agreed = 0;
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        watch: Watch,
        now: Instant,
    }

    impl World {
        fn new() -> World {
            World {
                watch: Watch::of(2),
                now: Instant::now(),
            }
        }

        fn look(&mut self, tid: u32, cpu: usize) -> Position {
            self.now += Duration::from_millis(1);
            let (cpu, at) = (Cpu(cpu), self.now);
            self.watch.position = self.watch.seen(Look { tid, cpu, at });
            self.watch.position
        }

        fn settle(&mut self, tid: u32, cpu: usize) {
            for _ in 0..=AGREE {
                self.look(tid, cpu);
            }
        }
    }

    #[test]
    fn workers_follow_the_only_one_who_asks() {
        let mut world = World::new();
        assert_eq!(world.look(7, 0), Position::Free);
        world.settle(7, 0);
        assert_eq!(world.watch.position, Position::Near(Cpu(0)));
        assert_eq!(world.look(7, 1), Position::Near(Cpu(1)));
        // Another one on the same CPU is near as well.
        assert_eq!(world.look(8, 1), Position::Near(Cpu(1)));
    }

    #[test]
    fn two_on_two_cpus_have_a_worker_each() {
        let mut world = World::new();
        world.settle(7, 0);
        assert_eq!(world.look(8, 1), Position::Spread);
        assert_eq!(world.look(7, 0), Position::Spread);
        assert_eq!(world.look(7, 0), Position::Spread);
        world.settle(7, 0);
        assert_eq!(world.watch.position, Position::Near(Cpu(0)));
        // Who asked long ago does not count.
        world.now += RECENT;
        assert_eq!(world.look(8, 1), Position::Near(Cpu(1)));
    }

    #[test]
    fn who_has_waited_is_free_for_a_time_that_grows() {
        let mut world = World::new();
        let mut last = Duration::ZERO;
        for _ in 0..6 {
            world.settle(7, 0);
            assert_eq!(world.watch.position, Position::Near(Cpu(0)));
            let free = world.watch.waited(world.now) - world.now;
            assert!(free > last || free == LONGEST_PENANCE);
            last = free;
            assert_eq!(world.look(7, 0), Position::Free);
            assert_eq!(world.look(8, 1), Position::Free);
            world.now += free;
        }
        assert_eq!(last, LONGEST_PENANCE);
        world.now += LONGEST_PENANCE;
        world.settle(7, 0);
        assert_eq!(world.watch.waited(world.now) - world.now, PENANCE);
    }
}
