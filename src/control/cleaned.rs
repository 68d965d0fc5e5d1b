//! The words of the protocol for what a walk of the cleaner has come to.

use serde::{Deserialize, Serialize};

/// What a walk of the cleaner has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaned {
    /// It was only looked.
    pub dry_run: bool,
    /// Names that were looked at.
    pub looked: u64,
    /// Names of files that went, or would.
    pub files: u64,
    /// Names of directories that went, or would.
    pub directories: u64,
    /// Those that stayed because they are young.
    pub young: u64,
    /// Because they are in use.
    pub in_use: u64,
    /// Because a pattern names them.
    pub excluded: u64,
    /// Because something is mounted there, or they are mounted elsewhere.
    pub mounted: u64,
    /// What went, or would.
    pub taken: Vec<Taken>,
    /// As much as did not fit into the line.
    #[serde(default)]
    pub taken_left_out: u64,
}

/// Something that went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Its path below the mount.
    pub path: String,
    /// `file`, `directory`, `symlink` or `fifo`.
    pub kind: String,
    /// Its owner.
    pub owner: u32,
    /// When it was last touched, in milliseconds since 1970.
    pub touched_ms: u64,
}
