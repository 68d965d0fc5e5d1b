//! Whose a lock is: the kernel tells it by a number made from an address, and addresses come again.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::part::Part;
use super::{Ask, NONE, PATIENCE, READ, WRITE, in_the_way, lock, seconds};
use crate::common::map::Map;
use crate::common::rng::Rng;
use crate::common::{Dir, Errno, Kind, Mount, each, raw, wait_until};

/// A part: locks, and closes a file whose pages cannot be written back.
pub fn left_part(_arguments: &[&str]) {
    let dir = Dir::open_root(Path::new("."), Kind::Owltmp).unwrap();
    let fd = dir.open("file", OFlags::RDWR, 0).unwrap();
    lock(&fd, Ask::Process, WRITE, 0, 10).unwrap();
    lock(&fd, Ask::Open, WRITE, 20, 10).unwrap();
    let map = Map::shared(&fd, 3 << 20).unwrap();
    for page in 0..(3 << 20) / 4096 {
        map.put(page * 4096, b"x");
    }
    drop(fd);
}

/// Where pages cannot be written back the kernel does not tell of close(2). By semantics 4.1 the locks end all the same.
#[test]
fn closed_without_our_knowing() {
    let mount = Mount::owltmp("mode=0777,io=cached,size=1m");
    let dir = mount.dir();
    let fd = dir.create("file");
    rustix::fs::ftruncate(&fd, 3 << 20).unwrap();
    Part::start("left", &[], mount.path()).join();
    wait_until("they have ended", PATIENCE, || in_the_way(&fd, 0, 0).is_none());
}

struct Family {
    dir: Dir,
    name: String,
    rng: Rng,
    rounds: u64,
}

impl Family {
    /// A child that locks by what it has inherited, for itself and for the open file, and goes. What the open file has stays, what the
    /// child had goes, and nobody takes one for the other, however often their numbers come again.
    fn generation(&mut self) {
        let open = || self.dir.open(&self.name, OFlags::RDWR, 0).unwrap();
        let (shared, probe) = (open(), open());
        lock(&shared, Ask::Process, WRITE, 0, 5).unwrap();
        for _ in 0..8 {
            let (of_file, closes, nested) = (self.rng.one_in(2), self.rng.one_in(3), self.rng.one_in(4));
            let child = || {
                let answers = [
                    lock(&shared, Ask::Process, READ, 0, 5) == Err(Errno::AGAIN),
                    lock(&shared, Ask::Process, WRITE, 10, 5).is_ok(),
                    !of_file || lock(&shared, Ask::Open, WRITE, 20, 5).is_ok(),
                    // One's own process has what the open file wants.
                    lock(&shared, Ask::Open, WRITE, 10, 5) == Err(Errno::AGAIN),
                    !of_file || lock(&shared, Ask::Process, WRITE, 20, 5) == Err(Errno::AGAIN),
                    lock(&probe, Ask::Open, WRITE, 40, 5).is_ok(),
                    lock(&probe, Ask::Open, NONE, 40, 5).is_ok(),
                    lock(&shared, Ask::Process, WRITE, 30, 5).is_ok(),
                ];
                if nested {
                    let status = raw::wait(raw::fork(|| {
                        let right = lock(&shared, Ask::Process, READ, 10, 5) == Err(Errno::AGAIN)
                            && lock(&shared, Ask::Process, WRITE, 50, 5).is_ok();
                        i32::from(!right)
                    }));
                    if status != 0 || in_the_way(&probe, 50, 5).is_some() {
                        return 90;
                    }
                }
                if closes {
                    // Any descriptor of the file ends what the process has, not what the open file has.
                    drop(shared.try_clone());
                    let left = [10, 20, 30].map(|at| in_the_way(&probe, at, 5).is_some());
                    if left != [false, of_file, false] {
                        return 91;
                    }
                }
                match answers.iter().position(|right| !right) {
                    Some(wrong) => 1 + i32::try_from(wrong).unwrap(),
                    None => 0,
                }
            };
            assert_eq!(raw::wait(raw::fork(child)), 0, "round {}", self.rounds);
            let left = [0, 10, 20, 30].map(|at| in_the_way(&probe, at, 5).is_some());
            assert_eq!(left, [true, false, of_file, false], "round {}", self.rounds);
            // The open file's lock is as good in the parent's hands.
            lock(&shared, Ask::Open, NONE, 20, 5).unwrap();
            assert_eq!(in_the_way(&probe, 20, 5), None);
            self.rounds += 1;
        }
        drop(shared);
        // The parent's own has ended with that.
        assert_eq!(in_the_way(&probe, 0, 0), None);
    }
}

/// A part: one family.
pub fn part(arguments: &[&str]) {
    let end = Instant::now() + Duration::from_secs(arguments[1].parse().unwrap());
    let mut family = Family {
        dir: Dir::open_root(Path::new("."), Kind::Owltmp).unwrap(),
        name: format!("file{}", arguments[0]),
        rng: Rng(arguments[0].parse().unwrap()),
        rounds: 0,
    };
    while Instant::now() < end {
        family.generation();
    }
    eprintln!("{} children", family.rounds);
}

/// By semantics 4.1.
#[test]
fn families() {
    each("mode=0777", |mount| {
        let start = |number: u64| {
            mount.dir().file(
                &format!("file{number}"),
                b"",
                if number.is_multiple_of(2) { 0o2666 } else { 0o666 },
            );
            let arguments = [number.to_string(), seconds().to_string()];
            Part::start("owner", &arguments.each_ref().map(String::as_str), mount.path())
        };
        let families: Vec<_> = (0..3).map(start).collect();
        families.into_iter().for_each(Part::join);
    });
}

/// A thread with descriptors of its own is another owner, as on tmpfs.
#[test]
fn a_thread_with_its_own_descriptors() {
    each("mode=0777", |mount| {
        let dir = mount.dir();
        dir.file("file", b"text", 0o2666);
        let fd = dir.open("file", OFlags::RDWR, 0).unwrap();
        for _ in 0..50 {
            lock(&fd, Ask::Process, WRITE, 0, 10).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    assert_eq!(lock(&fd, Ask::Process, WRITE, 5, 1), Ok(()), "the same owner");
                    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).unwrap();
                    assert_eq!(lock(&fd, Ask::Process, WRITE, 5, 1), Err(Errno::AGAIN));
                    lock(&fd, Ask::Process, WRITE, 20, 1).unwrap();
                });
            });
            let probe = dir.open("file", OFlags::RDWR, 0).unwrap();
            wait_until("its lock went with it", PATIENCE, || {
                in_the_way(&probe, 20, 1).is_none()
            });
            assert!(in_the_way(&probe, 0, 10).is_some());
            lock(&fd, Ask::Process, NONE, 0, 0).unwrap();
        }
    });
}
