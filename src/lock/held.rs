//! The words of this layer: whose a lock is, what it forbids, and what is wanted of the locks of a file.

use super::range::Range;
use crate::types::{Fh, LockOwner, Timestamp};

/// What a lock forbids to others, and what a lock or a transfer needs: two of different owners that overlap conflict where at
/// least one is [`Kind::Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Shared with other reads.
    Read,
    /// Shared with nobody.
    Write,
}

impl Kind {
    /// Whether the two cannot be shared.
    pub fn conflicts(self, other: Kind) -> bool {
        self == Kind::Write || other == Kind::Write
    }

    pub(super) fn other(self) -> Kind {
        match self {
            Kind::Read => Kind::Write,
            Kind::Write => Kind::Read,
        }
    }
}

/// Whose a lock is (fcntl(2)): POSIX locks belong to a process, OFD locks and flock(2) to an open file. The two never are the
/// same owner, even where the process has the file open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A process, as the kernel hashes it.
    Process(LockOwner),
    /// An open file description.
    OpenFile(Fh),
}

impl Owner {
    /// Whose locks do not stop a lock of this owner.
    pub fn own(self) -> Own {
        match self {
            Owner::Process(process) => Own {
                process: Some(process),
                file: None,
            },
            Owner::OpenFile(file) => Own {
                process: None,
                file: Some(file),
            },
        }
    }

    pub(super) fn process(self) -> Option<LockOwner> {
        match self {
            Owner::Process(process) => Some(process),
            Owner::OpenFile(_) => None,
        }
    }
}

/// Whose locks do not stop an access or a request: the caller's own (semantics 5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Own {
    /// The process, for POSIX locks.
    pub process: Option<LockOwner>,
    /// The open file, for OFD locks.
    pub file: Option<Fh>,
}

impl Own {
    /// Whether a lock of `owner` is the caller's own.
    pub fn has(self, owner: Owner) -> bool {
        match owner {
            Owner::Process(process) => self.process == Some(process),
            Owner::OpenFile(file) => self.file == Some(file),
        }
    }

    pub(super) fn owners(self) -> impl Iterator<Item = Owner> {
        let process = self.process.map(Owner::Process);
        process.into_iter().chain(self.file.map(Owner::OpenFile))
    }
}

/// A lock that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The bytes.
    pub range: Range,
    /// Shared or not.
    pub kind: Kind,
    /// Whose it is.
    pub owner: Owner,
    /// The process that last set a lock for this owner on this file (its tgid in the daemon's pid namespace).
    pub pid: u32,
}

impl Lock {
    /// Whether it stops `access`.
    pub fn stops(&self, access: &Access) -> bool {
        self.kind.conflicts(access.kind) && self.range.overlaps(access.range) && !access.own.has(self.owner)
    }
}

/// A lock that is held, with all that is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The lock.
    pub lock: Lock,
    /// The user in whose purse it is counted.
    pub uid: u32,
    /// Since when its owner has held anything on the file.
    pub since: Timestamp,
}

/// A lock that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whose it will be.
    pub owner: Owner,
    /// The process that asks (its tgid).
    pub pid: u32,
    /// Shared or not.
    pub kind: Kind,
    /// The bytes.
    pub range: Range,
}

impl Request {
    pub(super) fn access(&self) -> Access {
        Access {
            own: self.owner.own(),
            kind: self.kind,
            range: self.range,
        }
    }
}

/// A read or write that must obey the locks of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whose locks do not stop it.
    pub own: Own,
    /// Read or write.
    pub kind: Kind,
    /// The bytes.
    pub range: Range,
}
