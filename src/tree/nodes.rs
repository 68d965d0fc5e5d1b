//! The node ids of one inode. Mostly it has one, its inode number; two kinds of inodes have more:
//!
//! - A symlink that leaves a sticky directory is found by a new node id from then on (`places.rs`).
//! - A marked file has one of its own for each look-up. The kernel makes an inode of each node id, and holds that inode's
//!   lock while a write to it waits; so a write that waits for a record lock keeps from the file only those who share its
//!   descriptor (semantics 5.9).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inode::{Inode, Meta};
use super::table::Tree;
use crate::types::{FileType, NodeId};

/// What is known of one of them.
#[derive(Debug)]
struct Other {
    /// The references that the kernel holds to it.
    held: u64,
    /// It was opened with passthrough.
    passthrough: bool,
}

/// The node ids besides the one that look-ups hand out, or besides the first. Nearly all inodes have none, so that takes a pointer.
#[allow(clippy::box_collection, reason = "a map is six times as large as a pointer")]
#[derive(Debug, Default)]
pub(super) struct OtherNodes(Option<Box<HashMap<NodeId, Other>>>);

impl OtherNodes {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |nodes| nodes.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.0.as_ref().is_some_and(|nodes| nodes.contains_key(&node))
    }

    /// The references to all of them.
    pub(super) fn held(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |nodes| nodes.values().map(|other| other.held).sum())
    }

    pub(super) fn insert(&mut self, node: NodeId, held: u64) {
        self.0.get_or_insert_default().insert(
            node,
            Other {
                held,
                passthrough: false,
            },
        );
    }

    /// The kernel gets a reference to one of them; to none, if it is not.
    pub(super) fn refer(&mut self, node: NodeId) {
        if let Some(other) = self.0.as_mut().and_then(|nodes| nodes.get_mut(&node)) {
            other.held += 1;
        }
    }

    /// One of them is opened with passthrough; none, if it is not.
    pub(super) fn note_passthrough(&mut self, node: NodeId) {
        if let Some(other) = self.0.as_mut().and_then(|nodes| nodes.get_mut(&node)) {
            other.passthrough = true;
        }
    }

    /// Whether one of them was ever opened with passthrough.
    pub(super) fn was_passthrough(&self, node: NodeId) -> bool {
        self.0
            .as_ref()
            .and_then(|nodes| nodes.get(&node))
            .is_some_and(|other| other.passthrough)
    }

    /// The kernel gives up references to one of them. Returns whether those were the last.
    pub(super) fn forget(&mut self, node: NodeId, count: u64) -> bool {
        let Some(nodes) = &mut self.0 else { return false };
        let Some(other) = nodes.get_mut(&node) else {
            return false;
        };
        other.held = other.held.saturating_sub(count);
        if other.held > 0 {
            return false;
        }
        nodes.remove(&node);
        if nodes.is_empty() {
            self.0 = None;
        }
        true
    }
}

impl Tree {
    /// Counts a reference of the kernel's, by the node id returned. Preconditions: see [`Inode::lookups`]; no attributes are locked
    /// by the caller.
    pub fn refer(&self, inode: &Arc<Inode>) -> NodeId {
        // What else has one node id for good is not locked.
        let may_have_more = matches!(inode.file_type, FileType::Regular | FileType::Symlink);
        let mut meta = may_have_more.then(|| inode.meta.lock());
        inode.lookups.fetch_add(1, Ordering::Relaxed);
        match &mut meta {
            Some(meta) if self.has_own_nodes(inode, meta) => {
                let node = NodeId(self.next_ino.fetch_add(1, Ordering::Relaxed));
                meta.others.insert(node, 1);
                self.inodes.insert(node, Arc::clone(inode));
                node
            }
            _ => inode.node(),
        }
    }

    /// Counts the first reference of the kernel's to a new inode, by its first node id.
    pub(super) fn refer_first(&self, inode: &Inode) {
        inode.lookups.fetch_add(1, Ordering::Relaxed);
    }

    /// As [`Tree::refer`], but not to what the kernel knows already, nor to what it must look up each time: `None` for that.
    pub fn refer_unknown(&self, inode: &Arc<Inode>) -> Option<NodeId> {
        let unknown = inode.lookups.load(Ordering::Relaxed) == 0 && !inode.counts_as_marked(&inode.meta.lock());
        unknown.then(|| self.refer(inode))
    }

    /// Whether each look-up of the file is to have a node of its own. Where contents go through the page cache of a node, not while
    /// somebody uses that: no lock is granted then (semantics 5.6), so no write waits, and he must see what others write.
    pub fn has_own_nodes(&self, inode: &Inode, meta: &Meta) -> bool {
        inode.counts_as_marked(meta) && (self.limits.has_store() || meta.opened.unseen == 0)
    }
}
