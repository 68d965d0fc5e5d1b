//! symlinks=, hardlinks= and squatting= with each of their values, and values that are none.

use std::process::Command;

use super::*;
use crate::common::FileType;
use crate::common::identity::ROOT;
use crate::program::{Scratch, assert_one_line, owltmp};

const CREATE: OFlags = OFlags::CREATE.union(OFlags::RDWR);

/// Something of Alice's and of root's in root's 1777 directory.
fn with_links(options: &str) -> Option<Place> {
    let place = Place::new(options)?;
    let dir = place.dir();
    dir.subdir("plain", 0o777).file("file", b"text", 0o666);
    as_user(ALICE, || dir.symlink("plain/file", "alices").unwrap());
    dir.symlink("plain/file", "roots").unwrap();
    Some(place)
}

/// Whatever the value, these are never refused.
fn nobody_is_in_the_way(dir: &Dir) {
    assert_eq!(follow(ALICE, dir, "alices"), Ok(()));
    assert_eq!(readlink(ALICE, dir, "alices").unwrap(), b"plain/file");
    for who in [ALICE, BOB, ROOT] {
        assert_eq!(follow(who, dir, "roots"), Ok(()));
        assert_eq!(readlink(who, dir, "roots").unwrap(), b"plain/file");
        as_user(who, || {
            assert_eq!(dir.lstat("alices").unwrap().st_size, 10);
            assert!(dir.names().contains("alices"));
            let opened = dir.open("alices", OFlags::NOFOLLOW | OFlags::PATH, 0).unwrap();
            assert_eq!(rustix::fs::fstat(opened).unwrap().st_uid, ALICE.uid);
        });
    }
}

/// semantics 3.2: the default: reading a link is not following it.
#[test]
fn symlinks_on() {
    for options in ["", "symlinks=on"] {
        let Some(place) = with_links(options) else { return };
        let dir = place.dir();
        nobody_is_in_the_way(dir);
        for who in [BOB, ROOT] {
            assert_eq!(follow(who, dir, "alices"), Err(Errno::ACCESS));
            assert_eq!(readlink(who, dir, "alices").unwrap(), b"plain/file");
            let uid = format!("uid={} ", who.uid);
            let line = place.event(&["refused symlinks: ", &uid]);
            for text in [
                "object=\"/alices\"",
                "kind=symlink",
                "owner=60001",
                "errno=EACCES",
                "comm=\"",
            ] {
                assert!(line.contains(text), "{line}");
            }
            let pid = format!("pid={} ", std::process::id());
            assert!(line.contains(&pid), "the process, not the thread: {line}");
            let ino = dir.lstat("alices").unwrap().st_ino;
            assert!(line.contains(&format!("inode={ino} ")), "{line}");
        }
    }
}

/// semantics 3.2: with `strict` a link that one may not follow is not read either.
#[test]
fn symlinks_strict() {
    let Some(place) = with_links("symlinks=strict") else {
        return;
    };
    let dir = place.dir();
    nobody_is_in_the_way(dir);
    for who in [BOB, ROOT] {
        assert_eq!(follow(who, dir, "alices"), Err(Errno::ACCESS));
        assert_eq!(readlink(who, dir, "alices"), Err(Errno::ACCESS));
    }
    as_user(ALICE, || dir.symlink("file", "plain/alices").unwrap());
    assert_eq!(readlink(BOB, dir, "plain/alices").unwrap(), b"file");
}

/// semantics 3.2, 3.5: with `log` it passes and is noted.
#[test]
fn symlinks_log() {
    let Some(place) = with_links("symlinks=log") else {
        return;
    };
    let dir = place.dir();
    nobody_is_in_the_way(dir);
    for who in [BOB, ROOT] {
        assert_eq!(follow(who, dir, "alices"), Ok(()));
        assert_eq!(readlink(who, dir, "alices").unwrap(), b"plain/file");
        let line = place.event(&["noted symlinks: ", &format!("uid={} ", who.uid), "object=\"/alices\""]);
        assert!(!line.contains("errno"), "{line}");
    }
    let about_alice = |line: &String| line.contains("uid=60001 ") || line.contains("\"/roots\"");
    let marker = ["refused hardlinks: ", "uid=60002 "];
    assert_eq!(as_user(BOB, || dir.link("alices", "plain/mine")), Err(Errno::PERM));
    assert!(!place.events_until("symlinks", &marker).iter().any(about_alice));
}

/// semantics 3.2: with `off` it passes and nobody hears of it; the other rules stay.
#[test]
fn symlinks_off() {
    let Some(place) = with_links("symlinks=off") else {
        return;
    };
    let dir = place.dir();
    nobody_is_in_the_way(dir);
    for who in [BOB, ROOT] {
        assert_eq!(follow(who, dir, "alices"), Ok(()));
        assert_eq!(readlink(who, dir, "alices").unwrap(), b"plain/file");
    }
    assert_eq!(as_user(BOB, || dir.link("alices", "plain/mine")), Err(Errno::PERM));
    let events = place.events_until("symlinks", &["refused hardlinks: ", "uid=60002 "]);
    assert_eq!(events, Vec::<String>::new());
}

/// Gives Alice's file another name as Bob, and as those who always may.
fn link_all(dir: &Dir) -> Result<(), Errno> {
    as_user(ALICE, || {
        dir.file("file", b"text", 0o666);
        dir.link("file", "by-alice").unwrap();
    });
    dir.link("file", "by-root").unwrap();
    assert_eq!(dir.lstat("file").unwrap().st_nlink, 3);
    as_user(BOB, || dir.link("file", "by-bob"))
}

/// semantics 3.3: each value of hardlinks=; also where no directory is sticky.
#[test]
fn hardlinks_with_each_value() {
    for (options, refused, word) in [
        ("mode=0777", true, "refused"),
        ("mode=1777,hardlinks=on", true, "refused"),
        ("mode=0777,hardlinks=strict", true, "refused"),
        ("mode=0777,hardlinks=log", false, "noted"),
        ("mode=0777,hardlinks=off", false, ""),
    ] {
        let Some(place) = Place::new(options) else { return };
        let dir = place.dir();
        let linked = link_all(dir);
        assert_eq!(linked, if refused { Err(Errno::PERM) } else { Ok(()) }, "{options}");
        assert_eq!(dir.lstat("file").unwrap().st_nlink, if refused { 3 } else { 4 });
        if word.is_empty() {
            bobs_refused_follow(dir);
            let events = place.events_until("hardlinks", &["refused symlinks: "]);
            assert_eq!(events, Vec::<String>::new());
            continue;
        }
        let line = place.event(&[&format!("{word} hardlinks: "), "uid=60002 ", "owner=60001"]);
        assert_eq!(line.contains("errno=EPERM"), refused, "{line}");
        assert!(line.contains("kind="), "{line}");
        assert!(!place.mount.stderr().contains("uid=60001 "), "the owner is no event");
    }
}

/// An event of the rule for symlinks, whatever the mode of the root.
fn bobs_refused_follow(dir: &Dir) {
    dir.subdir("marker", 0o1777);
    as_user(ALICE, || dir.symlink("..", "marker/link").unwrap());
    assert_eq!(follow(BOB, dir, "marker/link"), Err(Errno::ACCESS));
}

/// semantics 3.3: the real uid counts as well as the fsuid, and so does CAP_FOWNER.
#[test]
fn hardlinks_by_real_uid_and_capability() {
    let Some(place) = Place::new("mode=0777") else { return };
    let dir = place.dir();
    as_user(ALICE, || dir.file("file", b"text", 0o666));
    let as_ids = |real: u32, effective: u32, name: &str| {
        std::thread::scope(|scope| {
            let it = scope.spawn(|| {
                let [real, effective] = [real, effective].map(rustix::process::Uid::from_raw);
                rustix::thread::set_thread_res_uid(real, effective, effective).unwrap();
                dir.link("file", name)
            });
            it.join().unwrap()
        })
    };
    assert_eq!(as_ids(ALICE.uid, BOB.uid, "real-owner"), Ok(()));
    assert_eq!(as_ids(BOB.uid, ALICE.uid, "effective-owner"), Ok(()));
    assert_eq!(as_ids(0, BOB.uid, "real-root"), Ok(()));
    assert_eq!(as_ids(BOB.uid, CAROL.uid, "neither"), Err(Errno::PERM));
    let with_capability = |capability: &str, name: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=60002", "--regid=60002", "--clear-groups"]);
        command.args([
            format!("--inh-caps={capability}"),
            format!("--ambient-caps={capability}"),
        ]);
        command.args(["--", "ln"]).arg(place.path("file")).arg(place.path(name));
        command.output().unwrap().status.success()
    };
    assert!(with_capability("+fowner", "capable"));
    assert!(!with_capability("+dac_override", "incapable"));
    assert_eq!(dir.lstat("file").unwrap().st_nlink, 5);
}

/// What Bob hears who asks for a new file, in every way there is, and finds Alice's; and that nothing happened to it.
fn squat(dir: &Dir, name: &str) -> Vec<Result<(), Errno>> {
    let flags = [
        CREATE,
        OFlags::CREATE,
        OFlags::CREATE | OFlags::WRONLY | OFlags::NONBLOCK | OFlags::APPEND,
        CREATE | OFlags::TRUNC,
    ];
    let plain = flags.map(|flags| as_user(BOB, || dir.open(name, flags, 0o600).map(drop)));
    let openat2 = as_user(BOB, || {
        let (mode, resolve) = (rustix::fs::Mode::RUSR, rustix::fs::ResolveFlags::BENEATH);
        rustix::fs::openat2(dir.fd(), name, CREATE, mode, resolve).map(drop)
    });
    let mut results = plain.to_vec();
    results.push(openat2);
    results
}

fn with_squatters(options: &str) -> Option<Place> {
    let place = Place::new(options)?;
    let dir = place.dir();
    as_user(ALICE, || {
        dir.file("file", b"text", 0o666);
        dir.mknod("fifo", FileType::Fifo, 0o666, 0).unwrap();
        dir.chmod("fifo", 0o666).unwrap();
    });
    // A writer who does not wait needs a reader.
    dir.file("roots", b"text", 0o666);
    Some(place)
}

/// semantics 3.4: each value of squatting=.
#[test]
fn squatting_with_each_value() {
    for (options, refused, word) in [
        ("", true, "refused"),
        ("squatting=on", true, "refused"),
        ("squatting=strict", true, "refused"),
        ("squatting=log", false, "noted"),
        ("squatting=off", false, ""),
    ] {
        let Some(place) = with_squatters(options) else { return };
        let dir = place.dir();
        let _reader = dir.open("fifo", OFlags::RDWR | OFlags::NONBLOCK, 0).unwrap();
        for name in ["file", "fifo"] {
            let found = squat(dir, name);
            let expected = if refused { Err(Errno::ACCESS) } else { Ok(()) };
            assert!(found.iter().all(|it| *it == expected), "{options} {name}: {found:?}");
            // Whoever does not ask for a new file may have it.
            as_user(BOB, || dir.open(name, OFlags::RDWR, 0).map(drop)).unwrap();
            as_user(BOB, || dir.open(name, OFlags::WRONLY, 0).map(drop)).unwrap();
            as_user(ALICE, || dir.open(name, CREATE, 0o600).map(drop)).unwrap();
            let exclusive = as_user(BOB, || dir.open(name, CREATE | OFlags::EXCL, 0o600).map(drop));
            assert_eq!(exclusive, Err(Errno::EXIST));
            if !word.is_empty() {
                let line = place.event(&[
                    &format!("{word} squatting: "),
                    &format!("object=\"/{name}\""),
                    "uid=60002 ",
                ]);
                assert_eq!(line.contains("errno=EACCES"), refused, "{line}");
            }
        }
        as_user(BOB, || dir.open("roots", CREATE, 0o600).map(drop)).unwrap();
        assert_eq!(dir.read("file").unwrap(), if refused { &b"text"[..] } else { b"" });
        bobs_refused_follow(dir);
        let events = place.events_until("squatting", &["refused symlinks: "]);
        assert_eq!(events.is_empty(), word.is_empty(), "{events:?}");
    }
}

/// semantics 3.4: it is the directory's bits of the moment that count, the group's too.
#[test]
fn squatting_by_the_directory() {
    let Some(place) = Place::new("mode=0777") else { return };
    let dir = place.dir();
    let sub = dir.subdir("d", 0o777);
    dir.chown("d", Some(CAROL.uid), Some(SHARED)).unwrap();
    as_user(ALICE, || sub.file("file", b"", 0o666));
    for (mode, refused) in [
        (0o777, false),
        (0o1777, true),
        (0o1755, false),
        (0o1775, true),
        (0o1757, true),
        (0o1770, true),
        (0o775, false),
    ] {
        dir.chmod("d", mode).unwrap();
        let found = as_user(BOB, || sub.open("file", CREATE, 0o600).map(drop));
        assert_eq!(found, if refused { Err(Errno::ACCESS) } else { Ok(()) }, "{mode:o}");
    }
    dir.chmod("d", 0o1777).unwrap();
    for (owner, refused) in [(BOB, true), (ALICE, false), (CAROL, true)] {
        dir.chown("d", Some(owner.uid), None).unwrap();
        let found = as_user(CAROL, || sub.open("file", CREATE, 0o600).map(drop));
        assert_eq!(found, if refused { Err(Errno::ACCESS) } else { Ok(()) }, "{owner:?}");
    }
    // Root is held like anyone.
    assert_eq!(sub.open("file", CREATE, 0o600).map(drop), Err(Errno::ACCESS));
}

/// semantics 6.2: what is no value is refused in one line that says which there are.
#[test]
fn bad_values_are_refused_in_one_line() {
    let scratch = Scratch::new();
    for (options, texts) in [
        ("symlinks=maybe", &["symlinks=maybe", "on", "strict", "log", "off"][..]),
        ("hardlinks=ON", &["hardlinks=ON", "on", "strict", "log", "off"]),
        ("squatting=1", &["squatting=1", "on", "strict", "log", "off"]),
        ("ro,symlinks=", &["symlinks=", "strict"]),
        ("symlinks", &["\"symlinks\" needs a value"]),
        ("nosymlinks", &["nosymlinks"]),
        ("umask=8", &["umask=8", "octal"]),
        ("umask=", &["umask=", "octal"]),
        ("umask", &["umask"]),
        ("umask=-1", &["umask=-1", "octal"]),
        ("umask=rwx", &["umask=rwx", "octal"]),
        ("umask=17777", &["umask=17777", "octal"]),
        ("umask=0x1f", &["umask=0x1f", "octal"]),
    ] {
        let output = owltmp(&["mount", "-o", options], &scratch.mountpoint())
            .output()
            .unwrap();
        for text in texts {
            assert_one_line(&output, 2, text);
        }
    }
    scratch.expect_nothing_left();
}
