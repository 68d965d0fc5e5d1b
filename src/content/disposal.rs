//! Letting go of large backing files: the kernel takes about a tenth of a second to free a gigabyte, and whoever has unlinked
//! or emptied the file, or asks for something else meanwhile, need not wait for that.

use std::fs::File;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Files with so many pages (16 MiB) are large.
const LARGE: u64 = 4096;

/// Files that may wait; further ones are freed by whoever lets go of them.
const BACKLOG: usize = 64;

/// The thread that frees; `None` where it could not be started.
static THREAD: OnceLock<Option<SyncSender<File>>> = OnceLock::new();

fn start() -> Option<SyncSender<File>> {
    let (sender, receiver): (_, Receiver<File>) = sync_channel(BACKLOG);
    thread::Builder::new()
        .name("free".to_owned())
        .spawn(move || receiver.into_iter().for_each(drop))
        .ok()?;
    Some(sender)
}

/// Closes a backing file with so many pages, which nobody else has open.
pub(super) fn let_go(file: File, pages: u64) {
    if pages < LARGE {
        return;
    }
    if let Some(thread) = THREAD.get_or_init(start) {
        // Dropped here where it finds no room.
        let _ = thread.try_send(file);
    }
}
