//! A private tmpfs: mounted detached, so that no path leads to it in any namespace, and gone with its last descriptor.
#![allow(unsafe_code, reason = "fcntl(2) with a command that no crate wraps")]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::mount::{FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags};

use crate::types::{AtimePolicy, Timestamp};

/// Mounts one with room for `bytes` (`None`: without limit) and any number of files. Reads move access times as `atime` says.
/// Errors: EPERM without CAP_SYS_ADMIN, ENOSYS before Linux 5.2.
pub fn mount_detached(bytes: Option<u64>, atime: AtimePolicy) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let option = |key: &str, value: &str| rustix::mount::fsconfig_set_string(context.as_fd(), key, value);
    option("size", &size_option(bytes))?;
    option("nr_inodes", "0")?;
    option("mode", "0700")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let atime = match atime {
        AtimePolicy::NoAtime => MountAttrFlags::MOUNT_ATTR_NOATIME,
        AtimePolicy::Relatime => MountAttrFlags::MOUNT_ATTR_RELATIME,
        AtimePolicy::Strict => MountAttrFlags::MOUNT_ATTR_STRICTATIME,
    };
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | atime;
    let mount = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    Ok(mount)
}

/// 0 is no limit to tmpfs, so that no room at all cannot be said: a page is the least.
fn size_option(bytes: Option<u64>) -> String {
    bytes.map_or(0, |bytes| bytes.max(1)).to_string()
}

/// Changes how much there is room for, in bytes. Errors: EINVAL where more than that is in use.
pub fn resize(mount: impl AsFd, bytes: u64) -> io::Result<()> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = rustix::mount::fspick(mount.as_fd(), c"", flags)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "size", size_option(Some(bytes)).as_str())?;
    rustix::mount::fsconfig_reconfigure(context.as_fd())?;
    Ok(())
}

/// Pages in use, and free ones; `None` for the latter where there is no limit.
pub fn usage(mount: impl AsFd) -> io::Result<(u64, Option<u64>)> {
    let statfs = rustix::fs::fstatvfs(mount.as_fd())?;
    let used = statfs.f_blocks.saturating_sub(statfs.f_bfree);
    Ok((used, (statfs.f_blocks > 0).then_some(statfs.f_bfree)))
}

/// A new file without a name.
pub fn create(mount: impl AsFd) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::NOATIME | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(
        mount,
        c".",
        flags,
        Mode::RUSR | Mode::WUSR,
    )?))
}

/// Gives a file without a name one.
pub fn link(mount: impl AsFd, file: &File, name: &CStr) -> io::Result<()> {
    Ok(rustix::fs::linkat(file, c"", mount, name, AtFlags::EMPTY_PATH)?)
}

/// Opens a file by its name.
pub fn open(mount: impl AsFd, name: &CStr) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOATIME | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(mount, name, flags, Mode::empty())?))
}

/// Removes a name.
pub fn unlink(mount: impl AsFd, name: &CStr) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(mount, name, AtFlags::empty())?)
}

/// What stat(2) says of a file that changes while it is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of anything.
    pub ctime: Timestamp,
}

impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Stat {
        let time = |secs, nanos: u64| Timestamp {
            secs,
            nanos: u32::try_from(nanos).unwrap_or(0),
        };
        Stat {
            size: stat.st_size.max(0).cast_unsigned(),
            blocks: stat.st_blocks.max(0).cast_unsigned(),
            atime: time(stat.st_atime, stat.st_atime_nsec),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// What stat(2) says of an open file.
pub fn stat(file: &File) -> io::Result<Stat> {
    Ok(rustix::fs::fstat(file)?.into())
}

/// What stat(2) says of a file by its name.
pub fn stat_at(mount: impl AsFd, name: &CStr) -> io::Result<Stat> {
    Ok(rustix::fs::statat(mount, name, AtFlags::SYMLINK_NOFOLLOW)?.into())
}

/// Sets the times of last access and change; that of the change of anything becomes now.
pub fn set_times(file: &File, atime: Timestamp, mtime: Timestamp) -> io::Result<()> {
    let time = |time: Timestamp| Timespec {
        tv_sec: time.secs,
        tv_nsec: time.nanos.into(),
    };
    let times = Timestamps {
        last_access: time(atime),
        last_modification: time(mtime),
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// Whether `file` is the only open file, and the only mapping, of what it is open on; `false` where the kernel does not tell.
///
/// A write lease is given to the only opener and to nobody else, and a mapping counts as it holds an open file. It is given
/// back at once. Should somebody open the file in between he waits for that, and SIGIO is sent to us: the caller sees to it
/// that this cannot be, or that the signal is ignored.
pub fn is_sole_opener(file: &File) -> bool {
    // SAFETY: fcntl(2) with an integer argument on a descriptor that is open while it is borrowed touches no memory of ours.
    let lease = |kind: i32| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    let sole = lease(libc::F_WRLCK) == 0;
    if sole {
        lease(libc::F_UNLCK);
    }
    sole
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_file_lives_by_its_name_or_its_descriptor() {
        let Ok(mount) = mount_detached(Some(1 << 20), AtimePolicy::Relatime) else {
            // Only root may mount.
            assert!(!nix::unistd::geteuid().is_root());
            return;
        };
        let file = create(&mount).unwrap();
        file.write_all_at(b"words", 0).unwrap();
        link(&mount, &file, c"1").unwrap();
        drop(file);
        assert_eq!(stat_at(&mount, c"1").unwrap().size, 5);
        let file = open(&mount, c"1").unwrap();
        unlink(&mount, c"1").unwrap();
        assert_eq!(usage(&mount).unwrap(), (1, Some(255)));
        assert_eq!(stat(&file).unwrap().size, 5);
        assert!(resize(&mount, 100).is_ok(), "a page is the least");
        assert!(file.write_all_at(&[1; 5000], 0).is_err());
        drop(file);
        assert_eq!(usage(&mount).unwrap().0, 0);
    }

    #[test]
    fn the_only_opener_is_told_from_one_of_several() {
        let Ok(mount) = mount_detached(None, AtimePolicy::NoAtime) else {
            assert!(!nix::unistd::geteuid().is_root());
            return;
        };
        let file = create(&mount).unwrap();
        assert!(is_sole_opener(&file));
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let other = File::open(path).unwrap();
        assert!(!is_sole_opener(&file));
        drop(other);
        assert!(is_sole_opener(&file));
        assert_eq!(usage(&mount).unwrap(), (0, None));
    }
}
