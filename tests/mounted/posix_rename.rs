//! rename(2) and renameat2(2) with its flags, on tmpfs and on owltmp.

use rustix::fs::fstat;

use crate::common::dir::pread;
use crate::common::identity::{ALICE, CAROL};
use crate::common::{Dir, Errno, FileType, RenameFlags, as_user, both};

const NOREPLACE: RenameFlags = RenameFlags::NOREPLACE;
const EXCHANGE: RenameFlags = RenameFlags::EXCHANGE;
const WHITEOUT: RenameFlags = RenameFlags::WHITEOUT;

fn tree(dir: &Dir) {
    dir.file("f", b"f", 0o644);
    dir.file("g", b"g", 0o644);
    dir.mkdir("empty", 0o755).unwrap();
    dir.mkdir("full", 0o755).unwrap();
    dir.mkdir("full/sub", 0o755).unwrap();
    dir.symlink("f", "l").unwrap();
}

/// By semantics 1.1: what may replace what.
#[test]
fn replacing() {
    both(|dir| {
        tree(dir);
        let open = dir.open("g", crate::common::OFlags::RDONLY, 0).unwrap();
        dir.rename("f", "g").unwrap();
        assert_eq!(dir.read("g").unwrap(), b"f");
        assert_eq!(
            (pread(&open, 9, 0).unwrap(), fstat(&open).unwrap().st_nlink),
            (b"g".to_vec(), 0)
        );
        assert_eq!(dir.rename("f", "x").unwrap_err(), Errno::NOENT);
        assert_eq!(dir.rename("g", "empty").unwrap_err(), Errno::ISDIR);
        assert_eq!(dir.rename("empty", "g").unwrap_err(), Errno::NOTDIR);
        assert_eq!(dir.rename("empty", "full").unwrap_err(), Errno::NOTEMPTY);
        dir.rename("full", "empty").unwrap();
        assert!(dir.lstat("empty/sub").is_ok());
        assert_eq!(dir.rename("empty", "empty/sub/x").unwrap_err(), Errno::INVAL);
        assert_eq!(dir.rename("empty/sub", "empty").unwrap_err(), Errno::NOTEMPTY);
        dir.rename("g", "l").unwrap();
        assert_eq!(dir.lstat("l").unwrap().st_mode & 0o170_000, 0o100_000);
        assert_eq!(dir.rename(".", "x").unwrap_err(), Errno::BUSY);
        assert_eq!(dir.rename("l/", "x").unwrap_err(), Errno::NOTDIR);
    });
}

/// By semantics 1.1: renaming one link of a file to another link of it does nothing.
#[test]
fn same_file() {
    both(|dir| {
        tree(dir);
        dir.link("f", "other").unwrap();
        dir.rename("f", "other").unwrap();
        assert_eq!(dir.lstat("f").unwrap().st_nlink, 2);
        assert!(dir.lstat("other").is_ok());
        dir.rename("f", "f").unwrap();
        assert_eq!(dir.rename_with("f", "other", NOREPLACE).unwrap_err(), Errno::EXIST);
    });
}

/// By semantics 1.1: directories keep their link counts and `..` when they move.
#[test]
fn moving_directories() {
    both(|dir| {
        tree(dir);
        let root = dir.stat(".").unwrap();
        dir.rename("full/sub", "sub").unwrap();
        assert_eq!(dir.lstat("full").unwrap().st_nlink, 2);
        assert_eq!(dir.stat(".").unwrap().st_nlink, root.st_nlink + 1);
        assert_eq!(dir.stat("sub/..").unwrap().st_ino, root.st_ino);
        dir.rename("sub", "empty/sub").unwrap();
        assert_eq!(
            dir.stat("empty/sub/..").unwrap().st_ino,
            dir.stat("empty").unwrap().st_ino
        );
        assert_eq!(dir.lstat("empty").unwrap().st_nlink, 3);
        dir.rename("full", "empty/sub").unwrap();
        assert_eq!(dir.lstat("empty").unwrap().st_nlink, 3);
        assert_eq!(dir.stat(".").unwrap().st_nlink, root.st_nlink - 1);
    });
}

/// By semantics 2.1: RENAME_NOREPLACE never replaces.
#[test]
fn noreplace() {
    both(|dir| {
        tree(dir);
        for target in ["g", "empty", "full", "l"] {
            assert_eq!(
                dir.rename_with("f", target, NOREPLACE).unwrap_err(),
                Errno::EXIST,
                "{target}"
            );
        }
        assert_eq!(dir.rename_with("f", "f", NOREPLACE).unwrap_err(), Errno::EXIST);
        dir.rename_with("f", "new", NOREPLACE).unwrap();
        dir.rename_with("full", "newdir", NOREPLACE).unwrap();
        assert_eq!(dir.read("new").unwrap(), b"f");
        assert_eq!(dir.rename_with("missing", "g", NOREPLACE).unwrap_err(), Errno::NOENT);
    });
}

/// By semantics 1.1: RENAME_EXCHANGE swaps anything with anything, directories and their links included.
#[test]
fn exchange() {
    both(|dir| {
        tree(dir);
        let ino = |name: &str| dir.lstat(name).unwrap().st_ino;
        let (f, sub, full) = (ino("f"), ino("full/sub"), ino("full"));
        dir.rename_with("f", "full/sub", EXCHANGE).unwrap();
        assert_eq!((ino("f"), ino("full/sub")), (sub, f));
        assert_eq!(dir.lstat("full").unwrap().st_nlink, 2);
        assert_eq!(dir.stat("f/..").unwrap().st_ino, dir.stat(".").unwrap().st_ino);
        dir.rename_with("full", "f", EXCHANGE).unwrap();
        assert_eq!((ino("f"), ino("full")), (full, sub));
        dir.rename_with("g", "l", EXCHANGE).unwrap();
        assert_eq!(dir.readlink("g").unwrap(), b"f");
        assert_eq!(dir.rename_with("g", "missing", EXCHANGE).unwrap_err(), Errno::NOENT);
        assert_eq!(dir.rename_with("missing", "g", EXCHANGE).unwrap_err(), Errno::NOENT);
        dir.mkdir("full/deep", 0o755).unwrap();
        assert_eq!(
            dir.rename_with("full", "full/deep", EXCHANGE).unwrap_err(),
            Errno::INVAL
        );
        assert_eq!(
            dir.rename_with("full/deep", "full", EXCHANGE).unwrap_err(),
            Errno::INVAL
        );
        assert_eq!(
            dir.rename_with("g", "l", EXCHANGE | NOREPLACE).unwrap_err(),
            Errno::INVAL
        );
        assert_eq!(
            dir.rename_with("g", "l", EXCHANGE | WHITEOUT).unwrap_err(),
            Errno::INVAL
        );
        assert_eq!(
            dir.rename_with("g", "l", RenameFlags::from_bits_retain(8)).unwrap_err(),
            Errno::INVAL
        );
        dir.rename_with("g", "g", EXCHANGE).unwrap();
    });
}

/// By semantics 1.1: RENAME_WHITEOUT leaves a character device 0:0 behind.
#[test]
fn whiteout() {
    both(|dir| {
        tree(dir);
        let ino = dir.lstat("f").unwrap().st_ino;
        dir.rename_with("f", "x", WHITEOUT).unwrap();
        let left = dir.lstat("f").unwrap();
        assert_eq!(
            (FileType::from_raw_mode(left.st_mode), left.st_rdev),
            (FileType::CharacterDevice, 0)
        );
        assert_eq!((left.st_mode & 0o7777, left.st_nlink, left.st_size), (0, 1, 0));
        assert_eq!(dir.lstat("x").unwrap().st_ino, ino);
        assert_ne!(left.st_ino, ino);
        dir.rename_with("full", "y", WHITEOUT).unwrap();
        assert_eq!(dir.lstat("full").unwrap().st_mode & 0o170_000, 0o020_000);
        dir.rename_with("x", "g", WHITEOUT).unwrap();
        assert_eq!(dir.read("g").unwrap(), b"f");
        assert_eq!(
            dir.rename_with("g", "l", WHITEOUT | NOREPLACE).unwrap_err(),
            Errno::EXIST
        );
        as_user(ALICE, || {
            dir.file("mine", b"", 0o644);
            dir.rename_with("mine", "moved", WHITEOUT).unwrap();
            assert_eq!(dir.lstat("mine").unwrap().st_uid, ALICE.uid);
        });
    });
}

/// By semantics 1.1: a directory changes its parent only if its mover may write it; times change with a rename.
#[test]
fn rights_and_times() {
    both(|dir| {
        dir.subdir("theirs", 0o755);
        dir.subdir("place", 0o777);
        as_user(CAROL, || {
            assert_eq!(dir.rename("theirs", "place/theirs").unwrap_err(), Errno::ACCESS);
            dir.rename("theirs", "renamed").unwrap();
        });
        dir.file("f", b"", 0o644);
        dir.set_times(".", (1, 0), (1, 0)).unwrap();
        dir.set_times("place", (1, 0), (1, 0)).unwrap();
        dir.set_times("f", (1, 0), (1, 0)).unwrap();
        let before = dir.lstat("f").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(10));
        dir.rename("f", "place/f").unwrap();
        let after = dir.lstat("place/f").unwrap();
        assert_eq!(after.st_mtime, 1);
        assert_ne!(
            (before.st_ctime, before.st_ctime_nsec),
            (after.st_ctime, after.st_ctime_nsec)
        );
        assert!(dir.lstat(".").unwrap().st_mtime > 1 && dir.lstat("place").unwrap().st_mtime > 1);
    });
}
