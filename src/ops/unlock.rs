//! Locks broken on request: a person has decided that whoever holds them is not to hold up others any longer. The holder is not
//! told; it goes on as one who has lost his locks by closing a descriptor.

use super::Filesystem;
use super::lock::may_lock;
use super::report::Whose;
use crate::events::{Actor, Event, Object, Rule};
use crate::lock::{Broken, Kind, Owner, Range};
use crate::tree::Inode;
use crate::types::{Errno, Ino, NodeId, Timestamp};

/// How many of the broken locks are told one by one.
const TOLD: usize = 100;

/// What is to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unlock {
    /// The file.
    pub ino: Ino,
    /// Whose locks may be broken.
    pub whose: Whose,
    /// Of which process; any where there is none.
    pub pid: Option<u32>,
    /// The bytes. Locks of flock(2) have all of them, and are broken where these are all.
    pub range: Range,
}

/// Locks that were broken, and whether they are of flock(2).
#[derive(Debug, Default)]
pub struct Unlocked {
    /// Record locks.
    pub records: Broken,
    /// Locks of flock(2).
    pub flocks: Broken,
}

impl Unlocked {
    /// How many there were.
    pub fn count(&self) -> usize {
        self.records.count + self.flocks.count
    }

    /// In words.
    fn described(&self) -> String {
        let first = self.records.first.iter().chain(&self.flocks.first).next();
        let first = first.map_or(String::new(), |held| {
            let kind = match held.lock.kind {
                Kind::Read => "read",
                Kind::Write => "write",
            };
            let owner = match held.lock.owner {
                Owner::Process(_) => "process",
                Owner::OpenFile(_) => "an open file of process",
            };
            let end = match held.lock.range.end() {
                Range::END => "the end".to_owned(),
                end => (end - 1).to_string(),
            };
            let start = held.lock.range.start();
            format!("{kind} {start} to {end} of {owner} {}, uid {}", held.lock.pid, held.uid)
        });
        match self.count() {
            1 => first,
            count => format!("{count} locks, first {first}"),
        }
    }
}

impl Filesystem {
    /// Breaks locks, lets go on who waited for them, and records it as done by `who`.
    ///
    /// Errors: ESTALE where there is no such file. What could not be broken is told in the result.
    pub fn unlock(&self, unlock: &Unlock, who: &Actor) -> Result<Unlocked, Errno> {
        let inode = self.tree.inode(NodeId(unlock.ino.0))?;
        let mut unlocked = Unlocked::default();
        let Some(locks) = inode.locks_if_any() else {
            return Ok(unlocked);
        };
        let test = |pid, uid| unlock.whose.includes(uid) && unlock.pid.is_none_or(|wanted| wanted == pid);
        let may_grant = || may_lock(&inode);
        unlocked.records = locks
            .records
            .break_locks(&self.waits, &test, unlock.range, &may_grant, TOLD);
        if unlock.range == Range::ALL {
            unlocked.flocks = locks
                .flocks
                .break_locks(&self.waits, &test, Range::ALL, &|| Ok(()), TOLD);
        }
        if unlocked.count() > 0 {
            self.record_unlock(&inode, who, &unlocked);
        }
        Ok(unlocked)
    }

    fn record_unlock(&self, inode: &Inode, who: &Actor, unlocked: &Unlocked) {
        self.events.record(Rule::Unlock, who.uid, || {
            let (places, owner) = {
                let meta = inode.meta.lock();
                (meta.places.clone(), meta.uid)
            };
            Event {
                time: Timestamp::now(),
                rule: Rule::Unlock,
                actor: who.clone(),
                object: Object {
                    path: self.tree.path_of(inode, &places),
                    file_type: inode.file_type,
                    ino: inode.ino,
                    owner,
                },
                errno: None,
                why: Some(unlocked.described()),
            }
        });
    }
}
