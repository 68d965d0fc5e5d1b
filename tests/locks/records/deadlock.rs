//! EDEADLK where a wait would close a circle of waiters, and nowhere else (semantics 4.3). Random waits are in `fuzz`.

use std::time::Duration;

use super::crew::{Crew, INTERRUPT, Op, Quiet};
use super::rules::{Rules, rules};
use super::way::{DONE, EAGAIN, EDEADLK, EINTR, Way, open, start};
use crate::common::lock::{F_OFD_SETLK, F_OFD_SETLKW, F_SETLK, F_SETLKW, NONE, READ, Record, WRITE};
use crate::common::{Mount, each};

const PATIENCE: Duration = Duration::from_secs(20);

/// Everybody has four files open.
struct Ring {
    crew: Crew,
    quiet: Quiet,
    rules: Rules,
}

impl Ring {
    fn new(mount: &Mount, members: usize, threads: usize) -> Self {
        let (mut crew, quiet) = start(mount, members, threads);
        for who in 0..members {
            for file in 1..4 {
                assert_eq!(crew.one(who, open(file, file)).result, DONE);
            }
        }
        let rules = rules(mount);
        Self { crew, quiet, rules }
    }

    fn locks(&mut self, who: usize, slot: u8, record: Record) -> i32 {
        let command = F_SETLK;
        self.crew.one(who, Op::Lock { slot, command, record }).result
    }

    fn has(&mut self, who: usize, slot: u8, record: Record) {
        assert_eq!(self.locks(who, slot, record), DONE);
    }

    fn orders(&mut self, who: usize, thread: u8, slot: u8, record: Record) {
        let op = Op::WaitLock {
            thread,
            slot,
            command: F_SETLKW,
            record,
        };
        assert_eq!(self.crew.one(who, op).result, DONE);
    }

    /// It waits, and goes on to wait.
    fn waits(&mut self, who: usize, thread: u8, slot: u8, record: Record) {
        self.orders(who, thread, slot, record);
        self.still_waits(who, thread);
    }

    fn still_waits(&mut self, who: usize, thread: u8) {
        self.crew.wait_for_wait(who, thread);
        self.quiet.settle();
        assert_eq!(self.crew.done(who, Duration::ZERO), None, "{who} should wait");
    }

    fn ends(&mut self, who: usize, thread: u8, result: i32) {
        assert_eq!(self.crew.done(who, PATIENCE), Some((thread, result)), "of {who}");
    }

    /// The request would close a circle.
    fn is_refused(&mut self, who: usize, thread: u8, slot: u8, record: Record) {
        self.orders(who, thread, slot, record);
        self.ends(who, thread, EDEADLK);
    }
}

fn byte(number: usize) -> Record {
    Record::new(WRITE, number as i64, 1)
}

fn free(record: Record) -> Record {
    Record { kind: NONE, ..record }
}

/// Each of `count` processes has a byte and waits for the next one's, in files by turns; the last gets EDEADLK. Then one after the other
/// has what it waits for.
fn circle(ring: &mut Ring, count: usize) {
    let place = |who: usize| ((who % 4) as u8, byte(who));
    for who in 0..count {
        let (slot, record) = place(who);
        ring.has(who, slot, record);
    }
    for who in 0..count - 1 {
        let (slot, record) = place(who + 1);
        ring.waits(who, 0, slot, record);
    }
    let (slot, record) = place(0);
    for _ in 0..3 {
        ring.is_refused(count - 1, 0, slot, record);
    }
    for who in 0..count - 1 {
        ring.still_waits(who, 0);
    }
    for who in (1..count).rev() {
        let (slot, record) = place(who);
        ring.has(who, slot, free(record));
        ring.ends(who - 1, 0, DONE);
        ring.has(who - 1, slot, free(record));
    }
    ring.has(0, 0, free(byte(0)));
}

/// By semantics 4.3: circles of two, three, ten and fifty processes, across files; the newest request is refused, the others wait on.
#[test]
fn circles_are_refused() {
    each("mode=0777", |mount| {
        let mut ring = Ring::new(mount, 50, 1);
        for count in [2, 3, 10, 50] {
            // Linux looks ten steps far.
            if count <= 10 || ring.rules == Rules::Server {
                circle(&mut ring, count);
            }
        }
    });
}

/// By semantics 4.3: two who hold a read lock and both want to write; the second must give way.
#[test]
fn two_upgrades() {
    each("mode=0777", |mount| {
        let mut ring = Ring::new(mount, 2, 1);
        for who in [0, 1] {
            ring.has(who, 0, Record::new(READ, 0, 10));
        }
        ring.waits(0, 0, 0, Record::new(WRITE, 0, 10));
        ring.is_refused(1, 0, 0, Record::new(WRITE, 5, 10));
        ring.has(1, 0, Record::all(NONE));
        ring.ends(0, 0, DONE);
    });
}

/// By semantics 4.3: a thread that waits counts for its process, though another could unlock; when the wait is given up, the circle is open.
#[test]
fn threads_count_for_their_process() {
    each("mode=0777", |mount| {
        let mut ring = Ring::new(mount, 3, 3);
        ring.has(0, 0, byte(0));
        ring.has(1, 1, byte(1));
        ring.has(2, 2, byte(2));
        ring.waits(0, 0, 2, byte(2));
        ring.waits(0, 1, 1, byte(1));
        ring.is_refused(1, 0, 0, byte(0));
        ring.is_refused(1, 2, 0, byte(0));
        // The main thread of a process that waits still locks and unlocks.
        ring.has(0, 3, byte(7));
        ring.crew.signal(0, 1, INTERRUPT);
        ring.ends(0, 1, EINTR);
        ring.waits(1, 0, 0, byte(0));
        ring.is_refused(0, 1, 1, byte(1));
        ring.is_refused(2, 0, 0, byte(0));
        ring.has(0, 0, free(byte(0)));
        ring.ends(1, 0, DONE);
        ring.crew.kill(2);
        ring.ends(0, 0, DONE);
    });
}

/// By semantics 4.3: a wait that ends with its process leaves no trace.
#[test]
fn the_dead_wait_for_nobody() {
    each("mode=0777", |mount| {
        let mut ring = Ring::new(mount, 3, 1);
        for _ in 0..20 {
            ring.has(0, 0, byte(0));
            ring.has(1, 1, byte(1));
            ring.waits(0, 0, 1, byte(1));
            ring.is_refused(1, 0, 0, byte(0));
            ring.crew.kill(0);
            ring.has(1, 0, byte(0));
            ring.crew.spawn(Some(2), 0);
            ring.waits(0, 0, 1, byte(1));
            ring.has(1, 1, free(byte(1)));
            ring.ends(0, 0, DONE);
            ring.has(1, 0, free(byte(0)));
            ring.has(0, 1, free(byte(1)));
        }
    });
}

/// By semantics 4.3: OFD locks and those of flock(2) take no part: who blocks each other so waits, until a signal.
#[test]
fn open_files_take_no_part() {
    each("mode=0777", |mount| {
        let mut ring = Ring::new(mount, 2, 2);
        for way in [Way::Open, Way::Flock] {
            for who in [0, 1] {
                assert_eq!(ring.crew.one(who, way.now(who as u8, WRITE)).result, DONE);
            }
            for who in [0, 1] {
                assert_eq!(ring.crew.one(who, way.wait(0, 1 - who as u8)).result, DONE);
                ring.still_waits(who, 0);
            }
            ring.crew.signal(0, 0, INTERRUPT);
            ring.ends(0, 0, EINTR);
            ring.still_waits(1, 0);
            assert_eq!(ring.crew.one(0, way.now(0, NONE)).result, DONE);
            ring.ends(1, 0, DONE);
            for slot in [0, 1] {
                assert_eq!(ring.crew.one(1, way.now(slot, NONE)).result, DONE);
            }
        }
    });
}

/// By semantics 4.3: nor does a process that waits for an OFD lock wait for another, and the other way round.
#[test]
fn mixed_circles_wait() {
    each("mode=0777", |mount| {
        let mut ring = Ring::new(mount, 2, 1);
        let of_open = |thread, slot| Op::WaitLock {
            thread,
            slot,
            command: F_OFD_SETLKW,
            record: byte(0),
        };
        // 0 holds byte 0 of file 0 as a process, 1 byte 0 of file 1 by its open file.
        ring.has(0, 0, byte(0));
        let command = F_OFD_SETLK;
        let (slot, record) = (1, byte(0));
        assert_eq!(ring.crew.one(1, Op::Lock { slot, command, record }).result, DONE);
        ring.waits(0, 0, 1, byte(0));
        assert_eq!(ring.crew.one(1, of_open(0, 0)).result, DONE);
        ring.still_waits(1, 0);
        ring.crew.signal(1, 0, INTERRUPT);
        ring.ends(1, 0, EINTR);
        // Nor if it asks as a process: what it holds is not its own.
        ring.waits(1, 0, 0, byte(0));
        ring.crew.kill(1);
        ring.ends(0, 0, DONE);
    });
}

/// By semantics 4.3: somebody who waits for several waits for each of them. Linux looks at the first only.
#[test]
fn every_conflict_counts() {
    each("mode=0777", |mount| {
        let mut ring = Ring::new(mount, 4, 1);
        for who in [1, 2, 3] {
            ring.has(who, 0, byte(who));
        }
        ring.has(0, 1, byte(0));
        ring.waits(0, 0, 0, Record::new(WRITE, 0, 10));
        for who in [1, 2, 3] {
            if who == 1 || ring.rules == Rules::Server {
                ring.is_refused(who, 0, 1, byte(0));
            }
        }
        // A request that would not wait is no wait.
        assert_eq!(ring.locks(3, 1, byte(0)), EAGAIN);
        for who in [1, 2, 3] {
            ring.has(who, 0, Record::all(NONE));
        }
        ring.ends(0, 0, DONE);
    });
}

/// By semantics 4.3: many paths that join are no circle.
#[test]
fn paths_that_join_are_no_circle() {
    each("mode=0777", |mount| {
        let mut ring = Ring::new(mount, 8, 2);
        // 1 to 6 each have a byte and wait for 0's; 7 waits for all of them.
        ring.has(0, 0, byte(0));
        for who in 1..7 {
            ring.has(who, 1, byte(who));
            ring.waits(who, 0, 0, byte(0));
        }
        ring.waits(7, 0, 1, Record::all(READ));
        ring.waits(7, 1, 0, byte(0));
        ring.has(0, 1, byte(0));
        ring.has(0, 2, byte(0));
        for who in 1..7 {
            ring.waits(who, 1, 2, byte(0));
        }
        ring.is_refused(0, 0, 1, byte(3));
        ring.crew.kill(0);
        for who in 1..7 {
            ring.crew.kill(who);
        }
        ring.crew.kill(7);
    });
}
