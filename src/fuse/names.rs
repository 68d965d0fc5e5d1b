//! What the kernel is to forget. Names of files that were marked are to expire, as each look-up of a marked file is to be answered with a
//! node of its own; and pages are to go that it has read in passing. A thread tells it, since the kernel may wait for an
//! answer of ours before it listens.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use log::debug;

use super::device::Device;
use super::top::Top;
use crate::ops::Filesystem;
use crate::ops::attr::Changed;
use crate::types::NodeId;

/// The thread; it ends with the last of these.
#[derive(Clone, Debug)]
pub(super) struct Names(Option<Sender<Forget>>);

/// What the kernel is told to forget.
enum Forget {
    /// The names of a file, and what it has of its pages.
    Names(NodeId),
    /// So many bytes at an offset of a node.
    Pages(NodeId, u64, usize),
}

impl Names {
    /// A thread that tells by this descriptor of the connection; `None` where nobody is there to be told.
    pub(super) fn start(device: Option<Device>, filesystem: &Arc<Filesystem>, top: &Arc<Top>) -> io::Result<Names> {
        let Some(device) = device else {
            return Ok(Names(None));
        };
        let (sender, marked) = channel();
        let (filesystem, top) = (Arc::clone(filesystem), Arc::clone(top));
        thread::Builder::new()
            .name("names".to_owned())
            .spawn(move || run(&marked, &device, &filesystem, &top))?;
        Ok(Names(Some(sender)))
    }

    /// Attributes were changed: should the file be marked by that, its names expire.
    pub(super) fn changed(&self, changed: &Changed) {
        if let (true, Some(sender)) = (changed.newly_marked, &self.0) {
            // Fails only where the thread is gone, and with it the conversation.
            let _ = sender.send(Forget::Names(NodeId(changed.attr.ino.0)));
        }
    }

    /// Pages were read that are not to stay in the kernel's cache.
    pub(super) fn pages_pass(&self, node: NodeId, offset: u64, size: usize) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(Forget::Pages(node, offset, size));
        }
    }
}

fn run(forgotten: &Receiver<Forget>, device: &Device, filesystem: &Filesystem, top: &Top) {
    for it in forgotten {
        let (node, offset, size) = match it {
            Forget::Pages(node, offset, size) => (node, offset, size),
            Forget::Names(node) => {
                for (directory, name) in filesystem.names_of(node) {
                    // ENOENT where the kernel does not know the name.
                    if let Err(error) = device.expire_entry(top.to_kernel(directory), &name) {
                        debug!("a name need not expire: {error}");
                    }
                }
                (node, 0, 0)
            }
        };
        if let Err(error) = device.drop_pages(top.to_kernel(node), offset, size) {
            debug!("pages need not go: {error}");
        }
    }
}
