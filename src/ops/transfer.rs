//! Transfers: what is to be done to a file's bytes, for whom, and what it needs of the file.

use std::sync::Arc;

use super::Filesystem;
use super::attr::{Changed, SetAttr};
use super::hoard::Kept;
use super::io::{LongWork, Privileges, Read};
use crate::content::Content;
use crate::lock::{self, Access, Kind, Own, Range, Stops};
use crate::sys::proc;
use crate::tree::{Handle, Inode};
use crate::types::{Caller, Errno, NodeId, OpenFlags};

/// What is to be done to a file's bytes.
#[derive(Debug)]
pub enum Deed<D> {
    /// Read so many bytes there.
    Read {
        /// Where.
        offset: u64,
        /// How many.
        size: usize,
    },
    /// Read pages for the kernel's cache, as splice(2) and its like do.
    ReadPages {
        /// Where.
        offset: u64,
        /// How many bytes.
        size: usize,
        /// Which of them will be moved.
        meant: Option<Range>,
    },
    /// Write.
    Write {
        /// Where; at the end, if the descriptor appends.
        offset: u64,
        /// What.
        data: D,
        /// What becomes of the file's privileges.
        privileges: Privileges,
    },
    /// Change attributes, the size among them.
    SetAttr(SetAttr),
    /// fallocate(2).
    Allocate {
        /// Its mode.
        mode: u32,
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
}

/// One transfer.
#[derive(Debug)]
pub struct Io<D> {
    /// Who asks.
    pub caller: Caller,
    /// The file.
    pub inode: Arc<Inode>,
    /// The node of it by which.
    pub node: NodeId,
    /// The open file by which; `None` for truncate(2).
    pub handle: Option<Arc<Handle>>,
    /// Whose locks do not stop it.
    pub own: Own,
    /// The flags of the open file now, where the request tells them.
    pub flags: Option<OpenFlags>,
    /// What is to be done.
    pub deed: Deed<D>,
}

/// What a transfer has done.
#[derive(Debug)]
pub enum Done {
    /// Bytes are in the buffer.
    Read(Read),
    /// So many were written.
    Written(usize),
    /// Attributes are changed.
    Attr(Changed),
    /// A lock is set.
    Locked,
    /// This lock is in the way, or none.
    Tested(Option<lock::Lock>),
    /// All of it.
    Allocated,
    /// Not all of it.
    Allocating(LongWork),
}

/// A transfer, or what stands in its way.
pub(super) enum Step {
    Done(Done),
    Blocked(Access),
}

impl<D: AsRef<[u8]>> Io<D> {
    pub(super) fn keep(&self, fs: &Filesystem) -> Result<Io<Kept>, Errno> {
        let deed = match &self.deed {
            Deed::Read { offset, size } => Deed::Read {
                offset: *offset,
                size: *size,
            },
            Deed::ReadPages { offset, size, meant } => Deed::ReadPages {
                offset: *offset,
                size: *size,
                meant: *meant,
            },
            Deed::Write {
                offset,
                data,
                privileges,
            } => Deed::Write {
                offset: *offset,
                data: fs.keep(self, data.as_ref())?,
                privileges: *privileges,
            },
            Deed::SetAttr(change) => Deed::SetAttr(*change),
            Deed::Allocate { mode, offset, len } => Deed::Allocate {
                mode: *mode,
                offset: *offset,
                len: *len,
            },
        };
        Ok(Io {
            caller: self.caller,
            inode: Arc::clone(&self.inode),
            node: self.node,
            handle: self.handle.clone(),
            own: self.own,
            flags: self.flags,
            deed,
        })
    }

    /// Whether the kernel keeps the inode locked until it is done.
    pub fn locks_inode(&self) -> bool {
        !matches!(self.deed, Deed::Read { .. } | Deed::ReadPages { .. })
    }

    /// Whether the caller wants to wait: not with O_NONBLOCK, and truncate(2) never does (semantics 5.4).
    pub(super) fn may_wait(&self) -> bool {
        let Some(handle) = &self.handle else { return false };
        let flags = self
            .flags
            .or_else(|| proc::descriptor_flags(self.caller).map(OpenFlags));
        !flags.unwrap_or(handle.flags).non_blocking()
    }

    /// What the transfer needs of the file, given its contents.
    fn access(&self, content: &Content) -> Option<Access> {
        let (kind, range) = match &self.deed {
            Deed::Read { offset, size } => (Kind::Read, Range::of_transfer(*offset, *size as u64)),
            Deed::ReadPages { meant, .. } => (Kind::Read, *meant),
            Deed::Write { data, .. } => {
                let offset = self.write_offset(content);
                (Kind::Write, Range::of_transfer(offset, data.as_ref().len() as u64))
            }
            Deed::SetAttr(change) => {
                // The bytes that go or come.
                let (size, new) = (content.size(), change.size.unwrap_or_default());
                (Kind::Write, Range::of_transfer(size.min(new), size.abs_diff(new)))
            }
            Deed::Allocate { offset, len, .. } => (Kind::Write, Range::of_transfer(*offset, *len)),
        };
        Some(Access {
            own: self.own,
            kind,
            range: range?,
        })
    }

    /// The end of the file where the descriptor appends: what the kernel takes for it may be old.
    pub(super) fn write_offset(&self, content: &Content) -> u64 {
        match &self.deed {
            Deed::Write { .. } if self.flags.is_some_and(OpenFlags::appends) => content.size(),
            Deed::Write { offset, .. } => *offset,
            _ => 0,
        }
    }

    /// Whether a lock is in the way on pages that the kernel is to have, of bytes that are not meant: it would have them all.
    pub(super) fn holds_more_than_is_meant(&self, check: Stops<'_>) -> bool {
        let Deed::ReadPages { offset, size, .. } = &self.deed else {
            return false;
        };
        Range::of_transfer(*offset, *size as u64).is_some_and(|range| {
            let (own, kind) = (self.own, Kind::Read);
            check(&Access { own, kind, range }).is_some()
        })
    }

    /// What stands in the way.
    pub(super) fn blocked(&self, content: &Content, check: Stops<'_>) -> Option<Access> {
        let access = self.access(content)?;
        check(&access).map(|_| access)
    }
}
