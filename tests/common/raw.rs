//! The same system calls by other numbers: the old ones that no library uses any more, and those of 32-bit programs. And those
//! that only need a safe face: fork(2), signal(2), descriptors through sockets.
#![allow(unsafe_code)]

use nix::libc;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL")
}

fn owned(fd: i64) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(fd).expect("a descriptor or an errno");
    if fd < 0 {
        return Err(Errno::from_raw_os_error(-fd));
    }
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn errno(result: i64) -> i64 {
    let error = || i64::from(std::io::Error::last_os_error().raw_os_error().expect("an errno"));
    if result < 0 { -error() } else { result }
}

/// fork(2): runs `child` in a new process, which ends with the status that it returns. Only system calls, please: this process may
/// have other threads, and what they hold is held for ever there.
pub fn fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child does what the comment above allows, and never returns from here.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(child()),
            pid if pid > 0 => pid,
            _ => panic!("fork: {}", std::io::Error::last_os_error()),
        }
    }
}

/// waitpid(2): the status a process ended with; minus its signal if it was killed.
pub fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the status is a live variable.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid);
    match libc::WIFEXITED(status) {
        true => libc::WEXITSTATUS(status),
        false => -libc::WTERMSIG(status),
    }
}

/// Sends a descriptor through a socket; ours is closed.
pub fn send_descriptor(socket: impl AsFd, fd: OwnedFd) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let fds = [fd.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let bytes = [std::io::IoSlice::new(b"!")];
    sendmsg(socket, &bytes, &mut control, SendFlags::empty()).expect("sendmsg");
}

/// Takes a descriptor that was sent.
pub fn receive_descriptor(socket: impl AsFd) -> OwnedFd {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [std::io::IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC).expect("recvmsg");
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    fd.expect("a descriptor")
}

/// Ignores a signal from now on.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN runs no code of ours.
    let before = unsafe { libc::signal(signal, libc::SIG_IGN) };
    assert_ne!(before, libc::SIG_ERR);
}

/// open(2) itself, where the machine has it.
#[cfg(target_arch = "x86_64")]
pub fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = c(path);
    // SAFETY: the path ends with NUL and outlives the call.
    owned(errno(unsafe {
        libc::syscall(libc::SYS_open, path.as_ptr(), flags.bits(), 0o600)
    }))
}

/// creat(2) itself, where the machine has it.
#[cfg(target_arch = "x86_64")]
pub fn creat(path: &Path) -> Result<OwnedFd, Errno> {
    let path = c(path);
    // SAFETY: the path ends with NUL and outlives the call.
    owned(errno(unsafe { libc::syscall(libc::SYS_creat, path.as_ptr(), 0o600) }))
}

/// readlink(2) itself, where the machine has it: the length of the target.
#[cfg(target_arch = "x86_64")]
pub fn readlink(path: &Path) -> Result<i64, Errno> {
    let path = c(path);
    let mut target = [0_u8; 4096];
    // SAFETY: the path ends with NUL, the buffer is as long as it says, both outlive the call.
    let result = errno(unsafe { libc::syscall(libc::SYS_readlink, path.as_ptr(), target.as_mut_ptr(), target.len()) });
    if result < 0 {
        return Err(Errno::from_raw_os_error(i32::try_from(-result).expect("an errno")));
    }
    Ok(result)
}

/// A call of a 32-bit program: number, a path, and two more arguments.
#[cfg(target_arch = "x86_64")]
fn call32(number: u64, path: &Path, second: u64, third: u64) -> i64 {
    let path = c(path);
    let bytes = path.as_bytes_with_nul();
    assert!(bytes.len() <= 4096);
    // SAFETY: a new mapping of a page below 4 GiB, into which the path fits; int 0x80 takes its arguments from the low halves
    // of these registers, and rbx, which the compiler keeps for itself, is put back.
    unsafe {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
        );
        let page = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED, "a page below 4 GiB");
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), page.cast(), bytes.len());
        let mut result = number;
        std::arch::asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) page => _,
            inout("rax") result,
            in("rcx") second,
            in("rdx") third,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
        libc::munmap(page, 4096);
        i64::from(result as u32 as i32)
    }
}

/// open(2) of a 32-bit program.
#[cfg(target_arch = "x86_64")]
pub fn open32(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    owned(call32(5, path, u64::from(flags.bits()), 0o600))
}

/// creat(2) of a 32-bit program.
#[cfg(target_arch = "x86_64")]
pub fn creat32(path: &Path) -> Result<OwnedFd, Errno> {
    owned(call32(8, path, 0o600, 0))
}
