//! The place of a mount: checking it before, knowing the mount again after, and taking away that mount and no other.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{self, Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::sys::statfs::statfs;

use super::error::Error;
use super::helper;
use super::mountinfo::{Device, Mount, MountId, MountTable};

/// When a mount goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detach {
    /// Only if nobody uses it.
    WhenIdle,
    /// Now, out of the namespace; who uses it keeps what is open.
    Now,
}

/// The real path of the directory at `path`, which must be one that can be mounted on.
pub fn check(path: &Path) -> Result<PathBuf, Error> {
    // A dead mount still answers stat(2) from the kernel's cache; statfs(2) always asks the daemon.
    statfs(path).map_err(|error| unusable(path, error.into()))?;
    let metadata = fs::metadata(path).map_err(|error| unusable(path, error))?;
    if !metadata.is_dir() {
        return Err(Error::NotADirectory(path.to_owned()));
    }
    fs::canonicalize(path).map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::NoMountpoint(path.to_owned()),
        // Aborted: the daemon died while it was asked.
        ErrorKind::NotConnected | ErrorKind::ConnectionAborted => Error::DeadMountpoint(path.to_owned()),
        _ => Error::BadMountpoint(path.to_owned(), error),
    }
}

/// The real path of the owltmp mount that `path` names. The mount is not touched, since its daemon may be dead or
/// stopped.
pub fn find_mount(path: &Path) -> Result<PathBuf, Error> {
    let bad = |error| Error::BadMountpoint(path.to_owned(), error);
    let table = MountTable::read().map_err(Error::system("/proc/self/mountinfo"))?;
    let real = real_but_last(path).map_err(bad)?;
    if let Some(mount) = table.at(&real) {
        return ours(&real, mount);
    }
    // Nothing is mounted at the name itself, so it can be looked at: it may be a symlink to the mount.
    let target = fs::read_link(&real).map_err(|_| Error::NotAMount(path.to_owned()))?;
    let target = real.parent().map_or(target.clone(), |parent| parent.join(&target));
    let real = real_but_last(&target).map_err(bad)?;
    match table.at(&real) {
        Some(mount) => ours(&real, mount),
        None => Err(Error::NotAMount(path.to_owned())),
    }
}

fn ours(path: &Path, mount: &Mount) -> Result<PathBuf, Error> {
    match mount.is_owltmp() {
        true => Ok(path.to_owned()),
        false => Err(Error::NotOurs(path.to_owned(), mount.fstype.clone())),
    }
}

/// `path` made absolute, with everything resolved but its last component.
fn real_but_last(path: &Path) -> io::Result<PathBuf> {
    let absolute = path::absolute(path)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => Ok(fs::canonicalize(parent)?.join(name)),
        _ => fs::canonicalize(absolute),
    }
}

/// Unmounts what is on top at `path`: by the system call, or through fusermount3 where that takes root.
pub fn unmount(path: &Path, detach: Detach) -> Result<(), Error> {
    let flags = match detach {
        Detach::WhenIdle => MntFlags::UMOUNT_NOFOLLOW,
        Detach::Now => MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH,
    };
    match umount2(path, flags) {
        Ok(()) => Ok(()),
        Err(nix::Error::EBUSY) => Err(Error::Busy(path.to_owned())),
        Err(nix::Error::EINVAL) => Err(Error::NotAMount(path.to_owned())),
        Err(nix::Error::EPERM) => helper::unmount(path, detach),
        Err(error) => Err(Error::UmountFailed(path.to_owned(), error.into())),
    }
}

/// A mount made by this process, known again by more than its place.
#[derive(Clone, Debug)]
pub struct Mounted {
    path: PathBuf,
    id: MountId,
    device: Device,
}

impl Mounted {
    /// Remembers the owltmp mount just made at `path`.
    pub fn remember(path: &Path) -> Result<Mounted, Error> {
        let table = MountTable::read().map_err(Error::system("/proc/self/mountinfo"))?;
        let mount = table.at(path).filter(|mount| mount.is_owltmp());
        let mount = mount.ok_or_else(|| Error::NotAMount(path.to_owned()))?;
        Ok(Mounted {
            path: path.to_owned(),
            id: mount.id,
            device: mount.device,
        })
    }

    /// Unmounts it, or detaches it when it is in use; which of them it was. Another mount at the same place stays:
    /// the daemon's unmount names a path, and whatever is on top there goes.
    pub fn take_away(&self) -> Result<Detach, Error> {
        let table = MountTable::read().map_err(Error::system("/proc/self/mountinfo"))?;
        let on_top = table
            .at(&self.path)
            .is_some_and(|mount| mount.id == self.id && mount.device == self.device);
        if !on_top {
            return Err(Error::NotAMount(self.path.clone()));
        }
        match unmount(&self.path, Detach::WhenIdle) {
            Ok(()) => Ok(Detach::WhenIdle),
            Err(Error::Busy(_)) => unmount(&self.path, Detach::Now).map(|()| Detach::Now),
            Err(error) => Err(error),
        }
    }
}
