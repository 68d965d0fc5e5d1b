//! The place of a mount: checking it before, knowing the mount again after, and taking away that mount and no other.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{self, Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, umount2};
use nix::sys::statfs::statfs;
use rustix::fs::{AtFlags, StatxFlags, statx};

use super::error::Error;
use super::helper;
use crate::sys::mountinfo::{Device, Mount, MountId, MountTable};

/// The most symlinks in a row that the kernel follows.
const MAX_SYMLINKS: usize = 40;

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
    let real = fs::canonicalize(path).map_err(|error| unusable(path, error))?;
    match real.parent() {
        Some(_) => Ok(real),
        None => {
            let why = "nobody would see what is mounted on the root directory: name another directory";
            Err(Error::BadMountpoint(path.to_owned(), io::Error::other(why)))
        }
    }
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
    let table = MountTable::read().map_err(Error::system("/proc/thread-self/mountinfo"))?;
    let mut name = path.to_owned();
    for _ in 0..MAX_SYMLINKS {
        let real = real_but_last(&name).map_err(bad)?;
        if let Some(mount) = table.at(&real) {
            return ours(&real, mount);
        }
        // Nothing is mounted at the name itself, so it can be looked at: it may be a symlink to the mount, or to one.
        let target = fs::read_link(&real).map_err(|_| Error::NotAMount(path.to_owned()))?;
        name = real.parent().map_or(target.clone(), |parent| parent.join(&target));
    }
    Err(bad(io::Error::from_raw_os_error(libc::ELOOP)))
}

/// Whether the daemon of the mount at `path` is gone. Waits for it where it is stopped.
pub fn is_dead(path: &Path) -> bool {
    // See `check`.
    matches!(statfs(path), Err(nix::Error::ENOTCONN | nix::Error::ECONNABORTED))
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
    match umount_real(path, flags) {
        Ok(()) => Ok(()),
        Err(nix::Error::EBUSY) => Err(Error::Busy(path.to_owned())),
        Err(nix::Error::EINVAL) => Err(Error::NotAMount(path.to_owned())),
        Err(nix::Error::EPERM) => helper::unmount(path, detach),
        Err(error) => Err(Error::UmountFailed(path.to_owned(), error.into())),
    }
}

/// A descriptor of the directory at `path`, a real path. Whoever can write above it may have put a symlink into the path
/// since it was found to be real; then it is refused (ELOOP), and what is done with the descriptor is done nowhere else.
pub fn open_real(path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(AT_FDCWD, path, how)
}

/// A path to the open directory, for system calls that take no descriptor.
pub fn path_of(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

/// umount2(2) of a real path. What it lies in is opened, not the mount itself, which would then be in use.
fn umount_real(path: &Path, flags: MntFlags) -> nix::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return umount2(path, flags);
    };
    let parent = open_real(parent)?;
    umount2(&path_of(&parent).join(name), flags)
}

/// A mount made by this process, known again by more than its place.
#[derive(Clone, Debug)]
pub struct Mounted {
    path: PathBuf,
    id: MountId,
    device: Device,
}

impl Mounted {
    /// Remembers the owltmp mount just made at `path`. Somebody else may have mounted there meanwhile, so
    /// it is looked for by its `connection`; older kernels do not tell that, and the mount on top is taken for ours.
    pub fn remember(path: &Path, connection: Option<u32>) -> Result<Mounted, Error> {
        let table = MountTable::read().map_err(Error::system("/proc/thread-self/mountinfo"))?;
        let mount = match connection {
            Some(minor) => table.of(Device(0, minor)),
            None => table.at(path),
        };
        let mount = mount.filter(|mount| mount.is_owltmp());
        let mount = mount.ok_or_else(|| Error::NotAMount(path.to_owned()))?;
        Ok(Mounted {
            path: path.to_owned(),
            id: mount.id,
            device: mount.device,
        })
    }

    /// The mount that `mount` leads to, which is about to be moved to `path`: somebody may take it away from there at once.
    /// `None` where the kernel does not tell which it is (before Linux 5.8).
    pub fn expect(path: &Path, mount: &OwnedFd) -> Option<Mounted> {
        let flags = StatxFlags::MNT_ID;
        let told = statx(mount, "", AtFlags::EMPTY_PATH, flags).ok()?;
        (told.stx_mask & flags.bits() != 0).then(|| Mounted {
            path: path.to_owned(),
            id: MountId(told.stx_mnt_id),
            device: Device(told.stx_dev_major, told.stx_dev_minor),
        })
    }

    /// The number of its filesystem.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Unmounts it, or detaches it when it is in use; which of them it was. Another mount at the same place stays:
    /// the daemon's unmount names a path, and whatever is on top there goes.
    pub fn take_away(&self) -> Result<Detach, Error> {
        let table = MountTable::read().map_err(Error::system("/proc/thread-self/mountinfo"))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_put_into_a_real_path_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(real.join("a/m")).unwrap();
        open_real(&real.join("a/m")).unwrap();
        fs::rename(real.join("a"), real.join("b")).unwrap();
        std::os::unix::fs::symlink("b", real.join("a")).unwrap();
        assert_eq!(open_real(&real.join("a/m")).err(), Some(nix::Error::ELOOP));
        assert_eq!(
            umount_real(&real.join("a/m"), MntFlags::empty()).err(),
            Some(nix::Error::ELOOP)
        );
    }
}
