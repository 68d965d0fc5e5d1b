//! Pages that the kernel has read in passing, for splice(2) and its like, and is to drop from its cache: the next time it would take
//! them from there, past every lock, and old. The kernel waits for those that are being read before it listens, and such a read may
//! wait for a lock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use log::debug;

use super::device::Device;
use super::telling::{Job, Telling};
use crate::sync::{Mutex, PASSING};
use crate::tree::Passing;
use crate::types::NodeId;

/// By what it is told; `None` where nobody is there to be told.
#[derive(Clone)]
pub(super) struct Pages(Option<Arc<Ways>>);

struct Ways {
    device: Arc<Device>,
    telling: Telling,
    /// What no thread is at yet: of each node one piece.
    waiting: Mutex<PASSING, HashMap<NodeId, Passing>>,
}

impl Pages {
    /// Has the kernel told by this descriptor of the connection.
    pub(super) fn new(device: Option<Arc<Device>>, telling: &Telling) -> Pages {
        Pages(device.map(|device| {
            Arc::new(Ways {
                device,
                telling: telling.clone(),
                waiting: Mutex::default(),
            })
        }))
    }

    /// The kernel was given pages; if they are passing, it is to drop them.
    pub(super) fn pass(&self, passing: Option<Passing>) {
        let (Some(passing), Some(ways)) = (passing, &self.0) else {
            return;
        };
        let (node, owner) = (passing.node, passing.owner());
        match ways.waiting.lock().entry(node) {
            Entry::Occupied(mut waiting) => return waiting.get_mut().join(&passing),
            Entry::Vacant(none) => none.insert(passing),
        };
        let ways_there = Arc::clone(ways);
        let job = Job::new(move || {
            ways_there.drop_pages(node);
            None
        });
        ways.telling.add(node, owner, job);
    }
}

impl Ways {
    fn drop_pages(&self, node: NodeId) {
        let Some(pages) = self.waiting.lock().remove(&node) else {
            return;
        };
        if let Err(error) = self.device.drop_pages(pages.node, pages.offset, pages.size) {
            debug!("pages need not go: {error}");
        }
    }
}
