//! What the cleaner asks for (`max_age=`): a name taken away if nobody has touched or uses what it names. It decides nothing
//! itself, and no request comes here.

use std::sync::Arc;

use super::Filesystem;
use crate::events::{Actor, Event, Object, Rule};
use crate::policy::ageing::Spared;
use crate::tree::{Aged, FIRST_COOKIE, Gone, Inode, Stage};
use crate::types::{Cookie, Ino, Name, NodeId, Timestamp};

/// A name that went, as the kernel is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Removed<'a> {
    /// The directory.
    pub directory: NodeId,
    /// The directory's owner.
    pub owner: u32,
    /// The name in it.
    pub name: &'a [u8],
    /// What it named.
    pub node: NodeId,
    /// Whether that has no other name.
    pub last: bool,
}

/// The kernel, which does not know what it has not asked for.
pub trait Kernel: Send + Sync {
    /// Tells it that a name is gone: it may know so somewhat later. Preconditions: nothing is locked by the caller.
    fn removed(&self, removed: &Removed<'_>);

    /// Asks it to give a node up if nobody uses that. It may do so soon, or never.
    fn let_go(&self, node: NodeId);
}

/// An entry of a directory, as the cleaner finds it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its place in the directory.
    pub cookie: Cookie,
    /// Its name.
    pub name: Box<[u8]>,
    /// What it names.
    pub child: Arc<Inode>,
}

impl Filesystem {
    /// The root directory.
    pub fn root(&self) -> Option<Arc<Inode>> {
        self.tree.root()
    }

    /// What is made from now on has this number or a greater one.
    pub fn next_ino(&self) -> Ino {
        self.tree.next_ino()
    }

    /// The places of the entries that a directory has now: the first of them, and the one behind them.
    pub fn extent(&self, directory: &Inode) -> (Cookie, Cookie) {
        let end = directory.entries().map(|entries| entries.read().next_cookie());
        (FIRST_COOKIE, end.unwrap_or(FIRST_COOKIE))
    }

    /// Some entries of a directory, in the order of their places.
    pub fn entries_between(&self, directory: &Inode, extent: (Cookie, Cookie), most: usize) -> Vec<Found> {
        let entries = self.tree.entries_between(directory, extent, most).into_iter();
        entries
            .map(|(cookie, name, child)| Found { cookie, name, child })
            .collect()
    }

    /// What a path that begins at a directory leads to, symlinks not followed.
    pub fn find(&self, from: Ino, path: &[u8]) -> Option<Ino> {
        let mut at = self.tree.inode(NodeId(from.0)).ok()?;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let next = Arc::clone(at.entries().ok()?.read().get(Name::new(name).ok()?)?);
            at = next;
        }
        Some(at.ino)
    }

    /// Takes a name away, if what it names may go by `policy::ageing` and is still the same; with [`Stage::Look`] nothing happens.
    /// That it is gone is an event, and is to be told to the kernel. `path` is where it was found, `now` when.
    pub fn remove_aged(&self, aged: &Aged<'_>, stage: Stage, path: &[u8], now: Timestamp) -> Result<Gone, Spared> {
        let gone = self.tree.remove_aged(aged, stage)?;
        if stage == Stage::Remove {
            self.events.record_removal(Event {
                time: Timestamp::recent(),
                rule: Rule::MaxAge,
                actor: Actor::daemon(),
                object: Object {
                    path: Some(path.to_vec()),
                    file_type: aged.child.file_type,
                    ino: aged.child.ino,
                    owner: gone.owner,
                },
                errno: None,
                why: Some(format!(
                    "not touched for {} s",
                    now.secs.saturating_sub(gone.touched.secs)
                )),
            });
        }
        Ok(gone)
    }
}
