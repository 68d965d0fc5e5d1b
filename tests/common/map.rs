//! A file mapping behind a safe face: bytes go in and out by volatile copies, nobody gets a reference.
#![allow(unsafe_code)]

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, MsyncFlags, ProtFlags, mmap, mprotect, msync, munmap};
use rustix::pipe::{IoSliceRaw, SpliceFlags, vmsplice};

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
        Self::with(fd, len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
    }

    /// MAP_SHARED, to read.
    pub fn shared_read(fd: impl AsFd, len: usize) -> Result<Self, Errno> {
        Self::with(fd, len, ProtFlags::READ, MapFlags::SHARED)
    }

    /// MAP_PRIVATE, to read and write.
    pub fn private(fd: impl AsFd, len: usize) -> Result<Self, Errno> {
        Self::with(fd, len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }

    /// Any mapping.
    pub fn with(fd: impl AsFd, len: usize, prot: ProtFlags, flags: MapFlags) -> Result<Self, Errno> {
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

    fn transfer(&self, offset: usize, byte: *mut u8, out: bool) -> bool {
        assert!(offset < self.len);
        let one = |at: *mut u8| nix::libc::iovec {
            iov_base: at.cast(),
            iov_len: 1,
        };
        // SAFETY: offset lies within the mapping (asserted above).
        let (there, here) = (one(unsafe { self.at.add(offset) }), one(byte));
        // SAFETY: the call is of this process itself; both ranges are one byte, which a live variable and the mapping hold; where
        // the mapping has no byte there it fails.
        let done = unsafe {
            let pid = nix::libc::getpid();
            match out {
                true => nix::libc::process_vm_readv(pid, &here, 1, &there, 1, 0),
                false => nix::libc::process_vm_writev(pid, &here, 1, &there, 1, 0),
            }
        };
        done == 1
    }

    /// The byte at an offset, which may lie past the end of the file: there is none then.
    pub fn peek(&self, offset: usize) -> Option<u8> {
        let mut byte = 0;
        self.transfer(offset, &raw mut byte, true).then_some(byte)
    }

    /// Stores a byte at an offset that may lie past the end of the file. Returns whether it was stored.
    pub fn poke(&self, offset: usize, mut byte: u8) -> bool {
        self.transfer(offset, &raw mut byte, false)
    }

    /// Its name in /proc/self/map_files.
    pub fn range(&self) -> String {
        let start = self.at.addr();
        format!("{start:x}-{:x}", start + self.len.next_multiple_of(4096))
    }

    /// mprotect(2) of all of it.
    pub fn protect(&self, protection: ProtFlags) -> Result<(), Errno> {
        let flags = MprotectFlags::from_bits_retain(protection.bits());
        // SAFETY: the range is this mapping, and nobody has a reference into it.
        unsafe { mprotect(self.at.cast(), self.len, flags) }
    }

    /// vmsplice(2) of its first page into a pipe: the pipe holds the page itself.
    pub fn splice_into(&self, pipe: impl AsFd) -> Result<usize, Errno> {
        // SAFETY: a mapping as long as it says is there as long as self; the pipe reads from it only.
        unsafe {
            let page = IoSliceRaw::from_slice(std::slice::from_raw_parts(self.at, self.len.min(4096)));
            vmsplice(pipe, &[page], SpliceFlags::empty())
        }
    }

    /// getdents64(2) of a directory into it.
    pub fn list(&self, directory: impl AsFd) -> Result<(), Errno> {
        use std::os::fd::AsRawFd;
        let fd = directory.as_fd().as_raw_fd();
        // SAFETY: the kernel writes into this mapping, of which nobody has a reference.
        let done = unsafe { nix::libc::syscall(nix::libc::SYS_getdents64, fd, self.at, self.len) };
        match done {
            0.. => Ok(()),
            _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        }
    }

    /// madvise(MADV_REMOVE) of its first `len` bytes: the file's pages go.
    pub fn remove(&self, len: usize) -> Result<(), Errno> {
        assert!(len <= self.len);
        // SAFETY: the range lies within this mapping, of which nobody has a reference.
        let done = unsafe { nix::libc::madvise(self.at.cast(), len, nix::libc::MADV_REMOVE) };
        match done {
            0 => Ok(()),
            _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        }
    }

    /// msync(MS_SYNC).
    pub fn sync(&self) -> Result<(), Errno> {
        // SAFETY: the range is this mapping.
        unsafe { msync(self.at.cast(), self.len, MsyncFlags::SYNC) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by with() and nothing keeps a pointer into it.
        let _ = unsafe { munmap(self.at.cast(), self.len) };
    }
}
