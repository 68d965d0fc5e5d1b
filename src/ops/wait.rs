//! Reads, writes and what else moves bytes of files with mandatory locks (semantics 5): checked and done in one step, or made to
//! wait until they can be.
//!
//! ```text
//!   attempt ──── no lock of another in the way ──────────────────────────── done
//!      └──── there is one ── Park::wait ── (it ends) ── perform ─────────── done
//!              │                └──── (a signal) ── give_up ─────────────── EINTR
//!              └── the descriptor does not wait: EAGAIN; but where the lock's last descriptor may just have been closed,
//!                  Park::again ── (a moment later) ── once_more ─────────── done, or EAGAIN
//! ```

use std::cell::LazyCell;
use std::sync::Arc;

use super::Filesystem;
use super::attr::{AttrCall, Changed, SetAttr};
use super::hoard::Kept;
use super::io::{LongWork, Privileges, Read, act_on_allocation, act_on_read, act_on_write};
use super::lock::{LockCall, may_lock};
use crate::content::Content;
use crate::lock::{self, Access, FileLocks, Kind, Own, Owner, Performed, Queued, Range, Stops, Ticket, Transfer, Wake};
use crate::sys::proc;
use crate::tree::{Handle, Inode, Locks, Patience};
use crate::types::{Caller, Errno, Fh, LockOwner, NodeId, OpenFlags};

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It is done.
    Done(T),
    /// It was parked.
    Waiting,
}

/// A wait for a lock: what ends it early.
#[derive(Clone, Debug)]
pub struct Wait {
    pub(super) inode: Arc<Inode>,
    pub(super) locks: Arc<FileLocks>,
    pub(super) ticket: Ticket,
    /// The descriptor by which a lock is waited for, where it is known.
    pub descriptor: Option<u64>,
}

/// How a request is made to wait, by who received it.
pub trait Park {
    /// Until the result is waked: with success a lock is granted, or the transfer `io` may be [performed](Filesystem::perform). Called
    /// with locks held. Errors: the request is not parked, and was answered with that.
    fn wait(&mut self, wait: Wait, io: Option<Io<Kept>>) -> Result<Box<dyn Wake>, Errno>;

    /// For a moment; then it is tried [once more](Filesystem::once_more), and so on until that says that it was the last time.
    /// Errors: as above.
    fn again(&mut self, again: Again) -> Result<(), Errno>;

    /// Whether it would not be tried again.
    fn is_last(&self) -> bool {
        false
    }
}

/// What is tried again a moment later.
#[derive(Debug)]
pub enum Again {
    /// To set a lock.
    Lock(LockCall),
    /// To say which lock is in the way.
    Test(LockCall),
    /// To set a lock, or wait for it.
    WaitForLock(LockCall),
    /// To read or write.
    Io(Io<Kept>),
    /// To change attributes.
    SetAttr(AttrCall, SetAttr),
}

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
    fn keep(&self, fs: &Filesystem) -> Result<Io<Kept>, Errno> {
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

    /// Whether the caller wants to wait: not with O_NONBLOCK, and truncate(2) never does (semantics 5.4).
    fn may_wait(&self) -> bool {
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

/// Parks nothing for another moment when this was the last.
struct LastTime<'a> {
    park: &'a mut dyn Park,
    last: bool,
}

impl Park for LastTime<'_> {
    fn wait(&mut self, wait: Wait, io: Option<Io<Kept>>) -> Result<Box<dyn Wake>, Errno> {
        self.park.wait(wait, io)
    }

    fn again(&mut self, again: Again) -> Result<(), Errno> {
        match self.last {
            true => Err(Errno::EAGAIN),
            false => self.park.again(again),
        }
    }

    fn is_last(&self) -> bool {
        self.last
    }
}

impl<T> Outcome<T> {
    fn map<U>(self, make: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Outcome::Done(done) => Outcome::Done(make(done)),
            Outcome::Waiting => Outcome::Waiting,
        }
    }
}

fn nothing_more(outcome: Outcome<()>) -> Outcome<Done> {
    outcome.map(|()| Done::Locked)
}

/// Whether a lock belongs to the process, for requests that do not tell the lock owner of who asks.
fn is_of_process(lock: &lock::Lock, pid: u32) -> bool {
    matches!(lock.owner, Owner::Process(_)) && lock.pid != 0 && lock.pid == pid
}

/// Which lock is in the way, while the file's locks bind others.
fn in_the_way(inode: &Inode, transfer: &Transfer<'_>, access: &Access) -> Option<lock::Lock> {
    transfer.conflict(access).filter(|_| binds(inode))
}

/// A lock that would stop an access.
fn any_lock(access: &Access) -> lock::Lock {
    lock::Lock {
        range: access.range,
        kind: Kind::Write,
        owner: Owner::OpenFile(Fh(0)),
        pid: 0,
    }
}

pub(super) fn binds(inode: &Inode) -> bool {
    inode.counts_as_marked(&inode.meta.lock())
}

impl Filesystem {
    /// Does a transfer, or parks it. Errors: EAGAIN where it does not wait, and where too much waits already; EDEADLK by semantics
    /// 4.3; whatever the transfer itself does.
    pub(super) fn transfer<D: AsRef<[u8]>>(
        &self,
        io: &Io<D>,
        park: &mut dyn Park,
        buf: &mut [u8],
    ) -> Result<Outcome<Done>, Errno> {
        loop {
            let access = match self.attempt(io, buf)? {
                Step::Done(done) => return Ok(Outcome::Done(done)),
                Step::Blocked(access) => access,
            };
            if !io.may_wait() {
                if self.may_be_free(&io.inode, &access) {
                    park.again(Again::Io(io.keep(self)?))?;
                    return Ok(Outcome::Waiting);
                }
                return Err(Errno::EAGAIN);
            }
            let mut kept = Some(io.keep(self)?);
            let locks = &io.inode.locks().records;
            let mut wait = |ticket| {
                let wait = Wait {
                    inode: Arc::clone(&io.inode),
                    locks: Arc::clone(locks),
                    ticket,
                    descriptor: None,
                };
                park.wait(wait, kept.take())
            };
            match locks.wait(&self.waits, access, &mut wait)? {
                Queued::Free => {}
                Queued::Waiting => return Ok(Outcome::Waiting),
            }
        }
    }

    pub(super) fn attempt<D: AsRef<[u8]>>(&self, io: &Io<D>, buf: &mut [u8]) -> Result<Step, Errno> {
        let Some(locks) = self.binding_locks(&io.inode) else {
            let marked_now = |access: &Access| binds(&io.inode).then(|| any_lock(access));
            return match self.with_room(|| self.act(io, &marked_now, buf))? {
                // It was marked meanwhile, and there may be locks.
                Step::Blocked(_) => self.attempt(io, buf),
                done => Ok(done),
            };
        };
        self.with_room(|| {
            // Held until it is done: no lock is granted in between (semantics 5.3).
            let transfer = locks.records.share();
            self.act(io, &|access| in_the_way(&io.inode, &transfer, access), buf)
        })
    }

    /// The locks on a file, where there are any or there could be some that bind; `None` where nobody has ever asked for one.
    fn binding_locks<'a>(&self, inode: &'a Inode) -> Option<&'a Locks> {
        inode.locks_if_any().or_else(|| binds(inode).then(|| inode.locks()))
    }

    /// Whether a file may be emptied by open(2) (semantics 5.4): not while another has any lock on it. What is returned is held until
    /// that is done. Errors: EAGAIN.
    pub(super) fn may_empty<'a>(&self, caller: Caller, inode: &'a Inode) -> Result<Option<Transfer<'a>>, Errno> {
        let Some(locks) = self.binding_locks(inode) else {
            return Ok(None);
        };
        let mut patience = None;
        // Looked up where there is a lock, once.
        let pid = LazyCell::new(|| proc::process(caller).0);
        loop {
            let transfer = locks.records.share();
            if !binds(inode) || transfer.every_owner(|lock| is_of_process(lock, *pid)) {
                return Ok(Some(transfer));
            }
            let may_go = transfer.every_owner(|lock| is_of_process(lock, *pid) || self.is_closing(lock));
            drop(transfer);
            let patience = patience.get_or_insert_with(|| self.tree.brief_patience());
            if !may_go || !patience.as_mut().is_some_and(Patience::again) {
                return Err(Errno::EAGAIN);
            }
        }
    }

    /// The lock owner that stands for the caller's process, for requests that do not tell it; `None` where it holds no lock.
    pub(super) fn owner_of_process(&self, caller: Caller, inode: &Inode) -> Option<LockOwner> {
        let locks = inode.locks_if_any()?;
        let pid = LazyCell::new(|| proc::process(caller).0);
        let own = locks.records.of_an_owner(|lock| is_of_process(lock, *pid))?;
        match own.owner {
            Owner::Process(owner) => Some(owner),
            Owner::OpenFile(_) => None,
        }
    }

    fn act<D: AsRef<[u8]>>(&self, io: &Io<D>, check: Stops<'_>, buf: &mut [u8]) -> Result<Step, Errno> {
        match &io.deed {
            Deed::Read { offset, size } | Deed::ReadPages { offset, size, .. } => {
                let room = buf.get_mut(..*size).ok_or(Errno::EIO)?;
                act_on_read(self, io, *offset, room, check)
            }
            Deed::Write { data, privileges, .. } => act_on_write(self, io, data.as_ref(), *privileges, check),
            Deed::SetAttr(change) => self.act_on_size(io, change, check),
            Deed::Allocate { mode, offset, len } => act_on_allocation(self, io, (*mode, *offset, *len), check),
        }
    }

    /// A wait has ended, and the transfer is tried. The job, of which `io_of` gives the transfer, comes back with the result; `None`
    /// where somebody was faster and it waits on.
    pub fn perform<J: Wake + 'static>(
        &self,
        wait: &Wait,
        job: Box<J>,
        io_of: impl Fn(&J) -> &Io<Kept>,
        buf: &mut [u8],
    ) -> Option<(Box<J>, Result<Done, Errno>)> {
        let inode = &wait.inode;
        let transfer = |job: Box<J>, _, stops: Stops<'_>| {
            // Asked anew each time: the mark may be gone (semantics 5.7).
            let check = |access: &Access| stops(access).filter(|_| binds(inode));
            match self.act(io_of(&job), &check, buf) {
                Ok(Step::Blocked(access)) => Err((job, access)),
                Ok(Step::Done(done)) => Ok((job, Ok(done))),
                Err(error) => Ok((job, Err(error))),
            }
        };
        let may_grant = || may_lock(inode);
        match wait.locks.perform(&self.waits, wait.ticket, &may_grant, job, transfer) {
            Performed::Done(result, woken) => {
                woken.run();
                Some(result)
            }
            Performed::Blocked(woken) => {
                woken.run();
                None
            }
            Performed::Gone(job) => Some((job, Err(Errno::EINTR))),
        }
    }

    /// A signal: takes back a request that waits. Returns whom it would have told; `None` where its wait has just ended.
    pub fn give_up(&self, wait: &Wait) -> Option<Box<dyn Wake>> {
        let inode = &wait.inode;
        let (wake, woken) = wait.locks.cancel(&self.waits, wait.ticket, &|| may_lock(inode))?;
        woken.run();
        Some(wake)
    }

    /// Tries again what could not be done because of a lock, or an old descriptor, that may just have been closed. It is parked
    /// once more, unless this is the `last` time.
    pub fn once_more(
        &self,
        again: Again,
        last: bool,
        park: &mut dyn Park,
        buf: &mut [u8],
    ) -> Result<Outcome<Done>, Errno> {
        let mut park = LastTime { park, last };
        let inode = match &again {
            Again::Test(call) | Again::Lock(call) | Again::WaitForLock(call) => {
                Arc::clone(&self.tree.handle(call.fh)?.inode)
            }
            Again::Io(io) => Arc::clone(&io.inode),
            Again::SetAttr(call, _) => self.tree.inode(call.node)?,
        };
        let result = match again {
            Again::Test(call) => self
                .test_lock(&call, &mut park)
                .map(|outcome| outcome.map(Done::Tested)),
            Again::Lock(call) => self.set_lock(&call, &mut park).map(nothing_more),
            Again::WaitForLock(call) => self.wait_for_lock(&call, &mut park).map(nothing_more),
            Again::Io(io) => self.io_once_more(io, &mut park, buf),
            Again::SetAttr(call, change) => self
                .setattr(&call, &change, &mut park)
                .map(|outcome| outcome.map(Done::Attr)),
        };
        if last && matches!(result, Err(Errno::EAGAIN) | Ok(Outcome::Done(Done::Tested(Some(_))))) {
            // It was another descriptor that was closed: nobody need wait for it again.
            inode.assume_open();
        }
        result
    }

    /// A transfer that does not wait, and that only a lock stops which may have been closed. Its data is not copied each time.
    fn io_once_more(&self, io: Io<Kept>, park: &mut dyn Park, buf: &mut [u8]) -> Result<Outcome<Done>, Errno> {
        match self.attempt(&io, buf)? {
            Step::Done(done) => Ok(Outcome::Done(done)),
            Step::Blocked(access) if self.may_be_free(&io.inode, &access) => {
                park.again(Again::Io(io))?;
                Ok(Outcome::Waiting)
            }
            Step::Blocked(_) => Err(Errno::EAGAIN),
        }
    }

    /// Whether all locks in the way belong to open files whose last descriptor is perhaps closed.
    fn may_be_free(&self, inode: &Inode, access: &Access) -> bool {
        let Some(locks) = inode.locks_if_any() else { return true };
        locks.records.every_conflict(access, &|lock| self.is_closing(lock))
    }

    /// The data of a write that is to wait. Errors: EAGAIN where too much is kept already, with an event.
    fn keep<D>(&self, io: &Io<D>, data: &[u8]) -> Result<Kept, Errno> {
        self.hoard.keep(io.caller.uid, data).inspect_err(|errno| {
            self.record_lock(io.caller, &io.inode, *errno, || {
                "too much data waits for locks already".to_owned()
            });
        })
    }
}
