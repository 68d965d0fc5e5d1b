//! Files and FIFOs that move between a sticky directory and another, and that have names in both: semantics 3.4.

use rustix::fs::RenameFlags;

use super::*;
use crate::common::FileType;
use crate::common::identity::ROOT;

const CREATE: OFlags = OFlags::CREATE.union(OFlags::RDWR);
const REFUSED: Result<(), Errno> = Err(Errno::ACCESS);

/// Sticky `t` of root's, plain `p`, and in `t` a file and a FIFO of Alice's.
fn with_two() -> Option<Place> {
    let place = Place::new("mode=0777")?;
    let dir = place.dir();
    dir.subdir("t", 0o1777);
    dir.subdir("p", 0o777);
    as_user(ALICE, || {
        dir.file("t/file", b"text", 0o666);
        dir.mknod("t/fifo", FileType::Fifo, 0o666, 0).unwrap();
        dir.chmod("t/fifo", 0o666).unwrap();
    });
    Some(place)
}

/// What those who do not own it hear, who ask for a new file; the owner gets it, and so does who does not ask for a new one.
fn verdict(dir: &Dir, name: &str) -> Result<(), Errno> {
    let open = |who, flags| as_user(who, || dir.open(name, flags, 0o600).map(drop));
    let found = open(BOB, CREATE);
    assert_eq!(open(BOB, OFlags::CREATE | OFlags::NONBLOCK), found, "{name}");
    assert_eq!(open(ROOT, CREATE), found, "{name}");
    assert_eq!(open(ALICE, CREATE), Ok(()), "{name}");
    assert_eq!(open(BOB, OFlags::RDWR), Ok(()), "{name}");
    found
}

/// semantics 3.4: it is where the file is now that counts, each time.
#[test]
fn in_and_out() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    for _ in 0..10 {
        for name in ["file", "fifo"] {
            let (inside, outside) = (format!("t/{name}"), format!("p/{name}"));
            assert_eq!(verdict(dir, &inside), REFUSED);
            as_user(ALICE, || dir.rename(&inside, &outside).unwrap());
            assert_eq!(verdict(dir, &outside), Ok(()));
            as_user(ALICE, || {
                dir.link(&outside, &inside).unwrap();
                dir.unlink(&outside).unwrap();
            });
        }
    }
}

/// semantics 3.4: RENAME_EXCHANGE of two files, and of a file with a FIFO.
#[test]
fn exchanged() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(ALICE, || dir.file("p/file", b"text", 0o666));
    for other in ["p/file", "p/file", "t/fifo", "p/file"] {
        as_user(ALICE, || {
            dir.rename_with("t/file", other, RenameFlags::EXCHANGE).unwrap()
        });
        assert_eq!((verdict(dir, "t/file"), verdict(dir, "t/fifo")), (REFUSED, REFUSED));
        assert_eq!(verdict(dir, "p/file"), Ok(()));
    }
}

/// semantics 3.4: with names in both, the sticky one never lets anybody in, and is forgotten when it is gone. By the other name
/// a file may be refused as well, as an open does not tell by which name it came.
#[test]
fn names_in_both() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    for name in ["file", "fifo"] {
        let (inside, outside) = (format!("t/{name}"), format!("p/{name}"));
        for _ in 0..5 {
            as_user(ALICE, || dir.link(&inside, &outside).unwrap());
            assert_eq!(verdict(dir, &inside), REFUSED);
            println!("{outside}: {:?}", verdict(dir, &outside));
            as_user(ALICE, || dir.unlink(&inside).unwrap());
            assert_eq!(verdict(dir, &outside), Ok(()));
            as_user(ALICE, || dir.rename(&outside, &inside).unwrap());
        }
        assert_eq!(verdict(dir, &inside), REFUSED);
    }
}

/// semantics 3.2, 3.4: the way to it does not matter: through one's own symlink, a directory below, or a descriptor.
#[test]
fn by_any_way() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(BOB, || {
        for (link, target) in [
            ("t/mine", "file"),
            ("p/mine", "../t/file"),
            ("t/dir", "."),
            ("p/fifo", "../t/fifo"),
        ] {
            dir.symlink(target, link).unwrap();
        }
        for path in [
            "t/mine",
            "p/mine",
            "t/dir/file",
            "t/dir/mine",
            "t/../t/file",
            "p/fifo",
            "t/dir/dir/fifo",
        ] {
            assert_eq!(dir.open(path, CREATE, 0o600).map(drop), REFUSED, "{path}");
            assert_eq!(dir.open(path, OFlags::RDWR, 0).map(drop), Ok(()), "{path}");
        }
        // What is open can be opened again, which creates nothing.
        let fd = dir.open("t/file", OFlags::RDWR, 0).unwrap();
        let again = format!("/proc/thread-self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
        assert!(dir.open(&again, OFlags::RDWR, 0).is_ok());
        assert_eq!(dir.open(&again, CREATE, 0o600).map(drop), REFUSED);
    });
    assert_eq!(dir.read("t/file").unwrap(), b"text");
}

/// semantics 3.4: a file without a name is nobody's bait.
#[test]
fn without_a_name() {
    let Some(place) = with_two() else { return };
    let dir = place.dir();
    as_user(BOB, || {
        let fd = dir.open("t", OFlags::TMPFILE | OFlags::RDWR, 0o600).unwrap();
        let again = format!("/proc/thread-self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
        assert!(dir.open(&again, CREATE, 0o600).is_ok());
        dir.link_fd(&fd, "t/bobs").unwrap();
        assert!(dir.open("t/bobs", CREATE, 0o600).is_ok());
    });
    assert_eq!(as_user(CAROL, || dir.open("t/bobs", CREATE, 0o600).map(drop)), REFUSED);
}
