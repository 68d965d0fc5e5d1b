//! The program as a test runs it: in a scratch directory, as some user, watched from outside, with nothing left
//! behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Mount, wait_until};

/// The program under test.
pub const OWLTMP: &str = env!("CARGO_BIN_EXE_owltmp");
/// An ordinary user, who has a name (fusermount3 wants one).
pub const NOBODY: u32 = 65534;
/// How long anything may take that should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The daemon of a mount does not answer, until dropped.
pub struct Stopped(Pid);

impl Stopped {
    /// Stops it.
    pub fn new(mount: &Mount) -> Stopped {
        let pid = Pid::from_raw(mount.daemon_pid().expect("a daemon"));
        kill(pid, Signal::SIGSTOP).expect("it can be stopped");
        let stat = format!("/proc/{pid}/stat");
        wait_until("it has stopped", Duration::from_secs(5), || {
            fs::read_to_string(&stat).is_ok_and(|text| text.contains(") T "))
        });
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A directory that anyone may enter, with a mountpoint `m` in it, owned by `nobody`. Whatever is mounted at `m` goes
/// with it, and no daemon may be left.
pub struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Scratch {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let scratch = Scratch { directory };
        fs::create_dir(scratch.mountpoint()).unwrap();
        nix::unistd::chown(&scratch.mountpoint(), Some(NOBODY.into()), Some(NOBODY.into())).unwrap();
        scratch
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn mountpoint(&self) -> PathBuf {
        self.path("m")
    }

    /// Mounts with `options` (may be empty) and expects no word about it.
    pub fn mount(&self, options: &str) {
        assert_silent_success(&owltmp(&["mount", "-o", options], &self.mountpoint()).output().unwrap());
    }

    /// Runs `owltmp umount`.
    pub fn umount(&self) -> Output {
        owltmp(&["umount"], &self.mountpoint()).output().unwrap()
    }

    /// The daemon of the mount, found by its command line.
    pub fn daemon(&self) -> Option<Pid> {
        running(&self.mountpoint()).first().copied()
    }

    pub fn signal_daemon(&self, signal: Signal) {
        kill(self.daemon().expect("a daemon"), signal).unwrap();
    }

    /// Waits until there is neither mount nor daemon.
    pub fn expect_nothing_left(&self) {
        eventually("the end of the daemon", || self.daemon().is_none());
        assert_eq!(mounts_at(&self.mountpoint()), Vec::<String>::new());
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        while umount2(&self.mountpoint(), MntFlags::MNT_DETACH).is_ok() {}
        for pid in running(self.directory.path()) {
            let _ = kill(pid, Signal::SIGCONT);
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// The program with `arguments` and then a path.
pub fn owltmp(arguments: &[&str], path: &Path) -> Command {
    let mut command = Command::new(OWLTMP);
    command.args(arguments).arg(path).stdin(Stdio::null());
    command
}

/// The program for an ordinary user: a copy, since a build directory need not be readable for others.
pub fn copy_for_users(scratch: &Scratch) -> PathBuf {
    let copy = scratch.path("owltmp");
    // By another process: a descriptor of ours open for writing would go to what parallel tests fork, and the
    // copy could not be executed meanwhile (ETXTBSY).
    assert!(Command::new("cp").arg(OWLTMP).arg(&copy).status().unwrap().success());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// A command as `nobody`.
pub fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
        .arg(program);
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// The lines of mountinfo about mounts at `path`.
pub fn mounts_at(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let at_path = |line: &&str| line.split(' ').nth(4) == path.to_str();
    table.lines().filter(at_path).map(str::to_owned).collect()
}

/// The lines of mountinfo about mounts at `path` or below it.
pub fn mounts_below(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below = |line: &&str| line.split(' ').nth(4).is_some_and(|it| Path::new(it).starts_with(path));
    table.lines().filter(below).map(str::to_owned).collect()
}

/// Living processes whose command line holds `path` as an argument or the beginning of one, tests themselves left
/// out.
pub fn running(path: &Path) -> Vec<Pid> {
    let wanted = path.to_str().unwrap().as_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A zombie has no command line.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line
            .split(|byte| *byte == 0)
            .any(|argument| argument.starts_with(wanted))
        {
            found.push(Pid::from_raw(pid));
        }
    }
    found
}

/// Success, and nothing said.
pub fn assert_silent_success(output: &Output) {
    let said = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{} {said:?}", output.status);
    assert_eq!(said, ("".into(), "".into()));
}

/// A failure with `status` in one line of the program's that contains `text`.
pub fn assert_one_line(output: &Output, status: i32, text: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(
        said.starts_with("owltmp: ") && said.ends_with('\n') && said.lines().count() == 1,
        "{said:?}"
    );
    assert!(said.contains(text), "{said:?} has no {text:?}");
}

/// How many tests want /dev/fuse open for all now, and the mode it had before.
static DEVICE_USERS: Mutex<(usize, u32)> = Mutex::new((0, 0));

/// While one of these lives, /dev/fuse is open for all, as udev makes it on every Debian.
pub struct DeviceForAll;

impl DeviceForAll {
    pub fn new() -> DeviceForAll {
        let mut users = DEVICE_USERS.lock().unwrap();
        if users.0 == 0 {
            users.1 = fs::metadata("/dev/fuse").unwrap().permissions().mode();
            fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).unwrap();
        }
        users.0 += 1;
        DeviceForAll
    }
}

impl Drop for DeviceForAll {
    fn drop(&mut self) {
        let mut users = DEVICE_USERS.lock().unwrap();
        users.0 -= 1;
        if users.0 == 0 {
            let _ = fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(users.1 & 0o7777));
        }
    }
}
