//! A symlink planted where somebody walks by (semantics 3.2): every system call, root and others, the link at the end of the path
//! and before it; and one's own link or one of the directory's owner in the same place, which is followed.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ops::{End, OPS, Op, Places};
use super::{ATTACKER, VICTIMS, World, on, on_both, symlink};
use crate::common::identity::{BOB, Identity, ROOT};
use crate::common::{Errno, Kind, OFlags, as_user, xattr};

/// Where the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Last,
    Middle,
}

/// A victim's own directory, which is nobody else's business.
pub struct Home {
    pub path: PathBuf,
    _listener: Option<UnixListener>,
    _receiver: Option<UnixDatagram>,
}

impl Home {
    /// Makes and fills it.
    pub fn furnish(world: &World, name: &str, end: End, owner: Identity) -> Self {
        let dir = world.mount.dir().subdir(name, 0o700);
        world
            .mount
            .dir()
            .chown(name, Some(owner.uid), Some(owner.gid))
            .expect("chown");
        let path = world.path(name);
        let (listener, receiver) = as_user(owner, || {
            dir.file("file", b"treasure", 0o600);
            dir.mkdir("dir", 0o700).expect("mkdir");
            dir.symlink("file", "link").expect("symlink");
            if end == End::Program {
                let copied = Command::new("cp").arg("/bin/true").arg(path.join("program")).status();
                assert!(copied.expect("cp").success());
            }
            let listener = (end == End::Socket).then(|| UnixListener::bind(path.join("socket")).expect("bind"));
            let receiver = (end == End::Datagrams).then(|| UnixDatagram::bind(path.join("datagrams")).expect("bind"));
            (listener, receiver)
        });
        Self {
            path,
            _listener: listener,
            _receiver: receiver,
        }
    }

    /// Everything about it that only its owner should be able to change.
    pub fn fingerprint(&self) -> Vec<String> {
        let mut lines = vec![];
        describe(&self.path, &mut lines);
        lines.sort();
        lines
    }
}

fn describe(path: &Path, lines: &mut Vec<String>) {
    let m = std::fs::symlink_metadata(path).expect("lstat");
    let names = xattr::list(path).expect("listxattr");
    lines.push(format!(
        "{} {:o} {}:{} {} {} {}.{} {names:?}",
        path.display(),
        m.mode(),
        m.uid(),
        m.gid(),
        m.nlink(),
        m.size(),
        m.mtime(),
        m.mtime_nsec()
    ));
    if m.is_dir() {
        for entry in std::fs::read_dir(path).expect("readdir") {
            describe(&entry.expect("an entry").path(), lines);
        }
    }
}

/// Where the link leads, and the path that the victim uses.
fn way(world: &World, op: &Op, place: Place, home: &Path, link: &str) -> (PathBuf, PathBuf) {
    match place {
        Place::Last => (home.join(op.end.name()), world.path(link)),
        Place::Middle => (home.to_owned(), world.path(link).join(op.end.name())),
    }
}

fn attack(world: &World, op: &Op, place: Place, victim: Identity) {
    let what = format!("{} by {} through a link, {place:?}", op.name, victim.uid);
    let tag = format!("{}-{}", op.name, victim.uid);
    let home = Home::furnish(world, &format!("home-{tag}"), op.end, victim);
    let trap = format!("trap-{tag}");
    let (target, path) = way(world, op, place, &home.path, &trap);
    world.plant(&target, &trap);
    let before = home.fingerprint();
    let result = as_user(victim, || (op.act)(&path));
    world.judge_follow(&what, result, victim, &format!("/{trap}"));
    // A file without a name leaves no trace but the times.
    let harmed = home.fingerprint() != before;
    let visible = op.harms && op.name != "open-tmpfile";
    assert_eq!(
        harmed,
        visible && !world.owltmp(),
        "{what}: the victim's directory has changed"
    );
    as_user(victim, || {
        let dir = world.mount.dir();
        assert_eq!(dir.lstat(&trap).expect("lstat").st_uid, ATTACKER.uid);
        let read = dir.readlink(&trap).expect("readlink reads");
        assert_eq!(read, target.as_os_str().as_encoded_bytes());
    });
}

/// The same through one's own link, and through one of the directory's owner.
fn legitimate(world: &World, op: &Op, place: Place, victim: Identity) {
    for planter in [victim, ROOT] {
        let tag = format!("{}-{}-{}", op.name, victim.uid, planter.uid);
        let home = Home::furnish(world, &format!("own-home-{tag}"), op.end, victim);
        let (target, path) = way(world, op, place, &home.path, &format!("own-{tag}"));
        as_user(planter, || symlink(&target, &world.path(&format!("own-{tag}"))));
        let result = as_user(victim, || (op.act)(&path));
        assert_eq!(
            result,
            Ok(()),
            "{} by {} through a link of {}",
            op.name,
            victim.uid,
            planter.uid
        );
        if planter == victim && victim == ROOT {
            break;
        }
    }
}

fn attack_with_all(place: Place) {
    on_both(|world| {
        for op in OPS {
            if place == Place::Last && op.places == Places::Middle {
                continue;
            }
            for victim in VICTIMS {
                if victim == ROOT || !op.only_root {
                    attack(world, op, place, victim);
                    legitimate(world, op, place, victim);
                }
            }
        }
    });
}

/// By semantics 3.2, as the last component.
#[test]
fn a_planted_link_at_the_end_is_not_followed() {
    attack_with_all(Place::Last);
}

/// By semantics 3.2, before the last component.
#[test]
fn a_planted_link_in_the_middle_is_not_followed() {
    attack_with_all(Place::Middle);
}

/// By semantics 3.2: a link moved away beforehand is judged by where it is, and a link with several names by all of them.
#[test]
fn every_sticky_directory_with_a_name_counts() {
    on_both(|world| {
        let home = Home::furnish(world, "home", End::File, BOB);
        let dir = world.mount.dir();
        dir.subdir("alice", 0o777);
        let read = |name: &str| as_user(BOB, || dir.read(name).map(drop));
        world.plant(home.path.join("file"), "alice/inside");
        assert_eq!(read("alice/inside"), Ok(()), "not in a sticky directory");
        as_user(ATTACKER, || dir.link("alice/inside", "named-twice").expect("link"));
        world.judge("its name in the sticky directory", read("named-twice"), Errno::ACCESS);
        world.judge("its other name", read("alice/inside"), Errno::ACCESS);
        as_user(ATTACKER, || dir.unlink("named-twice").expect("unlink"));
        assert_eq!(read("alice/inside"), Ok(()), "no longer in the sticky directory");
        as_user(ATTACKER, || dir.rename("alice/inside", "moved").expect("rename"));
        world.judge_follow("moved into the sticky directory", read("moved"), BOB, "/moved");
        as_user(ATTACKER, || dir.rename("moved", "alice/inside").expect("rename"));
        assert_eq!(read("alice/inside"), Ok(()), "moved out again");
        // Sticky, but only its owner writes there: it is his link that counts.
        dir.subdir("narrow", 0o1755);
        dir.rename("alice/inside", "narrow/foreign").expect("rename");
        world.judge_follow("sticky is enough", read("narrow/foreign"), BOB, "/narrow/foreign");
        dir.chmod("narrow", 0o755).expect("chmod");
        assert_eq!(read("narrow/foreign"), Ok(()), "and no longer sticky");
    });
}

/// By semantics 3.2: `log` lets it pass and tells, `off` says nothing, `strict` refuses to read as well.
#[test]
fn the_option_says_what_becomes_of_it() {
    let prepare = |world: &World| {
        let home = Home::furnish(world, "home", End::File, BOB);
        world.plant(home.path.join("file"), "trap");
    };
    on(Kind::Owltmp, "symlinks=log", |world| {
        prepare(world);
        assert!(as_user(BOB, || world.mount.dir().read("trap")).is_ok());
        world.last_event();
        let stderr = world.mount.stderr();
        let noted = stderr
            .lines()
            .find(|line| line.contains("noted symlinks: uid=60002 pid="));
        let noted = noted.unwrap_or_else(|| panic!("no event in:\n{stderr}"));
        assert!(
            noted.contains("object=\"/trap\"") && !noted.contains("errno="),
            "{noted}"
        );
    });
    on(Kind::Owltmp, "symlinks=off", |world| {
        prepare(world);
        assert!(as_user(BOB, || world.mount.dir().read("trap")).is_ok());
        assert_eq!(world.events_of(BOB), 0);
    });
    on(Kind::Owltmp, "symlinks=strict", |world| {
        prepare(world);
        as_user(BOB, || {
            let dir = world.mount.dir();
            assert_eq!(dir.open("trap", OFlags::RDONLY, 0).unwrap_err(), Errno::ACCESS);
            assert_eq!(dir.readlink("trap").unwrap_err(), Errno::ACCESS);
            assert_eq!(dir.lstat("trap").expect("lstat").st_uid, ATTACKER.uid);
        });
        as_user(ATTACKER, || {
            world.mount.dir().readlink("trap").expect("one's own is read")
        });
    });
}
