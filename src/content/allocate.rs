//! fallocate(2) and copying between files: what changes many pages at once.

use std::fs::File;

use super::file::{Content, Data, MAX_FILE_SIZE, PAGE, Whence, end_of, inline_pages, pages_in_use, pages_touched};
use super::limits::PageCharge;
use super::regulated::Promise;
use crate::sys::memfd;
use crate::types::Errno;
use crate::types::attr::PAGE_SIZE;

/// The most one call of [`Content::copy_within`] or [`Content::copy_from`] moves, in bytes: what keeps a worker busy for
/// a few tens of milliseconds. The caller of copy_file_range(2) gets a short count and goes on.
const MAX_COPY: u64 = 64 << 20;

/// Bytes moved by one step of a copy.
const COPY_STEP: usize = 256 << 10;

/// What fallocate(2) is asked to do. tmpfs knows these and no others; neither do we.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Pages for the range, and the size grows to its end.
    Grow,
    /// Pages for the range, whatever the size (FALLOC_FL_KEEP_SIZE).
    KeepSize,
    /// The range becomes zeros and its whole pages are given back (FALLOC_FL_PUNCH_HOLE).
    PunchHole,
}

/// Bytes that one step of a [`LongAllocation`] sees to: what takes some ten milliseconds.
pub(super) const STEP: u64 = 32 << 20;

/// fallocate(2) of a large range, done in pieces so that others can have the file in between.
#[derive(Debug)]
pub struct LongAllocation {
    what: Allocation,
    at: u64,
    end: u64,
    /// Pages for what is still to be done, so that there will be room.
    reserve: PageCharge,
    /// Room in the store.
    _promise: Promise,
}

impl Content {
    /// Does `what` to `[offset, offset + len)`. Errors: ENOSPC, and then nothing was changed; EFBIG.
    pub fn allocate(&mut self, what: Allocation, offset: u64, len: u64) -> Result<(), Errno> {
        let end = end_of(offset, len)?;
        if let Some(stored) = self.stored()? {
            return stored.allocate(what, offset, end);
        }
        match what {
            Allocation::PunchHole => return self.punch_hole(offset, end),
            Allocation::Grow | Allocation::KeepSize => {}
        }
        self.charge.check(pages_touched(offset, end))?;
        self.backing()?;
        let Data::Backing(file) = &self.data else {
            return Err(Errno::EIO);
        };
        let result = fill_holes(file, &mut self.charge, self.size, offset, end);
        if result.is_ok() && what == Allocation::Grow && end > self.size {
            file.set_len(end)?;
            self.size = end;
        }
        self.settle()?;
        result
    }

    /// Begins [`Content::allocate`] of a range that is too large to be done at once; `None` where it is not, or where there
    /// may not be room for all of it.
    pub fn allocate_at_length(
        &mut self,
        what: Allocation,
        offset: u64,
        len: u64,
    ) -> Result<Option<LongAllocation>, Errno> {
        let end = end_of(offset, len)?;
        if len <= STEP || (what == Allocation::PunchHole && matches!(self.data, Data::Inline(_))) {
            return Ok(None);
        }
        let mut reserve = self.charge.another();
        let mut promise = Promise::nothing();
        if let Some(stored) = self.stored()? {
            if what != Allocation::PunchHole {
                let Some(room) = stored.room_for(offset, end)? else {
                    return Ok(None);
                };
                promise = room;
            }
        } else if what != Allocation::PunchHole {
            let missing = self.missing_pages(offset, end)?;
            if reserve.grow(missing).is_err() {
                return Ok(None);
            }
        }
        let at = offset;
        Ok(Some(LongAllocation {
            what,
            at,
            end,
            reserve,
            _promise: promise,
        }))
    }

    /// Goes on with one piece of a long allocation. Returns whether that was the last. Errors: ENOSPC, ENOMEM; what was done
    /// before stays.
    pub fn allocate_some(&mut self, long: &mut LongAllocation) -> Result<bool, Errno> {
        let mut until = (long.at - long.at % STEP).saturating_add(STEP).min(long.end);
        if long.what == Allocation::PunchHole {
            // There is nothing to do in a hole, and it may be as long as numbers go.
            until = until.max(self.next_data(long.at)?).min(long.end);
            match self.stored()? {
                Some(stored) => stored.allocate(long.what, long.at, until)?,
                None => self.punch_hole(long.at, until)?,
            }
        } else if let Some(stored) = self.stored()? {
            // The size grows when all is there.
            let what = if until == long.end {
                long.what
            } else {
                Allocation::KeepSize
            };
            stored.allocate(what, long.at, until)?;
        } else {
            let missing = self.missing_pages(long.at, until)?;
            let more = self.charge.take_over(&mut long.reserve, missing);
            let Data::Backing(file) = &self.data else {
                return Err(Errno::EIO);
            };
            let result = self
                .charge
                .grow(more)
                .and_then(|()| memfd::allocate(file, long.at, until - long.at));
            // The size grows when all is there.
            if result.is_ok() && until == long.end && long.what == Allocation::Grow && until > self.size {
                file.set_len(until)?;
                self.size = until;
            }
            self.settle()?;
            result?;
        }
        long.at = until;
        Ok(until == long.end)
    }

    /// Where there is data next; the end of all files where there is none.
    fn next_data(&self, at: u64) -> Result<u64, Errno> {
        match self.seek(at, Whence::Data) {
            Err(Errno::ENXIO) => Ok(MAX_FILE_SIZE),
            found => found,
        }
    }

    /// The pages that `[start, end)` lacks, promised ones among them; the contents have a backing file then.
    fn missing_pages(&mut self, start: u64, end: u64) -> Result<u64, Errno> {
        let size = self.size;
        let holes = holes(self.backing()?, size, start, end)?;
        Ok(pages_of(&holes))
    }

    fn punch_hole(&mut self, start: u64, end: u64) -> Result<(), Errno> {
        if let Data::Inline(bytes) = &self.data
            && end < inline_pages(bytes) * PAGE_SIZE
            && start.next_multiple_of(PAGE_SIZE) + PAGE_SIZE <= end
        {
            // Whole pages in the middle: inline contents have no holes.
            self.backing()?;
        }
        match &mut self.data {
            Data::Inline(bytes) => {
                let to_the_end = end >= inline_pages(bytes) * PAGE_SIZE;
                let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let (start, end) = (clamp(start), clamp(end));
                bytes[start..end].fill(0);
                if to_the_end {
                    bytes.truncate(start.next_multiple_of(PAGE));
                    bytes.shrink_to_fit();
                }
            }
            Data::Backing(file) => memfd::punch_hole(file, start, end - start)?,
            Data::Stored(_) => {}
        }
        self.settle()
    }

    /// Copies up to `len` bytes of `source` from `from` to `to` here, as write would. Returns the bytes copied: fewer at
    /// the end of the source, at a limit, or where there are very many. Errors: ENOSPC, EFBIG.
    pub fn copy_from(&mut self, source: &Content, from: u64, to: u64, len: u64) -> Result<u64, Errno> {
        let len = len.min(source.size().saturating_sub(from));
        copy_in_steps(self, from, to, len, |_, at, buf| source.read_at(at, buf))
    }

    /// [`Content::copy_from`] within one file, where the ranges do not overlap.
    pub fn copy_within(&mut self, from: u64, to: u64, len: u64) -> Result<u64, Errno> {
        // The end of the source is where it is now: the copy may lie behind it and move it.
        let len = len.min(self.size().saturating_sub(from));
        copy_in_steps(self, from, to, len, |this, at, buf| this.read_at(at, buf))
    }
}

fn copy_in_steps(
    target: &mut Content,
    from: u64,
    to: u64,
    len: u64,
    read: impl Fn(&Content, u64, &mut [u8]) -> Result<usize, Errno>,
) -> Result<u64, Errno> {
    // The target must be able to hold it, also where there is nothing to copy.
    end_of(to, len)?;
    let len = len.min(MAX_COPY);
    let mut buf = Vec::new();
    let step = usize::try_from(len).unwrap_or(COPY_STEP).min(COPY_STEP);
    buf.try_reserve_exact(step).map_err(|_| Errno::ENOMEM)?;
    buf.resize(step, 0);
    let mut done = 0;
    while done < len {
        let wanted = usize::try_from(len - done).unwrap_or(step).min(step);
        let got = read(target, from.saturating_add(done), &mut buf[..wanted])?;
        if got == 0 {
            break;
        }
        match target.write_at(to.saturating_add(done), &buf[..got]) {
            Ok(written) => {
                done += written as u64;
                if written < got {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Gives pages to the holes in `[start, end)`. Errors: ENOSPC, and then the holes are as before.
fn fill_holes(file: &File, charge: &mut PageCharge, size: u64, start: u64, end: u64) -> Result<(), Errno> {
    let holes = holes(file, size, start, end)?;
    match charge.grow(pages_of(&holes)) {
        Ok(()) => memfd::allocate(file, start, end - start),
        Err(_) => fill_page_by_page(file, charge, &holes),
    }
}

/// Near the limit: holes that were allocated before and never written cost nothing, and only trying tells which those are.
/// On failure only the pages that are new are taken back: what was allocated before stays promised.
fn fill_page_by_page(file: &File, charge: &mut PageCharge, holes: &[(u64, u64)]) -> Result<(), Errno> {
    let mut made = Vec::new();
    let pages = holes.iter().flat_map(|&(from, to)| (from..to).step_by(PAGE));
    for at in pages {
        let filled = memfd::allocate(file, at, PAGE_SIZE).and_then(|()| {
            let new = pages_in_use(file)?.saturating_sub(charge.pages());
            if new > 0 {
                made.push(at);
            }
            charge.grow(new)
        });
        if let Err(error) = filled {
            for at in made {
                memfd::punch_hole(file, at, PAGE_SIZE)?;
            }
            return Err(error);
        }
    }
    Ok(())
}

pub(super) fn pages_of(holes: &[(u64, u64)]) -> u64 {
    holes.iter().map(|&(from, to)| pages_touched(from, to)).sum()
}

/// The holes in the pages that `[start, end)` touches, as ranges of whole pages; past the size all is hole.
pub(super) fn holes(file: &File, size: u64, start: u64, end: u64) -> Result<Vec<(u64, u64)>, Errno> {
    let mut at = start - start % PAGE_SIZE;
    let end = end.div_ceil(PAGE_SIZE).saturating_mul(PAGE_SIZE);
    let mut holes = Vec::new();
    while at < end {
        let hole = if at < size { memfd::seek(file, at, false)? } else { at };
        let hole = hole.div_ceil(PAGE_SIZE).saturating_mul(PAGE_SIZE);
        if hole >= end {
            break;
        }
        let data = match memfd::seek(file, hole, true) {
            Ok(data) => data.min(end),
            Err(Errno::ENXIO) => end,
            Err(error) => return Err(error),
        };
        holes.push((hole, data));
        at = data;
    }
    Ok(holes)
}
