//! Random steps: what a process may do next. Most of them meet the locks of others, for files are few and ranges short.

use crate::common::lock::{self, F_GETLK, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_SETLK, F_SETLKW, Record};
use crate::common::rng::Rng;
use crate::records::crew::{Op, SLOTS};
use crate::records::model::{Step, World};

/// What a stretch of the schedule is made of.
#[derive(Clone, Copy, Debug)]
pub struct Mood {
    /// Places for processes.
    pub processes: u64,
    /// Files in use.
    pub files: u64,
    /// Threads of each process that wait.
    pub threads: u64,
    /// Offsets are below that.
    pub span: u64,
    /// One lock in so many may wait.
    pub waits: u64,
    /// Most waits at a time.
    pub most_waits: usize,
    /// One lock in so many is of an open file.
    pub opens: u64,
    /// One lock in so many is for flock(2).
    pub whole: u64,
    /// One step in so many begins or ends a process.
    pub lives: u64,
    /// One request in so many is to unlock.
    pub unlocks: u64,
    /// The others are of these kinds.
    pub kinds: &'static [i16],
}

impl Mood {
    /// A mood.
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            processes: rng.pick(&[2, 3, 4, 5]),
            files: rng.pick(&[1, 1, 2, 3]),
            threads: rng.pick(&[1, 2, 3]),
            span: rng.pick(&[4, 8, 8, 16, 40]),
            waits: rng.pick(&[1, 1, 2, 4, 20]),
            most_waits: rng.pick(&[2, 4, 6, 10]),
            opens: rng.pick(&[2, 3, 5, 1000, 1000]),
            whole: rng.pick(&[3, 5, 10, 1000, 1000]),
            lives: rng.pick(&[100, 300, 1000]),
            unlocks: 5,
            kinds: &[lock::READ, lock::WRITE],
        }
    }

    /// A mood in which everybody waits.
    pub fn deadlocks(rng: &mut Rng) -> Self {
        Self {
            processes: rng.pick(&[3, 4, 6, 8]),
            files: rng.pick(&[1, 2, 3]),
            threads: rng.pick(&[1, 1, 2, 3]),
            span: rng.pick(&[4, 6, 8, 12]),
            waits: 1,
            most_waits: 24,
            opens: rng.pick(&[20, 1000]),
            whole: 1000,
            lives: 300,
            unlocks: rng.pick(&[2, 3]),
            kinds: rng.pick(&[&[lock::READ, lock::WRITE, lock::WRITE], &[lock::WRITE]]),
        }
    }
}

/// A step for that process, which lives; with `same` nothing but what it does by itself.
pub fn step(rng: &mut Rng, mood: &Mood, world: &World, who: usize, same: bool) -> Step {
    if !same && rng.one_in(mood.lives) {
        return if rng.one_in(3) {
            Step::Exit(who)
        } else {
            Step::Kill(who)
        };
    }
    let waiting = world.waiting();
    if !same && !waiting.is_empty() && rng.one_in(40) {
        let (who, thread) = rng.pick(&waiting);
        let restart = rng.one_in(3);
        return Step::Signal { who, thread, restart };
    }
    Step::Work(who, op(rng, mood, world, who))
}

fn op(rng: &mut Rng, mood: &Mood, world: &World, who: usize) -> Op {
    let slot = rng.below(SLOTS.into()) as u8;
    let Some(open) = world.slot(who, slot) else {
        let file = rng.below(mood.files) as u8;
        let access = if rng.one_in(8) { rng.below(2) as u8 } else { 2 };
        return Op::Open { slot, file, access };
    };
    let avoid = std::env::var("AVOID").is_ok();
    match rng.below(50) {
        0..3 if avoid && world.waiting().iter().any(|it| it.0 == who) => {}
        0 | 1 => return Op::Close { slot },
        2 => {
            let to = rng.below(SLOTS.into()) as u8;
            return Op::Dup { from: slot, to };
        }
        3 => {
            let to = rng.below(mood.span).cast_signed();
            return Op::Seek { slot, to };
        }
        4 if world.access(open).1 => {
            let len = rng.below(mood.span).cast_signed();
            return Op::Truncate { slot, len };
        }
        _ => {}
    }
    let thread = thread(rng, mood, world, who);
    if rng.one_in(mood.whole) {
        let operation = rng.pick(&[lock::LOCK_SH, lock::LOCK_EX, lock::LOCK_EX, lock::LOCK_UN]);
        return match thread {
            Some(thread) => Op::WaitFlock {
                thread,
                slot,
                operation,
            },
            None => Op::Flock {
                slot,
                operation: operation | lock::LOCK_NB,
            },
        };
    }
    let of_open = rng.one_in(mood.opens);
    let mut record = record(rng, mood);
    if world.disputed(who, slot) && rng.one_in(6) {
        record = Record::all(lock::NONE);
    }
    if of_open && rng.one_in(60) {
        record.pid = 1;
    }
    if rng.one_in(8) {
        let command = if of_open { F_OFD_GETLK } else { F_GETLK };
        if record.kind == lock::NONE && rng.one_in(2) {
            record.kind = lock::WRITE;
        }
        return Op::Lock { slot, command, record };
    }
    if thread.is_none() && mood.waits == 1 && !rng.one_in(4) {
        // Whoever can't wait any more gives up something.
        record = Record::all(lock::NONE);
    }
    match thread {
        Some(thread) => Op::WaitLock {
            thread,
            slot,
            command: if of_open { F_OFD_SETLKW } else { F_SETLKW },
            record,
        },
        None => Op::Lock {
            slot,
            command: if of_open { F_OFD_SETLK } else { F_SETLK },
            record,
        },
    }
}

/// A thread to wait with, if one shall and can.
fn thread(rng: &mut Rng, mood: &Mood, world: &World, who: usize) -> Option<u8> {
    let waiting = world.waiting();
    if !rng.one_in(mood.waits) || waiting.len() >= mood.most_waits {
        return None;
    }
    let free = (0..mood.threads as u8).filter(|thread| !waiting.contains(&(who, *thread)));
    let free: Vec<u8> = free.collect();
    (!free.is_empty()).then(|| rng.pick(&free))
}

fn record(rng: &mut Rng, mood: &Mood) -> Record {
    let span = mood.span;
    let mut record = Record {
        kind: if rng.one_in(mood.unlocks) {
            lock::NONE
        } else {
            rng.pick(mood.kinds)
        },
        whence: 0,
        start: rng.below(span).cast_signed(),
        len: 1 + rng.below(span / 2).cast_signed(),
        pid: 0,
    };
    match rng.below(40) {
        0..4 => record.len = 0,
        4..8 => record.len = -record.len,
        8..10 => record.whence = 1,
        10..12 => record.whence = 2,
        12 => {
            record.whence = rng.below(4) as i16;
            record.start = -record.start;
        }
        13 | 14 => {
            let far = i64::MAX - rng.below(span).cast_signed();
            record.start = far;
            record.len = rng.pick(&[0, 1, record.len, -record.len, i64::MAX, far, -far]);
            record.whence = rng.pick(&[0, 0, 1, 2]);
        }
        15 => record.len = rng.pick(&[i64::MAX, i64::MIN, i64::MAX - record.start, -record.start]),
        16 => record.start = rng.pick(&[i64::MIN, i64::MAX, -1]),
        17 if rng.one_in(4) => record.kind = 3 + rng.below(40) as i16,
        18 if rng.one_in(4) => record.whence = rng.pick(&[-1, 3, 4, 7]),
        _ => {}
    }
    record
}
