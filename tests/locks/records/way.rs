//! The three ways to lock a whole file, and a crew that has one open.

use super::crew::{Crew, Op, Quiet};
use crate::common::Mount;
use crate::common::lock::{
    F_OFD_SETLK, F_OFD_SETLKW, F_SETLK, F_SETLKW, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, NONE, READ, Record, WRITE,
};

/// How a whole file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a process.
    Process,
    /// By an open file.
    Open,
    /// By flock(2).
    Flock,
}

pub const WAYS: [Way; 3] = [Way::Process, Way::Open, Way::Flock];
pub const DONE: i32 = 0;
pub const EINTR: i32 = -nix::libc::EINTR;
pub const EDEADLK: i32 = -nix::libc::EDEADLK;
pub const EAGAIN: i32 = -nix::libc::EAGAIN;
pub const EBADF: i32 = -nix::libc::EBADF;

fn flock(kind: i16) -> i32 {
    match kind {
        READ => LOCK_SH,
        WRITE => LOCK_EX,
        NONE => LOCK_UN,
        _ => panic!("no kind of lock: {kind}"),
    }
}

impl Way {
    /// A lock at once, or EAGAIN.
    pub fn now(self, slot: u8, kind: i16) -> Op {
        let record = Record::all(kind);
        let command = match self {
            Self::Process => F_SETLK,
            Self::Open => F_OFD_SETLK,
            Self::Flock => {
                let operation = flock(kind) | LOCK_NB;
                return Op::Flock { slot, operation };
            }
        };
        Op::Lock { slot, command, record }
    }

    /// A thread waits for a write lock.
    pub fn wait(self, thread: u8, slot: u8) -> Op {
        self.wait_for(thread, slot, WRITE)
    }

    /// A thread waits for a lock.
    pub fn wait_for(self, thread: u8, slot: u8, kind: i16) -> Op {
        let record = Record::all(kind);
        let command = match self {
            Self::Process => F_SETLKW,
            Self::Open => F_OFD_SETLKW,
            Self::Flock => {
                let operation = flock(kind);
                return Op::WaitFlock {
                    thread,
                    slot,
                    operation,
                };
            }
        };
        Op::WaitLock {
            thread,
            slot,
            command,
            record,
        }
    }
}

/// Opens a file to read and write.
pub fn open(slot: u8, file: u8) -> Op {
    Op::Open { slot, file, access: 2 }
}

/// Files 0 to 3, the second of which holds the number 0, and a crew with the first in slot 0.
pub fn start(mount: &Mount, members: usize, threads: usize) -> (Crew, Quiet) {
    for file in 0..4 {
        std::fs::write(mount.path().join(file.to_string()), 0_i32.to_le_bytes()).unwrap();
    }
    let mut crew = Crew::of(mount.path(), members, threads);
    for who in 0..members {
        assert_eq!(crew.one(who, open(0, 0)).result, DONE);
    }
    (crew, Quiet::new(mount.daemon_pid()))
}
