//! Processes that hammer one file: lockers that look twice under their lock and leave a secret there while they hold it, and all
//! kinds of readers and writers, none of whom may ever change what is locked or see a secret. A byte of 0x80 or more is a
//! secret. Behind the first [`SIZE`] bytes is the tail, which grows and shrinks.

use nix::libc;
use rustix::fd::OwnedFd;
use rustix::fs::{self, FallocateFlags, Mode, OFlags, fallocate, fstat, ftruncate};
use rustix::io::{self, Errno};
use std::time::{Duration, Instant};

use super::player::{Done, Order};
use crate::common::mandatory::{Fd, record_lock};
use crate::common::rng::Rng;

/// Bytes of the file without its tail.
pub const SIZE: u64 = 4 << 20;
const TAIL: u64 = 256 << 10;
const SECRET: u8 = 0x80;

struct Hammer {
    rng: Rng,
    fd: Fd,
    /// Another file of that size, in which nothing is secret.
    plain: OwnedFd,
    transfers: u64,
    grants: u64,
    refused: u64,
}

/// `hammer ROLE SEED MILLISECONDS`: how many transfers it made; the words are how many locks it was granted.
pub fn perform(order: &Order<'_>) -> Option<Done> {
    if order.name != "hammer" {
        return None;
    }
    let flags = match order.word(0) {
        "appender" => OFlags::APPEND,
        "eager" => OFlags::NONBLOCK,
        _ => OFlags::empty(),
    };
    let opened = fs::open("file", flags | OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let mut hammer = Hammer {
        rng: Rng(order.number(1).cast_unsigned()),
        fd: Fd::of(opened.expect("the file")),
        plain: fs::open("plain", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("the other file"),
        transfers: 0,
        grants: 0,
        refused: 0,
    };
    let end = Instant::now() + Duration::from_millis(order.number(2).cast_unsigned());
    while Instant::now() < end {
        for _ in 0..16 {
            hammer.strike(order.word(0));
        }
    }
    let words = format!("{} {}", hammer.grants, hammer.refused);
    Some(Ok((hammer.transfers as i64, words)))
}

impl Hammer {
    fn strike(&mut self, role: &str) {
        match role {
            "locker" => self.lock(libc::F_SETLKW, libc::F_SETLK),
            "ofd" => self.lock(libc::F_OFD_SETLKW, libc::F_OFD_SETLK),
            "watcher" => self.watch(),
            "bytes" => self.write(1),
            "pages" => self.write(4096),
            "large" => self.write(1 << 20),
            "eager" => match self.rng.one_in(2) {
                true => self.write(4096),
                false => self.read(),
            },
            "reader" => self.read(),
            "mover" => self.move_bytes(),
            "tail" => self.tail(),
            "appender" => self.append(),
            "cutter" => self.cut(),
            other => panic!("{other}: no such role"),
        }
    }

    /// Most ranges are near the front, where they meet.
    fn range(&mut self, most: u64) -> (u64, u64) {
        let len = 1 + self.rng.below(most);
        let room = match self.rng.one_in(4) {
            true => SIZE - len,
            false => (SIZE / 16).max(len) - len,
        };
        (self.rng.below(room + 1), len)
    }

    fn record(&self, command: i32, kind: i32, start: u64, len: u64) -> Result<(), Errno> {
        let lock = libc::flock {
            l_type: kind as i16,
            l_whence: 0,
            l_start: start as i64,
            l_len: len as i64,
            l_pid: 0,
        };
        record_lock(self.fd, command, lock).map(drop)
    }

    fn look(&mut self, start: u64, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        let read = io::pread(self.fd, &mut bytes, start).expect("the holder reads");
        bytes.truncate(read);
        self.transfers += 1;
        bytes
    }

    fn put(&mut self, start: u64, bytes: &[u8]) {
        let written = io::pwrite(self.fd, bytes, start).expect("the holder writes");
        assert_eq!(written, bytes.len());
        self.transfers += 1;
    }

    /// Under a write lock: what is there does not change, and a secret is there until just before the unlock.
    fn lock(&mut self, wait: i32, try_it: i32) {
        let (start, len) = self.range(32 << 10);
        let command = if self.rng.one_in(4) { try_it } else { wait };
        match self.record(command, libc::F_WRLCK, start, len) {
            Ok(()) => self.grants += 1,
            Err(Errno::AGAIN) => {
                self.refused += 1;
                return;
            }
            Err(error) => panic!("a lock: {error:?}"),
        }
        let before = self.look(start, len);
        assert_eq!(before.len() as u64, len);
        assert!(
            before.iter().all(|&byte| byte < SECRET),
            "another's secret is locked by me"
        );
        let secret = vec![SECRET | (self.rng.bits() as u8); len as usize];
        if self.rng.one_in(4) {
            std::thread::yield_now();
        }
        assert!(
            self.look(start, len) == before,
            "changed under a write lock: [{start}, +{len})"
        );
        self.put(start, &secret);
        if self.rng.one_in(2) {
            std::thread::yield_now();
        }
        assert!(
            self.look(start, len) == secret,
            "changed under a write lock: [{start}, +{len})"
        );
        self.put(start, &before);
        assert!(
            self.look(start, len) == before,
            "changed under a write lock: [{start}, +{len})"
        );
        self.record(try_it, libc::F_UNLCK, start, len).expect("an unlock");
    }

    /// Under a read lock: what is there does not change.
    fn watch(&mut self) {
        let (start, len) = self.range(32 << 10);
        match self.record(libc::F_SETLK, libc::F_RDLCK, start, len) {
            Ok(()) => self.grants += 1,
            Err(_) => {
                self.refused += 1;
                return;
            }
        }
        let before = self.look(start, len);
        std::thread::yield_now();
        assert!(
            self.look(start, len) == before,
            "changed under a read lock: [{start}, +{len})"
        );
        assert!(before.iter().all(|&byte| byte < SECRET));
        self.record(libc::F_SETLK, libc::F_UNLCK, start, len)
            .expect("an unlock");
    }

    fn done(&mut self, result: Result<usize, Errno>) -> usize {
        match result {
            Ok(n) => {
                self.transfers += 1;
                n
            }
            Err(Errno::AGAIN) => {
                self.refused += 1;
                0
            }
            Err(error) => panic!("a transfer: {error:?}"),
        }
    }

    fn write(&mut self, len: u64) {
        let start = match self.rng.one_in(2) {
            true => self.range(1).0,
            false => self.rng.below(SIZE - len + 1) & !4095,
        };
        let start = start.min(SIZE - len);
        let bytes = vec![(self.rng.bits() as u8) & 0x7f; len as usize];
        let result = io::pwrite(self.fd, &bytes, start);
        self.done(result);
    }

    fn read(&mut self) {
        let most = self.rng.pick(&[1, 4096, 4096, 65_536, 1 << 20]);
        let (start, len) = self.range(most);
        let mut bytes = vec![0; len as usize];
        let result = io::pread(self.fd, &mut bytes, start);
        let read = self.done(result);
        assert!(
            bytes[..read].iter().all(|&byte| byte < SECRET),
            "read what is locked: [{start}, +{len})"
        );
    }

    /// Moves bytes to the file from another without seeing them, and makes holes.
    fn move_bytes(&mut self) {
        let (from, len) = self.range(16 << 10);
        let (to, _) = self.range(16 << 10);
        let to = to.min(SIZE - len);
        if self.rng.one_in(4) {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let result = fallocate(self.fd, hole, to, len).map(|()| 0);
            self.done(result);
            return;
        }
        let mut from = from;
        let result = match self.rng.one_in(2) {
            true => {
                let mut to = to;
                fs::copy_file_range(&self.plain, Some(&mut from), self.fd, Some(&mut to), len as usize)
            }
            false => fs::seek(self.fd, fs::SeekFrom::Start(to))
                .and_then(|_| fs::sendfile(self.fd, &self.plain, Some(&mut from), len as usize)),
        };
        self.done(result);
    }

    /// Locks from the first byte of the tail on: the file's size does not change meanwhile.
    fn tail(&mut self) {
        self.record(libc::F_SETLKW, libc::F_WRLCK, SIZE, 0).expect("a lock");
        self.grants += 1;
        let size = |fd: Fd| fstat(fd).expect("fstat").st_size as u64;
        let before = size(self.fd);
        let bytes = self.look(SIZE, TAIL * 2);
        assert_eq!(bytes.len() as u64, before - SIZE);
        assert!(bytes.iter().all(|&byte| byte < SECRET));
        self.put(before, &[SECRET; 100]);
        std::thread::yield_now();
        assert_eq!(size(self.fd), before + 100, "the size changed under a lock of the tail");
        assert!(self.look(before, 1000) == [SECRET; 100]);
        ftruncate(self.fd, before).expect("the holder truncates");
        assert!(self.look(SIZE, TAIL * 2) == bytes, "the tail changed under its lock");
        self.record(libc::F_SETLK, libc::F_UNLCK, SIZE, 0).expect("an unlock");
        std::thread::yield_now();
    }

    fn append(&mut self) {
        let len = 1 + self.rng.below(200);
        let result = io::write(self.fd, &vec![b'a'; len as usize]);
        self.done(result);
    }

    fn cut(&mut self) {
        let at = SIZE + self.rng.below(TAIL / 4);
        let result = ftruncate(self.fd, at).map(|()| 0);
        self.done(result);
        let mut bytes = vec![0; 4096];
        let result = io::pread(self.fd, &mut bytes, SIZE + self.rng.below(TAIL));
        let read = self.done(result);
        assert!(
            bytes[..read].iter().all(|&byte| byte < SECRET),
            "read what is locked in the tail"
        );
    }
}
