//! One file's contents in the store: what of it is open, and what the kernel may be doing to it without asking us.
//!
//! ```text
//!   live   open here and registered with the kernel: while anybody has it open, and for a while after
//!   named  closed; the store's directory holds it by a number, so that a million files take no descriptors
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::allocate::{Allocation, STEP, holes, pages_of};
use super::file::{Whence, pages_in_use, pages_touched, write_some};
use super::regulated::Promise;
use super::store::{FileName, Live, Store};
use crate::policy::handle_mode::Mode;
use crate::sys::memfd;
use crate::sys::tmpfs::{self, Stat};
use crate::types::attr::PAGE_SIZE;
use crate::types::{BackingId, Errno, OpenFlags, Timestamp};

/// How times were changed past us since this was last asked; `None` where they were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Last access.
    pub atime: Option<Timestamp>,
    /// Last change of the contents.
    pub mtime: Option<Timestamp>,
    /// Last change of anything.
    pub ctime: Option<Timestamp>,
}

/// The contents of one file.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) store: Arc<Store>,
    live: Option<Live>,
    name: Option<FileName>,
    /// Open files of users.
    handles: u32,
    /// Those of them by which it could be mapped.
    mappers: u32,
    /// There were some since it was known not to be mapped: a mapping outlives them.
    perhaps_mapped: bool,
    /// And store through the mapping.
    perhaps_stored_to: bool,
    /// It was changed by us, or closed by somebody, since `seen`.
    changed: bool,
    /// As it was when last looked at.
    seen: Stat,
    /// The store is not that of the file's owner.
    pub(super) away: bool,
    /// Somebody has been told to put it away some day.
    pub(super) awaited: bool,
}

impl Stored {
    /// Empty contents. Errors: ENFILE, ENOMEM.
    pub(super) fn new(store: &Arc<Store>) -> Result<Stored, Errno> {
        let spare = store.take_spare()?;
        Ok(Stored {
            store: Arc::clone(store),
            live: Some(spare.live),
            name: None,
            handles: 0,
            mappers: 0,
            perhaps_mapped: false,
            perhaps_stored_to: false,
            changed: false,
            seen: spare.stat,
            away: false,
            awaited: false,
        })
    }

    /// As it was when last looked at; while it [`is_in_motion`](Stored::is_in_motion) that may not be how it is.
    pub(super) fn seen(&self) -> &Stat {
        &self.seen
    }

    /// Whether it may change, or has changed, since it was last looked at.
    pub(super) fn is_in_motion(&self) -> bool {
        self.handles > 0 || self.is_touched() || self.changed
    }

    /// Whether it can change without the kernel noticing that what it knows of the attributes is no longer true: by a mapping.
    /// One that is only read from gives pages to the holes it meets.
    pub(super) fn is_touched(&self) -> bool {
        self.perhaps_stored_to || (self.perhaps_mapped && self.seen.blocks < self.seen.size.div_ceil(512))
    }

    /// The file itself. Errors: ENFILE, ENOMEM.
    pub(super) fn file(&self) -> Result<Arc<File>, Errno> {
        match (&self.live, self.name) {
            (Some(live), _) => Ok(Arc::clone(&live.file)),
            (None, Some(name)) => Ok(Arc::new(self.store.open(name)?)),
            (None, None) => Err(Errno::EIO),
        }
    }

    fn stat(&self) -> Result<Stat, Errno> {
        match (&self.live, self.name) {
            (Some(live), _) => Ok(tmpfs::stat(&live.file)?),
            (None, Some(name)) => self.store.stat(name),
            (None, None) => Err(Errno::EIO),
        }
    }

    /// The size now.
    pub(super) fn size(&self) -> u64 {
        match self.is_in_motion() {
            true => self.stat().map_or(self.seen.size, |stat| stat.size),
            false => self.seen.size,
        }
    }

    /// Looks at it again where it may have changed.
    pub(super) fn look(&mut self) -> Changes {
        if !self.is_in_motion() {
            return Changes::default();
        }
        if self.handles == 0 && self.is_touched() {
            // First: what is looked at afterwards stays so.
            self.rule_out_mappings();
        }
        let Ok(now) = self.stat() else {
            return Changes::default();
        };
        let before = std::mem::replace(&mut self.seen, now);
        self.changed = false;
        let changed = |before: Timestamp, now: Timestamp| (now != before).then_some(now);
        let mtime = changed(before.mtime, now.mtime);
        Changes {
            atime: changed(before.atime, now.atime),
            mtime,
            ctime: mtime.map_or(changed(before.ctime, now.ctime), |_| Some(now.ctime)),
        }
    }

    /// Whether somebody has it mapped, or open for the kernel to read and write, as far as can be told.
    pub(super) fn is_mapped(&mut self) -> bool {
        // Whoever has it open may be about to map it, and the kernel to open it for him.
        if self.perhaps_mapped && self.mappers == 0 {
            self.rule_out_mappings();
        }
        self.perhaps_mapped
    }

    /// Only where nobody has it open by whom it could be mapped.
    fn rule_out_mappings(&mut self) {
        debug_assert!(self.mappers == 0, "who has it open may still map it");
        if self.file().is_ok_and(|file| tmpfs::is_sole_opener(&file)) {
            self.perhaps_mapped = false;
            self.perhaps_stored_to = false;
        }
    }

    /// Somebody opens it. Returns its number, which stays the same until the last one has closed it. Errors: ENFILE, ENOMEM.
    pub(super) fn open(&mut self, flags: OpenFlags, mode: Mode) -> Result<BackingId, Errno> {
        let live = match self.live.take() {
            Some(live) => live,
            None => self.store.revive(self.name.ok_or(Errno::EIO)?)?,
        };
        let id = live.id();
        self.live = Some(live);
        self.handles += 1;
        if flags.writes()
            && let Some(regulated) = self.store.regulated()
        {
            regulated.watch();
        }
        let may_map = may_map(flags, mode);
        self.mappers += u32::from(may_map);
        self.perhaps_mapped |= may_map;
        self.perhaps_stored_to |= may_map && flags.writes();
        Ok(id)
    }

    /// One who had it open like that has closed it. Returns whether he was the last.
    pub(super) fn close(&mut self, flags: OpenFlags, mode: Mode) -> bool {
        debug_assert!(self.handles > 0, "closed as often as opened");
        self.handles = self.handles.saturating_sub(1);
        self.mappers = self.mappers.saturating_sub(u32::from(may_map(flags, mode)));
        self.changed = true;
        self.handles == 0
    }

    /// Whether there is nothing in it and nobody has it, not even a mapping of nothing.
    pub(super) fn is_unused(&self) -> bool {
        let blank = !self.changed && self.seen.size == 0 && self.seen.blocks == 0;
        blank && self.name.is_none() && self.is_alone()
    }

    /// Whether any user has it open.
    pub(super) fn is_open(&self) -> bool {
        self.handles > 0
    }

    /// Whether nobody has it open or mapped.
    pub(super) fn is_alone(&self) -> bool {
        self.handles == 0 && (!self.perhaps_mapped || self.file().is_ok_and(|file| tmpfs::is_sole_opener(&file)))
    }

    /// The pages in use when it was last looked at.
    pub(super) fn pages(&self) -> u64 {
        self.seen.blocks.div_ceil(PAGE_SIZE / 512)
    }

    /// The next data or hole at or after `offset`. Errors: ENXIO.
    pub(super) fn seek(&self, offset: u64, whence: Whence) -> Result<u64, Errno> {
        memfd::seek(&*self.file()?, offset, whence == Whence::Data)
    }

    /// Sets times, so that the kernel goes by them too when it decides whether a read moves the access time; not where nobody
    /// has it open.
    pub(super) fn set_times(&mut self, atime: Timestamp, mtime: Timestamp) {
        let Some(live) = &self.live else { return };
        let set = tmpfs::set_times(&live.file, atime, mtime).and_then(|()| tmpfs::stat(&live.file));
        if let Ok(now) = set {
            self.seen = now;
        }
    }

    /// Closes it, as nobody has had it open for a while: the store holds it by a name. Preconditions: it was looked at.
    pub(super) fn put_away(&mut self) {
        if self.handles > 0 {
            return;
        }
        let Some(live) = &self.live else { return };
        if self.name.is_none() {
            // If that fails it stays open.
            self.name = self.store.name(&live.file).ok();
            if let Ok(now) = tmpfs::stat(&live.file) {
                // The name has moved the time, and is no change of the user's file.
                self.seen.ctime = now.ctime;
            }
        }
        if self.name.is_some() {
            self.live = None;
        }
    }

    /// Gives back a file that [`is_unused`](Stored::is_unused).
    pub(super) fn give_back(mut self) {
        if let Some(live) = self.live.take() {
            self.store.keep_empty(live, self.seen);
        }
    }

    /// Nobody needs the contents any more. The file may be used for others where it is certain that nobody has it.
    pub(super) fn let_go(mut self) {
        if self.name.is_none()
            && self.is_alone()
            && let Some(live) = self.live.take()
        {
            self.store.keep(live);
        }
    }

    /// Reads at `offset` up to the end. Returns the bytes read.
    pub(super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let file = self.file()?;
        let mut done = 0;
        while done < buf.len() {
            match file.read_at(&mut buf[done..], offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    /// Writes at `offset`. Returns the bytes written, fewer where the limit is met in the middle. Errors: ENOSPC, EDQUOT.
    pub(super) fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let file = self.file()?;
        self.changed = true;
        let pages = pages_touched(offset, offset.saturating_add(data.len() as u64));
        self.with_room(pages, || write_some(&file, offset, data))
    }

    /// Does what may need so many pages, a second time where room can be made. Errors: ENOSPC, EDQUOT.
    fn with_room<T>(&self, pages: u64, attempt: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        match attempt() {
            Err(Errno::ENOSPC) if self.store.regulated().is_some() => {
                let promise = self.store.make_room(pages);
                attempt().map_err(|again| if again == Errno::ENOSPC { promise.error } else { again })
            }
            result => result,
        }
    }

    /// Sets the size.
    pub(super) fn set_size(&mut self, size: u64) -> Result<(), Errno> {
        let file = self.file()?;
        self.changed = true;
        Ok(file.set_len(size)?)
    }

    /// fallocate(2) of `[start, end)`. Errors: ENOSPC, EDQUOT; then nothing was changed.
    pub(super) fn allocate(&mut self, what: Allocation, start: u64, end: u64) -> Result<(), Errno> {
        let file = self.file()?;
        self.changed = true;
        self.with_room(pages_touched(start, end), || match what {
            Allocation::Grow => memfd::allocate_and_grow(&file, start, end - start),
            Allocation::KeepSize => memfd::allocate(&file, start, end - start),
            Allocation::PunchHole => memfd::punch_hole(&file, start, end - start),
        })
    }

    /// Room for all of `[start, end)`, so that it can be done in pieces; `None` where there may not be. Errors: ENOSPC, EDQUOT
    /// where that is certain.
    pub(super) fn room_for(&self, start: u64, end: u64) -> Result<Option<Promise>, Errno> {
        debug_assert!(end - start > STEP, "only long ones are done in pieces");
        let file = self.file()?;
        let size = file.metadata()?.len();
        let missing = pages_of(&holes(&file, size, start, end)?);
        let promise = self.store.make_room(missing);
        let (_, free) = self.store.usage()?;
        if free.is_none_or(|free| missing <= free) {
            return Ok(Some(promise));
        }
        // A page that was allocated and never written looks like a hole. Where there is none, the holes are all missing.
        let written = pages_touched(0, size).saturating_sub(pages_of(&holes(&file, size, 0, size)?));
        match pages_in_use(&file)? {
            pages if pages <= written => Err(promise.error),
            _ => Ok(None),
        }
    }
}

/// Whether it can be mapped by who has it open like that.
fn may_map(flags: OpenFlags, mode: Mode) -> bool {
    mode.is_passthrough() && flags.reads()
}

impl Drop for Stored {
    fn drop(&mut self) {
        if let Some(name) = self.name {
            self.store.unname(name);
        }
    }
}
