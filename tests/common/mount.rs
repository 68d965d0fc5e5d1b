//! A mounted filesystem for one test: mounted on a scratch directory of its own, unmounted in Drop, and then it is checked
//! that nothing is left: no mount, no process, no directory.

use rustix::fs::{Mode, chmodat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::dir::Dir;
use super::watchdog::{Target, Watchdog};

/// Which filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The oracle.
    Tmpfs,
    /// What is tested.
    Owltmp,
}

/// How to mount.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which filesystem.
    pub kind: Kind,
    /// The options of `-o`.
    pub options: String,
    /// Descriptors the daemon may have open.
    pub open_files: Option<u32>,
    /// What the daemon finds in its environment.
    pub environment: Vec<(&'static str, String)>,
    /// How long the test may take before it counts as hung; far more than it needs on a busy machine.
    pub limit: Duration,
}

impl Setup {
    /// The usual way to mount that filesystem with these options.
    pub fn new(kind: Kind, options: &str) -> Self {
        Self {
            kind,
            options: options.to_owned(),
            open_files: None,
            environment: vec![],
            limit: Duration::from_secs(600),
        }
    }

    /// Mounts it.
    pub fn mount(self) -> Mount {
        Mount::start(self)
    }
}

/// True if tmpfs plays the part of owltmp, to check the tests themselves.
pub fn tmpfs_plays_owltmp() -> bool {
    std::env::var("OWLTMP_TEST_SELF").is_ok_and(|v| v == "tmpfs")
}

/// Options that the mounts of this run are made with where the test does not say: `io=` of `OWLTMP_TEST_IO` and `mand=` of
/// `OWLTMP_TEST_MAND`, so that all tests can be run in each mode.
const OF_RUN: [(&str, &str); 2] = [("io", "OWLTMP_TEST_IO"), ("mand", "OWLTMP_TEST_MAND")];

fn of_run(option: &str) -> Option<String> {
    let (_, variable) = OF_RUN.iter().find(|(name, _)| *name == option)?;
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// A mounted filesystem.
#[derive(Debug)]
pub struct Mount {
    setup: Setup,
    scratch: PathBuf,
    mountpoint: PathBuf,
    device: u64,
    dir: Option<Dir>,
    daemon: Option<Child>,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    watchdog: Option<Watchdog>,
    death_expected: bool,
}

impl std::fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watchdog")
    }
}

impl Mount {
    /// The filesystem under test; another name of [`Mount::owltmp`].
    pub fn new(options: &str) -> Self {
        Self::owltmp(options)
    }

    /// An owltmp with these options (or what plays it, see [`tmpfs_plays_owltmp`]).
    pub fn owltmp(options: &str) -> Self {
        Setup::new(Kind::Owltmp, options).mount()
    }

    /// A tmpfs with these options.
    pub fn tmpfs(options: &str) -> Self {
        Setup::new(Kind::Tmpfs, options).mount()
    }

    fn start(setup: Setup) -> Self {
        let scratch = tempfile::Builder::new()
            .prefix("owltmp-test-")
            .tempdir_in("/var/tmp")
            .expect("a scratch")
            .keep();
        chmodat(
            rustix::fs::CWD,
            &scratch,
            Mode::from_raw_mode(0o755),
            rustix::fs::AtFlags::empty(),
        )
        .expect("chmod");
        let mountpoint = scratch.join("mnt");
        std::fs::create_dir(&mountpoint).expect("a mount point");
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut mount = Self {
            setup,
            scratch,
            mountpoint,
            device: 0,
            dir: None,
            daemon: None,
            stderr,
            reader: None,
            watchdog: None,
            death_expected: false,
        };
        if mount.setup.kind == Kind::Tmpfs || tmpfs_plays_owltmp() {
            mount.mount_tmpfs()
        } else {
            mount.mount_owltmp()
        }
        mount.device = std::fs::metadata(&mount.mountpoint).expect("the mount answers").dev();
        mount.watchdog = Some(Watchdog::start(mount.setup.limit, mount.target()));
        mount.dir = Some(Dir::open_root(&mount.mountpoint, mount.setup.kind).expect("the mount's root"));
        mount
    }

    fn mount_tmpfs(&self) {
        let options = format!("nosuid,nodev,{}", self.setup.options);
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&self.mountpoint)
            .status();
        assert!(status.expect("mount(8)").success(), "mount -t tmpfs -o {options}");
    }

    fn mount_owltmp(&mut self) {
        let before = std::fs::metadata(&self.mountpoint).expect("the mount point").dev();
        let mut command = match self.setup.open_files {
            None => Command::new(env!("CARGO_BIN_EXE_owltmp")),
            Some(n) => {
                let mut shell = Command::new("sh");
                shell.args([
                    "-c",
                    &format!("ulimit -n {n}; exec \"$0\" \"$@\""),
                    env!("CARGO_BIN_EXE_owltmp"),
                ]);
                shell
            }
        };
        command.args(["mount", "-f"]);
        command.envs(self.setup.environment.iter().cloned());
        // The test's own options come later, and win.
        for (option, _) in OF_RUN {
            if let Some(value) = of_run(option) {
                command.args(["-o", &format!("{option}={value}")]);
            }
        }
        if !self.setup.options.is_empty() {
            command.args(["-o", &self.setup.options]);
        }
        command
            .arg(&self.mountpoint)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("owltmp starts");
        let mut pipe = child.stderr.take().expect("stderr is piped");
        let text = Arc::clone(&self.stderr);
        self.reader = Some(std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                text.lock()
                    .expect("the text")
                    .push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        }));
        let pid = i32::try_from(child.id()).expect("a pid");
        self.daemon = Some(child);
        let target = Target {
            daemon: Some(pid),
            minor: 0,
            mountpoint: self.mountpoint.clone(),
        };
        let _watchdog = Watchdog::start(Duration::from_secs(20), target);
        super::wait_until("owltmp is mounted", Duration::from_secs(15), || {
            let ended = self.daemon.as_mut().and_then(|d| d.try_wait().expect("wait"));
            assert!(ended.is_none(), "owltmp mount ended: {ended:?}: {}", self.stderr());
            std::fs::metadata(&self.mountpoint).is_ok_and(|m| m.dev() != before)
        });
    }

    fn target(&self) -> Target {
        let minor = rustix::fs::minor(self.device);
        Target {
            daemon: self.daemon_pid(),
            minor,
            mountpoint: self.mountpoint.clone(),
        }
    }

    /// The root directory.
    pub fn dir(&self) -> &Dir {
        self.dir.as_ref().expect("it is open until unmounted")
    }

    /// Lets go of the root directory, which would keep the mount busy.
    pub fn close_root(&mut self) {
        self.dir = None;
    }

    /// Where it is mounted; another name of [`Mount::mountpoint`].
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// Where it is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// A directory beside the mount, on another filesystem, removed with it.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The daemon's process; None for tmpfs.
    pub fn daemon_pid(&self) -> Option<i32> {
        self.daemon.as_ref().and_then(|d| i32::try_from(d.id()).ok())
    }

    /// Whether the kernel is to read and write contents by itself. Tests run as root on a kernel that can, so with `io=auto`
    /// too; a test that finds it otherwise has found a fault.
    pub fn passthrough(&self) -> bool {
        self.daemon.is_some() && self.option("io").as_deref() != Some("cached")
    }

    /// The value of an option, given by the test or by the run.
    fn option(&self, name: &str) -> Option<String> {
        let options = self.setup.options.split(',').rev();
        let given = options
            .filter_map(|option| option.split_once('='))
            .find(|(it, _)| *it == name);
        given.map(|(_, value)| value.to_owned()).or_else(|| of_run(name))
    }

    /// Whether ordinary files can be mapped shared here (semantics 5.5).
    pub fn maps_shared(&self) -> bool {
        match self.option("mand").as_deref() {
            _ if self.daemon.is_none() => true,
            Some("all") => false,
            Some("full") => self.passthrough(),
            _ => true,
        }
    }

    /// Resident memory of the daemon in bytes.
    pub fn daemon_rss(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon_pid()?)).ok()?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
        line.split_whitespace()
            .nth(1)?
            .parse::<u64>()
            .ok()
            .map(|kib| kib * 1024)
    }

    /// True while the daemon runs (or none is needed).
    pub fn alive(&mut self) -> bool {
        self.daemon
            .as_mut()
            .is_none_or(|d| d.try_wait().expect("wait").is_none())
    }

    /// The test ends the daemon itself, so its exit status is not to be judged.
    pub fn expect_death(&mut self) {
        self.death_expected = true;
    }

    /// What the daemon has written to stderr.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the daemon's end; None if it still runs after `limit`.
    pub fn daemon_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        let daemon = self.daemon.as_mut()?;
        while Instant::now() < end {
            if let Some(status) = daemon.try_wait().expect("wait") {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// True if it is (still) mounted.
    pub fn is_mounted(&self) -> bool {
        let table = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let path = self.mountpoint.to_str().expect("a plain path");
        table.lines().any(|l| l.split(' ').nth(4) == Some(path))
    }

    /// Unmounts and returns what went wrong.
    fn finish(&mut self) -> Vec<String> {
        let mut complaints = vec![];
        self.dir = None;
        let end = Instant::now() + Duration::from_secs(if std::thread::panicking() { 1 } else { 5 });
        while self.is_mounted() {
            match unmount(&self.mountpoint, UnmountFlags::NOFOLLOW) {
                Err(Errno::BUSY) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
                Err(error) => {
                    complaints.push(format!("umount: {error:?}"));
                    let _ = unmount(&self.mountpoint, UnmountFlags::DETACH);
                    self.target().abort();
                    break;
                }
                Ok(()) => {}
            }
        }
        if self.daemon.is_some() {
            match self.daemon_exit(Duration::from_secs(60)) {
                Some(status) if status.success() || self.death_expected => {}
                Some(status) => complaints.push(format!("the daemon's exit: {status}")),
                None => complaints.push("the daemon runs on after umount".to_owned()),
            }
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.watchdog = None;
        if self.stderr().contains("panicked") {
            complaints.push("the daemon panicked".to_owned());
        }
        if let Err(error) = std::fs::remove_dir_all(&self.scratch) {
            complaints.push(format!("{}: {error}", self.scratch.display()));
        }
        complaints
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let complaints = self.finish();
        let stderr = self.stderr();
        if !stderr.is_empty() && (std::thread::panicking() || !complaints.is_empty()) {
            eprintln!("stderr of the daemon:\n{stderr}");
        }
        if !complaints.is_empty() {
            let text = format!("{:?} left something: {}", self.setup, complaints.join("; "));
            if std::thread::panicking() {
                eprintln!("{text}")
            } else {
                panic!("{text}")
            }
        }
    }
}

/// Runs a test on tmpfs and then on owltmp, both mounted with `mode=0777`: not sticky, so that the rules of semantics
/// section 3 have no say in what is a test of section 1.
pub fn both(body: impl Fn(&Dir)) {
    both_with("mode=0777", body);
}

/// Runs a test on tmpfs and then on owltmp, both with these options.
pub fn both_with(options: &str, body: impl Fn(&Dir)) {
    each(options, |mount| body(mount.dir()));
}

/// As [`both_with`], with the mount in hand.
pub fn each(options: &str, body: impl Fn(&Mount)) {
    for kind in [Kind::Tmpfs, Kind::Owltmp] {
        let mount = Setup::new(kind, options).mount();
        eprintln!("on {kind:?}:");
        body(&mount);
    }
}
