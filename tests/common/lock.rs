//! fcntl(2) and flock(2) on bare descriptor numbers, as C programs make them, and what tests of locks need besides: signals to
//! one thread with handlers that say so, and closing by number.
#![allow(unsafe_code)]

use nix::libc;
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

pub use nix::libc::{F_GETLK, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_SETLK, F_SETLKW};
pub use nix::libc::{LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN};

/// l_type: a read lock.
pub const READ: i16 = libc::F_RDLCK as i16;
/// l_type: a write lock.
pub const WRITE: i16 = libc::F_WRLCK as i16;
/// l_type: none.
pub const NONE: i16 = libc::F_UNLCK as i16;

/// struct flock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// l_type.
    pub kind: i16,
    /// l_whence.
    pub whence: i16,
    /// l_start.
    pub start: i64,
    /// l_len.
    pub len: i64,
    /// l_pid.
    pub pid: i32,
}

impl Record {
    /// From the start of the file.
    pub fn new(kind: i16, start: i64, len: i64) -> Self {
        Self {
            kind,
            whence: 0,
            start,
            len,
            pid: 0,
        }
    }

    /// The whole file.
    pub fn all(kind: i16) -> Self {
        Self::new(kind, 0, 0)
    }
}

fn done(result: i32) -> Result<i32, Errno> {
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_raw_os_error(error.raw_os_error().expect("an errno")));
    }
    Ok(result)
}

/// fcntl(2) with a record; F_GETLK and F_OFD_GETLK change it.
pub fn fcntl(fd: i32, command: i32, record: &mut Record) -> Result<(), Errno> {
    let mut it = libc::flock {
        l_type: record.kind,
        l_whence: record.whence,
        l_start: record.start,
        l_len: record.len,
        l_pid: record.pid,
    };
    // SAFETY: the record is a live struct flock, which all commands of this module take.
    done(unsafe { libc::fcntl(fd, command, &raw mut it) })?;
    *record = Record {
        kind: it.l_type,
        whence: it.l_whence,
        start: it.l_start,
        len: it.l_len,
        pid: it.l_pid,
    };
    Ok(())
}

/// fcntl(2) with a record that does not change.
pub fn set(fd: i32, command: i32, mut record: Record) -> Result<(), Errno> {
    fcntl(fd, command, &mut record)
}

/// F_GETLK or F_OFD_GETLK: the answer.
pub fn get(fd: i32, command: i32, mut record: Record) -> Result<Record, Errno> {
    fcntl(fd, command, &mut record)?;
    Ok(record)
}

/// flock(2).
pub fn flock(fd: i32, operation: i32) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    done(unsafe { libc::flock(fd, operation) }).map(drop)
}

/// lockf(3).
pub fn lockf(fd: i32, command: i32, len: i64) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    done(unsafe { libc::lockf(fd, command, len) }).map(drop)
}

/// open(2), mode 0666.
pub fn open(path: &Path, flags: i32) -> Result<i32, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: the path ends with NUL and outlives the call.
    done(unsafe { libc::open(path.as_ptr(), flags, 0o666) })
}

/// close(2) of a number that this program does not keep as an owned descriptor.
pub fn close(fd: i32) -> Result<(), Errno> {
    // SAFETY: callers pass numbers that only they use.
    done(unsafe { libc::close(fd) }).map(drop)
}

/// close_range(2): all but the standard ones, in a process of its own that needs none.
pub fn close_all() {
    close_from(3);
}

/// close_range(2): all from that one on, in a process of its own that needs none of them.
pub fn close_from(least: u32) {
    // SAFETY: callers use none of these any more.
    let result = unsafe { libc::syscall(libc::SYS_close_range, least, u32::MAX, 0) };
    assert_eq!(result, 0, "close_range");
}

/// dup(2) to the lowest free number that is at least `least`.
pub fn dup_from(fd: i32, least: i32) -> Result<i32, Errno> {
    // SAFETY: makes a new descriptor only.
    done(unsafe { libc::fcntl(fd, libc::F_DUPFD, least) })
}

/// dup2(2): closes what `to` was.
pub fn dup_over(fd: i32, to: i32) -> Result<i32, Errno> {
    // SAFETY: callers pass numbers that only they use.
    done(unsafe { libc::dup2(fd, to) })
}

/// fcntl(F_SETFD): no FD_CLOEXEC any more.
pub fn keep_over_exec(fd: i32) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    done(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }).map(drop)
}

/// A number that stays open as long as this is used.
#[derive(Clone, Copy, Debug)]
pub struct Borrowed(pub i32);

impl AsFd for Borrowed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: that is what whoever made it says.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

/// Makes a number that nobody else keeps an owned descriptor.
pub fn take(fd: i32) -> OwnedFd {
    // SAFETY: callers pass numbers that only they use.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// lseek(2) from the start.
pub fn seek(fd: i32, to: i64) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    if unsafe { libc::lseek(fd, to, libc::SEEK_SET) } < 0 {
        done(-1)?;
    }
    Ok(())
}

/// ftruncate(2).
pub fn truncate(fd: i32, len: i64) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    done(unsafe { libc::ftruncate(fd, len) }).map(drop)
}

/// The calling thread's id.
pub fn thread_id() -> i32 {
    // SAFETY: no memory is involved.
    unsafe { libc::gettid() }
}

/// tgkill(2); ESRCH if there is no such thread any more.
pub fn signal_thread(process: i32, thread: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
    done(i32::try_from(result).expect("0 or -1")).map(drop)
}

/// fork(2) of a program that plays a part of its own: the child goes on in `child` and ends when that returns. Unlike
/// `raw::fork` the child may start threads, so the caller must hold nothing that they need.
pub fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: the programs that call this have only threads that sleep in system calls, which hold nothing.
    match unsafe { libc::fork() } {
        0 => {
            let _ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            exit(0)
        }
        pid if pid > 0 => pid,
        _ => panic!("fork: {}", std::io::Error::last_os_error()),
    }
}

/// _exit(2).
pub fn exit(status: i32) -> ! {
    // SAFETY: it does not come back.
    unsafe { libc::_exit(status) }
}

/// Where handlers write a byte for each signal that they get; none below 0.
static BELL: AtomicI32 = AtomicI32::new(-1);
/// How many signals the handlers of this process have got.
static RUNG: AtomicI32 = AtomicI32::new(0);

extern "C" fn ring(signal: i32) {
    RUNG.fetch_add(1, Ordering::SeqCst);
    let fd = BELL.load(Ordering::SeqCst);
    if fd >= 0 {
        let bytes = [u8::MAX, signal as u8];
        // SAFETY: write(2) may be called in a handler, and the bytes live.
        unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    }
}

/// Handlers write two bytes there from now on, 255 and the signal, as one message.
pub fn bell(fd: i32) {
    BELL.store(fd, Ordering::SeqCst);
}

/// How many signals have been handled.
pub fn rung() -> i32 {
    RUNG.load(Ordering::SeqCst)
}

/// Handles a signal by [`bell`] alone, with SA_RESTART or without.
pub fn handle(signal: i32, restart: bool) {
    // SAFETY: the handler touches atomics and makes a system call that handlers may make.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ring as extern "C" fn(i32) as usize;
        action.sa_flags = if restart { libc::SA_RESTART } else { 0 };
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    assert_eq!(result, 0, "sigaction");
}
