//! Files that nobody has open, and whose backing files are kept open all the same: they are often wanted again soon. The first
//! that were closed are put away when there are too many.

use std::collections::VecDeque;
use std::sync::Arc;

use super::inode::{Body, Inode};
use super::table::Tree;
use crate::sync::{Mutex, STORE};
use crate::sys::limits;
use crate::types::NodeId;

/// How many are kept at hand, where there are descriptors enough.
const MOST: usize = 4096;

/// The part of all descriptors that they may take.
const SHARE: usize = 4;

/// The files in the order in which they were closed first, each once: who opens and closes one file over and over does not
/// drive out all others, nor that one.
#[derive(Debug)]
pub(super) struct Warm {
    queue: Mutex<STORE, VecDeque<NodeId>>,
    most: usize,
}

impl Default for Warm {
    fn default() -> Warm {
        Warm {
            queue: Mutex::new(VecDeque::new()),
            most: MOST.min(limits::open_files() / SHARE),
        }
    }
}

impl Warm {
    /// Adds a file. Returns the one whose turn it is to be put away.
    fn push(&self, node: NodeId) -> Option<NodeId> {
        let mut queue = self.queue.lock();
        queue.push_back(node);
        match queue.len() > self.most {
            true => queue.pop_front(),
            false => None,
        }
    }

    fn pop(&self) -> Option<NodeId> {
        self.queue.lock().pop_front()
    }
}

impl Tree {
    /// Nobody has the file open any more: it is kept at hand for a while. Preconditions: the caller holds no lock.
    pub fn keep_warm(&self, inode: &Arc<Inode>) {
        if let Some(cold) = self.warm.push(inode.node()) {
            self.put_away(cold);
        }
    }

    /// Descriptors have run out: puts away all that nobody has open. Returns whether there was anything. Preconditions: as
    /// [`Tree::keep_warm`].
    pub fn cool_down(&self) -> bool {
        let mut any = false;
        while let Some(cold) = self.warm.pop() {
            self.put_away(cold);
            any = true;
        }
        any
    }

    fn put_away(&self, cold: NodeId) {
        if let Ok(cold) = self.inode(cold)
            && let Body::Regular(content) = &cold.body
        {
            let mut content = content.write();
            let changes = content.put_away();
            cold.meta.lock().absorb(changes);
        }
    }
}
