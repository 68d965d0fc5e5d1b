//! The FUSE device beyond what fuser offers: a descriptor of its own for each worker.
#![allow(unsafe_code, reason = "the ioctl wrapper is generated")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

mod ioctl {
    nix::ioctl_read!(
        /// FUSE_DEV_IOC_CLONE: ties an open /dev/fuse to the connection of another one.
        clone, 229, 0, u32
    );
    nix::ioctl_write_ptr!(
        /// FUSE_DEV_IOC_BACKING_CLOSE: takes the number of a backing file back.
        backing_close, 229, 2, u32
    );
}

/// A new descriptor on the connection of `session`, with a queue of requests in work of its own. A reply must be written
/// to the descriptor its request was read from (kernel-facts, "Waiting and signals").
///
/// Where that cannot be had (a user who mounts through fusermount3 need not be allowed to open /dev/fuse), it is a
/// duplicate, and replies through any of them are good.
pub fn clone_device(session: impl AsFd) -> io::Result<File> {
    let session = session.as_fd();
    let Ok(device) = OpenOptions::new().read(true).write(true).open("/dev/fuse") else {
        return Ok(File::from(session.try_clone_to_owned()?));
    };
    let mut fd = session.as_raw_fd().cast_unsigned();
    // SAFETY: both descriptors are open while we borrow them, and the ioctl reads one u32 from a live variable.
    let cloned = unsafe { ioctl::clone(device.as_raw_fd(), &mut fd) };
    match cloned {
        Ok(_) => Ok(device),
        Err(_) => Ok(File::from(session.try_clone_to_owned()?)),
    }
}

/// The number of a mounted descriptor's connection, which is the minor number of the filesystem's device. `None` where the
/// kernel does not say (before Linux 6.16).
pub fn connection(session: impl AsFd) -> Option<u32> {
    let path = format!("/proc/self/fdinfo/{}", session.as_fd().as_raw_fd());
    connection_in(&fs::read_to_string(path).ok()?)
}

/// Ends a connection for all who use it, as the end of its last descriptor would: ENOTCONN. Errors: ENOENT where /sys/fs/fuse is not
/// mounted; EACCES for others than root and who has made the mount.
pub fn abort(connection: u32) -> io::Result<()> {
    fs::write(format!("/sys/fs/fuse/connections/{connection}/abort"), "1")
}

fn connection_in(fdinfo: &str) -> Option<u32> {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix("fuse_connection:"))?;
    line.trim().parse().ok()
}

/// What registers backing files with a connection, so that the kernel reads and writes them without asking (FUSE passthrough).
#[derive(Debug)]
pub struct BackingFiles(File);

impl BackingFiles {
    /// For the connection of `session`, whose handshake is done.
    pub fn of(session: impl AsFd) -> io::Result<BackingFiles> {
        Ok(BackingFiles(File::from(session.as_fd().try_clone_to_owned()?)))
    }

    /// Registers an open file; the kernel keeps it open until [`BackingFiles::close`]. Errors: EPERM without CAP_SYS_ADMIN or
    /// where passthrough was not agreed on, ELOOP for a file of a filesystem that is stacked already.
    pub fn open(&self, file: &File) -> io::Result<u32> {
        fuser::BackingId::create_raw(&self.0, file)
    }

    /// Takes a number back; open files that use it go on. Once the connection is gone so is the number.
    pub fn close(&self, id: u32) {
        // SAFETY: the descriptor is open while it is borrowed, and the ioctl reads one u32 from a live variable.
        let _gone = unsafe { ioctl::backing_close(self.0.as_raw_fd(), &id) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_read_from_fdinfo() {
        assert_eq!(connection_in("pos:\t0\nino:\t90\nfuse_connection:\t45\n"), Some(45));
        assert_eq!(connection_in("pos:\t0\nflags:\t02100002\n"), None);
    }
}
