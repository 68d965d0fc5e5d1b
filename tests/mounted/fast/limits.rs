//! Limits of the mount and of the caller where the kernel works alone: ENOSPC, short counts, SIGBUS, SIGXFSZ, statfs(2).

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use rustix::fs::{FallocateFlags, OFlags, fallocate, fstat, ftruncate, statfs};
use rustix::io::{Errno, IoSlice, pwrite, pwritev, write};
use std::os::unix::process::ExitStatusExt;

use super::worker;
use super::{PATIENCE, fast, punch, same_story};
use crate::common::map::Map;
use crate::common::mount::tmpfs_plays_owltmp;
use crate::common::uring::{self, By};
use crate::common::{Dir, Mount, raw, wait_until};

const MIB: usize = 1 << 20;

fn free(dir: &Dir) -> u64 {
    statfs(dir.path("")).unwrap().f_bfree
}

/// Fills a file until nothing fits; the counts of all writes, and the errno at the end.
fn fill(dir: &Dir, name: &str, flags: OFlags, at_once: usize) -> String {
    let fd = dir.open(name, flags | OFlags::CREATE | OFlags::RDWR, 0o644).unwrap();
    let block = vec![b'f'; at_once];
    let mut total = 0;
    let mut short = vec![];
    let error = loop {
        match write(&fd, &block) {
            Ok(count) => {
                total += count;
                if count < at_once {
                    short.push(count);
                }
            }
            Err(error) => break error,
        }
    };
    let size = fstat(&fd).unwrap().st_size;
    format!(
        "{name}: {total} bytes, short {short:?}, {error:?}, size {size}, free {}",
        free(dir)
    )
}

/// By semantics 1.5: the last byte that fits is taken, no more, whatever the size of the writes and the way they come.
#[test]
fn a_write_is_cut_where_tmpfs_cuts_it() {
    same_story("mode=0777,size=1000k", |dir| {
        let mut told = vec![];
        for (at_once, flags) in [
            (1000, OFlags::empty()),
            (4096, OFlags::empty()),
            (70_000, OFlags::APPEND),
            (70_001, OFlags::DIRECT),
            (3 * MIB, OFlags::empty()),
            (3 * MIB, OFlags::APPEND | OFlags::DIRECT),
        ] {
            told.push(fill(dir, "f", flags, at_once));
            let fd = dir.open("f", OFlags::RDWR, 0).unwrap();
            told.push(format!("{:?}", pwrite(&fd, &vec![1; 2 * MIB], 500_000)));
            told.push(format!("{:?}", pwrite(&fd, b"x", 5 << 20)));
            let halves = [IoSlice::new(&[2; 8000]), IoSlice::new(&[3; 8000])];
            told.push(format!("{:?}", pwritev(&fd, &halves, 1_020_000)));
            told.push(format!("{:?}", uring::write_at(By::Worker, &fd, &[4; 9000], 1_020_000)));
            told.push(format!("{:?}", fallocate(&fd, FallocateFlags::empty(), 0, 2 << 20)));
            told.push(format!("{:?}", fstat(&fd).unwrap().st_size));
            punch(&fd, 8192, 8192);
            told.push(format!("{:?} {}", pwrite(&fd, &[5; 20_000], 2 << 20), free(dir)));
            drop(fd);
            dir.unlink("f").unwrap();
            wait_until("all is free", PATIENCE, || free(dir) == 250);
        }
        told
    });
}

/// By semantics 1.5: statfs(2) counts every page as tmpfs does, at once.
#[test]
fn figures_are_those_of_tmpfs() {
    same_story("mode=0777,size=3m,nr_inodes=50", |dir| {
        let mut told = vec![];
        let mut tell = |what: &str| {
            let s = statfs(dir.path("")).unwrap();
            told.push(format!(
                "{what}: {} {} {} {} {}",
                s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree
            ));
        };
        tell("nothing");
        let fd = dir.create("f");
        tell("an empty file");
        pwrite(&fd, b"x", 0).unwrap();
        tell("a byte");
        pwrite(&fd, &vec![1; MIB], 4096).unwrap();
        tell("1 MiB");
        ftruncate(&fd, 2 << 20).unwrap();
        let map = Map::shared(&fd, 2 << 20).unwrap();
        tell("a mapping");
        for page in [1 << 20, (2 << 20) - 1, (1 << 20) + 50_000] {
            map.put(page, b"y");
            tell("a store");
        }
        assert_eq!(map.get((1 << 20) + 200_000, 1), [0]);
        tell("a read of a hole through the mapping");
        punch(&fd, 0, 40_960);
        tell("a hole");
        fallocate(&fd, FallocateFlags::KEEP_SIZE, 2 << 20, 8192).unwrap();
        tell("allocated");
        dir.symlink(&"s".repeat(3000), "long").unwrap();
        tell("a long symlink");
        dir.symlink("short", "short").unwrap();
        dir.mkdir("d", 0o755).unwrap();
        tell("small things");
        ftruncate(&fd, 5000).unwrap();
        tell("cut");
        drop((fd, map));
        tell("closed");
        told
    });
}

/// By semantics 1.5: the targets of long symlinks and contents share the space, whichever comes first.
#[test]
fn long_symlinks_share_the_space() {
    same_story("mode=0777,size=400k,nr_inodes=1000", |dir| {
        let mut told = vec![];
        let target = "t".repeat(2000);
        for i in 0..40 {
            dir.symlink(&target, &format!("l{i}")).unwrap();
        }
        told.push(fill(dir, "f", OFlags::empty(), 5000));
        told.push(format!("{:?}", dir.symlink(&target, "more")));
        for i in 0..10 {
            dir.unlink(&format!("l{i}")).unwrap();
        }
        wait_until("ten are free", PATIENCE, || free(dir) == 10);
        told.push(fill(dir, "f", OFlags::APPEND, 5000));
        dir.truncate("f", 4096).unwrap();
        let fit = (0..200)
            .take_while(|i| dir.symlink(&target, &format!("m{i}")).is_ok())
            .count();
        told.push(format!("{fit} {}", free(dir)));
        told
    });
}

/// A part: stores to every page of a file as long as it goes.
pub fn store_part(arguments: &[&str]) {
    let fd = std::fs::File::options()
        .read(true)
        .write(true)
        .open(arguments[0])
        .unwrap();
    let len = usize::try_from(fd.metadata().unwrap().len()).unwrap();
    let map = Map::shared(&fd, len).unwrap();
    for page in 0..len / 4096 {
        map.put(page * 4096, b"data");
    }
}

/// By semantics 1.5: a store that finds no room is SIGBUS, as on tmpfs, and all that fitted is there.
#[test]
fn a_store_without_room_is_sigbus() {
    fast("mode=0777,size=300k", |mount| {
        let dir = mount.dir();
        ftruncate(dir.create("m"), MIB as u64).unwrap();
        let status = worker::start("store", &["m"], &dir.path("")).wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGBUS as i32), "{status:?}");
        assert_eq!((free(dir), dir.stat("m").unwrap().st_blocks), (0, 600));
        let bytes = dir.read("m").unwrap();
        assert_eq!((bytes.len(), &bytes[74 * 4096..74 * 4096 + 4]), (MIB, &b"data"[..]));
        dir.truncate("m", 0).unwrap();
        ftruncate(dir.open("m", OFlags::RDWR, 0).unwrap(), 300 << 10).unwrap();
        let status = worker::start("store", &["m"], &dir.path("")).wait().unwrap();
        assert!(status.success());
    });
}

/// A part: writes, appends, allocates or grows past its own limit of 10,000 bytes to a file.
pub fn write_part(arguments: &[&str]) {
    let [name, way, handling] = arguments else { panic!() };
    setrlimit(Resource::RLIMIT_FSIZE, 10_000, 10_000).unwrap();
    if *handling == "ignored" {
        raw::ignore(Signal::SIGXFSZ as i32);
    }
    let fd = std::fs::File::options()
        .read(true)
        .write(true)
        .append(*way == "append")
        .open(name)
        .unwrap();
    let grow = |offset: u64| match *way {
        "pwrite" => pwrite(&fd, &[1; 6000], offset),
        "append" => write(&fd, &[1; 6000]),
        "io_uring" => uring::write_at(By::Submitter, &fd, &[1; 6000], offset),
        "ftruncate" => ftruncate(&fd, offset + 6000).map(|()| 6000),
        "fallocate" => fallocate(&fd, FallocateFlags::empty(), offset, 6000).map(|()| 6000),
        other => panic!("{other}"),
    };
    assert_eq!(grow(0), Ok(6000));
    if !matches!(*way, "ftruncate" | "fallocate") {
        assert_eq!(grow(6000), Ok(4000));
    }
    assert_eq!(grow(10_000), Err(Errno::FBIG));
}

/// By semantics 1.1: the caller's own limit on the size of files holds where the kernel writes alone.
#[test]
fn of_the_caller() {
    fast("mode=0777", |mount| {
        let dir = mount.dir();
        for way in ["pwrite", "append", "io_uring", "ftruncate", "fallocate"] {
            for handling in ["ignored", "fatal"] {
                drop(dir.create("f"));
                let status = worker::start("write", &["f", way, handling], &dir.path(""))
                    .wait()
                    .unwrap();
                let size = dir.stat("f").unwrap().st_size;
                match handling {
                    // The signal goes to whichever thread of the kernel's did it.
                    "fatal" if way == "io_uring" => assert!(status.success(), "{status:?}"),
                    "fatal" => assert_eq!(status.signal(), Some(Signal::SIGXFSZ as i32), "{way}: {status:?}"),
                    _ => assert!(status.success(), "{way}: {status:?}"),
                }
                let fits = if matches!(way, "ftruncate" | "fallocate") {
                    6000
                } else {
                    10_000
                };
                assert_eq!(size, fits, "{way}");
                dir.unlink("f").unwrap();
            }
        }
    });
}

/// By semantics 1.5, 6.3: a mount of one page, and one in which not even a page is free, work.
#[test]
fn of_a_page() {
    fast("mode=0777,size=4k", |mount| {
        let dir = mount.dir();
        assert_eq!(free(dir), 1);
        let fd = dir.create("f");
        assert_eq!(pwrite(&fd, &[1; 5000], 0), Ok(4096));
        assert_eq!((free(dir), pwrite(&fd, b"x", 4096)), (0, Err(Errno::NOSPC)));
        assert_eq!(dir.symlink(&"l".repeat(2000), "l").unwrap_err(), Errno::NOSPC);
        drop(dir.create("empty"));
    });
    if !tmpfs_plays_owltmp() {
        // docs/semantics.md: the last page is for contents.
        let mount = Mount::owltmp("mode=0777,size=4k,io=passthrough");
        assert_eq!(mount.dir().symlink(&"l".repeat(2000), "l"), Err(Errno::NOSPC));
    }
}
