//! The cleaner under attack: others open, touch, lock, map, rename, link and swap at the worst moments. Never does a file go that
//! was young or in use, and never one outside of the mount. `OWLTMP_CLEANER_SECONDS` says for how long.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, UTIME_NOW, renameat_with, utimensat};

use super::*;
use crate::common::identity::{ALICE, BOB, CAROL, Identity};
use crate::common::{Errno, as_user, env_number};

/// What counts as old.
const AGE: Duration = Duration::from_millis(60);
/// How much later than a call began its time may be, and how much coarser the clock.
const SLACK: Duration = Duration::from_millis(12);

/// What attackers share.
struct Stage {
    root: PathBuf,
    outside: PathBuf,
    over: AtomicBool,
    rounds: AtomicU64,
    /// How often each attack met the cleaner at work: what it had was gone.
    lost: [AtomicU64; ATTACKS.len()],
}

type Attack = fn(&Stage, &Path) -> Outcome;

/// What an attacker has seen.
#[derive(PartialEq, Eq)]
enum Outcome {
    /// What it looked after was there.
    Kept,
    /// The cleaner was first, as it may be.
    Lost,
}

const ATTACKS: [(&str, Attack, Identity); 9] = [
    ("open", open, BOB),
    ("touch", touch, ALICE),
    ("write and close", write_and_close, BOB),
    ("lock", lock, CAROL),
    ("map", map, BOB),
    ("replace", replace, ALICE),
    ("link", link, BOB),
    ("swap for a symlink", swap, CAROL),
    ("directory", directory, ALICE),
];

impl Stage {
    /// Waits until a file is about as old as to go: somewhat before, or after.
    fn ripen(&self) {
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        let ripe = AGE.as_micros() as u64 - 10_000 + (round * 7919) % 25_000;
        std::thread::sleep(Duration::from_micros(ripe));
    }
}

/// A new file; where there is one it is used as it is.
fn make(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    attempt(rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)))
}

/// The result of a call that the cleaner may have made ENOENT, and nothing else.
fn attempt<T>(result: Result<T, Errno>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Errno::NOENT) => None,
        Err(error) => panic!("{error:?}: neither there nor gone"),
    }
}

fn outcome(kept: Option<()>) -> Outcome {
    if kept.is_some() { Outcome::Kept } else { Outcome::Lost }
}

/// Of a descriptor and a name.
fn is_named(fd: &OwnedFd, path: &Path) -> bool {
    let open = rustix::fs::fstat(fd).expect("fstat");
    rustix::fs::lstat(path).is_ok_and(|named| named.st_ino == open.st_ino)
}

/// Asserts that what was used at `since` has its name, unless it may be old by now.
fn assert_young(since: Instant, path: &Path, what: &str) {
    let there = rustix::fs::lstat(path);
    if since.elapsed() + SLACK < AGE {
        assert!(there.is_ok(), "{what} {:?} ago, and gone: {there:?}", since.elapsed());
    }
}

fn open(stage: &Stage, path: &Path) -> Outcome {
    drop(make(path));
    stage.ripen();
    outcome(
        attempt(rustix::fs::open(path, OFlags::RDONLY, Mode::empty())).map(|fd| {
            std::thread::sleep(AGE * 2);
            assert!(is_named(&fd, path), "open, and gone");
        }),
    )
}

fn touch(stage: &Stage, path: &Path) -> Outcome {
    drop(make(path));
    stage.ripen();
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    let before = Instant::now();
    outcome(attempt(utimensat(CWD, path, &times, AtFlags::empty())).map(|()| assert_young(before, path, "touched")))
}

fn write_and_close(stage: &Stage, path: &Path) -> Outcome {
    drop(make(path));
    stage.ripen();
    let Some(fd) = attempt(rustix::fs::open(path, OFlags::WRONLY, Mode::empty())) else {
        return Outcome::Lost;
    };
    let before = Instant::now();
    rustix::io::write(&fd, b"new").expect("write");
    drop(fd);
    assert_young(before, path, "written");
    Outcome::Kept
}

fn lock(stage: &Stage, path: &Path) -> Outcome {
    drop(make(path));
    stage.ripen();
    let Some(fd) = attempt(rustix::fs::open(path, OFlags::RDWR, Mode::empty())) else {
        return Outcome::Lost;
    };
    flock(&fd, FlockOperation::LockExclusive).expect("flock");
    std::thread::sleep(AGE * 2);
    assert!(is_named(&fd, path), "locked, and gone");
    Outcome::Kept
}

fn map(stage: &Stage, path: &Path) -> Outcome {
    if let Some(fd) = make(path) {
        rustix::io::write(&fd, &[1; 4096]).expect("write");
    }
    stage.ripen();
    let Some(fd) = attempt(rustix::fs::open(path, OFlags::RDWR, Mode::empty())) else {
        return Outcome::Lost;
    };
    let ino = rustix::fs::fstat(&fd).expect("fstat").st_ino;
    let map = Map::shared(&fd, 4096).expect("mmap");
    drop(fd);
    std::thread::sleep(AGE * 2);
    map.poke(0, 2);
    let named = rustix::fs::lstat(path).map(|named| named.st_ino);
    assert_eq!(named, Ok(ino), "mapped, and gone");
    Outcome::Kept
}

/// A young file takes the name of an old one, or changes places with it.
fn replace(stage: &Stage, path: &Path) -> Outcome {
    drop(make(path));
    let young = path.with_extension("young");
    stage.ripen();
    let _ = std::fs::remove_file(&young);
    let Some(fd) = make(&young) else { return Outcome::Lost };
    let ino = rustix::fs::fstat(&fd).expect("fstat").st_ino;
    drop(fd);
    let before = Instant::now();
    let renamed = attempt(renameat_with(CWD, &young, CWD, path, RenameFlags::EXCHANGE));
    if renamed.is_none() && attempt(rustix::fs::rename(&young, path)).is_none() {
        return Outcome::Lost;
    }
    let named = rustix::fs::lstat(path).map(|named| named.st_ino);
    if before.elapsed() + SLACK < AGE {
        assert_eq!(named, Ok(ino), "it has just taken this name");
    }
    outcome(renamed)
}

/// A further name makes a file young, by whatever name.
fn link(stage: &Stage, path: &Path) -> Outcome {
    drop(make(path));
    let other = path.with_extension("other");
    stage.ripen();
    let _ = std::fs::remove_file(&other);
    let before = Instant::now();
    outcome(attempt(rustix::fs::link(path, &other)).map(|()| {
        assert_young(before, path, "linked");
        assert_young(before, &other, "linked to");
    }))
}

/// A directory with old files changes places with a symlink to one outside, all the time.
fn swap(stage: &Stage, path: &Path) -> Outcome {
    let link = path.with_extension("link");
    let _ = std::fs::create_dir(path);
    let _ = std::os::unix::fs::symlink(&stage.outside, &link);
    for name in ["1", "2", "3"] {
        // Once the names are exchanged this is outside, where it may not.
        let _ = std::fs::File::create(path.join(name));
    }
    let end = Instant::now() + AGE * 2;
    while Instant::now() < end {
        let _ = renameat_with(CWD, path, CWD, &link, RenameFlags::EXCHANGE);
    }
    outcome(rustix::fs::lstat(path.join("1")).ok().map(drop))
}

/// A directory that somebody has open, or has just changed, keeps its name.
fn directory(stage: &Stage, path: &Path) -> Outcome {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => panic!("{error}"),
        _ => {}
    }
    stage.ripen();
    let Some(fd) = attempt(rustix::fs::open(path, OFlags::DIRECTORY, Mode::empty())) else {
        return Outcome::Lost;
    };
    std::thread::sleep(AGE * 2);
    assert!(is_named(&fd, path), "open, and gone");
    drop(fd);
    let before = Instant::now();
    let inside = path.join("inside");
    if attempt(rustix::fs::open(
        &inside,
        OFlags::CREATE | OFlags::WRONLY,
        Mode::from_raw_mode(0o600),
    ))
    .is_some()
    {
        assert_young(before, &inside, "made");
        assert_young(before, path, "changed");
        let _ = std::fs::remove_file(&inside);
    }
    Outcome::Kept
}

/// Attacks for some time; returns how often each met the cleaner.
fn attack(mount: &Mount, seconds: u64) -> Vec<u64> {
    let outside = mount.scratch().join("outside");
    std::fs::create_dir(&outside).unwrap();
    for name in ["1", "2", "3"] {
        std::fs::write(outside.join(name), "not yours").unwrap();
    }
    let stage = Stage {
        root: mount.path().to_owned(),
        outside: outside.clone(),
        over: AtomicBool::new(false),
        rounds: AtomicU64::new(0),
        lost: Default::default(),
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        for (number, (name, attack, who)) in ATTACKS.into_iter().enumerate() {
            for copy in 0..2 {
                let stage = &stage;
                let body = move || {
                    let path = stage.root.join(format!("{number}-{copy}"));
                    while !stage.over.load(Ordering::Relaxed) && Instant::now() < end {
                        if attack(stage, &path) == Outcome::Lost {
                            stage.lost[number].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                };
                scope.spawn(move || {
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| as_user(who, body)));
                    stage.over.fetch_or(result.is_err(), Ordering::Relaxed);
                    assert!(result.is_ok(), "the attack {name:?} has found something");
                });
            }
        }
    });
    for name in ["1", "2", "3"] {
        assert_eq!(std::fs::read_to_string(outside.join(name)).unwrap(), "not yours");
    }
    stage.lost.iter().map(|count| count.load(Ordering::Relaxed)).collect()
}

#[test]
fn nobody_tricks_the_cleaner() {
    let seconds = env_number("OWLTMP_CLEANER_SECONDS", 3);
    for io in IO {
        let mount = mount(io, AGE.as_millis() as u64, 1);
        let lost = attack(&mount, seconds);
        let names = ATTACKS.iter().map(|(name, ..)| *name);
        println!(
            "{io}: the cleaner was first: {:?}",
            names.zip(&lost).collect::<Vec<_>>()
        );
        assert!(lost.iter().sum::<u64>() > 0, "it was there at all");
        wait_until("all is gone afterwards", PATIENCE, || mount.dir().names().is_empty());
    }
}
