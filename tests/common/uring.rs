//! System calls through io_uring, where nobody can see from outside what the caller wants.
#![allow(unsafe_code)]

use io_uring::{IoUring, opcode, squeue, types};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::mandatory::Way;

/// Who makes the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The thread that submits it, if that can be done without waiting.
    Submitter,
    /// A worker of the kernel.
    Worker,
    /// The kernel's thread that looks for submissions, or a worker on its behalf.
    Poller,
}

const HERE: types::Fd = types::Fd(nix::libc::AT_FDCWD);

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL")
}

/// Submits one entry and waits for its end; what it points at must outlive this call.
fn run(by: By, entry: squeue::Entry) -> Result<i32, Errno> {
    let mut builder = IoUring::builder();
    if by == By::Poller {
        builder.setup_sqpoll(1);
    }
    let mut ring: IoUring = builder.build(2).expect("io_uring");
    let flags = if by == By::Worker {
        squeue::Flags::ASYNC
    } else {
        squeue::Flags::empty()
    };
    // SAFETY: every caller below keeps what the entry points at until this function has returned, and it returns only after
    // the entry's completion.
    unsafe { ring.submission().push(&entry.flags(flags)) }.expect("room for one");
    let result = wait(&mut ring, 1)[0].result();
    if result < 0 {
        Err(Errno::from_raw_os_error(-result))
    } else {
        Ok(result)
    }
}

/// Submits what there is and waits for that many completions: io_uring_enter(2) may come back with fewer.
fn wait(ring: &mut IoUring, count: usize) -> Vec<io_uring::cqueue::Entry> {
    let mut done: Vec<_> = vec![];
    while done.len() < count {
        match ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.raw_os_error(), Some(nix::libc::EINTR), "io_uring_enter: {error}"),
        }
        done.extend(ring.completion());
    }
    done
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// openat(2) with mode 0600; O_CLOEXEC is added.
pub fn open(by: By, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = c(path);
    let flags = (flags | OFlags::CLOEXEC).bits().cast_signed();
    let entry = opcode::OpenAt::new(HERE, path.as_ptr()).flags(flags).mode(0o600);
    run(by, entry.build()).map(owned)
}

/// pread(2) of up to `len` bytes.
pub fn read_at(by: By, fd: impl AsFd, len: usize, offset: u64) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let size = u32::try_from(len).expect("a length");
    let entry = opcode::Read::new(target(&fd), bytes.as_mut_ptr(), size).offset(offset);
    let count = run(by, entry.build())?;
    bytes.truncate(usize::try_from(count).expect("a count"));
    Ok(bytes)
}

/// pwrite(2).
pub fn write_at(by: By, fd: impl AsFd, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    let size = u32::try_from(bytes.len()).expect("a length");
    let entry = opcode::Write::new(target(&fd), bytes.as_ptr(), size).offset(offset);
    run(by, entry.build()).map(|count| usize::try_from(count).expect("a count"))
}

/// close(2) of a descriptor by its number.
pub fn close(by: By, fd: i32) -> Result<(), Errno> {
    run(by, opcode::Close::new(types::Fd(fd)).build()).map(drop)
}

/// pwrite(2) by a worker of the kernel to a file that the ring alone holds, and lets go of while the write is under way.
/// Errors: EBADF where it was faster.
pub fn write_and_let_go(fd: OwnedFd, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    let mut ring: IoUring = IoUring::new(2).expect("io_uring");
    ring.submitter()
        .register_files(&[fd.as_raw_fd()])
        .expect("a fixed file");
    drop(fd);
    let size = u32::try_from(bytes.len()).expect("a length");
    let entry = opcode::Write::new(types::Fixed(0), bytes.as_ptr(), size).offset(offset);
    // SAFETY: the bytes outlive the completion, which this function waits for.
    unsafe { ring.submission().push(&entry.build().flags(squeue::Flags::ASYNC)) }.expect("room for one");
    ring.submit().expect("io_uring_enter");
    ring.submitter().unregister_files().expect("it is registered");
    let result = wait(&mut ring, 1)[0].result();
    usize::try_from(result).map_err(|_| Errno::from_raw_os_error(-result))
}

/// Many pwrite(2) under way at once, one behind the other in the file; all of them write all.
pub fn write_many(by: By, fd: impl AsFd, pieces: &[Vec<u8>], mut offset: u64) {
    let mut ring: IoUring = IoUring::new(u32::try_from(pieces.len()).expect("a count")).expect("io_uring");
    for piece in pieces {
        let size = u32::try_from(piece.len()).expect("a length");
        let entry = opcode::Write::new(target(&fd), piece.as_ptr(), size)
            .offset(offset)
            .build();
        offset += u64::from(size);
        let flags = if by == By::Submitter {
            squeue::Flags::empty()
        } else {
            squeue::Flags::ASYNC
        };
        // SAFETY: the pieces outlive the ring's last completion, which this function waits for.
        unsafe { ring.submission().push(&entry.flags(flags).user_data(u64::from(size))) }.expect("room");
    }
    let done = wait(&mut ring, pieces.len());
    assert!(done.iter().all(|it| u64::try_from(it.result()) == Ok(it.user_data())));
}

/// pread(2) or pwrite(2) with a registered buffer and a registered file.
pub fn transfer_fixed(way: Way, fd: impl AsFd, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut ring: IoUring = IoUring::new(2).expect("io_uring");
    let size = u32::try_from(bytes.len()).expect("a length");
    let buffer = nix::libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    ring.submitter()
        .register_files(&[fd.as_fd().as_raw_fd()])
        .expect("a fixed file");
    // SAFETY: the bytes outlive the ring, which is dropped before this function returns.
    unsafe { ring.submitter().register_buffers(&[buffer]) }.expect("a fixed buffer");
    let file = types::Fixed(0);
    let entry = match way {
        Way::Read => opcode::ReadFixed::new(file, bytes.as_mut_ptr(), size, 0)
            .offset(offset)
            .build(),
        Way::Write => opcode::WriteFixed::new(file, bytes.as_ptr(), size, 0)
            .offset(offset)
            .build(),
    };
    // SAFETY: the bytes outlive the completion, which this function waits for.
    unsafe { ring.submission().push(&entry) }.expect("room for one");
    let result = wait(&mut ring, 1)[0].result();
    usize::try_from(result).map_err(|_| Errno::from_raw_os_error(-result))
}

fn target(fd: impl AsFd) -> types::Fd {
    types::Fd(fd.as_fd().as_raw_fd())
}

/// A ring that holds a file of its own accord (a "fixed file"): the file stays open in it when its descriptor is closed.
pub struct Keeper(IoUring);

impl Keeper {
    /// Gives a file to a new ring.
    pub fn of(fd: OwnedFd) -> Self {
        let ring = IoUring::new(2).expect("io_uring");
        ring.submitter()
            .register_files(&[fd.as_raw_fd()])
            .expect("a fixed file");
        Self(ring)
    }

    /// pread(2) of the file.
    pub fn read_at(&mut self, len: usize, offset: u64) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; len];
        let size = u32::try_from(len).expect("a length");
        let entry = opcode::Read::new(types::Fixed(0), bytes.as_mut_ptr(), size).offset(offset);
        // SAFETY: the buffer lives until the completion has come.
        unsafe { self.0.submission().push(&entry.build()) }.expect("room for one");
        let count = wait(&mut self.0, 1)[0].result();
        if count < 0 {
            return Err(Errno::from_raw_os_error(-count));
        }
        bytes.truncate(usize::try_from(count).expect("a count"));
        Ok(bytes)
    }
}

/// openat2(2), likewise.
pub fn open2(by: By, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = c(path);
    let mode = if flags.contains(OFlags::CREATE) { 0o600 } else { 0 };
    let flags = u64::from((flags | OFlags::CLOEXEC).bits());
    let how = types::OpenHow::new().flags(flags).mode(mode);
    run(by, opcode::OpenAt2::new(HERE, path.as_ptr(), &raw const how).build()).map(owned)
}

/// statx(2), following.
pub fn stat(by: By, path: &Path) -> Result<(), Errno> {
    let path = c(path);
    // SAFETY: statx is plain numbers.
    let mut statx: nix::libc::statx = unsafe { std::mem::zeroed() };
    let buffer = (&raw mut statx).cast::<types::statx>();
    let entry = opcode::Statx::new(HERE, path.as_ptr(), buffer).mask(nix::libc::STATX_BASIC_STATS);
    run(by, entry.build()).map(drop)
}

/// mkdirat(2) with mode 0700.
pub fn mkdir(by: By, path: &Path) -> Result<(), Errno> {
    let path = c(path);
    run(by, opcode::MkDirAt::new(HERE, path.as_ptr()).mode(0o700).build()).map(drop)
}

/// linkat(2) without flags.
pub fn link(by: By, old: &Path, new: &Path) -> Result<(), Errno> {
    let (old, new) = (c(old), c(new));
    run(by, opcode::LinkAt::new(HERE, old.as_ptr(), HERE, new.as_ptr()).build()).map(drop)
}
