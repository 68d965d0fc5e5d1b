//! Walks over all there is, for people. Nothing is locked but a part of a table at a time, and what is found is looked at afterwards.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inode::Inode;
use super::table::Tree;
use crate::types::Ino;

impl Inode {
    /// How many open files there are of it.
    pub fn open_count(&self) -> u32 {
        self.opens.load(Ordering::Relaxed)
    }
}

impl Tree {
    /// All inodes, unlinked ones in use included.
    pub fn everything(&self) -> Vec<Arc<Inode>> {
        // One with further nodes stands here once for each.
        let itself = self.inodes.iter().filter(|entry| *entry.key() == entry.node());
        itself.map(|entry| Arc::clone(&entry)).collect()
    }

    /// How many open files there are.
    pub fn open_files(&self) -> usize {
        self.handles.open.len()
    }

    /// The open inodes on which somebody has ever asked for a lock. Whoever holds one or waits for one has the inode open.
    pub fn lockable(&self) -> Vec<Arc<Inode>> {
        let mut seen = HashSet::new();
        let open = self.handles.open.iter();
        open.filter(|handle| handle.inode.locks_if_any().is_some() && seen.insert(handle.inode.ino))
            .map(|handle| Arc::clone(&handle.inode))
            .collect()
    }

    /// The threads that opened each of these inodes, up to `most` of each.
    pub fn openers(&self, of: &HashSet<Ino>, most: usize) -> HashMap<Ino, Vec<u32>> {
        let mut openers: HashMap<Ino, Vec<u32>> = HashMap::new();
        if of.is_empty() {
            return openers;
        }
        for handle in &self.handles.open {
            if handle.tid == 0 || !of.contains(&handle.inode.ino) {
                continue;
            }
            let known = openers.entry(handle.inode.ino).or_default();
            if known.len() < most && !known.contains(&handle.tid) {
                known.push(handle.tid);
            }
        }
        openers
    }
}
