//! `owltmp locks` and `owltmp unlock`.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;
use owltmp::control::protocol::{Ask, Body, LockedFile};

use super::{SOON, answer_of, client, locks_of, mounted, owltmp};
use crate::common::call::Call;
use crate::common::identity::{ALICE, BOB};
use crate::common::lock::{self, Record};
use crate::common::{Actor, Mount, OFlags, as_user, wait_until};
use crate::program::assert_one_line;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A marked file that all may write.
fn marked(mount: &Mount, name: &str) -> std::path::PathBuf {
    let path = mount.path().join(name);
    fs::write(&path, [b'.'; 200]).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o2666)).unwrap();
    path
}

fn opened(who: crate::common::Identity, mount: &Mount, name: &str) -> Actor {
    let mut actor = Actor::start(who, mount.path());
    let (slot, name, flags, mode) = (1, name.to_owned(), OFlags::RDWR.bits(), 0);
    actor
        .call(&Call::Open {
            slot,
            name,
            flags,
            mode,
        })
        .result()
        .unwrap();
    actor
}

fn lock(actor: &mut Actor, kind: i32, start: i64, len: i64) {
    let kind = kind as u32;
    actor
        .call(&Call::Lock {
            slot: 1,
            kind,
            start,
            len,
        })
        .result()
        .unwrap();
}

fn only(files: Vec<LockedFile>) -> LockedFile {
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

#[test]
fn all_kinds_are_told_with_who_and_where() {
    let Some(mount) = mounted("") else { return };
    marked(&mount, "f");
    let begin = now_ms() - 100;
    let mut alice = opened(ALICE, &mount, "f");
    lock(&mut alice, libc::F_WRLCK, 10, 20);
    alice.call(&Call::Flock { slot: 1, operation: 1 }).result().unwrap();
    let ofd = OpenOptions::new()
        .read(true)
        .write(true)
        .open(mount.path().join("f"))
        .unwrap();
    lock::set(
        ofd.as_raw_fd(),
        libc::F_OFD_SETLK,
        Record::new(libc::F_RDLCK as i16, 100, 0),
    )
    .unwrap();
    let file = only(locks_of(&mount).files);
    let inode = fs::metadata(mount.path().join("f")).unwrap().ino();
    assert_eq!(
        (file.inode, file.path.as_deref(), file.owner, file.mandatory),
        (inode, Some("/f"), 0, true)
    );
    let mut held: Vec<_> = file
        .held
        .iter()
        .map(|it| {
            (
                it.lock.as_str(),
                it.mode.as_str(),
                it.mandatory,
                it.first,
                it.last,
                it.pid,
                it.uid,
            )
        })
        .collect();
    held.sort_by_key(|it| it.0);
    let me = std::process::id();
    let wanted = [
        ("flock", "read", false, 0, None, alice.pid(), ALICE.uid),
        ("ofd", "read", true, 100, None, me, 0),
        ("posix", "write", true, 10, Some(29), alice.pid(), ALICE.uid),
    ];
    assert_eq!(held, wanted);
    assert!(
        file.held
            .iter()
            .all(|it| it.since_ms >= begin && it.since_ms <= now_ms() && it.command.is_some())
    );
    // A person's form, of the file alone.
    let said = String::from_utf8(owltmp(&["locks"], &mount.path().join("f")).stdout).unwrap();
    let row = said.lines().find(|line| line.contains("POSIX")).unwrap();
    assert!(
        row.contains(&alice.pid().to_string()) && row.ends_with("/mnt/f"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 4, "{said}");
    // Alice sees hers.
    as_user(ALICE, || {
        let file = only(locks_of(&mount).files);
        assert!(file.held.len() == 2 && file.held.iter().all(|it| it.uid == ALICE.uid));
    });
    as_user(BOB, || assert!(locks_of(&mount).files.is_empty()));
    drop(ofd);
    alice.call(&Call::Close { slot: 1 }).result().unwrap();
    wait_until("no lock is left", SOON, || locks_of(&mount).files.is_empty());
}

/// Writes to a marked file as Bob, in a thread of its own; the result comes when it is done.
fn stuck_writer(path: &Path) -> std::sync::mpsc::Receiver<std::io::Result<()>> {
    let (done, result) = channel();
    let path = path.to_owned();
    thread::spawn(move || {
        let write = || OpenOptions::new().write(true).open(&path)?.write_all(b"bob was here");
        let _ = done.send(as_user(BOB, write));
    });
    result
}

#[test]
fn unlock_frees_a_stuck_writer_and_an_event_says_so() {
    let Some(mount) = mounted("") else { return };
    let path = marked(&mount, "f");
    let mut alice = opened(ALICE, &mount, "f");
    lock(&mut alice, libc::F_WRLCK, 0, 100);
    let result = stuck_writer(&path);
    let waits = || {
        locks_of(&mount)
            .files
            .first()
            .is_some_and(|file| file.waiting.len() == 1)
    };
    wait_until("Bob waits", SOON, waits);
    let file = only(locks_of(&mount).files);
    let wait = &file.waiting[0];
    assert_eq!(
        (wait.lock.as_str(), wait.mode.as_str(), wait.first, wait.last),
        ("access", "write", 0, Some(11))
    );
    assert_eq!((wait.pid, wait.uid), (std::process::id(), Some(BOB.uid)));
    assert_eq!(wait.blocked_by.as_ref().unwrap().pid, alice.pid());
    // Bob sees that he waits and for whom, as F_GETLK would tell; and cannot help himself.
    as_user(BOB, || {
        let file = only(locks_of(&mount).files);
        assert_eq!((file.held.len(), file.waiting.len()), (0, 1));
        assert_eq!(file.waiting[0].blocked_by.as_ref().unwrap().pid, alice.pid());
        let (inode, pid, first, last) = (file.inode, None, 0, None);
        let refused = client(&mount)
            .ask(&Ask::Unlock {
                inode,
                pid,
                first,
                last,
            })
            .unwrap_err();
        assert!(refused.to_string().contains("of yours"), "{refused}");
    });
    assert!(
        result.recv_timeout(Duration::from_millis(50)).is_err(),
        "Bob still waits"
    );
    let of_other = owltmp(&["unlock", "--pid", "1"], &path);
    assert_one_line(&of_other, 1, "no such lock is held");
    let beside = owltmp(&["unlock", "--range", "12-"], &path);
    assert!(String::from_utf8_lossy(&beside.stdout).starts_with("broken: posix write 0 to 99 of process "));
    assert!(
        result.recv_timeout(Duration::from_millis(50)).is_err(),
        "Bob still waits"
    );
    let pid = alice.pid().to_string();
    match answer_of(&owltmp(&["unlock", "--json", "--pid", &pid], &path)) {
        Body::Unlocked(unlocked) => assert_eq!((unlocked.count, unlocked.broken[0].last), (1, Some(11))),
        other => panic!("{other:?}"),
    }
    result.recv_timeout(SOON).unwrap().unwrap();
    assert!(fs::read(&path).unwrap().starts_with(b"bob was here"));
    assert!(locks_of(&mount).files.is_empty());
    expect_two_broken(&mount, alice.pid());
}

fn expect_two_broken(mount: &Mount, pid: u32) {
    let Body::Events(events) = client(mount).ask(&Ask::Events { follow: false }).unwrap().body else {
        panic!()
    };
    let broken: Vec<_> = events.events.iter().filter(|it| it.rule == "unlock").collect();
    assert_eq!(broken.len(), 2);
    assert_eq!(
        (broken[1].verb.as_str(), broken[1].uid, broken[1].path.as_deref()),
        ("broken", 0, Some("/f"))
    );
    assert!(
        broken[1]
            .why
            .as_ref()
            .unwrap()
            .contains(&format!("of process {pid}, uid {}", ALICE.uid))
    );
    assert_eq!(broken[1].command, "owltmp");
}

#[test]
fn a_user_breaks_his_own_locks_and_no_others() {
    let Some(mount) = mounted("") else { return };
    marked(&mount, "f");
    let (mut alice, mut bob) = (opened(ALICE, &mount, "f"), opened(BOB, &mount, "f"));
    lock(&mut alice, libc::F_WRLCK, 0, 10);
    lock(&mut bob, libc::F_WRLCK, 10, 10);
    let inode = fs::metadata(mount.path().join("f")).unwrap().ino();
    let unlock = |pid| Ask::Unlock {
        inode,
        pid,
        first: 0,
        last: None,
    };
    as_user(ALICE, || {
        assert!(client(&mount).ask(&unlock(Some(bob.pid()))).is_err());
        match client(&mount).ask(&unlock(None)).unwrap().body {
            Body::Unlocked(unlocked) => assert_eq!((unlocked.count, unlocked.broken[0].pid), (1, alice.pid())),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(only(locks_of(&mount).files).held[0].pid, bob.pid());
}

#[test]
fn of_many_locks_some_are_told_and_the_rest_counted() {
    let Some(mount) = mounted("") else { return };
    let path = marked(&mount, "f");
    let file = File::options().read(true).write(true).open(&path).unwrap();
    const MANY: i64 = 20_000;
    for at in 0..MANY {
        lock::set(
            file.as_raw_fd(),
            libc::F_OFD_SETLK,
            Record::new(libc::F_WRLCK as i16, 4 * at, 2),
        )
        .unwrap();
    }
    let told = only(locks_of(&mount).files);
    assert_eq!(told.held.len() as u64 + told.held_left_out, MANY as u64);
    assert!((100..=1000).contains(&told.held.len()));
    match answer_of(&owltmp(&["unlock", "--json", "--range", "8-"], &path)) {
        Body::Unlocked(unlocked) => assert_eq!(unlocked.count, MANY as u64 - 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(only(locks_of(&mount).files).held.len(), 2);
}

#[test]
fn with_the_kernels_locks_that_is_said() {
    let Some(mount) = mounted("mand=off") else { return };
    fs::write(mount.path().join("f"), "").unwrap();
    assert_eq!(locks_of(&mount).kept_by, "kernel");
    let said = String::from_utf8(owltmp(&["locks"], mount.path()).stdout).unwrap();
    assert!(
        said.contains("mand=off: the kernel keeps the locks") && said.lines().count() == 1,
        "{said}"
    );
    assert_one_line(&owltmp(&["unlock"], &mount.path().join("f")), 1, "mand=off");
}

#[test]
fn what_cannot_be_asked_is_refused_in_a_line() {
    let Some(mount) = mounted("") else { return };
    assert_one_line(
        &owltmp(&["locks"], Path::new("/proc/self/status")),
        1,
        "is on no owltmp mount",
    );
    assert_one_line(&owltmp(&["status"], Path::new("/proc")), 1, "not an owltmp mount");
    assert_one_line(&owltmp(&["unlock"], &mount.path().join("absent")), 1, "No such file");
    assert_one_line(
        &owltmp(&["unlock", "--inode", "4711"], mount.path()),
        1,
        "inode number 4711",
    );
    assert_one_line(&owltmp(&["unlock", "--range", "9-8"], mount.path()), 2, "two offsets");
}
