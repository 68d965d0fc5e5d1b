//! What a worker can be told to do, and what it answers, as messages of one socket: operations of 32 bytes each, in batches.

use crate::common::lock::Record;

/// Size of an operation and of an answer.
pub const SIZE: usize = 32;

/// An operation. Slots are places of the worker's table; a place has the same descriptor number for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// open(2) of the file with that number into an empty slot; 0 to read, 1 to write, 2 both.
    Open { slot: u8, file: u8, access: u8 },
    /// close(2).
    Close { slot: u8 },
    /// The same by io_uring: of itself, or by a worker of the kernel.
    CloseByRing { slot: u8, by_worker: bool },
    /// dup2(2): closes what the other slot held.
    Dup { from: u8, to: u8 },
    /// lseek(2).
    Seek { slot: u8, to: i64 },
    /// ftruncate(2).
    Truncate { slot: u8, len: i64 },
    /// fcntl(2) of a lock, at once.
    Lock { slot: u8, command: i32, record: Record },
    /// flock(2).
    Flock { slot: u8, operation: i32 },
    /// The same in a thread of the worker, which tells when it comes back.
    WaitLock {
        thread: u8,
        slot: u8,
        command: i32,
        record: Record,
    },
    /// The same of flock(2).
    WaitFlock { thread: u8, slot: u8, operation: i32 },
    /// A thread takes descriptors of its own, which makes it an owner of locks, waits for the lock, adds one to the number in the
    /// file of the next slot, and unlocks. Its result is the number that it found.
    Queue {
        thread: u8,
        slot: u8,
        command: i32,
        record: Record,
    },
    /// The descriptor is sent through a socket that all workers have, and closed here.
    Post { slot: u8 },
    /// A descriptor that was sent is taken into an empty slot.
    Fetch { slot: u8 },
    /// fork(2): the child becomes a worker of that number, with the same slots.
    Fork { to: u8 },
    /// execve(2) of the program itself, which becomes the same worker again; slots are empty unless they were kept.
    Exec {},
    /// fcntl(F_SETFD): descriptors of the slot stay open over execve(2).
    KeepOverExec { slot: u8 },
    /// _exit(2).
    Exit {},
}

/// What came of an operation: 0, or minus an errno; and what F_GETLK left in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The system call's result.
    pub result: i32,
    /// The record, for locks.
    pub record: Record,
}

#[derive(Clone, Copy)]
struct Flat {
    code: u8,
    slot: u8,
    other: u8,
    command: i32,
    record: Record,
}

const EMPTY: Record = Record {
    kind: 0,
    whence: 0,
    start: 0,
    len: 0,
    pid: 0,
};

impl Flat {
    fn new(code: u8, slot: u8, other: u8) -> Self {
        Self {
            code,
            slot,
            other,
            command: 0,
            record: EMPTY,
        }
    }

    fn with(mut self, command: i32, record: Record) -> Self {
        (self.command, self.record) = (command, record);
        self
    }

    fn number(mut self, start: i64) -> Self {
        self.record.start = start;
        self
    }
}

/// Code, slot, other and command are a byte each and come first, or the result does; then come kind, whence, start, len and pid.
fn put_record(bytes: &mut [u8; SIZE], record: Record) {
    bytes[4..6].copy_from_slice(&record.kind.to_le_bytes());
    bytes[6..8].copy_from_slice(&record.whence.to_le_bytes());
    bytes[8..16].copy_from_slice(&record.start.to_le_bytes());
    bytes[16..24].copy_from_slice(&record.len.to_le_bytes());
    bytes[24..28].copy_from_slice(&record.pid.to_le_bytes());
}

fn take_record(bytes: &[u8]) -> Record {
    Record {
        kind: i16::from_le_bytes(bytes[4..6].try_into().expect("2")),
        whence: i16::from_le_bytes(bytes[6..8].try_into().expect("2")),
        start: i64::from_le_bytes(bytes[8..16].try_into().expect("8")),
        len: i64::from_le_bytes(bytes[16..24].try_into().expect("8")),
        pid: i32::from_le_bytes(bytes[24..28].try_into().expect("4")),
    }
}

impl Op {
    fn flat(self) -> Flat {
        match self {
            Self::Open { slot, file, access } => Flat::new(0, slot, file).with(access.into(), EMPTY),
            Self::Close { slot } => Flat::new(1, slot, 0),
            Self::CloseByRing { slot, by_worker } => Flat::new(16, slot, by_worker.into()),
            Self::Dup { from, to } => Flat::new(2, from, to),
            Self::Seek { slot, to } => Flat::new(3, slot, 0).number(to),
            Self::Truncate { slot, len } => Flat::new(4, slot, 0).number(len),
            Self::Lock { slot, command, record } => Flat::new(5, slot, 0).with(command, record),
            Self::Flock { slot, operation } => Flat::new(6, slot, 0).with(operation, EMPTY),
            Self::WaitLock {
                thread,
                slot,
                command,
                record,
            } => Flat::new(7, slot, thread).with(command, record),
            Self::WaitFlock {
                thread,
                slot,
                operation,
            } => Flat::new(8, slot, thread).with(operation, EMPTY),
            Self::Queue {
                thread,
                slot,
                command,
                record,
            } => Flat::new(13, slot, thread).with(command, record),
            Self::Post { slot } => Flat::new(14, slot, 0),
            Self::Fetch { slot } => Flat::new(15, slot, 0),
            Self::Fork { to } => Flat::new(9, 0, to),
            Self::Exec {} => Flat::new(10, 0, 0),
            Self::KeepOverExec { slot } => Flat::new(11, slot, 0),
            Self::Exit {} => Flat::new(12, 0, 0),
        }
    }

    /// As bytes.
    pub fn encode(self) -> [u8; SIZE] {
        let flat = self.flat();
        let mut bytes = [0; SIZE];
        put_record(&mut bytes, flat.record);
        bytes[0] = flat.code;
        bytes[1] = flat.slot;
        bytes[2] = flat.other;
        bytes[3] = u8::try_from(flat.command).expect("commands are small");
        bytes
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Self {
        let (slot, other, command) = (bytes[1], bytes[2], i32::from(bytes[3]));
        let record = take_record(bytes);
        match bytes[0] {
            0 => Self::Open {
                slot,
                file: other,
                access: bytes[3],
            },
            1 => Self::Close { slot },
            2 => Self::Dup { from: slot, to: other },
            3 => Self::Seek { slot, to: record.start },
            4 => Self::Truncate {
                slot,
                len: record.start,
            },
            5 => Self::Lock { slot, command, record },
            6 => Self::Flock {
                slot,
                operation: command,
            },
            7 => Self::WaitLock {
                thread: other,
                slot,
                command,
                record,
            },
            8 => Self::WaitFlock {
                thread: other,
                slot,
                operation: command,
            },
            9 => Self::Fork { to: other },
            10 => Self::Exec {},
            11 => Self::KeepOverExec { slot },
            12 => Self::Exit {},
            16 => Self::CloseByRing {
                slot,
                by_worker: other != 0,
            },
            14 => Self::Post { slot },
            15 => Self::Fetch { slot },
            13 => Self::Queue {
                thread: other,
                slot,
                command,
                record,
            },
            code => panic!("no operation {code}"),
        }
    }
}

impl Answer {
    /// Of an operation without a record.
    pub fn plain(result: i32) -> Self {
        Self { result, record: EMPTY }
    }

    /// As bytes.
    pub fn encode(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        put_record(&mut bytes, self.record);
        bytes[0..4].copy_from_slice(&self.result.to_le_bytes());
        bytes
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Self {
        Self {
            result: i32::from_le_bytes(bytes[0..4].try_into().expect("4")),
            record: take_record(bytes),
        }
    }
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// To a batch.
    Answers(Vec<Answer>),
    /// The wait of a thread is over.
    Done { thread: u8, result: i32 },
    /// A worker has begun: its process, and its threads.
    Hello { pid: i32, threads: Vec<i32> },
    /// A handler has run.
    Bell,
}

impl Word {
    /// As a message.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![];
        match self {
            Self::Answers(answers) => {
                bytes.push(0);
                answers.iter().for_each(|it| bytes.extend(it.encode()));
            }
            Self::Done { thread, result } => {
                bytes.extend([1, *thread]);
                bytes.extend(result.to_le_bytes());
            }
            Self::Hello { pid, threads } => {
                bytes.push(2);
                bytes.extend(pid.to_le_bytes());
                threads.iter().for_each(|it| bytes.extend(it.to_le_bytes()));
            }
            Self::Bell => bytes.push(u8::MAX),
        }
        bytes
    }

    /// From a message.
    pub fn decode(bytes: &[u8]) -> Self {
        let number = |at: &[u8]| i32::from_le_bytes(at.try_into().expect("4 bytes"));
        match bytes[0] {
            0 => Self::Answers(bytes[1..].chunks(SIZE).map(Answer::decode).collect()),
            1 => Self::Done {
                thread: bytes[1],
                result: number(&bytes[2..6]),
            },
            2 => Self::Hello {
                pid: number(&bytes[1..5]),
                threads: bytes[5..].chunks(4).map(number).collect(),
            },
            _ => Self::Bell,
        }
    }
}
