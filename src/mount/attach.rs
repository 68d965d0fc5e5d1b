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
}

/// Mounts at `place`, a real path, and returns the device descriptor over which the kernel asks.
pub fn attach(place: &Path, options: &MountOptions, method: Method) -> Result<OwnedFd, Error> {
    let helper_may = method == Method::DirectOrHelper && !geteuid().is_root();
    let device = match open_device() {
        Err(Error::DeviceRefused(_)) if helper_may => return helper::mount(place, options),
        other => other?,
    };
    match mount_device(&device, place, options) {
        Ok(()) => Ok(device.into()),
        Err(nix::Error::EPERM) if helper_may => helper::mount(place, options),
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
