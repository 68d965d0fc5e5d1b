//! A mount namespace of one's own, with a user namespace around it where that is what it takes; and a look into that of
//! somebody else.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

/// What kind of namespace the process is in now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Of mounts only: all users are what they were.
    Mounts,
    /// Of users and mounts: only the caller's own uid and gid exist in it.
    UsersAndMounts,
}

/// The step that failed on the way into a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// unshare(2).
    Unshare,
    /// Writing the id maps.
    Map,
    /// Making the mounts private.
    Private,
}

/// Why there is no namespace.
#[derive(Debug)]
pub struct NamespaceError {
    /// What was being done.
    pub step: Step,
    /// What the kernel said.
    pub source: io::Error,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Unshare => "unshare",
            Step::Map => "mapping the user",
            Step::Private => "making its mounts private",
        })
    }
}

/// Moves this (single-threaded) process into a mount namespace of its own, from which no mount or unmount reaches the
/// old one. Without the right to do so it takes a user namespace around it, in which the caller's uid and gid stay
/// what they are.
pub fn enter() -> Result<Namespace, NamespaceError> {
    let failed = |step: Step| move |source: io::Error| NamespaceError { step, source };
    let (uid, gid) = (geteuid(), getegid());
    let namespace = match unshare(CloneFlags::CLONE_NEWNS) {
        Ok(()) => Namespace::Mounts,
        Err(nix::Error::EPERM) => {
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
                .map_err(|error| failed(Step::Unshare)(error.into()))?;
            // Without setgroups(2), dropping a group cannot gain rights, so the kernel lets anyone map their gid.
            fs::write("/proc/self/setgroups", "deny").map_err(failed(Step::Map))?;
            fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).map_err(failed(Step::Map))?;
            fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).map_err(failed(Step::Map))?;
            Namespace::UsersAndMounts
        }
        Err(error) => return Err(failed(Step::Unshare)(error.into())),
    };
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|error| failed(Step::Private)(error.into()))?;
    Ok(namespace)
}

/// The mount namespace of others. It lives while one of these does, so it is to be dropped soon.
#[derive(Debug)]
pub struct Foreign(File);

impl Foreign {
    /// The one that `path` leads to, such as `/proc/PID/ns/mnt`.
    pub fn open(path: &Path) -> io::Result<Foreign> {
        File::open(path).map(Foreign)
    }

    /// Does something in it, in a thread of its own: whoever calls this stays where they are. Errors: EPERM without
    /// CAP_SYS_ADMIN there, EINVAL where it is no mount namespace.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let inside = || -> io::Result<T> {
                // The root and working directory, which threads share, become those of the other namespace.
                unshare(CloneFlags::CLONE_FS)?;
                setns(&self.0, CloneFlags::CLONE_NEWNS)?;
                Ok(work())
            };
            let thread = thread::Builder::new().spawn_scoped(scope, inside)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("panicked")))
        })
    }
}
