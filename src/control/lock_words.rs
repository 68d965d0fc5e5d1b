//! The words of the protocol for locks, and for those who wait for them.

use serde::{Deserialize, Serialize};

/// Who holds locks and who waits for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locks {
    /// `owltmp`; or `kernel` with `mand=off`, and then nothing is known here.
    pub kept_by: String,
    /// The files with any.
    pub files: Vec<LockedFile>,
    /// Files that did not fit into the line: ask for them one by one.
    #[serde(default)]
    pub files_left_out: u64,
}

/// A file with locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedFile {
    /// Its inode number.
    pub inode: u64,
    /// A path of it below the mount, where one was found.
    pub path: Option<String>,
    /// Its owner.
    pub owner: u32,
    /// Whether record locks on it bind reads and writes.
    pub mandatory: bool,
    /// Who holds what.
    pub held: Vec<Held>,
    /// Locks that did not fit into the line.
    #[serde(default)]
    pub held_left_out: u64,
    /// Who waits, in order of arrival.
    pub waiting: Vec<Waiting>,
    /// Waits that did not fit into the line.
    #[serde(default)]
    pub waiting_left_out: u64,
}

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// `posix`, `ofd` or `flock`.
    pub lock: String,
    /// `read` or `write`.
    pub mode: String,
    /// Whether it binds reads and writes of others.
    pub mandatory: bool,
    /// The first byte.
    pub first: u64,
    /// The last byte; none: to the end.
    pub last: Option<u64>,
    /// The process that last set a lock for this owner on this file, in the daemon's PID namespace; 0 where that is unknown.
    pub pid: u32,
    /// What it calls itself; none where it is not there any more.
    pub command: Option<String>,
    /// The user whom the lock is counted for.
    pub uid: u32,
    /// Since when its owner has had locks on this file without a break, in milliseconds since 1970.
    pub since_ms: u64,
}

/// One that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// For a lock: `posix`, `ofd` or `flock`; to read or write: `access`.
    pub lock: String,
    /// `read` or `write`.
    pub mode: String,
    /// The first byte.
    pub first: u64,
    /// The last byte; none: to the end.
    pub last: Option<u64>,
    /// The process; 0 where it is not known.
    pub pid: u32,
    /// What it calls itself.
    pub command: Option<String>,
    /// Its user; none where it is not known.
    pub uid: Option<u32>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// The lowest lock in the way.
    pub blocked_by: Option<Held>,
}

/// Locks that were broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlocked {
    /// How many.
    pub count: u64,
    /// The first of them, as they were.
    pub broken: Vec<Held>,
}
