//! readlink(2) reads its last component and follows all before it: semantics 3.2 tells the two apart.

use super::*;
use crate::common::identity::ROOT;

const TARGET: &[u8] = b"target";

/// In root's sticky `/`: a plain directory `p` with links in it, a link of Alice's to it, one of Bob's, and links to those.
fn world(options: &str) -> Option<Place> {
    let place = Place::new(options)?;
    let dir = place.dir();
    let plain = dir.subdir("p", 0o777);
    as_user(ALICE, || {
        for name in ["inner", "alices", "bobs"] {
            plain.symlink("target", name).unwrap();
        }
        dir.symlink("p", "alices").unwrap();
        dir.symlink(".", "alices-dot").unwrap();
    });
    as_user(BOB, || {
        dir.symlink("p", "bobs").unwrap();
        dir.symlink(".", "bobs-dot").unwrap();
        dir.symlink("alices", "bobs-to-alices").unwrap();
        dir.symlink("alices/inner", "bobs-through-alices").unwrap();
    });
    Some(place)
}

/// semantics 3.2: every shape of path, as Bob and with the same paths absolute.
#[test]
fn only_the_last_component_is_read() {
    let Some(place) = world("") else { return };
    let dir = place.dir();
    let refused = Err(Errno::ACCESS);
    let cases: [(&str, Result<&[u8], Errno>); 19] = [
        ("alices", Ok(b"p")),
        ("./alices", Ok(b"p")),
        ("p/../alices", Ok(b"p")),
        ("bobs-dot/alices", Ok(b"p")),
        ("bobs-dot/bobs-dot/./alices", Ok(b"p")),
        ("bobs/inner", Ok(TARGET)),
        ("bobs/alices", Ok(TARGET)),
        ("bobs/bobs", Ok(TARGET)),
        ("bobs-to-alices", Ok(b"alices")),
        ("bobs-through-alices", Ok(b"alices/inner")),
        ("alices/inner", refused),
        // The same name as middle and last component, the same link twice, and a link to itself.
        ("alices/alices", refused),
        ("alices-dot/alices-dot", refused),
        ("alices-dot/alices", refused),
        ("alices/../alices", refused),
        ("bobs-to-alices/inner", refused),
        // A slash at the end makes it a middle component.
        ("alices/", refused),
        ("bobs-to-alices/", refused),
        ("alices/.", refused),
    ];
    for (path, expected) in cases {
        let expected = expected.map(<[u8]>::to_vec);
        assert_eq!(readlink(BOB, dir, path), expected, "{path}");
        let absolute = dir.path(path).display().to_string();
        assert_eq!(readlink(BOB, dir, &absolute), expected, "{absolute}");
    }
    for (path, expected) in [("alices/inner", Ok(TARGET.to_vec())), ("bobs/inner", refused_bytes())] {
        assert_eq!(readlink(ALICE, dir, path), expected, "{path}");
    }
    assert_eq!(readlink(ROOT, dir, "alices/inner"), refused_bytes());
    assert_eq!(readlink(ROOT, dir, "alices"), Ok(b"p".to_vec()));
}

fn refused_bytes() -> Result<Vec<u8>, Errno> {
    Err(Errno::ACCESS)
}

/// semantics 3.2: the old readlink(2) with its own number, which glibc uses on x86-64, from programs.
#[test]
fn programs_read_and_do_not_follow() {
    let Some(place) = world("") else { return };
    let run = |who, arguments: &[&str]| {
        let mut command = command_of(who, arguments[0]);
        command.args(&arguments[1..]).current_dir(place.path(""));
        let output = command.output().unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    for who in [BOB, CAROL, ROOT] {
        assert_eq!(run(who, &["readlink", "alices"]).as_deref(), Some("p"));
        assert_eq!(run(who, &["find", "alices", "-printf", "%l"]).as_deref(), Some("p"));
        assert_eq!(run(who, &["readlink", "alices/inner"]), None);
        assert_eq!(run(who, &["ls", "alices/"]), None);
        assert_eq!(
            run(who, &["perl", "-e", "print readlink('alices')"]).as_deref(),
            Some("p")
        );
        assert_eq!(
            run(who, &["perl", "-e", "print readlink('alices/inner') // 'none'"]).as_deref(),
            Some("none")
        );
    }
    assert_eq!(run(ALICE, &["readlink", "alices/inner"]).as_deref(), Some("target"));
}

/// semantics 3.2: a buffer that is too short, names that are no links, and many readers at once.
#[test]
fn reads_are_as_ever() {
    let Some(place) = world("") else { return };
    let dir = place.dir();
    as_user(ALICE, || dir.symlink(&"x".repeat(4000), "long").unwrap());
    as_user(BOB, || {
        let mut short = [0_u8; 7];
        let read = rustix::fs::readlinkat_raw(dir.fd(), "long", &mut short[..]).unwrap();
        assert_eq!((read, &short), (7, b"xxxxxxx"));
        assert_eq!(dir.readlink("long").unwrap().len(), 4000);
        assert_eq!(dir.readlink("nothing"), Err(Errno::NOENT));
        assert_eq!(dir.readlink("p"), Err(Errno::INVAL));
    });
    std::thread::scope(|scope| {
        for who in [ALICE, BOB, CAROL, ROOT] {
            scope.spawn(move || {
                as_user(who, || {
                    for _ in 0..500 {
                        assert_eq!(dir.readlink("alices").unwrap(), b"p");
                        let followed = dir.open("alices", OFlags::DIRECTORY, 0).map(drop);
                        let expected = if who == ALICE { Ok(()) } else { Err(Errno::ACCESS) };
                        assert_eq!(followed, expected);
                    }
                });
            });
        }
    });
}

/// semantics 3.2: with `strict` every shape of path is refused that reads or follows Alice's link.
#[test]
fn strict_refuses_the_last_component_too() {
    let Some(place) = world("symlinks=strict") else { return };
    let dir = place.dir();
    for path in ["alices", "bobs-dot/alices", "alices/inner", "alices/", "p/../alices"] {
        assert_eq!(readlink(BOB, dir, path), refused_bytes(), "{path}");
    }
    for (path, expected) in [
        ("bobs", &b"p"[..]),
        ("bobs/inner", TARGET),
        ("bobs-to-alices", b"alices"),
    ] {
        assert_eq!(readlink(BOB, dir, path).unwrap(), expected, "{path}");
    }
    assert_eq!(readlink(ALICE, dir, "alices").unwrap(), b"p");
}
