//! Looking after the sizes of users' stores: the thread that does, and what a store knows of it.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::stores::Stores;
use crate::types::Errno;

/// How often it is looked how much is used: at first while it grows, then twice as long each time that nothing has changed.
const SOON: Duration = Duration::from_millis(10);
const LATE: Duration = Duration::from_secs(1);

/// Of one store: to whom it belongs, and who looks after its size.
#[derive(Debug)]
pub(super) struct Regulated {
    stores: Weak<Stores>,
    uid: u32,
    /// It has less room than its user may have.
    hungry: AtomicBool,
}

impl Regulated {
    pub(super) fn new(stores: &Weak<Stores>, uid: u32) -> Regulated {
        Regulated {
            stores: Weak::clone(stores),
            uid,
            hungry: AtomicBool::new(false),
        }
    }

    /// Relaxed: it decides when it is looked again, and nothing else.
    pub(super) fn set_hungry(&self, hungry: bool) {
        self.hungry.store(hungry, Ordering::Relaxed);
    }

    /// There is no room for `pages` in the store: makes it, where that may be.
    pub(super) fn make_room(&self, pages: u64) -> Promise {
        let error = match self.stores.upgrade() {
            Some(stores) => stores.make_room(self.uid, pages),
            None => Errno::ENOSPC,
        };
        Promise {
            stores: Weak::clone(&self.stores),
            uid: self.uid,
            pages,
            error,
        }
    }

    /// The store is about to be written to.
    pub(super) fn watch(&self) {
        if self.hungry.load(Ordering::Relaxed)
            && let Some(stores) = self.stores.upgrade()
        {
            stores.wake();
        }
    }
}

/// Room in a store that nobody else is given meanwhile. Preconditions of its end: no store is locked.
#[derive(Debug)]
pub(super) struct Promise {
    stores: Weak<Stores>,
    uid: u32,
    pages: u64,
    /// What to say where it is not enough.
    pub(super) error: Errno,
}

impl Promise {
    /// Of nothing: in a store whose size nobody looks after.
    pub(super) fn nothing() -> Promise {
        Promise {
            stores: Weak::new(),
            uid: 0,
            pages: 0,
            error: Errno::ENOSPC,
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(stores) = self.stores.upgrade() {
            stores.give_up(self.uid, self.pages);
        }
    }
}

/// Looks after the stores as long as they are there.
pub(super) fn look_after(stores: &Weak<Stores>, wishes: &Receiver<()>) {
    let mut pause = SOON;
    let mut any = false;
    loop {
        let told = match any {
            true => wishes.recv_timeout(pause),
            false => wishes.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match told {
            Ok(()) => {
                // Who is told often looks no more often than this.
                thread::sleep(SOON);
                pause = SOON;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(stores) = stores.upgrade() else { return };
        let (changed, more) = stores.regulate();
        any = more;
        pause = if changed { SOON } else { LATE.min(pause * 2) };
    }
}
