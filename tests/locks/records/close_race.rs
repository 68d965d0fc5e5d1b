//! Once close(2) has returned nobody is refused because of the locks it ended, though the server hears of it later (semantics 4.1, 4.5).
//! Every round closes, or dies, or execs, and lets somebody try at once.

use std::path::Path;
use std::time::{Duration, Instant};

use super::crew::Op;
use super::way::{DONE, WAYS, Way, open, start};
use crate::common::lock::{self, F_OFD_SETLK, F_SETLK, LOCK_EX, LOCK_NB, LOCK_UN, NONE, READ, Record, WRITE};
use crate::common::map::Map;
use crate::common::{Mount, each, env_number, raw};

fn rounds() -> u64 {
    env_number("OWLTMP_LOCK_ROUNDS", 6000)
}

/// Another process opens and closes all the time, so that the server has something to do.
const BUSY: [Op; 4] = [
    Op::Open {
        slot: 5,
        file: 3,
        access: 2,
    },
    Op::Open {
        slot: 6,
        file: 2,
        access: 2,
    },
    Op::Close { slot: 5 },
    Op::Close { slot: 6 },
];

/// One process: what it closes, and what it tries next with a descriptor that it has had all the time. The owners differ, also where
/// one is the process itself.
fn in_one_process(mount: &Mount) {
    let (mut crew, _) = start(mount, 2, 1);
    let mut refused = vec![];
    let pairs = [
        (Way::Open, Way::Open),
        (Way::Flock, Way::Flock),
        (Way::Process, Way::Open),
        (Way::Open, Way::Process),
    ];
    for (held, tried) in pairs {
        for copies in [0, 2] {
            let mut ops = vec![open(1, 0), held.now(1, WRITE)];
            ops.extend((0..copies).map(|copy| Op::Dup { from: 1, to: 2 + copy }));
            ops.extend((1..2 + copies).map(|slot| Op::Close { slot }));
            let tries = ops.len();
            ops.extend([tried.now(0, if copies > 0 { READ } else { WRITE }), tried.now(0, NONE)]);
            for round in 0..rounds() / 10 {
                let batch = ops.repeat(10);
                crew.tell(1, &BUSY.repeat(8));
                crew.tell(0, &batch);
                let answers = crew.answers(0);
                crew.answers(1);
                let right = |(at, it): &(usize, &super::crew::Answer)| it.result == DONE || at % ops.len() != tries;
                assert!(
                    answers
                        .iter()
                        .enumerate()
                        .filter(|it| it.0 % ops.len() != tries)
                        .all(|it| it.1.result == DONE)
                );
                let wrong = answers.iter().enumerate().filter(|it| !right(it)).count();
                if wrong > 0 {
                    refused.push((held, tried, copies, round, wrong));
                }
            }
        }
    }
    assert_eq!(refused, [], "refused: held by, tried by, copies, round, times");
}

/// By semantics 4.1, 4.5.
#[test]
fn nobody_is_refused_in_the_same_process() {
    each("mode=0777", in_one_process);
}

const FLAGS: i32 = nix::libc::O_RDWR | nix::libc::O_CLOEXEC;

fn turn(shared: &Map) -> u8 {
    shared.get(0, 1)[0]
}

/// Waits for a turn, which comes within microseconds if the other process runs.
fn await_turn(shared: &Map, mine: u8) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    let mut spins = 0_u32;
    while turn(shared) != mine {
        spins += 1;
        if spins.is_multiple_of(64) {
            std::thread::yield_now();
            if Instant::now() > end {
                return false;
            }
        }
    }
    true
}

fn locked(way: Way, fd: i32, kind: i16) -> bool {
    match way {
        Way::Process => lock::set(fd, F_SETLK, Record::all(kind)).is_ok(),
        Way::Open => lock::set(fd, F_OFD_SETLK, Record::all(kind)).is_ok(),
        Way::Flock => lock::flock(fd, if kind == NONE { LOCK_UN } else { LOCK_EX | LOCK_NB }).is_ok(),
    }
}

/// Tries when it is told to; how often it was refused, at most 100.
fn tries(shared: &Map, way: Way, file: &Path, rounds: u64) -> i32 {
    let Ok(fd) = lock::open(file, FLAGS) else { return 102 };
    let mut refused = 0;
    for _ in 0..rounds {
        if !await_turn(shared, 1) {
            return 101;
        }
        if !locked(way, fd, WRITE) {
            refused += 1;
        }
        locked(way, fd, NONE);
        shared.put(0, &[2]);
    }
    refused.min(100)
}

/// Opens, locks and closes; 0 if all of that went well.
fn closes(shared: &Map, way: Way, file: &Path, rounds: u64) -> i32 {
    for _ in 0..rounds {
        let Ok(fd) = lock::open(file, FLAGS) else { return 102 };
        if !locked(way, fd, WRITE) || lock::close(fd).is_err() {
            return 103;
        }
        shared.put(0, &[1]);
        if !await_turn(shared, 2) {
            return 101;
        }
    }
    0
}

/// By semantics 4.1, 4.5: two processes that share a byte of memory, so that the try follows the close within a microsecond. They are
/// processes of their own, for others are forked from this one at any time, and have its descriptors for a moment.
#[test]
fn nobody_is_refused_in_another_process() {
    let rounds = rounds();
    each("mode=0777", |mount| {
        for way in WAYS {
            let file = mount.path().join("raced");
            std::fs::write(&file, b"").unwrap();
            let memory = tempfile::tempfile().unwrap();
            memory.set_len(4096).unwrap();
            let shared = Map::shared(&memory, 4096).unwrap();
            let alone = |play: fn(&Map, Way, &Path, u64) -> i32| {
                raw::fork(|| {
                    lock::close_all();
                    play(&shared, way, &file, rounds)
                })
            };
            let (closer, other) = (alone(closes), alone(tries));
            let (closed, refused) = (raw::wait(closer), raw::wait(other));
            assert_eq!((closed, refused), (0, 0), "{way:?}: times refused, of {rounds}");
        }
    });
}

/// By semantics 4.1, 4.5: when a holder is dead, or has executed another program, its locks are gone.
#[test]
fn nobody_is_refused_after_exit_and_exec() {
    let rounds = rounds() / 20;
    each("mode=0777", |mount| {
        let (mut crew, _) = start(mount, 3, 1);
        for round in 0..rounds {
            let way = WAYS[round as usize % 3];
            assert_eq!(crew.one(0, way.now(0, WRITE)).result, DONE);
            crew.tell(2, &BUSY.repeat(8));
            match round / 3 % 8 {
                0 => crew.exec(0),
                1..=3 => crew.exit(0),
                _ => crew.kill(0),
            }
            let answer = crew.one(1, way.now(0, WRITE)).result;
            assert_eq!(answer, DONE, "{way:?} in round {round} of {rounds}");
            assert_eq!(crew.one(1, way.now(0, NONE)).result, DONE);
            if !crew.lives(0) {
                crew.spawn(None, 0);
            }
            assert_eq!(crew.one(0, open(0, 0)).result, DONE);
            crew.answers(2);
        }
    });
}
