//! Contents that are to move to the store of their new owner, and could not yet: close(2) tells us before the kernel has let go
//! of what it had open. A thread, started when it is first needed, tries again a few times.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use super::inode::Inode;

/// Files that may wait; what further ones hold stays where it is until they are next closed.
const BACKLOG: usize = 1024;

/// How long to wait for each try, in milliseconds. What is mapped stays so for longer, and moves when it is next closed.
const PAUSES: [u64; 4] = [1, 4, 16, 64];

/// The thread; `None` where it could not be started.
static THREAD: OnceLock<Option<SyncSender<Weak<Inode>>>> = OnceLock::new();

fn start() -> Option<SyncSender<Weak<Inode>>> {
    let (sender, receiver) = sync_channel(BACKLOG);
    thread::Builder::new()
        .name("move".to_owned())
        .spawn(move || run(&receiver))
        .ok()?;
    Some(sender)
}

fn run(waiting: &Receiver<Weak<Inode>>) {
    for inode in waiting {
        for pause in PAUSES {
            thread::sleep(Duration::from_millis(pause));
            if !inode.upgrade().is_some_and(|inode| stays_away(&inode)) {
                break;
            }
        }
    }
}

/// Tries to move the contents. Returns whether it is worth trying again.
fn stays_away(inode: &Inode) -> bool {
    let Ok(content) = inode.content() else { return false };
    let mut content = content.write();
    if content.waits_to_move() {
        content.come_home();
    }
    content.waits_to_move()
}

/// Tries again soon.
pub(super) fn later(inode: &Arc<Inode>) {
    if let Some(thread) = THREAD.get_or_init(start) {
        let _full = thread.try_send(Arc::downgrade(inode));
    }
}
