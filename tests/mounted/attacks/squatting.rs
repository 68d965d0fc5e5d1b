//! A file that is there before its victim creates it without O_EXCL, and then writes his secrets into it (semantics 3.4). Every way to
//! open with O_CREAT, also those whose flags nobody can see.

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat};
use std::path::Path;

use super::{ATTACKER, Event, VICTIMS, World, on, on_both};
use crate::common::dir::Sys;
use crate::common::identity::{ALICE, BOB, CAROL, Identity, ROOT};
#[cfg(target_arch = "x86_64")]
use crate::common::raw;
use crate::common::uring::{self, By};
use crate::common::{Errno, Kind, as_user};

/// A way to open what may be there already, for writing, without ever waiting.
pub type Way = (&'static str, fn(&Path) -> Sys<OwnedFd>);

const CREATE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

fn openat(path: &Path, flags: OFlags) -> Sys<OwnedFd> {
    rustix::fs::openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)
}

fn openat2(path: &Path, flags: OFlags) -> Sys<OwnedFd> {
    rustix::fs::openat2(CWD, path, flags, Mode::RUSR | Mode::WUSR, ResolveFlags::NO_SYMLINKS)
}

/// All ways with O_CREAT.
pub const WAYS: &[Way] = &[
    ("openat", |p| openat(p, CREATE)),
    ("openat-trunc", |p| openat(p, CREATE | OFlags::TRUNC)),
    ("openat-append", |p| openat(p, CREATE | OFlags::APPEND)),
    ("openat-rdwr", |p| {
        openat(p, CREATE.difference(OFlags::WRONLY) | OFlags::RDWR)
    }),
    ("openat-nofollow", |p| openat(p, CREATE | OFlags::NOFOLLOW)),
    ("openat2", |p| openat2(p, CREATE)),
    ("uring", |p| uring::open(By::Submitter, p, CREATE)),
    ("uring-worker", |p| uring::open(By::Worker, p, CREATE)),
    ("uring-poller", |p| uring::open(By::Poller, p, CREATE)),
    ("uring-openat2", |p| uring::open2(By::Submitter, p, CREATE)),
    ("uring-trunc", |p| uring::open(By::Submitter, p, CREATE | OFlags::TRUNC)),
    #[cfg(target_arch = "x86_64")]
    ("open", |p| raw::open(p, CREATE)),
    #[cfg(target_arch = "x86_64")]
    ("creat", raw::creat),
    #[cfg(target_arch = "x86_64")]
    ("open-32-bit", |p| raw::open32(p, CREATE)),
    #[cfg(target_arch = "x86_64")]
    ("creat-32-bit", raw::creat32),
];

/// The event of a refused open.
pub fn told(world: &World, victim: Identity, object: &str) {
    told_any(world, victim, &[object]);
}

/// The same for an object with several names, of which it tells one.
pub fn told_any(world: &World, victim: Identity, names: &[&str]) {
    let names: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
    let events: Vec<Event> = names
        .iter()
        .map(|object| Event {
            rule: "squatting",
            uid: victim.uid,
            object,
            owner: ATTACKER.uid,
            errno: "EACCES",
        })
        .collect();
    world.event_of(&events);
}

/// A file that anybody may write, of somebody.
fn file(world: &World, owner: Identity, name: &str) {
    as_user(owner, || world.mount.dir().file(name, b"", 0o666));
}

/// The victim writes; the attacker reads.
fn attack(world: &World, way: &Way, victim: Identity) {
    let name = format!("{}-{}", way.0, victim.uid);
    file(world, ATTACKER, &name);
    let opened = as_user(victim, || way.1(&world.path(&name)));
    if let Ok(fd) = &opened {
        assert_eq!(fstat(fd).expect("fstat").st_uid, ATTACKER.uid, "it is his file");
        crate::common::dir::write_all(fd, b"secret");
    }
    world.judge(&format!("{} by {}", way.0, victim.uid), opened, Errno::ACCESS);
    told(world, victim, &name);
    let read = as_user(ATTACKER, || world.mount.dir().read(&name)).expect("his own");
    assert_eq!(read == b"secret", !world.owltmp());
}

#[test]
fn a_file_that_is_there_before() {
    on_both(|world| {
        for way in WAYS {
            for victim in VICTIMS {
                attack(world, way, victim);
            }
        }
    });
}

/// Where O_CREAT cannot be seen, opening for writing counts as that; for reading it doesn't.
#[test]
fn a_file_opened_by_io_uring_without_o_creat() {
    on_both(|world| {
        for by in [By::Submitter, By::Worker, By::Poller] {
            let name = format!("{by:?}");
            file(world, ATTACKER, &name);
            let path = world.path(&name);
            let written = as_user(BOB, || uring::open(by, &path, OFlags::WRONLY));
            world.judge("writing", written, Errno::ACCESS);
            told(world, BOB, &name);
            as_user(BOB, || uring::open(by, &path, OFlags::RDONLY).expect("reading"));
            as_user(ATTACKER, || uring::open(by, &path, CREATE).expect("one's own"));
        }
    });
}

/// O_CREAT for reading only is no less: it is the attacker who wrote what the victim believes his own.
#[test]
fn a_file_that_is_read() {
    on_both(|world| {
        file(world, ATTACKER, "squatted");
        for victim in VICTIMS {
            let flags = OFlags::CREATE | OFlags::RDONLY;
            let opened = as_user(victim, || world.mount.dir().open("squatted", flags, 0o600));
            world.judge("O_CREAT | O_RDONLY", opened, Errno::ACCESS);
            told(world, victim, "squatted");
        }
    });
}

/// The victim comes by a symlink of his own, so that only the rule of squatting is left.
#[test]
fn through_ones_own_symlink() {
    on_both(|world| {
        as_user(BOB, || world.mount.dir().symlink("squatted", "way").expect("symlink"));
        file(world, ATTACKER, "squatted");
        for way in WAYS {
            if ["openat-nofollow", "openat2"].contains(&way.0) {
                continue;
            }
            let opened = as_user(BOB, || way.1(&world.path("way")));
            world.judge(way.0, opened, Errno::ACCESS);
            told(world, BOB, "squatted");
        }
    });
}

/// By semantics 3.4: what is one's own, or the directory's owner's, or opened without O_CREAT, or in another directory, is opened as ever.
#[test]
fn what_is_not_squatted() {
    on_both(|world| {
        let dir = world.mount.dir();
        for way in WAYS {
            let names = [ROOT, BOB].map(|owner| {
                let name = format!("{}-of-{}", way.0, owner.uid);
                file(world, owner, &name);
                let opened = as_user(BOB, || way.1(&world.path(&name)).map(drop));
                assert_eq!(opened, Ok(()), "{name}");
                name
            });
            let opened = as_user(ROOT, || way.1(&world.path(&names[1])).map(drop));
            world.judge("root, of Bob's file", opened, Errno::ACCESS);
            let opened = as_user(BOB, || way.1(&world.path(&format!("{}-new", way.0))).map(drop));
            assert_eq!(opened, Ok(()), "{}: a new file", way.0);
        }
        file(world, ALICE, "foreign");
        let open = |flags| as_user(BOB, || dir.open("foreign", flags, 0o600).map(drop));
        assert_eq!(open(OFlags::RDWR), Ok(()));
        assert_eq!(open(OFlags::WRONLY | OFlags::TRUNC), Ok(()));
        assert_eq!(open(OFlags::WRONLY | OFlags::APPEND), Ok(()));
        assert_eq!(open(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL), Err(Errno::EXIST));
        assert_eq!(as_user(BOB, || dir.truncate("foreign", 0)), Ok(()));
    });
}

/// By semantics 3.4: in which directories it counts: sticky ones in which others than their owner may write.
#[test]
fn in_which_directories() {
    on_both(|world| {
        let root = world.mount.dir();
        for (mode, counts) in [
            (0o777, false),
            (0o775, false),
            (0o1755, false),
            (0o1777, true),
            (0o1775, true),
            (0o1757, true),
            (0o3777, true),
        ] {
            let name = format!("d{mode:o}");
            let dir = root.subdir(&name, mode);
            dir.file("foreign", b"", 0o666);
            dir.chown("foreign", Some(ATTACKER.uid), None).expect("chown");
            for victim in [ROOT, BOB, CAROL] {
                let opened = as_user(victim, || dir.open("foreign", OFlags::CREATE | OFlags::RDWR, 0o600));
                if counts {
                    world.judge(&name, opened, Errno::ACCESS);
                    told(world, victim, &format!("{name}/foreign"));
                } else {
                    opened.expect("the rule is not for this directory");
                }
            }
        }
        // The directory's owner is who counts, whoever that is.
        let dir = root.subdir("bobs", 0o1777);
        root.chown("bobs", Some(BOB.uid), None).expect("chown");
        as_user(BOB, || dir.file("bobs", b"", 0o666));
        as_user(CAROL, || {
            dir.open("bobs", OFlags::CREATE | OFlags::RDWR, 0)
                .expect("of the owner")
        });
        as_user(ROOT, || {
            dir.open("bobs", OFlags::CREATE | OFlags::RDWR, 0)
                .expect("of the owner")
        });
    });
}

/// By semantics 3.4: `log` lets it pass and tells, `off` says nothing.
#[test]
fn the_option_says_what_becomes_of_it() {
    for (options, events) in [("squatting=log", 1), ("squatting=off", 0)] {
        on(Kind::Owltmp, options, |world| {
            file(world, ATTACKER, "squatted");
            let flags = OFlags::CREATE | OFlags::WRONLY;
            as_user(BOB, || {
                world.mount.dir().open("squatted", flags, 0o600).expect("it passes")
            });
            world.last_event();
            let stderr = world.mount.stderr();
            let noted = stderr.lines().filter(|l| l.contains("noted squatting: uid=60002 pid="));
            assert_eq!(noted.count(), events, "{options}:\n{stderr}");
            assert!(!stderr.contains("refused squatting"), "{stderr}");
        });
    }
}
