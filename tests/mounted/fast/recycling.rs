//! Backing files that were never written are used again for other files. The attacker keeps a hand on an empty file in every way
//! there is, closes and unlinks it, and waits for a victim's new file to get the same backing file: he must never see, or change,
//! a byte of it. And nobody finds old bytes in a new file.
//!
//! `OWLTMP_FAST_ATTACKS` is the number of rounds of each.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{OFlags, ftruncate};
use rustix::io::{pwrite, read};
use rustix::pipe::{SpliceFlags, pipe, splice};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Where, worker};
use crate::common::dir::pread;
use crate::common::handle::Handle;
use crate::common::map::Map;
use crate::common::rng::Rng;
use crate::common::uring::{self, Keeper};
use crate::common::{Dir, Kind, env_number, raw};

const SECRET: u8 = b'S';
const FORGED: u8 = b'A';

/// What an attacker has kept: looks through it, and tells what he sees.
type Hand = Box<dyn FnMut() -> Vec<u8>>;

/// Takes a hand on a file of that name, made by the attacker.
type Grip = fn(&Dir, &str) -> Hand;

const GRIPS: [(&str, Grip); 11] = [
    ("a mapping to read", |dir, name| {
        let map = Map::shared_read(empty(dir, name, OFlags::RDONLY), 4096).unwrap();
        Box::new(move || map.peek(0).into_iter().collect())
    }),
    ("a private mapping", |dir, name| {
        let map = Map::private(empty(dir, name, OFlags::RDONLY), 4096).unwrap();
        Box::new(move || map.peek(0).into_iter().collect())
    }),
    ("a mapping to write", |dir, name| {
        let map = Map::shared(empty(dir, name, OFlags::RDWR), 4096).unwrap();
        Box::new(move || {
            map.poke(0, FORGED);
            map.peek(0).into_iter().collect()
        })
    }),
    ("a mapping found in /proc", |dir, name| {
        let map = Map::shared_read(empty(dir, name, OFlags::RDONLY), 4096).unwrap();
        Box::new(move || {
            let path = format!("/proc/self/map_files/{}", map.range());
            std::fs::read(path).unwrap_or_default()
        })
    }),
    ("a page in a pipe", |dir, name| {
        let fd = empty(dir, name, OFlags::RDWR);
        assert_eq!(pwrite(&fd, &[FORGED; 4096], 0), Ok(4096));
        let (reader, writer) = pipe().unwrap();
        let flags = SpliceFlags::empty();
        assert_eq!(splice(&fd, Some(&mut 0), &writer, None, 4096, flags), Ok(4096));
        ftruncate(&fd, 0).unwrap();
        drop(fd);
        Box::new(move || take_all(&reader))
    }),
    ("a mapped page in a pipe", |dir, name| {
        let fd = empty(dir, name, OFlags::RDWR);
        ftruncate(&fd, 4096).unwrap();
        let map = Map::shared(&fd, 4096).unwrap();
        map.put(0, &[FORGED; 4096]);
        let (reader, writer) = pipe().unwrap();
        assert_eq!(map.splice_into(&writer), Ok(4096));
        ftruncate(&fd, 0).unwrap();
        Box::new(move || take_all(&reader))
    }),
    ("a fixed file of io_uring", |dir, name| {
        let mut keeper = Keeper::of(empty(dir, name, OFlags::RDONLY));
        Box::new(move || keeper.read_at(4096, 0).unwrap())
    }),
    ("a write of io_uring under way", |dir, name| {
        let fd = empty(dir, name, OFlags::WRONLY);
        let written = uring::write_and_let_go(fd, &[FORGED; 4096], 0);
        assert!(matches!(written, Ok(4096) | Err(rustix::io::Errno::BADF)));
        dir.truncate(name, 0).unwrap();
        Box::new(Vec::new)
    }),
    ("a descriptor in flight", |dir, name| {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        raw::send_descriptor(&here, empty(dir, name, OFlags::RDONLY));
        let mut sent = Some((here, there));
        Box::new(move || {
            let Some((_here, there)) = sent.take() else {
                return vec![];
            };
            pread(raw::receive_descriptor(&there), 4096, 0).unwrap()
        })
    }),
    ("a file handle", |dir, name| {
        drop(empty(dir, name, OFlags::RDONLY));
        let (handle, root) = (
            Handle::of(dir.fd(), name).unwrap(),
            dir.open(".", OFlags::RDONLY, 0).unwrap(),
        );
        Box::new(move || match handle.open(&root, OFlags::RDONLY) {
            Ok(fd) => pread(fd, 4096, 0).unwrap(),
            Err(_) => vec![],
        })
    }),
    ("a path without a file", |dir, name| {
        drop(empty(dir, name, OFlags::RDONLY));
        let fd = dir.open(name, OFlags::PATH, 0).unwrap();
        Box::new(move || {
            use std::os::fd::AsRawFd;
            std::fs::read(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
        })
    }),
];

fn empty(dir: &Dir, name: &str, flags: OFlags) -> OwnedFd {
    dir.open(name, flags | OFlags::CREATE | OFlags::EXCL, 0o666).unwrap()
}

fn take_all(pipe: impl AsFd) -> Vec<u8> {
    use rustix::fs::{fcntl_getfl, fcntl_setfl};
    fcntl_setfl(pipe.as_fd(), fcntl_getfl(pipe.as_fd()).unwrap() | OFlags::NONBLOCK).unwrap();
    let mut bytes = vec![0; 4096];
    let count = read(pipe, &mut bytes).unwrap_or(0);
    bytes.truncate(count);
    bytes
}

/// A victim makes file after file and writes a secret to each: a new file has no bytes of anybody's, and keeps its own.
fn victim(dir: &Dir, number: u64, over: &AtomicBool) -> u64 {
    let mut rng = Rng(number);
    let mut files = 0;
    while !over.load(Ordering::Relaxed) {
        let name = format!("v{number}-{}", files % 8);
        let fd = match rng.one_in(4) {
            true => dir.open(".", OFlags::TMPFILE | OFlags::RDWR, 0o600).unwrap(),
            false => dir
                .open(&name, OFlags::CREATE | OFlags::EXCL | OFlags::RDWR, 0o600)
                .unwrap(),
        };
        if rng.one_in(2) {
            ftruncate(&fd, 4096).unwrap();
            assert_eq!(pread(&fd, 5000, 0).unwrap(), [0; 4096], "a new file is empty");
        }
        assert_eq!(pwrite(&fd, &[SECRET; 4096], 0), Ok(4096));
        if rng.one_in(16) {
            std::thread::yield_now();
        }
        assert!(pread(&fd, 5000, 0).unwrap() == [SECRET; 4096], "what was written stays");
        let _ = dir.unlink(&name);
        files += 1;
    }
    files
}

/// Attacks while two victims are at work. Returns how many files they made.
fn attack(dir: &Dir, what: &str, grip: Grip, rounds: u64) -> u64 {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let victims: Vec<_> = (0..2)
            .map(|number| {
                scope.spawn({
                    let over = &over;
                    move || victim(dir, number, over)
                })
            })
            .collect();
        let mut hands: VecDeque<Hand> = VecDeque::new();
        let attack = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..rounds {
                let name = format!("a{}", round % 4);
                hands.push_back(grip(dir, &name));
                if round % 3 > 0 {
                    dir.unlink(&name).unwrap();
                }
                for hand in &mut hands {
                    assert!(!hand().contains(&SECRET), "{what}: the secret is seen in round {round}");
                }
                if hands.len() > 6 {
                    hands.pop_front();
                }
                let _ = dir.unlink(&name);
            }
        }));
        over.store(true, Ordering::Relaxed);
        let files = victims.into_iter().map(|victim| victim.join().unwrap()).sum();
        attack.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        files
    })
}

/// By semantics 1.1, 1.3: no way to hold on to a file shows or changes another one.
#[test]
fn shows_nobody_the_files_of_others() {
    let rounds = env_number("OWLTMP_FAST_ATTACKS", 2000);
    for (place, rounds) in [
        (Where::Tmpfs, rounds / 10),
        (Where::Passthrough, rounds),
        (Where::Cached, rounds / 10),
    ] {
        let mount = place.mount("mode=0777,size=64m");
        for (what, grip) in GRIPS {
            let files = attack(mount.dir(), what, grip, rounds);
            println!("{what}: {rounds} rounds, {files} files of victims");
        }
    }
}

/// A part: maps empty files, forks, and lets the child look while it goes on; ends with status 3 when a secret is seen.
pub fn peek_part(arguments: &[&str]) {
    let number = arguments[0];
    let dir = Dir::open_root(Path::new("."), Kind::Owltmp).unwrap();
    for round in 0_u64.. {
        let name = format!("p{number}-{}", round % 4);
        let _ = dir.unlink(&name);
        let flags = if round % 2 == 0 { OFlags::RDONLY } else { OFlags::RDWR };
        let map = Map::shared_read(empty(&dir, &name, flags), 4096).unwrap();
        let child = raw::fork(|| {
            let end = std::time::Instant::now() + Duration::from_millis(3);
            while std::time::Instant::now() < end {
                if map.peek(0) == Some(SECRET) {
                    return 3;
                }
            }
            0
        });
        drop(map);
        if round % 3 > 0 {
            let _ = dir.unlink(&name);
        }
        if raw::wait(child) != 0 {
            std::process::exit(3);
        }
    }
}

/// By semantics 1.1, 6.3: processes that map empty files, fork, and are killed at any moment see nothing of others.
#[test]
fn survives_forks_and_kills() {
    let kills = env_number("OWLTMP_FAST_ATTACKS", 2000) / 50;
    let mount = Where::Passthrough.mount("mode=0777,size=64m");
    let dir = mount.dir();
    let over = AtomicBool::new(false);
    let made = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| made.fetch_add(victim(dir, 9, &over), Ordering::Relaxed));
        let mut rng = Rng(5);
        for kill in 0..kills {
            let mut child = worker::start("peek", &[&kill.to_string()], &dir.path(""));
            std::thread::sleep(Duration::from_millis(30 + rng.below(60)));
            let ended = child.try_wait().unwrap();
            if ended.is_some() {
                over.store(true, Ordering::Relaxed);
            }
            assert!(ended.is_none(), "the attacker: {ended:?}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("{kills} attackers killed, {} files of the victim", made.into_inner());
}

/// By semantics 1.1: what a file has lost by truncation does not come back when it grows, whoever looks.
#[test]
fn brings_nothing_back() {
    for place in [Where::Tmpfs, Where::Passthrough, Where::Cached] {
        let mount = place.mount("mode=0777,size=64m");
        let dir = mount.dir();
        let mut rng = Rng(3);
        let fd = dir.create("f");
        let map = Map::shared(&fd, 40_960).unwrap();
        for _ in 0..env_number("OWLTMP_FAST_ATTACKS", 2000) {
            let keep = rng.below(20_000);
            assert_eq!(pwrite(&fd, &vec![SECRET; 20_000], 0), Ok(20_000));
            match rng.below(3) {
                0 => ftruncate(&fd, keep).unwrap(),
                1 => dir.truncate("f", keep as i64).unwrap(),
                _ => {
                    drop(dir.open("f", OFlags::WRONLY | OFlags::TRUNC, 0).unwrap());
                    ftruncate(&fd, keep).unwrap();
                    assert!(pread(&fd, 20_000, 0).unwrap().iter().all(|&byte| byte == 0));
                }
            }
            ftruncate(&fd, 40_960).unwrap();
            let at = usize::try_from(keep).unwrap();
            assert_eq!(map.peek(at), Some(0));
            assert!(pread(&fd, 40_960, keep).unwrap().iter().all(|&byte| byte == 0));
            ftruncate(&fd, 0).unwrap();
            assert_eq!(map.peek(0), None);
        }
    }
}
