//! `-o` text to what a mount is made with, in two steps: [`RawOptions`], the options as written, and
//! [`MountOptions`], what they mean on this machine. Pure: facts about the machine come in as a [`Host`]; nothing
//! here makes a system call.

mod error;
mod in_force;
mod raw;
mod remount;
mod resolve;
mod value;

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use nix::mount::MsFlags;

use crate::types::Settings;

pub use error::{OptionError, Problem};
pub use raw::{RawOption, RawOptions};
pub use remount::{InForce, remount};
pub use resolve::{resolve, resolve_known};
pub use value::{WANT_DURATION, duration};

pub use crate::sys::mountinfo::NAME;

/// What the meaning of options depends on.
pub struct Host<'a> {
    /// Pages of memory the machine has: the base of percentages and defaults.
    pub ram_pages: u64,
    /// CPUs this process may run on.
    pub cpus: NonZeroUsize,
    /// The mounter's effective user.
    pub uid: u32,
    /// The mounter's effective group.
    pub gid: u32,
    /// Whether SELinux is there to understand `context=` and its like.
    pub selinux: bool,
    /// Users and groups by name.
    pub accounts: &'a dyn Accounts,
}

/// Looks up the names that `uid=` and `gid=` may carry.
pub trait Accounts {
    /// The uid of a user.
    fn uid(&self, name: &str) -> Option<u32>;
    /// The gid of a group.
    fn gid(&self, name: &str) -> Option<u32>;
}

/// Who may use the mount besides the user who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nobody, not even root: what FUSE does by itself.
    Mounter,
    /// Everybody, as permission bits say (`allow_other`).
    Everyone,
}

/// How the kernel gets at the contents of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoMode {
    /// By itself where it can, else through us.
    #[default]
    Auto,
    /// By itself (FUSE passthrough), or there is no mount.
    Passthrough,
    /// Through us and its page cache.
    Cached,
}

/// What a mount is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// What the filesystem itself goes by.
    pub settings: Settings,
    /// The flags of mount(2).
    pub flags: MsFlags,
    /// SELinux options, `name="value"`, for the kernel.
    pub security: Vec<String>,
    /// Who may use the mount.
    pub access: Access,
    /// Threads that serve requests.
    pub workers: NonZeroUsize,
    /// How the kernel gets at the contents of files.
    pub io: IoMode,
    /// What nobody has touched for so long is removed; `None` where nothing is.
    pub max_age: Option<Duration>,
    /// Patterns of paths that stay all the same.
    pub exclude: Vec<String>,
}

/// The flags fusermount3 takes, each by its name. It takes no other (it has no word for `lazytime` or `strictatime`),
/// and the kernel leaves access times of a FUSE mount to the server anyway.
const HELPER_FLAGS: [(MsFlags, &str); 8] = [
    (MsFlags::MS_RDONLY, "ro"),
    (MsFlags::MS_NOSUID, "nosuid"),
    (MsFlags::MS_NODEV, "nodev"),
    (MsFlags::MS_NOEXEC, "noexec"),
    (MsFlags::MS_SYNCHRONOUS, "sync"),
    (MsFlags::MS_DIRSYNC, "dirsync"),
    (MsFlags::MS_NOATIME, "noatime"),
    (MsFlags::MS_NODIRATIME, "nodiratime"),
];

impl MountOptions {
    /// The data argument of mount(2), for the device descriptor `device` and the mounter `uid`:`gid`.
    pub fn kernel_data(&self, device: i32, uid: u32, gid: u32) -> String {
        let mut data = format!("fd={device},rootmode=40000,user_id={uid},group_id={gid},default_permissions");
        if self.access == Access::Everyone {
            data.push_str(",allow_other");
        }
        for option in &self.security {
            // Writing to a String cannot fail.
            let _ = write!(data, ",{option}");
        }
        data
    }

    /// The `-o` argument of fusermount3.
    pub fn helper_options(&self) -> String {
        let mut text = format!("fsname={NAME},subtype={NAME},default_permissions");
        if self.access == Access::Everyone {
            text.push_str(",allow_other");
        }
        for (flag, name) in HELPER_FLAGS {
            if self.flags.contains(flag) {
                let _ = write!(text, ",{name}");
            }
        }
        text
    }
}
