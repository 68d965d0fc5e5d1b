//! Open file descriptions, by the number the kernel sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use super::inode::{Body, Inode};
use super::table::Tree;
use crate::content::Content;
use crate::sync::{CONTENT, RwLock};
use crate::types::{Cookie, Errno, Fh, OpenFlags};

/// One open file description.
#[derive(Debug)]
pub struct Handle {
    /// What is open.
    pub inode: Arc<Inode>,
    /// The flags it was opened with.
    pub flags: OpenFlags,
    /// Of a directory: where the scan in progress ends. Entries made after it began lie beyond.
    scan_end: AtomicU64,
}

impl Handle {
    /// The cookie before which the scan in progress ends. Relaxed: one open file description is scanned by one reader at a
    /// time, the kernel sees to that.
    pub fn scan_end(&self) -> Cookie {
        Cookie(self.scan_end.load(Ordering::Relaxed))
    }

    /// A scan begins and will end before the cookie.
    pub fn begin_scan(&self, end: Cookie) {
        self.scan_end.store(end.0, Ordering::Relaxed);
    }
}

/// All open file descriptions of a filesystem.
#[derive(Debug, Default)]
pub(super) struct Handles {
    open: DashMap<Fh, Arc<Handle>>,
    last: AtomicU64,
}

impl Tree {
    /// Opens an inode.
    pub fn open(&self, inode: &Arc<Inode>, flags: OpenFlags) -> Fh {
        inode.opens.fetch_add(1, Ordering::Relaxed);
        let fh = Fh(self.handles.last.fetch_add(1, Ordering::Relaxed) + 1);
        let handle = Handle {
            inode: Arc::clone(inode),
            flags,
            scan_end: AtomicU64::new(u64::MAX),
        };
        self.handles.open.insert(fh, Arc::new(handle));
        fh
    }

    /// The open file description of a number. Errors: EBADF.
    pub fn handle(&self, fh: Fh) -> Result<Arc<Handle>, Errno> {
        self.handles
            .open
            .get(&fh)
            .map(|entry| Arc::clone(&entry))
            .ok_or(Errno::EBADF)
    }

    /// The last descriptor of an open file description is closed. Errors: EBADF.
    pub fn close(&self, fh: Fh) -> Result<(), Errno> {
        let (_, handle) = self.handles.open.remove(&fh).ok_or(Errno::EBADF)?;
        if let Body::Regular(content) = &handle.inode.body {
            self.close_content(&handle.inode, content);
        }
        if handle.inode.opens.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.reap(&handle.inode);
        }
        Ok(())
    }

    fn close_content(&self, inode: &Arc<Inode>, content: &RwLock<CONTENT, Content>) {
        let worth_keeping = {
            let mut content = content.write();
            let (changes, last) = content.close();
            let nlink = {
                let mut meta = inode.meta.lock();
                meta.absorb(changes);
                meta.nlink
            };
            if content.is_away() && nlink > 0 {
                // It had another owner when it was opened, or written.
                content.come_home();
                self.move_later(inode, &content);
            }
            last
        };
        if worth_keeping {
            self.keep_warm(inode);
        }
    }
}
