//! `owltmp status` agrees with what was done.

use std::fs;
use std::process::Command;

use owltmp::control::protocol::{Ask, Body, Holder, Room, Status};

use super::{SOON, client, mounted, owltmp, status_of};
use crate::common::call::Call;
use crate::common::identity::{ALICE, BOB, ROOT};
use crate::common::map::Map;
use crate::common::{Actor, Mount, OFlags, as_user, sysctl, wait_until};

const MIB: u64 = 1 << 20;

fn status(mount: &Mount) -> Status {
    status_of(&owltmp(&["status", "--json"], mount.path()))
}

fn open(actor: &mut Actor, slot: u8, name: &str) {
    let flags = (OFlags::CREATE | OFlags::RDWR).bits();
    let name = name.to_owned();
    let mode = 0o600;
    actor
        .call(&Call::Open {
            slot,
            name,
            flags,
            mode,
        })
        .result()
        .unwrap();
}

fn write(actor: &mut Actor, slot: u8, mib: u64) {
    for at in 0..mib {
        let (bytes, offset) = (vec![b'x'; MIB as usize], at * MIB);
        actor.call(&Call::Pwrite { slot, bytes, offset }).result().unwrap();
    }
}

fn users(status: &Status) -> Vec<(u32, Room, Room)> {
    let users = status.users.as_ref().unwrap().iter();
    let mut users: Vec<_> = users.map(|user| (user.uid, user.bytes, user.inodes)).collect();
    users.sort_by_key(|(uid, ..)| *uid);
    users
}

fn room(used: u64, most: Option<u64>) -> Room {
    Room { used, most }
}

#[test]
fn sizes_users_and_deleted_files_are_what_was_made() {
    for io in ["passthrough", "cached"] {
        let Some(mount) = mounted(&format!("size=64m,nr_inodes=1000,io={io}")) else {
            return;
        };
        let before = status(&mount);
        assert_eq!(
            (before.bytes, before.inodes),
            (room(0, Some(64 * MIB)), room(1, Some(1000)))
        );
        assert_eq!((before.io.as_str(), before.uid, before.you.all), (io, 0, true));
        assert_eq!(Some(before.pid), mount.daemon_pid().map(i32::cast_unsigned));
        assert!(
            before.options.contains(&"size=67108864".to_owned()),
            "{:?}",
            before.options
        );
        assert!(before.flags.contains(&"nosuid".to_owned()), "{:?}", before.flags);
        assert_eq!(
            before.kernel.used.contains(&"FUSE_PASSTHROUGH".to_owned()),
            io == "passthrough"
        );
        let mut alice = Actor::start(ALICE, mount.path());
        open(&mut alice, 1, "kept");
        write(&mut alice, 1, 2);
        open(&mut alice, 2, "gone");
        write(&mut alice, 2, 3);
        alice
            .call(&Call::Unlink {
                name: "gone".to_owned(),
            })
            .result()
            .unwrap();
        as_user(BOB, || fs::create_dir(mount.path().join("d")).unwrap());
        let now = status(&mount);
        assert_eq!((now.bytes.used, now.inodes.used), (5 * MIB, 4));
        let wanted = [
            (0, room(0, None), room(1, None)),
            (ALICE.uid, room(5 * MIB, None), room(2, None)),
            (BOB.uid, room(0, None), room(1, None)),
        ];
        assert_eq!(users(&now), wanted);
        assert_eq!(now.open.unwrap(), before.open.unwrap() + 2);
        let deleted = now.deleted.unwrap();
        assert_eq!(deleted.len(), 1);
        let it = &deleted[0];
        assert_eq!(
            (it.kind.as_str(), it.size, it.bytes, it.owner, it.open),
            ("file", 3 * MIB, 3 * MIB, ALICE.uid, 1)
        );
        assert!(it.openers.len() == 1 && now.all_processes_seen.is_some());
        let holders = it.holders.as_ref().unwrap();
        let by = |holder: &Holder| (holder.pid, holder.by.starts_with("descriptor "));
        assert_eq!(holders.iter().map(by).collect::<Vec<_>>(), [(alice.pid(), true)]);
        alice.call(&Call::Close { slot: 2 }).result().unwrap();
        wait_until("the deleted file is gone", SOON, || {
            let now = status(&mount);
            now.deleted.as_ref().unwrap().is_empty() && (now.bytes.used, now.inodes.used) == (2 * MIB, 3)
        });
    }
}

#[test]
fn who_has_a_deleted_file_only_mapped_is_found_too() {
    let Some(mount) = mounted("io=passthrough") else { return };
    let path = mount.path().join("m");
    fs::write(&path, [b'x'; 8192]).unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let map = Map::shared(&file, 8192).unwrap();
    drop(file);
    fs::remove_file(&path).unwrap();
    let deleted = status(&mount).deleted.unwrap();
    assert_eq!((deleted.len(), deleted[0].size), (1, 8192));
    let by = deleted[0].holders.as_ref().unwrap();
    let by: Vec<_> = by.iter().map(|it| (it.pid, it.by.as_str())).collect();
    assert_eq!(by, [(std::process::id(), "mapping")]);
    drop(map);
    wait_until("it is gone", SOON, || status(&mount).deleted.unwrap().is_empty());
}

#[test]
fn limits_of_users_stand_beside_what_they_use() {
    let Some(mount) = mounted("user_size=8m,user_inodes=50") else {
        return;
    };
    as_user(ALICE, || {
        fs::write(mount.path().join("a"), vec![0; MIB as usize]).unwrap()
    });
    let now = status(&mount);
    let wanted = [
        (0, room(0, None), room(1, None)),
        (ALICE.uid, room(MIB, Some(8 * MIB)), room(1, Some(50))),
    ];
    assert_eq!(users(&now), wanted);
}

#[test]
fn events_are_counted_and_told_as_they_happen() {
    let _off = sysctl::off();
    let Some(mount) = mounted("") else { return };
    as_user(ALICE, || {
        std::os::unix::fs::symlink("/etc/passwd", mount.path().join("l")).unwrap()
    });
    let follow = || fs::read(mount.path().join("l")).unwrap_err();
    follow();
    let mut follower = client(&mount);
    let first = follower.ask(&Ask::Events { follow: true }).unwrap().body;
    let Body::Events(first) = first else {
        panic!("{first:?}")
    };
    assert_eq!(first.events.len(), 1);
    let event = &first.events[0];
    assert_eq!(
        (event.verb.as_str(), event.rule.as_str(), event.uid),
        ("refused", "symlinks", ROOT.uid)
    );
    assert_eq!(
        (event.path.as_deref(), event.kind.as_str(), event.owner),
        (Some("/l"), "symlink", ALICE.uid)
    );
    assert_eq!(
        (event.errno.as_deref(), event.pid),
        (Some("EACCES"), std::process::id())
    );
    for _ in 0..3 {
        follow();
        match follower.next().unwrap().unwrap().body {
            Body::Event(later) => assert_eq!((later.rule, later.path), (event.rule.clone(), event.path.clone())),
            other => panic!("{other:?}"),
        }
    }
    as_user(BOB, || {
        let kept = client(&mount).ask(&Ask::Events { follow: false }).unwrap().body;
        assert!(matches!(kept, Body::Events(events) if events.events.is_empty()));
    });
    let counted = status(&mount).events.unwrap();
    let counted: Vec<_> = counted.iter().map(|it| (it.rule.as_str(), it.count)).collect();
    assert!(
        counted.contains(&("symlinks", 4)) && counted.contains(&("hardlinks", 0)),
        "{counted:?}"
    );
    let printed = owltmp(&["events"], mount.path());
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(printed.matches("refused symlinks: uid=0").count(), 4, "{printed}");
}

#[test]
fn requests_are_counted_and_timed() {
    let Some(mount) = mounted("") else { return };
    let statistics = || match client(&mount).ask(&Ask::Statistics).unwrap().body {
        Body::Statistics(statistics) => statistics,
        other => panic!("{other:?}"),
    };
    let before = statistics();
    for at in 0..20 {
        fs::create_dir(mount.path().join(format!("d{at}"))).unwrap();
    }
    let now = statistics();
    let made = now.requests.iter().find(|it| it.kind == "MKDIR").unwrap();
    assert_eq!(made.count, 20);
    assert_eq!(
        (made.classes.iter().sum::<u64>(), made.classes.len()),
        (20, now.class_ends_ns.len() + 1)
    );
    assert!(
        made.busy_ns > 20 * 100 && made.busy_ns < 20_000_000_000,
        "{}",
        made.busy_ns
    );
    let by_worker = |it: &owltmp::control::protocol::Statistics| it.workers.iter().map(|it| it.count).sum::<u64>();
    let by_kind = now.requests.iter().map(|it| it.count).sum::<u64>();
    assert!(by_worker(&now) >= by_worker(&before) + 20 && by_worker(&now) <= by_kind);
    as_user(BOB, || {
        assert!(
            client(&mount)
                .ask(&Ask::Statistics)
                .unwrap_err()
                .to_string()
                .contains("only root")
        )
    });
}

#[test]
fn a_remount_shows_in_the_flags() {
    let Some(mount) = mounted("") else { return };
    let remounted = Command::new("mount")
        .args(["-i", "-o", "remount,ro"])
        .arg(mount.path())
        .status();
    assert!(remounted.unwrap().success());
    let flags = status(&mount).flags;
    assert!(
        flags.contains(&"ro".to_owned()) && !flags.contains(&"rw".to_owned()),
        "{flags:?}"
    );
}

#[test]
fn people_are_told_the_same_in_their_words() {
    let Some(mount) = mounted("size=64m") else { return };
    fs::write(mount.path().join("f"), vec![0; 3 << 20]).unwrap();
    let said = String::from_utf8(owltmp(&["status"], mount.path()).stdout).unwrap();
    let place = mount.path().to_str().unwrap();
    assert!(said.starts_with(&format!("{place}\n")), "{said}");
    for part in [
        "3.0 MiB of 64.0 MiB used",
        "nobody waits for a lock",
        "size=67108864",
        "symlinks 0",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let root = said.lines().find(|line| line.starts_with("  root ")).unwrap();
    let words: Vec<&str> = root.split_whitespace().collect();
    assert_eq!(words, ["root", "3.0", "MiB", "-", "2", "-"]);
}
