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
use super::attr::{AttrCall, SetAttr};
use super::hoard::Kept;
use super::io::{act_on_allocation, act_on_read, act_on_write};
use super::lock::{LockCall, may_lock};
use super::transfer::{Deed, Done, Io, Step};
use crate::lock::{self, Access, FileLocks, Kind, Owner, Performed, Queued, Stops, Ticket, Transfer, Wake};
use crate::sys::proc;
use crate::tree::{Inode, Locks, Patience};
use crate::types::{Caller, Errno, Fh, LockOwner};

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
    /// Who waits.
    pub caller: Caller,
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
                    caller: io.caller,
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
    pub(super) fn keep<D>(&self, io: &Io<D>, data: &[u8]) -> Result<Kept, Errno> {
        self.hoard.keep(io.caller.uid, data).inspect_err(|errno| {
            self.record_lock(io.caller, &io.inode, *errno, || {
                "too much data waits for locks already".to_owned()
            });
        })
    }
}
