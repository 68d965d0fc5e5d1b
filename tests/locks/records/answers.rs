//! What fcntl(2) answers about record locks: F_GETLK, errors and their order, lockf(3) (semantics 4.1).

use std::os::fd::AsRawFd;

use rustix::fs::OFlags;

use super::crew::{Crew, Op};
use super::rules::{Rules, rules};
use super::way::{DONE, EAGAIN, open, start};
use crate::common::lock::{
    self, F_GETLK, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_SETLK, F_SETLKW, NONE, READ, Record, WRITE,
};
use crate::common::{Dir, Errno, both, each};

fn at(command: i32, record: Record) -> Op {
    let slot = 0;
    Op::Lock { slot, command, record }
}

fn has(crew: &mut Crew, who: usize, record: Record) {
    assert_eq!(crew.one(who, at(F_SETLK, record)).result, DONE);
}

fn tests(crew: &mut Crew, who: usize, command: i32, record: Record) -> Record {
    let answer = crew.one(who, at(command, record));
    assert_eq!(answer.result, DONE);
    answer.record
}

/// By semantics 4.1: F_GETLK tells type, range and process of a lock in the way, the lowest first.
#[test]
fn the_lock_in_the_way_is_told() {
    each("mode=0777", |mount| {
        let rules = rules(mount);
        let (mut crew, _) = start(mount, 4, 1);
        let pids: Vec<i32> = (0..4).map(|who| crew.pid(who)).collect();
        let told = |kind, start, len, who: usize| Record {
            pid: pids[who],
            ..Record::new(kind, start, len)
        };
        has(&mut crew, 1, Record::new(WRITE, 100, 10));
        has(&mut crew, 2, Record::new(READ, 50, 10));
        has(&mut crew, 3, Record::new(WRITE, 10, 10));
        let first = if rules == Rules::Server {
            told(WRITE, 10, 10, 3)
        } else {
            told(WRITE, 100, 10, 1)
        };
        assert_eq!(tests(&mut crew, 0, F_GETLK, Record::all(WRITE)), first);
        assert_eq!(tests(&mut crew, 0, F_GETLK, Record::all(READ)), first);
        assert_eq!(
            tests(&mut crew, 0, F_GETLK, Record::new(WRITE, 55, 1)),
            told(READ, 50, 10, 2)
        );
        assert_eq!(
            tests(&mut crew, 0, F_GETLK, Record::new(WRITE, 60, -1)),
            told(READ, 50, 10, 2)
        );
        assert_eq!(
            tests(&mut crew, 0, F_GETLK, Record::new(READ, 55, 50)),
            told(WRITE, 100, 10, 1)
        );
        // Nothing in the way: the rest of the record stays as it is.
        let odd = Record {
            kind: READ,
            whence: 2,
            start: 50,
            len: -3,
            pid: 77,
        };
        assert_eq!(tests(&mut crew, 0, F_GETLK, odd), Record { kind: NONE, ..odd });
        // One's own are not.
        assert_eq!(tests(&mut crew, 2, F_GETLK, Record::new(WRITE, 50, 10)).kind, NONE);
        // Relative to the end of file, which is at 4.
        let from_end = Record {
            whence: 2,
            ..Record::new(WRITE, 100, 1)
        };
        assert_eq!(tests(&mut crew, 0, F_GETLK, from_end), told(WRITE, 100, 10, 1));
        // A child's are the child's.
        crew.kill(0);
        crew.spawn(Some(1), 0);
        has(&mut crew, 0, Record::new(WRITE, 1000, 0));
        assert_eq!(
            tests(&mut crew, 1, F_GETLK, Record::new(READ, 2000, 1)).pid,
            crew.pid(0)
        );
        assert_eq!(
            tests(&mut crew, 1, F_GETLK, Record::new(READ, 2000, 1)).len,
            0,
            "to the end"
        );
    });
}

/// By semantics 4.1: ranges of one owner merge, split, and change their kind in place.
#[test]
fn ranges_merge_and_split() {
    each("mode=0777", |mount| {
        let (mut crew, _) = start(mount, 2, 1);
        type Held = (i16, i64, i64);
        let steps: [(Record, &[Held]); 11] = [
            (Record::new(WRITE, 0, 10), &[(WRITE, 0, 10)]),
            (Record::new(WRITE, 20, 10), &[(WRITE, 0, 10), (WRITE, 20, 10)]),
            (Record::new(WRITE, 10, 10), &[(WRITE, 0, 30)]),
            (Record::new(NONE, 5, 5), &[(WRITE, 0, 5), (WRITE, 10, 20)]),
            (
                Record::new(READ, 15, 5),
                &[(WRITE, 0, 5), (WRITE, 10, 5), (READ, 15, 5), (WRITE, 20, 10)],
            ),
            (
                Record::new(READ, 20, 5),
                &[(WRITE, 0, 5), (WRITE, 10, 5), (READ, 15, 10), (WRITE, 25, 5)],
            ),
            (Record::new(WRITE, 15, 10), &[(WRITE, 0, 5), (WRITE, 10, 20)]),
            (Record::new(READ, 0, 0), &[(READ, 0, 0)]),
            (
                Record::new(WRITE, i64::MAX, 1),
                &[(READ, 0, i64::MAX), (WRITE, i64::MAX, 0)],
            ),
            (Record::new(NONE, 0, i64::MAX), &[(WRITE, i64::MAX, 0)]),
            (Record::new(WRITE, i64::MAX, -10), &[(WRITE, i64::MAX - 10, 0)]),
        ];
        for (record, held) in steps {
            has(&mut crew, 0, record);
            let mut found = vec![];
            let mut from = 0;
            loop {
                let it = tests(&mut crew, 1, F_GETLK, Record::new(WRITE, from, 0));
                if it.kind == NONE {
                    break;
                }
                found.push((it.kind, it.start, it.len));
                if it.len == 0 {
                    break;
                }
                from = it.start + it.len;
            }
            assert_eq!(found, held, "after {record:?}");
        }
    });
}

/// By semantics 4.1: an upgrade that another hinders leaves the lock as it was; nobody comes in between where it succeeds.
#[test]
fn a_failed_upgrade_changes_nothing() {
    each("mode=0777", |mount| {
        let (mut crew, _) = start(mount, 3, 1);
        for command in [F_SETLK, F_OFD_SETLK] {
            let locks = |crew: &mut Crew, who, record| crew.one(who, at(command, record)).result;
            assert_eq!(locks(&mut crew, 0, Record::new(READ, 0, 100)), DONE);
            assert_eq!(locks(&mut crew, 1, Record::new(READ, 90, 1)), DONE);
            assert_eq!(locks(&mut crew, 0, Record::all(WRITE)), EAGAIN);
            assert_eq!(locks(&mut crew, 2, Record::new(WRITE, 0, 1)), EAGAIN, "still read");
            assert_eq!(locks(&mut crew, 2, Record::new(READ, 0, 1)), DONE);
            assert_eq!(
                locks(&mut crew, 2, Record::new(WRITE, 100, 1)),
                DONE,
                "no more than before"
            );
            for who in 0..3 {
                assert_eq!(locks(&mut crew, who, Record::all(NONE)), DONE);
            }
        }
    });
}

/// By semantics 4.1: F_OFD_GETLK with F_UNLCK tells what the open file has itself.
#[test]
fn an_open_file_sees_its_own() {
    each("mode=0777", |mount| {
        let (mut crew, _) = start(mount, 2, 1);
        assert_eq!(crew.one(0, at(F_OFD_SETLK, Record::new(WRITE, 30, 5))).result, DONE);
        assert_eq!(crew.one(0, at(F_OFD_SETLK, Record::new(READ, 10, 5))).result, DONE);
        has(&mut crew, 0, Record::new(READ, 0, 5));
        assert_eq!(crew.one(1, at(F_OFD_SETLK, Record::new(WRITE, 50, 5))).result, DONE);
        let asks = |crew: &mut Crew, start| {
            let record = tests(crew, 0, F_OFD_GETLK, Record::new(NONE, start, 0));
            (record.kind, record.start, record.len)
        };
        assert_eq!(asks(&mut crew, 0), (READ, 10, 5));
        assert_eq!(asks(&mut crew, 14), (READ, 10, 5));
        assert_eq!(asks(&mut crew, 15), (WRITE, 30, 5));
        assert_eq!(asks(&mut crew, 35).0, NONE);
        let answer = crew.one(0, at(F_GETLK, Record::new(NONE, 0, 0)));
        assert_eq!(answer.result, -nix::libc::EINVAL);
    });
}

const EBADF: Result<(), Errno> = Err(Errno::BADF);
const EINVAL: Result<(), Errno> = Err(Errno::INVAL);
const EOVERFLOW: Result<(), Errno> = Err(Errno::OVERFLOW);
const FINE: Result<(), Errno> = Ok(());
const ALL: [i32; 6] = [F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW, F_GETLK, F_OFD_GETLK];

fn record(kind: i16, whence: i16, start: i64, len: i64) -> Record {
    let pid = 0;
    Record {
        kind,
        whence,
        start,
        len,
        pid,
    }
}

/// By semantics 4.1: which error comes first.
#[test]
fn errors_in_their_order() {
    both(|dir| {
        dir.file("f", b"0123456789", 0o666);
        let fd = dir.open("f", OFlags::RDWR, 0).unwrap();
        let cases = [
            (record(WRITE, 3, 0, 1), EINVAL),
            (record(WRITE, -1, i64::MAX, i64::MAX), EINVAL),
            (record(WRITE, 0, -1, 1), EINVAL),
            (record(WRITE, 0, 5, -6), EINVAL),
            (record(WRITE, 0, 5, -5), FINE),
            (record(WRITE, 0, 0, -1), EINVAL),
            (record(WRITE, 0, 0, i64::MIN), EINVAL),
            (record(WRITE, 0, i64::MAX, 1), FINE),
            (record(WRITE, 0, i64::MAX, 2), EOVERFLOW),
            (record(WRITE, 0, 1, i64::MAX), FINE),
            (record(WRITE, 0, 2, i64::MAX), EOVERFLOW),
            (record(WRITE, 2, i64::MAX, 1), EOVERFLOW),
            (record(WRITE, 2, -10, 0), FINE),
            (record(WRITE, 2, -11, 0), EINVAL),
            (record(WRITE, 2, i64::MIN, 0), EINVAL),
            (record(7, 0, 0, 0), EINVAL),
            (record(-1, 0, i64::MAX, 2), EOVERFLOW),
        ];
        for command in ALL {
            for (record, right) in cases {
                // F_GETLK looks at the type first.
                let right = if command == F_GETLK && record.kind == -1 {
                    EINVAL
                } else {
                    right
                };
                assert_eq!(
                    lock::set(fd.as_raw_fd(), command, record),
                    right,
                    "{command}: {record:?}"
                );
                assert_eq!(lock::set(999_999, command, record), EBADF);
                assert_eq!(lock::set(-1, command, record), EBADF);
            }
            let of_open = matches!(command, F_OFD_SETLK | F_OFD_SETLKW | F_OFD_GETLK);
            let with_pid = Record {
                pid: 1,
                ..record(READ, 0, 0, 1)
            };
            assert_eq!(
                lock::set(fd.as_raw_fd(), command, with_pid),
                if of_open { EINVAL } else { FINE }
            );
            lock::set(fd.as_raw_fd(), F_SETLK, Record::all(NONE)).unwrap();
            lock::set(fd.as_raw_fd(), F_OFD_SETLK, Record::all(NONE)).unwrap();
        }
    });
}

/// By semantics 4.1: a read lock needs a descriptor that reads, a write lock one that writes; after all that is wrong with the record.
#[test]
fn descriptors_must_fit() {
    both(|dir| {
        dir.file("f", b"", 0o666);
        let open = |flags| dir.open("f", flags, 0).unwrap();
        let (reads, writes, path) = (open(OFlags::RDONLY), open(OFlags::WRONLY), open(OFlags::PATH));
        for command in ALL {
            let gets = matches!(command, F_GETLK | F_OFD_GETLK);
            let refused = if gets { FINE } else { EBADF };
            for (fd, fits, not) in [(&reads, READ, WRITE), (&writes, WRITE, READ)] {
                let fd = fd.as_raw_fd();
                assert_eq!(lock::set(fd, command, Record::all(not)), refused);
                assert_eq!(lock::set(fd, command, record(not, 9, 0, 0)), EINVAL);
                assert_eq!(lock::set(fd, command, record(not, 0, 2, i64::MAX)), EOVERFLOW);
                assert_eq!(lock::set(fd, command, Record::all(fits)), FINE);
                if command != F_GETLK {
                    assert_eq!(lock::set(fd, command, Record::all(NONE)), FINE);
                }
            }
            assert_eq!(lock::set(path.as_raw_fd(), command, Record::all(READ)), EBADF);
        }
        assert_eq!(lock::flock(path.as_raw_fd(), lock::LOCK_SH), EBADF);
        assert_eq!(
            lock::flock(reads.as_raw_fd(), lock::LOCK_EX),
            FINE,
            "flock(2) does not care"
        );
        assert_eq!(lock::flock(reads.as_raw_fd(), 3), EINVAL);
        assert_eq!(lock::flock(reads.as_raw_fd(), 0), EINVAL);
    });
}

/// lockf(3) from the position of the descriptor, by a process that is this one: `other` has locked 10 to 19.
fn lockf(dir: &Dir, other: &mut Crew) {
    let fd = dir.open("0", OFlags::RDWR, 0).unwrap();
    let fd = fd.as_raw_fd();
    let (f_ulock, f_lock, f_tlock, f_test) = (0, 1, 2, 3);
    has(other, 0, Record::new(WRITE, 10, 10));
    lock::seek(fd, 5).unwrap();
    assert_eq!(lock::lockf(fd, f_test, 5), FINE);
    assert_eq!(lock::lockf(fd, f_test, 6), Err(Errno::ACCESS));
    assert_eq!(lock::lockf(fd, f_test, 0), Err(Errno::ACCESS));
    assert_eq!(lock::lockf(fd, f_tlock, 6), Err(Errno::AGAIN));
    assert_eq!(lock::lockf(fd, f_tlock, 5), FINE);
    assert_eq!(lock::lockf(fd, f_lock, -5), FINE);
    assert_eq!(lock::lockf(fd, f_test, -5), FINE, "one's own");
    assert_eq!(lock::lockf(fd, f_tlock, -6), EINVAL);
    assert_eq!(lock::lockf(fd, 4, 1), EINVAL);
    assert_eq!(other.one(0, at(F_SETLK, Record::new(WRITE, 9, 1))).result, EAGAIN);
    assert_eq!(
        tests(other, 0, F_GETLK, Record::new(READ, 4, 1)).len,
        10,
        "0 to 9, in one"
    );
    assert_eq!(lock::lockf(fd, f_ulock, 0), FINE);
    has(other, 0, Record::new(WRITE, 5, 5));
    assert_eq!(other.one(0, at(F_SETLK, Record::new(WRITE, 4, 1))).result, EAGAIN);
    lock::seek(fd, 0).unwrap();
    assert_eq!(lock::lockf(fd, f_ulock, 5), FINE);
    has(other, 0, Record::all(WRITE));
    lock::seek(fd, 3).unwrap();
    assert_eq!(lock::lockf(fd, f_test, 1), Err(Errno::ACCESS));
    has(other, 0, Record::all(NONE));
}

/// By semantics 4.1: lockf(3) is made of record locks.
#[test]
fn lockf_works() {
    each("mode=0777", |mount| {
        let (mut crew, _) = start(mount, 1, 1);
        lockf(mount.dir(), &mut crew);
        assert_eq!(crew.one(0, open(1, 1)).result, DONE);
    });
}
