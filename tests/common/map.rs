//! A file mapping behind a safe face: bytes go in and out by volatile copies, nobody gets a reference.
#![allow(unsafe_code)]

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};

/// A mapping of the first `len` bytes of a file; unmapped in Drop.
pub struct Map {
    at: *mut u8,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and any thread may touch it.
unsafe impl Send for Map {}

impl Map {
    /// MAP_SHARED, to read and write.
    pub fn shared(fd: impl AsFd, len: usize) -> Result<Self, Errno> {
        Self::new(fd, len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
    }

    /// MAP_SHARED, to read.
    pub fn shared_read(fd: impl AsFd, len: usize) -> Result<Self, Errno> {
        Self::new(fd, len, ProtFlags::READ, MapFlags::SHARED)
    }

    /// MAP_PRIVATE, to read and write.
    pub fn private(fd: impl AsFd, len: usize) -> Result<Self, Errno> {
        Self::new(fd, len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }

    fn new(fd: impl AsFd, len: usize, prot: ProtFlags, flags: MapFlags) -> Result<Self, Errno> {
        // SAFETY: the kernel chooses the address, so no existing memory is replaced.
        let at = unsafe { mmap(std::ptr::null_mut(), len, prot, flags, fd, 0) }?;
        Ok(Self { at: at.cast(), len })
    }

    /// Copies bytes in; they must lie within the file as well as the mapping, else SIGBUS.
    pub fn put(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len);
        for (i, &byte) in bytes.iter().enumerate() {
            // SAFETY: offset + i lies within the mapping (asserted above), which lives as long as self.
            unsafe { self.at.add(offset + i).write_volatile(byte) };
        }
    }

    /// Copies bytes out.
    pub fn get(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.len);
        // SAFETY: each byte lies within the mapping (asserted above), which lives as long as self.
        (offset..offset + len)
            .map(|i| unsafe { self.at.add(i).read_volatile() })
            .collect()
    }

    /// msync(MS_SYNC).
    pub fn sync(&self) -> Result<(), Errno> {
        // SAFETY: the range is this mapping.
        unsafe { msync(self.at.cast(), self.len, MsyncFlags::SYNC) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by new() and nothing keeps a pointer into it.
        let _ = unsafe { munmap(self.at.cast(), self.len) };
    }
}
