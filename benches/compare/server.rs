//! One mounted system, and its end: unmounted and its server ended in Drop, whatever happened.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::args::Args;
use super::interrupt;
use super::row::Outcome;
use super::systems::{Kind, System};
use crate::common::watchdog::Target;

/// How long a server may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A system ready for use.
pub struct Mounted {
    pub system: System,
    /// The root of the mount.
    pub root: PathBuf,
    folder: PathBuf,
    below: Option<PathBuf>,
    server: Option<Child>,
    target: Target,
}

impl Mounted {
    /// Mounts a system in a new folder of `base`. An error says why it cannot be had.
    pub fn mount(system: &System, base: &Path, args: &Args, itself: Option<&Path>) -> Outcome<Mounted> {
        if let Some(reason) = system.missing() {
            return Err(reason.into());
        }
        let folder = (0_u32..)
            .map(|number| base.join(format!("{}-{number}", system.name)))
            .find(|path| !path.exists())
            .ok_or("no name for a folder")?;
        let root = folder.join("mnt");
        fs::create_dir_all(&root)?;
        let mut mounted = Mounted {
            system: system.clone(),
            target: Target {
                daemon: None,
                minor: 0,
                mountpoint: root.clone(),
            },
            root,
            folder,
            below: None,
            server: None,
        };
        mounted.start(args, itself)?;
        let device = fs::metadata(&mounted.root)?.dev();
        mounted.target.minor = rustix::fs::minor(device);
        mounted.target.daemon = mounted.server.as_ref().and_then(|it| i32::try_from(it.id()).ok());
        interrupt::remember(&mounted.target);
        fs::set_permissions(&mounted.root, fs::Permissions::from_mode(0o1777)).or_else(|error| {
            let keeps_nothing = mounted.system.kind == Kind::Empty;
            if keeps_nothing { Ok(()) } else { Err(error) }
        })?;
        Ok(mounted)
    }

    fn start(&mut self, args: &Args, itself: Option<&Path>) -> Outcome<()> {
        if self.system.kind == Kind::Tmpfs {
            return tmpfs(&self.root, &self.system.options);
        }
        let below = self.folder.join("below");
        if self.system.has_below() {
            fs::create_dir(&below)?;
            tmpfs(&below, "mode=755")?;
            self.below = Some(below.clone());
            for name in ["upper", "lower", "work"] {
                fs::create_dir(below.join(name))?;
            }
        }
        let command = self.system.command(args, itself, &self.root, &below)?;
        self.serve(&command)
    }

    /// Starts the server and waits until it answers. The kernel ends it when this thread ends.
    fn serve(&mut self, command: &[OsString]) -> Outcome<()> {
        let before = fs::metadata(&self.root)?.dev();
        let words = self.folder.join("stderr");
        let server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&words)?)
            .spawn()
            .map_err(|error| format!("setpriv: {error}"))?;
        let server = self.server.insert(server);
        let deadline = Instant::now() + PATIENCE;
        while fs::metadata(&self.root).is_ok_and(|now| now.dev() == before) {
            interrupt::check()?;
            if let Some(status) = server.try_wait()? {
                let said = fs::read_to_string(&words).unwrap_or_default();
                let last = said.lines().rfind(|line| !line.trim().is_empty());
                return Err(last.map_or(format!("ended with {status}"), str::to_owned).into());
            }
            if Instant::now() > deadline {
                return Err("it does not mount".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The process that serves it, if there is one.
    pub fn server(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// The directory that it shows, if it shows another one.
    pub fn shows(&self) -> Option<PathBuf> {
        self.below.as_ref().map(|below| below.join("upper"))
    }

    /// False once its server has ended.
    pub fn is_alive(&mut self) -> bool {
        self.server.as_mut().is_none_or(|it| matches!(it.try_wait(), Ok(None)))
    }

    /// Its type and options as the kernel shows them.
    pub fn shown(&self) -> String {
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
        let line = table.lines().find(|line| line.split(' ').nth(4) == self.root.to_str());
        let words = |line: &str| -> Option<String> {
            let (mount, filesystem) = line.split_once(" - ")?;
            let mut filesystem = filesystem.split(' ');
            let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
            Some(format!("{kind} {} {options}", mount.split(' ').nth(5)?))
        };
        line.and_then(words).unwrap_or_default()
    }

    /// What to end when a call hangs.
    pub fn target(&self) -> Target {
        self.target.clone()
    }

    fn end_server(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !matches!(server.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _gone_already = server.kill();
        let _status = server.wait();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.root);
        self.end_server();
        if let Some(below) = &self.below {
            unmount(below);
        }
        interrupt::forget(&self.target);
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("compare: {}: {error}", self.folder.display());
        }
    }
}

fn tmpfs(path: &Path, options: &str) -> Outcome<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options))?)
}

/// Unmounts what is at `path`, if anything is: in good order if that is possible soon, else at once.
fn unmount(path: &Path) {
    let deadline = Instant::now() + PATIENCE / 4;
    loop {
        match umount2(path, MntFlags::UMOUNT_NOFOLLOW) {
            Err(Errno::EBUSY) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Err(Errno::EBUSY | Errno::ENOTCONN) => {
                let _either_way = umount2(
                    path,
                    MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH | MntFlags::MNT_FORCE,
                );
                return;
            }
            _ => return,
        }
    }
}

/// A folder for everything, on a tmpfs of its own; gone in Drop.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// In `parent`.
    pub fn new(parent: &Path) -> Outcome<Scratch> {
        let folder = tempfile::Builder::new().prefix("owltmp-compare-").tempdir_in(parent)?;
        interrupt::remember_folder(folder.path());
        tmpfs(folder.path(), "mode=755")?;
        Ok(Scratch(folder))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        unmount(self.0.path());
    }
}
