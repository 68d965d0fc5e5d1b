//! Signals end or restart waits, and waiting costs nothing (semantics 4.2).

use std::time::{Duration, Instant};

use super::crew::{Answer, Crew, INTERRUPT, Op, RESTART};
use super::way::{DONE, EAGAIN, EINTR, WAYS, Way, open, start};
use crate::common::lock::{self, F_SETLKW, NONE, Record, WRITE};
use crate::common::mount::Setup;
use crate::common::{Kind, Mount, each, env_number};

/// Nothing here may take longer, however busy the machine.
const AT_ONCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest of some times.
#[derive(Default)]
struct Longest(Duration);

impl Longest {
    fn take<T>(&mut self, what: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = what();
        self.0 = self.0.max(start.elapsed());
        result
    }
}

const HERD: u8 = 250;

/// A thousand wait, in four processes.
fn begin_herd(crew: &mut Crew, way: Way) {
    for who in 2..6 {
        for from in (0..HERD).step_by(50) {
            let ops: Vec<Op> = (from..from + 50).map(|thread| way.wait(thread, 0)).collect();
            crew.tell(who, &ops);
            crew.answers(who);
        }
    }
    for who in 2..6 {
        for thread in 0..HERD {
            crew.wait_for_wait(who, thread);
        }
    }
}

fn measure(mount: &Mount, way: Way) {
    let (mut crew, mut quiet) = start(mount, 6, HERD.into());
    assert_eq!(crew.one(0, way.now(0, WRITE)).result, DONE);
    begin_herd(&mut crew, way);
    let (mut killed, mut interrupted, mut restarted) = (Longest::default(), Longest::default(), Longest::default());
    for _ in 0..20 {
        assert_eq!(crew.one(1, way.wait(0, 0)).result, DONE);
        crew.wait_for_wait(1, 0);
        quiet.settle();
        restarted.take(|| crew.signal(1, 0, RESTART));
        crew.wait_for_wait(1, 0);
        quiet.settle();
        assert_eq!(crew.done(1, Duration::ZERO), None, "the wait goes on");
        interrupted.take(|| {
            crew.signal(1, 0, INTERRUPT);
            assert_eq!(crew.done(1, PATIENCE), Some((0, EINTR)));
        });
        assert_eq!(crew.one(1, way.wait(0, 0)).result, DONE);
        crew.wait_for_wait(1, 0);
        killed.take(|| crew.kill(1));
        crew.spawn(None, 1);
        assert_eq!(crew.one(1, open(0, 0)).result, DONE);
    }
    println!(
        "{way:?}, 1000 others wait: SIGKILL to the end {:?}, to EINTR {:?}, to the handler {:?} at most",
        killed.0, interrupted.0, restarted.0
    );
    for it in [killed, interrupted, restarted] {
        assert!(it.0 < AT_ONCE);
    }
    // The target that waits last gets the lock when all the others are gone.
    assert_eq!(crew.one(1, way.wait(0, 0)).result, DONE);
    crew.wait_for_wait(1, 0);
    for who in 2..6 {
        crew.kill(who);
    }
    assert_eq!(crew.done(1, Duration::ZERO), None);
    crew.kill(0);
    assert_eq!(crew.done(1, PATIENCE), Some((0, DONE)));
}

/// By semantics 4.2: SIGKILL ends a wait at once, a handler runs at once; without SA_RESTART the wait ends with EINTR, with it goes on.
#[test]
fn signals_end_waits_at_once() {
    for way in WAYS {
        each("mode=0777", |mount| measure(mount, way));
    }
}

/// By semantics 4.2: a stopped process does not wait, and waits again when it goes on.
#[test]
fn stopped_processes_do_not_wait() {
    each("mode=0777", |mount| {
        let (mut crew, mut quiet) = start(mount, 3, 1);
        for way in WAYS {
            assert_eq!(crew.one(0, way.now(0, WRITE)).result, DONE);
            assert_eq!(crew.one(1, way.wait(0, 0)).result, DONE);
            crew.wait_for_wait(1, 0);
            quiet.settle();
            crew.stop(1);
            assert_eq!(crew.one(0, way.now(0, NONE)).result, DONE);
            assert_eq!(crew.one(2, way.now(0, WRITE)).result, DONE, "{way:?}: nobody waits");
            crew.go_on(1);
            crew.wait_for_wait(1, 0);
            quiet.settle();
            assert_eq!(crew.done(1, Duration::ZERO), None);
            assert_eq!(crew.one(2, way.now(0, NONE)).result, DONE);
            assert_eq!(crew.done(1, PATIENCE), Some((0, DONE)));
            assert_eq!(crew.one(1, way.now(0, NONE)).result, DONE);
        }
    });
}

/// By semantics 4.2, 4.1: whether the signal or the lock comes first, the wait ends with one of them, and a lock that nobody got is free.
#[test]
fn a_signal_and_the_lock_at_once() {
    let rounds = env_number("OWLTMP_LOCK_ROUNDS", 3000);
    each("mode=0777", |mount| {
        let (mut crew, _) = start(mount, 3, 1);
        let mut granted = 0;
        for round in 0..rounds {
            let way = WAYS[round as usize % 3];
            assert_eq!(crew.one(0, way.now(0, WRITE)).result, DONE);
            assert_eq!(crew.one(1, way.wait(0, 0)).result, DONE);
            crew.wait_for_wait(1, 0);
            crew.tell(0, &[way.now(0, NONE)]);
            if round % 10 < 7 {
                crew.signal(1, 0, INTERRUPT);
                let result = crew.done(1, PATIENCE).expect("an end").1;
                assert!(result == DONE || result == EINTR, "{result}");
                if result == DONE {
                    granted += 1;
                    assert_eq!(crew.one(2, way.now(0, WRITE)).result, EAGAIN);
                    assert_eq!(crew.one(1, way.now(0, NONE)).result, DONE);
                }
            } else {
                crew.kill(1);
                crew.spawn(None, 1);
                assert_eq!(crew.one(1, open(0, 0)).result, DONE);
            }
            assert_eq!(crew.answers(0)[0].result, DONE);
            let free = [way.now(0, WRITE), way.now(0, NONE)];
            crew.tell(2, &free);
            let answers: Vec<i32> = crew.answers(2).iter().map(|it: &Answer| it.result).collect();
            assert_eq!(answers, [DONE, DONE], "round {round}, {way:?}: nobody has the lock");
        }
        println!("{rounds} rounds, the lock came first in {granted}");
    });
}

fn seconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

/// What others do meanwhile, and how long the slowest of it takes.
fn live_on(mount: &Mount) -> Duration {
    let mut longest = Longest::default();
    for round in 0..200 {
        let file = mount.path().join(format!("other-{round}"));
        longest.take(|| std::fs::write(&file, b"more").unwrap());
        longest.take(|| assert_eq!(std::fs::metadata(&file).unwrap().len(), 4));
        longest.take(|| assert!(std::fs::read_dir(mount.path()).unwrap().count() >= 3));
        longest.take(|| std::fs::remove_file(&file).unwrap());
    }
    longest.0
}

fn queue(mount: &Mount, count: usize) {
    let threads = 250;
    let members = count.div_ceil(threads) + 1;
    let (mut crew, mut quiet) = start(mount, members, threads);
    for who in 0..members {
        let numbers = open(1, 1);
        assert_eq!(crew.one(who, numbers).result, DONE);
    }
    assert_eq!(crew.one(0, Way::Process.now(0, WRITE)).result, DONE);
    live_on(mount);
    let (daemon_threads, before) = (quiet.count(), mount.daemon_rss().unwrap_or(0));
    let place = |number: usize| (1 + number % (members - 1), (number / (members - 1)) as u8);
    let start = Instant::now();
    for number in 0..count {
        let (who, thread) = place(number);
        let op = Op::Queue {
            thread,
            slot: 0,
            command: F_SETLKW,
            record: Record::all(WRITE),
        };
        assert_eq!(crew.one(who, op).result, DONE);
        crew.wait_for_wait(who, thread);
        quiet.settle();
    }
    println!("{count} wait after {:.2} s", seconds(start));
    let slowest = live_on(mount);
    assert_eq!(quiet.count(), daemon_threads, "waiting costs no thread");
    let after = mount.daemon_rss().unwrap_or(0);
    let each = after.saturating_sub(before) / count as u64;
    println!("others wait {slowest:?} at most; the daemon grew by {each} bytes for each waiter, {after} in all");
    assert!(slowest < AT_ONCE);
    assert!(each < 16 << 10, "{each} bytes for a waiter");
    assert_eq!(crew.one(5, Way::Process.now(0, WRITE)).result, EAGAIN);
    let start = Instant::now();
    assert_eq!(crew.one(0, Way::Process.now(0, NONE)).result, DONE);
    let mut turns = vec![];
    for number in 0..count {
        let who = place(number).0;
        let (thread, turn) = crew.done(who, PATIENCE).expect("a turn");
        turns.push((turn, who, thread));
    }
    turns.sort_unstable();
    let arrived = (0..count).map(|number| (number as i32, place(number).0, place(number).1));
    assert!(turns.iter().copied().eq(arrived), "not in order of arrival: {turns:?}");
    println!("all had their turn after {:.2} s", seconds(start));
    assert_eq!(crew.one(5, Way::Process.now(0, WRITE)).result, DONE);
    assert_eq!(lock::rung(), 0);
}

/// By semantics 4.2, 4.6: ten thousand waiters leave the filesystem responsive, cost no threads, and are served in order of arrival.
#[test]
fn ten_thousand_wait() {
    let count = env_number("OWLTMP_LOCK_WAITERS", 10_000) as usize;
    for (kind, count) in [(Kind::Tmpfs, count.min(2000)), (Kind::Owltmp, count)] {
        let mount = Setup::new(kind, "mode=0777").mount();
        queue(&mount, count);
    }
}
