//! A mount in nobody's sight until it answers, and then moved to its place.
//!
//! mount(2) shows a mount before anybody serves it. More than that: what is mounted by it is the top of the kernel's tree, and
//! on some kernels that must not be our root directory (`fuse/top.rs`). Whether it must is found out by asking for an ACL
//! twice: where the kernel keeps what it was told, the second question does not reach us.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::mount::MsFlags;
use nix::unistd::{getegid, geteuid};
use rustix::fs::{AtFlags, StatxFlags, getxattr, statx};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::options::{MountOptions, NAME};
use super::place::{self, Mounted};
use crate::fuse::{ROOT_NAME, Server};
use crate::sys::mountinfo::Device;

/// What mount(2) takes as one argument is two here: flags of the mount ...
const OF_MOUNT: [(MsFlags, MountAttrFlags); 7] = [
    (MsFlags::MS_RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
    (MsFlags::MS_NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
    (MsFlags::MS_NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
    (MsFlags::MS_NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    (MsFlags::MS_NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
    (MsFlags::MS_STRICTATIME, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
    (MsFlags::MS_NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
];

/// ... and of the filesystem, by name.
const OF_FILESYSTEM: [(MsFlags, &str); 4] = [
    (MsFlags::MS_RDONLY, "ro"),
    (MsFlags::MS_SYNCHRONOUS, "sync"),
    (MsFlags::MS_DIRSYNC, "dirsync"),
    (MsFlags::MS_LAZYTIME, "lazytime"),
];

/// The ACL that is asked for.
const ACL: &str = "system.posix_acl_access";

/// A mount that is nowhere. Dropped, it ends.
#[derive(Debug)]
pub struct Detached(OwnedFd);

impl Detached {
    /// Makes one that asks over `device`. Errors: ENOSYS before Linux 5.2; whatever it is, mount(2) may do better.
    pub fn new(device: &File, options: &MountOptions) -> io::Result<Detached> {
        let plain = MountOptions {
            security: Vec::new(),
            ..options.clone()
        };
        let data = plain.kernel_data(device.as_raw_fd(), geteuid().as_raw(), getegid().as_raw());
        let filesystem = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&filesystem, "source", NAME)?;
        fsconfig_set_string(&filesystem, "subtype", NAME)?;
        for option in data.split(',') {
            match option.split_once('=') {
                Some((key, value)) => fsconfig_set_string(&filesystem, key, value)?,
                None => fsconfig_set_flag(&filesystem, option)?,
            }
        }
        for option in &options.security {
            let (key, value) = option.split_once('=').ok_or(io::ErrorKind::InvalidInput)?;
            fsconfig_set_string(&filesystem, key, value.trim_matches('"'))?;
        }
        for (flag, name) in OF_FILESYSTEM {
            if options.flags.contains(flag) {
                fsconfig_set_flag(&filesystem, name)?;
            }
        }
        fsconfig_create(&filesystem)?;
        let attributes = OF_MOUNT
            .iter()
            .filter(|(flag, _)| options.flags.contains(*flag))
            .fold(MountAttrFlags::empty(), |all, (_, attribute)| all | *attribute);
        Ok(Detached(fsmount(
            &filesystem,
            FsMountFlags::FSMOUNT_CLOEXEC,
            attributes,
        )?))
    }

    /// The mount whose root is our root directory. Preconditions: `server` answers.
    pub fn ready(self, server: &Server) -> io::Result<Ready> {
        let below = match self.keeps_acls(server) {
            true => None,
            false => self.below(server)?,
        };
        Ok(Ready(below.unwrap_or(self.0)))
    }

    /// Whether the kernel caches ACLs of the directory at the top.
    fn keeps_acls(&self, server: &Server) -> bool {
        let top = place::path_of(&self.0);
        // The answer is that there is none.
        let ask = || getxattr(&top, ACL, &mut [0_u8; 0]).is_ok();
        ask();
        let before = server.asked_at_top();
        ask();
        server.asked_at_top() == before
    }

    /// A mount of the directory below the top. `None` where the kernel makes none of a mount that is nowhere (before 6.15):
    /// then the one at the top must do, at the price of requests.
    fn below(&self, server: &Server) -> io::Result<Option<OwnedFd>> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if open_tree(&self.0, ".", flags).is_err() {
            return Ok(None);
        }
        server.step_down();
        Ok(Some(open_tree(&self.0, ROOT_NAME, flags)?))
    }
}

/// A mount that only wants a place.
#[derive(Debug)]
pub struct Ready(OwnedFd);

impl Ready {
    /// The number of its filesystem.
    pub fn device(&self) -> io::Result<Device> {
        let told = statx(&self.0, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
        Ok(Device(told.stx_dev_major, told.stx_dev_minor))
    }

    /// Moves it to `place`, a real path, which may be in another namespace than the one it was made in. Returns which mount
    /// it is, where the kernel tells.
    pub fn move_to(self, place: &Path) -> io::Result<Option<Mounted>> {
        let directory = place::open_real(place)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        let mounted = Mounted::expect(place, &self.0);
        move_mount(&self.0, "", &directory, "", flags)?;
        Ok(mounted)
    }
}
