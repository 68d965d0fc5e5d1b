//! open(2) and its flags, on tmpfs and on owltmp.

use rustix::fs::{SeekFrom, fstat, ftruncate, seek};
use rustix::io::{self, pwrite, read, write};

use crate::common::dir::{pread, write_all};
use crate::common::identity::{ALICE, BOB, CAROL};
use crate::common::{Errno, FileType, OFlags, as_user, both};

const CREATE: OFlags = OFlags::CREATE.union(OFlags::RDWR);
const EXCL: OFlags = CREATE.union(OFlags::EXCL);

/// By semantics 2.1: O_EXCL is EEXIST for whatever stands there, a dangling symlink included.
#[test]
fn o_excl_refuses_everything_that_exists() {
    both(|dir| {
        dir.file("file", b"", 0o644);
        dir.mkdir("dir", 0o755).unwrap();
        dir.mknod("fifo", FileType::Fifo, 0o600, 0).unwrap();
        dir.symlink("nowhere", "dangling").unwrap();
        dir.symlink("file", "live").unwrap();
        dir.symlink("loop", "loop").unwrap();
        for name in ["file", "dir", "fifo", "dangling", "live", "loop"] {
            assert_eq!(dir.open(name, EXCL, 0o644).unwrap_err(), Errno::EXIST, "{name}");
        }
        assert_eq!(dir.lstat("nowhere").unwrap_err(), Errno::NOENT);
        assert!(dir.open("new", EXCL, 0o644).is_ok());
    });
}

/// By semantics 1.1: O_CREAT through a dangling symlink creates its target; a loop is ELOOP.
#[test]
fn o_creat_follows_symlinks() {
    both(|dir| {
        dir.symlink("target", "link").unwrap();
        drop(dir.open("link", CREATE, 0o640).unwrap());
        assert_eq!(dir.mode("target"), 0o640);
        dir.symlink("b", "a").unwrap();
        dir.symlink("a", "b").unwrap();
        assert_eq!(dir.open("a", CREATE, 0o644).unwrap_err(), Errno::LOOP);
        assert_eq!(dir.open("a", OFlags::RDONLY, 0).unwrap_err(), Errno::LOOP);
    });
}

/// By semantics 1.1: the errnos of opening a directory.
#[test]
fn directories_and_their_flags() {
    both(|dir| {
        dir.mkdir("d", 0o755).unwrap();
        dir.file("f", b"", 0o644);
        dir.symlink("d", "l").unwrap();
        assert_eq!(dir.open("d", OFlags::WRONLY, 0).unwrap_err(), Errno::ISDIR);
        assert_eq!(dir.open("d", OFlags::RDWR, 0).unwrap_err(), Errno::ISDIR);
        assert_eq!(
            dir.open("d", OFlags::RDONLY | OFlags::CREATE, 0o644).unwrap_err(),
            Errno::ISDIR
        );
        assert_eq!(
            dir.open("d", OFlags::RDONLY | OFlags::TRUNC, 0).unwrap_err(),
            Errno::ISDIR
        );
        assert_eq!(dir.open("f", OFlags::DIRECTORY, 0).unwrap_err(), Errno::NOTDIR);
        assert_eq!(dir.open("f/x", OFlags::RDONLY, 0).unwrap_err(), Errno::NOTDIR);
        assert_eq!(dir.open("f/", OFlags::RDONLY, 0).unwrap_err(), Errno::NOTDIR);
        assert_eq!(
            dir.open("l", OFlags::DIRECTORY | OFlags::NOFOLLOW, 0).unwrap_err(),
            Errno::NOTDIR
        );
        assert_eq!(dir.open("new/", CREATE, 0o644).unwrap_err(), Errno::ISDIR);
        let fd = dir.open("d", OFlags::RDONLY, 0).unwrap();
        assert_eq!(read(&fd, &mut [0; 4][..]).unwrap_err(), Errno::ISDIR);
        assert_eq!(dir.open("", OFlags::RDONLY, 0).unwrap_err(), Errno::NOENT);
    });
}

/// By semantics 1.1: O_NOFOLLOW on a symlink is ELOOP, with O_PATH it opens the link itself.
#[test]
fn o_nofollow_and_o_path() {
    both(|dir| {
        dir.file("f", b"text", 0o600);
        dir.symlink("f", "l").unwrap();
        assert_eq!(dir.open("l", OFlags::NOFOLLOW, 0).unwrap_err(), Errno::LOOP);
        let link = dir.open("l", OFlags::PATH | OFlags::NOFOLLOW, 0).unwrap();
        assert_eq!(fstat(&link).unwrap().st_mode & 0o170_000, 0o120_000);
        assert_eq!(rustix::fs::readlinkat(&link, "", vec![]).unwrap().as_bytes(), b"f");
        let path = dir.open("f", OFlags::PATH, 0).unwrap();
        assert_eq!(read(&path, &mut [0; 4][..]).unwrap_err(), Errno::BADF);
        assert_eq!(fstat(&path).unwrap().st_size, 4);
        assert_eq!(
            rustix::fs::fchmod(&path, rustix::fs::Mode::RUSR).unwrap_err(),
            Errno::BADF
        );
        as_user(CAROL, || {
            assert_eq!(dir.open("f", OFlags::RDONLY, 0).unwrap_err(), Errno::ACCESS);
            assert!(dir.open("f", OFlags::PATH, 0).is_ok());
        });
    });
}

/// By semantics 1.1: O_APPEND writes at the end whoever moved it, and pwrite(2) appends too, as Linux does.
#[test]
fn o_append_always_at_the_end() {
    both(|dir| {
        dir.file("f", b"", 0o644);
        let a = dir.open("f", OFlags::RDWR | OFlags::APPEND, 0).unwrap();
        let b = dir.open("f", OFlags::RDWR | OFlags::APPEND, 0).unwrap();
        write_all(&a, b"one");
        write_all(&b, b"two");
        write_all(&a, b"three");
        assert_eq!(pwrite(&b, b"!", 0).unwrap(), 1);
        assert_eq!(dir.read("f").unwrap(), b"onetwothree!");
        assert_eq!(seek(&a, SeekFrom::Current(0)).unwrap(), 11);
        ftruncate(&a, 2).unwrap();
        write_all(&b, b"X");
        assert_eq!(dir.read("f").unwrap(), b"onX");
    });
}

/// By semantics 1.1: O_TRUNC empties the file, needs write permission, and keeps owner and mode.
#[test]
fn o_trunc() {
    both(|dir| {
        dir.file("f", b"contents", 0o604);
        dir.chown("f", Some(ALICE.uid), Some(ALICE.gid)).unwrap();
        as_user(BOB, || {
            let flags = OFlags::WRONLY | OFlags::TRUNC;
            assert_eq!(dir.open("f", flags, 0).unwrap_err(), Errno::ACCESS);
        });
        assert_eq!(dir.read("f").unwrap(), b"contents");
        drop(
            dir.open("f", OFlags::WRONLY | OFlags::TRUNC | OFlags::CREATE, 0o777)
                .unwrap(),
        );
        let stat = dir.stat("f").unwrap();
        assert_eq!((stat.st_size, stat.st_blocks, stat.st_uid), (0, 0, ALICE.uid));
        assert_eq!(dir.mode("f"), 0o604);
    });
}

/// By semantics 2.3: O_CREAT|O_TRUNC with mode 0 locks out the second caller, but for root.
#[test]
fn mode_zero_lock_file() {
    both(|dir| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let kept = as_user(ALICE, || {
            let first = dir.open("lock", flags, 0).unwrap();
            assert_eq!(write(&first, b"pid").unwrap(), 3);
            assert_eq!(dir.open("lock", flags, 0).unwrap_err(), Errno::ACCESS);
            first
        });
        as_user(BOB, || {
            assert_eq!(dir.open("lock", flags, 0).unwrap_err(), Errno::ACCESS)
        });
        assert_eq!(fstat(&kept).unwrap().st_size, 3);
        assert!(dir.open("lock", flags, 0).is_ok());
        as_user(ALICE, || dir.unlink("lock").unwrap());
        as_user(BOB, || assert!(dir.open("lock", flags, 0).is_ok()));
    });
}

/// By semantics 1.1: the mode of a new file obeys the umask; its first descriptor obeys the flags, not the mode.
#[test]
fn new_mode_and_umask() {
    both(|dir| {
        as_user(ALICE, || {
            for (mask, asked, got) in [(0o022, 0o666, 0o644), (0o077, 0o777, 0o700), (0, 0o7777, 0o7777)] {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
                drop(dir.open("f", EXCL, asked).unwrap());
                assert_eq!(dir.mode("f"), got);
                dir.unlink("f").unwrap();
            }
            let fd = dir.open("f", EXCL, 0).unwrap();
            assert_eq!(write(&fd, b"x").unwrap(), 1);
            assert_eq!(pread(&fd, 1, 0).unwrap(), b"x");
            let stat = dir.lstat("f").unwrap();
            assert_eq!((stat.st_uid, stat.st_gid), (ALICE.uid, ALICE.gid));
        });
    });
}

/// By semantics 1.1: O_TMPFILE has no name until linkat(2) gives it one; with O_EXCL it never gets one.
#[test]
fn o_tmpfile_and_linkat() {
    both(|dir| {
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        let fd = dir.open(".", flags, 0o640).unwrap();
        write_all(&fd, b"hidden");
        assert_eq!(fstat(&fd).unwrap().st_nlink, 0);
        assert_eq!(fstat(&fd).unwrap().st_mode, 0o100_640);
        assert!(dir.names().is_empty());
        dir.link_fd(&fd, "shown").unwrap();
        assert_eq!(fstat(&fd).unwrap().st_nlink, 1);
        assert_eq!(dir.read("shown").unwrap(), b"hidden");
        assert_eq!(dir.lstat("shown").unwrap().st_ino, fstat(&fd).unwrap().st_ino);
        assert_eq!(dir.link_fd(&fd, "shown").unwrap_err(), Errno::EXIST);
        dir.link_fd(&fd, "again").unwrap();
        assert_eq!(fstat(&fd).unwrap().st_nlink, 2);
        let never = dir.open(".", flags | OFlags::EXCL, 0o640).unwrap();
        assert_eq!(dir.link_fd(&never, "never").unwrap_err(), Errno::NOENT);
        assert_eq!(
            dir.open(".", OFlags::TMPFILE | OFlags::RDONLY, 0o640).unwrap_err(),
            Errno::INVAL
        );
        assert_eq!(dir.open("shown", flags, 0o640).unwrap_err(), Errno::NOTDIR);
        assert_eq!(dir.open("missing", flags, 0o640).unwrap_err(), Errno::NOENT);
    });
}

/// By semantics 1.1: an unlinked file can't come back by linkat(2).
#[test]
fn unlinked_files_stay_unlinked() {
    both(|dir| {
        let fd = dir.create("f");
        dir.unlink("f").unwrap();
        assert_eq!(fstat(&fd).unwrap().st_nlink, 0);
        assert_eq!(dir.link_fd(&fd, "back").unwrap_err(), Errno::NOENT);
    });
}

/// By semantics 1.1: O_DIRECT works on tmpfs, with any alignment.
#[test]
fn o_direct() {
    both(|dir| {
        let fd = dir.open("f", EXCL | OFlags::DIRECT, 0o644).unwrap();
        assert_eq!(pwrite(&fd, b"unaligned", 3).unwrap(), 9);
        assert_eq!(pread(&fd, 100, 3).unwrap(), b"unaligned");
        let plain = dir.open("f", OFlags::RDWR, 0).unwrap();
        assert_eq!(pwrite(&plain, b"U", 3).unwrap(), 1);
        assert_eq!(pread(&fd, 2, 3).unwrap(), b"Un");
        assert_eq!(pwrite(&fd, b"A", 5).unwrap(), 1);
        assert_eq!(pread(&plain, 3, 3).unwrap(), b"UnA");
    });
}

/// By semantics 1.1: a descriptor does what its flags say.
#[test]
fn access_modes() {
    both(|dir| {
        dir.file("f", b"abc", 0o644);
        let reader = dir.open("f", OFlags::RDONLY, 0).unwrap();
        let writer = dir.open("f", OFlags::WRONLY, 0).unwrap();
        assert_eq!(write(&reader, b"x").unwrap_err(), Errno::BADF);
        assert_eq!(read(&writer, &mut [0; 1][..]).unwrap_err(), Errno::BADF);
        assert_eq!(ftruncate(&reader, 0).unwrap_err(), Errno::INVAL);
        assert_eq!(io::read(&reader, &mut [0; 9][..]).unwrap(), 3);
        assert_eq!(io::read(&reader, &mut [0; 9][..]).unwrap(), 0);
        assert_eq!(pread(&reader, 5, 1 << 40).unwrap(), b"");
        assert_eq!(dir.open("f", OFlags::NOATIME, 0).map(|_| ()), Ok(()));
        as_user(CAROL, || {
            assert_eq!(dir.open("f", OFlags::NOATIME, 0).unwrap_err(), Errno::PERM)
        });
    });
}

/// By semantics 2.3: mkstemp, mkdtemp, tmpfile and mktemp(1) work.
#[test]
fn temporary_names() {
    both(|dir| {
        let file = tempfile::NamedTempFile::new_in(dir.path("")).unwrap();
        let folder = tempfile::tempdir_in(dir.path("")).unwrap();
        let nameless = tempfile::tempfile_in(dir.path("")).unwrap();
        assert_eq!(
            file.as_file().metadata().unwrap().len() + nameless.metadata().unwrap().len(),
            0
        );
        assert_eq!(dir.names().len(), 2);
        let (path, folder) = (file.path().to_owned(), folder.path().to_owned());
        let mut mktemp = std::process::Command::new("mktemp");
        let out = mktemp.arg("--tmpdir").env("TMPDIR", dir.path("")).output().unwrap();
        assert!(out.status.success());
        assert!(path.exists() && folder.exists());
        assert_eq!(dir.names().len(), 3);
    });
}
