//! A cleaner that removes old files as root, and what is swapped under it (the tmpwatch race); removal and renaming of what belongs to
//! others (semantics 3.1, 3.2). The moments are chosen, not raced for: the cleaner stops between its steps.

use rustix::fs::{AtFlags, Mode, OFlags, open, openat, unlinkat};
use rustix::mount::{UnmountFlags, unmount};
use std::path::Path;
use std::process::{Command, Stdio};

use super::ops::End;
use super::symlinks::Home;
use super::{ATTACKER, World, on, on_both};
use crate::common::dir::Sys;
use crate::common::identity::{BOB, ROOT};
use crate::common::{Errno, Kind, as_user};

/// How a cleaner goes into a directory that it has found to be one, and removes a file in it.
type Cleaner = fn(&Path) -> Sys;

fn by_path(dir: &Path) -> Sys {
    rustix::fs::unlink(dir.join("file"))
}

fn by_chdir(dir: &Path) -> Sys {
    rustix::process::chdir(dir)?;
    rustix::fs::unlink("file")
}

fn by_descriptor(dir: &Path) -> Sys {
    let fd = open(dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    unlinkat(&fd, "file", AtFlags::empty())
}

/// O_NOFOLLOW looks at the last component only: here it is a directory within.
fn by_nofollow(dir: &Path) -> Sys {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = open(dir.join("dir"), flags, Mode::empty())?;
    unlinkat(&fd, "inner", AtFlags::empty())
}

/// The cleaner looks, the attacker swaps, the cleaner cleans.
fn swapped(cleaner: Cleaner) {
    on_both(|world| {
        let home = Home::furnish(world, "home", End::File, ROOT);
        as_user(ROOT, || {
            world.mount.dir().sub("home").sub("dir").file("inner", b"", 0o600)
        });
        as_user(ATTACKER, || {
            let old = world.mount.dir().subdir("old", 0o777);
            old.file("file", b"", 0o666);
            old.subdir("dir", 0o777).file("inner", b"", 0o666);
        });
        let seen = world.mount.dir().lstat("old").expect("lstat");
        assert_eq!(seen.st_mode & 0o170_000, 0o040_000, "the cleaner sees a directory");
        as_user(ATTACKER, || world.mount.dir().rename("old", "away").expect("rename"));
        world.plant(&home.path, "old");
        let before = home.fingerprint();
        let result = as_user(ROOT, || cleaner(&world.path("old")));
        world.judge_follow("the cleaner goes on", result, ROOT, "/old");
        assert_eq!(home.fingerprint() != before, !world.owltmp(), "root's file is gone");
    });
}

#[test]
fn a_cleaner_that_uses_paths() {
    swapped(by_path);
}

#[test]
fn a_cleaner_that_changes_directory() {
    swapped(by_chdir);
}

#[test]
fn a_cleaner_that_opens_directories() {
    swapped(by_descriptor);
}

#[test]
fn a_cleaner_whose_o_nofollow_is_not_enough() {
    swapped(by_nofollow);
}

/// With O_NOFOLLOW at every step it is safe anywhere, and nobody is told of anything.
#[test]
fn a_cleaner_with_o_nofollow_throughout() {
    on_both(|world| {
        let home = Home::furnish(world, "home", End::File, ROOT);
        world.plant(&home.path, "old");
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = as_user(ROOT, || openat(world.mount.dir().fd(), "old", flags, Mode::empty()));
        assert_eq!(opened.unwrap_err(), Errno::NOTDIR);
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = as_user(ROOT, || openat(world.mount.dir().fd(), "old", flags, Mode::empty()));
        assert_eq!(opened.unwrap_err(), Errno::LOOP);
        as_user(ROOT, || {
            unlinkat(world.mount.dir().fd(), "old", AtFlags::empty()).expect("the link itself goes")
        });
        assert_eq!(world.events_of(ROOT), 0);
    });
}

/// By semantics 3.1: the kernel's own rule of sticky directories, as on tmpfs; it is no event. Without the sticky bit anybody may.
#[test]
fn names_of_others_stay() {
    on_both(|world| {
        let root = world.mount.dir();
        for (name, mode, allowed) in [("sticky", 0o1777, false), ("plain", 0o777, true)] {
            let dir = root.subdir(name, mode);
            as_user(BOB, || {
                for file in ["lock", "data", "config"] {
                    dir.file(file, b"bob's", 0o644);
                }
                dir.mkdir("dir", 0o755).expect("mkdir");
            });
            let results = as_user(ATTACKER, || {
                dir.file("evil", b"evil", 0o644);
                dir.symlink("/", "evil-link").expect("symlink");
                [
                    dir.rename("evil", "config"),
                    dir.rename("evil-link", "data"),
                    dir.unlink("lock"),
                    dir.rename("dir", "elsewhere"),
                    dir.rmdir(if allowed { "elsewhere" } else { "dir" }),
                ]
            });
            let expected = if allowed { Ok(()) } else { Err(Errno::PERM) };
            assert_eq!(results, [expected; 5], "{name}");
            if !allowed {
                assert_eq!(dir.read("config").expect("it is Bob's still"), b"bob's");
                dir.lstat("dir").expect("it is there still");
            }
        }
        assert_eq!(world.events_of(ATTACKER), 0);
    });
}

/// mount(8) on a planted link; `given` tells it more.
fn mount_succeeds(world: &World, given: &[&str], home: &Home) -> bool {
    let status = Command::new("mount")
        .args(["-i", "-t", "tmpfs", "-o", "nosuid"])
        .args(given)
        .arg("tmpfs")
        .arg(world.path("target"))
        .stderr(Stdio::null())
        .status();
    let mounted = status.expect("mount(8)").success();
    if mounted {
        unmount(home.path.join("dir"), UnmountFlags::NOFOLLOW).expect("umount");
    }
    mounted
}

/// mount(8), as it passes the path to the kernel. By itself it reads every link on the way, as realpath(3) does, and goes where they
/// lead: that is no following, and only `symlinks=strict` is against it.
#[test]
fn a_mount_follows_no_planted_link() {
    on_both(|world| {
        let home = Home::furnish(world, "home", End::Dir, ROOT);
        world.plant(home.path.join("dir"), "target");
        let mounted = mount_succeeds(world, &["--no-canonicalize"], &home);
        let result = if mounted { Ok(()) } else { Err(Errno::ACCESS) };
        world.judge_follow("mount(8)", result, ROOT, "/target");
    });
    on(Kind::Owltmp, "symlinks=strict", |world| {
        let home = Home::furnish(world, "home", End::Dir, ROOT);
        world.plant(home.path.join("dir"), "target");
        assert!(!mount_succeeds(world, &[], &home));
    });
}
