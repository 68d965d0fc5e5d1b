//! Directories that somebody has locked for ever: he lists them into memory that never comes, of a filesystem of his own whose server
//! does not answer. The kernel cannot be told of what is in them, and nobody else is to notice.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::ftruncate;
use rustix::io::{Errno, pwrite, read, write};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::cleaner;
use crate::common::identity::{ALICE, BOB};
use crate::common::map::Map;
use crate::common::raw::{fork, wait};
use crate::common::{Dir, Mount, OFlags, as_user, lock, wait_until};
use crate::program::{OWLTMP, Stopped};

/// How long anything may take that should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// More than a user is given threads for.
const DIRECTORIES: usize = 4;

/// Of the memory, in bytes.
const LENGTH: usize = 1 << 20;

/// Directories of Alice's, each with a file that is known to the kernel, and locked until dropped.
struct Stuck {
    stopped: Option<Stopped>,
    listing: Vec<i32>,
    _server: Mount,
}

impl Stuck {
    fn new(dir: &Dir) -> Stuck {
        let server = Mount::owltmp("mode=0777,io=cached");
        let memory = server.dir().create("file");
        // Of pages that the kernel has never seen.
        ftruncate(&memory, LENGTH as u64).unwrap();
        let lists: Vec<_> = (0..DIRECTORIES)
            .map(|number| list(&one_of_alices(dir, number), &memory))
            .collect();
        // Only they have anything there: other tests start programs meanwhile.
        drop(memory);
        let stopped = Some(Stopped::new(&server));
        let mut listing = Vec::new();
        for (pid, go) in lists {
            write(&go, b"g").unwrap();
            listing.push(pid);
            let stat = format!("/proc/{pid}/stat");
            wait_until("it waits for the memory", PATIENCE, || {
                fs::read_to_string(&stat).is_ok_and(|text| text.contains(") D "))
            });
        }
        Stuck {
            stopped,
            listing,
            _server: server,
        }
    }
}

/// A process that lists the directory into the memory when it is told to. It keeps open nothing of other tests.
fn list(directory: &OwnedFd, memory: &OwnedFd) -> (i32, OwnedFd) {
    let (ready, is_ready) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let pid = fork(|| {
        let memory = Map::private(memory, LENGTH).unwrap();
        let kept = [directory, &is_ready, &wait].map(|fd| lock::dup_from(fd.as_raw_fd(), 1000).unwrap());
        let [directory, is_ready, wait] =
            [3, 4, 5].map(|to| lock::Borrowed(lock::dup_over(kept[to as usize - 3], to).unwrap()));
        lock::close_from(6);
        write(is_ready, b"r").unwrap();
        // Nothing where it is not told, but that nobody is there any more.
        let told = read(wait, &mut [0]);
        i32::from(told != Ok(1) || memory.list(directory).is_err())
    });
    assert_eq!(read(&ready, &mut [0]), Ok(1));
    (pid, go)
}

impl Drop for Stuck {
    fn drop(&mut self) {
        drop(self.stopped.take());
        for pid in &self.listing {
            let _gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            wait(*pid);
        }
    }
}

/// A directory with a file in it.
fn one_of_alices(dir: &Dir, number: usize) -> OwnedFd {
    as_user(ALICE, || {
        let name = format!("alices-{number}");
        let directory = dir.subdir(&name, 0o755);
        drop(directory.create("file"));
        assert!(directory.lstat("file").is_ok());
        dir.open(&name, OFlags::DIRECTORY, 0).unwrap()
    })
}

/// Does something in a thread of its own, and waits for that for as long as may be.
fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(work()));
    receiver
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| panic!("in vain: {what}"))
}

fn minor(place: &Path) -> u64 {
    nix::sys::stat::minor(fs::metadata(place).unwrap().dev())
}

fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The names of others' files expire when the files are marked: who comes by name goes on while a write by an old descriptor waits.
#[test]
fn names_of_others_expire() {
    let mount = Mount::owltmp("mode=1777,mand=full");
    if mount.daemon_pid().is_none() {
        return;
    }
    let dir = mount.dir();
    let stuck = Stuck::new(dir);
    for number in 0..DIRECTORIES {
        // By a path, through a directory that is only locked against changes.
        let path = dir.path(&format!("alices-{number}/file"));
        in_time("a mark in a locked directory", move || set_mode(&path, 0o2666)).unwrap();
    }
    for directory in ["", "bobs/"] {
        as_user(BOB, || {
            if !directory.is_empty() {
                dir.subdir("bobs", 0o755);
            }
            let name = format!("{directory}file");
            dir.file(&name, &[7; 100], 0o666);
            let open = || dir.open(&name, OFlags::RDWR, 0).unwrap();
            let (old, holder) = (open(), open());
            dir.chmod(&name, 0o2666).unwrap();
            let entry = format!("/proc/self/fd/{}", old.as_raw_fd());
            wait_until("its name has expired", PATIENCE, || {
                dir.lstat(&name).unwrap();
                fs::read_link(&entry).unwrap().to_string_lossy().ends_with(" (deleted)")
            });
            let all = lock::Record::all(nix::libc::F_WRLCK as i16);
            lock::set(holder.as_raw_fd(), nix::libc::F_OFD_SETLK, all).unwrap();
            let (written, is_written) = channel();
            thread::spawn(move || written.send(pwrite(&old, b"late", 0)));
            thread::sleep(Duration::from_millis(100));
            assert!(is_written.try_recv().is_err(), "it waits for the lock");
            let path = dir.path(&name);
            in_time("a change by name", move || set_mode(&path, 0o2600)).unwrap();
            drop(holder);
            assert_eq!(is_written.recv_timeout(PATIENCE), Ok(Ok::<_, Errno>(4)));
        });
    }
    drop(stuck);
}

/// The cleaner goes on, and so does whoever starts it.
#[test]
fn the_cleaner_goes_on() {
    let mount = cleaner::mount("io=auto", 1000, 20);
    if mount.daemon_pid().is_none() {
        return;
    }
    let dir = mount.dir();
    let stuck = Stuck::new(dir);
    for round in 0..2 {
        // Those of Alice's are old by then.
        thread::sleep(Duration::from_millis(1200));
        as_user(BOB, || {
            dir.subdir("bobs", 0o755);
            for name in ["bobs/file", "file"] {
                dir.file(name, b"", 0o644);
                assert!(dir.lstat(name).is_ok());
            }
        });
        wait_until("what is old is gone", PATIENCE, || {
            ["bobs", "file"].iter().all(|name| dir.lstat(name).is_err())
        });
        let start = Instant::now();
        let output = Command::new(OWLTMP).arg("clean").arg(mount.path()).output().unwrap();
        assert!(output.status.success(), "{round}: {output:?}");
        assert!(start.elapsed() < PATIENCE);
    }
    for number in 0..DIRECTORIES {
        let removed = format!("/alices-{number}/file\"");
        assert!(mount.stderr().contains(&removed), "{removed}");
    }
    drop(stuck);
    wait_until("the kernel is told of the rest", PATIENCE, || dir.names().is_empty());
}

/// Who has it open when the daemon ends does not wait for an answer.
#[test]
fn the_connection_ends_with_the_daemon() {
    let mut mount = Mount::owltmp("mode=1777,mand=full");
    let Some(daemon) = mount.daemon_pid() else { return };
    if !Path::new("/sys/fs/fuse/connections")
        .join(minor(mount.path()).to_string())
        .exists()
    {
        eprintln!("left out: fusectl is not mounted, and without it the connection ends with the stuck process");
        return;
    }
    mount.expect_death();
    let dir = mount.dir();
    let stuck = Stuck::new(dir);
    set_mode(&dir.path("alices-0/file"), 0o2666).unwrap();
    thread::sleep(Duration::from_millis(200));
    kill(Pid::from_raw(daemon), Signal::SIGTERM).unwrap();
    let root = rustix::io::dup(dir.fd()).unwrap();
    let asked = in_time("an answer", move || {
        let end = Instant::now() + PATIENCE;
        loop {
            match rustix::fs::fstatfs(&root) {
                Err(error) => return error,
                Ok(_) => assert!(Instant::now() < end, "it goes on"),
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    assert_eq!(asked, Errno::NOTCONN);
    drop(stuck);
}
