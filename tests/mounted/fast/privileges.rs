//! Set-id bits and file capabilities end when somebody writes who may not keep them, whenever they were set, and not by a store
//! through a mapping: what tmpfs does is told first.

use rustix::fd::OwnedFd;
use rustix::fs::{FallocateFlags, Mode, OFlags, copy_file_range, fallocate, fchmod, fstat, ftruncate, sendfile};
use rustix::io::{pwrite, write};
use rustix::pipe::{SpliceFlags, pipe, splice};

use super::{all, punch, same_story};
use crate::common::identity::{ALICE, CAROL, Identity, ROOT};
use crate::common::map::Map;
use crate::common::uring::{self, By};
use crate::common::{Dir, as_user, xattr};

/// Version 2, effective, CAP_NET_RAW.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A way to change contents through an open descriptor.
type Way = fn(&Dir, &OwnedFd);

const WAYS: [(&str, Way); 14] = [
    ("pwrite", |_, fd| assert_eq!(pwrite(fd, b"x", 0), Ok(1))),
    ("append", |dir, _| {
        let fd = dir.open("f", OFlags::WRONLY | OFlags::APPEND, 0).unwrap();
        assert_eq!(write(&fd, b"x"), Ok(1));
    }),
    ("write of nothing", |_, fd| assert_eq!(pwrite(fd, b"", 0), Ok(0))),
    ("read", |_, fd| assert!(rustix::io::pread(fd, &mut [0; 5], 0).is_ok())),
    ("store", |_, fd| Map::shared(fd, 10).unwrap().put(0, b"y")),
    ("ftruncate", |_, fd| ftruncate(fd, 5000).unwrap()),
    ("truncate", |dir, _| dir.truncate("f", 6000).unwrap()),
    ("fallocate", |_, fd| {
        fallocate(fd, FallocateFlags::empty(), 0, 9000).unwrap()
    }),
    ("hole", |_, fd| punch(fd, 0, 4096)),
    ("copy_file_range", |dir, fd| {
        let from = dir.open("source", OFlags::RDONLY, 0).unwrap();
        assert_eq!(copy_file_range(&from, Some(&mut 0), fd, Some(&mut 0), 5), Ok(5));
    }),
    ("sendfile", |dir, fd| {
        let from = dir.open("source", OFlags::RDONLY, 0).unwrap();
        assert_eq!(sendfile(fd, &from, Some(&mut 0), 5), Ok(5));
    }),
    ("splice", |_, fd| {
        let (reader, writer) = pipe().unwrap();
        assert_eq!(write(&writer, b"words"), Ok(5));
        let done = splice(&reader, None, fd, Some(&mut 0), 5, SpliceFlags::empty());
        assert_eq!(done, Ok(5));
    }),
    ("io_uring", |_, fd| {
        assert_eq!(uring::write_at(By::Worker, fd, b"ring", 0), Ok(4))
    }),
    ("O_TRUNC", |dir, _| {
        drop(dir.open("f", OFlags::WRONLY | OFlags::TRUNC, 0).unwrap())
    }),
];

fn state(dir: &Dir, fd: &OwnedFd) -> String {
    let capability = xattr::get(&dir.path("f"), "security.capability");
    format!(
        "{:o} {:?}",
        fstat(fd).unwrap().st_mode & 0o7777,
        capability.map(|it| it.len())
    )
}

fn changed_by(who: Identity, dir: &Dir) -> Vec<String> {
    dir.file("source", b"words", 0o644);
    dir.file("f", b"contents", 0o666);
    let fd = as_user(who, || dir.open("f", OFlags::RDWR, 0).unwrap());
    let mut told = vec![];
    for (name, way) in WAYS {
        // With group execution, so that set-group-id is not the mark of mandatory locking (semantics 5.8).
        for mode in [0o6777, 0o4666, 0o2777, 0o666] {
            for capable in [false, true] {
                // Set after the file was opened, and after earlier writes through the descriptor.
                fchmod(&fd, Mode::from_raw_mode(mode)).unwrap();
                if capable {
                    xattr::set(&dir.path("f"), "security.capability", &CAPABILITY).unwrap();
                } else {
                    let _ = xattr::remove(&dir.path("f"), "security.capability");
                }
                as_user(who, || way(dir, &fd));
                let first = state(dir, &fd);
                as_user(who, || way(dir, &fd));
                told.push(format!("{name} {mode:o} {capable}: {first}, {}", state(dir, &fd)));
            }
        }
    }
    told
}

/// By semantics 1.1: a user who may write the file, its owner, and root.
#[test]
fn end_as_on_tmpfs() {
    for who in [CAROL, ROOT] {
        same_story("mode=0777", |dir| changed_by(who, dir));
    }
    same_story("mode=0777", |dir| {
        let mut told = vec![];
        let fd = as_user(ALICE, || dir.create("f"));
        for mode in [0o6755, 0o4755] {
            fchmod(&fd, Mode::from_raw_mode(mode)).unwrap();
            as_user(ALICE, || assert_eq!(pwrite(&fd, b"x", 0), Ok(1)));
            told.push(format!("{:o}", dir.mode("f")));
        }
        told
    });
}

/// By semantics 1.1: they end with the first write after they were set, however often a stranger has written before, when nothing
/// was at stake.
#[test]
fn never_survive_a_write() {
    all("mode=0777", |mount| {
        let dir = mount.dir();
        dir.file("f", b"contents", 0o777);
        let fd = as_user(CAROL, || dir.open("f", OFlags::WRONLY, 0).unwrap());
        for _ in 0..300 {
            dir.chmod("f", 0o6777).unwrap();
            as_user(CAROL, || assert_eq!(pwrite(&fd, b"x", 0), Ok(1)));
            assert_eq!(dir.mode("f"), 0o777);
        }
    });
}
