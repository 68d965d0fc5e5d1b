//! Every way for bytes to come and go besides read and write: splice, sendfile, copies, io_uring, mappings, programs.

use nix::mount::{MsFlags, mount};
use rustix::fs::{OFlags, copy_file_range, ftruncate, sendfile};
use rustix::io::{Errno, pwrite, write};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::pipe::{SpliceFlags, pipe, splice};
use std::process::Command;

use super::{PATIENCE, all, attributes, fast};
use crate::common::dir::{pread, write_all};
use crate::common::map::Map;
use crate::common::uring::{self, By};
use crate::common::{Dir, wait_until};

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 7 + i / 251 + seed) % 253) as u8).collect()
}

/// By semantics 1.1: sendfile(2), splice(2) and copy_file_range(2) between two files, a file and a pipe, and within one file.
#[test]
fn by_the_kernel_alone() {
    all("mode=0777", |mount| {
        let dir = mount.dir();
        let bytes = pattern(3_000_000, 1);
        let from = dir.create("from");
        write_all(&from, &bytes);
        type Way = fn(&rustix::fd::OwnedFd, &rustix::fd::OwnedFd, u64, usize) -> Result<usize, Errno>;
        let ways: [(&str, Way); 3] = [
            ("sendfile", |from, to, at, len| {
                rustix::fs::seek(to, rustix::fs::SeekFrom::Start(at)).unwrap();
                sendfile(to, from, Some(&mut { at }), len)
            }),
            ("copy_file_range", |from, to, at, len| {
                copy_file_range(from, Some(&mut { at }), to, Some(&mut { at }), len)
            }),
            ("splice", |from, to, at, len| {
                let (reader, writer) = pipe().unwrap();
                let flags = SpliceFlags::empty();
                let count = splice(from, Some(&mut { at }), &writer, None, len.min(65_536), flags)?;
                let mut done = 0;
                while done < count {
                    let mut to_at = at + done as u64;
                    done += splice(&reader, None, to, Some(&mut to_at), count - done, flags)?;
                }
                Ok(done)
            }),
        ];
        for (name, way) in ways {
            let to = dir.create(name);
            let mut done = 0;
            while done < bytes.len() {
                done += way(&from, &to, done as u64, bytes.len() - done).unwrap();
            }
            assert!(dir.read(name).unwrap() == bytes, "{name}");
            let attr = attributes(&to);
            assert_eq!((attr.size, attr.blocks), (3_000_000, 733 * 8), "{name}");
        }
        let (mut i, mut o) = (0, 3_000_000);
        assert_eq!(
            copy_file_range(&from, Some(&mut i), &from, Some(&mut o), 1000),
            Ok(1000)
        );
        assert!(dir.read("from").unwrap()[3_000_000..] == bytes[..1000]);
    });
}

/// By semantics 1.1: reads and writes of io_uring, done by the submitter and by workers of the kernel, many at a time.
#[test]
fn by_io_uring() {
    all("mode=0777", |mount| {
        let dir = mount.dir();
        for by in [By::Submitter, By::Worker, By::Poller] {
            let name = format!("{by:?}");
            let fd = dir.create(&name);
            let bytes = pattern(100_000, 3);
            assert_eq!(uring::write_at(by, &fd, &bytes, 5000), Ok(100_000));
            assert_eq!(attributes(&fd).size, 105_000);
            assert!(uring::read_at(by, &fd, 200_000, 5000).unwrap() == bytes);
            assert!(pread(&fd, 200_000, 5000).unwrap() == bytes);
            let append = dir.open(&name, OFlags::WRONLY | OFlags::APPEND, 0).unwrap();
            assert_eq!(uring::write_at(by, &append, b"end", 0), Ok(3));
            assert_eq!(pread(&fd, 10, 105_000).unwrap(), b"end");
            let reader = dir.open(&name, OFlags::RDONLY, 0).unwrap();
            assert_eq!(uring::write_at(by, &reader, b"x", 0), Err(Errno::BADF));
            let pieces: Vec<Vec<u8>> = (0..64).map(|i| pattern(4000, i)).collect();
            uring::write_many(by, &fd, &pieces, 200_000);
            for (i, piece) in pieces.iter().enumerate() {
                assert!(pread(&fd, 4000, 200_000 + 4000 * i as u64).unwrap() == *piece);
            }
        }
    });
}

const PROGRAM: &[u8] = b"#!/bin/sh\nexit 7\n";

fn run(dir: &Dir, name: &str) -> Result<i32, Errno> {
    let status = Command::new(dir.path(name)).status();
    let status = status.map_err(|error| Errno::from_io_error(&error).unwrap())?;
    Ok(status.code().unwrap_or(-1))
}

/// By semantics 1.1: a program runs right after it was written; while somebody has it open for writing it does not (ETXTBSY), and
/// while it runs nobody opens it for writing.
#[test]
fn a_program_just_written() {
    all("mode=0777", |mount| {
        let dir = mount.dir();
        let sleep = std::fs::read("/bin/sleep").unwrap();
        for round in 0..20 {
            let name = format!("sleep{round}");
            let fd = dir.create(&name);
            write_all(&fd, &sleep);
            dir.chmod(&name, 0o755).unwrap();
            assert_eq!(run(dir, &name), Err(Errno::TXTBSY));
            drop(fd);
            // A fork elsewhere in this process may hold the descriptor for a moment.
            let mut child = loop {
                match Command::new(dir.path(&name)).arg("60").spawn() {
                    Err(error) if error.raw_os_error() == Some(Errno::TXTBSY.raw_os_error()) => {
                        std::thread::yield_now();
                    }
                    child => break child.unwrap(),
                }
            };
            assert_eq!(dir.open(&name, OFlags::WRONLY, 0).unwrap_err(), Errno::TXTBSY);
            assert_eq!(dir.truncate(&name, 0).unwrap_err(), Errno::TXTBSY);
            assert!(dir.read(&name).unwrap() == sleep);
            child.kill().unwrap();
            child.wait().unwrap();
            drop(dir.open(&name, OFlags::WRONLY | OFlags::TRUNC, 0).unwrap());
        }
        dir.file("script", PROGRAM, 0o755);
        let ran = loop {
            match run(dir, "script") {
                Err(Errno::TXTBSY) => std::thread::yield_now(),
                ran => break ran,
            }
        };
        assert_eq!(ran, Ok(7));
    });
}

/// By semantics 1.1: a program that somebody has mapped for writing does not run. docs/semantics.md, "The executable that a process maps
/// for writing": with passthrough it does, when the descriptor is closed.
#[test]
fn a_program_mapped_for_writing() {
    all("mode=0777", |mount| {
        let dir = mount.dir();
        dir.file("script", PROGRAM, 0o755);
        let fd = dir.open("script", OFlags::RDWR, 0).unwrap();
        let map = Map::shared(&fd, PROGRAM.len()).unwrap();
        assert_eq!(run(dir, "script"), Err(Errno::TXTBSY));
        drop(fd);
        if mount.passthrough() {
            wait_until("it runs", PATIENCE, || run(dir, "script") == Ok(7));
        } else {
            assert_eq!(run(dir, "script"), Err(Errno::TXTBSY));
        }
        drop(map);
        wait_until("it runs", PATIENCE, || run(dir, "script") == Ok(7));
    });
}

/// By semantics 1.1: on a mount with `noexec` nothing is mapped to be executed, nor made executable later.
#[test]
fn no_execution_where_noexec() {
    all("mode=0777,noexec", |mount| {
        let dir = mount.dir();
        dir.file("script", PROGRAM, 0o755);
        assert_eq!(run(dir, "script"), Err(Errno::ACCESS));
        let fd = dir.open("script", OFlags::RDWR, 0).unwrap();
        let exec = ProtFlags::READ | ProtFlags::EXEC;
        for flags in [MapFlags::SHARED, MapFlags::PRIVATE] {
            assert_eq!(Map::with(&fd, 10, exec, flags).map(drop), Err(Errno::PERM));
            let map = Map::with(&fd, 10, ProtFlags::READ, flags).unwrap();
            assert_eq!(map.protect(exec), Err(Errno::ACCESS));
        }
    });
    all("mode=0777", |mount| {
        let dir = mount.dir();
        dir.file("script", PROGRAM, 0o755);
        let fd = dir.open("script", OFlags::RDONLY, 0).unwrap();
        let map = Map::with(&fd, 10, ProtFlags::READ | ProtFlags::EXEC, MapFlags::SHARED).unwrap();
        assert_eq!(map.protect(ProtFlags::READ | ProtFlags::WRITE), Err(Errno::ACCESS));
        assert_eq!(map.get(0, 3), b"#!/");
    });
}

fn remount(dir: &Dir, flags: MsFlags) -> Result<(), nix::errno::Errno> {
    let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(None::<&str>, &dir.path(""), None::<&str>, flags, None::<&str>)
}

/// By semantics 1.1: a filesystem is made read-only when nobody has a file open, or mapped, for writing, and then nothing is
/// written.
#[test]
fn read_only_remounts() {
    all("mode=0777", |mount| {
        let dir = mount.dir();
        dir.file("f", b"before", 0o644);
        let fd = dir.open("f", OFlags::RDWR, 0).unwrap();
        let reader = dir.open("f", OFlags::RDONLY, 0).unwrap();
        assert_eq!(remount(dir, MsFlags::MS_RDONLY), Err(nix::errno::Errno::EBUSY));
        assert_eq!(write(&fd, b"during"), Ok(6));
        drop(fd);
        let until_ok = |flags| {
            wait_until("it is remounted", PATIENCE, || remount(dir, flags).is_ok());
        };
        until_ok(MsFlags::MS_RDONLY);
        assert_eq!(dir.open("f", OFlags::RDWR, 0).unwrap_err(), Errno::ROFS);
        assert_eq!(dir.truncate("f", 0).unwrap_err(), Errno::ROFS);
        assert_eq!(pread(&reader, 10, 0).unwrap(), b"during");
        assert_eq!(Map::shared_read(&reader, 6).unwrap().get(0, 6), b"during");
        assert_eq!(Map::shared(&reader, 6).map(drop), Err(Errno::ACCESS));
        until_ok(MsFlags::empty());
        let fd = dir.open("f", OFlags::RDWR, 0).unwrap();
        let map = Map::shared(&fd, 6).unwrap();
        drop(fd);
        assert_eq!(
            remount(dir, MsFlags::MS_RDONLY),
            Err(nix::errno::Errno::EBUSY),
            "a mapping to write"
        );
        map.put(0, b"D");
        assert_eq!(dir.read("f").unwrap(), b"During");
        drop(map);
        until_ok(MsFlags::empty());
    });
}

/// By semantics 1.1: a mapping outlives descriptor, name, truncation and growth as on tmpfs; what is beyond the end is not there.
#[test]
fn mappings_of_what_changes() {
    fast("mode=0777", |mount| {
        let dir = mount.dir();
        let fd = dir.create("f");
        let map = Map::shared(&fd, 20_000).unwrap();
        assert_eq!(map.peek(0), None, "nothing is there yet");
        pwrite(&fd, &[7; 5000], 0).unwrap();
        assert_eq!(
            (map.peek(0), map.peek(4999), map.peek(5000)),
            (Some(7), Some(7), Some(0))
        );
        assert_eq!(map.peek(8192), None);
        ftruncate(&fd, 100).unwrap();
        assert_eq!((map.peek(99), map.peek(100), map.peek(4096)), (Some(7), Some(0), None));
        ftruncate(&fd, 20_000).unwrap();
        assert_eq!((map.peek(4999), map.peek(19_999)), (Some(0), Some(0)));
        let other = dir.open("f", OFlags::RDWR | OFlags::TRUNC, 0).unwrap();
        assert_eq!(map.peek(0), None);
        drop((fd, other));
        dir.truncate("f", 4096).unwrap();
        map.put(10, b"late");
        assert_eq!(dir.read("f").unwrap()[10..14], *b"late");
        dir.unlink("f").unwrap();
        assert_eq!(map.get(10, 4), b"late");
    });
}
