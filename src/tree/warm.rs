//! Files that nobody has open, and whose backing files are kept open all the same: they are often wanted again soon. The first
//! that were closed are put away when there are too many.

use std::collections::VecDeque;
use std::sync::Arc;

use super::inode::{Body, Inode};
use super::table::Tree;
use crate::sync::{Mutex, PARKED};
use crate::types::NodeId;

/// How many are kept at hand. Each takes a descriptor, of which there are some thousands at least.
const MOST: usize = 4096;

/// The files in the order in which they were closed; one that was closed twice is here twice.
#[derive(Debug)]
pub(super) struct Warm(Mutex<PARKED, VecDeque<NodeId>>);

impl Default for Warm {
    fn default() -> Warm {
        Warm(Mutex::new(VecDeque::new()))
    }
}

impl Warm {
    /// Adds a file. Returns the one whose turn it is to be put away.
    fn push(&self, node: NodeId) -> Option<NodeId> {
        let mut queue = self.0.lock();
        queue.push_back(node);
        match queue.len() > MOST {
            true => queue.pop_front(),
            false => None,
        }
    }
}

impl Tree {
    /// Nobody has the file open any more: it is kept at hand for a while. Preconditions: the caller holds no lock.
    pub fn keep_warm(&self, inode: &Arc<Inode>) {
        let Some(cold) = self.warm.push(inode.node()) else {
            return;
        };
        if let Ok(cold) = self.inode(cold)
            && let Body::Regular(content) = &cold.body
        {
            content.write().put_away();
        }
    }
}
