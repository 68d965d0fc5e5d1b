//! Symlinks that move between a sticky directory and another: semantics 3.2 holds for where they are now.

use rustix::fs::RenameFlags;

use super::*;
use crate::common::identity::ROOT;

const REFUSED: Result<(), Errno> = Err(Errno::ACCESS);

/// As in `links.rs`: sticky `t` of root's, plain `p`. Everything else is Alice's.
fn with_two() -> Option<Place> {
    let place = Place::new("mode=0777")?;
    let dir = place.dir();
    dir.subdir("t", 0o1777);
    dir.subdir("p", 0o777).file("file", b"text", 0o666);
    Some(place)
}

/// The verdict on a name for those who do not own it; the owner is never refused.
fn verdict(dir: &Dir, name: &str) -> Result<(), Errno> {
    let found = follow(BOB, dir, name);
    assert_eq!(follow(ROOT, dir, name), found, "{name}");
    assert_eq!(follow(ALICE, dir, name), Ok(()), "{name}");
    assert_eq!(readlink(BOB, dir, name).unwrap(), b"../p/file");
    found
}

/// semantics 3.2: out of the sticky directory and into it, first the one and first the other, by rename and by link + unlink.
#[test]
fn in_and_out() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || dir.symlink("../p/file", "t/first-in").unwrap());
    as_user(ALICE, || dir.symlink("../p/file", "p/first-out").unwrap());
    for round in 0..10 {
        assert_eq!(verdict(dir, "t/first-in"), REFUSED);
        assert_eq!(verdict(dir, "p/first-out"), Ok(()));
        as_user(ALICE, || {
            dir.rename("t/first-in", "p/first-in").unwrap();
            if round % 2 == 0 {
                dir.rename("p/first-out", "t/first-out").unwrap();
            } else {
                dir.link("p/first-out", "t/first-out").unwrap();
                dir.unlink("p/first-out").unwrap();
            }
        });
        assert_eq!(verdict(dir, "p/first-in"), Ok(()));
        assert_eq!(verdict(dir, "t/first-out"), REFUSED);
        as_user(ALICE, || {
            dir.link("p/first-in", "t/first-in").unwrap();
            dir.unlink("p/first-in").unwrap();
            dir.rename_with("t/first-out", "p/first-out", RenameFlags::NOREPLACE)
                .unwrap();
        });
    }
    as_user(ALICE, || dir.rename("t/first-in", "t/still-in").unwrap());
    assert_eq!(verdict(dir, "t/still-in"), REFUSED);
}

/// semantics 3.2: RENAME_EXCHANGE of two links, and of a link with a file.
#[test]
fn exchanged() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || {
        dir.symlink("../p/file", "t/x").unwrap();
        dir.symlink("../p/file", "p/x").unwrap();
        dir.symlink("../p/file", "p/link").unwrap();
        dir.file("t/file", b"", 0o666);
    });
    let exchange = |a: &str, b: &str| as_user(ALICE, || dir.rename_with(a, b, RenameFlags::EXCHANGE).unwrap());
    for _ in 0..3 {
        exchange("t/x", "p/x");
        assert_eq!((verdict(dir, "t/x"), verdict(dir, "p/x")), (REFUSED, Ok(())));
        exchange("p/link", "t/file");
        assert_eq!(verdict(dir, "t/file"), REFUSED, "it is the link now");
        assert_eq!(follow(BOB, dir, "p/link"), Ok(()), "it is the file now");
        exchange("p/link", "t/file");
        assert_eq!(verdict(dir, "p/link"), Ok(()));
        assert_eq!(follow(BOB, dir, "t/file"), Ok(()));
    }
    // A link with names in both, one of which is exchanged for a file: one name or two in the sticky directory.
    as_user(ALICE, || dir.link("p/link", "t/second").unwrap());
    assert_eq!(verdict(dir, "p/link"), REFUSED);
    exchange("p/link", "t/file");
    assert_eq!((verdict(dir, "t/file"), verdict(dir, "t/second")), (REFUSED, REFUSED));
    as_user(ALICE, || dir.unlink("t/second").unwrap());
    assert_eq!(verdict(dir, "t/file"), REFUSED);
    exchange("p/link", "t/file");
    assert_eq!(verdict(dir, "p/link"), Ok(()));
}

/// semantics 3.2: a link that replaces something, and one of whose names is replaced.
#[test]
fn replacing_and_replaced() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || {
        dir.file("t/target", b"", 0o666);
        dir.symlink("../p/file", "p/link").unwrap();
        dir.rename("p/link", "t/target").unwrap();
    });
    assert_eq!(verdict(dir, "t/target"), REFUSED);
    as_user(ALICE, || {
        dir.symlink("nowhere", "p/other").unwrap();
        dir.rename("t/target", "p/other").unwrap();
    });
    assert_eq!(verdict(dir, "p/other"), Ok(()));
    as_user(ALICE, || dir.link("p/other", "t/sticky").unwrap());
    assert_eq!(verdict(dir, "p/other"), REFUSED);
    // Its name in the sticky directory is replaced by another link, then by a file.
    as_user(ALICE, || {
        dir.symlink("../p/file", "t/usurper").unwrap();
        dir.rename("t/usurper", "t/sticky").unwrap();
    });
    assert_eq!((verdict(dir, "p/other"), verdict(dir, "t/sticky")), (Ok(()), REFUSED));
    as_user(ALICE, || dir.file("p/new", b"", 0o666));
    as_user(ALICE, || dir.rename("p/new", "t/sticky").unwrap());
    assert_eq!(
        (verdict(dir, "p/other"), follow(BOB, dir, "t/sticky")),
        (Ok(()), Ok(()))
    );
    // rename(2) of one name of an inode over another does nothing at all.
    as_user(ALICE, || {
        dir.link("p/other", "t/twin").unwrap();
        dir.rename("p/other", "t/twin").unwrap();
    });
    assert_eq!((verdict(dir, "p/other"), verdict(dir, "t/twin")), (REFUSED, REFUSED));
}

/// semantics 3.2: what stays behind in the place of a link that moved is a whiteout, and the link is free.
#[test]
fn whiteouts() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || dir.symlink("../p/file", "t/link").unwrap());
    assert_eq!(verdict(dir, "t/link"), REFUSED);
    dir.rename_with("t/link", "p/link", RenameFlags::WHITEOUT).unwrap();
    assert_eq!(verdict(dir, "p/link"), Ok(()));
    assert_eq!(dir.lstat("t/link").unwrap().st_mode & 0o170_000, 0o020_000);
    dir.unlink("t/link").unwrap();
    dir.rename("p/link", "t/link").unwrap();
    assert_eq!(verdict(dir, "t/link"), REFUSED);
}

/// semantics 3.2: whatever moves meanwhile, a link that never leaves its sticky directory is never followed, and one that never enters
/// one always is.
#[test]
fn while_others_move() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || {
        dir.symlink("../p/file", "t/stays").unwrap();
        dir.symlink("../p/file", "p/stays").unwrap();
        dir.symlink("../p/file", "t/moves").unwrap();
    });
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            as_user(ALICE, || {
                for _ in 0..3000 {
                    dir.rename("t/moves", "p/moves").unwrap();
                    dir.link("p/stays", "p/more").unwrap();
                    dir.link("t/stays", "t/more").unwrap();
                    dir.rename("t/more", "t/again").unwrap();
                    dir.unlink("t/again").unwrap();
                    dir.unlink("p/more").unwrap();
                    dir.rename("p/moves", "t/moves").unwrap();
                }
            });
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        scope.spawn(|| {
            as_user(BOB, || {
                let mut rounds = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) || rounds < 1000 {
                    let open = |name| dir.open(name, OFlags::RDONLY, 0).map(drop);
                    assert_eq!(open("t/stays"), REFUSED);
                    assert_eq!(open("p/stays"), Ok(()));
                    rounds += 1;
                }
            });
        });
    });
    assert_eq!(verdict(dir, "t/moves"), REFUSED);
}
