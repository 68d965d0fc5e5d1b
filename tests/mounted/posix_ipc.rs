//! What else programs do with files: fifos, sockets, locks, inotify, executables, handles; on tmpfs and on owltmp.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::call::Call;
use crate::common::identity::{ALICE, BOB, CAROL, ROOT};
use crate::common::{Actor, Dir, Errno, FileType, OFlags, as_user, both, both_with, wait_until};

/// By semantics 1.1: a fifo carries bytes between two threads that open it by name.
#[test]
fn fifos_work() {
    both(|dir| {
        dir.mknod("p", FileType::Fifo, 0o666, 0).unwrap();
        dir.chmod("p", 0o666).unwrap();
        assert_eq!(
            dir.open("p", OFlags::WRONLY | OFlags::NONBLOCK, 0).unwrap_err(),
            Errno::NXIO
        );
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = std::fs::File::from(dir.open("p", OFlags::WRONLY, 0).unwrap());
                writer.write_all(b"through the pipe").unwrap();
            });
            let mut text = String::new();
            as_user(CAROL, || {
                std::fs::File::from(dir.open("p", OFlags::RDONLY, 0).unwrap())
                    .read_to_string(&mut text)
                    .unwrap();
            });
            assert_eq!(text, "through the pipe");
        });
        assert_eq!(dir.lstat("p").unwrap().st_size, 0);
    });
}

/// By semantics 1.1: unix sockets bind, connect by name (with the rights of the name), and refuse when nobody listens.
#[test]
fn sockets_work() {
    both(|dir| {
        let path = dir.path("s");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(
            UnixListener::bind(&path).unwrap_err().raw_os_error(),
            Some(nix::libc::EADDRINUSE)
        );
        std::thread::scope(|scope| {
            scope.spawn(|| listener.accept().unwrap().0.write_all(b"hello").unwrap());
            let mut text = String::new();
            UnixStream::connect(&path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
        });
        dir.chmod("s", 0o600).unwrap();
        let refused = as_user(CAROL, || UnixStream::connect(&path).unwrap_err());
        assert_eq!(refused.raw_os_error(), Some(nix::libc::EACCES));
        dir.rename("s", "t").unwrap();
        assert!(UnixStream::connect(dir.path("t")).is_ok());
        drop(listener);
        wait_until("nobody listens", MOMENT, || {
            UnixStream::connect(dir.path("t")).is_err_and(|e| e.raw_os_error() == Some(nix::libc::ECONNREFUSED))
        });
        let datagrams = UnixDatagram::bind(dir.path("d")).unwrap();
        UnixDatagram::unbound().unwrap().send_to(b"one", dir.path("d")).unwrap();
        let mut buffer = [0; 10];
        assert_eq!(datagrams.recv(&mut buffer).unwrap(), 3);
    });
}

/// How long to wait for what a child of another test, forked at a bad moment, may delay: it has our descriptors until it execs.
const MOMENT: Duration = Duration::from_secs(5);

/// Copies a program, by a process of its own: a descriptor open for writing that a forked child has is ETXTBSY to exec.
fn install(from: &str, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
    assert!(Command::new("chmod").arg("755").arg(to).status().unwrap().success());
}

/// A shell script that exits with 7, made in the same way.
fn script(dir: &Dir) {
    let make = "printf '#!/bin/sh\\nexit 7\\n' > \"$0\" && chmod 755 \"$0\"";
    assert!(
        Command::new("sh")
            .arg("-c")
            .arg(make)
            .arg(dir.path("script"))
            .status()
            .unwrap()
            .success()
    );
}

/// By semantics 1.1: a program runs from the filesystem; a running one is ETXTBSY to writers.
#[test]
fn programs_run() {
    both(|dir| {
        install("/bin/sleep", &dir.path("program"));
        script(dir);
        let status = Command::new(dir.path("script")).status().unwrap();
        assert_eq!(status.code(), Some(7));
        let mut child = Command::new(dir.path("program")).arg("60").spawn().unwrap();
        let refused = dir.open("program", OFlags::WRONLY, 0).unwrap_err();
        let truncated = dir.truncate("program", 0).unwrap_err();
        dir.unlink("program").unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((refused, truncated), (Errno::TXTBSY, Errno::TXTBSY));
        dir.chmod("script", 0o644).unwrap();
        let refused = Command::new(dir.path("script")).status().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::libc::EACCES));
    });
    both_with("mode=0777,noexec", |dir| {
        script(dir);
        let refused = Command::new(dir.path("script")).status().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::libc::EACCES));
    });
}

/// By semantics 1.6: set-user-id programs run as their caller, for the mount is nosuid.
#[test]
fn set_user_id_programs() {
    both(|dir| {
        install("/usr/bin/id", &dir.path("id"));
        dir.chown("id", Some(BOB.uid), None).unwrap();
        dir.chmod("id", 0o4755).unwrap();
        let out = Command::new(dir.path("id")).arg("-u").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "0");
    });
    both_with("mode=0777,suid", |dir| {
        install("/usr/bin/id", &dir.path("id"));
        dir.chown("id", Some(BOB.uid), None).unwrap();
        dir.chmod("id", 0o4755).unwrap();
        let out = Command::new(dir.path("id")).arg("-u").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), BOB.uid.to_string());
    });
}

fn open(actor: &mut Actor, slot: u8, name: &str) {
    let flags = (OFlags::RDWR | OFlags::CREATE).bits();
    assert_eq!(
        actor
            .call(&Call::Open {
                slot,
                name: name.to_owned(),
                flags,
                mode: 0o666
            })
            .value,
        0
    );
}

/// By semantics 4.1: record locks of two processes conflict, are reported, and end with close and death.
#[test]
fn record_locks() {
    both(|dir| {
        let (read, write, unlock) = (0, 1, 2);
        let mut one = Actor::start(ROOT, &dir.path(""));
        let mut two = Actor::start(ROOT, &dir.path(""));
        open(&mut one, 0, "f");
        open(&mut one, 1, "f");
        open(&mut two, 0, "f");
        let lock = |kind, start, len| Call::Lock {
            slot: 0,
            kind,
            start,
            len,
        };
        assert_eq!(one.call(&lock(write, 10, 10)).value, 0);
        assert_eq!(two.call(&lock(read, 15, 1)).errno(), Some(Errno::AGAIN));
        assert_eq!(two.call(&lock(write, 20, 0)).value, 0);
        let held = two.call(&Call::TestLock {
            slot: 0,
            kind: read,
            start: 0,
            len: 0,
        });
        assert_eq!(held.data, format!("1 10 10 {}", one.pid()).into_bytes());
        assert_eq!(one.call(&lock(read, 10, 5)).value, 0);
        assert_eq!(two.call(&lock(read, 10, 5)).value, 0);
        assert_eq!(one.call(&lock(write, 10, 5)).errno(), Some(Errno::AGAIN));
        assert_eq!(two.call(&lock(unlock, 0, 15)).value, 0);
        assert_eq!(one.call(&Call::Close { slot: 1 }).value, 0);
        assert_eq!(two.call(&lock(write, 0, 0)).value, 0);
        assert_eq!(one.call(&lock(write, 0, 1)).errno(), Some(Errno::AGAIN));
        two.kill();
        assert_eq!(one.call(&lock(write, 0, 0)).value, 0);
    });
}

/// By semantics 4.5: flock(2) works on files and directories and ends with the descriptor.
#[test]
fn whole_file_locks() {
    both(|dir| {
        let mut one = Actor::start(ALICE, &dir.path(""));
        let mut two = Actor::start(BOB, &dir.path(""));
        dir.mkdir("d", 0o755).unwrap();
        dir.file("f", b"", 0o666);
        for name in ["d", "f"] {
            for actor in [&mut one, &mut two] {
                let call = Call::Open {
                    slot: 0,
                    name: name.to_owned(),
                    flags: 0,
                    mode: 0,
                };
                assert_eq!(actor.call(&call).value, 0);
            }
            let (shared, exclusive) = (
                Call::Flock { slot: 0, operation: 1 },
                Call::Flock { slot: 0, operation: 2 },
            );
            assert_eq!(one.call(&exclusive).value, 0);
            assert_eq!(two.call(&shared).errno(), Some(Errno::AGAIN));
            assert_eq!(one.call(&shared).value, 0);
            assert_eq!(two.call(&shared).value, 0);
            assert_eq!(one.call(&exclusive).errno(), Some(Errno::AGAIN));
            assert_eq!(two.call(&Call::Close { slot: 0 }).value, 0);
            assert_eq!(one.call(&exclusive).value, 0);
        }
    });
}

fn events(fd: &rustix::fd::OwnedFd) -> Vec<(String, ReadFlags)> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(fd, &mut buffer);
    let mut events = vec![];
    while let Ok(event) = reader.next() {
        let name = event
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        events.push((name, event.events()));
    }
    events
}

/// By semantics 1.1: inotify tells what happens in a directory and to a file.
#[test]
fn inotify_events() {
    both(|dir| {
        dir.file("f", b"", 0o644);
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(
            &fd,
            dir.path(""),
            WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE,
        )
        .unwrap();
        dir.mkdir("d", 0o755).unwrap();
        drop(dir.create("new"));
        dir.rename("new", "old").unwrap();
        dir.unlink("old").unwrap();
        let isdir = ReadFlags::CREATE | ReadFlags::ISDIR;
        let expected = [
            ("d", isdir),
            ("new", ReadFlags::CREATE),
            ("new", ReadFlags::MOVED_FROM),
            ("old", ReadFlags::MOVED_TO),
            ("old", ReadFlags::DELETE),
        ];
        assert_eq!(events(&fd), expected.map(|(n, e)| (n.to_owned(), e)));
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&fd, dir.path("f"), WatchFlags::ALL_EVENTS).unwrap();
        // In a process of its own: here another test may be forking, and a descriptor that its child has for a moment is not
        // closed by close(2).
        let mut actor = Actor::start(ROOT, &dir.path(""));
        let name = || "f".to_owned();
        for call in [
            Call::Open {
                slot: 0,
                name: name(),
                flags: OFlags::WRONLY.bits(),
                mode: 0,
            },
            Call::Write {
                slot: 0,
                bytes: b"x".to_vec(),
            },
            Call::Chmod {
                name: name(),
                mode: 0o600,
            },
            Call::Close { slot: 0 },
            Call::Unlink { name: name() },
        ] {
            assert!(actor.call(&call).value >= 0, "{call:?}");
        }
        let seen: Vec<ReadFlags> = events(&fd).into_iter().map(|(_, e)| e).collect();
        let first = [
            ReadFlags::OPEN,
            ReadFlags::MODIFY,
            ReadFlags::ATTRIB,
            ReadFlags::CLOSE_WRITE,
            ReadFlags::ATTRIB,
        ];
        assert_eq!(seen[..5], first);
        assert!(
            seen[5..].starts_with(&[ReadFlags::DELETE_SELF, ReadFlags::IGNORED]),
            "{seen:?}"
        );
    });
}

/// By semantics 1.1: a file handle opens the file again, under any name, and is ESTALE when it is gone.
#[test]
fn file_handles() {
    both(|dir: &Dir| {
        use crate::common::handle::Handle;
        dir.file("f", b"by handle", 0o644);
        let handle = Handle::of(dir.fd(), "f").unwrap();
        dir.rename("f", "g").unwrap();
        let fd = handle.open(dir.fd(), OFlags::RDONLY).unwrap();
        assert_eq!(crate::common::dir::pread(&fd, 20, 0).unwrap(), b"by handle");
        assert_eq!(rustix::fs::fstat(&fd).unwrap().st_ino, dir.stat("g").unwrap().st_ino);
        dir.mkdir("d", 0o755).unwrap();
        let folder = Handle::of(dir.fd(), "d")
            .unwrap()
            .open(dir.fd(), OFlags::DIRECTORY)
            .unwrap();
        assert_eq!(
            rustix::fs::fstat(&folder).unwrap().st_ino,
            dir.stat("d").unwrap().st_ino
        );
        as_user(CAROL, || {
            assert_eq!(handle.open(dir.fd(), OFlags::RDONLY).unwrap_err(), Errno::PERM)
        });
        drop(fd);
        dir.unlink("g").unwrap();
        dir.file("another", b"", 0o644);
        wait_until("the handle is stale", MOMENT, || {
            handle.open(dir.fd(), OFlags::RDONLY).map(drop) == Err(Errno::STALE)
        });
    });
}
