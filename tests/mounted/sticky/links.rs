//! Symlinks with several names, and directories whose mode or owner changes: semantics 3.2.

use super::*;
use crate::common::identity::ROOT;

/// A sticky directory of root's `t` and one that is not, `p`, which holds a file; everybody may create in both.
fn with_two() -> Option<Place> {
    let place = Place::new("mode=0777")?;
    let dir = place.dir();
    dir.subdir("t", 0o1777);
    dir.subdir("p", 0o777).file("file", b"text", 0o666);
    Some(place)
}

const REFUSED: Result<(), Errno> = Err(Errno::ACCESS);

/// semantics 3.2: a name in a sticky directory governs all names, for as long as it is there.
#[test]
fn one_sticky_name_governs_all() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || dir.symlink("../p/file", "p/link").unwrap());
    assert_eq!(follow(BOB, dir, "p/link"), Ok(()));
    for _ in 0..3 {
        as_user(ALICE, || dir.link("p/link", "t/link").unwrap());
        for name in ["p/link", "t/link"] {
            assert_eq!(follow(BOB, dir, name), REFUSED, "{name}");
            assert_eq!(follow(ROOT, dir, name), REFUSED, "{name}");
            assert_eq!(follow(ALICE, dir, name), Ok(()), "{name}");
            assert_eq!(readlink(BOB, dir, name).unwrap(), b"../p/file");
        }
        as_user(ALICE, || dir.unlink("t/link").unwrap());
        assert_eq!(follow(BOB, dir, "p/link"), Ok(()));
    }
}

/// semantics 3.2: every sticky directory that holds it has a say; two names in one directory count once, and both must go.
#[test]
fn every_sticky_directory_judges() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    for (name, owner) in [("alices", ALICE.uid), ("carols", CAROL.uid)] {
        dir.subdir(name, 0o1777);
        dir.chown(name, Some(owner), None).unwrap();
    }
    as_user(ALICE, || dir.symlink("../p/file", "alices/link").unwrap());
    assert_eq!(follow(BOB, dir, "alices/link"), Ok(()), "the directory's owner made it");
    as_user(ALICE, || {
        dir.link("alices/link", "carols/link").unwrap();
        dir.link("alices/link", "carols/again").unwrap();
        dir.link("alices/link", "p/link").unwrap();
    });
    for name in ["alices/link", "carols/link", "carols/again", "p/link"] {
        for who in [BOB, CAROL, ROOT] {
            assert_eq!(follow(who, dir, name), REFUSED, "{name}");
        }
    }
    dir.unlink("carols/link").unwrap();
    assert_eq!(follow(BOB, dir, "alices/link"), REFUSED, "its other name there");
    dir.unlink("carols/again").unwrap();
    assert_eq!(follow(BOB, dir, "alices/link"), Ok(()));
    assert_eq!(follow(BOB, dir, "p/link"), Ok(()));
}

/// semantics 3.2: fifty names in as many directories, of which one is sticky and not the owner's.
#[test]
fn among_many_names() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    let make = |from: usize, to: usize| {
        as_user(ALICE, || {
            for i in from..to {
                dir.mkdir(&format!("d{i}"), 0o755).unwrap();
                dir.link("p/link", &format!("d{i}/link")).unwrap();
            }
        });
    };
    as_user(ALICE, || dir.symlink("../p/file", "p/link").unwrap());
    make(0, 50);
    assert_eq!(follow(BOB, dir, "d20/link"), Ok(()));
    dir.chmod("d30", 0o1755).unwrap();
    dir.chown("d30", Some(CAROL.uid), None).unwrap();
    assert_eq!(follow(BOB, dir, "d20/link"), REFUSED);
    as_user(ALICE, || {
        for i in (0..50).filter(|&i| i != 30) {
            dir.chmod(&format!("d{i}"), 0o1755).unwrap();
        }
    });
    assert_eq!(follow(BOB, dir, "p/link"), REFUSED);
    dir.unlink("d30/link").unwrap();
    assert_eq!(
        follow(BOB, dir, "p/link"),
        Ok(()),
        "the other sticky directories are Alice's"
    );
    // However many there are: one is enough.
    dir.link("p/link", "d30/link").unwrap();
    make(50, 1000);
    for name in ["p/link", "d20/link", "d30/link", "d999/link"] {
        assert_eq!(follow(BOB, dir, name), REFUSED, "{name}");
    }
}

/// semantics 3.2: chmod of the directory decides at once, cached or not, world-writable or not.
#[test]
fn the_mode_of_the_moment_decides() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || dir.symlink("../p/file", "t/link").unwrap());
    for _ in 0..20 {
        for (mode, expected) in [
            (0o1777, REFUSED),
            (0o777, Ok(())),
            (0o1755, REFUSED),
            (0o755, Ok(())),
            (0o1711, REFUSED),
            (0o3777, REFUSED),
            (0o2777, Ok(())),
        ] {
            dir.chmod("t", mode).unwrap();
            assert_eq!(follow(BOB, dir, "t/link"), expected, "{mode:o}");
            assert_eq!(follow(ROOT, dir, "t/link"), expected, "{mode:o}");
        }
    }
}

/// semantics 3.2: so do chown of the directory and of the link.
#[test]
fn the_owners_of_the_moment_decide() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || dir.symlink("../p/file", "t/link").unwrap());
    for _ in 0..20 {
        for (directory, link, bob) in [
            (ROOT, ALICE, REFUSED),
            (ALICE, ALICE, Ok(())),
            (BOB, ALICE, REFUSED),
            (CAROL, BOB, Ok(())),
            (CAROL, CAROL, Ok(())),
            (CAROL, ROOT, REFUSED),
            (ROOT, ROOT, Ok(())),
        ] {
            dir.chown("t", Some(directory.uid), None).unwrap();
            dir.chown("t/link", Some(link.uid), None).unwrap();
            assert_eq!(follow(BOB, dir, "t/link"), bob, "{directory:?} {link:?}");
        }
    }
}

/// semantics 3.2: it is the fsuid that counts, not the real uid, and no capability.
#[test]
fn the_fsuid_decides() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || dir.symlink("../p/file", "t/link").unwrap());
    let as_ids = |real: u32, effective: u32| {
        std::thread::scope(|scope| {
            let it = scope.spawn(|| {
                let [real, effective, saved] = [real, effective, 0].map(rustix::process::Uid::from_raw);
                rustix::thread::set_thread_res_uid(real, effective, saved).unwrap();
                dir.open("t/link", OFlags::RDONLY, 0).map(drop)
            });
            it.join().unwrap()
        })
    };
    assert_eq!(as_ids(BOB.uid, ALICE.uid), Ok(()));
    assert_eq!(as_ids(0, ALICE.uid), Ok(()));
    assert_eq!(as_ids(ALICE.uid, BOB.uid), REFUSED);
    assert_eq!(as_ids(ALICE.uid, 0), REFUSED);
    let mut command = command_of(BOB, "cat");
    command.args([place.path("t/link")]);
    assert!(!command.output().unwrap().status.success());
}

/// semantics 3.2: where the sticky directory itself lies does not matter, nor does the mode of directories above the link's.
#[test]
fn only_the_directory_that_holds_the_name() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || {
        dir.mkdir("t/sub", 0o777).unwrap();
        dir.symlink("../../p/file", "t/sub/link").unwrap();
    });
    assert_eq!(follow(BOB, dir, "t/sub/link"), Ok(()));
    as_user(ALICE, || dir.chmod("t/sub", 0o1777).unwrap());
    assert_eq!(follow(BOB, dir, "t/sub/link"), Ok(()), "the directory is Alice's too");
    dir.chown("t/sub", Some(0), None).unwrap();
    assert_eq!(follow(BOB, dir, "t/sub/link"), REFUSED);
    dir.rename("t/sub", "moved").unwrap();
    assert_eq!(follow(BOB, dir, "moved/link"), REFUSED);
    dir.chmod("moved", 0o777).unwrap();
    assert_eq!(follow(BOB, dir, "moved/link"), Err(Errno::NOENT));
}

/// semantics 3.2: a link of an open descriptor, which has lost its name: that is read and not followed.
#[test]
fn by_descriptor() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || dir.symlink("../p/file", "t/link").unwrap());
    let read = |link: &rustix::fd::OwnedFd| as_user(BOB, || rustix::fs::readlinkat(link, "", vec![]).unwrap());
    let link = as_user(BOB, || dir.open("t/link", OFlags::PATH | OFlags::NOFOLLOW, 0).unwrap());
    assert_eq!(read(&link).as_bytes(), b"../p/file");
    dir.unlink("t/link").unwrap();
    assert_eq!(read(&link).as_bytes(), b"../p/file");
}
