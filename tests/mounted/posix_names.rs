//! Names: mkdir, mknod, symlink, link, unlink, rmdir, and how long they may be; on tmpfs and on owltmp.

use rustix::fs::{AtFlags, Mode, fstat, makedev, mkdirat, openat};
use rustix::io::{pwrite, read, write};

use crate::common::dir::pread;
use crate::common::identity::{ALICE, BOB, CAROL};
use crate::common::{Errno, FileType, OFlags, as_user, both, both_with};

/// By semantics 1.1: mkdir, rmdir and link counts.
#[test]
fn directories() {
    both(|dir| {
        let links = dir.lstat("").unwrap_or_else(|_| dir.lstat(".").unwrap()).st_nlink;
        dir.mkdir("d", 0o7777).unwrap();
        assert_eq!(dir.mode("d"), 0o1755);
        assert_eq!(dir.lstat("d").unwrap().st_nlink, 2);
        assert_eq!(dir.lstat(".").unwrap().st_nlink, links + 1);
        assert_eq!(dir.mkdir("d", 0o755).unwrap_err(), Errno::EXIST);
        dir.mkdir("d/e", 0o755).unwrap();
        assert_eq!(dir.lstat("d").unwrap().st_nlink, 3);
        assert_eq!(dir.rmdir("d").unwrap_err(), Errno::NOTEMPTY);
        assert_eq!(dir.unlink("d").unwrap_err(), Errno::ISDIR);
        assert_eq!(dir.rmdir("d/e/.").unwrap_err(), Errno::INVAL);
        assert_eq!(dir.rmdir("d/e/..").unwrap_err(), Errno::NOTEMPTY);
        dir.rmdir("d/e/").unwrap();
        dir.rmdir("d").unwrap();
        assert_eq!(dir.lstat(".").unwrap().st_nlink, links);
        assert_eq!(dir.rmdir("d").unwrap_err(), Errno::NOENT);
        dir.file("f", b"", 0o644);
        assert_eq!(dir.rmdir("f").unwrap_err(), Errno::NOTDIR);
        assert_eq!(dir.mkdir("f/x", 0o755).unwrap_err(), Errno::NOTDIR);
        dir.symlink("nowhere", "l").unwrap();
        assert_eq!(dir.mkdir("l", 0o755).unwrap_err(), Errno::EXIST);
        assert_eq!(dir.rmdir("l").unwrap_err(), Errno::NOTDIR);
    });
}

/// By semantics 1.1: st_size of a directory is 20 bytes for each entry, as tmpfs counts.
#[test]
fn size_of_a_directory() {
    both(|dir| {
        let size = |name: &str| dir.lstat(name).unwrap().st_size;
        dir.mkdir("d", 0o755).unwrap();
        assert_eq!(size("d"), 40);
        dir.file("d/f", b"xyz", 0o644);
        assert_eq!(size("d"), 60);
        dir.link("d/f", "d/g").unwrap();
        dir.mkdir("d/e", 0o755).unwrap();
        dir.symlink("x", "d/l").unwrap();
        assert_eq!(size("d"), 120);
        dir.rename("d/f", "d/h").unwrap();
        assert_eq!(size("d"), 120);
        dir.rename("d/h", "h").unwrap();
        dir.unlink("d/g").unwrap();
        dir.rmdir("d/e").unwrap();
        dir.unlink("d/l").unwrap();
        assert_eq!((size("d"), dir.lstat("d").unwrap().st_blocks), (40, 0));
    });
}

/// By semantics 1.1: a removed directory that is still open is empty and takes no new names.
#[test]
fn removed_directories() {
    both(|dir| {
        let inside = dir.subdir("d", 0o755);
        dir.rmdir("d").unwrap();
        assert_eq!(fstat(inside.fd()).unwrap().st_nlink, 0);
        assert_eq!(
            inside.open("f", OFlags::CREATE | OFlags::RDWR, 0o644).unwrap_err(),
            Errno::NOENT
        );
        assert_eq!(inside.mkdir("e", 0o755).unwrap_err(), Errno::NOENT);
        assert_eq!(inside.symlink("x", "l").unwrap_err(), Errno::NOENT);
        assert_eq!(inside.lstat("f").unwrap_err(), Errno::NOENT);
        assert!(inside.names().is_empty());
        dir.file("f", b"", 0o644);
        let linked = rustix::fs::linkat(dir.fd(), "f", inside.fd(), "g", AtFlags::empty());
        assert_eq!(linked.unwrap_err(), Errno::NOENT);
        let moved = rustix::fs::renameat(dir.fd(), "f", inside.fd(), "g");
        assert_eq!(moved.unwrap_err(), Errno::NOENT);
        assert_eq!(
            inside.open(".", OFlags::TMPFILE | OFlags::RDWR, 0o600).map(|_| ()),
            Ok(())
        );
        assert_eq!(inside.stat("..").unwrap().st_ino, dir.stat(".").unwrap().st_ino);
    });
}

/// By semantics 1.1, 1.6: fifos, sockets and, for root, devices, which a nodev mount does not open.
#[test]
fn special_files() {
    both(|dir| {
        dir.mknod("fifo", FileType::Fifo, 0o640, 0).unwrap();
        dir.mknod("socket", FileType::Socket, 0o600, 0).unwrap();
        dir.mknod("regular", FileType::RegularFile, 0o600, 0).unwrap();
        let null = makedev(1, 3);
        dir.mknod("char", FileType::CharacterDevice, 0o666, null).unwrap();
        dir.mknod("block", FileType::BlockDevice, 0o600, makedev(259, 70_000))
            .unwrap();
        assert_eq!(dir.lstat("fifo").unwrap().st_mode, 0o010_640);
        assert_eq!(dir.lstat("socket").unwrap().st_mode, 0o140_600);
        assert_eq!(dir.lstat("regular").unwrap().st_mode, 0o100_600);
        let char = dir.lstat("char").unwrap();
        assert_eq!((char.st_mode, char.st_rdev), (0o020_644, null));
        let block = dir.lstat("block").unwrap();
        assert_eq!((block.st_mode, block.st_rdev), (0o060_600, makedev(259, 70_000)));
        assert_eq!(dir.open("char", OFlags::RDWR, 0).unwrap_err(), Errno::ACCESS);
        assert_eq!(dir.open("socket", OFlags::RDWR, 0).unwrap_err(), Errno::NXIO);
        assert_eq!(dir.mknod("fifo", FileType::Fifo, 0o600, 0).unwrap_err(), Errno::EXIST);
        assert_eq!(
            dir.mknod("dir", FileType::Directory, 0o600, 0).unwrap_err(),
            Errno::PERM
        );
        assert_eq!(
            dir.mknod("link", FileType::Symlink, 0o600, 0).unwrap_err(),
            Errno::INVAL
        );
        as_user(ALICE, || {
            assert_eq!(
                dir.mknod("mine", FileType::CharacterDevice, 0o666, null).unwrap_err(),
                Errno::PERM
            );
            dir.mknod("pipe", FileType::Fifo, 0o666, 0).unwrap();
            assert_eq!(dir.lstat("pipe").unwrap().st_uid, ALICE.uid);
        });
    });
}

/// By semantics 1.6: with `dev` a device node opens.
#[test]
fn devices_where_allowed() {
    both_with("mode=0777,dev", |dir| {
        dir.mknod("null", FileType::CharacterDevice, 0o666, makedev(1, 3))
            .unwrap();
        let null = dir.open("null", OFlags::RDWR, 0).unwrap();
        assert_eq!(write(&null, b"gone").unwrap(), 4);
        assert_eq!(read(&null, &mut [0; 4][..]).unwrap(), 0);
        assert_eq!(dir.lstat("null").unwrap().st_size, 0);
    });
}

/// By semantics 1.1: symlinks: their text, size, mode, and its limit.
#[test]
fn symlinks() {
    both(|dir| {
        dir.symlink("a/b", "l").unwrap();
        let stat = dir.lstat("l").unwrap();
        assert_eq!((stat.st_mode, stat.st_size, stat.st_nlink), (0o120_777, 3, 1));
        assert_eq!(dir.readlink("l").unwrap(), b"a/b");
        assert_eq!(dir.stat("l").unwrap_err(), Errno::NOENT);
        assert_eq!(dir.symlink("x", "l").unwrap_err(), Errno::EXIST);
        assert_eq!(dir.symlink("", "empty").unwrap_err(), Errno::NOENT);
        let longest = "x".repeat(4095);
        dir.symlink(&longest, "longest").unwrap();
        assert_eq!(dir.readlink("longest").unwrap(), longest.as_bytes());
        assert_eq!(dir.lstat("longest").unwrap().st_size, 4095);
        assert_eq!(
            dir.symlink(&"x".repeat(4096), "toolong").unwrap_err(),
            Errno::NAMETOOLONG
        );
        dir.file("f", b"", 0o644);
        assert_eq!(dir.readlink("f").unwrap_err(), Errno::INVAL);
        let mode = Mode::from_raw_mode(0o600);
        let changed = rustix::fs::chmodat(dir.fd(), "l", mode, AtFlags::SYMLINK_NOFOLLOW);
        assert_eq!(changed.unwrap_err(), Errno::OPNOTSUPP);
        dir.chown("l", Some(5), Some(6)).unwrap();
        assert_eq!(dir.lstat("l").unwrap().st_uid, 5);
        dir.link("l", "hard").unwrap();
        assert_eq!(dir.lstat("hard").unwrap().st_nlink, 2);
    });
}

/// By semantics 2.1, 2.3: link(2) is EEXIST on any name, and counts.
#[test]
fn hard_links() {
    both(|dir| {
        dir.file("f", b"data", 0o644);
        dir.link("f", "g").unwrap();
        assert_eq!(dir.lstat("f").unwrap().st_nlink, 2);
        assert_eq!(dir.lstat("f").unwrap().st_ino, dir.lstat("g").unwrap().st_ino);
        assert_eq!(dir.link("f", "g").unwrap_err(), Errno::EXIST);
        dir.symlink("nowhere", "l").unwrap();
        assert_eq!(dir.link("f", "l").unwrap_err(), Errno::EXIST);
        dir.mkdir("d", 0o755).unwrap();
        assert_eq!(dir.link("d", "e").unwrap_err(), Errno::PERM);
        assert_eq!(dir.link("missing", "e").unwrap_err(), Errno::NOENT);
        dir.unlink("f").unwrap();
        assert_eq!(dir.lstat("g").unwrap().st_nlink, 1);
        assert_eq!(dir.read("g").unwrap(), b"data");
        for i in 0..1000 {
            dir.link("g", &format!("g{i}")).unwrap();
        }
        assert_eq!(dir.lstat("g").unwrap().st_nlink, 1001);
    });
}

/// By semantics 1.3: an unlinked file goes on for those who have it open.
#[test]
fn unlinked_open_files() {
    both(|dir| {
        let fd = dir.create("f");
        pwrite(&fd, b"still here", 0).unwrap();
        dir.unlink("f").unwrap();
        assert_eq!(dir.lstat("f").unwrap_err(), Errno::NOENT);
        dir.file("f", b"another", 0o644);
        assert_eq!(pread(&fd, 20, 0).unwrap(), b"still here");
        pwrite(&fd, b"STILL", 0).unwrap();
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o400)).unwrap();
        rustix::fs::ftruncate(&fd, 7).unwrap();
        let stat = fstat(&fd).unwrap();
        assert_eq!((stat.st_nlink, stat.st_size, stat.st_mode), (0, 7, 0o100_400));
        assert_eq!(pread(&fd, 20, 0).unwrap(), b"STILL h");
        assert_eq!(dir.read("f").unwrap(), b"another");
        assert_eq!(dir.unlink("missing").unwrap_err(), Errno::NOENT);
    });
}

/// By semantics 6.1: names of 255 bytes work for everything, 256 are ENAMETOOLONG.
#[test]
fn longest_names() {
    both(|dir| {
        let (fits, too_long) = ("n".repeat(255), "n".repeat(256));
        dir.file(&fits, b"x", 0o644);
        assert!(dir.names().contains(&fits));
        dir.rename(&fits, "f").unwrap();
        dir.link("f", &fits).unwrap();
        dir.unlink(&fits).unwrap();
        dir.symlink("f", &fits).unwrap();
        dir.unlink(&fits).unwrap();
        dir.mkdir(&fits, 0o755).unwrap();
        dir.rmdir(&fits).unwrap();
        let create = OFlags::CREATE | OFlags::RDWR;
        assert_eq!(dir.open(&too_long, create, 0o644).unwrap_err(), Errno::NAMETOOLONG);
        assert_eq!(dir.mkdir(&too_long, 0o755).unwrap_err(), Errno::NAMETOOLONG);
        assert_eq!(
            dir.mknod(&too_long, FileType::Fifo, 0o644, 0).unwrap_err(),
            Errno::NAMETOOLONG
        );
        assert_eq!(dir.symlink("x", &too_long).unwrap_err(), Errno::NAMETOOLONG);
        assert_eq!(dir.link("f", &too_long).unwrap_err(), Errno::NAMETOOLONG);
        assert_eq!(dir.rename("f", &too_long).unwrap_err(), Errno::NAMETOOLONG);
        assert_eq!(dir.rename(&too_long, "f").unwrap_err(), Errno::NAMETOOLONG);
        assert_eq!(dir.unlink(&too_long).unwrap_err(), Errno::NAMETOOLONG);
        assert_eq!(dir.rmdir(&too_long).unwrap_err(), Errno::NAMETOOLONG);
        assert_eq!(dir.lstat(&too_long).unwrap_err(), Errno::NAMETOOLONG);
        let bytes = c"\xff\x01 \n*";
        assert!(openat(dir.fd(), bytes, OFlags::CREATE | OFlags::RDWR, Mode::RUSR).is_ok());
        assert!(rustix::fs::statat(dir.fd(), bytes, AtFlags::empty()).is_ok());
    });
}

/// By semantics 6.1: a tree far deeper than PATH_MAX works one step at a time, and a long path is ENAMETOOLONG.
#[test]
fn deep_trees() {
    both(|dir| {
        let mut at = dir.subdir("d", 0o755);
        for _ in 0..300 {
            mkdirat(at.fd(), "deeper-and-deeper", Mode::RWXU).unwrap();
            at = at.sub("deeper-and-deeper");
        }
        at.file("bottom", b"reached", 0o644);
        assert_eq!(at.read("bottom").unwrap(), b"reached");
        assert_eq!(dir.lstat(&"d/".repeat(2100)).unwrap_err(), Errno::NAMETOOLONG);
        assert_eq!(at.stat("../..").unwrap().st_nlink, 3);
        dir.mkdir("s", 0o755).unwrap();
        for _ in 0..1000 {
            dir.mkdir("t", 0o755).unwrap();
            dir.rename("s", "t/s").unwrap();
            dir.rename("t", "s").unwrap();
        }
        let path = format!("s{}", "/s".repeat(1000));
        assert!(dir.stat(&path).is_ok());
        assert_eq!(dir.rename("s", &format!("{path}/s")).unwrap_err(), Errno::INVAL);
    });
}

/// By semantics 1.1: permissions of several users decide.
#[test]
fn permissions() {
    both(|dir| {
        let private = dir.subdir("private", 0o700);
        private.file("f", b"", 0o666);
        dir.subdir("listable", 0o744).file("f", b"", 0o666);
        dir.subdir("passable", 0o711).file("f", b"x", 0o666);
        dir.subdir("readonly", 0o755).file("f", b"", 0o644);
        let shared = dir.subdir("shared", 0o770);
        dir.chown("shared", None, Some(crate::common::identity::SHARED))
            .unwrap();
        as_user(CAROL, || {
            assert_eq!(dir.lstat("private/f").unwrap_err(), Errno::ACCESS);
            assert_eq!(dir.open("private", OFlags::RDONLY, 0).unwrap_err(), Errno::ACCESS);
            assert_eq!(dir.lstat("listable/f").unwrap_err(), Errno::ACCESS);
            assert_eq!(std::fs::read_dir(dir.path("listable")).unwrap().count(), 1);
            assert_eq!(dir.read("passable/f").unwrap(), b"x");
            assert_eq!(dir.open("passable", OFlags::RDONLY, 0).unwrap_err(), Errno::ACCESS);
            assert_eq!(dir.unlink("readonly/f").unwrap_err(), Errno::ACCESS);
            assert_eq!(dir.mkdir("readonly/d", 0o755).unwrap_err(), Errno::ACCESS);
            assert_eq!(dir.rename("readonly/f", "f").unwrap_err(), Errno::ACCESS);
            assert_eq!(dir.chmod("readonly/f", 0o666).unwrap_err(), Errno::PERM);
            assert_eq!(dir.chown("readonly/f", Some(CAROL.uid), None).unwrap_err(), Errno::PERM);
            assert_eq!(dir.truncate("readonly/f", 0).unwrap_err(), Errno::ACCESS);
            assert_eq!(shared.mkdir("d", 0o755).unwrap_err(), Errno::ACCESS);
        });
        as_user(BOB, || shared.mkdir("d", 0o755).unwrap());
        assert_eq!(shared.lstat("d").unwrap().st_uid, BOB.uid);
    });
}

/// By semantics 3.1: who may remove and rename in a sticky directory.
#[test]
fn sticky_deletion() {
    both(|dir| {
        let sticky = dir.subdir("t", 0o1777);
        dir.chown("t", Some(BOB.uid), None).unwrap();
        as_user(ALICE, || {
            sticky.file("a", b"", 0o666);
            sticky.file("b", b"", 0o666);
            sticky.mkdir("d", 0o777).unwrap();
        });
        as_user(CAROL, || {
            assert_eq!(sticky.unlink("a").unwrap_err(), Errno::PERM);
            assert_eq!(sticky.rmdir("d").unwrap_err(), Errno::PERM);
            assert_eq!(sticky.rename("a", "c").unwrap_err(), Errno::PERM);
            sticky.file("mine", b"", 0o666);
            assert_eq!(sticky.rename("mine", "a").unwrap_err(), Errno::PERM);
            sticky.unlink("mine").unwrap();
        });
        as_user(BOB, || sticky.unlink("a").unwrap());
        as_user(ALICE, || sticky.rename("b", "c").unwrap());
        sticky.rmdir("d").unwrap();
    });
}
