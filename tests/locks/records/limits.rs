//! Many locks: what they cost, where they end, and that others do not suffer (semantics 4.1, 4.4).

use std::time::{Duration, Instant};

use super::crew::{Crew, Op};
use super::rules::{Rules, rules};
use super::way::{DONE, EAGAIN, start};
use crate::common::lock::{F_GETLK, F_OFD_SETLK, F_SETLK, NONE, READ, Record, WRITE};
use crate::common::{Mount, env_number};

const ENOLCK: i32 = -nix::libc::ENOLCK;
/// Locks of one owner on one file.
const MOST: i64 = 1 << 18;
const BATCH: i64 = 250;

fn at(slot: u8, command: i32, record: Record) -> Op {
    Op::Lock { slot, command, record }
}

/// Every other byte from one number on, so that nothing merges.
fn holds(crew: &mut Crew, who: usize, from: i64, to: i64) {
    for first in (from..to).step_by(BATCH as usize) {
        let bytes = first..to.min(first + BATCH);
        let ops: Vec<Op> = bytes
            .map(|number| at(0, F_SETLK, Record::new(WRITE, 2 * number, 1)))
            .collect();
        crew.tell(who, &ops);
        assert!(crew.answers(who).iter().all(|it| it.result == DONE), "from {first}");
    }
}

/// What locking and unlocking a byte costs another process, at best of some.
fn cost(crew: &mut Crew, who: usize, byte: i64) -> Duration {
    let pair = [
        at(0, F_SETLK, Record::new(WRITE, byte, 1)),
        at(0, F_SETLK, Record::new(NONE, byte, 1)),
    ];
    let ops = pair.repeat(100);
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        crew.tell(who, &ops);
        let answers = crew.answers(who);
        best = best.min(start.elapsed() / 100);
        assert!(answers.iter().all(|it| it.result == DONE));
    }
    best
}

fn megabytes(mount: &Mount) -> f64 {
    mount.daemon_rss().unwrap_or(0) as f64 / f64::from(1 << 20)
}

/// By semantics 4.4: with a hundred thousand locks on the file a lock costs about what it costs with none. And semantics 4.1: the owner of
/// too many gets ENOLCK; others, and other files, are served as before; one call takes all away.
#[test]
fn a_quarter_of_a_million_locks() {
    let mount = Mount::owltmp("mode=0777");
    if rules(&mount) == Rules::Kernel {
        return println!("the kernel keeps the locks");
    }
    let (mut crew, _) = start(&mount, 3, 1);
    let before = megabytes(&mount);
    let mut costs = vec![];
    let mut held = 0;
    for count in [0, 1000, 10_000, 100_000] {
        holds(&mut crew, 0, held, count);
        held = count;
        costs.push((
            count,
            cost(&mut crew, 1, 2 * count / 2 + 1),
            cost(&mut crew, 1, 1 << 40),
        ));
    }
    for (count, among, beyond) in &costs {
        println!("{count:7} locks held: lock and unlock {among:?} among them, {beyond:?} beyond");
    }
    // Ten times is far from what a list would cost, and far from what a busy machine does.
    assert!(
        costs[3].1 < costs[0].1 * 10 && costs[3].2 < costs[0].2 * 10,
        "{costs:?}"
    );
    let start = Instant::now();
    holds(&mut crew, 0, held, MOST);
    println!("{} locks more took {:?}", MOST - held, start.elapsed());
    println!("the daemon grew from {before:.1} to {:.1} MiB", megabytes(&mount));
    let more = |at_byte| at(0, F_SETLK, Record::new(WRITE, at_byte, 1));
    for byte in [2 * MOST, 1 << 50, 2 * MOST] {
        assert_eq!(crew.one(0, more(byte)).result, ENOLCK);
    }
    // What makes no lock more is no lock too many, and unlocking goes on.
    assert_eq!(crew.one(0, more(1)).result, DONE, "it joins two");
    assert_eq!(
        crew.one(0, at(0, F_SETLK, Record::new(NONE, 1, 1))).result,
        DONE,
        "it splits one"
    );
    assert_eq!(crew.one(0, at(0, F_SETLK, Record::new(NONE, 0, 1))).result, DONE);
    assert_eq!(crew.one(0, more(1 << 50)).result, DONE);
    // Others, on this file and another.
    assert_eq!(crew.one(1, more(1 << 50)).result, EAGAIN);
    assert_eq!(crew.one(1, more((1 << 50) + 1)).result, DONE);
    assert_eq!(crew.one(1, at(0, F_OFD_SETLK, Record::new(READ, 3, 1))).result, DONE);
    let told = crew.one(2, at(0, F_GETLK, Record::all(READ))).record;
    assert_eq!((told.start, told.pid), (2, crew.pid(0)));
    assert_eq!(crew.one(2, super::way::open(1, 1)).result, DONE);
    assert_eq!(crew.one(2, at(1, F_SETLK, Record::all(WRITE))).result, DONE);
    let start = Instant::now();
    assert_eq!(crew.one(0, Op::Close { slot: 0 }).result, DONE);
    println!("all gone by one close(2) after {:?}", start.elapsed());
    assert_eq!(crew.one(2, at(0, F_SETLK, Record::new(WRITE, 4, 1 << 30))).result, DONE);
    println!("the daemon has {:.1} MiB now", megabytes(&mount));
}

/// By semantics 4.1: an owner for each lock: as many open files as a process may have, each with its own.
#[test]
fn many_owners() {
    let rounds = env_number("OWLTMP_LOCK_OWNERS", 400);
    let mount = Mount::owltmp("mode=0777");
    let (mut crew, _) = start(&mount, 201, 0);
    let mut owners = 0;
    for who in 0..200 {
        let (command, record) = (F_SETLK, Record::new(READ, 0, 0));
        assert_eq!(crew.one(who, at(0, command, record)).result, DONE);
        owners += 1;
        for slot in 1..3 {
            assert_eq!(crew.one(who, super::way::open(slot, 0)).result, DONE);
            assert_eq!(crew.one(who, at(slot, F_OFD_SETLK, record)).result, DONE);
            owners += 1;
        }
    }
    println!("{owners} owners read; {rounds} times one more comes and goes");
    for _ in 0..rounds {
        assert_eq!(crew.one(200, at(0, F_SETLK, Record::all(WRITE))).result, EAGAIN);
        assert_eq!(crew.one(200, at(0, F_SETLK, Record::all(READ))).result, DONE);
        assert_eq!(crew.one(200, at(0, F_SETLK, Record::all(NONE))).result, DONE);
    }
    for who in 0..200 {
        assert_eq!(
            crew.one(200, at(0, F_SETLK, Record::all(WRITE))).result,
            EAGAIN,
            "{who}"
        );
        crew.kill(who);
    }
    assert_eq!(crew.one(200, at(0, F_SETLK, Record::all(WRITE))).result, DONE);
}
