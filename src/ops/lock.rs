//! Record locks and flock(2) (semantics 4). The kernel tells the owner of a lock by a number, and not whether that number is a
//! process or an open file: the caller's system call does, and it is looked at once for each pair of owner and open file.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Filesystem;
use super::wait::{Again, Outcome, Park, Wait};
use crate::lock::{self, Access, FileLocks, Kind, Lock, Locked, Own, Owner, Range, Request};
use crate::policy::handle_mode::Mode;
use crate::policy::purpose::{self, LockKind};
use crate::sys::proc;
use crate::tree::{Handle, Inode};
use crate::types::{Caller, Errno, Fh, LockOwner, Mandatory};

/// A request about a lock.
#[derive(Clone, Copy, Debug)]
pub struct LockCall {
    /// Who asks.
    pub caller: Caller,
    /// The open file by which.
    pub fh: Fh,
    /// Whose the lock is, as the kernel tells it.
    pub owner: LockOwner,
    /// His process id; 0 where it is not known.
    pub pid: u32,
    /// The bytes.
    pub range: Range,
    /// What is wanted; `None` to unlock.
    pub kind: Option<Kind>,
    /// Whether it is a lock of flock(2).
    pub flock: bool,
}

impl Filesystem {
    /// The first lock that stands in the way (F_GETLK), or of `None` the open file's own first one. Errors: EBADF.
    pub fn test_lock(&self, call: &LockCall, park: &mut dyn Park) -> Result<Outcome<Option<Lock>>, Errno> {
        let handle = self.tree.handle(call.fh)?;
        let Some(locks) = handle.inode.locks_if_any() else {
            return Ok(Outcome::Done(None));
        };
        let own = Own {
            process: Some(call.owner),
            file: handle.itself.is(call.owner).then_some(call.fh),
        };
        let Some(kind) = call.kind else {
            // Only F_OFD_GETLK may ask that: for what the open file has itself.
            let lock = locks.records.first_of(Owner::OpenFile(call.fh), call.range);
            return Ok(Outcome::Done(lock));
        };
        let Some(lock) = locks.records.test(own, kind, call.range) else {
            return Ok(Outcome::Done(None));
        };
        if self.is_closing(&lock) && park.again(Again::Test(*call)).is_ok() {
            return Ok(Outcome::Waiting);
        }
        Ok(Outcome::Done(Some(lock)))
    }

    /// Sets or takes away a lock (F_SETLK, flock(2) with LOCK_NB). Errors: EAGAIN where another is in the way, and by
    /// semantics 5.6; ENOLCK where there would be too many; EBADF.
    pub fn set_lock(&self, call: &LockCall, park: &mut dyn Park) -> Result<Outcome<()>, Errno> {
        if self.must_let_pages_go(call, park) {
            park.again(Again::Lock(*call))?;
            return Ok(Outcome::Waiting);
        }
        match self.set_lock_now(call) {
            Err(Errno::EAGAIN) if self.may_be_closing(call) => {
                park.again(Again::Lock(*call))?;
                Ok(Outcome::Waiting)
            }
            Err(Errno::EAGAIN) => {
                self.report_unkept(call);
                Err(Errno::EAGAIN)
            }
            result => result.map(Outcome::Done),
        }
    }

    /// As [`Filesystem::set_lock`], but what is in the way is not waited for in any case.
    pub(super) fn set_lock_now(&self, call: &LockCall) -> Result<(), Errno> {
        let handle = self.used_handle(call.fh)?;
        let inode = &handle.inode;
        let owner = owner(call, &handle);
        let Some(kind) = call.kind else {
            if let Some(locks) = locks_of(inode, call.flock, false) {
                locks
                    .unlock(&self.waits, owner, call.range, &|| rule(inode, call.flock))?
                    .run();
            }
            return Ok(());
        };
        let Some(locks) = locks_of(inode, call.flock, true) else {
            return Err(Errno::ENOLCK);
        };
        let request = Request {
            owner,
            pid: call.pid,
            kind,
            range: call.range,
        };
        match self.request(locks, call, request, inode, None)? {
            Locked::Granted(woken) => woken.run(),
            // Nothing waits that is not asked to.
            Locked::Waiting => return Err(Errno::EIO),
        }
        Ok(())
    }

    fn request<'a>(
        &'a self,
        locks: &'a Arc<FileLocks>,
        call: &LockCall,
        request: Request,
        inode: &Inode,
        wait: Option<lock::Park<'_>>,
    ) -> Result<Locked<'a>, Errno> {
        let purse = self.purses.of(call.caller.uid);
        match call.flock {
            true => locks.convert(&self.waits, &purse, request, &|| Ok(()), wait),
            false => locks.lock(&self.waits, &purse, request, &|| may_lock(inode), wait),
        }
    }

    /// Sets a lock, and waits where another is in the way (F_SETLKW, flock(2)). Errors: as [`Filesystem::set_lock`]; EDEADLK by
    /// semantics 4.3.
    pub fn wait_for_lock(&self, call: &LockCall, park: &mut dyn Park) -> Result<Outcome<()>, Errno> {
        let Some(kind) = call.kind else {
            return self.set_lock(call, park);
        };
        if self.must_let_pages_go(call, park) {
            park.again(Again::WaitForLock(*call))?;
            return Ok(Outcome::Waiting);
        }
        let handle = self.used_handle(call.fh)?;
        let inode = &handle.inode;
        let owner = owner(call, &handle);
        let Some(locks) = locks_of(inode, call.flock, true) else {
            return Err(Errno::ENOLCK);
        };
        let request = Request {
            owner,
            pid: call.pid,
            kind,
            range: call.range,
        };
        let mut wait = |ticket| {
            let wait = Wait {
                inode: Arc::clone(inode),
                locks: Arc::clone(locks),
                ticket,
                caller: call.caller,
                descriptor: proc::system_call(call.caller).map(|call| call.arguments[0]),
            };
            park.wait(wait, None)
        };
        match self.request(locks, call, request, inode, Some(&mut wait)) {
            Ok(Locked::Granted(woken)) => {
                woken.run();
                Ok(Outcome::Done(()))
            }
            Ok(Locked::Waiting) => Ok(Outcome::Waiting),
            // Only what cannot be kept is refused so to one who waits (semantics 5.6).
            Err(Errno::EAGAIN) if self.may_be_closing(call) => {
                park.again(Again::WaitForLock(*call))?;
                Ok(Outcome::Waiting)
            }
            Err(error) => {
                if error == Errno::EAGAIN {
                    self.report_unkept(call);
                }
                Err(error)
            }
        }
    }

    /// Whether a lock is to wait for a moment, until pages that splice(2) has read are gone from the kernel's cache.
    fn must_let_pages_go(&self, call: &LockCall, park: &dyn Park) -> bool {
        let passing = || {
            self.tree
                .handle(call.fh)
                .is_ok_and(|handle| handle.inode.are_pages_passing())
        };
        call.kind.is_some() && !call.flock && !park.is_last() && passing()
    }

    /// A process closes a descriptor of a file: its locks on the file end (semantics 4.1). Errors: EBADF.
    pub fn flush(&self, caller: Caller, fh: Fh, owner: LockOwner) -> Result<(), Errno> {
        if self.mandatory == Mandatory::Off {
            // The kernel keeps the locks, and need not ask again.
            return Err(Errno::ENOSYS);
        }
        let handle = self.tree.handle(fh)?;
        handle.note_closing();
        handle.processes.forget(owner);
        let inode = &handle.inode;
        if let Some(locks) = inode.locks_if_any() {
            let owner = Owner::Process(owner);
            if locks.records.waits(owner) {
                // Of locks that it does not keep itself the kernel forgets to take back what is granted to a closed descriptor.
                let closed = proc::system_call(caller).and_then(purpose::closes);
                // What else closes (io_uring, exit) has done so by now.
                let is_closed = |descriptor| match &closed {
                    Some(closed) => closed.contains(&descriptor),
                    None => proc::has_closed(caller, descriptor),
                };
                locks.records.note_closed(owner, &is_closed);
            }
            locks.records.release(&self.waits, owner, &|| may_lock(inode)).run();
        }
        Ok(())
    }

    /// The last descriptor of an open file is closed: its own locks end.
    pub(super) fn end_locks_of(&self, handle: &Handle) {
        let inode = &handle.inode;
        let Some(locks) = inode.locks_if_any() else { return };
        let owner = Owner::OpenFile(handle.fh);
        locks.records.remove_poller(handle.fh);
        locks.records.release(&self.waits, owner, &|| may_lock(inode)).run();
        locks.flocks.release(&self.waits, owner, &|| Ok(())).run();
        for process in self.left_behind(handle) {
            let owner = Owner::Process(process);
            locks.records.release(&self.waits, owner, &|| may_lock(inode)).run();
        }
    }

    /// The owners that have locked by an open file and of whose close(2) nobody has told us. The kernel tells nothing where pages that
    /// it has to write back first meet an error; and what counts as a process may be the open file. Not those who have locked by
    /// another one as well: they may have done so since.
    fn left_behind(&self, handle: &Handle) -> Vec<LockOwner> {
        let mut left = handle.processes.all();
        if !left.is_empty() {
            let others = self.tree.handles_of(handle.inode.ino, |_| true);
            left.retain(|process| !others.iter().any(|other| other.processes.has(*process)));
        }
        left
    }

    /// An open file is gone, and with it perhaps what kept a lock from being granted (semantics 5.6).
    pub(super) fn closed(&self, handle: &Handle) {
        let inode = &handle.inode;
        if let Some(locks) = inode.locks_if_any().filter(|_| handle.mode != Mode::Enforced) {
            locks.records.reconsider(&self.waits, &|| may_lock(inode)).run();
        }
    }

    /// An open file that is being used: its last descriptor is not closed.
    pub(super) fn used_handle(&self, fh: Fh) -> Result<Arc<Handle>, Errno> {
        let handle = self.tree.handle(fh)?;
        handle.note_use();
        Ok(handle)
    }

    /// Whether a lock belongs to an open file whose last descriptor is perhaps closed: the kernel tells of that late.
    pub(super) fn is_closing(&self, lock: &Lock) -> bool {
        match lock.owner {
            Owner::Process(_) => false,
            // One that is not found any more is about to give up its locks.
            Owner::OpenFile(fh) => self.tree.handle(fh).map_or(true, |handle| handle.is_perhaps_closed()),
        }
    }

    /// Whether all that stands in the way of a lock may be gone in a moment.
    pub(super) fn may_be_closing(&self, call: &LockCall) -> bool {
        let Ok(handle) = self.tree.handle(call.fh) else {
            return false;
        };
        let inode = &handle.inode;
        let (Some(kind), Some(locks)) = (call.kind, locks_of(inode, call.flock, false)) else {
            return false;
        };
        let own = own(owner(call, &handle));
        let access = Access {
            own,
            kind,
            range: call.range,
        };
        if !locks.every_conflict(&access, &|lock| self.is_closing(lock)) {
            return false;
        }
        let may_be_kept = || rule(inode, call.flock).is_ok();
        let opened = inode.meta.lock().opened;
        // Where none is open they have gone just now; or the file is mapped, and that nobody closes.
        may_be_kept() || (opened.are_closing() && (opened.are_any_past_locks() || may_be_kept()))
    }

    /// The open files that keep locks on a file from being granted (semantics 5.6).
    fn unkept_because_of(&self, inode: &Inode) -> Vec<Arc<Handle>> {
        let marked_only = self.mandatory == Mandatory::Marked;
        self.tree.handles_of(inode.ino, |handle| {
            handle.mode.is_unseen() || (marked_only && handle.mode == Mode::Checked)
        })
    }

    /// Says why a lock was refused, where it was because it could not be kept.
    fn report_unkept(&self, call: &LockCall) {
        let Ok(handle) = self.tree.handle(call.fh) else { return };
        let inode = &handle.inode;
        if call.flock || may_lock(inode).is_ok() {
            return;
        }
        self.record_lock(call.caller, inode, Errno::EAGAIN, || {
            let old = self.unkept_because_of(inode);
            let holders = old
                .iter()
                .take(NAMED)
                .map(|old| match proc::process_of_thread(old.tid) {
                    Some((pid, comm)) => format!("process {pid} ({})", comm.escape_debug()),
                    None => "a process that has it from the one that opened it".to_owned(),
                });
            let holders: BTreeSet<String> = holders.collect();
            let holders = holders.into_iter().collect::<Vec<_>>().join(", ");
            match holders.is_empty() {
                true => "mapped since before it was marked".to_owned(),
                false => format!("open since before it was marked, by {holders}"),
            }
        });
    }
}

/// How many holders of old descriptors a message names.
const NAMED: usize = 8;

/// Whether a record lock can be kept (semantics 5.6). Errors: EAGAIN.
pub(super) fn may_lock(inode: &Inode) -> Result<(), Errno> {
    let may = inode.may_lock(&inode.meta.lock());
    match may && !inode.is_mapped_past_locks() {
        true => Ok(()),
        false => Err(Errno::EAGAIN),
    }
}

fn rule(inode: &Inode, flock: bool) -> Result<(), Errno> {
    if flock { Ok(()) } else { may_lock(inode) }
}

fn own(owner: Owner) -> Own {
    match owner {
        Owner::Process(process) => Own {
            process: Some(process),
            file: None,
        },
        Owner::OpenFile(file) => Own {
            process: None,
            file: Some(file),
        },
    }
}

/// The locks of one kind on an inode, made if need be.
fn locks_of(inode: &Inode, flock: bool, make: bool) -> Option<&Arc<FileLocks>> {
    let locks = if make {
        Some(inode.locks())
    } else {
        inode.locks_if_any()
    };
    locks.map(|locks| if flock { &locks.flocks } else { &locks.records })
}

/// Whose a lock is. What cannot be seen counts as a process: nearly all are.
fn owner(call: &LockCall, handle: &Handle) -> Owner {
    let (process, file) = (Owner::Process(call.owner), Owner::OpenFile(handle.fh));
    if call.flock || handle.itself.is(call.owner) {
        handle.itself.set(call.owner);
        return file;
    }
    if handle.processes.has(call.owner) {
        return process;
    }
    match proc::system_call(call.caller).and_then(purpose::lock_kind) {
        Some(LockKind::OpenFile) => {
            handle.itself.set(call.owner);
            file
        }
        Some(LockKind::Process) | None => {
            handle.processes.add(call.owner);
            process
        }
    }
}
