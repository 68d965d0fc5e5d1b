//! Reading and changing attributes. The kernel has checked that the caller may (`default_permissions`).

use std::sync::Arc;

use super::Filesystem;
use super::open::is_executed;
use super::transfer::{Deed, Done, Io, Step};
use super::wait::{Again, Outcome, Park};
use crate::lock::{Own, Stops};
use crate::policy::mandatory;
use crate::policy::set_id::{self, Keeps};
use crate::sys::proc::{self, Capability};
use crate::tree::{Charged, Inode, Meta};
use crate::types::attr::PERM_MASK;
use crate::types::{Attr, Caller, Errno, Fh, LockOwner, NodeId, Timestamp};

/// A time to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The time now.
    Now,
    /// The given time.
    At(Timestamp),
}

/// The changes of one SETATTR; `None` leaves what it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits.
    pub perm: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the contents.
    pub mtime: Option<SetTime>,
    /// Set-id bits end: somebody without CAP_FSETID truncates, or anybody changes the owner.
    pub drop_set_id: bool,
}

impl SetAttr {
    /// Whether nothing is asked for. The kernel sends that for chown(-1, -1), and before a write (or fallocate, or a copy)
    /// that ends set-id bits.
    fn is_empty(&self) -> bool {
        let SetAttr {
            perm,
            uid,
            gid,
            size,
            atime,
            mtime,
            ..
        } = self;
        perm.is_none() && uid.is_none() && gid.is_none() && size.is_none() && atime.is_none() && mtime.is_none()
    }
}

/// Who asks for a change of attributes, and by what.
#[derive(Clone, Copy, Debug)]
pub struct AttrCall {
    /// Who.
    pub caller: Caller,
    /// Of what.
    pub node: NodeId,
    /// The open file by which, if any.
    pub fh: Option<Fh>,
    /// Whose locks do not stop a change of the size.
    pub owner: Option<LockOwner>,
}

/// What a change of attributes has led to.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    /// The attributes now.
    pub attr: Attr,
    /// Whether the file was marked: what the kernel knows of its names should expire.
    pub names_expire: bool,
}

impl Changed {
    fn only(attr: Attr) -> Changed {
        Changed {
            attr,
            names_expire: false,
        }
    }
}

/// What a change of permission bits has done to the mark of a regular file. Both are looked at and changed with its contents locked,
/// so that the mark stays while bytes move.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// The file was marked, or is no longer.
    turned: bool,
    /// It was marked, and somebody is to be told that its names should expire.
    names_expire: bool,
}

impl Turn {
    pub(super) fn since(marked_before: bool, inode: &Inode, meta: &mut Meta) -> Turn {
        let marked = inode.counts_as_marked(meta);
        Turn {
            turned: marked != marked_before,
            names_expire: marked && !marked_before && meta.names.note_mark(),
        }
    }
}

impl Filesystem {
    /// The attributes of a node.
    pub fn getattr(&self, node: NodeId) -> Result<Attr, Errno> {
        Ok(self.tree.inode(node)?.attr())
    }

    /// Changes attributes, all or none. Errors: EISDIR and EINVAL for the size of what has none, EFBIG; EPERM for a chown
    /// that changes nothing but would end somebody else's set-id bits; EDQUOT where the new owner would have too much.
    /// ESTALE where the cleaner has just removed it. For a change of the size EAGAIN and EDEADLK by semantics 5.2 and 5.4, and ETXTBSY.
    pub fn setattr(&self, call: &AttrCall, change: &SetAttr, park: &mut dyn Park) -> Result<Outcome<Changed>, Errno> {
        let caller = call.caller;
        let inode = self.tree.inode(call.node)?;
        if change.is_empty() && !may_end_privileges(caller, &inode)? {
            return Ok(Outcome::Done(Changed::only(inode.attr())));
        }
        if change.size.is_some() {
            return self.set_size(call, &inode, change, park);
        }
        let keeps = self.keeps_on_change(&inode, caller, change);
        if self.must_let_transfers_go(&inode, change, park) {
            park.again(Again::SetAttr(*call, *change))?;
            return Ok(Outcome::Waiting);
        }
        let turn = match inode.content() {
            Err(_) => {
                // Only a change of the owner looks at more than the attributes.
                let mut charged = change.uid.map_or(Charged::Nothing, |_| inode.charged());
                let mut meta = inode.meta.lock();
                inode.check_not_aged()?;
                self.chown(&mut meta, &mut charged, change)?;
                change_meta(&inode, &mut meta, change, keeps, Timestamp::now());
                Turn::default()
            }
            Ok(content) => {
                let mut content = content.write();
                let mut meta = inode.meta.lock();
                inode.check_not_aged()?;
                let marked_before = inode.counts_as_marked(&meta);
                // What the kernel has done before must not count as done after.
                meta.absorb(content.look());
                self.chown(&mut meta, &mut Charged::Content(&mut content), change)?;
                change_meta(&inode, &mut meta, change, keeps, Timestamp::now());
                content.set_times(meta.atime, meta.mtime);
                self.tree.move_later(&inode, &content);
                Turn::since(marked_before, &inode, &mut meta)
            }
        };
        Ok(Outcome::Done(self.turned(&inode, turn)))
    }

    /// Whether a file is to be marked of which transfers were let go when its mark was cleared, and are not done yet (semantics 5.7).
    fn must_let_transfers_go(&self, inode: &Inode, change: &SetAttr, park: &dyn Park) -> bool {
        change.perm.is_some_and(mandatory::is_marked)
            && !inode.counts_as_marked(&inode.meta.lock())
            && !park.is_last()
            && inode
                .locks_if_any()
                .is_some_and(|locks| locks.records.is_anybody_admitted())
    }

    /// Sees to what follows where a file was marked, or is no longer. Preconditions: nothing is locked by the caller.
    pub(super) fn turned(&self, inode: &Inode, turn: Turn) -> Changed {
        if turn.turned
            && let Some(locks) = inode.locks_if_any()
        {
            // Transfers that were judged by the old mark are over when this is, and who waits is judged anew (semantics 5.7).
            locks.records.release_accesses(&self.waits).run();
        }
        Changed {
            attr: inode.attr(),
            names_expire: turn.names_expire,
        }
    }

    fn set_size(
        &self,
        call: &AttrCall,
        inode: &Arc<Inode>,
        change: &SetAttr,
        park: &mut dyn Park,
    ) -> Result<Outcome<Changed>, Errno> {
        let handle = call.fh.and_then(|fh| self.used_handle(fh).ok());
        inode.content()?;
        if handle.is_none() {
            // Of truncate(2); who has it open to write has been asked then.
            self.once_closed(|| match is_executed(inode, &inode.meta.lock()) {
                true => Err(Errno::ETXTBSY),
                false => Ok(()),
            })?;
        }
        let deed: Deed<&[u8]> = Deed::SetAttr(*change);
        let io = Io {
            caller: call.caller,
            node: call.node,
            inode: Arc::clone(inode),
            own: Own {
                process: call.owner,
                file: call.fh,
            },
            handle,
            flags: None,
            deed,
        };
        match self.transfer(&io, park, &mut [])? {
            Outcome::Done(Done::Attr(changed)) => Ok(Outcome::Done(changed)),
            Outcome::Done(_) => Err(Errno::EIO),
            Outcome::Waiting => Ok(Outcome::Waiting),
        }
    }

    /// The change of a size, with what else is asked for, that obeys locks.
    pub(super) fn act_on_size<D: AsRef<[u8]>>(
        &self,
        io: &Io<D>,
        change: &SetAttr,
        check: Stops<'_>,
    ) -> Result<Step, Errno> {
        let inode = &io.inode;
        let size = change.size.ok_or(Errno::EINVAL)?;
        let keeps = self.keeps_on_change(inode, io.caller, change);
        {
            let mut content = inode.content()?.write();
            inode.check_not_aged()?;
            if let Some(access) = io.blocked(&content, check) {
                return Ok(Step::Blocked(access));
            }
            // Also where it is the size already: the times are marked, and pages beyond the end are given back.
            content.set_size(size)?;
            let now = Timestamp::now();
            let mut meta = inode.meta.lock();
            meta.note_change(&mut content, now);
            // The kernel never asks for both in one.
            self.chown(&mut meta, &mut Charged::Content(&mut content), change)?;
            change_meta(inode, &mut meta, change, keeps, now);
            if change.atime.is_some() || change.mtime.is_some() {
                content.set_times(meta.atime, meta.mtime);
            }
        }
        Ok(Step::Done(Done::Attr(Changed::only(inode.attr()))))
    }

    /// What a change leaves of set-id bits, should it end any.
    fn keeps_on_change(&self, inode: &Inode, caller: Caller, change: &SetAttr) -> Keeps {
        if !ends_privileges(inode, change) || !set_id::at_stake(inode.meta.lock().perm) {
            return Keeps::All;
        }
        let capable = change.is_empty() && only_capabilities_end(caller);
        self.keeps(inode, caller, Some(capable))
    }

    fn chown(&self, meta: &mut Meta, charged: &mut Charged<'_>, change: &SetAttr) -> Result<(), Errno> {
        match change.uid {
            Some(uid) if uid != meta.uid => self.tree.chown(meta, charged, uid),
            _ => Ok(()),
        }
    }
}

/// Whether a request that asks for nothing ends set-id bits. Before a write it must: the write says so again, but the
/// kernel learns the mode from the answer to this request only, and would run what a stranger has written with the owner's
/// identity. For a chown nobody has checked that the caller may; a stranger's is EPERM on tmpfs where there are set-id bits.
fn may_end_privileges(caller: Caller, inode: &Inode) -> Result<bool, Errno> {
    let (owner, perm) = {
        let meta = inode.meta.lock();
        (meta.uid, meta.perm)
    };
    if inode.is_directory() || !set_id::at_stake(perm) || caller.uid == owner {
        return Ok(true);
    }
    if proc::is_chown(caller) && !proc::has_capability(caller, Capability::Fowner) {
        return Err(Errno::EPERM);
    }
    Ok(true)
}

/// Whether a request that asks for nothing comes before a write of somebody who holds CAP_FSETID: the kernel sends it because of
/// file capabilities, which it has removed then, and he keeps the set-id bits. A chown ends both.
fn only_capabilities_end(caller: Caller) -> bool {
    !proc::is_chown(caller) && proc::has_capability(caller, Capability::Fsetid)
}

fn ends_privileges(inode: &Inode, change: &SetAttr) -> bool {
    (change.drop_set_id || change.is_empty()) && !inode.is_directory()
}

/// All but the owner.
fn change_meta(inode: &Inode, meta: &mut Meta, change: &SetAttr, keeps: Keeps, now: Timestamp) {
    meta.gid = change.gid.unwrap_or(meta.gid);
    if let Some(perm) = change.perm {
        meta.chmod(perm & PERM_MASK);
    }
    if ends_privileges(inode, change) {
        meta.drop_privileges(keeps);
    }
    let at = |time: SetTime| match time {
        SetTime::Now => now,
        SetTime::At(time) => time,
    };
    meta.atime = change.atime.map_or(meta.atime, at);
    meta.mtime = change.mtime.map_or(meta.mtime, at);
    meta.ctime = now;
}
