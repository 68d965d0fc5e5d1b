//! A FIFO squatted where somebody wants to create a file (semantics 3.4): opening it sends no request to the server at all, only looking
//! it up does, so an attacker would like that to have happened before.

use rustix::fs::{FileType, fstat};
use std::os::fd::OwnedFd;

use super::squatting::{WAYS, Way, told, told_any};
use super::{ATTACKER, VICTIMS, World, on_both};
use crate::common::identity::{BOB, Identity, ROOT};
use crate::common::uring::{self, By};
use crate::common::{Dir, Errno, OFlags, as_user};

/// Makes a FIFO that anybody may write, and opens it for reading, so that the victim's open doesn't wait.
fn squat(dir: &Dir, owner: Identity, name: &str) -> OwnedFd {
    as_user(owner, || {
        dir.mknod(name, FileType::Fifo, 0o666, 0).expect("mkfifo");
        dir.chmod(name, 0o666).expect("chmod");
        reader(dir, name)
    })
}

fn reader(dir: &Dir, name: &str) -> OwnedFd {
    dir.open(name, OFlags::RDONLY | OFlags::NONBLOCK, 0)
        .expect("his own FIFO")
}

/// What is in the FIFO. Somebody else's child may still have the end for writing, so there may be no end of file.
fn arrived(reader: &OwnedFd) -> String {
    let mut text = vec![0; 64];
    match rustix::io::read(reader, &mut text) {
        Ok(n) => text.truncate(n),
        Err(Errno::AGAIN) => text.clear(),
        Err(error) => panic!("read: {error:?}"),
    }
    String::from_utf8(text).expect("text")
}

/// The victim opens and writes; nothing must arrive.
fn attack(world: &World, way: &Way, victim: Identity, name: &str, reader: OwnedFd) {
    attack_told(world, way, victim, name, name, reader);
}

/// The same where the event may tell another name of it, `or`.
fn attack_told(world: &World, way: &Way, victim: Identity, name: &str, or: &str, reader: OwnedFd) {
    let opened = as_user(victim, || way.1(&world.path(name)));
    if let Ok(fd) = &opened {
        assert_eq!(fstat(fd).expect("fstat").st_uid, ATTACKER.uid, "it is his FIFO");
        crate::common::dir::write_all(fd, b"secret");
    }
    world.judge(
        &format!("{} of /{name} by {}", way.0, victim.uid),
        opened,
        Errno::ACCESS,
    );
    told_any(world, victim, &[name, or]);
    assert_eq!(arrived(&reader), if world.owltmp() { "" } else { "secret" });
}

#[test]
fn a_fifo_that_is_there_before() {
    on_both(|world| {
        for way in WAYS {
            for victim in VICTIMS {
                let name = format!("{}-{}", way.0, victim.uid);
                let reader = squat(world.mount.dir(), ATTACKER, &name);
                attack(world, way, victim, &name, reader);
            }
        }
    });
}

/// The victim has just looked: by lstat, by stat, by reading the directory with all attributes.
#[test]
fn a_fifo_that_was_looked_at() {
    on_both(|world| {
        let dir = world.mount.dir();
        for way in WAYS {
            let name = format!("looked-{}", way.0);
            let reader = squat(dir, ATTACKER, &name);
            as_user(BOB, || {
                assert_eq!(dir.lstat(&name).expect("lstat").st_uid, ATTACKER.uid);
                dir.stat(&name).expect("stat");
                assert!(dir.names().contains(&name));
                let listed = std::process::Command::new("ls")
                    .arg("-l")
                    .arg(world.mount.path())
                    .output();
                assert!(String::from_utf8_lossy(&listed.expect("ls").stdout).contains(&name));
            });
            attack(world, way, BOB, &name, reader);
        }
    });
}

/// Just moved there, or given a name there, from a directory in which the rule doesn't hold, where everybody knows it.
#[test]
fn a_fifo_that_comes_from_elsewhere() {
    on_both(|world| {
        let root = world.mount.dir();
        let alices = as_user(ATTACKER, || root.subdir("alice", 0o755));
        for way in WAYS {
            let (moved, linked) = (format!("moved-{}", way.0), format!("linked-{}", way.0));
            drop(squat(&alices, ATTACKER, "fifo"));
            let known = || as_user(BOB, || alices.stat("fifo").expect("stat"));
            known();
            as_user(ATTACKER, || root.rename("alice/fifo", &moved).expect("rename"));
            let at = as_user(ATTACKER, || reader(root, &moved));
            attack(world, way, BOB, &moved, at);
            as_user(ATTACKER, || root.rename(&moved, "alice/fifo").expect("rename"));
            known();
            as_user(ATTACKER, || root.link("alice/fifo", &linked).expect("link"));
            let at = as_user(ATTACKER, || reader(root, &linked));
            attack_told(world, way, BOB, &linked, "alice/fifo", at);
            as_user(ATTACKER, || alices.unlink("fifo").expect("unlink"));
        }
    });
}

/// It was there before the directory became one in which the rule holds, or with a name that was another's.
#[test]
fn a_fifo_in_a_directory_that_becomes_sticky() {
    on_both(|world| {
        let root = world.mount.dir();
        for (at, way) in WAYS.iter().enumerate() {
            let name = format!("d{at}");
            let dir = root.subdir(&name, 0o777);
            let reader = squat(&dir, ATTACKER, "fifo");
            as_user(BOB, || dir.stat("fifo").expect("stat"));
            root.chmod(&name, 0o1777).expect("chmod");
            attack(world, way, BOB, &format!("{name}/fifo"), reader);
        }
    });
}

/// By semantics 3.4: what is no squatting: without O_CREAT, or one's own, or root's in root's directory, or elsewhere.
#[test]
fn fifos_that_are_no_trap() {
    on_both(|world| {
        let dir = world.mount.dir();
        let _foreign = squat(dir, ATTACKER, "foreign");
        let write = OFlags::WRONLY | OFlags::NONBLOCK;
        as_user(BOB, || {
            dir.open("foreign", write, 0).expect("without O_CREAT");
            dir.open("foreign", OFlags::RDONLY | OFlags::NONBLOCK, 0)
                .expect("without O_CREAT");
            assert_eq!(dir.stat("foreign").expect("stat").st_uid, ATTACKER.uid);
            let opened = dir.open("foreign", write | OFlags::CREATE | OFlags::EXCL, 0o600);
            assert_eq!(opened.unwrap_err(), Errno::EXIST);
        });
        for owner in [BOB, ROOT] {
            for way in WAYS {
                let name = format!("{}-of-{}", way.0, owner.uid);
                let _reader = squat(dir, owner, &name);
                let opened = as_user(BOB, || way.1(&world.path(&name)).map(drop));
                assert_eq!(opened, Ok(()), "{name}");
            }
        }
        let plain = dir.subdir("plain", 0o777);
        for way in WAYS {
            let _reader = squat(&plain, ATTACKER, way.0);
            let opened = as_user(BOB, || way.1(&plain.path(way.0)).map(drop));
            assert_eq!(opened, Ok(()), "{} in a directory that is not sticky", way.0);
        }
    });
}

/// By semantics 3.4: where nobody sees why it is looked up, a foreign FIFO is refused even to readers.
#[test]
fn a_fifo_opened_by_io_uring_without_o_creat() {
    on_both(|world| {
        for by in [By::Submitter, By::Worker, By::Poller] {
            let name = format!("{by:?}");
            let reader = squat(world.mount.dir(), ATTACKER, &name);
            for flags in [OFlags::WRONLY, OFlags::RDONLY] {
                let opened = as_user(BOB, || uring::open(by, &world.path(&name), flags | OFlags::NONBLOCK));
                world.judge("without O_CREAT", opened, Errno::ACCESS);
            }
            told(world, BOB, &name);
            drop(reader);
        }
    });
}
