//! Small safe faces of the calls that tests of mandatory locks need: descriptors that another thread may close, fcntl with any
//! command, reads and writes with flags, signals to a thread, a child that shares the table of descriptors.
#![allow(unsafe_code)]

use nix::libc;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a call gave.
pub type Sys<T = i64> = Result<T, Errno>;

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn checked(result: i64) -> Sys {
    if result < 0 { Err(last()) } else { Ok(result) }
}

/// A descriptor by its number: it can be closed while another thread uses it. A number that is not open gives EBADF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fd(i32);

impl Fd {
    /// Of a descriptor that from now on is closed by [`Fd::close`] only.
    pub fn of(fd: OwnedFd) -> Self {
        Self(fd.into_raw_fd())
    }

    /// A number that means a descriptor or nothing.
    pub fn numbered(number: i32) -> Self {
        Self(number)
    }

    /// The number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// close(2).
    pub fn close(self) -> Sys<()> {
        // SAFETY: close takes any number; nobody owns this one, see [`Fd::of`].
        checked(i64::from(unsafe { libc::close(self.0) })).map(drop)
    }

    /// Takes it back.
    pub fn owned(self) -> OwnedFd {
        // SAFETY: the number came from an owned descriptor, see [`Fd::of`], and every user of this value gives it up here.
        unsafe { OwnedFd::from_raw_fd(self.0) }
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: whoever uses it makes one system call, which takes any number: the worst is EBADF.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

/// fcntl(2) with a lock.
pub fn record_lock(fd: Fd, command: i32, mut lock: libc::flock) -> Sys<libc::flock> {
    // SAFETY: the lock is a live variable, and every command that callers give takes one.
    checked(i64::from(unsafe { libc::fcntl(fd.0, command, &raw mut lock) }))?;
    Ok(lock)
}

/// lockf(3).
pub fn lockf(fd: Fd, command: i32, len: i64) -> Sys {
    // SAFETY: no pointers.
    checked(i64::from(unsafe { libc::lockf(fd.0, command, len) }))
}

/// flock(2) with any bits.
pub fn flock(fd: Fd, operation: i32) -> Sys {
    // SAFETY: no pointers.
    checked(i64::from(unsafe { libc::flock(fd.0, operation) }))
}

/// preadv2(2) with one buffer; offset -1 is the descriptor's own.
pub fn preadv2(fd: Fd, buffer: &mut [u8], offset: i64, flags: i32) -> Sys {
    let iov = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: the buffer lives through the call and is as long as the vector says.
    checked(unsafe { libc::preadv2(fd.0, &raw const iov, 1, offset, flags) } as i64)
}

/// pwritev2(2) with one buffer; offset -1 is the descriptor's own.
pub fn pwritev2(fd: Fd, bytes: &[u8], offset: i64, flags: i32) -> Sys {
    let iov = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: the bytes live through the call and are only read.
    checked(unsafe { libc::pwritev2(fd.0, &raw const iov, 1, offset, flags) } as i64)
}

/// Which way a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the file.
    Read,
    /// To the file.
    Write,
}

#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: u16,
    fd: u32,
    buffer: u64,
    len: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

#[repr(C)]
#[derive(Default)]
struct IoEvent {
    data: u64,
    object: u64,
    result: i64,
    result2: i64,
}

/// io_setup(2), io_submit(2) of one transfer, io_getevents(2). Err is what io_submit said; else what the transfer gave.
pub fn aio(fd: Fd, way: Way, buffer: &mut [u8], offset: i64) -> Sys<Sys> {
    let mut context = 0_u64;
    let mut request = Iocb {
        opcode: u16::from(way == Way::Write),
        fd: fd.0.cast_unsigned(),
        buffer: buffer.as_mut_ptr() as u64,
        len: buffer.len() as u64,
        offset,
        ..Iocb::default()
    };
    let mut list = [&raw mut request];
    let mut event = IoEvent::default();
    // SAFETY: all that the kernel gets lives until io_destroy has returned, which waits for what is under way.
    unsafe {
        checked(libc::syscall(libc::SYS_io_setup, 1, &raw mut context))?;
        let submitted = checked(libc::syscall(libc::SYS_io_submit, context, 1, list.as_mut_ptr()));
        let result = submitted.map(|_| {
            let none = std::ptr::null::<libc::timespec>();
            loop {
                match libc::syscall(libc::SYS_io_getevents, context, 1, 1, &raw mut event, none) {
                    1 => break,
                    _ => assert_eq!(last(), Errno::INTR),
                }
            }
            match i32::try_from(event.result) {
                Ok(errno @ ..0) => Err(Errno::from_raw_os_error(-errno)),
                _ => Ok(event.result),
            }
        });
        libc::syscall(libc::SYS_io_destroy, context);
        result
    }
}

/// ioctl FICLONERANGE: shares a range of `from` with `to`.
pub fn clone_range(from: Fd, from_offset: u64, len: u64, to: Fd, to_offset: u64) -> Sys {
    let range = libc::file_clone_range {
        src_fd: i64::from(from.0),
        src_offset: from_offset,
        src_length: len,
        dest_offset: to_offset,
    };
    // SAFETY: the range lives through the call, which only reads it.
    checked(i64::from(unsafe {
        libc::ioctl(to.0, libc::FICLONERANGE, &raw const range)
    }))
}

/// _IOWR(0x94, 54, struct file_dedupe_range), of 24 bytes.
const FIDEDUPERANGE: libc::Ioctl = 0xc018_9436;

/// ioctl FIDEDUPERANGE with one target: what it says of that target, 0 where it was done.
pub fn dedupe_range(from: Fd, from_offset: u64, len: u64, to: Fd, to_offset: u64) -> Sys {
    // struct file_dedupe_range with one file_dedupe_range_info.
    let mut words = [from_offset, len, 1, to.0 as u64, to_offset, 0, 0];
    // SAFETY: the words are the two structures in full, and live through the call.
    checked(i64::from(unsafe {
        libc::ioctl(from.0, FIDEDUPERANGE, words.as_mut_ptr())
    }))?;
    match words[6] as u32 as i32 {
        status @ ..0 => Err(Errno::from_raw_os_error(-status)),
        status => Ok(i64::from(status)),
    }
}

static CAUGHT: AtomicU64 = AtomicU64::new(0);

extern "C" fn catch(_: i32) {
    CAUGHT.fetch_add(1, Ordering::SeqCst);
}

/// SIGUSR1 and SIGALRM are caught and end what waits; SIGUSR2 is caught and restarts it (SA_RESTART).
pub fn catch_signals() {
    for (signal, flags) in [
        (libc::SIGUSR1, 0),
        (libc::SIGUSR2, libc::SA_RESTART),
        (libc::SIGALRM, 0),
    ] {
        // SAFETY: an all-zero sigaction is one with an empty mask; the handler does only what handlers may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = catch as extern "C" fn(i32) as usize;
            action.sa_flags = flags;
            assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
        }
    }
}

/// How many signals were caught.
pub fn caught() -> u64 {
    CAUGHT.load(Ordering::SeqCst)
}

/// alarm(2).
pub fn alarm(seconds: u32) {
    // SAFETY: no pointers.
    unsafe { libc::alarm(seconds) };
}

/// tgkill(2).
pub fn signal_thread(pid: i32, tid: i32, signal: i32) -> Sys<()> {
    // SAFETY: no pointers.
    checked(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) }).map(drop)
}

/// Runs `child` in a new process that shares this one's table of descriptors; it ends with the status that `child` returns. The
/// caller must be the only thread that does anything.
pub fn share_files(child: impl FnOnce() -> i32) -> i32 {
    let flags = libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: without CLONE_VM this is a fork: the child has a copy of the memory, goes on here on a copy of this stack and never returns.
    unsafe {
        match libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) {
            0 => libc::_exit(child()),
            pid if pid > 0 => pid as i32,
            _ => panic!("clone: {}", last()),
        }
    }
}

/// fcntl(F_SETFD).
pub fn close_on_exec(fd: Fd, on: bool) -> Sys<()> {
    let flag = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: no pointers.
    checked(i64::from(unsafe { libc::fcntl(fd.0, libc::F_SETFD, flag) })).map(drop)
}

/// poll(2) without waiting, for input and output.
pub fn poll(fd: Fd) -> Sys {
    let mut it = libc::pollfd {
        fd: fd.0,
        events: libc::POLLIN | libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one entry, which lives through the call.
    checked(i64::from(unsafe { libc::poll(&raw mut it, 1, 0) }))?;
    Ok(i64::from(it.revents))
}

/// An epoll(7) that tells of each change of a descriptor that may concern readers or writers, and of what it is now.
pub fn epoll(fd: Fd) -> Sys<Fd> {
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET) as u32,
        u64: 0,
    };
    // SAFETY: no pointers.
    let epoll = Fd(checked(i64::from(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }))? as i32);
    // SAFETY: the event lives through the call.
    checked(i64::from(unsafe {
        libc::epoll_ctl(epoll.0, libc::EPOLL_CTL_ADD, fd.0, &raw mut event)
    }))?;
    Ok(epoll)
}

/// epoll_wait(2) for a change, without end: what it says of the descriptor.
pub fn event(epoll: Fd) -> Sys {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: room for one event, which lives through the call.
    checked(i64::from(unsafe { libc::epoll_wait(epoll.0, &raw mut event, 1, -1) }))?;
    Ok(i64::from(event.events))
}

/// sync_file_range(2) of all.
pub fn sync_file_range(fd: Fd) -> Sys {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: no pointers.
    checked(i64::from(unsafe { libc::sync_file_range(fd.0, 0, 0, flags) }))
}

/// readahead(2).
pub fn readahead(fd: Fd, len: usize) -> Sys {
    // SAFETY: no pointers.
    checked(unsafe { libc::readahead(fd.0, 0, len) } as i64)
}
