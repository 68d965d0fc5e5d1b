//! System calls through io_uring, where nobody can see from outside what the caller wants.
#![allow(unsafe_code)]

use io_uring::{IoUring, opcode, squeue, types};
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
    while let Err(error) = ring.submit_and_wait(1) {
        assert_eq!(error.raw_os_error(), Some(nix::libc::EINTR), "io_uring_enter: {error}");
    }
    let result = ring.completion().next().expect("a completion").result();
    if result < 0 {
        Err(Errno::from_raw_os_error(-result))
    } else {
        Ok(result)
    }
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
