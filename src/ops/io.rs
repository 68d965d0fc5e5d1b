//! Reading, writing, and what moves or makes bytes otherwise.

use std::sync::Arc;

use super::Filesystem;
use super::lookup::note_access;
use super::pages::Pages;
use super::transfer::{Deed, Done, Io, Step};
use super::wait::{Outcome, Park};
use crate::content::{Allocation, Content, LongAllocation, Whence};
use crate::lock::{Own, Range, Stops};
use crate::policy::set_id::{self, Keeps};
use crate::sys::proc::{self, Capability};
use crate::sys::remote::{PATIENCE, patiently};
use crate::tree::{Handle, Inode, Passing};
use crate::types::{AtimePolicy, Caller, Errno, Fh, LockOwner, NodeId, OpenFlags, Timestamp};

/// Two ranges of a copy.
#[derive(Clone, Copy, Debug)]
pub struct CopyRange {
    /// Where from.
    pub source: NodeId,
    /// The open file there.
    pub source_fh: Fh,
    /// Offset there.
    pub from: u64,
    /// Where to.
    pub target: NodeId,
    /// The open file there.
    pub target_fh: Fh,
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
    keeps: Keeps,
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

/// A transfer as the kernel asks for it.
#[derive(Clone, Copy, Debug)]
pub struct IoCall {
    /// Who asks.
    pub caller: Caller,
    /// The node.
    pub node: NodeId,
    /// The open file.
    pub fh: Fh,
    /// Whose locks do not stop it; `None` where the kernel does not say, as it asks for itself.
    pub owner: Option<LockOwner>,
    /// The flags of the open file now, where the request tells them.
    pub flags: Option<OpenFlags>,
}

/// What was read.
#[derive(Debug)]
pub struct Read {
    /// So many bytes.
    pub count: usize,
    /// They are pages for the kernel's cache that are to go when they were used, as splice(2) and its like would find them there the next
    /// time: past every lock, and old. Whoever has seen to it drops this.
    pub passing: Option<Passing>,
}

impl IoCall {
    fn on<D>(&self, handle: Arc<Handle>, deed: Deed<D>) -> Io<D> {
        Io {
            caller: self.caller,
            node: self.node,
            inode: Arc::clone(&handle.inode),
            own: Own {
                process: self.owner,
                file: Some(self.fh),
            },
            handle: Some(handle),
            flags: self.flags,
            deed,
        }
    }

    fn has_no_atime(&self) -> bool {
        self.flags.is_some_and(OpenFlags::no_atime)
    }
}

impl Filesystem {
    /// Reads at `offset` into `buf`; says how many bytes, fewer only at the end of the file. Errors: EISDIR, EINVAL, which is also what
    /// splice(2) and its like get of bytes on a page on which others are locked; EAGAIN and EDEADLK by semantics 5.2.
    pub fn read(
        &self,
        call: &IoCall,
        offset: u64,
        buf: &mut [u8],
        park: &mut dyn Park,
    ) -> Result<Outcome<Read>, Errno> {
        let obedient = self.obedient(call);
        if let Some(handle) = obedient
            && let Some((io, is_ahead)) = self.obeying_read(call, handle, offset, buf.len())
        {
            if is_ahead {
                return self.read_ahead(&io, buf).map(Outcome::Done);
            }
            return match self.transfer(&io, park, buf)? {
                Outcome::Done(Done::Read(read)) => Ok(Outcome::Done(read)),
                Outcome::Done(_) => Err(Errno::EIO),
                Outcome::Waiting => Ok(Outcome::Waiting),
            };
        }
        let inode = self.tree.inode(call.node)?;
        let count = inode.content()?.read().read_at(offset, buf)?;
        self.note_read(&inode, call.has_no_atime());
        Ok(Outcome::Done(Read { count, passing: None }))
    }

    /// Writes `data` at `offset`, or at the end; says how many bytes. Errors: ENOSPC where none fits, or, when the kernel writes back,
    /// where not all do; EFBIG, ENFILE; EAGAIN and EDEADLK by semantics 5.2.
    pub fn write(
        &self,
        call: &IoCall,
        offset: u64,
        data: &[u8],
        privileges: Privileges,
        park: &mut dyn Park,
    ) -> Result<Outcome<usize>, Errno> {
        // The kernel must not wait when it writes a page back; the mapping it comes from is older than the mark (semantics 5.5).
        let writes_back = privileges == Privileges::Stay;
        if let Some(handle) = self.obedient(call).filter(|_| !writes_back) {
            let deed = Deed::Write {
                offset,
                data,
                privileges,
            };
            return match self.transfer(&call.on(handle, deed), park, &mut [])? {
                Outcome::Done(Done::Written(count)) => Ok(Outcome::Done(count)),
                Outcome::Done(_) => Err(Errno::EIO),
                Outcome::Waiting => Ok(Outcome::Waiting),
            };
        }
        let inode = self.tree.inode(call.node)?;
        let keeps = self.keeps_on_write(&inode, call.caller, privileges);
        let write = || write_to(&inode, &mut inode.content()?.write(), offset, data, keeps);
        self.with_room(write).map(Outcome::Done)
    }

    /// fallocate(2) with the modes that tmpfs has. Where that takes long the rest is returned, to be done piece by piece.
    /// Errors: EOPNOTSUPP for other modes, ENOSPC, EFBIG; EAGAIN and EDEADLK by semantics 5.2.
    pub fn fallocate(
        &self,
        call: &IoCall,
        mode: u32,
        offset: u64,
        len: u64,
        park: &mut dyn Park,
    ) -> Result<Outcome<Option<LongWork>>, Errno> {
        allocation_of(mode)?;
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let deed: Deed<&[u8]> = Deed::Allocate { mode, offset, len };
        let Some(handle) = self.obedient(call) else {
            let inode = self.tree.inode(call.node)?;
            let keeps = self.keeps(&inode, call.caller, None);
            return self
                .with_room(|| allocate(&inode, &mut inode.content()?.write(), (mode, offset, len), keeps))
                .map(Outcome::Done);
        };
        // The request does not say whose locks do not stop it: those of the process that asks.
        let mut io = call.on(handle, deed);
        io.own.process = self.owner_of_process(call.caller, &io.inode);
        match self.transfer(&io, park, &mut [])? {
            Outcome::Done(Done::Allocating(rest)) => Ok(Outcome::Done(Some(rest))),
            Outcome::Done(_) => Ok(Outcome::Done(None)),
            Outcome::Waiting => Ok(Outcome::Waiting),
        }
    }

    /// The open file, if its transfers obey locks.
    fn obedient(&self, call: &IoCall) -> Option<Arc<Handle>> {
        let handle = self.tree.handle(call.fh).ok()?;
        if !handle.mode.is_direct() {
            return None;
        }
        handle.note_use();
        Some(handle)
    }

    /// A read that obeys locks, and whether it reads ahead. Where the kernel does not say for whom it reads pages, they are for a
    /// private mapping, which no lock stops: `None`. Or they are for splice(2), sendfile(2) or copy_file_range(2), and their caller's
    /// locks do not stop them.
    fn obeying_read<'a>(
        &self,
        call: &IoCall,
        handle: Arc<Handle>,
        offset: u64,
        size: usize,
    ) -> Option<(Io<&'a [u8]>, bool)> {
        if call.owner.is_some() {
            return Some((call.on(handle, Deed::Read { offset, size }), false));
        }
        let pages = Pages::of(call.caller);
        if pages.is_fault {
            return None;
        }
        let meant = pages.meant.and_then(|(offset, len)| Range::of_transfer(offset, len));
        let meant = meant.and_then(|meant| meant.common(Range::of_transfer(offset, size as u64)?));
        let mut io = call.on(handle, Deed::ReadPages { offset, size, meant });
        io.own.process = self.owner_of_process(call.caller, &io.inode);
        Some((io, pages.is_ahead))
    }

    /// A read of pages that nobody waits for. Errors: EAGAIN where a lock is in the way: the kernel asks again when it needs them.
    fn read_ahead(&self, io: &Io<&[u8]>, buf: &mut [u8]) -> Result<Read, Errno> {
        match self.attempt(io, buf)? {
            Step::Done(Done::Read(read)) => Ok(read),
            _ => Err(Errno::EAGAIN),
        }
    }

    fn note_read(&self, inode: &Inode, no_atime: bool) {
        note_access(inode, if no_atime { AtimePolicy::NoAtime } else { self.atime });
    }

    /// The next data or hole (lseek(2)). Errors: ENXIO.
    pub fn seek(&self, node: NodeId, offset: u64, whence: Whence) -> Result<u64, Errno> {
        self.tree.inode(node)?.content()?.read().seek(offset, whence)
    }

    /// copy_file_range(2); returns the bytes copied, at times fewer than asked for. Errors: ENOSPC, EFBIG; EINVAL where the
    /// ranges overlap in one file; ENOSYS with passthrough, where the kernel copies by itself, at its speed and on the caller's
    /// account, as on tmpfs. EOPNOTSUPP where record locks may have to be obeyed: the kernel then reads and writes, and says for
    /// whom.
    pub fn copy(&self, caller: Caller, range: &CopyRange) -> Result<u64, Errno> {
        if self.tree.limits.has_store() {
            return Err(Errno::ENOSYS);
        }
        let obeys = |fh| self.tree.handle(fh).is_ok_and(|handle| handle.mode.is_direct());
        if obeys(range.source_fh) || obeys(range.target_fh) {
            return Err(Errno::EOPNOTSUPP);
        }
        let source = self.tree.inode(range.source)?;
        let target = self.tree.inode(range.target)?;
        let keeps = self.keeps(&target, caller, None);
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

fn write_to(
    inode: &Inode,
    content: &mut Content,
    offset: u64,
    data: &[u8],
    keeps: Option<Keeps>,
) -> Result<usize, Errno> {
    let written = content.write_at(offset, data)?;
    if written > 0 {
        let mut meta = inode.meta.lock();
        meta.note_change(content, Timestamp::now());
        if let Some(keeps) = keeps {
            meta.drop_privileges(keeps);
        }
    }
    if written < data.len() && keeps.is_none() {
        // Nobody is told of a short count when the kernel writes back: msync(2) would report success.
        return Err(Errno::ENOSPC);
    }
    Ok(written)
}

/// A read that obeys locks.
pub(super) fn act_on_read<D: AsRef<[u8]>>(
    fs: &Filesystem,
    io: &Io<D>,
    offset: u64,
    buf: &mut [u8],
    check: Stops<'_>,
) -> Result<Step, Errno> {
    let count = {
        let content = io.inode.content()?.read();
        if let Some(access) = io.blocked(&content, check) {
            return Ok(Step::Blocked(access));
        }
        if io.holds_more_than_is_meant(check) {
            // As for files that cannot be spliced at all: programs then read and write, which is exact.
            return Err(Errno::EINVAL);
        }
        content.read_at(offset, buf)?
    };
    fs.note_read(&io.inode, io.flags.is_some_and(OpenFlags::no_atime));
    // While the locks are held: who asks for one afterwards knows of them.
    let passing = matches!(io.deed, Deed::ReadPages { .. }).then(|| Passing::of(&io.inode, io.node, offset, buf.len()));
    Ok(Step::Done(Done::Read(Read { count, passing })))
}

/// A write that obeys locks.
pub(super) fn act_on_write<D: AsRef<[u8]>>(
    fs: &Filesystem,
    io: &Io<D>,
    data: &[u8],
    privileges: Privileges,
    check: Stops<'_>,
) -> Result<Step, Errno> {
    let keeps = fs.keeps_on_write(&io.inode, io.caller, privileges);
    let mut content = io.inode.content()?.write();
    if let Some(access) = io.blocked(&content, check) {
        return Ok(Step::Blocked(access));
    }
    let offset = io.write_offset(&content);
    let written = write_to(&io.inode, &mut content, offset, data, keeps)?;
    Ok(Step::Done(Done::Written(written)))
}

/// A fallocate(2) that obeys locks.
pub(super) fn act_on_allocation<D: AsRef<[u8]>>(
    fs: &Filesystem,
    io: &Io<D>,
    what: (u32, u64, u64),
    check: Stops<'_>,
) -> Result<Step, Errno> {
    let keeps = fs.keeps(&io.inode, io.caller, None);
    let mut content = io.inode.content()?.write();
    if let Some(access) = io.blocked(&content, check) {
        return Ok(Step::Blocked(access));
    }
    let rest = match allocation_of(what.0)? {
        // It changes bytes, so all of it is one step.
        Allocation::PunchHole => {
            content.allocate(Allocation::PunchHole, what.1, what.2)?;
            note_change(&io.inode, &mut content, keeps);
            None
        }
        _ => allocate(&io.inode, &mut content, what, keeps)?,
    };
    Ok(Step::Done(rest.map_or(Done::Allocated, Done::Allocating)))
}

fn allocation_of(mode: u32) -> Result<Allocation, Errno> {
    const PUNCH: u32 = (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE).cast_unsigned();
    const KEEP: u32 = libc::FALLOC_FL_KEEP_SIZE.cast_unsigned();
    match mode {
        0 => Ok(Allocation::Grow),
        KEEP => Ok(Allocation::KeepSize),
        PUNCH => Ok(Allocation::PunchHole),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// fallocate(2) with mode, offset and length, or the beginning of a long one.
fn allocate(
    inode: &Arc<Inode>,
    content: &mut Content,
    (mode, offset, len): (u32, u64, u64),
    keeps: Keeps,
) -> Result<Option<LongWork>, Errno> {
    let what = allocation_of(mode)?;
    if let Some(allocation) = content.allocate_at_length(what, offset, len)? {
        let inode = Arc::clone(inode);
        return Ok(Some(LongWork {
            inode,
            allocation,
            keeps,
        }));
    }
    content.allocate(what, offset, len)?;
    note_change(inode, content, keeps);
    Ok(None)
}

fn copy_between(source: &Inode, target: &Inode, range: &CopyRange, keeps: Keeps) -> Result<u64, Errno> {
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
fn note_change(inode: &Inode, content: &mut Content, keeps: Keeps) {
    let mut meta = inode.meta.lock();
    meta.note_change(content, Timestamp::now());
    meta.drop_privileges(keeps);
}

impl Filesystem {
    /// What a change of the caller's leaves of set-id bits. `capable` is whether he holds CAP_FSETID, where the request tells. Looked
    /// up only where there are such bits; what cannot be decided is decided against the caller.
    pub(super) fn keeps(&self, inode: &Inode, caller: Caller, capable: Option<bool>) -> Keeps {
        let (perm, gid) = {
            let meta = inode.meta.lock();
            (meta.perm, meta.gid)
        };
        let capable = || capable.unwrap_or_else(|| proc::has_capability(caller, Capability::Fsetid));
        // Who gives a file away keeps no set-user-id by CAP_FSETID, but the mark (`in_group_or_capable`).
        let in_group = move || proc::in_group(caller, gid) || proc::has_capability(caller, Capability::Fsetid);
        // A write may be one that the caller does not wait for.
        let in_group = || patiently(PATIENCE, in_group).unwrap_or(false);
        set_id::kept(self.mandatory, perm, capable, in_group)
    }

    fn keeps_on_write(&self, inode: &Inode, caller: Caller, privileges: Privileges) -> Option<Keeps> {
        match privileges {
            Privileges::Stay => None,
            Privileges::KeepSetId => Some(Keeps::All),
            Privileges::End => Some(self.keeps(inode, caller, Some(false))),
        }
    }
}
