//! name_to_handle_at(2) and open_by_handle_at(2).
#![allow(unsafe_code)]

use nix::libc;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd};

/// A file handle; `words` holds the size and type that head it and then its bytes.
#[derive(Clone, Debug)]
pub struct Handle {
    words: [u32; 34],
}

fn error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

impl Handle {
    /// The handle of a name.
    pub fn of(dir: impl AsFd, name: &str) -> Result<Self, Errno> {
        let name = CString::new(name).expect("no NUL");
        let mut words = [0_u32; 34];
        words[0] = 128;
        let mut mount = 0;
        // SAFETY: the buffer has room for the head of 8 bytes and the 128 bytes it promises; the name ends with NUL.
        let done = unsafe {
            let handle = words.as_mut_ptr().cast();
            libc::name_to_handle_at(dir.as_fd().as_raw_fd(), name.as_ptr(), handle, &mut mount, 0)
        };
        if done == 0 { Ok(Self { words }) } else { Err(error()) }
    }

    /// Opens the file.
    pub fn open(&self, mount: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut words = self.words;
        let flags = (flags | OFlags::CLOEXEC).bits().cast_signed();
        // SAFETY: the buffer is a whole handle as the kernel wrote it.
        let fd = unsafe { libc::open_by_handle_at(mount.as_fd().as_raw_fd(), words.as_mut_ptr().cast(), flags) };
        if fd < 0 {
            return Err(error());
        }
        // SAFETY: the kernel has just given us this descriptor and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
