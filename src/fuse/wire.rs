//! The structs and numbers of the FUSE protocol as they lie in memory (include/uapi/linux/fuse.h, up to 7.45). Nothing else.
#![allow(missing_docs, reason = "the names and meanings are those of fuse.h")]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! opcodes {
    ($($name:ident = $number:literal),* $(,)?) => {
        /// What a request asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Opcode { $($name = $number),* }

        impl Opcode {
            /// The opcode of a number; `None` for one we have never heard of.
            pub fn from_number(number: u32) -> Option<Opcode> {
                match number {
                    $($number => Some(Opcode::$name),)*
                    _ => None,
                }
            }
        }
    };
}

opcodes! {
    Lookup = 1, Forget = 2, GetAttr = 3, SetAttr = 4, ReadLink = 5, Symlink = 6, MkNod = 8, MkDir = 9, Unlink = 10,
    RmDir = 11, Rename = 12, Link = 13, Open = 14, Read = 15, Write = 16, StatFs = 17, Release = 18, Fsync = 20,
    SetXattr = 21, GetXattr = 22, ListXattr = 23, RemoveXattr = 24, Flush = 25, Init = 26, OpenDir = 27, ReadDir = 28,
    ReleaseDir = 29, FsyncDir = 30, GetLk = 31, SetLk = 32, SetLkW = 33, Access = 34, Create = 35, Interrupt = 36,
    BMap = 37, Destroy = 38, Ioctl = 39, Poll = 40, NotifyReply = 41, BatchForget = 42, FAllocate = 43,
    ReadDirPlus = 44, Rename2 = 45, LSeek = 46, CopyFileRange = 47, SetupMapping = 48, RemoveMapping = 49, SyncFs = 50,
    TmpFile = 51, StatX = 52, CopyFileRange64 = 53,
}

pub const FATTR_MODE: u32 = 1 << 0;
pub const FATTR_UID: u32 = 1 << 1;
pub const FATTR_GID: u32 = 1 << 2;
pub const FATTR_SIZE: u32 = 1 << 3;
pub const FATTR_ATIME: u32 = 1 << 4;
pub const FATTR_MTIME: u32 = 1 << 5;
pub const FATTR_FH: u32 = 1 << 6;
pub const FATTR_ATIME_NOW: u32 = 1 << 7;
pub const FATTR_MTIME_NOW: u32 = 1 << 8;
pub const FATTR_LOCKOWNER: u32 = 1 << 9;
pub const FATTR_KILL_SUIDGID: u32 = 1 << 11;

pub const FOPEN_DIRECT_IO: u32 = 1 << 0;
pub const FOPEN_KEEP_CACHE: u32 = 1 << 1;
pub const FOPEN_PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
pub const FOPEN_PASSTHROUGH: u32 = 1 << 7;
/// Of `fuse_out_header.error` of a notification.
pub const FUSE_NOTIFY_INVAL_INODE: i32 = 2;
pub const FUSE_NOTIFY_INVAL_ENTRY: i32 = 3;
pub const FUSE_NOTIFY_DELETE: i32 = 6;
/// Since Linux 6.18.
pub const FUSE_NOTIFY_PRUNE: i32 = 9;
/// Of `fuse_notify_inval_entry_out.flags`.
pub const FUSE_EXPIRE_ONLY: u32 = 1 << 0;
/// Of `fuse_open_in.open_flags`.
pub const FUSE_OPEN_KILL_SUIDGID: u32 = 1 << 0;
/// Of `fuse_write_in.write_flags`.
pub const FUSE_WRITE_CACHE: u32 = 1 << 0;
pub const FUSE_WRITE_LOCKOWNER: u32 = 1 << 1;
pub const FUSE_WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// Of `fuse_read_in.read_flags`.
pub const FUSE_READ_LOCKOWNER: u32 = 1 << 1;
/// Of `fuse_setxattr_in.setxattr_flags`.
pub const FUSE_SETXATTR_ACL_KILL_SGID: u32 = 1 << 0;
/// Of `fuse_lk_in.lk_flags`.
pub const FUSE_LK_FLOCK: u32 = 1 << 0;
/// Of `fuse_poll_in.flags`.
pub const FUSE_POLL_SCHEDULE_NOTIFY: u32 = 1 << 0;

macro_rules! wire {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
            pub struct $name { $(pub $field: $type),* }
        )*
    };
}

wire! {
    InHeader { len: u32, opcode: u32, unique: u64, nodeid: u64, uid: u32, gid: u32, pid: u32, total_extlen: u16, padding: u16 }
    OutHeader { len: u32, error: i32, unique: u64 }
    WireAttr {
        ino: u64, size: u64, blocks: u64, atime: i64, mtime: i64, ctime: i64, atimensec: u32, mtimensec: u32, ctimensec: u32,
        mode: u32, nlink: u32, uid: u32, gid: u32, rdev: u32, blksize: u32, flags: u32,
    }
    EntryOut {
        nodeid: u64, generation: u64, entry_valid: u64, attr_valid: u64, entry_valid_nsec: u32, attr_valid_nsec: u32,
        attr: WireAttr,
    }
    AttrOut { attr_valid: u64, attr_valid_nsec: u32, dummy: u32, attr: WireAttr }
    OpenOut { fh: u64, open_flags: u32, backing_id: u32 }
    ForgetIn { nlookup: u64 }
    ForgetOne { nodeid: u64, nlookup: u64 }
    BatchForgetIn { count: u32, dummy: u32 }
    GetAttrIn { getattr_flags: u32, dummy: u32, fh: u64 }
    SetAttrIn {
        valid: u32, padding: u32, fh: u64, size: u64, lock_owner: u64, atime: i64, mtime: i64, ctime: i64,
        atimensec: u32, mtimensec: u32, ctimensec: u32, mode: u32, unused4: u32, uid: u32, gid: u32, unused5: u32,
    }
    MkNodIn { mode: u32, rdev: u32, umask: u32, padding: u32 }
    MkDirIn { mode: u32, umask: u32 }
    RenameIn { newdir: u64 }
    Rename2In { newdir: u64, flags: u32, padding: u32 }
    LinkIn { oldnodeid: u64 }
    OpenIn { flags: u32, open_flags: u32 }
    CreateIn { flags: u32, mode: u32, umask: u32, open_flags: u32 }
    ReleaseIn { fh: u64, flags: u32, release_flags: u32, lock_owner: u64 }
    FlushIn { fh: u64, unused: u32, padding: u32, lock_owner: u64 }
    ReadIn { fh: u64, offset: u64, size: u32, read_flags: u32, lock_owner: u64, flags: u32, padding: u32 }
    WriteIn { fh: u64, offset: u64, size: u32, write_flags: u32, lock_owner: u64, flags: u32, padding: u32 }
    WriteOut { size: u32, padding: u32 }
    StatFsOut {
        blocks: u64, bfree: u64, bavail: u64, files: u64, ffree: u64, bsize: u32, namelen: u32, frsize: u32, padding: u32,
        spare: [u32; 6],
    }
    FsyncIn { fh: u64, fsync_flags: u32, padding: u32 }
    /// As sent once FUSE_SETXATTR_EXT is agreed on; before that only the first two fields.
    SetXattrIn { size: u32, flags: u32, setxattr_flags: u32, padding: u32 }
    SetXattrCompatIn { size: u32, flags: u32 }
    GetXattrIn { size: u32, padding: u32 }
    GetXattrOut { size: u32, padding: u32 }
    FileLock { start: u64, end: u64, kind: u32, pid: u32 }
    LkIn { fh: u64, owner: u64, lock: FileLock, lk_flags: u32, padding: u32 }
    LkOut { lock: FileLock }
    InvalInodeOut { ino: u64, off: i64, len: i64 }
    InvalEntryOut { parent: u64, namelen: u32, flags: u32 }
    DeleteOut { parent: u64, child: u64, namelen: u32, padding: u32 }
    PruneOut { count: u32, padding: u32, spare: u64 }
    AccessIn { mask: u32, padding: u32 }
    InterruptIn { unique: u64 }
    FAllocateIn { fh: u64, offset: u64, length: u64, mode: u32, padding: u32 }
    LSeekIn { fh: u64, offset: u64, whence: u32, padding: u32 }
    LSeekOut { offset: u64 }
    CopyFileRangeIn { fh_in: u64, off_in: u64, nodeid_out: u64, fh_out: u64, off_out: u64, len: u64, flags: u64 }
    CopyFileRangeOut { bytes_copied: u64 }
    SyncFsIn { padding: u64 }
    IoctlIn { fh: u64, flags: u32, cmd: u32, arg: u64, in_size: u32, out_size: u32 }
    PollIn { fh: u64, kh: u64, flags: u32, events: u32 }
    PollOut { revents: u32, padding: u32 }
    StatXIn { getattr_flags: u32, reserved: u32, fh: u64, sx_flags: u32, sx_mask: u32 }
    SxTime { sec: i64, nsec: u32, reserved: i32 }
    StatXBody {
        mask: u32, blksize: u32, attributes: u64, nlink: u32, uid: u32, gid: u32, mode: u16, spare0: u16, ino: u64,
        size: u64, blocks: u64, attributes_mask: u64, atime: SxTime, btime: SxTime, ctime: SxTime, mtime: SxTime,
        rdev_major: u32, rdev_minor: u32, dev_major: u32, dev_minor: u32, spare2: [u64; 14],
    }
    StatXOut { attr_valid: u64, attr_valid_nsec: u32, flags: u32, spare: [u64; 2], stat: StatXBody }
    Dirent { ino: u64, off: u64, namelen: u32, kind: u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_fuse_h() {
        assert_eq!(size_of::<InHeader>(), 40);
        assert_eq!(size_of::<OutHeader>(), 16);
        assert_eq!(size_of::<WireAttr>(), 88);
        assert_eq!(size_of::<EntryOut>(), 128);
        assert_eq!(size_of::<AttrOut>(), 104);
        assert_eq!(size_of::<SetAttrIn>(), 88);
        assert_eq!(size_of::<ReadIn>(), 40);
        assert_eq!(size_of::<WriteIn>(), 40);
        assert_eq!(size_of::<StatFsOut>(), 80);
        assert_eq!(size_of::<LkIn>(), 48);
        assert_eq!(size_of::<CopyFileRangeIn>(), 56);
        assert_eq!(size_of::<PollIn>(), 24);
        assert_eq!(size_of::<StatXBody>(), 256);
        assert_eq!(size_of::<StatXOut>(), 288);
        assert_eq!(size_of::<StatXIn>(), 24);
        assert_eq!(size_of::<Dirent>(), 24);
    }
}
