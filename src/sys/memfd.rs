//! Backing files: anonymous memory with a descriptor.

use std::fs::File;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Whence, lseek64};

use crate::types::Errno;

/// An empty backing file. Errors: ENFILE where descriptors have run out, ENOMEM.
pub fn create() -> Result<File, Errno> {
    let fd = memfd_create(c"owltmp", MFdFlags::MFD_CLOEXEC)?;
    Ok(File::from(fd))
}

fn signed(value: u64) -> Result<i64, Errno> {
    i64::try_from(value).map_err(|_| Errno::EFBIG)
}

/// Gives pages to `[offset, offset + len)` and leaves the size. Errors: ENOSPC, ENOMEM.
pub fn allocate(file: &File, offset: u64, len: u64) -> Result<(), Errno> {
    let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(file, keep, signed(offset)?, signed(len)?)?)
}

/// Gives pages to `[offset, offset + len)`, and the file grows to its end. Errors: ENOSPC, ENOMEM.
pub fn allocate_and_grow(file: &File, offset: u64, len: u64) -> Result<(), Errno> {
    Ok(fallocate(file, FallocateFlags::empty(), signed(offset)?, signed(len)?)?)
}

/// Makes `[offset, offset + len)` zeros and gives back its whole pages. The size stays.
pub fn punch_hole(file: &File, offset: u64, len: u64) -> Result<(), Errno> {
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(file, punch, signed(offset)?, signed(len)?)?)
}

/// The next data (or hole) at or after `offset`. Errors: ENXIO.
///
/// Moves the file position, which nothing else uses: all reads and writes are positioned.
pub fn seek(file: &File, offset: u64, data: bool) -> Result<u64, Errno> {
    let whence = if data { Whence::SeekData } else { Whence::SeekHole };
    Ok(lseek64(file, signed(offset)?, whence)?.cast_unsigned())
}
