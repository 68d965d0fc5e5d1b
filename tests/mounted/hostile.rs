//! What people and kernels do to a filesystem: killed clients, a killed daemon, signals, too few descriptors, no space.

use rustix::fs::OFlags;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

use crate::common::call::Call;
use crate::common::dir::pread;
use crate::common::identity::{ALICE, ROOT};
use crate::common::mount::{Setup, tmpfs_plays_owltmp};
use crate::common::rng::Rng;
use crate::common::{Actor, Dir, Errno, Kind, Mount, wait_until};
use crate::program::Stopped;

const CREATE: u32 = OFlags::CREATE.union(OFlags::RDWR).bits();

fn signal_daemon(mount: &Mount, signal: Signal) {
    kill_process(Pid::from_raw(mount.daemon_pid().expect("a daemon")).unwrap(), signal).unwrap();
}

/// Somebody who has a file open and a queue of writes to it under way.
fn busy_writer(mount: &Mount) -> Actor {
    let mut actor = Actor::start(ALICE, mount.mountpoint());
    assert_eq!(
        actor
            .call(&Call::Open {
                slot: 0,
                name: "g".to_owned(),
                flags: CREATE,
                mode: 0o600
            })
            .value,
        0
    );
    for i in 0..64 {
        actor.send(&Call::Pwrite {
            slot: 0,
            bytes: vec![1; 1 << 16],
            offset: i << 16,
        });
    }
    actor
}

/// A call that takes a moment, of every family, for `actor` to be killed in.
fn some_call(rng: &mut Rng, step: u64) -> Call {
    let name = format!("n{}", rng.below(8));
    let other = format!("n{}", rng.below(8));
    let bytes = vec![b'k'; 1 << 20];
    match step % 12 {
        0 => Call::Open {
            slot: 0,
            name,
            flags: CREATE,
            mode: 0o666,
        },
        1 => Call::Pwrite {
            slot: 0,
            bytes,
            offset: rng.below(4) << 20,
        },
        2 => Call::Pread {
            slot: 0,
            len: 1 << 20,
            offset: 0,
        },
        3 => Call::Fallocate {
            slot: 0,
            mode: 0,
            offset: 0,
            len: 8 << 20,
        },
        4 => Call::CopyRange {
            from: 0,
            from_offset: 0,
            to: 0,
            to_offset: 4 << 20,
            len: 2 << 20,
        },
        5 => Call::MapWrite {
            slot: 0,
            bytes,
            offset: 0,
        },
        6 => Call::Rename {
            old: name,
            new: other,
            flags: 0,
        },
        7 => Call::Unlink { name },
        8 => Call::Mkdir {
            name: format!("d{}", rng.below(4)),
            mode: 0o755,
        },
        9 => Call::Link {
            old: name,
            new: other,
            flags: 0,
        },
        10 => Call::Setxattr {
            name,
            key: "user.k".to_owned(),
            value: vec![1; 30_000],
            flags: 0,
        },
        _ => Call::Ftruncate { slot: 0, len: 0 },
    }
}

/// The tree is whole: every name listed is there, link counts agree, all of it can be removed, and the space comes back.
fn check_and_empty(dir: &Dir, free: u64) {
    let names = dir.names();
    let mut links = std::collections::HashMap::new();
    for name in &names {
        let stat = dir.lstat(name).unwrap();
        if stat.st_mode & 0o170_000 == 0o100_000 {
            let entry = links.entry(stat.st_ino).or_insert((0, stat.st_nlink));
            entry.0 += 1;
            assert_eq!(entry.1, stat.st_nlink);
            assert_eq!(dir.read(name).unwrap().len() as i64, stat.st_size);
        }
    }
    assert!(links.values().all(|(found, told)| found == told), "{links:?}");
    for name in names {
        dir.unlink(&name).or_else(|_| dir.rmdir(&name)).unwrap();
    }
    let free_now = || rustix::fs::statfs(dir.path("")).unwrap().f_bfree;
    wait_until("all space is back", Duration::from_secs(10), || free_now() == free);
}

/// The hostile list: clients killed in the middle of every operation, again and again.
#[test]
fn clients_are_killed() {
    let mut mount = Mount::owltmp("mode=0777,size=256m");
    let free = rustix::fs::statfs(mount.mountpoint()).unwrap().f_bfree;
    let mut rng = Rng(7);
    for round in 0..60 {
        let mut actor = Actor::start(ROOT, mount.mountpoint());
        actor.call(&Call::Open {
            slot: 0,
            name: format!("n{}", rng.below(8)),
            flags: CREATE,
            mode: 0o666,
        });
        for step in 0..rng.below(6) {
            actor.call(&some_call(&mut rng, round + step));
        }
        actor.send(&some_call(&mut rng, round));
        for _ in 0..rng.below(2000) {
            std::hint::spin_loop();
        }
        actor.kill();
    }
    assert!(mount.alive());
    check_and_empty(mount.dir(), free);
}

/// The daemon is killed: its clients get ENOTCONN (or ECONNABORTED for the call under way), nobody hangs, umount works.
#[test]
fn the_daemon_is_killed() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let mut mount = Mount::owltmp("mode=0777");
    mount.expect_death();
    let fd = mount.dir().create("f");
    rustix::io::pwrite(&fd, b"lost", 0).unwrap();
    let mut actor = busy_writer(&mount);
    signal_daemon(&mount, Signal::KILL);
    assert!(mount.daemon_exit(Duration::from_secs(10)).is_some(), "SIGKILL ends it");
    let start = Instant::now();
    for _ in 0..64 {
        let errno = actor.answer().errno();
        assert!(
            matches!(errno, None | Some(Errno::NOTCONN | Errno::CONNABORTED | Errno::IO)),
            "{errno:?}"
        );
    }
    assert_eq!(mount.dir().lstat("f").unwrap_err(), Errno::NOTCONN);
    assert_eq!(mount.dir().mkdir("d", 0o755).unwrap_err(), Errno::NOTCONN);
    match pread(&fd, 9, 0) {
        Ok(bytes) => assert!(mount.passthrough() && bytes == b"lost", "{bytes:?}"),
        Err(errno) => assert!(matches!(errno, Errno::NOTCONN | Errno::CONNABORTED), "{errno:?}"),
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    drop((fd, actor));
    mount.close_root();
    // A child that another test has just forked may have our descriptors for a moment: EBUSY.
    let gone = || unmount(mount.mountpoint(), UnmountFlags::empty()).is_ok();
    wait_until("the dead mount is unmounted", Duration::from_secs(5), gone);
    assert!(!mount.is_mounted());
}

/// Unmounting a busy mount is EBUSY and does no harm; detaching it lets those inside go on to their end.
#[test]
fn unmounting_while_busy() {
    let mut mount = Mount::owltmp("mode=0777");
    let fd = mount.dir().create("f");
    assert_eq!(
        unmount(mount.mountpoint(), UnmountFlags::empty()).unwrap_err(),
        Errno::BUSY
    );
    rustix::io::pwrite(&fd, b"still there", 0).unwrap();
    assert_eq!(mount.dir().read("f").unwrap(), b"still there");
    mount.close_root();
    unmount(mount.mountpoint(), UnmountFlags::DETACH).unwrap();
    assert!(!mount.is_mounted());
    assert_eq!(rustix::io::pwrite(&fd, b"STILL", 0), Ok(5));
    assert_eq!(pread(&fd, 20, 0).unwrap(), b"STILL there");
    assert!(mount.alive(), "it serves those who are inside");
    drop(fd);
}

fn ends_by(signal: Signal) {
    if tmpfs_plays_owltmp() {
        return;
    }
    let mut mount = Mount::owltmp("mode=0777");
    let mut actor = busy_writer(&mount);
    signal_daemon(&mount, signal);
    let status = mount
        .daemon_exit(Duration::from_secs(10))
        .unwrap_or_else(|| panic!("{signal:?} does not end it"));
    assert!(status.success(), "{signal:?} is an orderly end: {status}");
    for _ in 0..64 {
        actor.answer();
    }
    assert!(!mount.is_mounted(), "an orderly end leaves no dead mount");
}

/// SIGTERM to the daemon while it is busy: an orderly end, no hang, nothing left mounted.
#[test]
fn sigterm_while_busy() {
    ends_by(Signal::TERM);
}

/// SIGINT does the same.
#[test]
fn sigint_while_busy() {
    ends_by(Signal::INT);
}

/// By semantics 6.3: with 64 descriptors for the daemon what cannot be opened is ENFILE (or all works), the rest goes on, and
/// after closing everything works again.
#[test]
fn too_few_descriptors() {
    let mut setup = Setup::new(Kind::Owltmp, "mode=0777");
    setup.open_files = Some(64);
    let mut mount = setup.mount();
    let dir = mount.dir();
    let mut open = vec![];
    for i in 0..200 {
        match dir.open(&format!("f{i}"), OFlags::CREATE | OFlags::RDWR, 0o644) {
            Ok(fd) => match rustix::io::pwrite(&fd, format!("text {i}").as_bytes(), 0) {
                Ok(_) => open.push((i, fd)),
                Err(error) => assert!(matches!(error, Errno::NFILE | Errno::NOSPC | Errno::NOMEM), "{error:?}"),
            },
            Err(error) => assert!(matches!(error, Errno::NFILE | Errno::NOSPC | Errno::NOMEM), "{error:?}"),
        }
    }
    println!("{} of 200 files are open with 64 descriptors", open.len());
    assert!(open.len() >= 10);
    dir.mkdir("d", 0o755).unwrap();
    dir.rename("d", "e").unwrap();
    for (i, fd) in &open {
        assert_eq!(pread(fd, 20, 0).unwrap(), format!("text {i}").as_bytes());
    }
    let written: Vec<u32> = open.drain(..).map(|(i, _)| i).collect();
    wait_until("files open again", Duration::from_secs(5), || {
        written.iter().take(10).all(|i| {
            dir.read(&format!("f{i}"))
                .is_ok_and(|t| t == format!("text {i}").as_bytes())
        })
    });
    for name in dir.names() {
        dir.unlink(&name).or_else(|_| dir.rmdir(&name)).unwrap();
    }
    wait_until("new files can be made", Duration::from_secs(5), || {
        let made = dir.open("new", OFlags::CREATE | OFlags::RDWR, 0o644);
        made.is_ok_and(|fd| rustix::io::pwrite(&fd, b"x", 0) == Ok(1))
    });
    assert!(mount.alive());
}

/// By semantics 6.3: with no descriptor left, large files without holes are still written; one with a hole gets ENFILE, and
/// nothing else is the worse for it.
#[test]
fn large_files_without_descriptors() {
    const FILES: u8 = 100;
    let mut setup = Setup::new(Kind::Owltmp, "mode=0777");
    setup.open_files = Some(64);
    let mut mount = setup.mount();
    let dir = mount.dir();
    let bytes = |i: u8| vec![i; 200_000];
    for i in 0..FILES {
        dir.file(&format!("dense{i}"), &bytes(i), 0o644);
    }
    let sparse = |i: u8| {
        let fd = dir.create(&format!("sparse{i}"));
        rustix::io::pwrite(&fd, b"x", 1 << 20)
    };
    let refused = (0..FILES).filter(|&i| sparse(i) == Err(Errno::NFILE)).count();
    if mount.passthrough() {
        assert_eq!(refused, 0, "nobody has them open, so they take no descriptors");
    } else {
        assert!(tmpfs_plays_owltmp() || refused >= usize::from(FILES) - 64, "{refused}");
    }
    for i in 0..FILES {
        assert_eq!(dir.read(&format!("dense{i}")), Ok(bytes(i)));
        dir.unlink(&format!("dense{i}")).unwrap();
        dir.unlink(&format!("sparse{i}")).unwrap();
    }
    wait_until("descriptors are free again", Duration::from_secs(5), || {
        let written = sparse(0);
        dir.unlink("sparse0").unwrap();
        written == Ok(1)
    });
    assert!(mount.alive());
}

/// By semantics 1.5: the filesystem runs full in the middle of every kind of work by several processes; nothing that was
/// acknowledged is lost.
#[test]
fn full_in_the_middle() {
    let mut mount = Mount::owltmp("mode=0777,size=3m,nr_inodes=300");
    let free = rustix::fs::statfs(mount.mountpoint()).unwrap().f_bfree;
    let mut actors: Vec<Actor> = (0..3).map(|_| Actor::start(ROOT, mount.mountpoint())).collect();
    let mut acknowledged = vec![];
    let mut refused = 0;
    for round in 0..400_u32 {
        let actor = &mut actors[round as usize % 3];
        let (name, byte) = (format!("f{round}"), round as u8);
        let made = actor.call(&Call::Open {
            slot: 0,
            name: name.clone(),
            flags: CREATE,
            mode: 0o600,
        });
        assert!(matches!(made.errno(), None | Some(Errno::NOSPC)), "{made:?}");
        if made.value == 0 {
            let wrote = actor.call(&Call::Pwrite {
                slot: 0,
                bytes: vec![byte; 30_000],
                offset: 0,
            });
            assert!(matches!(wrote.errno(), None | Some(Errno::NOSPC)), "{wrote:?}");
            acknowledged.push((name.clone(), byte, wrote.value.max(0) as usize));
        }
        let rest = [
            Call::Fallocate {
                slot: 0,
                mode: 1,
                offset: 1 << 20,
                len: 50_000,
            },
            Call::Mkdir {
                name: format!("d{round}"),
                mode: 0o700,
            },
            Call::Symlink {
                target: "y".repeat(500),
                name: format!("s{round}"),
            },
            Call::Setxattr {
                name,
                key: "user.x".to_owned(),
                value: vec![1; 2000],
                flags: 0,
            },
        ];
        for call in &rest {
            let errno = actor.call(call).errno();
            refused += u32::from(errno == Some(Errno::NOSPC));
            let missing = errno == Some(Errno::NOENT) && made.value != 0;
            assert!(
                missing || matches!(errno, None | Some(Errno::NOSPC)),
                "{call:?}: {errno:?}"
            );
        }
    }
    assert!(refused > 100, "it was never full");
    drop(actors);
    let dir = mount.dir();
    for (name, byte, len) in acknowledged {
        assert_eq!(dir.lstat(&name).unwrap().st_size as usize, len, "{name}");
        assert!(dir.read(&name).unwrap() == vec![byte; len], "{name}");
    }
    check_and_empty(mount.dir(), free);
    assert!(mount.alive());
}

/// The harness itself: a daemon that stops answering is ended, and with it the call that waits for it.
#[test]
fn a_hanging_daemon_is_ended() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let mut setup = Setup::new(Kind::Owltmp, "mode=0777");
    setup.limit = Duration::from_secs(1);
    let mut mount = setup.mount();
    mount.expect_death();
    let _stopped = Stopped::new(&mount);
    let errno = mount.dir().mkdir("d", 0o755).unwrap_err();
    assert!(matches!(errno, Errno::NOTCONN | Errno::CONNABORTED), "{errno:?}");
}

/// The harness itself: a mount is gone with its daemon and directory after a test that panics.
#[test]
fn nothing_is_left_after_a_panic() {
    let scratch = std::sync::Mutex::new(std::path::PathBuf::new());
    let panic = std::panic::catch_unwind(|| {
        let mount = Mount::owltmp("mode=0777");
        *scratch.lock().unwrap() = mount.scratch().to_owned();
        let _open = mount.dir().create("f");
        panic!("on purpose");
    });
    assert!(panic.is_err());
    let scratch = scratch.lock().unwrap().clone();
    assert!(!scratch.exists());
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(scratch.to_str().unwrap()));
}
