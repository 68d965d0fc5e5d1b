//! Names of files that were marked: what the kernel remembers of them is to expire, as each look-up of a marked file is to be
//! answered with a node of its own. A thread tells the kernel, since the kernel may wait for an answer of ours before it listens.

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
pub(super) struct Names {
    to: Option<Sender<NodeId>>,
    filesystem: Arc<Filesystem>,
}

impl Names {
    /// A thread that tells by this descriptor of the connection; `None` where nobody is there to be told.
    pub(super) fn start(
        device: Option<Arc<Device>>,
        filesystem: &Arc<Filesystem>,
        top: &Arc<Top>,
    ) -> io::Result<Names> {
        let to = match device {
            None => None,
            Some(device) => {
                let (sender, marked) = channel();
                let (filesystem, top) = (Arc::clone(filesystem), Arc::clone(top));
                thread::Builder::new()
                    .name("names".to_owned())
                    .spawn(move || run(&marked, &device, &filesystem, &top))?;
                Some(sender)
            }
        };
        Ok(Names {
            to,
            filesystem: Arc::clone(filesystem),
        })
    }

    /// Attributes were changed: should the file be marked by that, its names expire.
    pub(super) fn changed(&self, changed: &Changed) {
        let node = NodeId(changed.attr.ino.0);
        match &self.to {
            _ if !changed.names_expire => {}
            // Fails only where the thread is gone, and with it the conversation.
            Some(sender) => drop(sender.send(node)),
            None => self.filesystem.expire_names(node, |_, _| {}),
        }
    }
}

fn run(marked: &Receiver<NodeId>, device: &Device, filesystem: &Filesystem, top: &Top) {
    for node in marked {
        filesystem.expire_names(node, |directory, name| {
            // ENOENT where the kernel does not know the name.
            if let Err(error) = device.expire_entry(top.to_kernel(directory), name) {
                debug!("a name need not expire: {error}");
            }
        });
        // What it has of the file's pages is read past locks.
        if let Err(error) = device.drop_pages(node, 0, 0) {
            debug!("pages need not go: {error}");
        }
    }
}
