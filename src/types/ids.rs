//! A type for every integer that names something, so that none is taken for another.

/// The kernel's handle for a node: what it sends in the header of a request.
///
/// Not the same as [`Ino`]: the kernel makes one inode of its own of each node id, users see the inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The node id of the root directory (`FUSE_ROOT_ID`).
    pub const ROOT: NodeId = NodeId(1);
}

/// The inode number users see in `st_ino`: 64 bits, never reused in the life of a mount (semantics 1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ino(pub u64);

impl Ino {
    /// The inode number of the root directory.
    pub const ROOT: Ino = Ino(1);
}

/// An open file description as the server numbers it: the kernel returns it with every request on the open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fh(pub u64);

/// Who owns a record lock, as the kernel hashes it: a process (POSIX locks) or an open file (OFD locks, flock).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockOwner(pub u64);

/// The number of a request; its answer and an INTERRUPT carry the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unique(pub u64);

/// A backing file as the kernel numbers it: what an open file is to be read from and written to without asking the server
/// (FUSE passthrough).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackingId(pub u32);

/// A place in a directory (`d_off`): grows with every entry made and is never given out twice in one directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cookie(pub u64);
