//! Letting go of large files: the kernel takes about a tenth of a second to free a gigabyte, and whoever has unlinked or emptied
//! the file, or asks for something else meanwhile, need not wait for that.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

/// Files with so many pages (16 MiB) are large.
const LARGE: u64 = 4096;

/// Files that may wait; further ones are freed by whoever lets go of them.
const BACKLOG: usize = 64;

/// Something whose end takes long.
type Job = Box<dyn FnOnce() + Send>;

/// The thread that frees; `None` where it could not be started.
static THREAD: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();

fn start() -> Option<SyncSender<Job>> {
    let (sender, receiver): (_, Receiver<Job>) = sync_channel(BACKLOG);
    thread::Builder::new()
        .name("free".to_owned())
        .spawn(move || receiver.into_iter().for_each(|job| job()))
        .ok()?;
    Some(sender)
}

/// Does `end`, which frees so many pages that nobody else has.
pub(super) fn let_go(pages: u64, end: impl FnOnce() + Send + 'static) {
    if pages < LARGE {
        return end();
    }
    let Some(thread) = THREAD.get_or_init(start) else {
        return end();
    };
    if let Err(TrySendError::Full(end) | TrySendError::Disconnected(end)) = thread.try_send(Box::new(end)) {
        end();
    }
}
