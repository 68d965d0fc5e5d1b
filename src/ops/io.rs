//! Reading, writing, and what moves or makes bytes otherwise.

use std::sync::Arc;

use super::Filesystem;
use super::lookup::note_access;
use crate::content::{Allocation, Content, LongAllocation, Whence};
use crate::policy::set_id;
use crate::sys::proc::{self, Capability};
use crate::tree::Inode;
use crate::types::{AtimePolicy, Caller, Errno, NodeId, OpenFlags, Timestamp};

/// Two ranges of a copy.
#[derive(Clone, Copy, Debug)]
pub struct CopyRange {
    /// Where from.
    pub source: NodeId,
    /// Offset there.
    pub from: u64,
    /// Where to.
    pub target: NodeId,
    /// Offset there.
    pub to: u64,
    /// Bytes.
    pub len: u64,
}

/// What becomes of a file's privileges when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// They stay: the kernel writes back a page that was stored to through a mapping, which ends none on tmpfs.
    Stay,
    /// File capabilities end, set-id bits stay: the caller holds CAP_FSETID.
    KeepSetId,
    /// Both end.
    End,
}

/// The rest of a long fallocate(2). Whoever has it calls [`LongWork::step`] until that is the last, or gives up: what was done
/// stays, and the size is as before.
#[derive(Debug)]
pub struct LongWork {
    inode: Arc<Inode>,
    allocation: LongAllocation,
    keeps: bool,
}

impl LongWork {
    /// Does one piece. Returns whether that was the last. Errors: ENOSPC, ENOMEM.
    pub fn step(&mut self) -> Result<bool, Errno> {
        let mut content = self.inode.content()?.write();
        let done = content.allocate_some(&mut self.allocation)?;
        note_change(&self.inode, &mut content, self.keeps);
        Ok(done)
    }
}

impl Filesystem {
    /// Reads at `offset` into `buf`; returns the bytes read, fewer only at the end of the file. `flags` are those of the
    /// open file now. Errors: EISDIR, EINVAL.
    pub fn read(&self, node: NodeId, offset: u64, flags: OpenFlags, buf: &mut [u8]) -> Result<usize, Errno> {
        let inode = self.tree.inode(node)?;
        let count = inode.content()?.read().read_at(offset, buf)?;
        let policy = if flags.no_atime() {
            AtimePolicy::NoAtime
        } else {
            self.atime
        };
        note_access(&inode, policy);
        Ok(count)
    }

    /// Writes `data` at `offset`; returns the bytes written. Errors: ENOSPC where none fits, or, when the kernel writes back,
    /// where not all do; EFBIG, ENFILE.
    pub fn write(&self, node: NodeId, offset: u64, data: &[u8], privileges: Privileges) -> Result<usize, Errno> {
        let inode = self.tree.inode(node)?;
        self.with_room(|| write_to(&inode, offset, data, privileges))
    }

    /// fallocate(2) with the modes that tmpfs has. Where that takes long the rest is returned, to be done piece by piece.
    /// Errors: EOPNOTSUPP for other modes, ENOSPC, EFBIG.
    pub fn fallocate(
        &self,
        caller: Caller,
        node: NodeId,
        mode: u32,
        offset: u64,
        len: u64,
    ) -> Result<Option<LongWork>, Errno> {
        const PUNCH: u32 = (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE).cast_unsigned();
        const KEEP: u32 = libc::FALLOC_FL_KEEP_SIZE.cast_unsigned();
        let what = match mode {
            0 => Allocation::Grow,
            KEEP => Allocation::KeepSize,
            PUNCH => Allocation::PunchHole,
            _ => return Err(Errno::EOPNOTSUPP),
        };
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let inode = self.tree.inode(node)?;
        let keeps = keeps_set_id(&inode, caller);
        self.with_room(|| {
            let mut content = inode.content()?.write();
            if let Some(allocation) = content.allocate_at_length(what, offset, len)? {
                let inode = Arc::clone(&inode);
                return Ok(Some(LongWork {
                    inode,
                    allocation,
                    keeps,
                }));
            }
            content.allocate(what, offset, len)?;
            note_change(&inode, &mut content, keeps);
            Ok(None)
        })
    }

    /// The next data or hole (lseek(2)). Errors: ENXIO.
    pub fn seek(&self, node: NodeId, offset: u64, whence: Whence) -> Result<u64, Errno> {
        self.tree.inode(node)?.content()?.read().seek(offset, whence)
    }

    /// copy_file_range(2); returns the bytes copied, at times fewer than asked for. Errors: ENOSPC, EFBIG; EINVAL where the
    /// ranges overlap in one file; ENOSYS with passthrough, where the kernel copies by itself, at its speed and on the caller's
    /// account, as on tmpfs.
    pub fn copy(&self, caller: Caller, range: &CopyRange) -> Result<u64, Errno> {
        if self.tree.limits.has_store() {
            return Err(Errno::ENOSYS);
        }
        let source = self.tree.inode(range.source)?;
        let target = self.tree.inode(range.target)?;
        let keeps = keeps_set_id(&target, caller);
        let copied = if source.ino == target.ino {
            if range.from.abs_diff(range.to) < range.len {
                return Err(Errno::EINVAL);
            }
            self.with_room(|| {
                let mut content = target.content()?.write();
                let copied = content.copy_within(range.from, range.to, range.len)?;
                if copied > 0 {
                    note_change(&target, &mut content, keeps);
                }
                Ok(copied)
            })?
        } else {
            self.with_room(|| copy_between(&source, &target, range, keeps))?
        };
        note_access(&source, self.atime);
        Ok(copied)
    }
}

fn write_to(inode: &Inode, offset: u64, data: &[u8], privileges: Privileges) -> Result<usize, Errno> {
    let mut content = inode.content()?.write();
    let written = content.write_at(offset, data)?;
    if written > 0 {
        let mut meta = inode.meta.lock();
        meta.note_change(&mut content, Timestamp::now());
        if privileges != Privileges::Stay {
            meta.drop_privileges(privileges == Privileges::KeepSetId);
        }
    }
    if written < data.len() && privileges == Privileges::Stay {
        // Nobody is told of a short count when the kernel writes back: msync(2) would report success.
        return Err(Errno::ENOSPC);
    }
    Ok(written)
}

fn copy_between(source: &Inode, target: &Inode, range: &CopyRange, keeps: bool) -> Result<u64, Errno> {
    let copy = |source: &Content, content: &mut Content| {
        let copied = content.copy_from(source, range.from, range.to, range.len)?;
        if copied > 0 {
            note_change(target, content, keeps);
        }
        Ok(copied)
    };
    // In the order of the inode numbers, so that two copies in opposite directions cannot wait for each other.
    if source.ino < target.ino {
        let from = source.content()?.read();
        let mut to = target.content()?.write_second();
        copy(&from, &mut to)
    } else {
        let mut to = target.content()?.write();
        let from = source.content()?.read_second();
        copy(&from, &mut to)
    }
}

/// The contents were changed, by a caller who `keeps` set-id bits or does not.
fn note_change(inode: &Inode, content: &mut Content, keeps: bool) {
    let mut meta = inode.meta.lock();
    meta.note_change(content, Timestamp::now());
    meta.drop_privileges(keeps);
}

/// Whether changes of the caller's leave set-id bits, for requests that do not say it. Looked up only where there are any;
/// what cannot be decided is decided against the caller.
pub(super) fn keeps_set_id(inode: &Inode, caller: Caller) -> bool {
    set_id::at_stake(inode.meta.lock().perm) && proc::has_capability(caller, Capability::Fsetid)
}
