//! Ageing (`max_age=`): walks the tree by and by and has taken away what nobody has touched for long. Decides nothing alone: each
//! name goes by one step of `tree/ageing.rs`, under the locks, or stays. Touches no path: it walks the tree in memory.
//!
//! | file | owns |
//! |---|---|
//! | schedule.rs | when a walk is due, and what is old then. Pure |
//! | exclude.rs | patterns for what stays (`exclude=`). Pure |
//! | walk.rs | one walk: children first, in small steps |
//! | thread.rs | the thread that walks when it is time |

mod exclude;
mod schedule;
mod thread;
mod walk;

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::ops::Filesystem;
use crate::ops::ageing::Kernel;
use crate::policy::ageing::Spared;
use crate::tree::Stage;
use crate::types::{FileType, Ino, Timestamp};

pub use exclude::{BadPattern, Exclude};
pub use schedule::{Now, Schedule, Terms, shown_age};
pub use thread::{Clock, SystemClock, start};

/// A path that begins at a directory of the mount.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The directory.
    pub from: Ino,
    /// The path.
    pub path: Vec<u8>,
}

/// What only the kernel knows, as far as it shows it.
pub trait Surroundings: Send + Sync {
    /// The places below the mount that are mount points, or are mounted elsewhere.
    fn mounted(&self) -> Vec<Place>;

    /// What is held by flock(2) without our being asked: directories always are.
    fn flocked(&self) -> HashSet<Ino>;
}

/// How much of the time a walk works.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For how long at a time.
    pub work: Duration,
    /// How long it rests then.
    pub rest: Duration,
}

impl Pace {
    /// A quarter of one CPU, in pieces that nobody notices.
    pub const GENTLE: Pace = Pace {
        work: Duration::from_millis(1),
        rest: Duration::from_millis(3),
    };
}

/// What one walk is to do.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// What time it is taken to be.
    pub now: Timestamp,
    /// What was not touched for so long is old.
    pub age: Duration,
    /// Whether it is removed.
    pub stage: Stage,
    /// How fast.
    pub pace: Pace,
}

impl Order {
    /// What was touched then or later is young.
    pub fn cut_off(&self) -> Timestamp {
        self.now.before(self.age)
    }
}

/// Something that a walk has removed, or would.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// Its path below the mount.
    pub path: &'a [u8],
    /// Its type.
    pub file_type: FileType,
    /// Its owner.
    pub owner: u32,
    /// When it was last touched.
    pub touched: Timestamp,
}

/// What a walk has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Names that were looked at.
    pub looked: u64,
    /// Names of directories that went, or would.
    pub directories: u64,
    /// Names of all else that went, or would.
    pub files: u64,
    spared: [u64; Spared::ALL.len()],
}

impl Summary {
    /// How many names stayed for that reason.
    pub fn spared(&self, why: Spared) -> u64 {
        self.spared[why as usize]
    }

    /// How many names went, or would.
    pub fn taken(&self) -> u64 {
        self.directories + self.files
    }

    fn spare(&mut self, why: Spared) {
        self.spared[why as usize] += 1;
    }
}

/// What cleans one filesystem.
pub struct Cleaner {
    filesystem: Arc<Filesystem>,
    kernel: Arc<dyn Kernel>,
    exclude: Exclude,
    surroundings: Box<dyn Surroundings>,
}

impl fmt::Debug for Cleaner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleaner").field("exclude", &self.exclude).finish()
    }
}

impl Cleaner {
    /// A cleaner that spares what `exclude` names and what the `surroundings` say.
    pub fn new(
        filesystem: Arc<Filesystem>,
        kernel: Arc<dyn Kernel>,
        exclude: Exclude,
        surroundings: Box<dyn Surroundings>,
    ) -> Cleaner {
        Cleaner {
            filesystem,
            kernel,
            exclude,
            surroundings,
        }
    }

    /// Walks once, and tells `taken` of each name that went or would; which may end the walk. Takes its time: not to be called by a
    /// thread that others wait for, nor with anything locked.
    pub fn walk(&self, order: &Order, taken: &mut dyn FnMut(&Taken<'_>) -> ControlFlow<()>) -> Summary {
        walk::Walk::new(self, order, taken).run()
    }
}
