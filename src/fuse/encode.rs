//! From results to the structs of the protocol.

use std::time::Duration;

use zerocopy::IntoBytes;

use super::wire::{self, AttrOut, Dirent, EntryOut, FileLock, LkOut, StatXBody, StatXOut, SxTime, WireAttr, WriteOut};
use crate::lock::{Kind, Lock, Owner};
use crate::ops::readdir::{Listed, Sink};
use crate::ops::statfs::Statfs;
use crate::ops::{CACHE_TIME, Entry};
use crate::types::attr::PAGE_SIZE;
use crate::types::{Attr, Timestamp};

/// STATX_BASIC_STATS and STATX_BTIME: what [`statx_out`] fills in.
const STATX_FILLED: u32 = libc::STATX_BASIC_STATS | libc::STATX_BTIME;

/// A size for one of the protocol's 32-bit fields; what does not fit cannot occur, as all of them were asked for in 32 bits.
pub fn narrow(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The size of a block as stat(2) tells it.
const BLOCK_SIZE: u32 = 4096;
const _: () = assert!(BLOCK_SIZE as u64 == PAGE_SIZE);

fn wire_attr(attr: &Attr) -> WireAttr {
    WireAttr {
        ino: attr.ino.0,
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.atime.secs,
        mtime: attr.mtime.secs,
        ctime: attr.ctime.secs,
        atimensec: attr.atime.nanos,
        mtimensec: attr.mtime.nanos,
        ctimensec: attr.ctime.nanos,
        mode: attr.file_type.mode_bits() | attr.perm,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}

/// How long the kernel may keep attributes.
fn attr_valid(attr: &Attr) -> u64 {
    if attr.steady { seconds(CACHE_TIME) } else { 0 }
}

/// An entry, or with `None` the news that there is none, which the kernel may remember as long.
pub fn entry_out(entry: Option<&Entry>) -> EntryOut {
    let mut out = EntryOut {
        entry_valid: seconds(CACHE_TIME),
        ..EntryOut::default()
    };
    if let Some(entry) = entry {
        out.nodeid = entry.node.0;
        if !entry.lasting {
            out.entry_valid = 0;
        }
        out.attr_valid = attr_valid(&entry.attr);
        out.attr = wire_attr(&entry.attr);
    }
    out
}

/// The entry of a file that was just made and opened. The kernel looks once more whether it may be opened, at once, and by what
/// it is told here: so even attributes that are not steady count for the shortest time there is, some milliseconds.
pub fn created_out(entry: &Entry) -> EntryOut {
    let mut out = entry_out(Some(entry));
    if out.attr_valid == 0 {
        out.attr_valid_nsec = 1;
    }
    out
}

/// Attributes.
pub fn attr_out(attr: &Attr) -> AttrOut {
    AttrOut {
        attr_valid: attr_valid(attr),
        attr: wire_attr(attr),
        ..AttrOut::default()
    }
}

/// How many bytes were written.
pub fn write_out(count: u64) -> WriteOut {
    WriteOut {
        size: u32::try_from(count).unwrap_or(u32::MAX),
        padding: 0,
    }
}

/// A lock that stands in the way, or none.
pub fn lock_out(lock: Option<&Lock>) -> LkOut {
    let kind = |kind| match kind {
        Kind::Read => libc::F_RDLCK,
        Kind::Write => libc::F_WRLCK,
    };
    let lock = match lock {
        Some(lock) => FileLock {
            start: lock.range.first(),
            end: lock.range.last(),
            kind: kind(lock.kind).cast_unsigned(),
            // Nobody but a process has a process id.
            pid: if matches!(lock.owner, Owner::Process(_)) {
                lock.pid
            } else {
                0
            },
        },
        None => FileLock {
            kind: libc::F_UNLCK.cast_unsigned(),
            ..FileLock::default()
        },
    };
    LkOut { lock }
}

fn sx_time(time: Timestamp) -> SxTime {
    SxTime {
        sec: time.secs,
        nsec: time.nanos,
        reserved: 0,
    }
}

/// Attributes with the time of birth.
pub fn statx_out(attr: &Attr) -> StatXOut {
    let mode = attr.file_type.mode_bits() | attr.perm;
    StatXOut {
        attr_valid: attr_valid(attr),
        stat: StatXBody {
            mask: STATX_FILLED,
            blksize: BLOCK_SIZE,
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            mode: u16::try_from(mode).unwrap_or(u16::MAX),
            ino: attr.ino.0,
            size: attr.size,
            blocks: attr.blocks,
            atime: sx_time(attr.atime),
            btime: sx_time(attr.btime),
            ctime: sx_time(attr.ctime),
            mtime: sx_time(attr.mtime),
            rdev_major: (attr.rdev >> 8) & 0xfff,
            rdev_minor: (attr.rdev & 0xff) | ((attr.rdev >> 12) & 0xf_ff00),
            ..StatXBody::default()
        },
        ..StatXOut::default()
    }
}

/// The figures of statfs(2).
pub fn statfs_out(statfs: &Statfs) -> wire::StatFsOut {
    let block_size = u32::try_from(statfs.block_size).unwrap_or(BLOCK_SIZE);
    wire::StatFsOut {
        blocks: statfs.blocks,
        bfree: statfs.free_blocks,
        bavail: statfs.free_blocks,
        files: statfs.inodes,
        ffree: statfs.free_inodes,
        bsize: block_size,
        namelen: narrow(statfs.name_max),
        frsize: block_size,
        ..wire::StatFsOut::default()
    }
}

/// The buffer of a READDIR or READDIRPLUS reply, filled entry by entry.
pub struct DirBuffer<'a> {
    buf: &'a mut [u8],
    used: usize,
    /// Bytes before each directory entry for what it names (READDIRPLUS).
    plus: usize,
}

impl<'a> DirBuffer<'a> {
    /// A buffer for READDIR.
    pub fn plain(buf: &'a mut [u8]) -> DirBuffer<'a> {
        DirBuffer { buf, used: 0, plus: 0 }
    }

    /// A buffer for READDIRPLUS: [`DirBuffer::fill_in`] completes it.
    pub fn plus(buf: &'a mut [u8]) -> DirBuffer<'a> {
        let plus = size_of::<EntryOut>();
        DirBuffer { buf, used: 0, plus }
    }

    /// Writes what the entries name, in their order; `None` says nothing about one, which the kernel then looks up.
    pub fn fill_in(&mut self, entries: impl IntoIterator<Item = Option<Entry>>) {
        let mut at = 0;
        for entry in entries {
            let out = entry
                .as_ref()
                .map_or(EntryOut::default(), |entry| entry_out(Some(entry)));
            let name_length = self.buf.get(at + self.plus + 16..at + self.plus + 20);
            let (Some(&[a, b, c, d]), Some(place)) = (name_length, self.buf.get(at..at + self.plus)) else {
                return;
            };
            debug_assert_eq!(place.len(), out.as_bytes().len());
            self.buf[at..at + self.plus].copy_from_slice(out.as_bytes());
            at += self.plus + dirent_size(u32::from_ne_bytes([a, b, c, d]) as usize);
        }
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.buf[..self.used]
    }
}

/// The room a directory entry takes, its name padded to eight bytes.
fn dirent_size(name_length: usize) -> usize {
    (size_of::<Dirent>() + name_length).next_multiple_of(8)
}

impl Sink for DirBuffer<'_> {
    fn take(&mut self, entry: Listed<'_>) -> bool {
        let size = self.plus + dirent_size(entry.name.len());
        let Some(place) = self.buf.get_mut(self.used..self.used + size) else {
            return false;
        };
        let dirent = Dirent {
            ino: entry.ino.0,
            off: entry.next.0,
            namelen: narrow(entry.name.len()),
            kind: entry.file_type.dirent_type(),
        };
        let (_, place) = place.split_at_mut(self.plus);
        let (head, rest) = place.split_at_mut(size_of::<Dirent>());
        let (name, padding) = rest.split_at_mut(entry.name.len());
        head.copy_from_slice(dirent.as_bytes());
        name.copy_from_slice(entry.name);
        padding.fill(0);
        self.used += size;
        true
    }
}
