//! Whose rules decide in the few cases in which there are two: the kernel's, on tmpfs, or the server's.

use std::os::fd::AsRawFd;

use rustix::fs::OFlags;

use crate::common::Mount;
use crate::common::lock::{F_SETLK, READ, Record, set};

/// Who keeps the locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// F_GETLK reports the lock of whoever locked first, EDEADLK comes for cycles along first conflicts.
    Kernel,
    /// F_GETLK reports the lowest lock, EDEADLK comes for every cycle.
    Server,
}

/// Finds out: /proc/locks lists what the kernel keeps.
pub fn rules(mount: &Mount) -> Rules {
    let name = "whose-rules";
    let fd = mount.dir().open(name, OFlags::CREATE | OFlags::RDWR, 0o600).unwrap();
    set(fd.as_raw_fd(), F_SETLK, Record::all(READ)).unwrap();
    let stat = rustix::fs::fstat(&fd).unwrap();
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let file = format!(" {major:02x}:{minor:02x}:{} ", stat.st_ino);
    let listed = std::fs::read_to_string("/proc/locks").unwrap().contains(&file);
    mount.dir().unlink(name).unwrap();
    if listed { Rules::Kernel } else { Rules::Server }
}
