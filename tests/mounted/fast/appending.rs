//! The flags of an open file: O_APPEND of many, set and cleared while it is open, RWF_ flags, O_DIRECT.

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, openat};
use rustix::io::{Errno, IoSlice, IoSliceMut, ReadWriteFlags, preadv2, pwrite, pwritev2, read, write};
use std::collections::HashMap;

use super::{all, same_story};
use crate::common::dir::pread;
use crate::common::identity::ROOT;
use crate::common::{Dir, as_user, env_number};

/// By semantics 1.1: what many append at once is all there, each piece whole.
#[test]
fn loses_nothing() {
    let pieces = env_number("OWLTMP_FAST_ROUNDS", 3000);
    all("mode=0777", |mount| {
        let dir = mount.dir();
        drop(dir.create("log"));
        std::thread::scope(|scope| {
            for writer in 0..4_u64 {
                scope.spawn(move || {
                    let flags = OFlags::WRONLY | OFlags::APPEND;
                    let mut fd = dir.open("log", flags, 0).unwrap();
                    for piece in 0..pieces {
                        if piece % 50 == 0 {
                            fd = dir.open("log", flags, 0).unwrap();
                        }
                        let line = format!("{writer} {piece:06}\n");
                        assert_eq!(write(&fd, line.as_bytes()), Ok(line.len()));
                    }
                });
            }
        });
        let bytes = dir.read("log").unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let mut next = HashMap::new();
        for line in text.lines() {
            let (writer, piece) = line.split_once(' ').unwrap();
            let expected = next.entry(writer.to_owned()).or_insert(0);
            assert_eq!(piece.parse::<u64>().unwrap(), *expected);
            *expected += 1;
        }
        assert_eq!(next.len(), 4);
        assert!(next.values().all(|&count| count == pieces));
    });
}

fn set(fd: &rustix::fd::OwnedFd, flags: OFlags) {
    fcntl_setfl(fd, flags).unwrap();
    let got = fcntl_getfl(fd).unwrap();
    assert_eq!(got & (OFlags::APPEND | OFlags::DIRECT | OFlags::NONBLOCK), flags);
}

/// By semantics 1.1: O_APPEND set by fcntl(2), and cleared again, counts from the next write on.
#[test]
fn is_set_and_cleared_while_open() {
    same_story("mode=0777", |dir| {
        dir.file("f", b"0123456789", 0o644);
        let fd = dir.open("f", OFlags::RDWR, 0).unwrap();
        let mut told = vec![];
        for (flags, byte) in [
            (OFlags::empty(), b"a"),
            (OFlags::APPEND, b"b"),
            (OFlags::empty(), b"c"),
            (OFlags::APPEND | OFlags::DIRECT, b"d"),
            (OFlags::NONBLOCK, b"e"),
        ] {
            set(&fd, flags);
            assert_eq!(pwrite(&fd, byte, 0), Ok(1));
            told.push(String::from_utf8(dir.read("f").unwrap()).unwrap());
        }
        told
    });
}

/// docs/semantics.md, "O_APPEND or O_NOATIME of open(2), cleared by fcntl(2)": with passthrough the kernel keeps to it, and a
/// descriptor that was opened without it is as on tmpfs (above).
#[test]
fn of_open_stays_with_passthrough() {
    all("mode=0777", |mount| {
        let dir = mount.dir();
        dir.file("f", b"0123456789", 0o644);
        let fd = dir.open("f", OFlags::WRONLY | OFlags::APPEND, 0).unwrap();
        set(&fd, OFlags::empty());
        assert_eq!(pwrite(&fd, b"x", 0), Ok(1));
        let expected: &[u8] = if mount.passthrough() {
            b"0123456789x"
        } else {
            b"x123456789"
        };
        assert_eq!(dir.read("f").unwrap(), expected);
    });
}

/// By semantics 1.1: the flags of preadv2(2) and pwritev2(2).
#[test]
fn flags_of_one_transfer() {
    same_story("mode=0777", |dir| {
        let fd = dir.create("f");
        let mut told = vec![];
        let flags = [
            ("none", ReadWriteFlags::empty()),
            ("append", ReadWriteFlags::APPEND),
            ("nowait", ReadWriteFlags::NOWAIT),
            ("dsync", ReadWriteFlags::DSYNC),
            ("sync", ReadWriteFlags::SYNC),
            ("hipri", ReadWriteFlags::HIPRI),
            ("dontcache", ReadWriteFlags::from_bits_retain(0x80)),
            ("noappend", ReadWriteFlags::from_bits_retain(0x20)),
            ("unknown", ReadWriteFlags::from_bits_retain(0x4000_0000)),
        ];
        for (name, flag) in flags {
            let wrote = pwritev2(&fd, &[IoSlice::new(b"ab"), IoSlice::new(b"cde")], 2, flag);
            let mut bytes = [0; 4];
            let count = preadv2(&fd, &mut [IoSliceMut::new(&mut bytes)], 1, flag);
            let contents = dir.read("f").unwrap();
            told.push(format!("{name}: {wrote:?} {count:?} {bytes:?} {contents:?}"));
        }
        told
    });
}

/// By semantics 1.1: O_DIRECT transfers any bytes at any offset, as on tmpfs, which keeps it for a hint.
#[test]
fn direct_transfers() {
    same_story("mode=0777", |dir| {
        let fd = dir
            .open("f", OFlags::CREATE | OFlags::RDWR | OFlags::DIRECT, 0o644)
            .unwrap();
        let mut told = vec![];
        for (offset, len) in [(0, 4096), (4096, 4096), (3, 5), (8191, 10_000), (100_000, 1)] {
            let bytes = vec![b'a' + (len % 26) as u8; len];
            told.push(format!("{:?}", pwrite(&fd, &bytes, offset)));
            told.push(format!(
                "{:?}",
                pread(&fd, len + 3, offset).map(|got| got == bytes || got.len() > len)
            ));
        }
        let other = dir
            .open("f", OFlags::RDWR | OFlags::APPEND | OFlags::DIRECT, 0)
            .unwrap();
        told.push(format!("{:?}", write(&other, &[9; 77])));
        told.push(format!("{:?}", fstat(&fd).unwrap().st_size));
        told.push(format!("{:?}", dir.read("f").unwrap().len()));
        told
    });
}

fn nonblocking(dir: &Dir) -> Vec<String> {
    dir.file("f", b"words", 0o644);
    let fd = openat(
        dir.fd(),
        "f",
        OFlags::RDWR | OFlags::NONBLOCK | OFlags::SYNC,
        Mode::empty(),
    )
    .unwrap();
    let mut bytes = [0; 9];
    let reader: Result<usize, Errno> = read(&fd, &mut bytes);
    vec![format!("{reader:?} {bytes:?} {:?}", write(&fd, b"more"))]
}

/// By semantics 1.1: other flags of open(2) change nothing.
#[test]
fn flags_without_meaning() {
    same_story("mode=0777", |dir| as_user(ROOT, || nonblocking(dir)));
}
