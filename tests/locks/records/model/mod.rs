//! What locks should do, as models: `table` says it in the words of semantics 4, `linux` as the kernel's fs/locks.c does it, lists and
//! wake-ups included, and `world` puts processes, descriptors and waits around both.

mod linux;
mod table;
mod world;

pub use world::{Expected, Outcome, Step, World};

/// Whose a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A process, by a number that is never used again.
    Process(u32),
    /// An open file.
    Open(u32),
}

/// What a lock is, or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// None: a request to unlock.
    None,
    /// Shared.
    Read,
    /// Exclusive.
    Write,
}

/// Which locks of a file: those of fcntl(2) and those of flock(2) know nothing of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// fcntl(2).
    Record,
    /// flock(2).
    Whole,
}

/// A lock or a request for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// On which file.
    pub file: u8,
    /// On which of its lists.
    pub family: Family,
    /// Whose.
    pub owner: Owner,
    /// What.
    pub kind: Kind,
    /// First byte.
    pub start: i64,
    /// Last byte; i64::MAX is the end of file whatever its size.
    pub end: i64,
}

impl Claim {
    /// Whether it hinders the other one.
    pub fn conflicts(&self, other: &Self) -> bool {
        self.same_list(other)
            && self.owner != other.owner
            && (self.kind == Kind::Write || other.kind == Kind::Write)
            && self.overlaps(other)
    }

    /// Whether they have a byte in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// Whether they are of one file and family.
    pub fn same_list(&self, other: &Self) -> bool {
        (self.file, self.family) == (other.file, other.family)
    }

    /// The request that takes everything of this owner from this list.
    pub fn nothing(file: u8, family: Family, owner: Owner) -> Self {
        Self {
            file,
            family,
            owner,
            kind: Kind::None,
            start: 0,
            end: i64::MAX,
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Granted.
    Done,
    /// EAGAIN.
    Again,
    /// EDEADLK.
    Deadlock,
    /// It waits.
    Waits,
}

/// A wait, by a number that is never used again.
pub type Wait = u32;

/// A change to the locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A request, which may wait.
    Ask(Claim, Option<Wait>),
    /// A wait is given up.
    Cancel(Wait),
}
