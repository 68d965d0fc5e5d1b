//! What stat(2) says about an inode.

use std::time::Duration;

use super::Ino;

/// A point in time: seconds since the epoch (may be negative) and nanoseconds in `0..1_000_000_000`. `sys/clock.rs` knows
/// what it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub secs: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

impl Timestamp {
    const PER_SECOND: i128 = 1_000_000_000;

    fn as_nanos(self) -> i128 {
        i128::from(self.secs) * Self::PER_SECOND + i128::from(self.nanos)
    }

    /// The point in time so long before.
    pub fn before(self, duration: Duration) -> Timestamp {
        // At most 2^64 seconds from it, which as nanoseconds an i128 holds.
        let nanos = self.as_nanos() - i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX / 2);
        let secs = i64::try_from(nanos.div_euclid(Self::PER_SECOND)).unwrap_or(i64::MIN);
        Timestamp {
            secs,
            nanos: u32::try_from(nanos.rem_euclid(Self::PER_SECOND)).unwrap_or(0),
        }
    }

    /// How long after another point in time it is; zero where it is before.
    pub fn since(self, earlier: Timestamp) -> Duration {
        let nanos = (self.as_nanos() - earlier.as_nanos()).max(0);
        let secs = u64::try_from(nanos / Self::PER_SECOND).unwrap_or(u64::MAX);
        Duration::new(secs, u32::try_from(nanos % Self::PER_SECOND).unwrap_or(0))
    }
}

/// The type of an inode, fixed when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// `S_IFREG`
    Regular,
    /// `S_IFDIR`
    Directory,
    /// `S_IFLNK`
    Symlink,
    /// `S_IFIFO`
    Fifo,
    /// `S_IFSOCK`
    Socket,
    /// `S_IFCHR`
    CharDevice,
    /// `S_IFBLK`
    BlockDevice,
}

impl FileType {
    /// The type bits of a mode; `None` where they name no type.
    pub fn from_mode(mode: u32) -> Option<FileType> {
        Some(match mode & libc::S_IFMT {
            libc::S_IFREG => FileType::Regular,
            libc::S_IFDIR => FileType::Directory,
            libc::S_IFLNK => FileType::Symlink,
            libc::S_IFIFO => FileType::Fifo,
            libc::S_IFSOCK => FileType::Socket,
            libc::S_IFCHR => FileType::CharDevice,
            libc::S_IFBLK => FileType::BlockDevice,
            _ => return None,
        })
    }

    /// The type as the `S_IFMT` bits of a mode.
    pub fn mode_bits(self) -> u32 {
        match self {
            FileType::Regular => libc::S_IFREG,
            FileType::Directory => libc::S_IFDIR,
            FileType::Symlink => libc::S_IFLNK,
            FileType::Fifo => libc::S_IFIFO,
            FileType::Socket => libc::S_IFSOCK,
            FileType::CharDevice => libc::S_IFCHR,
            FileType::BlockDevice => libc::S_IFBLK,
        }
    }

    /// The type as readdir(3) gives it (`d_type`).
    pub fn dirent_type(self) -> u32 {
        self.mode_bits() >> 12
    }
}

/// The attributes of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: Ino,
    /// Type of the inode.
    pub file_type: FileType,
    /// Permission bits, set-id bits and sticky bit (`0o7777`).
    pub perm: u32,
    /// Number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node as the FUSE protocol packs it, else 0.
    pub rdev: u32,
    /// Size in bytes.
    pub size: u64,
    /// Memory used, in units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Birth.
    pub btime: Timestamp,
    /// Whether whoever knows them learns of each change: not while the file can be stored to through a mapping.
    pub steady: bool,
}

/// The unit of `st_blksize`, of accounting and of holes: a page.
pub const PAGE_SIZE: u64 = 4096;

/// The permission bits a mode can have besides its type.
pub const PERM_MASK: u32 = 0o7777;
/// `S_ISUID`
pub const S_ISUID: u32 = libc::S_ISUID;
/// `S_ISGID`
pub const S_ISGID: u32 = libc::S_ISGID;
/// `S_ISVTX`, the sticky bit.
pub const S_ISVTX: u32 = libc::S_ISVTX;
/// `S_IXGRP`
pub const S_IXGRP: u32 = libc::S_IXGRP;
