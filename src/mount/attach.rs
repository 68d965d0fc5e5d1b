//! Making the mount: /dev/fuse and mount(2), or fusermount3 for those who may not.
//!
//! Not left to `fuser::Session::new`: that unmounts by path when it is dropped, even when the mount is gone already,
//! and so takes away whatever was mounted underneath or in its stead. A session made of a descriptor never unmounts.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::mount::mount;
use nix::unistd::{getegid, geteuid};

use super::detached::Detached;
use super::error::Error;
use super::helper;
use super::options::{MountOptions, NAME};
use super::place;

/// Who makes the mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// This process, which has the right to.
    Direct,
    /// This process if it may, else fusermount3.
    DirectOrHelper,
    /// This process, and nowhere yet: it will be moved to another namespace.
    Detached,
}

/// A mount made, and the device descriptor over which the kernel asks.
#[derive(Debug)]
pub struct Attached {
    /// The descriptor.
    pub device: OwnedFd,
    /// The mount, where it is not at its place yet.
    pub detached: Option<Detached>,
}

impl Attached {
    fn at_place(device: impl Into<OwnedFd>) -> Attached {
        Attached {
            device: device.into(),
            detached: None,
        }
    }
}

/// Mounts at `place`, a real path, or for it.
pub fn attach(place: &Path, options: &MountOptions, method: Method) -> Result<Attached, Error> {
    let helper_may = method == Method::DirectOrHelper && !geteuid().is_root();
    let by_helper = || helper::mount(place, options).map(Attached::at_place);
    let device = match open_device() {
        Err(Error::DeviceRefused(_)) if helper_may => return by_helper(),
        other => other?,
    };
    match Detached::new(&device, options) {
        Ok(detached) => {
            return Ok(Attached {
                device: device.into(),
                detached: Some(detached),
            });
        }
        Err(error) if method == Method::Detached => return Err(Error::MountFailed(place.to_owned(), error)),
        Err(_) => {}
    }
    // It may belong to a mount that failed halfway.
    let device = open_device()?;
    match mount_device(&device, place, options) {
        Ok(()) => Ok(Attached::at_place(device)),
        Err(nix::Error::EPERM) if helper_may => by_helper(),
        Err(nix::Error::ENODEV) => Err(Error::NoDevice),
        Err(error) => Err(Error::MountFailed(place.to_owned(), error.into())),
    }
}

fn open_device() -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .map_err(|error: io::Error| {
            let absent =
                error.kind() == ErrorKind::NotFound || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO));
            if absent {
                Error::NoDevice
            } else {
                Error::DeviceRefused(error)
            }
        })
}

fn mount_device(device: &File, place: &Path, options: &MountOptions) -> nix::Result<()> {
    let data = options.kernel_data(device.as_raw_fd(), geteuid().as_raw(), getegid().as_raw());
    let fstype = format!("fuse.{NAME}");
    let directory = place::open_real(place)?;
    mount(
        Some(NAME),
        &place::path_of(&directory),
        Some(fstype.as_str()),
        options.flags,
        Some(data.as_str()),
    )
}
