//! One regular file's bytes: the first pages on the heap while nothing lies beyond them, else a backing file.
//!
//! ```text
//!   Inline   [ first pages, as far as written ]( hole up to the size )      no descriptor, no system call
//!   Backing  a memfd, as large as the file                                 one descriptor
//!   Stored   a file of the store (store.rs): with passthrough, whatever was ever opened or written
//! ```
//!
//! A small file costs no descriptor, so a directory full of them cannot take the descriptors from everybody else; and a
//! file that is never written (a lock file) costs nothing. Whatever needs a real file gets one from [`Content::backing`].

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use super::disposal;
use super::limits::{Limits, PageCharge};
use super::stored::{Changes, Stored};
use super::users::Account;
use crate::policy::handle_mode::Mode;
use crate::sys::memfd;
use crate::types::attr::PAGE_SIZE;
use crate::types::{BackingId, Errno, OpenFlags, Timestamp};

/// The largest size a file can have, in bytes: the largest offset there is.
pub const MAX_FILE_SIZE: u64 = i64::MAX.cast_unsigned();

pub(super) const PAGE: usize = 4096;

/// The most bytes that are kept inline. A backing file takes a descriptor, of which there may be only some thousands; most
/// files are smaller than this.
const INLINE_MAX: u64 = 16 * PAGE_SIZE;

/// What lseek(2) looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// SEEK_DATA
    Data,
    /// SEEK_HOLE
    Hole,
}

#[derive(Debug)]
pub(super) enum Data {
    /// The bytes of the first page as far as they were written (at most a page); all else is a hole.
    Inline(Vec<u8>),
    /// A file of the size of the contents.
    Backing(File),
    /// A file of the store, which knows its size, and charges for its pages.
    Stored(Box<Stored>),
}

/// The bytes of one regular file, its size and what it is charged.
#[derive(Debug)]
pub struct Content {
    pub(super) size: u64,
    pub(super) data: Data,
    /// Covers at least the pages in use; exactly them between two calls.
    pub(super) charge: PageCharge,
}

/// The number of pages that `[start, end)` touches.
pub(super) fn pages_touched(start: u64, end: u64) -> u64 {
    if start >= end {
        return 0;
    }
    end.div_ceil(PAGE_SIZE) - start / PAGE_SIZE
}

/// `offset + len`, where that is a size a file can have. Errors: EFBIG.
pub(super) fn end_of(offset: u64, len: u64) -> Result<u64, Errno> {
    offset
        .checked_add(len)
        .filter(|&end| end <= MAX_FILE_SIZE)
        .ok_or(Errno::EFBIG)
}

impl Content {
    /// No bytes.
    pub fn empty(limits: &Limits) -> Content {
        Content::charged(PageCharge::none(limits))
    }

    /// No bytes, of somebody who is charged for what will be.
    pub fn owned_by(account: Arc<Account>) -> Content {
        Content::charged(PageCharge::to(account))
    }

    fn charged(charge: PageCharge) -> Content {
        Content {
            size: 0,
            data: Data::Inline(Vec::new()),
            charge,
        }
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        match &self.data {
            Data::Stored(stored) => stored.size(),
            _ => self.size,
        }
    }

    /// The size in bytes when they were last [looked at](Content::look).
    pub fn known_size(&self) -> u64 {
        match &self.data {
            Data::Stored(stored) => stored.seen().size,
            _ => self.size,
        }
    }

    /// The memory in use, in units of 512 bytes (`st_blocks`); of contents in the store, when they were last
    /// [looked at](Content::look).
    pub fn blocks(&self) -> u64 {
        match &self.data {
            Data::Stored(stored) => stored.seen().blocks,
            _ => self.charge.pages() * (PAGE_SIZE / 512),
        }
    }

    /// Whether the kernel may have changed them, or they were changed, since they were last [looked at](Content::look).
    pub fn is_in_motion(&self) -> bool {
        matches!(&self.data, Data::Stored(stored) if stored.is_in_motion())
    }

    /// Whether the kernel knows when its attributes are out of date: not when somebody may store through a mapping.
    pub fn is_steady(&self) -> bool {
        !matches!(&self.data, Data::Stored(stored) if stored.is_touched())
    }

    /// Whether times are kept with the bytes and come from there by [`Content::look`]: then nobody else marks a change.
    pub fn keeps_times(&self) -> bool {
        matches!(self.data, Data::Stored(_))
    }

    /// Looks what the kernel, or we, have changed.
    pub fn look(&mut self) -> Changes {
        match &mut self.data {
            Data::Stored(stored) => stored.look(),
            _ => Changes::default(),
        }
    }

    /// Sets times, where the kernel goes by them.
    pub fn set_times(&mut self, atime: Timestamp, mtime: Timestamp) {
        if let Data::Stored(stored) = &mut self.data {
            stored.set_times(atime, mtime);
        }
    }

    /// Whether the kernel goes by older times than one with a last change at `ctime`.
    pub fn is_behind(&self, ctime: Timestamp) -> bool {
        matches!(&self.data, Data::Stored(stored) if stored.seen().ctime < ctime)
    }

    /// Somebody opens the file. Returns what the kernel is to read and write without asking; `None` where there is no
    /// passthrough. Errors: ENFILE, ENOMEM.
    pub fn open(&mut self, flags: OpenFlags, mode: Mode) -> Result<Option<BackingId>, Errno> {
        match self.stored()? {
            Some(stored) => Ok(Some(stored.open(flags, mode)?)),
            None => Ok(None),
        }
    }

    /// Whether somebody has the file mapped, or open for the kernel to read and write, as far as can be told. A mapping of the
    /// kernel's own pages counts as an open file, and is not meant.
    pub fn is_mapped(&mut self) -> bool {
        match &mut self.data {
            Data::Stored(stored) => stored.is_mapped(),
            _ => false,
        }
    }

    /// One who had the file open like that has closed it. Returns what changed before, and whether nobody has it open now and it is to be
    /// [put away](Content::put_away) some day, which is said once until that is done.
    pub fn close(&mut self, flags: OpenFlags, mode: Mode) -> (Changes, bool) {
        let Data::Stored(stored) = &mut self.data else {
            return (Changes::default(), false);
        };
        let last = stored.close(flags, mode);
        let changes = stored.look();
        let unused = last && stored.is_unused();
        if unused {
            self.recycle();
            return (changes, false);
        }
        (changes, last && !std::mem::replace(&mut stored.awaited, true))
    }

    /// Nobody has had the file open for a while: it need not be kept at hand. Returns what changed before.
    pub fn put_away(&mut self) -> Changes {
        let Data::Stored(stored) = &mut self.data else {
            return Changes::default();
        };
        let changes = stored.look();
        stored.awaited = false;
        if stored.is_unused() {
            self.recycle();
        } else {
            stored.put_away();
        }
        changes
    }

    /// Contents that were never written give back their file.
    pub(super) fn recycle(&mut self) {
        if let Data::Stored(stored) = std::mem::replace(&mut self.data, Data::Inline(Vec::new())) {
            stored.give_back();
        }
        self.size = 0;
    }

    /// The contents in the store, made now; `None` where there is no store. Errors: ENFILE, ENOMEM.
    pub(super) fn stored(&mut self) -> Result<Option<&mut Stored>, Errno> {
        if let Data::Inline(_) = self.data
            && let Some(store) = self.charge.store()?
        {
            self.data = Data::Stored(Box::new(Stored::new(&store)?));
        }
        match &mut self.data {
            Data::Stored(stored) => Ok(Some(stored)),
            _ => Ok(None),
        }
    }

    /// Reads at `offset` into `buf` up to the end of the file; holes read as zeros. Returns the bytes read.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        if let Data::Stored(stored) = &self.data {
            return stored.read_at(offset, buf);
        }
        let wanted = self.size.saturating_sub(offset).min(buf.len() as u64);
        let Ok(wanted) = usize::try_from(wanted) else {
            return Err(Errno::EINVAL);
        };
        let buf = &mut buf[..wanted];
        match &self.data {
            Data::Inline(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let stored = (bytes.len() - start).min(wanted);
                buf[..stored].copy_from_slice(&bytes[start..start + stored]);
                buf[stored..].fill(0);
            }
            Data::Backing(file) => read_full(file, offset, buf)?,
            Data::Stored(_) => {}
        }
        Ok(wanted)
    }

    /// Writes `data` at `offset`, growing the file where needed. Returns the bytes written: less than given where the
    /// limit is met in the middle, as write(2) does. Errors: ENOSPC where not one byte fits, EFBIG, ENFILE.
    pub fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let end = end_of(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(0);
        }
        if let Some(stored) = self.stored()? {
            return stored.write_at(offset, data);
        }
        let written = match &mut self.data {
            Data::Inline(bytes) if stays_inline(bytes, offset, end) => {
                match write_inline(bytes, &mut self.charge, offset, data) {
                    // Some of it may fit; only a backing file can tell.
                    Err(Errno::ENOSPC | Errno::EDQUOT) => self.write_backing(offset, data)?,
                    result => result.map(|()| data.len())?,
                }
            }
            _ => match self.write_backing(offset, data) {
                Err(Errno::ENFILE) => self.write_without_backing(offset, data)?,
                result => result?,
            },
        };
        self.size = self.size.max(offset + written as u64);
        Ok(written)
    }

    /// There is no descriptor for a backing file: contents without holes stay inline all the same, however many bytes they
    /// are. Errors: ENFILE where a hole would come to be; ENOSPC, ENOMEM.
    fn write_without_backing(&mut self, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        match &mut self.data {
            Data::Inline(bytes) if leaves_no_hole(bytes, offset) => {
                write_inline(bytes, &mut self.charge, offset, data)?;
                Ok(data.len())
            }
            _ => Err(Errno::ENFILE),
        }
    }

    fn write_backing(&mut self, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let pages = pages_touched(offset, offset + data.len() as u64);
        self.backing()?;
        let Data::Backing(file) = &self.data else {
            return Err(Errno::EIO);
        };
        let result = match self.charge.grow(pages) {
            Ok(()) => write_some(file, offset, data),
            Err(_) => write_page_by_page(file, &mut self.charge, offset, data),
        };
        self.settle()?;
        result
    }

    /// No bytes any more; the room is there for others when `done` is called, which is at once unless it is much.
    pub fn discard(&mut self, done: impl FnOnce() + Send + 'static) {
        let pages = self.blocks() / (PAGE_SIZE / 512);
        match std::mem::replace(&mut self.data, Data::Inline(Vec::new())) {
            Data::Inline(_) => done(),
            Data::Backing(file) => {
                disposal::let_go(pages, || drop(file));
                done();
            }
            Data::Stored(stored) => disposal::let_go(pages, || {
                stored.let_go();
                done();
            }),
        }
        self.charge.settle_to(0);
        self.size = 0;
    }

    /// Sets the size: what lies beyond is gone, what is new is a hole. Errors: EFBIG.
    pub fn set_size(&mut self, size: u64) -> Result<(), Errno> {
        if size > MAX_FILE_SIZE {
            return Err(Errno::EFBIG);
        }
        if size == 0 && !matches!(self.data, Data::Stored(_)) {
            self.discard(|| ());
            return Ok(());
        }
        if let Some(stored) = self.stored()? {
            return stored.set_size(size);
        }
        match &mut self.data {
            Data::Inline(bytes) => {
                if let Ok(size) = usize::try_from(size) {
                    bytes.truncate(size);
                    bytes.shrink_to_fit();
                }
            }
            Data::Backing(file) => file.set_len(size)?,
            Data::Stored(_) => {}
        }
        self.size = size;
        self.settle()
    }

    /// The next data or hole at or after `offset`. Errors: ENXIO as lseek(2) has it.
    pub fn seek(&self, offset: u64, whence: Whence) -> Result<u64, Errno> {
        if let Data::Stored(stored) = &self.data {
            return stored.seek(offset, whence);
        }
        if offset >= self.size {
            return Err(Errno::ENXIO);
        }
        match &self.data {
            Data::Stored(_) => Err(Errno::EIO),
            Data::Backing(file) => memfd::seek(file, offset, whence == Whence::Data),
            Data::Inline(bytes) => {
                let data_end = (inline_pages(bytes) * PAGE_SIZE).min(self.size);
                match whence {
                    Whence::Data if offset < data_end => Ok(offset),
                    Whence::Data => Err(Errno::ENXIO),
                    Whence::Hole => Ok(offset.max(data_end)),
                }
            }
        }
    }

    /// The contents as a memfd, made now if they were inline. Errors: ENFILE, ENOMEM; EIO where there is a store.
    pub(super) fn backing(&mut self) -> Result<&File, Errno> {
        if let Data::Inline(bytes) = &self.data {
            let file = memfd::create()?;
            file.set_len(self.size)?;
            file.write_all_at(bytes, 0)?;
            self.data = Data::Backing(file);
        }
        match &self.data {
            Data::Backing(file) => Ok(file),
            Data::Inline(_) | Data::Stored(_) => Err(Errno::EIO),
        }
    }

    /// Brings the charge down to what is in use.
    pub(super) fn settle(&mut self) -> Result<(), Errno> {
        let pages = match &self.data {
            Data::Inline(bytes) => inline_pages(bytes),
            Data::Backing(file) => pages_in_use(file)?,
            Data::Stored(_) => 0,
        };
        self.charge.settle_to(pages);
        Ok(())
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.discard(|| ());
    }
}

/// The pages of inline contents: the first ones, without holes.
pub(super) fn inline_pages(bytes: &[u8]) -> u64 {
    bytes.len().div_ceil(PAGE) as u64
}

/// Whether contents stay inline when `[offset, end)` is written: not too many bytes, and no page is left out.
fn stays_inline(bytes: &[u8], offset: u64, end: u64) -> bool {
    end <= INLINE_MAX && leaves_no_hole(bytes, offset)
}

fn leaves_no_hole(bytes: &[u8], offset: u64) -> bool {
    offset / PAGE_SIZE <= inline_pages(bytes)
}

/// Writes where it [`leaves_no_hole`]. Errors: ENOSPC, ENOMEM; nothing is changed then.
fn write_inline(bytes: &mut Vec<u8>, charge: &mut PageCharge, offset: u64, data: &[u8]) -> Result<(), Errno> {
    let start = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
    let end = start + data.len();
    if bytes.len() < end {
        let (before, after) = (inline_pages(bytes), end.div_ceil(PAGE) as u64);
        charge.grow(after.saturating_sub(before))?;
        // A first page grows by and by, further ones are whole.
        let room = if end > PAGE { end.next_multiple_of(PAGE) } else { end };
        if bytes.try_reserve_exact(room - bytes.len()).is_err() {
            charge.settle_to(before);
            return Err(Errno::ENOMEM);
        }
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
    Ok(())
}

/// The pages a backing file uses.
pub(super) fn pages_in_use(file: &File) -> Result<u64, Errno> {
    Ok(file.metadata()?.blocks().div_ceil(PAGE_SIZE / 512))
}

/// Fills `buf`, which lies within the file.
fn read_full(file: &File, offset: u64, buf: &mut [u8]) -> Result<(), Errno> {
    file.read_exact_at(buf, offset).map_err(Errno::from)
}

/// Writes as much as the backing file takes. Errors where that is nothing.
pub(super) fn write_some(file: &File, offset: u64, data: &[u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while done < data.len() {
        match file.write_at(&data[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) if done > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

/// Writes near the limit, where only pages that exist already may still fit: each page is made first, and one that turns
/// out to be new and cannot be paid for is taken back. (SEEK_DATA cannot tell beforehand: to it a page that fallocate made
/// and nobody wrote is a hole.) The file's size never passes what was written, as shrinking it would take away what
/// fallocate made behind its end.
fn write_page_by_page(file: &File, charge: &mut PageCharge, offset: u64, data: &[u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while done < data.len() {
        let at = offset + done as u64;
        let in_page = usize::try_from(PAGE_SIZE - at % PAGE_SIZE).unwrap_or(PAGE);
        let chunk = &data[done..data.len().min(done + in_page)];
        match write_in_page(file, charge, at, chunk) {
            Ok(written) => done += written,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Writes all of `chunk`, which lies in one page, or nothing. Errors: ENOSPC where the page is new and cannot be paid for.
fn write_in_page(file: &File, charge: &mut PageCharge, at: u64, chunk: &[u8]) -> Result<usize, Errno> {
    let page = at - at % PAGE_SIZE;
    memfd::allocate(file, page, 1)?;
    let new = pages_in_use(file)?.saturating_sub(charge.pages());
    if let Err(error) = charge.grow(new) {
        memfd::punch_hole(file, page, PAGE_SIZE.min(MAX_FILE_SIZE - page))?;
        return Err(error);
    }
    match write_some(file, at, chunk)? {
        written if written == chunk.len() => Ok(written),
        _ => Err(Errno::EIO),
    }
}
