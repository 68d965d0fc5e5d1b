//! Which file a lock is on: it stays with the file whatever becomes of its names, and is seen through every way to it (semantics 4.1,
//! 4.5).

use std::os::fd::AsRawFd;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::OFlags;

use super::way::{DONE, EAGAIN, WAYS, Way, start};
use crate::common::lock::{self, F_OFD_SETLK, F_SETLK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, NONE, READ, Record, WRITE};
use crate::common::{Dir, Errno, FileType, Identity, as_user, both, each, env_number, wait_until};

const BOTH: OFlags = OFlags::RDWR;
const AGAIN: Result<(), Errno> = Err(Errno::AGAIN);

/// Tries to lock the whole file for writing, by the open file or by flock(2).
fn locks(fd: &OwnedFd, flock: bool) -> Result<(), Errno> {
    match flock {
        true => lock::flock(fd.as_raw_fd(), LOCK_EX | LOCK_NB),
        false => lock::set(fd.as_raw_fd(), F_OFD_SETLK, Record::all(WRITE)),
    }
}

fn unlocks(fd: &OwnedFd, flock: bool) {
    match flock {
        true => lock::flock(fd.as_raw_fd(), LOCK_UN),
        false => lock::set(fd.as_raw_fd(), F_OFD_SETLK, Record::all(NONE)),
    }
    .unwrap();
}

/// With modes of files that are not marked and that are, which the kernel knows by many inodes.
fn for_each_mode(body: impl Fn(&Dir, u32, bool)) {
    both(|dir| {
        for mode in [0o666, 0o2666] {
            for flock in [false, true] {
                let dir = dir.subdir(&format!("{mode:o}-{flock}"), 0o777);
                body(&dir, mode, flock);
            }
        }
    });
}

/// By semantics 4.1, 4.5: through other names, descriptors made of descriptors, and every open of the name.
#[test]
fn all_ways_lead_to_the_same_locks() {
    for_each_mode(|dir, mode, flock| {
        dir.file("f", b"text", mode);
        dir.link("f", "g").unwrap();
        dir.symlink("f", "s").unwrap();
        let one = dir.open("f", BOTH, 0).unwrap();
        locks(&one, flock).unwrap();
        let reopened = format!("/proc/self/fd/{}", one.as_raw_fd());
        for name in ["f", "g", "s", "./f", &reopened] {
            let other = dir.open(name, BOTH, 0).unwrap();
            assert_eq!(locks(&other, flock), AGAIN, "{name}, {mode:o}, flock {flock}");
        }
        let second = dir.open("g", BOTH, 0).unwrap();
        unlocks(&one, flock);
        locks(&second, flock).unwrap();
        assert_eq!(locks(&one, flock), AGAIN);
        let duplicate = rustix::io::dup(&second).unwrap();
        drop(second);
        locks(&duplicate, flock).unwrap();
        assert_eq!(locks(&one, flock), AGAIN);
    });
}

/// By semantics 4.1, 4.5: the name may go, or another file may come in its place.
#[test]
fn locks_stay_with_the_file() {
    for_each_mode(|dir, mode, flock| {
        dir.file("f", b"text", mode);
        let (one, two) = (dir.open("f", BOTH, 0).unwrap(), dir.open("f", BOTH, 0).unwrap());
        locks(&one, flock).unwrap();
        dir.rename("f", "moved").unwrap();
        let renamed = dir.open("moved", BOTH, 0).unwrap();
        for fd in [&two, &renamed] {
            assert_eq!(locks(fd, flock), AGAIN);
        }
        dir.file("f", b"another", mode);
        let another = dir.open("f", BOTH, 0).unwrap();
        locks(&another, flock).unwrap();
        dir.rename("f", "moved").unwrap();
        assert_eq!(locks(&two, flock), AGAIN, "replaced");
        dir.unlink("moved").unwrap();
        assert_eq!(locks(&two, flock), AGAIN, "no name");
        unlocks(&one, flock);
        locks(&two, flock).unwrap();
        assert_eq!(locks(&renamed, flock), AGAIN);
        assert_eq!(locks(&another, flock), Ok(()));
        drop((one, two, renamed));
        dir.file("f", b"new", mode);
        locks(&dir.open("f", BOTH, 0).unwrap(), flock).unwrap();
        let unnamed = dir.open("", OFlags::TMPFILE | BOTH, 0o600);
        let unnamed = unnamed
            .or_else(|_| dir.open(".", OFlags::TMPFILE | BOTH, mode))
            .unwrap();
        locks(&unnamed, flock).unwrap();
        dir.link_fd(&unnamed, "linked").unwrap();
        assert_eq!(locks(&dir.open("linked", BOTH, 0).unwrap(), flock), AGAIN);
    });
}

/// By semantics 4.1, 4.5: directories and fifos too; what can't be opened can't be locked.
#[test]
fn other_kinds_of_files() {
    both(|dir| {
        dir.mkdir("d", 0o777).unwrap();
        dir.mknod("p", FileType::Fifo, 0o666, 0).unwrap();
        for (name, flags, kind) in [("d", OFlags::RDONLY, READ), ("p", BOTH, WRITE)] {
            let (one, two) = (dir.open(name, flags, 0).unwrap(), dir.open(name, flags, 0).unwrap());
            let (first, second) = (one.as_raw_fd(), two.as_raw_fd());
            lock::flock(first, LOCK_EX | LOCK_NB).unwrap();
            assert_eq!(lock::flock(second, LOCK_SH | LOCK_NB), AGAIN);
            lock::flock(first, LOCK_SH | LOCK_NB).unwrap();
            lock::flock(second, LOCK_SH | LOCK_NB).unwrap();
            assert_eq!(lock::flock(second, LOCK_EX | LOCK_NB), AGAIN);
            lock::flock(first, LOCK_UN).unwrap();
            lock::flock(second, LOCK_EX | LOCK_NB).unwrap();
            let again = dir.open(name, flags, 0).unwrap();
            lock::set(second, F_OFD_SETLK, Record::all(kind)).unwrap();
            let refused = if kind == WRITE { AGAIN } else { Ok(()) };
            assert_eq!(lock::set(again.as_raw_fd(), F_OFD_SETLK, Record::all(kind)), refused);
            lock::set(second, F_SETLK, Record::new(kind, 5, 5)).unwrap_or_else(|errno| {
                assert_eq!((errno, kind), (Errno::AGAIN, WRITE), "its own open file has it");
            });
        }
        assert_eq!(
            lock::set(
                dir.open("d", OFlags::RDONLY, 0).unwrap().as_raw_fd(),
                F_SETLK,
                Record::all(WRITE)
            ),
            Err(Errno::BADF)
        );
    });
}

/// By semantics 4.1, 4.5: contents do not matter: beyond the end, truncated, written, mapped.
#[test]
fn contents_do_not_matter() {
    both(|dir| {
        dir.file("f", b"", 0o666);
        let (one, two) = (dir.open("f", BOTH, 0).unwrap(), dir.open("f", BOTH, 0).unwrap());
        let try_byte = |at| lock::set(two.as_raw_fd(), F_OFD_SETLK, Record::new(WRITE, at, 1));
        lock::set(one.as_raw_fd(), F_OFD_SETLK, Record::new(WRITE, 1 << 40, 1)).unwrap();
        for size in [0, 1 << 20, 10, 0] {
            rustix::fs::ftruncate(&two, size).unwrap();
            assert_eq!(try_byte(1 << 40), AGAIN);
            assert_eq!(try_byte((1 << 40) - 1), Ok(()));
        }
        assert_eq!(rustix::io::pwrite(&two, b"anything", 3), Ok(8));
        let _map = crate::common::map::Map::shared(&two, 4096).unwrap();
        assert_eq!(try_byte(1 << 40), AGAIN);
        lock::set(one.as_raw_fd(), F_OFD_SETLK, Record::all(NONE)).unwrap();
        assert_eq!(try_byte(1 << 40), Ok(()));
    });
}

/// By semantics 4.1, 4.5: files of a hundred users, each locked by its owner; others are kept out of that file alone.
#[test]
fn files_of_a_hundred_users() {
    both(|dir| {
        let users = 0..100_u32;
        let fds: Vec<OwnedFd> = users
            .clone()
            .map(|user| {
                let (name, uid) = (format!("of-{user}"), 61_000 + user);
                dir.file(&name, b"x", 0o666);
                dir.chown(&name, Some(uid), Some(uid)).unwrap();
                let who = Identity {
                    uid,
                    gid: uid,
                    groups: &[],
                };
                as_user(who, || {
                    let fd = dir.open(&name, BOTH, 0).unwrap();
                    locks(&fd, user % 2 == 0).unwrap();
                    lock::set(fd.as_raw_fd(), F_OFD_SETLK, Record::new(WRITE, 100, 1)).unwrap();
                    fd
                })
            })
            .collect();
        let who = Identity {
            uid: 61_500,
            gid: 61_500,
            groups: &[],
        };
        as_user(who, || {
            for user in users {
                let other = dir.open(&format!("of-{user}"), BOTH, 0).unwrap();
                assert_eq!(locks(&other, user % 2 == 0), AGAIN);
                let byte = Record::new(WRITE, 100, 1);
                assert_eq!(lock::set(other.as_raw_fd(), F_OFD_SETLK, byte), AGAIN);
                // The other family is free of the whole, but not of the byte.
                let expected = if user % 2 == 1 { Ok(()) } else { AGAIN };
                assert_eq!(locks(&other, user % 2 == 1), expected);
            }
        });
        drop(fds);
    });
}

/// By semantics 4.1: POSIX owners are tables of descriptors: a thread that has its own is another owner.
#[test]
fn owners_are_tables_of_descriptors() {
    both(|dir| {
        dir.file("f", b"", 0o666);
        let lock_it = |kind| {
            let fd = dir.open("f", BOTH, 0).unwrap();
            let done = lock::set(fd.as_raw_fd(), F_SETLK, Record::all(kind));
            std::mem::forget(fd);
            done
        };
        std::thread::scope(|scope| {
            let (told, waits) = std::sync::mpsc::channel::<()>();
            let (ready, begins) = std::sync::mpsc::channel();
            scope.spawn(move || {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).unwrap();
                ready.send(lock_it(WRITE)).unwrap();
                waits.recv().unwrap();
            });
            assert_eq!(begins.recv().unwrap(), Ok(()));
            let another = scope.spawn(move || {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).unwrap();
                lock_it(READ)
            });
            assert_eq!(another.join().unwrap(), AGAIN);
            told.send(()).unwrap();
        });
        // A thread can be joined a moment before its descriptors are closed.
        wait_until("the locks end with their threads", Duration::from_secs(5), || {
            let run = || {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).unwrap();
                lock_it(WRITE)
            };
            std::thread::scope(|scope| scope.spawn(run).join().unwrap()) == Ok(())
        });
    });
}

/// By semantics 4.1, 4.5: a file that is locked, left and forgotten over and over is free each time, also when its backing is used again.
#[test]
fn nothing_is_left_of_old_locks() {
    let rounds = env_number("OWLTMP_LOCK_ROUNDS", 400);
    each("mode=0777", |mount| {
        let (mut crew, _) = start(mount, 2, 1);
        for round in 0..rounds {
            let way = WAYS[round as usize % 3];
            let name = mount.path().join("0");
            assert_eq!(crew.one(0, way.now(0, WRITE)).result, DONE);
            assert_eq!(crew.one(1, way.now(0, WRITE)).result, EAGAIN);
            std::fs::remove_file(&name).unwrap();
            std::fs::write(&name, b"new").unwrap();
            for who in [0, 1] {
                crew.one(who, super::crew::Op::Close { slot: 0 });
                assert_eq!(crew.one(who, super::way::open(0, 0)).result, DONE);
            }
            for who in [1, 0] {
                for it in [Way::Flock, Way::Process] {
                    assert_eq!(crew.one(who, it.now(0, WRITE)).result, DONE);
                    assert_eq!(crew.one(who, it.now(0, NONE)).result, DONE);
                }
            }
        }
    });
}
