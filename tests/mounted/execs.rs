//! execve(2) of callers: while it closes descriptors the kernel holds a lock that most of /proc/PID waits for, and the closing waits
//! for us, or for the server of another filesystem.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FileType, OFlags, sendfile};
use rustix::io::{read, write};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::cleaner;
use crate::common::map::Map;
use crate::common::mount::Mount;
use crate::common::raw::{fork, wait};
use crate::common::{Dir, each, wait_until};
use crate::program::Stopped;

/// Names that the kernel does not know yet, so that each is a request.
fn ask(dir: &Dir, who: u32) {
    for number in 0..40 {
        let absent = dir.lstat(&format!("absent-{who}-{number}"));
        assert!(absent.is_err());
    }
}

/// Descriptors that execve(2) closes.
fn descriptors(dir: &Dir, count: usize) -> Vec<OwnedFd> {
    let open = |number: usize| {
        dir.open(
            &format!("open-{number}"),
            OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC,
            0o600,
        )
    };
    (0..count).map(|number| open(number).unwrap()).collect()
}

#[test]
fn that_close_files_go_on() {
    each("mode=0777", |mount| {
        let _open = descriptors(mount.dir(), 50);
        for round in 0..100 {
            ask(mount.dir(), round);
            assert!(Command::new("true").status().unwrap().success());
        }
    });
}

/// A process that will be in execve(2) for as long as `Stopped` is stopped.
struct Stuck {
    pid: i32,
    go: OwnedFd,
}

impl Stuck {
    /// `before` is what it does just before. Only it has a descriptor there: other tests start programs meanwhile.
    fn new(there: &Dir, before: impl FnOnce()) -> Self {
        let mut command = Command::new("true");
        let (ready, is_ready) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (wait, go) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let pid = fork(|| {
            let _open = descriptors(there, 1);
            write(&is_ready, b"r").unwrap();
            assert_eq!(read(&wait, &mut [0]), Ok(1));
            before();
            drop(command.exec());
            1
        });
        assert_eq!(read(&ready, &mut [0]), Ok(1));
        Self { pid, go }
    }

    fn go(&self) {
        write(&self.go, b"g").unwrap();
    }

    fn ends(self) {
        assert_eq!(wait(self.pid), 0);
    }
}

/// The server of another filesystem never answers one who has just asked us, or has us read ahead for him.
#[test]
fn that_never_end_hold_up_nobody() {
    each("mode=0777", |mount| {
        let dir = mount.dir();
        dir.file("marked", &vec![7; 4 << 20], 0o2666);
        let marked = dir.open("marked", OFlags::RDONLY, 0).unwrap();
        let other = Mount::owltmp("mode=0777");
        let asks = |who| Stuck::new(other.dir(), || ask(dir, who));
        let maps = |_| {
            Stuck::new(other.dir(), || {
                let map = Map::private(&marked, 4 << 20).unwrap();
                assert_eq!(map.get(0, 1), [7]);
            })
        };
        let sends = |_| {
            Stuck::new(other.dir(), || {
                let (_reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
                assert!(sendfile(&writer, &marked, None, 4096).is_ok());
            })
        };
        let stuck: Vec<_> = (0..50).flat_map(|who| [asks(who), maps(who), sends(who)]).collect();
        let stopped = Stopped::new(&other);
        for (round, some) in (0..).zip(stuck.chunks(3)) {
            some.iter().for_each(Stuck::go);
            ask(dir, 1000 + round);
            dir.mknod("f", FileType::RegularFile, 0o600, 0).unwrap();
            dir.unlink("f").unwrap();
        }
        drop(stopped);
        stuck.into_iter().for_each(Stuck::ends);
    });
}

/// Nor who looks for what such a process has.
#[test]
fn that_never_end_do_not_hold_up_status() {
    each("mode=0777", |mount| {
        if mount.daemon_pid().is_none() {
            return;
        }
        let _deleted = mount.dir().create("f");
        mount.dir().unlink("f").unwrap();
        let other = Mount::owltmp("mode=0777");
        let stuck = Stuck::new(other.dir(), || {});
        let stopped = Stopped::new(&other);
        stuck.go();
        let status = Command::new(env!("CARGO_BIN_EXE_owltmp"))
            .args(["status", "--json"])
            .arg(mount.path())
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");
        drop(stopped);
        stuck.ends();
    });
}

/// Nor the cleaner, which wants to know what is mounted in all namespaces.
#[test]
fn that_never_end_do_not_hold_up_the_cleaner() {
    let other = Mount::owltmp("mode=0777");
    if other.daemon_pid().is_none() {
        return;
    }
    let stuck = Stuck::new(other.dir(), || {});
    let stopped = Stopped::new(&other);
    stuck.go();
    let mount = cleaner::mount("io=auto", 300, 20);
    mount.dir().file("old", b"", 0o600);
    wait_until("it is removed", Duration::from_secs(20), || {
        mount.dir().lstat("old").is_err()
    });
    drop(stopped);
    stuck.ends();
}
