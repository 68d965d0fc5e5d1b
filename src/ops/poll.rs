//! Who polls a file. It is always ready; but who got EAGAIN because of a lock may wait for the next event (EPOLLET of epoll(7), as
//! the runtime of Go does), and that comes when a lock has gone.

use std::task::Waker;

use super::Filesystem;
use crate::types::{Errno, Fh, Mandatory};

impl Filesystem {
    /// Somebody asks whether a file is ready, which it is, and waits for a change, if there is a `waker`. Errors: ENOSYS where locks
    /// stop nobody; EBADF.
    pub fn poll(&self, fh: Fh, waker: Option<Waker>) -> Result<(), Errno> {
        if self.mandatory == Mandatory::Off {
            // The kernel knows the answer, and need not ask again.
            return Err(Errno::ENOSYS);
        }
        let handle = self.tree.handle(fh)?;
        if let Some(waker) = waker.filter(|_| handle.mode.is_direct()) {
            handle.inode.locks().records.add_poller(fh, waker);
        }
        Ok(())
    }
}
