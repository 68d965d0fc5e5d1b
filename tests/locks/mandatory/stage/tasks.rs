//! Orders that are a whole program: rounds of close and lock, a crowd of threads that write, and what checks their work.

use nix::libc;
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::{self, Errno};
use std::time::{Duration, Instant};

use super::player::{Done, Order, errno};
use crate::common::mandatory::{Fd, record_lock};
use crate::common::raw;
use crate::common::rng::Rng;

/// Makes the call if it is one of these.
pub fn perform(order: &Order<'_>) -> Option<Done> {
    let count = |at| usize::try_from(order.number(at)).expect("a count");
    Some(match order.name {
        "close_and_lock" => close_and_lock(order.word(0), order.word(1), count(2)),
        "slot" => slot(order.number(0).cast_unsigned(), deadline(order.number(1))),
        "gate" => gate(order.number(0).cast_unsigned(), deadline(order.number(1))),
        "crowd" => crowd(count(0), count(1)),
        "crowd_verify" => crowd_verify(count(0), count(1)),
        _ => return None,
    })
}

fn all(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Rounds of: a file is opened, marked, let go of, opened again and locked at once. How many locks were granted.
fn close_and_lock(who: &str, how: &str, rounds: usize) -> Done {
    let mut granted = 0;
    for round in 0..rounds {
        let name = format!("{who}{round}");
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let old = fs::open(&name, flags, Mode::from_raw_mode(0o666))?;
        io::write(&old, b"old")?;
        fs::chmodat(CWD, &name, Mode::from_raw_mode(0o2666), AtFlags::empty())?;
        match how {
            "close" => drop(old),
            "dup" => {
                let other = io::dup(&old)?;
                drop(old);
                drop(other);
            }
            _ => {
                let child = raw::fork(|| 0);
                drop(old);
                assert_eq!(raw::wait(child), 0);
            }
        }
        let new = Fd::of(fs::open(&name, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?);
        // One kind of lock in this round, another in the next: of the process, of the open file.
        let command = if round % 2 == 0 {
            libc::F_SETLK
        } else {
            libc::F_OFD_SETLK
        };
        match record_lock(new, command, all(libc::F_WRLCK)) {
            Ok(_) => granted += 1,
            Err(Errno::AGAIN) => eprintln!("{name}, {how}: refused"),
            Err(error) => return Err(error),
        }
        // The same again with the lock itself: its owner closes, the next one locks.
        new.close()?;
        let next = Fd::of(fs::open(&name, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?);
        record_lock(next, libc::F_OFD_SETLK, all(libc::F_WRLCK))?;
        next.close()?;
        fs::unlinkat(CWD, &name, AtFlags::empty())?;
    }
    Ok((granted, String::new()))
}

fn deadline(milliseconds: i64) -> Instant {
    Instant::now() + Duration::from_millis(milliseconds.cast_unsigned())
}

fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Writes its piece of the file again and again, interrupted or not, and looks each time what is there. How many writes were done; the
/// words are how many were interrupted.
fn slot(number: u64, end: Instant) -> Done {
    let fd = fs::open("file", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let at = number * 4096;
    let (mut value, mut done, mut interrupted) = (b'.', 0, 0_u64);
    while Instant::now() < end {
        let next = value % 100 + 1;
        match io::pwrite(&fd, &[next; 4096], at) {
            Ok(count) => {
                assert_eq!(count, 4096);
                (value, done) = (next, done + 1);
            }
            Err(Errno::INTR) => interrupted += 1,
            Err(error) => return Err(error),
        }
        let mut bytes = [0; 4096];
        assert_eq!(again(|| io::pread(&fd, &mut bytes, at))?, 4096);
        assert_eq!(
            bytes, [value; 4096],
            "after {done} writes and {interrupted} interruptions"
        );
    }
    Ok((done, interrupted.to_string()))
}

/// Locks a few pieces for a moment, again and again.
fn gate(seed: u64, end: Instant) -> Done {
    let fd = Fd::of(fs::open("file", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?);
    let mut rng = Rng(seed);
    let mut rounds = 0;
    while Instant::now() < end {
        let lock = libc::flock {
            l_start: (rng.below(4) * 4096 + rng.below(4096)) as i64,
            l_len: 1 + rng.below(6000) as i64,
            ..all(libc::F_WRLCK)
        };
        record_lock(fd, libc::F_SETLKW, lock)?;
        std::thread::sleep(Duration::from_micros(rng.below(3000)));
        record_lock(fd, libc::F_SETLK, all(libc::F_UNLCK))?;
        rounds += 1;
    }
    fd.close()?;
    Ok((rounds, String::new()))
}

fn pattern(number: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![(number % 251 + 1) as u8; size];
    bytes[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
    bytes
}

/// That many threads, each with an open file of its own, write that many bytes each, one behind the other. How many wrote all, and what
/// became of the others.
fn crowd(count: usize, size: usize) -> Done {
    let limit = count as u64 + 64;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, limit, limit).map_err(errno)?;
    let one = move |number: usize| -> Result<usize, Errno> {
        let fd = fs::open("file", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        io::pwrite(fd, &pattern(number, size), (number * size) as u64)
    };
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let thread = std::thread::Builder::new().stack_size(64 << 10);
            thread.spawn(move || one(number)).expect("a thread")
        })
        .collect();
    let results: Vec<_> = threads.into_iter().map(|it| it.join().expect("a result")).collect();
    let done = results.iter().filter(|it| **it == Ok(size)).count();
    let refused = results.iter().filter(|it| **it == Err(Errno::AGAIN)).count();
    Ok((
        done as i64,
        format!("{refused} refused, {} otherwise", count - done - refused),
    ))
}

/// How many pieces of the crowd's work are there whole; the words say how many are still as before, and how many neither.
fn crowd_verify(count: usize, size: usize) -> Done {
    let fd = fs::open("file", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (mut whole, mut empty) = (0, 0);
    let mut bytes = vec![0; size];
    for number in 0..count {
        let read = io::pread(&fd, &mut bytes, (number * size) as u64)?;
        if bytes[..read] == pattern(number, size) {
            whole += 1;
        } else if bytes[..read].iter().all(|&byte| byte == 0) {
            empty += 1;
        }
    }
    Ok((whole, format!("{empty} empty, {} torn", count as i64 - whole - empty)))
}
