//! A hard link to what belongs to somebody else (semantics 3.3): to keep a set-uid program that is going to be replaced, or to have
//! root change the owner of a file by its other name.

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::process::{Gid, Uid};
use rustix::thread;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use super::{ATTACKER, Event, World, on, on_both};
use crate::common::dir::Sys;
use crate::common::identity::{BOB, CAROL, Identity, ROOT};
use crate::common::uring::{self, By};
use crate::common::{Errno, Kind, as_user};

/// What the attacker would like a link to.
const OBJECTS: [&str; 6] = ["private", "readable", "setuid", "fifo", "socket", "symlink"];

/// Makes the victim's objects, in a sticky directory.
pub fn furnish(world: &World, owner: Identity) {
    let dir = world.mount.dir();
    as_user(owner, || {
        dir.file("private", b"", 0o600);
        dir.file("readable", b"", 0o644);
        let copied = Command::new("cp").arg("/bin/true").arg(world.path("setuid")).status();
        assert!(copied.expect("cp").success());
        dir.chmod("setuid", 0o4755).expect("chmod");
        dir.mknod("fifo", FileType::Fifo, 0o600, 0).expect("mkfifo");
        drop(UnixListener::bind(world.path("socket")).expect("bind"));
        dir.symlink("readable", "symlink").expect("symlink");
    });
}

fn links(world: &World, object: &str) -> u64 {
    world.mount.dir().lstat(object).expect("lstat").st_nlink
}

/// Tries all objects in that way.
fn attack_all(world: &World, victim: Identity, way: &str, link: impl Fn(&Path, &Path) -> Sys + Sync) {
    for object in OBJECTS {
        // A worker of the kernel does not say what it looks a FIFO up for, so that is as far as it comes (semantics 3.4).
        let unseen = way == "uring" && object == "fifo" && victim != ROOT;
        let (rule, errno, name) = match unseen {
            true => ("squatting", Errno::ACCESS, "EACCES"),
            false => ("hardlinks", Errno::PERM, "EPERM"),
        };
        for place in ["", "mine/"] {
            let new = world.path(&format!("{place}{way}-{object}"));
            let before = links(world, object);
            let result = as_user(ATTACKER, || link(&world.path(object), &new));
            let what = format!("{way}: {object} of {} into /{place}", victim.uid);
            world.judge(&what, result, errno);
            assert_eq!(links(world, object) != before, !world.owltmp());
            assert_eq!(new.symlink_metadata().is_ok(), !world.owltmp());
        }
        world.event(&Event {
            rule,
            uid: ATTACKER.uid,
            object: &format!("/{object}"),
            owner: victim.uid,
            errno: name,
        });
    }
}

/// The event of a refused link.
pub fn told(world: &World, caller: u32, object: &str, owner: u32) {
    world.event(&Event {
        rule: "hardlinks",
        uid: caller,
        object: &format!("/{object}"),
        owner,
        errno: "EPERM",
    });
}

/// The file itself, without any right on it.
fn path_fd(path: &Path) -> rustix::fd::OwnedFd {
    fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).expect("O_PATH")
}

fn by_name(old: &Path, new: &Path) -> Sys {
    fs::linkat(CWD, old, CWD, new, AtFlags::empty())
}

fn through_proc(old: &Path, new: &Path) -> Sys {
    let fd = path_fd(old);
    let old = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
    fs::linkat(CWD, old, CWD, new, AtFlags::SYMLINK_FOLLOW)
}

/// Since Linux 6.10 whoever opened a descriptor may do this with it.
fn of_a_descriptor(old: &Path, new: &Path) -> Sys {
    fs::linkat(path_fd(old), "", CWD, new, AtFlags::EMPTY_PATH)
}

fn attack(way: &str, link: impl Fn(&Path, &Path) -> Sys + Sync) {
    on_both(|world| {
        for victim in [ROOT, BOB] {
            let mine = format!("mine-{}", victim.uid);
            as_user(ATTACKER, || world.mount.dir().mkdir("mine", 0o755).expect("mkdir"));
            furnish(world, victim);
            attack_all(world, victim, way, &link);
            let dir = world.mount.dir();
            dir.rename("mine", &mine).expect("rename");
            for object in OBJECTS {
                dir.unlink(object).expect("unlink");
                let _ = dir.unlink(&format!("{way}-{object}"));
            }
        }
    });
}

#[test]
fn by_its_name() {
    attack("name", by_name);
}

#[test]
fn through_a_descriptor_in_proc() {
    attack("proc", through_proc);
}

#[test]
fn by_a_descriptor_alone() {
    attack("fd", of_a_descriptor);
}

#[test]
fn through_io_uring() {
    attack("uring", |old, new| uring::link(By::Worker, old, new));
}

/// A symlink to the file, which linkat(2) is told to follow: one's own, so that only the rule of hard links is left.
#[test]
fn through_ones_own_symlink() {
    on_both(|world| {
        furnish(world, BOB);
        world.plant("private", "way");
        let result = as_user(ATTACKER, || {
            fs::linkat(CWD, world.path("way"), CWD, world.path("got"), AtFlags::SYMLINK_FOLLOW)
        });
        world.judge("linkat with AT_SYMLINK_FOLLOW", result, Errno::PERM);
        told(world, ATTACKER.uid, "private", BOB.uid);
    });
}

/// Runs `body` in a thread with these ids, real and effective; the saved one is the effective.
fn with_ids<T: Send>(real: u32, effective: u32, body: impl FnOnce() -> T + Send) -> T {
    as_user(ROOT, || {
        let gid = Gid::from_raw(effective);
        thread::set_thread_res_gid(gid, gid, gid).expect("setresgid");
        let (real, effective) = (Uid::from_raw(real), Uid::from_raw(effective));
        thread::set_thread_res_uid(real, effective, effective).expect("setresuid");
        body()
    })
}

/// By semantics 3.3: the owner, whichever of his ids says so, a real root, and a holder of CAP_FOWNER may link; nobody else.
#[test]
fn who_may_link() {
    on_both(|world| {
        furnish(world, BOB);
        let link = |name: &str| world.mount.dir().link("private", name);
        assert_eq!(as_user(BOB, || link("owner")), Ok(()));
        assert_eq!(as_user(ROOT, || link("root")), Ok(()));
        assert_eq!(with_ids(CAROL.uid, BOB.uid, || link("effective")), Ok(()));
        assert_eq!(with_ids(BOB.uid, CAROL.uid, || link("real")), Ok(()));
        assert_eq!(with_ids(ROOT.uid, CAROL.uid, || link("real-root")), Ok(()));
        assert_eq!(
            as_user(BOB, || of_a_descriptor(&world.path("private"), &world.path("fd"))),
            Ok(())
        );
        assert_eq!(
            as_user(BOB, || through_proc(&world.path("private"), &world.path("proc"))),
            Ok(())
        );
        let refused = with_ids(ATTACKER.uid, CAROL.uid, || {
            world.mount.dir().link("readable", "neither")
        });
        world.judge("neither id", refused, Errno::PERM);
        told(world, CAROL.uid, "readable", BOB.uid);
        let capable = Command::new("setpriv")
            .args(["--reuid=60003", "--regid=60003", "--clear-groups"])
            .args([
                "--inh-caps=+fowner",
                "--ambient-caps=+fowner",
                "ln",
                "private",
                "capable",
            ])
            .current_dir(world.mount.path())
            .status();
        assert!(capable.expect("setpriv").success(), "CAP_FOWNER");
    });
}

/// By semantics 3.3: `log` lets it pass and tells, `off` says nothing.
#[test]
fn the_option_says_what_becomes_of_it() {
    for (options, events) in [("hardlinks=log", 1), ("hardlinks=off", 0)] {
        on(Kind::Owltmp, options, |world| {
            furnish(world, BOB);
            as_user(ATTACKER, || {
                world.mount.dir().link("private", "got").expect("it passes")
            });
            // Something later in the same log, of another rule.
            world.plant("readable", "trap");
            let refused = as_user(CAROL, || world.mount.dir().read("trap"));
            assert_eq!(refused, Err(Errno::ACCESS));
            world.event(&Event {
                rule: "symlinks",
                uid: CAROL.uid,
                object: "/trap",
                owner: ATTACKER.uid,
                errno: "EACCES",
            });
            let stderr = world.mount.stderr();
            let noted = stderr.lines().filter(|l| l.contains("noted hardlinks: uid=60001 pid="));
            assert_eq!(noted.count(), events, "{options}:\n{stderr}");
            assert!(!stderr.contains("refused hardlinks"), "{stderr}");
        });
    }
}
