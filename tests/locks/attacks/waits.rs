//! Signals and deaths while somebody waits, at the moment of the grant above all. By semantics 4.2, 5.9, 6.3.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::libc::SIGUSR1;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock, fstat, ftruncate};
use rustix::io::{pread, pwrite};

use super::part::Part;
use super::{Ask, NONE, PATIENCE, WRITE, both_modes, in_the_way, lock, seconds};
use crate::common::identity::{ALICE, BOB, CAROL};
use crate::common::lock::{handle, signal_thread, thread_id};
use crate::common::rng::Rng;
use crate::common::{Dir, Errno, Kind, Mount, wait_until};

fn here() -> Dir {
    Dir::open_root(Path::new("."), Kind::Owltmp).unwrap()
}

fn open(dir: &Dir) -> OwnedFd {
    dir.open("file", OFlags::RDWR, 0).unwrap()
}

/// Locks and unlocks what others want until told to stop, and sends them signals.
fn disturb(thread: i32, fd: &OwnedFd, stop: &AtomicBool, mut rng: Rng) {
    let process = i32::try_from(std::process::id()).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let got = lock(fd, Ask::Open, WRITE, 0, 10).is_ok();
        for _ in 0..rng.below(3) {
            std::thread::sleep(Duration::from_micros(rng.below(60)));
            signal_thread(process, thread, SIGUSR1).unwrap();
        }
        if got {
            lock(fd, Ask::Open, NONE, 0, 10).unwrap();
        }
        signal_thread(process, thread, SIGUSR1).unwrap();
    }
}

/// One that waits for a lock. What is interrupted holds nothing afterwards; what is not holds it.
fn wait_for_locks(dir: &Dir, ask: Ask, end: Instant) -> [u64; 2] {
    let (want, probe) = (open(dir), open(dir));
    let mut counts = [0; 2];
    while Instant::now() < end {
        match lock(&want, ask, WRITE, 0, 20) {
            Ok(()) => {
                counts[0] += 1;
                assert_eq!(in_the_way(&probe, 10, 10), Some((WRITE, 0, 20)), "{ask:?}");
                while lock(&want, ask, NONE, 0, 20).is_err() {}
            }
            Err(Errno::AGAIN) if matches!(ask, Ask::Open | Ask::Process) => {}
            Err(error) => {
                assert_eq!(error, Errno::INTR, "{ask:?}");
                counts[1] += 1;
                assert_eq!(in_the_way(&probe, 10, 10), None, "{ask:?} was interrupted");
            }
        }
    }
    counts
}

/// A lock that is not waited for, in the way of which is one that may have been closed: it is tried again for a moment.
fn ask_beside_closed(dir: &Dir, end: Instant) -> [u64; 2] {
    let (want, probe) = (open(dir), open(dir));
    let held = open(dir);
    let mut counts = [0; 2];
    while Instant::now() < end {
        let _ = lock(&held, Ask::Open, WRITE, 12, 1);
        drop(held.try_clone().unwrap());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(400));
                // Without using the descriptor otherwise: it would no longer look closed.
                lock(&held, Ask::Open, NONE, 0, 0).unwrap();
                done.store(true, Ordering::Relaxed);
            });
            match lock(&want, Ask::Open, WRITE, 0, 20) {
                Ok(()) => {
                    counts[0] += 1;
                    assert_eq!(in_the_way(&probe, 10, 2), Some((WRITE, 0, 20)));
                    while lock(&want, Ask::Open, NONE, 0, 20).is_err() {}
                }
                Err(Errno::AGAIN) => {}
                Err(error) => {
                    assert_eq!(error, Errno::INTR);
                    counts[1] += 1;
                    assert_eq!(in_the_way(&probe, 10, 2), None, "it was interrupted");
                }
            }
        });
    }
    counts
}

/// One who changes the size. What is interrupted has changed nothing.
fn change_size(dir: &Dir, end: Instant) -> [u64; 2] {
    let fd = open(dir);
    let size = || fstat(&fd).unwrap().st_size as u64;
    let (mut now, mut counts) = (size(), [0; 2]);
    let mut rng = Rng(3);
    while Instant::now() < end {
        let new = rng.below(9);
        let (done, new) = match rng.one_in(2) {
            true => (ftruncate(&fd, new), new),
            false => (fallocate(&fd, FallocateFlags::empty(), 0, new + 1), now.max(new + 1)),
        };
        match done {
            Ok(()) => {
                now = new;
                counts[0] += 1;
            }
            Err(error) => {
                assert_eq!(error, Errno::INTR);
                counts[1] += 1;
            }
        }
        assert_eq!(size(), now, "{done:?}");
    }
    counts
}

fn flocks(dir: &Dir, end: Instant, stop: &AtomicBool) -> [u64; 2] {
    let (want, probe) = (open(dir), open(dir));
    let mut counts = [0; 2];
    let (pause, paused) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let held = open(dir);
            while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                if pause.load(Ordering::SeqCst) {
                    paused.store(true, Ordering::SeqCst);
                    std::thread::yield_now();
                    continue;
                }
                paused.store(false, Ordering::SeqCst);
                let _ = flock(&held, FlockOperation::LockExclusive);
                std::thread::sleep(Duration::from_micros(30));
                flock(&held, FlockOperation::Unlock).unwrap();
            }
            paused.store(true, Ordering::SeqCst);
        });
        while Instant::now() < end {
            match flock(&want, FlockOperation::LockExclusive) {
                Ok(()) => {
                    counts[0] += 1;
                    flock(&want, FlockOperation::Unlock).unwrap();
                }
                Err(error) => {
                    assert_eq!(error, Errno::INTR);
                    counts[1] += 1;
                    pause.store(true, Ordering::SeqCst);
                    while !paused.load(Ordering::SeqCst) {
                        std::thread::yield_now();
                    }
                    // A signal may end this one as well.
                    let free = loop {
                        match flock(&probe, FlockOperation::NonBlockingLockExclusive) {
                            Err(Errno::INTR) => {}
                            result => break result,
                        }
                    };
                    assert_eq!(free, Ok(()), "it was interrupted");
                    flock(&probe, FlockOperation::Unlock).unwrap();
                    pause.store(false, Ordering::SeqCst);
                    paused.store(false, Ordering::SeqCst);
                }
            }
        }
    });
    counts
}

/// A part: is disturbed while it waits.
pub fn waiter_part(arguments: &[&str]) {
    handle(SIGUSR1, false);
    let end = Instant::now() + Duration::from_secs(arguments[1].parse().unwrap());
    let (dir, stop, thread) = (here(), AtomicBool::new(false), thread_id());
    let held = open(&dir);
    let counts = std::thread::scope(|scope| {
        scope.spawn(|| disturb(thread, &held, &stop, Rng(11)));
        let counts = match arguments[0] {
            "open" => wait_for_locks(&dir, Ask::OpenWait, end),
            "process" => wait_for_locks(&dir, Ask::ProcessWait, end),
            "closed" => ask_beside_closed(&dir, end),
            "size" => change_size(&dir, end),
            "flock" => flocks(&dir, end, &stop),
            other => panic!("{other}"),
        };
        stop.store(true, Ordering::Relaxed);
        counts
    });
    eprintln!("{}: {} done, {} interrupted", arguments[0], counts[0], counts[1]);
    assert!(counts[1] > 0 && (counts[0] > 0 || arguments[0] == "closed"));
}

/// A signal at the very moment of the grant: either the lock is held, or the call was interrupted and it is not.
#[test]
fn interrupted_at_the_grant() {
    for what in ["open", "process", "closed", "size", "flock"] {
        let mount = Mount::owltmp("mode=0777,mand=marked");
        mount.dir().file("file", b"", 0o2666);
        let time = seconds().to_string();
        Part::start("waiter", &[what, &time], mount.path()).join();
        let fd = open(mount.dir());
        wait_until("nothing is locked", PATIENCE, || in_the_way(&fd, 0, 0).is_none());
    }
}

/// A part: waits in one way after another, for ever.
pub fn slot_part(arguments: &[&str]) {
    let dir = here();
    let mut rng = Rng(arguments[0].parse().unwrap());
    let fds = [open(&dir), open(&dir)];
    let other = dir.open("other", OFlags::RDWR | OFlags::CREATE, 0o666).unwrap();
    let mut bytes = vec![7; 200_000];
    loop {
        let fd = &fds[usize::try_from(rng.below(2)).unwrap()];
        let at = rng.below(64);
        let start = i64::try_from(at).unwrap();
        match rng.below(10) {
            0 => drop(lock(fd, Ask::ProcessWait, WRITE, start, 10)),
            1 => drop(lock(fd, Ask::OpenWait, WRITE, start, 10)),
            2 => drop(pread(fd, &mut bytes, at)),
            3 => drop(pwrite(fd, &bytes[..4096], at)),
            4 => drop(ftruncate(fd, 4096)),
            5 => drop(fallocate(fd, FallocateFlags::KEEP_SIZE, at, 10)),
            6 => drop(flock(fd, FlockOperation::LockExclusive)),
            7 => drop(rustix::fs::sendfile(&other, fd, Some(&mut at.clone()), 4096)),
            8 => drop(dir.open("file", OFlags::RDWR | OFlags::TRUNC, 0)),
            _ => {
                let _ = lock(fd, Ask::Process, NONE, 0, 0);
                let _ = lock(fd, Ask::Open, NONE, 0, 0);
                let _ = flock(fd, FlockOperation::Unlock);
            }
        }
    }
}

/// A part: locks all and unlocks it, with the mark and without.
pub fn holder_part(arguments: &[&str]) {
    let dir = here();
    let mut rng = Rng(arguments[0].parse().unwrap());
    let fd = open(&dir);
    loop {
        let _ = lock(&fd, Ask::OpenWait, WRITE, 0, 0);
        std::thread::sleep(Duration::from_micros(rng.below(3000)));
        if rng.one_in(20) {
            dir.chmod("file", 0o666).unwrap();
            dir.chmod("file", 0o2666).unwrap();
        }
        lock(&fd, Ask::Open, NONE, 0, 0).unwrap();
    }
}

/// Whatever somebody waits in, he can be killed, and nothing of him is left.
#[test]
fn killed_in_any_wait() {
    both_modes("mand=marked", |mount| {
        mount.dir().file("file", &[1; 4096], 0o2666);
        let start = |seed: u64| Part::start("slot", &[&seed.to_string()], mount.path());
        let holder = Part::start("holder", &["1"], mount.path());
        let mut parts: Vec<Part> = (0..8).map(start).collect();
        let (end, mut rng, mut kills) = (Instant::now() + Duration::from_secs(2 * seconds()), Rng(5), 0);
        let mut longest = Duration::ZERO;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(rng.below(15)));
            let index = usize::try_from(rng.below(8)).unwrap();
            assert!(parts[index].plays());
            let victim = std::mem::replace(&mut parts[index], start(100 + kills));
            let begin = Instant::now();
            victim.kill();
            longest = longest.max(begin.elapsed());
            kills += 1;
        }
        eprintln!("{kills} were killed, each within {longest:?}");
        assert!(longest < PATIENCE);
        drop((holder, parts));
        mount.dir().chmod("file", 0o2666).unwrap();
        let fd = open(mount.dir());
        wait_until("nothing is locked", PATIENCE, || in_the_way(&fd, 0, 0).is_none());
        wait_until("flock is free", PATIENCE, || {
            flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok()
        });
        assert_eq!(pwrite(&fd, &[2; 4096], 0), Ok(4096));
        let rss = mount.daemon_rss().unwrap();
        assert!(rss < 64 << 20, "{rss} bytes are left");
    });
}

const MIB: usize = 1 << 20;

/// A part: as three users, many threads each write a megabyte into what is locked. Says how many were refused.
pub fn write_part(arguments: &[&str]) {
    let threads: usize = arguments[0].parse().unwrap();
    std::thread::scope(|scope| {
        for who in [ALICE, BOB, CAROL] {
            for _ in 0..threads {
                scope.spawn(move || {
                    let fd = here().open("file", OFlags::RDWR, 0).unwrap();
                    who.assume();
                    let written = pwrite(&fd, &vec![b'w'; MIB], 0);
                    if written == Err(Errno::AGAIN) {
                        let _ = std::fs::create_dir(format!("refused-{}-{}", who.uid, thread_id()));
                    }
                });
            }
        }
    });
}

/// By semantics 6.3: so much waits for each user and no more, nobody keeps another from waiting, it is said, and with those who
/// waited it is gone.
#[test]
fn megabytes_that_wait() {
    let mount = Mount::owltmp("mode=0777,mand=marked");
    let dir = mount.dir();
    dir.file("file", b"", 0o2666);
    let holder = open(dir);
    lock(&holder, Ask::Open, WRITE, 0, 0).unwrap();
    let refused = |uid: u32| {
        let names = dir.names();
        names
            .iter()
            .filter(|name| name.starts_with(&format!("refused-{uid}-")))
            .count()
    };
    let before = mount.daemon_rss().unwrap();
    for _ in 0..3 {
        let writers = Part::start("write", &["60"], mount.path());
        wait_until("all but sixteen of each are refused", PATIENCE, || {
            [ALICE, BOB, CAROL].iter().all(|who| refused(who.uid) == 60 - 16)
        });
        let peak = mount.daemon_rss().unwrap();
        assert!(
            peak > before + 40 * MIB as u64 && peak < before + 64 * MIB as u64,
            "{before}, then {peak}"
        );
        assert!(
            mount.stderr().contains("too much data waits for locks already"),
            "{}",
            mount.stderr()
        );
        writers.kill();
        wait_until("it is gone", PATIENCE, || {
            mount.daemon_rss().unwrap() < before + 12 * MIB as u64
        });
        dir.names()
            .iter()
            .filter(|name| name.starts_with("refused"))
            .for_each(|name| dir.rmdir(name).unwrap());
    }
    assert_eq!(fstat(&holder).unwrap().st_size, 0);
    lock(&holder, Ask::Open, NONE, 0, 0).unwrap();
}

/// The mount is detached while somebody waits: he goes on waiting, is served in the end, and then the daemon ends.
#[test]
fn detached_with_those_who_wait() {
    let mut mount = Mount::owltmp("mode=0777,mand=marked");
    mount.dir().file("file", b"", 0o2666);
    let (holder, waiter) = (open(mount.dir()), open(mount.dir()));
    lock(&holder, Ask::Open, WRITE, 0, 0).unwrap();
    mount.close_root();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| pwrite(waiter.as_fd(), b"late", 0));
        std::thread::sleep(Duration::from_millis(50));
        assert!(
            Command::new("umount")
                .arg("-l")
                .arg(mount.path())
                .status()
                .unwrap()
                .success()
        );
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waits.is_finished());
        lock(&holder, Ask::Open, NONE, 0, 0).unwrap();
        assert_eq!(waits.join().unwrap(), Ok(4));
    });
    assert!(holder.as_raw_fd() > 0);
    drop((holder, waiter));
    assert!(mount.daemon_exit(PATIENCE).is_some_and(|status| status.success()));
}
