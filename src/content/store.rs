//! Where contents are kept when reads and writes pass us by (FUSE passthrough): a private tmpfs that no path leads to. The
//! kernel itself says ENOSPC at its limit, and charges each page to the cgroup of whoever writes it.
//!
//! Making a file there and telling the kernel of it costs more than the rest of a create(2). So some are kept ready, and one
//! that was given out and not written comes back: a lock file, made and removed ten thousand times, uses the same one.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

use super::regulated::{Promise, Regulated};
use crate::sync::{Mutex, STORE};
use crate::sys::device::BackingFiles;
use crate::sys::limits;
use crate::sys::tmpfs::{self, Stat};
use crate::types::attr::PAGE_SIZE;
use crate::types::{AtimePolicy, BackingId, Errno};

/// The most files kept ready, where there are descriptors enough.
const SPARES: usize = 64;

/// The most files kept ready for one user of many.
const SPARES_OF_USER: usize = 4;

/// The part of all descriptors that spare files may take.
const SPARE_SHARE: usize = 8;

/// A registration of a backing file with the kernel, until dropped.
#[derive(Debug)]
struct Registration {
    kernel: Arc<BackingFiles>,
    id: u32,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.kernel.close(self.id);
    }
}

/// A file of the store that is open here and registered with the kernel.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) file: Arc<File>,
    registration: Registration,
}

impl Live {
    /// Its number, for the kernel.
    pub(super) fn id(&self) -> BackingId {
        BackingId(self.registration.id)
    }
}

/// An empty file that is ready, and what stat(2) says of it.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) live: Live,
    pub(super) stat: Stat,
}

/// The private tmpfs of one filesystem, or of one user of it.
#[derive(Debug)]
pub struct Store {
    mount: OwnedFd,
    kernel: Arc<BackingFiles>,
    atime: AtimePolicy,
    /// Who looks after its size, where there is one for each user.
    regulated: Option<Regulated>,
    /// Pages in it that are nobody's: to a tmpfs a size of 0 is no limit, so one that is to have no room has a page that is
    /// in use.
    ballast: u64,
    spares: Mutex<STORE, Vec<Spare>>,
    /// How many there may be. A thread makes more when less than a quarter is left.
    most_spares: usize,
    /// That thread. Users' stores have none: they make one when it is needed.
    wanted: Option<SyncSender<()>>,
    last_name: AtomicU64,
}

impl Store {
    /// Makes one with room for `bytes`, whose files `kernel` is told of. Errors where that cannot be: without CAP_SYS_ADMIN,
    /// or on a kernel that has no passthrough.
    pub fn new(bytes: Option<u64>, atime: AtimePolicy, kernel: BackingFiles) -> io::Result<Arc<Store>> {
        let (wanted, wishes) = sync_channel(1);
        let store = Arc::new(Store {
            mount: tmpfs::mount_detached(bytes, atime)?,
            kernel: Arc::new(kernel),
            atime,
            regulated: None,
            ballast: 0,
            spares: Mutex::new(Vec::with_capacity(SPARES)),
            most_spares: SPARES.min(limits::open_files() / SPARE_SHARE),
            wanted: Some(wanted),
            last_name: AtomicU64::new(0),
        });
        // Whatever is missing shows here, before anybody relies on it.
        let first = store.make_spare()?;
        store.spares.lock().push(first);
        let weak = Arc::downgrade(&store);
        thread::Builder::new()
            .name("spare".to_owned())
            .spawn(move || keep_ready(&weak, &wishes))?;
        Ok(store)
    }

    /// One for a user, with no room yet, of the same filesystem. Errors: ENFILE, ENOMEM.
    pub(super) fn another(&self, regulated: Regulated) -> io::Result<Store> {
        let mount = tmpfs::mount_detached(Some(PAGE_SIZE), self.atime)?;
        let ballast = tmpfs::create(&mount)?;
        ballast.write_all_at(b"-", 0)?;
        tmpfs::link(&mount, &ballast, c"0")?;
        Ok(Store {
            mount,
            kernel: Arc::clone(&self.kernel),
            atime: self.atime,
            regulated: Some(regulated),
            ballast: 1,
            spares: Mutex::new(Vec::new()),
            most_spares: SPARES_OF_USER.min(self.most_spares),
            wanted: None,
            last_name: AtomicU64::new(0),
        })
    }

    /// Who looks after its size.
    pub(super) fn regulated(&self) -> Option<&Regulated> {
        self.regulated.as_ref()
    }

    /// There is no room for `pages`: makes it, where that may be.
    pub(super) fn make_room(&self, pages: u64) -> Promise {
        self.regulated
            .as_ref()
            .map_or_else(Promise::nothing, |it| it.make_room(pages))
    }

    /// Pages in use, and free ones; `None` for the latter where there is no limit.
    pub(super) fn usage(&self) -> Result<(u64, Option<u64>), Errno> {
        let (used, free) = tmpfs::usage(&self.mount)?;
        Ok((used.saturating_sub(self.ballast), free))
    }

    /// Changes the limit, in pages. Errors: ENOSPC where more are in use, or where none would be left.
    pub(super) fn resize(&self, pages: u64) -> Result<(), Errno> {
        let pages = pages.saturating_add(self.ballast);
        if pages == 0 {
            return Err(Errno::ENOSPC);
        }
        tmpfs::resize(&self.mount, pages.saturating_mul(PAGE_SIZE)).map_err(|_| Errno::ENOSPC)
    }

    fn make_spare(&self) -> io::Result<Spare> {
        let file = tmpfs::create(&self.mount)?;
        let stat = tmpfs::stat(&file)?;
        let live = self.register(file)?;
        Ok(Spare { live, stat })
    }

    fn register(&self, file: File) -> io::Result<Live> {
        let id = self.kernel.open(&file)?;
        let kernel = Arc::clone(&self.kernel);
        Ok(Live {
            file: Arc::new(file),
            registration: Registration { kernel, id },
        })
    }

    /// An empty file. Errors: ENFILE, ENOMEM.
    pub(super) fn take_spare(&self) -> Result<Spare, Errno> {
        let (spare, left) = {
            let mut spares = self.spares.lock();
            (spares.pop(), spares.len())
        };
        if left < self.most_spares / 4
            && let Some(wanted) = &self.wanted
        {
            // Full where the thread has been told already.
            let _told = wanted.try_send(());
        }
        match spare {
            Some(spare) => Ok(spare),
            None => Ok(self.make_spare()?),
        }
    }

    /// Takes back a file, emptied; closes it where it cannot be emptied or there are spare ones enough. Preconditions: nobody
    /// else can have any part of it in hand ([`is_alone`](super::stored::Stored::is_alone)), as a mapping of an empty file
    /// shows whatever the file gets later.
    pub(super) fn keep(&self, live: Live) {
        let emptied = live.file.set_len(0).and_then(|()| tmpfs::stat(&live.file));
        if let Ok(stat) = emptied
            && stat.size == 0
            && stat.blocks == 0
        {
            self.keep_empty(live, stat);
        }
    }

    /// [`Store::keep`] for a file that is empty already, as `stat` says. The same preconditions.
    pub(super) fn keep_empty(&self, live: Live, stat: Stat) {
        let mut spares = self.spares.lock();
        if spares.len() < self.most_spares {
            spares.push(Spare { live, stat });
        }
    }

    fn fill(&self) {
        while self.spares.lock().len() < self.most_spares / 2 {
            match self.make_spare() {
                Ok(spare) => self.spares.lock().push(spare),
                // Whoever needs one is told.
                Err(_) => return,
            }
        }
    }

    /// Opens and registers a file by its name. Errors: ENFILE, ENOMEM.
    pub(super) fn revive(&self, name: FileName) -> Result<Live, Errno> {
        Ok(self.register(self.open(name)?)?)
    }

    /// Opens a file by its name. Errors: ENFILE, ENOMEM.
    pub(super) fn open(&self, name: FileName) -> Result<File, Errno> {
        Ok(tmpfs::open(&self.mount, &name.text())?)
    }

    /// What stat(2) says of a file by its name.
    pub(super) fn stat(&self, name: FileName) -> Result<Stat, Errno> {
        Ok(tmpfs::stat_at(&self.mount, &name.text())?)
    }

    /// Gives a file a name, by which it stays when it is closed.
    pub(super) fn name(&self, file: &File) -> Result<FileName, Errno> {
        let name = FileName(self.last_name.fetch_add(1, Ordering::Relaxed) + 1);
        tmpfs::link(&self.mount, file, &name.text())?;
        Ok(name)
    }

    /// Takes a file's name away.
    pub(super) fn unname(&self, name: FileName) {
        if let Err(error) = tmpfs::unlink(&self.mount, &name.text()) {
            log::error!("a file of the store cannot be removed: {error}");
        }
    }
}

/// Makes spare files whenever told to, as long as the store is there.
fn keep_ready(store: &Weak<Store>, wishes: &Receiver<()>) {
    for () in wishes {
        match store.upgrade() {
            Some(store) => store.fill(),
            None => return,
        }
    }
}

/// A file's name in the store: a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileName(u64);

impl FileName {
    fn text(self) -> CString {
        // Digits hold no NUL.
        CString::new(self.0.to_string()).unwrap_or_default()
    }
}

#[cfg(test)]
impl Store {
    /// One that no kernel is told of.
    pub(super) fn unregistered() -> io::Result<Arc<Store>> {
        Ok(Arc::new(Store {
            mount: tmpfs::mount_detached(Some(PAGE_SIZE), AtimePolicy::NoAtime)?,
            kernel: Arc::new(BackingFiles::of(File::open("/dev/null")?)?),
            atime: AtimePolicy::NoAtime,
            regulated: None,
            ballast: 0,
            spares: Mutex::new(Vec::new()),
            most_spares: 0,
            wanted: None,
            last_name: AtomicU64::new(0),
        }))
    }

    /// A file that no kernel is told of.
    pub(super) fn nameless(&self) -> io::Result<File> {
        tmpfs::create(&self.mount)
    }
}
