//! Reading a link is not following it, and the attacker would like the one to pass for the other (semantics 3.2): readlink(2) on
//! paths where the link is followed although a readlink(2) is under way.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, open, readlink, readlinkat};
use std::path::Path;

use super::ops::End;
use super::symlinks::Home;
use super::{ATTACKER, World, on_both, symlink};
use crate::common::dir::Sys;
use crate::common::identity::{BOB, Identity};
use crate::common::{Dir, Errno, as_user};

fn read(path: &Path) -> Sys {
    readlink(path, vec![]).map(drop)
}

/// The victim's directory has a link of every name that the path's end may have.
fn prepare(world: &World, victim: Identity) -> Home {
    let home = Home::furnish(world, "house", End::Link, victim);
    as_user(victim, || {
        let dir = world.mount.dir().sub("house");
        dir.symlink("file", "trap").expect("symlink");
    });
    world.plant(&home.path, "trap");
    home
}

fn judge(world: &World, what: &str, result: Sys) {
    world.judge_follow(what, result, BOB, "/trap");
}

/// The link before the end has the same name as the link at the end, or is the same.
#[test]
fn a_link_is_followed_to_a_link_of_its_name() {
    on_both(|world| {
        prepare(world, BOB);
        judge(world, "trap/link", as_user(BOB, || read(&world.path("trap/link"))));
        judge(world, "trap/trap", as_user(BOB, || read(&world.path("trap/trap"))));
        world.plant(".", "dot");
        let result = as_user(BOB, || read(&world.path("dot/dot")));
        world.judge_follow("dot/dot", result, BOB, "/dot");
        let result = as_user(BOB, || read(&world.path("dot/dot/dot")));
        world.judge("dot/dot/dot", result, Errno::ACCESS);
        assert_eq!(as_user(BOB, || read(&world.path("dot"))), Ok(()));
        assert_eq!(as_user(BOB, || read(&world.path("./house/../dot"))), Ok(()));
    });
}

/// What ends with a slash, or a dot, is followed to the directory.
#[test]
fn what_ends_with_a_slash_is_followed() {
    on_both(|world| {
        prepare(world, BOB);
        for path in ["trap/", "trap//", "trap/.", "trap/./"] {
            let result = as_user(BOB, || read(&world.path(path)));
            // A directory is no link, so the reading fails on tmpfs as well: after the link was followed.
            assert_eq!(
                result,
                Err(if world.owltmp() { Errno::ACCESS } else { Errno::INVAL }),
                "{path}"
            );
        }
        let inside = as_user(BOB, || read(&world.path("trap/./../house/link")));
        judge(world, "trap/./../house/link", inside);
    });
}

/// The path names the planted link nowhere, or only at its end: one's own link leads to it.
#[test]
fn ones_own_link_leads_to_the_planted_one() {
    on_both(|world| {
        let home = prepare(world, BOB);
        as_user(BOB, || {
            symlink(&world.path("trap"), &home.path.join("hop"));
            symlink(&world.path("trap"), &world.path("hop"));
            symlink(Path::new("trap"), &world.path("short-hop"));
        });
        for path in [
            "house/hop/link",
            "house/hop/trap",
            "hop/trap",
            "short-hop/trap",
            "hop/hop",
            "hop/link",
        ] {
            judge(world, path, as_user(BOB, || read(&world.path(path))));
        }
        for path in ["house/hop", "hop", "short-hop"] {
            assert_eq!(as_user(BOB, || read(&world.path(path))), Ok(()), "{path} is one's own");
        }
    });
}

/// The planted link is both in the middle and at the end.
#[test]
fn a_link_to_where_it_is_itself() {
    on_both(|world| {
        world.plant(world.mount.path(), "trap");
        as_user(BOB, || symlink(&world.path("trap"), &world.path("hop")));
        for path in ["trap/trap", "hop/trap", "trap/hop", "trap/trap/trap"] {
            judge(world, path, as_user(BOB, || read(&world.path(path))));
        }
        assert_eq!(as_user(BOB, || read(&world.path("trap"))), Ok(()));
    });
}

/// readlinkat(2) relative to a directory, to the working directory, and of a descriptor.
#[test]
fn readlinkat_in_all_its_forms() {
    on_both(|world| {
        let home = prepare(world, BOB);
        as_user(BOB, || {
            let root = world.mount.dir();
            let at = |dir: &Dir, path: &str| dir.readlink(path).map(drop);
            judge(world, "at the root", at(root, "trap/link"));
            judge(world, "by way of the house", at(&root.sub("house"), "../trap/link"));
            assert_eq!(at(root, "trap"), Ok(()));
            assert_eq!(at(&root.sub("house"), "../trap"), Ok(()));
            assert_eq!(at(&root.sub("house"), "trap"), Ok(()));
            rustix::process::chdir(&home.path).expect("chdir");
            judge(
                world,
                "in the working directory",
                readlinkat(CWD, "../trap/link", vec![]).map(drop),
            );
            assert_eq!(read(Path::new("../trap")), Ok(()));
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let link = open(world.path("trap"), flags, Mode::empty()).expect("the link itself");
            assert!(readlinkat(&link, "", vec![]).is_ok(), "of a descriptor");
            assert_eq!(
                rustix::fs::statat(&link, "", AtFlags::EMPTY_PATH)
                    .expect("fstat")
                    .st_uid,
                ATTACKER.uid
            );
        });
    });
}

/// The system call's old number, from which the path is read elsewhere.
#[cfg(target_arch = "x86_64")]
#[test]
fn readlink_by_its_old_number() {
    use crate::common::raw;
    on_both(|world| {
        prepare(world, BOB);
        as_user(BOB, || {
            judge(world, "trap/trap", raw::readlink(&world.path("trap/trap")).map(drop));
            let length = raw::readlink(&world.path("trap")).expect("readlink reads");
            assert_eq!(length, world.path("house").as_os_str().len() as i64);
        });
    });
}
