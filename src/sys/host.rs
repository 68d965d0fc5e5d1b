//! Facts about the machine and the user that options and errors depend on. Reads, and changes nothing.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use nix::sys::sysinfo::sysinfo;
use nix::unistd::{Group, Uid, User};

use crate::types::attr::PAGE_SIZE;

/// Pages of memory the machine has; 0 when the kernel does not say.
pub fn ram_pages() -> u64 {
    sysinfo().map_or(0, |info| info.ram_total() / PAGE_SIZE)
}

/// CPUs this process may run on.
pub fn cpus() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Whether SELinux is active.
pub fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// The uid of a user, by name.
pub fn uid_of(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

/// The name of a user.
pub fn name_of(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// The gid of a group, by name.
pub fn gid_of(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

/// The value of a numeric sysctl, given as its path below /proc/sys; `None` where the kernel has none.
pub fn sysctl(path: &str) -> Option<u64> {
    fs::read_to_string(Path::new("/proc/sys").join(path))
        .ok()?
        .trim()
        .parse()
        .ok()
}
