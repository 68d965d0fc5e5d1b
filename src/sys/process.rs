//! Processes: fork, what a child must let go of, and the environment. All of it before there are threads.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, getppid};

use super::signals::Inherited;

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The old process; the pid of the new one.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Makes a copy of this process, which must have one thread only.
pub fn fork() -> io::Result<Side> {
    require_one_thread()?;
    // SAFETY: there is one thread (checked above), so no lock is held by a thread that the child lacks.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
        ForkResult::Child => Ok(Side::Child),
    }
}

/// Sets environment variables of this process, which must have one thread only.
pub fn set_environment(variables: &[(&str, &str)]) -> io::Result<()> {
    require_one_thread()?;
    for (name, value) in variables {
        // SAFETY: there is one thread (checked above), so nobody reads the environment meanwhile.
        unsafe { std::env::set_var(OsStr::new(name), OsStr::new(value)) };
    }
    Ok(())
}

fn require_one_thread() -> io::Result<()> {
    let path = "/proc/self/task";
    let no_proc = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}: is /proc mounted?"));
    match fs::read_dir(path).map_err(no_proc)?.count() {
        1 => Ok(()),
        threads => Err(io::Error::other(format!("{threads} threads where one was expected"))),
    }
}

/// Closes every descriptor that came with the process, except standard input, output and error and `keep`. What the
/// process has opened itself must be closed or kept.
pub fn close_inherited(keep: BorrowedFd) -> io::Result<()> {
    let keep = keep.as_raw_fd().cast_unsigned();
    if keep > 3 {
        close_range(3, keep - 1)?;
    }
    close_range(keep.max(2) + 1, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the caller vouches that no object of this process owns a descriptor in the range.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    nix::Error::result(result)?;
    Ok(())
}

/// Gives this thread a table of descriptors of its own, without any but standard input, output and error.
pub fn let_go_of_descriptors() -> io::Result<()> {
    // SAFETY: the table is this thread's alone from now on, and the thread owns no descriptor yet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_UNSHARE) };
    nix::Error::result(result)?;
    Ok(())
}

/// Points standard input, output and error at nothing.
pub fn discard_stdio() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Asks the kernel to kill this process when its parent, `parent`, ends. False when that has already happened.
pub fn die_with(parent: Pid) -> io::Result<bool> {
    set_pdeathsig(Signal::SIGKILL)?;
    Ok(getppid() == parent)
}

/// Starts a program with signals as `inherited`, not as this process has set them for itself; SIGPIPE means what it always
/// does.
pub fn spawn_inheriting(command: &mut Command, inherited: Inherited) -> io::Result<Child> {
    // SAFETY: between fork and exec this makes system calls on values of its own; it allocates and locks nothing.
    unsafe { command.pre_exec(move || inherited.restore()) };
    command.spawn()
}

/// Lets a descriptor live through exec, so that a helper program gets it.
pub fn let_inherit(descriptor: impl AsFd) -> io::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}
