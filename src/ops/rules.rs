//! The rules for sticky directories at work: gathers the facts, asks `policy`, records what is forbidden (semantics 3).
//! Facts about the caller are looked up only where they decide, and with nothing locked.

use super::Filesystem;
use super::looks::Outcome;
use crate::events::{Actor, Event, Object, Rule};
use crate::policy::hard_link::{self, Link};
use crate::policy::purpose::{self, Purpose};
use crate::policy::squatting::{self, Open};
use crate::policy::symlink::{self, Follow};
use crate::policy::verdict::Verdict;
use crate::sys::proc::{self, Capability, KernelStack};
use crate::sys::remote;
use crate::tree::{Inode, Meta, Places};
use crate::types::{Caller, Enforcement, Errno, FileType, NodeId, OpenFlags, Timestamp};

/// What of an inode the rules go by, as it is at one moment.
struct Standing {
    owner: u32,
    places: Places,
    departures: u64,
    /// The caller has it by a node id that it had before it left a sticky directory.
    formerly: bool,
}

impl Standing {
    /// `None` where nothing can be forbidden.
    fn at_stake(enforcement: Enforcement, caller: Caller, inode: &Inode, node: NodeId) -> Option<Standing> {
        match enforcement {
            Enforcement::Off => None,
            _ => Standing::for_others(caller, inode, node),
        }
    }

    /// `None` where the inode is the caller's own: then nothing is forbidden.
    fn for_others(caller: Caller, inode: &Inode, node: NodeId) -> Option<Standing> {
        let meta = inode.meta.lock();
        (meta.uid != caller.uid).then(|| Standing::of(&meta, node))
    }

    fn of(meta: &Meta, node: NodeId) -> Standing {
        Standing {
            owner: meta.uid,
            places: meta.places.clone(),
            departures: meta.departures,
            formerly: meta.is_former(node),
        }
    }

    /// Whether it has a name that the caller may have come by.
    fn has_names(&self) -> bool {
        matches!(self.places, Places::One(_) | Places::Several(_))
    }
}

impl Filesystem {
    /// Whether the caller may have the path of a symlink (semantics 3.2). Errors: EACCES; ESTALE where the symlink has left
    /// the sticky directory by which the caller may have found it: the kernel looks the path up again.
    pub(super) fn may_follow(&self, caller: Caller, node: NodeId, inode: &Inode) -> Result<(), Errno> {
        let enforcement = self.rules.symlinks;
        let Some(standing) = Standing::at_stake(enforcement, caller, inode, node) else {
            return Ok(());
        };
        let owner = standing.owner;
        let is_there = self
            .tree
            .any_home(&standing.places, |home| home.is_sticky_of_another(owner));
        let follow = Follow {
            enforcement,
            owner,
            fsuid: caller.uid,
            in_sticky_of_another: is_there || standing.formerly,
        };
        let verdict = symlink::judge(follow, || reads_a_link(caller));
        let verdict = unless_for_owner(verdict, caller, owner);
        if !is_there && standing.has_names() {
            return match verdict {
                Verdict::Refuse(_) => Err(Errno::ESTALE),
                _ => Ok(()),
            };
        }
        self.carry_out(Rule::Symlinks, verdict, caller, inode, &standing)
    }

    /// Whether the caller may give an inode one more name (semantics 3.3): the owner for which that holds, which must still
    /// be the owner when the name is made. Errors: EPERM.
    pub(super) fn may_link(&self, caller: Caller, node: NodeId, inode: &Inode) -> Result<u32, Errno> {
        let Some(standing) = Standing::for_others(caller, inode, node) else {
            return Ok(caller.uid);
        };
        let link = Link {
            enforcement: self.rules.hardlinks,
            owner: standing.owner,
            fsuid: caller.uid,
        };
        let has_fowner = || proc::has_capability(caller, Capability::Fowner);
        let verdict = hard_link::judge(link, || real_uid(caller), has_fowner);
        self.carry_out(Rule::Hardlinks, verdict, caller, inode, &standing)?;
        Ok(standing.owner)
    }

    /// Whether the caller may open an existing file (semantics 3.4). Errors: EACCES; ESTALE where the file has left the
    /// sticky directory by which the caller may have found it: the kernel looks the path up again.
    pub(super) fn may_open(&self, caller: Caller, node: NodeId, inode: &Inode, flags: OpenFlags) -> Result<(), Errno> {
        let enforcement = self.rules.squatting;
        let Some(standing) = Standing::at_stake(enforcement, caller, inode, node) else {
            return Ok(());
        };
        let owner = standing.owner;
        let is_there = self
            .tree
            .any_home(&standing.places, |home| home.is_shared_of_another(owner));
        let open = Open {
            enforcement,
            owner,
            fsuid: caller.uid,
            in_shared_of_another: is_there || standing.departures > 0,
        };
        let verdict = squatting::judge(open, || match purpose_of(caller) {
            Purpose::Open(flags) => flags.creates_or_takes(),
            _ => flags.writes(),
        });
        let verdict = unless_for_owner(verdict, caller, owner);
        if !is_there && standing.has_names() {
            match verdict {
                Verdict::Refuse(_) => {}
                _ => return Ok(()),
            }
            match self.looks.take(caller, inode.ino, standing.departures) {
                Outcome::FoundHere => return Ok(()),
                Outcome::LookAgain => return Err(Errno::ESTALE),
                Outcome::Departed => {}
            }
        }
        self.carry_out(Rule::Squatting, verdict, caller, inode, &standing)
    }

    /// Whether the caller may find a FIFO in a directory (semantics 3.4). The kernel opens FIFOs without asking, but looks
    /// them up each time ([`super::Entry::lasting`]). Errors: EACCES.
    pub(super) fn may_find(&self, caller: Caller, directory: &Inode, inode: &Inode) -> Result<(), Errno> {
        if inode.file_type != FileType::Fifo {
            return Ok(());
        }
        let enforcement = self.rules.squatting;
        let Some(standing) = Standing::at_stake(enforcement, caller, inode, inode.node()) else {
            return Ok(());
        };
        let open = Open {
            enforcement,
            owner: standing.owner,
            fsuid: caller.uid,
            in_shared_of_another: directory.meta.lock().home().is_shared_of_another(standing.owner),
        };
        let verdict = squatting::judge(open, || match purpose_of(caller) {
            Purpose::Open(flags) => flags.creates_or_takes(),
            Purpose::ReadLink | Purpose::Other => false,
            Purpose::OpenHow(_) | Purpose::Unseen => true,
        });
        let verdict = unless_for_owner(verdict, caller, standing.owner);
        self.carry_out(Rule::Squatting, verdict, caller, inode, &standing)
    }

    fn carry_out(
        &self,
        rule: Rule,
        verdict: Verdict,
        caller: Caller,
        inode: &Inode,
        standing: &Standing,
    ) -> Result<(), Errno> {
        let errno = match verdict {
            Verdict::Allow => return Ok(()),
            Verdict::Note => None,
            Verdict::Refuse(errno) => Some(errno),
        };
        self.record(rule, caller, inode, standing, errno, || None);
        errno.map_or(Ok(()), Err)
    }

    /// Records that locks had a request refused, and why. Preconditions: nothing is locked by the caller.
    pub(super) fn record_lock(&self, caller: Caller, inode: &Inode, errno: Errno, why: impl FnOnce() -> String) {
        let standing = Standing::of(&inode.meta.lock(), NodeId(inode.ino.0));
        self.record(Rule::Mandatory, caller, inode, &standing, Some(errno), || Some(why()));
    }

    fn record(
        &self,
        rule: Rule,
        caller: Caller,
        inode: &Inode,
        standing: &Standing,
        errno: Option<Errno>,
        why: impl FnOnce() -> Option<String>,
    ) {
        self.events.record(rule, caller.uid, || {
            let (pid, comm) = proc::process(caller);
            Event {
                time: Timestamp::now(),
                rule,
                actor: Actor {
                    uid: caller.uid,
                    pid,
                    comm,
                },
                object: Object {
                    path: self.tree.path_of(inode, &standing.places),
                    file_type: inode.file_type,
                    ino: inode.ino,
                    owner: standing.owner,
                },
                errno,
                why: why(),
            }
        });
    }
}

/// Whether an inode still belongs to him for whom the rule was judged. Errors: ESTALE, and the kernel begins anew.
pub(super) fn still_owned_by(owner: u32) -> impl Fn(&Meta) -> Result<(), Errno> {
    move |meta| match meta.uid == owner {
        true => Ok(()),
        false => Err(Errno::ESTALE),
    }
}

/// The real uid of whoever makes a link. What an overlayfs copies up for somebody it links as root.
fn real_uid(caller: Caller) -> Option<u32> {
    match proc::represented(caller) {
        Some(_) if proc::system_call(caller).is_some_and(purpose::is_copy_up) => Some(caller.uid),
        Some(fsuid) => Some(fsuid),
        None => proc::real_uid(caller),
    }
}

/// Allows what is done for the owner himself, by an overlayfs on top of us.
fn unless_for_owner(verdict: Verdict, caller: Caller, owner: u32) -> Verdict {
    match verdict {
        Verdict::Allow => Verdict::Allow,
        _ if proc::represented(caller) == Some(owner) => Verdict::Allow,
        forbidden => forbidden,
    }
}

/// What the caller wants, openat2(2) read to the end.
fn purpose_of(caller: Caller) -> Purpose {
    let purpose = proc::system_call(caller).map_or(Purpose::Unseen, purpose::of);
    let Purpose::OpenHow(address) = purpose else {
        return purpose;
    };
    let mut flags = [0; 8];
    match remote::read_memory(caller, address, &mut flags) == flags.len() {
        true => Purpose::Open(purpose::open_flags(u64::from_ne_bytes(flags))),
        false => Purpose::Unseen,
    }
}

/// Whether the caller provably reads a symlink by readlink(2) and does not follow it on the way to another. The kernel's own
/// stack tells the two apart; where it is not shown, a path of one component that is read is proof as well.
fn reads_a_link(caller: Caller) -> bool {
    let Some(call) = proc::system_call(caller) else {
        return false;
    };
    purpose::of(call) == Purpose::ReadLink
        && (KernelStack::of(caller).is_some_and(|stack| stack.has("vfs_readlink"))
            || has_one_component(caller, purpose::path_argument(call)))
}

fn has_one_component(caller: Caller, path: u64) -> bool {
    let mut bytes = [0; remote::MOST];
    let read = remote::read_memory(caller, path, &mut bytes);
    let end = bytes[..read].iter().position(|byte| *byte == 0);
    end.is_some_and(|end| !bytes[..end].contains(&b'/'))
}
