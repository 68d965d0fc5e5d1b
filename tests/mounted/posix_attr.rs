//! Attributes: owners, modes and what clears them, times, link counts, inode numbers; on tmpfs and on owltmp.

use rustix::fs::{AtFlags, StatxFlags, UTIME_NOW, UTIME_OMIT, statx};
use rustix::io::pwrite;

use crate::common::identity::{ALICE, BOB, CAROL, Identity, SHARED};
use crate::common::{Dir, Errno, OFlags, as_user, both, both_with};

/// By semantics 1.1: utimensat(2) at nanoseconds, with UTIME_NOW and UTIME_OMIT, and who may use it.
#[test]
fn setting_times() {
    both(|dir| {
        dir.file("f", b"", 0o666);
        dir.set_times("f", (-5, 999_999_999), (1 << 33, 123_456_789)).unwrap();
        let stat = dir.stat("f").unwrap();
        assert_eq!((stat.st_atime, stat.st_atime_nsec), (-5, 999_999_999));
        assert_eq!((stat.st_mtime, stat.st_mtime_nsec), (1 << 33, 123_456_789));
        dir.set_times("f", (0, UTIME_OMIT), (7, 8)).unwrap();
        let stat = dir.stat("f").unwrap();
        assert_eq!((stat.st_atime, stat.st_mtime, stat.st_mtime_nsec), (-5, 7, 8));
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            .cast_signed();
        dir.set_times("f", (0, UTIME_NOW), (0, UTIME_OMIT)).unwrap();
        let stat = dir.stat("f").unwrap();
        assert!(stat.st_atime >= now - 1 && stat.st_atime < now + 100);
        assert_eq!(stat.st_mtime, 7);
        assert_eq!(
            dir.set_times("f", (0, 1_000_000_000), (0, 0)).unwrap_err(),
            Errno::INVAL
        );
        dir.symlink("f", "l").unwrap();
        dir.set_times("l", (3, 0), (4, 0)).unwrap();
        assert_eq!(
            (dir.lstat("l").unwrap().st_mtime, dir.stat("f").unwrap().st_mtime),
            (4, 7)
        );
        as_user(CAROL, || {
            assert_eq!(dir.set_times("f", (1, 0), (1, 0)).unwrap_err(), Errno::PERM);
            assert_eq!(
                dir.set_times("f", (0, UTIME_NOW), (0, UTIME_OMIT)).unwrap_err(),
                Errno::PERM
            );
            dir.set_times("f", (0, UTIME_NOW), (0, UTIME_NOW)).unwrap();
        });
        assert!(dir.stat("f").unwrap().st_mtime >= now - 1);
        dir.chmod("f", 0o644).unwrap();
        as_user(CAROL, || {
            assert_eq!(
                dir.set_times("f", (0, UTIME_NOW), (0, UTIME_NOW)).unwrap_err(),
                Errno::ACCESS
            );
        });
    });
}

/// By semantics 1.1: files made one after the other are not older one than the other, whichever filesystem each is in:
/// what make(1) goes by.
#[test]
fn later_is_not_older_on_another_filesystem() {
    both(|dir| {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let outside = Dir::open_root(folder.path(), dir.kind()).unwrap();
        let names: Vec<String> = (0..100).map(|i| format!("f{i}")).collect();
        for name in &names {
            for place in [dir, &outside] {
                place.file(name, b"x", 0o644);
            }
        }
        let time = |place: &Dir, name: &str| {
            let stat = place.stat(name).unwrap();
            (stat.st_mtime, stat.st_mtime_nsec)
        };
        for (i, name) in names.iter().enumerate() {
            assert!(time(dir, name) <= time(&outside, name), "{name} was made here first");
            if let Some(next) = names.get(i + 1) {
                assert!(time(&outside, name) <= time(dir, next), "{name} was made outside first");
            }
        }
    });
}

/// By semantics 1.1: statx(2) knows the time of birth, which nothing changes.
#[test]
fn birth_time() {
    both(|dir| {
        let birth = |name: &str| {
            let got = statx(
                dir.fd(),
                name,
                AtFlags::SYMLINK_NOFOLLOW,
                StatxFlags::BTIME | StatxFlags::ALL,
            )
            .unwrap();
            assert_ne!(got.stx_mask & StatxFlags::BTIME.bits(), 0, "{name}");
            (got.stx_btime.tv_sec, got.stx_btime.tv_nsec)
        };
        dir.file("f", b"", 0o644);
        dir.mkdir("d", 0o755).unwrap();
        dir.symlink("x", "l").unwrap();
        let (f, d) = (birth("f"), birth("d"));
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            .cast_signed();
        assert!(f.0 > now - 60 && f.0 <= now && birth("l").0 > now - 60);
        dir.set_times("f", (1, 1), (1, 1)).unwrap();
        dir.rename("f", "g").unwrap();
        dir.chmod("d", 0o700).unwrap();
        assert_eq!((birth("g"), birth("d")), (f, d));
    });
}

fn write_as(who: Identity, dir: &Dir) {
    as_user(who, || {
        assert_eq!(pwrite(dir.open("f", OFlags::WRONLY, 0).unwrap(), b"user", 0), Ok(4))
    });
}

fn changed<T>(dir: &Dir, name: &str, action: impl FnOnce() -> T) -> String {
    dir.set_times(name, (1_000_000_000, 0), (1_000_000_000, 0)).unwrap();
    let before = dir.lstat(name).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(9));
    action();
    let after = dir.lstat(name).unwrap();
    let mut which = String::new();
    for (letter, b, a) in [
        (
            'a',
            (before.st_atime, before.st_atime_nsec),
            (after.st_atime, after.st_atime_nsec),
        ),
        (
            'm',
            (before.st_mtime, before.st_mtime_nsec),
            (after.st_mtime, after.st_mtime_nsec),
        ),
        (
            'c',
            (before.st_ctime, before.st_ctime_nsec),
            (after.st_ctime, after.st_ctime_nsec),
        ),
    ] {
        if a != b {
            which.push(letter);
        }
    }
    which
}

/// By semantics 1.1: which times of a file a call changes.
#[test]
fn times_of_a_file() {
    both(|dir| {
        dir.file("f", &[b'x'; 9000], 0o644);
        let fd = dir.open("f", OFlags::RDWR, 0).unwrap();
        assert_eq!(changed(dir, "f", || dir.open("f", OFlags::RDWR, 0).unwrap()), "");
        assert_eq!(changed(dir, "f", || pwrite(&fd, b"x", 0).unwrap()), "mc");
        assert_eq!(changed(dir, "f", || pwrite(&fd, b"", 0).unwrap()), "");
        assert_eq!(changed(dir, "f", || dir.truncate("f", 100).unwrap()), "mc");
        assert_eq!(changed(dir, "f", || dir.truncate("f", 100).unwrap()), "mc");
        assert_eq!(changed(dir, "f", || rustix::fs::ftruncate(&fd, 100).unwrap()), "mc");
        assert_eq!(
            changed(dir, "f", || drop(
                dir.open("f", OFlags::RDWR | OFlags::TRUNC, 0).unwrap()
            )),
            "mc"
        );
        assert_eq!(
            changed(dir, "f", || drop(
                dir.open("f", OFlags::RDWR | OFlags::TRUNC, 0).unwrap()
            )),
            "mc"
        );
        assert_eq!(changed(dir, "f", || dir.chmod("f", 0o644).unwrap()), "c");
        assert_eq!(changed(dir, "f", || dir.chown("f", Some(0), None).unwrap()), "c");
        assert_eq!(changed(dir, "f", || dir.chown("f", None, None).unwrap()), "c");
        assert_eq!(changed(dir, "f", || dir.link("f", "g").unwrap()), "c");
        assert_eq!(changed(dir, "f", || dir.unlink("g").unwrap()), "c");
        assert_eq!(
            changed(dir, "f", || dir
                .rename("f", "h")
                .and_then(|()| dir.rename("h", "f"))
                .unwrap()),
            "c"
        );
        let path = dir.path("f");
        let set = || crate::common::xattr::set(&path, "user.x", b"1").unwrap();
        assert_eq!(changed(dir, "f", set), "c");
        let get = || crate::common::xattr::get(&path, "user.x").unwrap();
        assert_eq!(changed(dir, "f", get), "");
        let allocate = |mode, len| nix::fcntl::fallocate(&fd, mode, 0, len).unwrap();
        use nix::fcntl::FallocateFlags as F;
        assert_eq!(changed(dir, "f", || allocate(F::empty(), 50_000)), "mc");
        assert_eq!(changed(dir, "f", || allocate(F::FALLOC_FL_KEEP_SIZE, 90_000)), "mc");
        assert_eq!(
            changed(dir, "f", || allocate(
                F::FALLOC_FL_PUNCH_HOLE | F::FALLOC_FL_KEEP_SIZE,
                8192
            )),
            "mc"
        );
    });
}

/// By semantics 1.1: reading a file for the first time changes its atime, as relatime has it.
#[test]
fn atime_of_a_file() {
    both(|dir| {
        dir.file("f", b"text", 0o644);
        let fd = dir.open("f", OFlags::RDONLY, 0).unwrap();
        let read = || crate::common::dir::pread(&fd, 4, 0).unwrap();
        assert_eq!(changed(dir, "f", read), "a");
        let quiet = dir.open("f", OFlags::RDONLY | OFlags::NOATIME, 0).unwrap();
        assert_eq!(
            changed(dir, "f", || drop(crate::common::dir::pread(&quiet, 4, 0).unwrap())),
            ""
        );
        dir.symlink("f", "l").unwrap();
        assert_eq!(changed(dir, "l", || dir.readlink("l").unwrap()), "a");
        dir.subdir("d", 0o755).file("x", b"", 0o644);
        assert_eq!(changed(dir, "d", || dir.sub("d").names()), "a");
    });
}

/// By semantics 1.1: which times of a directory a change in it changes.
#[test]
fn times_of_a_directory() {
    both(|dir| {
        let d = dir.subdir("d", 0o755);
        dir.file("outside", b"", 0o644);
        assert_eq!(changed(dir, "d", || d.file("f", b"", 0o644)), "mc");
        assert_eq!(changed(dir, "d", || d.lstat("f").unwrap()), "");
        assert_eq!(changed(dir, "d", || d.chmod("f", 0o600).unwrap()), "");
        assert_eq!(changed(dir, "d", || d.link("f", "g").unwrap()), "mc");
        assert_eq!(changed(dir, "d", || d.rename("g", "h").unwrap()), "mc");
        assert_eq!(changed(dir, "d", || dir.rename("outside", "d/inside").unwrap()), "mc");
        assert_eq!(changed(dir, "d", || dir.rename("d/inside", "outside").unwrap()), "mc");
        assert_eq!(changed(dir, "d", || d.mkdir("e", 0o755).unwrap()), "mc");
        assert_eq!(changed(dir, "d", || d.rmdir("e").unwrap()), "mc");
        assert_eq!(changed(dir, "d", || d.symlink("x", "l").unwrap()), "mc");
        assert_eq!(changed(dir, "d", || d.unlink("l").unwrap()), "mc");
        assert_eq!(
            changed(dir, "d", || drop(
                d.open(".", OFlags::TMPFILE | OFlags::RDWR, 0o600).unwrap()
            )),
            ""
        );
        assert_eq!(
            changed(dir, "d", || dir
                .rename("d", "x")
                .and_then(|()| dir.rename("x", "d"))
                .unwrap()),
            "c"
        );
        assert_eq!(changed(dir, "d", || d.mkdir("f", 0o755).unwrap_err()), "");
    });
}

/// By semantics 1.1: set-id bits go when somebody without CAP_FSETID writes or truncates, and whoever it is that chowns.
#[test]
fn set_id_bits_are_cleared() {
    both(|dir| {
        dir.file("f", b"xx", 0o777);
        dir.chown("f", Some(BOB.uid), Some(BOB.gid)).unwrap();
        let reset = || dir.chmod("f", 0o6777).unwrap();
        let fd = dir.open("f", OFlags::RDWR, 0).unwrap();
        reset();
        pwrite(&fd, b"root", 0).unwrap();
        assert_eq!(dir.mode("f"), 0o6777, "root has CAP_FSETID");
        dir.truncate("f", 1).unwrap();
        assert_eq!(dir.mode("f"), 0o6777);
        for who in [ALICE, BOB] {
            reset();
            write_as(who, dir);
            assert_eq!(dir.mode("f"), 0o777, "write by {who:?}");
            reset();
            as_user(who, || dir.truncate("f", 1).unwrap());
            assert_eq!(dir.mode("f"), 0o777, "truncate by {who:?}");
            reset();
            as_user(who, || drop(dir.open("f", OFlags::WRONLY | OFlags::TRUNC, 0).unwrap()));
            assert_eq!(dir.mode("f"), 0o777, "O_TRUNC by {who:?}");
        }
        reset();
        dir.chown("f", Some(BOB.uid), None).unwrap();
        assert_eq!(dir.mode("f"), 0o777, "chown by root");
        reset();
        as_user(BOB, || dir.chown("f", None, Some(SHARED)).unwrap());
        assert_eq!(dir.mode("f"), 0o777, "chgrp by the owner");
        reset();
        dir.chown("f", None, None).unwrap();
        assert_eq!(dir.mode("f"), 0o777, "even a chown that changes nothing");
    });
}

/// By semantics 1.1, 5.8: set-id bits on directories stay; S_ISGID without S_IXGRP stays when a member writes and on chown.
#[test]
fn set_id_bits_that_stay() {
    both(|dir| {
        dir.mkdir("d", 0o755).unwrap();
        dir.chmod("d", 0o6755).unwrap();
        dir.chown("d", Some(ALICE.uid), Some(ALICE.gid)).unwrap();
        assert_eq!(dir.mode("d"), 0o6755);
        dir.file("f", b"", 0o666);
        dir.chown("f", Some(ALICE.uid), Some(SHARED)).unwrap();
        dir.chmod("f", 0o2666).unwrap();
        write_as(BOB, dir);
        assert_eq!(dir.mode("f"), 0o2666);
        dir.chown("f", Some(BOB.uid), None).unwrap();
        assert_eq!(dir.mode("f"), 0o2666);
    });
}

/// By semantics 1.1: who may chmod and chown, and that S_ISGID goes when a non-member sets it.
#[test]
fn chmod_and_chown() {
    both(|dir| {
        dir.file("f", b"", 0o644);
        dir.chown("f", Some(ALICE.uid), Some(CAROL.gid)).unwrap();
        as_user(ALICE, || {
            dir.chmod("f", 0o2755).unwrap();
            assert_eq!(dir.mode("f"), 0o755);
            assert_eq!(dir.chown("f", None, Some(BOB.gid)).unwrap_err(), Errno::PERM);
            assert_eq!(dir.chown("f", Some(BOB.uid), None).unwrap_err(), Errno::PERM);
            dir.chown("f", Some(ALICE.uid), Some(SHARED)).unwrap();
            dir.chmod("f", 0o7755).unwrap();
            assert_eq!(dir.mode("f"), 0o7755);
        });
        as_user(BOB, || {
            assert_eq!(dir.chmod("f", 0o777).unwrap_err(), Errno::PERM);
            // A chown that changes nothing is still refused to others while there are set-id bits to clear.
            assert_eq!(dir.chown("f", None, None).unwrap_err(), Errno::PERM);
        });
        assert_eq!(dir.mode("f"), 0o7755);
        dir.chmod("f", 0o755).unwrap();
        as_user(BOB, || dir.chown("f", None, None).unwrap());
        assert_eq!(dir.lstat("f").unwrap().st_gid, SHARED);
    });
}

/// By semantics 1.1: what is created in a set-group-id directory takes its group, directories also the bit.
#[test]
fn set_group_id_directories() {
    both(|dir| {
        let d = dir.subdir("d", 0o777);
        dir.chown("d", None, Some(BOB.gid)).unwrap();
        dir.chmod("d", 0o2777).unwrap();
        as_user(ALICE, || {
            d.mkdir("sub", 0o755).unwrap();
            drop(d.open("f", OFlags::CREATE | OFlags::WRONLY, 0o2775).unwrap());
            d.symlink("x", "l").unwrap();
            d.mknod("p", crate::common::FileType::Fifo, 0o644, 0).unwrap();
            let nameless = d.open(".", OFlags::TMPFILE | OFlags::RDWR, 0o644).unwrap();
            assert_eq!(rustix::fs::fstat(&nameless).unwrap().st_gid, BOB.gid);
        });
        for name in ["sub", "f", "l", "p"] {
            assert_eq!(d.lstat(name).unwrap().st_gid, BOB.gid, "{name}");
        }
        assert_eq!((d.mode("sub"), d.mode("f")), (0o2755, 0o755));
    });
}

/// By semantics 1.4: an inode number is not given twice, and the nodes of one mount share a device.
#[test]
fn inode_numbers() {
    both(|dir| {
        let device = dir.stat(".").unwrap().st_dev;
        let mut seen = std::collections::HashSet::new();
        for round in 0..2000 {
            let stat = match round % 4 {
                0 => rustix::fs::fstat(dir.create("f")),
                1 => dir.mkdir("f", 0o755).and_then(|()| dir.lstat("f")),
                2 => dir.symlink("x", "f").and_then(|()| dir.lstat("f")),
                _ => rustix::fs::fstat(dir.open(".", OFlags::TMPFILE | OFlags::RDWR, 0o600).unwrap()),
            };
            let stat = stat.unwrap();
            assert!(seen.insert(stat.st_ino), "{} again", stat.st_ino);
            assert_eq!(stat.st_dev, device);
            if round % 4 != 3 {
                dir.unlink("f").or_else(|_| dir.rmdir("f")).unwrap();
            }
        }
    });
}

/// By semantics 1.1: what a stranger has written does not run as the file's owner. The kernel judges by the mode it
/// remembers, so it must learn that the bits are gone.
#[test]
fn what_a_stranger_wrote_runs_as_nobody_else() {
    type Change = fn(&rustix::fd::OwnedFd);
    both_with("suid,mode=0777", |dir| {
        let runs_as = || {
            let output = as_user(CAROL, || std::process::Command::new(dir.path("id")).arg("-u").output());
            String::from_utf8(output.unwrap().stdout).unwrap().trim().parse::<u32>()
        };
        std::fs::copy("/usr/bin/id", dir.path("id")).unwrap();
        let changes: [(&str, Change); 4] = [
            ("nothing", |_| {}),
            ("write", |fd| {
                pwrite(fd, b"\x7f", 0).unwrap();
            }),
            ("fallocate", |fd| {
                rustix::fs::fallocate(fd, rustix::fs::FallocateFlags::empty(), 0, 4096).unwrap();
            }),
            ("copy_file_range", |fd| {
                rustix::fs::copy_file_range(fd, Some(&mut 0), fd, Some(&mut (1 << 20)), 4096).unwrap();
            }),
        ];
        for (name, change) in changes {
            dir.chown("id", Some(ALICE.uid), Some(ALICE.gid)).unwrap();
            dir.chmod("id", 0o4777).unwrap();
            as_user(BOB, || change(&dir.open("id", OFlags::RDWR, 0).unwrap()));
            let owner = if name == "nothing" { ALICE } else { CAROL };
            assert_eq!(runs_as(), Ok(owner.uid), "after {name}");
            assert_eq!(dir.mode("id") & 0o4000 != 0, name == "nothing");
        }
    });
}
