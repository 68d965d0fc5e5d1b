//! Record locks, and reads and writes that obey them.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, fchmod, openat};
use rustix::io::{pread, pwrite};

use super::super::interrupt;
use super::super::place::{Place, create, directory, reopen, timed};
use super::super::row::{Aim, Better, On, Outcome, Pace, Row, Sampler, Unit};
use crate::common::identity::ROOT;

const PAGE: usize = 4096;
const MIB: usize = 1 << 20;

/// Bytes of the file that is read and written in large pieces.
const LARGE: usize = 64 * MIB;

pub const ROWS: &[Row] = &[
    lock("lock", "lock + unlock", |place| locking(place, 0)).aim(Aim::Figure(25.0)),
    lock("lock-100", "lock + unlock, 100 held", |place| locking(place, 100)),
    lock("lock-1k", "lock + unlock, 1,000 held", |place| locking(place, 1_000)),
    lock("lock-10k", "lock + unlock, 10,000 held", |place| locking(place, 10_000)).aim(Aim::Ratio(1.0)),
    lock("lock-100k", "lock + unlock, 100,000 held", |place| locking(place, 100_000)).aim(Aim::Ratio(1.0)),
    Row::micros(
        "lock-handover",
        "hand-over of a lock",
        "from F_SETLK to unlock in one process until F_SETLKW returns in another that waits for it, both threads with tables of descriptors of their own",
        hand_over,
    )
    .on(On::Locks)
    .pace(Pace::Slow),
    marked("marked-pread", "4 KiB pread, marked file", "pread(2) of a page of a marked file (mode 2660)", |place| {
        pages(place, false)
    }),
    marked("marked-pwrite", "4 KiB pwrite, marked file", "pwrite(2) of a page of a marked file", |place| {
        pages(place, true)
    }),
    marked("marked-read-1m", "1 MiB reads, marked file", "a marked file of 64 MiB is read, 1 MiB at a time", |place| {
        large(place, false)
    })
    .unit(Unit::Rate, Better::Higher)
    .aim(Aim::Ratio(0.5)),
    marked("marked-write-1m", "1 MiB writes, marked file", "the same file is written over", |place| {
        large(place, true)
    })
    .unit(Unit::Rate, Better::Higher)
    .aim(Aim::Ratio(0.5)),
    marked("plain-pread", "4 KiB pread, ordinary file", "pread(2) of a page of a file that is not marked", |place| {
        page_calls(place, 0o660, false)
    }),
    marked("plain-pwrite", "4 KiB pwrite, ordinary file", "pwrite(2) of a page of such a file", |place| {
        page_calls(place, 0o660, true)
    }),
];

const fn lock(id: &'static str, name: &'static str, prepare: fn(&Place) -> Outcome<Sampler>) -> Row {
    let what = "F_SETLK of a write lock of one byte, and its unlocking, by a process that holds so many locks of one byte below it";
    Row::micros(id, name, what, prepare).on(On::Locks)
}

const fn marked(
    id: &'static str,
    name: &'static str,
    what: &'static str,
    prepare: fn(&Place) -> Outcome<Sampler>,
) -> Row {
    Row::micros(id, name, what, prepare).on(On::Locks)
}

fn set(file: &OwnedFd, kind: i32, start: i64, len: i64, wait: bool) -> Outcome<()> {
    let lock = libc::flock {
        l_type: i16::try_from(kind)?,
        l_whence: 0,
        l_start: start,
        l_len: len,
        l_pid: 0,
    };
    let command = if wait {
        FcntlArg::F_SETLKW(&lock)
    } else {
        FcntlArg::F_SETLK(&lock)
    };
    fcntl(file, command)?;
    Ok(())
}

/// A file with so many locks of one byte. Made of one lock, from its end, which tmpfs does in constant time for each.
fn locked(place: &Place, held: i64) -> Outcome<OwnedFd> {
    let file = create(&*place.open()?, "locked")?;
    if held > 0 {
        set(&file, libc::F_WRLCK, 0, 2 * held, false)?;
    }
    for number in (0..held).rev() {
        interrupt::check()?;
        set(&file, libc::F_UNLCK, 2 * number + 1, 1, false)?;
    }
    Ok(file)
}

fn locking(place: &Place, held: i64) -> Outcome<Sampler> {
    let held = if place.args.quick { held.min(1_000) } else { held };
    let file = locked(place, held)?;
    let at = 2 * held + 10;
    place.calls(ROOT, move || {
        set(&file, libc::F_WRLCK, at, 1, false)?;
        set(&file, libc::F_UNLCK, at, 1, false)
    })
}

/// How long another takes to see that a lock is his.
fn hand_over(place: &Place) -> Outcome<Sampler> {
    const ROUNDS: u32 = 20;
    drop(create(&*place.open()?, "handed")?);
    let path = place.dir.clone();
    let rounds = if place.args.quick { 2 } else { ROUNDS };
    Ok(Box::new(move || {
        let mut sum = Duration::ZERO;
        for _ in 0..rounds {
            interrupt::check()?;
            sum += one_hand_over(&path)?;
        }
        Ok(sum.as_secs_f64() * 1e6 / f64::from(rounds))
    }))
}

fn one_hand_over(path: &std::path::Path) -> Outcome<Duration> {
    let barrier = Barrier::new(2);
    let open = || -> Outcome<OwnedFd> {
        unshare(CloneFlags::CLONE_FILES)?;
        reopen(&directory(path)?, "handed", OFlags::RDWR)
    };
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| -> Outcome<Instant> {
            let held = open().and_then(|file| set(&file, libc::F_WRLCK, 0, 1, false).map(|()| file));
            barrier.wait();
            let file = held?;
            // Until the other waits. Should it not yet, the figure is too good, and the median is not.
            std::thread::sleep(Duration::from_micros(300));
            let before = Instant::now();
            set(&file, libc::F_UNLCK, 0, 1, false)?;
            Ok(before)
        });
        let waiter = scope.spawn(|| -> Outcome<Instant> {
            let file = open();
            barrier.wait();
            let file = file?;
            set(&file, libc::F_WRLCK, 0, 1, true)?;
            Ok(Instant::now())
        });
        let given = holder.join().map_err(|_| "the holder panicked")??;
        let got = waiter.join().map_err(|_| "the waiter panicked")??;
        Ok(got.saturating_duration_since(given))
    })
}

/// A file of that mode, opened anew, so that it is served as its mode wants.
fn made(dir: &OwnedFd, mode: u32, size: usize) -> Outcome<OwnedFd> {
    let file = create(dir, "file")?;
    fchmod(&file, Mode::from_raw_mode(mode))?;
    let piece = vec![5; MIB];
    let mut at = 0;
    while at < size {
        at += pwrite(&file, &piece[..MIB.min(size - at)], at as u64)?;
    }
    drop(file);
    Ok(openat(dir, "file", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

fn pages(place: &Place, writes: bool) -> Outcome<Sampler> {
    page_calls(place, 0o2660, writes)
}

fn page_calls(place: &Place, mode: u32, writes: bool) -> Outcome<Sampler> {
    let file = made(&*place.open()?, mode, MIB)?;
    let (mut page, mut turn) = (vec![6; PAGE], 0_u64);
    place.calls(ROOT, move || {
        turn += 1;
        let at = turn * 37 % (MIB / PAGE) as u64 * PAGE as u64;
        let done = if writes {
            pwrite(&file, &page, at)?
        } else {
            pread(&file, &mut page[..], at)?
        };
        if done != PAGE {
            return Err(format!("{done} bytes of a page").into());
        }
        Ok(())
    })
}

fn large(place: &Place, writes: bool) -> Outcome<Sampler> {
    let size = if place.args.quick { 2 * MIB } else { LARGE };
    let file = made(&*place.open()?, 0o2660, size)?;
    let mut piece = vec![7; MIB];
    Ok(Box::new(move || {
        let time = timed(|| {
            for at in (0..size).step_by(MIB) {
                interrupt::check()?;
                let done = match writes {
                    true => pwrite(&file, &piece, at as u64)?,
                    false => pread(&file, &mut piece[..], at as u64)?,
                };
                if done != MIB {
                    return Err(format!("{done} bytes of a MiB").into());
                }
            }
            Ok(())
        })?;
        Ok(size as f64 / MIB as f64 / time.as_secs_f64())
    }))
}
