//! Names of files that were marked: what the kernel remembers of them is to expire, as each look-up of a marked file is to be
//! answered with a node of its own. A thread tells the kernel, since the kernel may wait for an answer of ours before it listens.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use log::debug;

use super::device::Device;
use super::top::Top;
use crate::ops::Filesystem;
use crate::ops::attr::Changed;
use crate::types::NodeId;

/// How long somebody may take from finding a name, which expires just then, until we have his request.
const ON_THE_WAY: Duration = Duration::from_secs(1);

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
            None => {
                self.filesystem.expire_names(node, |_, _| {});
                self.filesystem.names_expired(node);
            }
        }
    }
}

fn run(marked: &Receiver<NodeId>, device: &Device, filesystem: &Filesystem, top: &Top) {
    let mut late = VecDeque::new();
    loop {
        match next(marked, late.front()) {
            Ok(node) => {
                expire(node, device, filesystem, top);
                late.push_back((Instant::now() + ON_THE_WAY, node));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some((until, node)) = late.front()
            && *until <= Instant::now()
        {
            filesystem.names_expired(*node);
            late.pop_front();
        }
    }
}

/// Waits for a mark, but no longer than for the first who may be late.
fn next(marked: &Receiver<NodeId>, late: Option<&(Instant, NodeId)>) -> Result<NodeId, RecvTimeoutError> {
    match late {
        Some((until, _)) => marked.recv_timeout(until.saturating_duration_since(Instant::now())),
        None => marked.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

fn expire(node: NodeId, device: &Device, filesystem: &Filesystem, top: &Top) {
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
