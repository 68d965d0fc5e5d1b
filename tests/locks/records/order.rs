//! Who is served when (semantics 4.5, 4.6): in order of arrival where waits conflict, at once where no lock is in the way.

use std::time::Duration;

use super::crew::{Crew, Op, Quiet};
use super::way::{DONE, EAGAIN, WAYS, Way, start};
use crate::common::Mount;
use crate::common::lock::{F_SETLK, F_SETLKW, NONE, READ, Record, WRITE};

const PATIENCE: Duration = Duration::from_secs(20);

struct Queue {
    crew: Crew,
    quiet: Quiet,
}

impl Queue {
    fn has(&mut self, who: usize, op: Op) {
        assert_eq!(self.crew.one(who, op).result, DONE, "{who}: {op:?}");
    }

    fn is_refused(&mut self, who: usize, op: Op) {
        assert_eq!(self.crew.one(who, op).result, EAGAIN, "{who}: {op:?}");
    }

    fn waits(&mut self, who: usize, op: Op) {
        self.has(who, op);
        self.crew.wait_for_wait(who, 0);
        self.quiet.settle();
        self.still_waits(&[who]);
    }

    fn still_waits(&mut self, all: &[usize]) {
        self.quiet.settle();
        for &who in all {
            assert_eq!(self.crew.done(who, Duration::ZERO), None, "{who} should wait");
        }
    }

    /// Those get their locks, in whatever order, and nobody else.
    fn get(&mut self, all: &[usize]) {
        for &who in all {
            assert_eq!(self.crew.done(who, PATIENCE), Some((0, DONE)), "{who} should have it");
        }
    }
}

/// Where the first to come is the first to be served. On Linux, so on tmpfs, whoever wakes up first may be.
fn with_queue(members: usize, body: impl Fn(&mut Queue)) {
    let mount = Mount::owltmp("mode=0777");
    if mount.daemon_pid().is_some() {
        let (crew, quiet) = start(&mount, members, 1);
        body(&mut Queue { crew, quiet });
    }
}

fn now(record: Record) -> Op {
    Op::Lock {
        slot: 0,
        command: F_SETLK,
        record,
    }
}

fn wait(record: Record) -> Op {
    Op::WaitLock {
        thread: 0,
        slot: 0,
        command: F_SETLKW,
        record,
    }
}

/// By semantics 4.6: writers that wait for one lock are served in order of arrival, also when some give up.
#[test]
fn writers_in_order_of_arrival() {
    with_queue(7, |queue| {
        for way in WAYS {
            queue.has(0, way.now(0, WRITE));
            for who in [3, 1, 5, 2, 4] {
                queue.waits(who, way.wait(0, 0));
            }
            queue.crew.kill(5);
            queue.is_refused(6, way.now(0, READ));
            queue.has(0, way.now(0, NONE));
            queue.get(&[3]);
            queue.still_waits(&[1, 2, 4]);
            queue.crew.kill(3);
            queue.get(&[1]);
            queue.still_waits(&[2, 4]);
            queue.has(1, way.now(0, NONE));
            queue.get(&[2]);
            queue.has(2, way.now(0, NONE));
            queue.get(&[4]);
            queue.has(4, way.now(0, NONE));
            for who in [3, 5] {
                queue.crew.spawn(Some(0), who);
                queue.has(who, Op::Close { slot: 0 });
                queue.has(who, super::way::open(0, 0));
            }
        }
    });
}

/// By semantics 4.6: who conflicts with no lock that is held gets it at once, past a waiter; readers who wait come in together.
#[test]
fn readers_pass_a_writer_who_waits() {
    with_queue(6, |queue| {
        for way in WAYS {
            queue.has(0, way.now(0, READ));
            queue.waits(1, way.wait(0, 0));
            queue.has(2, way.now(0, READ));
            queue.has(3, way.wait_for(0, 0, READ));
            queue.get(&[3]);
            queue.has(0, way.now(0, NONE));
            queue.has(2, way.now(0, NONE));
            queue.still_waits(&[1]);
            queue.has(3, way.now(0, NONE));
            queue.get(&[1]);
            queue.waits(2, way.wait_for(0, 0, READ));
            queue.waits(4, way.wait(0, 0));
            queue.waits(3, way.wait_for(0, 0, READ));
            queue.has(1, way.now(0, NONE));
            queue.get(&[2, 3]);
            queue.still_waits(&[4]);
            queue.has(2, way.now(0, NONE));
            queue.has(3, way.now(0, NONE));
            queue.get(&[4]);
            queue.has(4, way.now(0, NONE));
        }
    });
}

/// By semantics 4.6: who waits for other bytes is served for himself, and only when all of his are free.
#[test]
fn ranges_are_waited_for_each_by_itself() {
    with_queue(6, |queue| {
        queue.has(0, now(Record::new(WRITE, 0, 100)));
        queue.waits(1, wait(Record::new(WRITE, 0, 10)));
        queue.waits(2, wait(Record::new(WRITE, 5, 10)));
        queue.waits(3, wait(Record::new(WRITE, 50, 10)));
        queue.waits(4, wait(Record::new(READ, 99, 100)));
        queue.has(0, now(Record::new(NONE, 50, 9)));
        queue.still_waits(&[1, 2, 3, 4]);
        queue.has(5, now(Record::new(WRITE, 50, 9)));
        queue.has(0, now(Record::new(NONE, 59, 1)));
        queue.still_waits(&[1, 2, 3, 4]);
        queue.has(5, now(Record::all(NONE)));
        queue.get(&[3]);
        queue.has(0, now(Record::new(NONE, 10, 5)));
        queue.still_waits(&[1, 2, 4]);
        queue.has(0, now(Record::new(NONE, 0, 10)));
        queue.get(&[1]);
        queue.still_waits(&[2, 4]);
        // A write lock that becomes a read lock lets readers in.
        queue.has(0, now(Record::new(READ, 60, 40)));
        queue.get(&[4]);
        queue.still_waits(&[2]);
        queue.has(1, now(Record::all(NONE)));
        queue.get(&[2]);
    });
}

/// By semantics 4.6: two who wait for the same, and a third whose range joins theirs: he comes when both are through.
#[test]
fn a_wide_request_comes_after_narrow_ones_before_it() {
    with_queue(5, |queue| {
        queue.has(0, now(Record::new(WRITE, 0, 100)));
        queue.waits(1, wait(Record::new(WRITE, 0, 10)));
        queue.waits(2, wait(Record::new(WRITE, 90, 10)));
        queue.waits(3, wait(Record::all(WRITE)));
        queue.has(0, now(Record::all(NONE)));
        queue.get(&[1, 2]);
        queue.still_waits(&[3]);
        queue.is_refused(4, now(Record::new(READ, 5, 1)));
        queue.has(1, now(Record::all(NONE)));
        queue.still_waits(&[3]);
        // Free, and the one who waits does not have it yet.
        queue.has(4, now(Record::new(READ, 5, 1)));
        queue.has(2, now(Record::all(NONE)));
        queue.still_waits(&[3]);
        queue.has(4, now(Record::all(NONE)));
        queue.get(&[3]);
    });
}

/// By semantics 4.5: converting a lock of flock(2) comes before those who wait, if nobody else holds one; what can't be converted at once
/// is lost with LOCK_NB, as on Linux.
#[test]
fn flock_converts() {
    let way = Way::Flock;
    with_queue(5, |queue| {
        queue.has(0, way.now(0, WRITE));
        queue.waits(1, way.wait(0, 0));
        queue.waits(2, way.wait_for(0, 0, READ));
        queue.has(0, way.now(0, READ));
        queue.get(&[2]);
        queue.still_waits(&[1]);
        queue.has(2, way.now(0, NONE));
        queue.has(0, way.now(0, WRITE));
        queue.still_waits(&[1]);
        queue.has(0, way.now(0, NONE));
        queue.get(&[1]);
        queue.has(1, way.now(0, READ));
        // Two readers: neither can write, and who tries has nothing any more.
        queue.has(2, way.now(0, READ));
        queue.is_refused(1, way.now(0, WRITE));
        queue.has(2, way.now(0, WRITE));
        queue.is_refused(1, way.now(0, READ));
        queue.has(2, way.now(0, READ));
        queue.has(1, way.now(0, READ));
        // Who waits to convert has given up what he had meanwhile.
        queue.waits(1, way.wait(0, 0));
        queue.has(3, way.now(0, READ));
        queue.has(2, way.now(0, NONE));
        queue.still_waits(&[1]);
        queue.has(3, way.now(0, NONE));
        queue.get(&[1]);
        queue.is_refused(2, way.now(0, READ));
        queue.has(1, way.now(0, NONE));
    });
}

/// By semantics 4.5: locks of flock(2) and record locks do not know each other.
#[test]
fn families_are_independent() {
    with_queue(4, |queue| {
        queue.has(0, Way::Flock.now(0, WRITE));
        queue.has(1, Way::Process.now(0, WRITE));
        queue.is_refused(2, Way::Open.now(0, READ));
        queue.is_refused(2, Way::Flock.now(0, READ));
        queue.has(0, Way::Flock.now(0, NONE));
        queue.is_refused(3, Way::Process.now(0, READ));
        queue.has(3, Way::Flock.now(0, WRITE));
        queue.has(1, Way::Process.now(0, NONE));
        queue.has(2, Way::Open.now(0, WRITE));
        // An open file and its own process are two.
        queue.is_refused(2, Way::Process.now(0, READ));
    });
}
