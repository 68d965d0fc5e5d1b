//! The times of a file after everything that moves them, or must not: a story of which of them moved, which tmpfs tells first.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FallocateFlags, Mode, OFlags, StatxFlags, copy_file_range, fallocate, fchmod, fstat, ftruncate, statx,
};
use rustix::io::{pwrite, read, write};

use super::{attributes, fast, path_only, punch, same_story, tick};
use crate::common::call::{Attr, Call};
use crate::common::dir::pread;
use crate::common::identity::ROOT;
use crate::common::map::Map;
use crate::common::{Actor, Dir, env_number, xattr};

/// A file that is looked at after each step.
struct Watched<'a> {
    dir: &'a Dir,
    fd: OwnedFd,
    told: Vec<String>,
}

impl<'a> Watched<'a> {
    fn new(dir: &'a Dir, name: &str) -> Self {
        Self {
            dir,
            fd: path_only(dir, name),
            told: vec![],
        }
    }

    /// Takes a step and tells what it moved.
    fn step(&mut self, what: &str, act: impl FnOnce()) {
        let before = attributes(&self.fd);
        tick();
        act();
        let now = attributes(&self.fd);
        let moved = |name: &str, before: i64, now: i64| match now.cmp(&before) {
            std::cmp::Ordering::Less => format!(" {name} back"),
            std::cmp::Ordering::Equal => String::new(),
            std::cmp::Ordering::Greater => format!(" {name}"),
        };
        self.told.push(format!(
            "{what}:{}{}{} size {} blocks {}",
            moved("atime", before.times.atime, now.times.atime),
            moved("mtime", before.times.mtime, now.times.mtime),
            moved("ctime", before.times.ctime, now.times.ctime),
            now.size,
            now.blocks
        ));
        tick();
        assert_eq!(attributes(&self.fd), now, "after {what} nothing moves any more");
    }

    fn read(&mut self, what: &str) {
        let dir = self.dir;
        self.step(what, || assert!(dir.read("f").is_ok()));
    }
}

fn touch(dir: &Dir, seconds: i64) {
    dir.set_times("f", (seconds, 5), (seconds, 7)).unwrap();
}

/// Writes, reads and stores, through the descriptor, another one, and none.
fn data(dir: &Dir) -> Vec<String> {
    let fd = dir.create("f");
    let mut watched = Watched::new(dir, "f");
    watched.step("read of nothing", || assert_eq!(pread(&fd, 10, 0).unwrap(), b""));
    watched.step("write", || assert_eq!(pwrite(&fd, &[1; 5000], 0), Ok(5000)));
    watched.step("read", || assert_eq!(pread(&fd, 10, 0).unwrap().len(), 10));
    watched.step("second read", || assert_eq!(pread(&fd, 10, 0).unwrap().len(), 10));
    watched.read("read by another descriptor");
    watched.step("write of nothing", || assert_eq!(pwrite(&fd, b"", 0), Ok(0)));
    let append = dir.open("f", OFlags::WRONLY | OFlags::APPEND, 0).unwrap();
    watched.step("append", || assert_eq!(write(&append, &[2; 100]), Ok(100)));
    watched.read("read after that");
    watched.step("read past the end", || assert_eq!(pread(&fd, 10, 9000).unwrap(), b""));
    let map = Map::shared(&fd, 8192).unwrap();
    watched.step("store", || map.put(0, b"x"));
    watched.step("store in another page", || map.put(5000, b"x"));
    watched.read("read after stores");
    drop((fd, append));
    watched.step("store with no descriptor", || map.put(100, b"y"));
    watched.step("sync", || map.sync().unwrap());
    watched.step("store after sync", || map.put(101, b"y"));
    watched.step("unmapping", || drop(map));
    watched.read("read after unmapping");
    watched.read("another read");
    let quiet = dir.open("f", OFlags::RDONLY | OFlags::NOATIME, 0).unwrap();
    touch(dir, 7);
    watched.step("read with O_NOATIME", || {
        assert_eq!(pread(&quiet, 10, 0).unwrap().len(), 10)
    });
    watched.read("a read without");
    watched.told
}

/// What changes only the inode, and the reads after it.
fn inode(dir: &Dir) -> Vec<String> {
    dir.file("f", &[3; 3000], 0o644);
    let mut watched = Watched::new(dir, "f");
    let reader = dir.open("f", OFlags::RDONLY, 0).unwrap();
    watched.read("first read");
    for again in ["", " again", " once more"] {
        watched.step(&format!("chmod{again}"), || dir.chmod("f", 0o600).unwrap());
        watched.step("read", || assert!(pread(&reader, 5, 0).is_ok()));
        watched.read("second read");
        watched.step("link", || dir.link("f", "other").unwrap());
        watched.read("read");
        watched.step("unlink", || dir.unlink("other").unwrap());
        watched.step("setxattr", || xattr::set(&dir.path("f"), "user.x", b"1").unwrap());
        watched.read("read");
        watched.step("old times", || touch(dir, 1_000_000));
        watched.read("read");
        watched.read("second read");
        watched.step("write", || {
            assert_eq!(pwrite(dir.open("f", OFlags::WRONLY, 0).unwrap(), b"w", 0), Ok(1))
        });
        watched.step("old times", || touch(dir, 1_000_000));
        watched.step("times to come", || touch(dir, 1 << 33));
        watched.read("read");
        watched.step("write", || {
            assert_eq!(pwrite(dir.open("f", OFlags::WRONLY, 0).unwrap(), b"w", 0), Ok(1))
        });
        watched.step("chown", || dir.chown("f", Some(5), Some(6)).unwrap());
    }
    watched.told
}

/// Everything that changes the size, or only says so.
fn size(dir: &Dir) -> Vec<String> {
    dir.file("f", &[3; 3000], 0o644);
    let mut watched = Watched::new(dir, "f");
    watched.step("the same by truncate(2)", || dir.truncate("f", 3000).unwrap());
    watched.step("less by truncate(2)", || dir.truncate("f", 2000).unwrap());
    let fd = dir.open("f", OFlags::RDWR, 0).unwrap();
    watched.step("more", || ftruncate(&fd, 20_000).unwrap());
    watched.step("the same", || ftruncate(&fd, 20_000).unwrap());
    watched.step("the same by truncate(2), open", || dir.truncate("f", 20_000).unwrap());
    watched.step("less", || ftruncate(&fd, 10_000).unwrap());
    let allocate = |mode, offset, len| fallocate(&fd, mode, offset, len).unwrap();
    watched.step("fallocate", || allocate(FallocateFlags::empty(), 4096, 9000));
    watched.step("fallocate of what is there", || {
        allocate(FallocateFlags::empty(), 4096, 100)
    });
    watched.step("keeping the size", || allocate(FallocateFlags::KEEP_SIZE, 40_000, 100));
    watched.step("a hole", || punch(&fd, 0, 8192));
    watched.step("a hole in a hole", || punch(&fd, 0, 100));
    let other = dir.create("other");
    pwrite(&other, &[9; 5000], 0).unwrap();
    let (mut from, mut to) = (0, 100);
    watched.step("copy_file_range", || {
        assert_eq!(
            copy_file_range(&other, Some(&mut from), &fd, Some(&mut to), 5000),
            Ok(5000)
        );
    });
    watched.step("copy_file_range from it", || {
        let (mut from, mut to) = (0, 100);
        assert_eq!(
            copy_file_range(&fd, Some(&mut from), &other, Some(&mut to), 5000),
            Ok(5000)
        );
    });
    watched.step("sendfile from it", || {
        assert_eq!(rustix::fs::sendfile(&other, &fd, Some(&mut 0), 500), Ok(500));
    });
    let truncate = |flags| drop(dir.open("f", flags | OFlags::TRUNC, 0).unwrap());
    watched.step("O_TRUNC", || truncate(OFlags::WRONLY));
    watched.step("O_TRUNC of nothing", || truncate(OFlags::WRONLY));
    watched.step("O_TRUNC to read", || truncate(OFlags::RDONLY));
    drop(fd);
    watched.step("O_TRUNC of nothing, closed", || truncate(OFlags::WRONLY));
    watched.step("truncate(2), closed", || dir.truncate("f", 100).unwrap());
    watched.read("read");
    let last = dir.open("f", OFlags::RDWR, 0).unwrap();
    watched.step("unlink", || dir.unlink("f").unwrap());
    watched.step("write", || assert_eq!(pwrite(&last, &[7; 70_000], 0), Ok(70_000)));
    watched.step("read", || assert_eq!(pread(&last, 7, 0).unwrap(), [7; 7]));
    watched.step("fchmod", || fchmod(&last, Mode::RUSR).unwrap());
    let map = Map::shared(&last, 70_000).unwrap();
    watched.step("store", || map.put(60_000, b"z"));
    watched.step("close", || drop(last));
    watched.step("store after close", || map.put(50_000, b"z"));
    watched.told
}

/// By semantics 1.1: data moves the times as on tmpfs, however it is reached.
#[test]
fn of_data() {
    for options in ["mode=0777", "mode=0777,noatime", "mode=0777,strictatime"] {
        same_story(options, data);
    }
}

/// By semantics 1.1: so do changes of the inode, and the reads that relatime counts after them.
#[test]
fn of_the_inode() {
    for options in ["mode=0777", "mode=0777,strictatime"] {
        same_story(options, inode);
    }
}

/// By semantics 1.1: so does everything that has to do with the size.
#[test]
fn of_the_size() {
    same_story("mode=0777", size);
}

/// By semantics 1.1: what another process writes, stores and cuts is seen at once, whichever attributes were asked for before.
#[test]
fn of_what_another_process_does() {
    same_story("mode=0777", |dir| {
        dir.file("f", &[1; 100], 0o644);
        let mut watched = Watched::new(dir, "f");
        let mut actor = Actor::start(ROOT, &dir.path(""));
        let name = || "f".to_owned();
        let flags = OFlags::RDWR.bits();
        let calls = [
            Call::Open {
                slot: 0,
                name: name(),
                flags,
                mode: 0,
            },
            Call::Pwrite {
                slot: 0,
                bytes: vec![2; 9000],
                offset: 50,
            },
            Call::MapWrite {
                slot: 0,
                bytes: vec![3; 10],
                offset: 8000,
            },
            Call::MapWrite {
                slot: 0,
                bytes: vec![3; 10],
                offset: 100,
            },
            Call::Pread {
                slot: 0,
                len: 10,
                offset: 0,
            },
            Call::Ftruncate { slot: 0, len: 10_000 },
            Call::Fallocate {
                slot: 0,
                mode: 0,
                offset: 0,
                len: 30_000,
            },
            Call::MapWrite {
                slot: 0,
                bytes: vec![3; 10],
                offset: 20_000,
            },
            Call::Close { slot: 0 },
            Call::Truncate { name: name(), len: 5 },
            Call::Open {
                slot: 0,
                name: name(),
                flags,
                mode: 0,
            },
            Call::MapWrite {
                slot: 0,
                bytes: vec![4; 1],
                offset: 1,
            },
            Call::Close { slot: 0 },
        ];
        for call in calls {
            watched.step(&format!("{call:.30?}"), || {
                assert!(actor.call(&call).result().is_ok());
            });
        }
        watched.told
    });
}

/// By semantics 1.1: a mapping for reading only fills holes with pages, and stat(2) counts them.
#[test]
fn of_a_mapping_that_only_reads() {
    same_story("mode=0777", |dir| {
        dir.file("f", b"x", 0o644);
        dir.truncate("f", 40_000).unwrap();
        let mut watched = Watched::new(dir, "f");
        let fd = dir.open("f", OFlags::RDONLY, 0).unwrap();
        let map = Map::shared_read(&fd, 40_000).unwrap();
        watched.step("look", || assert_eq!(map.get(20_000, 1), [0]));
        drop(fd);
        watched.step("look with no descriptor", || assert_eq!(map.get(30_000, 1), [0]));
        watched.step("unmapping", || drop(map));
        watched.told
    });
}

/// By semantics 1.1: nobody ever sees a time go backwards while others write, store, read and rename.
#[test]
fn never_go_backwards() {
    let rounds = env_number("OWLTMP_FAST_ROUNDS", 3000);
    fast("mode=0777", |mount| {
        let dir = mount.dir();
        dir.file("f", &[0; 8192], 0o644);
        let done = std::sync::atomic::AtomicBool::new(false);
        let over = || done.load(std::sync::atomic::Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let fd = dir.open("f", OFlags::RDWR, 0).unwrap();
                let map = Map::shared(&fd, 8192).unwrap();
                while !over() {
                    assert_eq!(pwrite(&fd, &[1; 100], 4000), Ok(100));
                    map.put(0, b"s");
                    map.sync().unwrap();
                }
            });
            scope.spawn(|| {
                while !over() {
                    let fd = dir.open("f", OFlags::RDONLY, 0).unwrap();
                    assert_eq!(read(&fd, &mut [0; 10]), Ok(10));
                    fchmod(&fd, Mode::from_raw_mode(0o644)).unwrap();
                    dir.link("f", "g").unwrap();
                    dir.unlink("g").unwrap();
                }
            });
            let fd = path_only(dir, "f");
            let mut last = Attr::new(&fstat(&fd).unwrap()).times;
            for round in 0..rounds {
                let now = Attr::new(&fstat(&fd).unwrap()).times;
                let forward = now.atime >= last.atime && now.mtime >= last.mtime && now.ctime >= last.ctime;
                if !forward {
                    done.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                assert!(forward, "round {round}: {last:?}, then {now:?}");
                last = now;
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}

/// By semantics 1.1: the time of birth is that of the creation whatever the kernel does to the contents.
#[test]
fn of_birth() {
    fast("mode=0777", |mount| {
        let fd = mount.dir().create("f");
        let born = || {
            let got = statx(fd.as_fd(), "", AtFlags::EMPTY_PATH, StatxFlags::BTIME).unwrap();
            assert_ne!(got.stx_mask & StatxFlags::BTIME.bits(), 0);
            got.stx_btime.tv_sec * 1_000_000_000 + i64::from(got.stx_btime.tv_nsec)
        };
        let before = born();
        assert!(before <= Attr::new(&fstat(&fd).unwrap()).times.mtime);
        tick();
        pwrite(&fd, b"x", 0).unwrap();
        Map::shared(&fd, 1).unwrap().put(0, b"y");
        assert_eq!(born(), before);
    });
}
