//! Pages that the kernel has read in passing, for splice(2) and its like, and is to drop from its cache: the next time it would take
//! them from there, past every lock, and old. A thread tells it, as the kernel waits for those that are being read before it
//! listens, and such a read may wait for a lock.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use log::debug;

use super::device::Device;
use crate::tree::Passing;

/// The thread; it ends with the last of these.
#[derive(Clone)]
pub(super) struct Pages(Option<Sender<Passing>>);

impl Pages {
    /// A thread that tells by this descriptor of the connection; `None` where nobody is there to be told.
    pub(super) fn start(device: Option<Arc<Device>>) -> io::Result<Pages> {
        let Some(device) = device else {
            return Ok(Pages(None));
        };
        let (sender, passing) = channel();
        thread::Builder::new()
            .name("pages".to_owned())
            .spawn(move || run(&passing, &device))?;
        Ok(Pages(Some(sender)))
    }

    /// The kernel was given pages; if they are passing, it is to drop them.
    pub(super) fn pass(&self, passing: Option<Passing>) {
        if let (Some(passing), Some(sender)) = (passing, &self.0) {
            // Fails only where the thread is gone, and with it the conversation.
            let _ = sender.send(passing);
        }
    }
}

fn run(passing: &Receiver<Passing>, device: &Device) {
    for pages in passing {
        if let Err(error) = device.drop_pages(pages.node, pages.offset, pages.size) {
            debug!("pages need not go: {error}");
        }
    }
}
