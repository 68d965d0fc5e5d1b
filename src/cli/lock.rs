//! `owltmp lock`: holds a record lock while a command runs, like flock(1).
//!
//! Who owns the lock decides what the command can do. Advisory, it belongs to the open file, which the command inherits: it may open
//! and close the file as it likes, and so may its children. On a marked file such a lock would stop the command's own reads
//! and writes by any other descriptor; so there it belongs to the process, which the command takes over by exec(2), unless
//! the command is to use that descriptor.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, FdFlag, OFlag, fcntl, openat};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::sys::uio::{pread, pwrite};

use super::ask;
use crate::control::protocol::{Ask, Body};
use crate::mount::{Error, Shown};

/// Of sysexits.h, as flock(1) uses them.
const EX_UNAVAILABLE: u8 = 69;
const EX_NOINPUT: u8 = 66;
const EX_OSERR: u8 = 71;

/// What tells the command by which descriptor it has the lock.
const DESCRIPTOR: &str = "OWLTMP_LOCK_FD";

/// How long to wait for those who have a file open from before it was marked, before looking again.
const LOOK: Duration = Duration::from_millis(50);

/// Run a command while holding a record lock on a file, like flock(1)
///
/// The file is made if it does not exist. The exit status is the command's; 1 (or what -E says) when the lock could not be had
/// with -n or -w; 66, 69 and 71 when the file, the command or the lock failed.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A shared lock: others may have one too, and read
    #[arg(short, long)]
    shared: bool,
    /// An exclusive lock (the default)
    #[arg(short = 'x', long, conflicts_with = "shared")]
    exclusive: bool,
    /// The bytes to lock: the first and the last one, or `A-` to the end; all by default
    #[arg(short, long, value_name = "A-B", value_parser = range)]
    range: Option<Range>,
    /// Fail at once where the lock is taken
    #[arg(short, long, alias = "nb")]
    nonblock: bool,
    /// Fail after so many seconds, which may be a fraction
    #[arg(short, long, value_name = "SEC", value_parser = seconds, conflicts_with = "nonblock")]
    wait: Option<Duration>,
    /// The exit status when -n or -w fails
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = 1)]
    conflict_exit_code: u8,
    /// Mark the file first (chmod g+s,g-x), so that others' reads and writes obey the lock; the file must be yours
    #[arg(long)]
    mandatory: bool,
    /// With --mandatory: the lock is that of the descriptor whose number the command finds in OWLTMP_LOCK_FD, and not that of the
    /// process
    #[arg(short, long, requires = "mandatory")]
    open_file: bool,
    /// Give the command to the shell
    #[arg(short, long, value_name = "COMMAND", conflicts_with = "program")]
    command: Option<OsString>,
    /// The file
    file: PathBuf,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required_unless_present = "command", value_name = "COMMAND")]
    program: Vec<OsString>,
}

/// Bytes, as fcntl(2) has them: a length of 0 is to the end, however far that comes to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    start: i64,
    len: i64,
}

fn range(text: &str) -> Result<Range, String> {
    let wanted = || "want the first and the last byte, such as 0-99, or 100- to the end".to_owned();
    let number = |digits: &str| match digits.starts_with(|c: char| c.is_ascii_digit()) {
        true => digits.parse::<i64>().map_err(|_| wanted()),
        false => Err(wanted()),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let start = number(first)?;
    let len = match last {
        "" => 0,
        last => number(last)?
            .checked_sub(start)
            .filter(|more| *more >= 0)
            .and_then(|more| more.checked_add(1))
            .ok_or_else(wanted)?,
    };
    Ok(Range { start, len })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok();
    number
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "want a number of seconds, such as 5 or 0.5".to_owned())
}

/// Whose a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Process,
    OpenFile,
}

/// A lock to be set.
#[derive(Clone, Copy, Debug)]
struct Lock {
    owner: Owner,
    shared: bool,
    range: Range,
}

impl Lock {
    /// Sets it, waiting where that is wanted. Errors: EAGAIN.
    fn set(self, file: &OwnedFd, wait: bool) -> nix::Result<()> {
        let kind = if self.shared { libc::F_RDLCK } else { libc::F_WRLCK };
        let short = |number: i32| i16::try_from(number).map_err(|_| Errno::EINVAL);
        let record = libc::flock {
            l_type: short(kind)?,
            l_whence: short(libc::SEEK_SET)?,
            l_start: self.range.start,
            l_len: self.range.len,
            l_pid: 0,
        };
        loop {
            let argument = match (self.owner, wait) {
                (Owner::Process, false) => FcntlArg::F_SETLK(&record),
                (Owner::Process, true) => FcntlArg::F_SETLKW(&record),
                (Owner::OpenFile, false) => FcntlArg::F_OFD_SETLK(&record),
                (Owner::OpenFile, true) => FcntlArg::F_OFD_SETLKW(&record),
            };
            match fcntl(file, argument) {
                Err(Errno::EINTR) => {}
                // POSIX allows either.
                Err(Errno::EACCES) => return Err(Errno::EAGAIN),
                result => return result.map(drop),
            }
        }
    }

    /// Sets it, however long that takes. A marked file is not locked while somebody has it open from before the mark, and he
    /// is not waited for by the kernel (EAGAIN).
    fn wait(self, file: &OwnedFd) -> nix::Result<()> {
        loop {
            match self.set(file, true) {
                Err(Errno::EAGAIN) => thread::sleep(LOOK),
                result => return result,
            }
        }
    }
}

/// Locks and becomes the command. Returns only where that could not be.
pub fn lock(arguments: Arguments) -> Result<ExitCode, Error> {
    let path = arguments.file.as_path();
    let file = if arguments.mandatory {
        mark(path)?
    } else {
        open(path, arguments.shared)?
    };
    let lock = Lock {
        owner: match arguments.mandatory && !arguments.open_file {
            true => Owner::Process,
            false => Owner::OpenFile,
        },
        shared: arguments.shared,
        range: arguments.range.unwrap_or_default(),
    };
    let locked = match (arguments.nonblock, arguments.wait) {
        (true, _) => lock.set(&file, false),
        (false, Some(limit)) => set_within(lock, &file, limit),
        (false, None) => lock.wait(&file),
    };
    match locked {
        Ok(()) => {}
        Err(Errno::EAGAIN) => return Ok(ExitCode::from(arguments.conflict_exit_code)),
        Err(error) => return Err(failed(EX_OSERR, path, "cannot be locked", error.into())),
    }
    Err(become_command(command(arguments), &file))
}

fn failed(code: u8, path: &Path, what: &str, error: io::Error) -> Error {
    Error::Lock(code, format!("{}: {what}: {error}", Shown(path.as_os_str())))
}

/// The command to become.
fn command(arguments: Arguments) -> Command {
    match arguments.command {
        Some(text) => {
            let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
            let mut command = Command::new(shell.unwrap_or_else(|| "/bin/sh".into()));
            command.arg("-c").arg(text);
            command
        }
        None => {
            let mut words = arguments.program.into_iter();
            // Clap requires one; an empty name is not found.
            let mut command = Command::new(words.next().unwrap_or_default());
            command.args(words);
            command
        }
    }
}

/// Passes the descriptor on with the lock. Returns only on an error.
fn become_command(mut command: Command, file: &OwnedFd) -> Error {
    if let Err(error) = fcntl(file, FcntlArg::F_SETFD(FdFlag::empty())) {
        return Error::system("fcntl")(error);
    }
    command.env(DESCRIPTOR, file.as_raw_fd().to_string());
    let error = command.exec();
    let program = Shown(command.get_program());
    Error::Lock(EX_UNAVAILABLE, format!("cannot run {program}: {error}"))
}

/// Waits for the lock in a thread, as long as it may. EAGAIN where that was not long enough; whoever then ends ends the wait.
fn set_within(lock: Lock, file: &OwnedFd, limit: Duration) -> nix::Result<()> {
    if lock.set(file, false).is_ok() {
        return Ok(());
    }
    let Ok(same) = file.try_clone() else {
        return Err(Errno::EMFILE);
    };
    // Closing it would end a lock of the process.
    let same = std::mem::ManuallyDrop::new(same);
    let (sender, locked) = channel();
    let waiting = thread::spawn(move || sender.send(lock.wait(&same)));
    let deadline = Instant::now().checked_add(limit);
    let result = match deadline {
        Some(_) => locked.recv_timeout(limit).unwrap_or(Err(Errno::EAGAIN)),
        None => locked.recv().unwrap_or(Err(Errno::EIO)),
    };
    if result.is_ok() {
        // What becomes another program has one thread, so that its descriptors, and so the locks, stay its own.
        let _ = waiting.join();
    }
    result
}

/// Opens the file, or makes it. Not by O_CREAT where it is there: in a sticky directory that is refused for what is somebody else's.
fn open(path: &Path, shared: bool) -> Result<OwnedFd, Error> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let new = flags | OFlag::O_CREAT | OFlag::O_EXCL;
    let anyone = Mode::from_bits_truncate(0o666);
    let mut result = openat(AT_FDCWD, path, flags, Mode::empty());
    // Each time somebody makes or removes it at just that moment.
    for _ in 0..100 {
        result = match result {
            Err(Errno::ENOENT) => openat(AT_FDCWD, path, new, anyone),
            Err(Errno::EEXIST) => openat(AT_FDCWD, path, flags, Mode::empty()),
            Err(Errno::EACCES | Errno::EROFS | Errno::ETXTBSY) if shared => {
                let read = OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
                result = openat(AT_FDCWD, path, read, Mode::empty());
                break;
            }
            _ => break,
        };
    }
    result.map_err(|error| failed(EX_NOINPUT, path, "cannot be opened", error.into()))
}

/// Marks the file and opens it anew: a descriptor from before the mark would keep the lock from being granted.
fn mark(path: &Path) -> Result<OwnedFd, Error> {
    if !is_enforced(path) {
        let why = "locks bind nobody's reads and writes there: it must lie on an owltmp mount without mand=off";
        return Err(Error::Lock(EX_OSERR, format!("{}: {why}", Shown(path.as_os_str()))));
    }
    let file = open(path, false)?;
    let failed = |error: nix::Error| failed(EX_OSERR, path, "cannot be marked", error.into());
    let mode = |file: &OwnedFd| fstat(file).map(|stat| stat.st_mode & 0o7777);
    let marked = (mode(&file).map_err(failed)? & !0o010) | 0o2000;
    fchmod(&file, Mode::from_bits_truncate(marked)).map_err(failed)?;
    if mode(&file).map_err(failed)? & 0o2010 != 0o2000 {
        // chmod(2) drops the bit without a word where the caller is not in the file's group.
        return Err(failed(Errno::EPERM));
    }
    drop(file);
    open(path, false)
}

/// Whether mandatory locks are kept where the file is: tried with a file that has no name. Where none can be made, what is
/// mounted must do for an answer.
fn is_enforced(path: &Path) -> bool {
    // A symlink may lead to another filesystem.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = real.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    try_out(directory).unwrap_or_else(|_| is_kept(directory))
}

/// Whether it is on a mount of ours that keeps locks, as far as its daemon tells.
fn is_kept(directory: &Path) -> bool {
    let Ok((target, inode)) = ask::file_at(directory) else {
        return false;
    };
    match target.ask(&Ask::Locks { inode }).map(|answer| answer.body) {
        Ok(Body::Locks(locks)) => locks.kept_by == "owltmp",
        _ => true,
    }
}

fn try_out(directory: &Path) -> nix::Result<bool> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let probe = openat(AT_FDCWD, directory, flags, Mode::from_bits_truncate(0o600))?;
    fchmod(&probe, Mode::from_bits_truncate(0o2600))?;
    let again = |flags: OFlag| {
        let path = PathBuf::from(format!("/proc/self/fd/{}", probe.as_raw_fd()));
        openat(AT_FDCWD, &path, flags | OFlag::O_CLOEXEC, Mode::empty())
    };
    let (holder, other) = (again(OFlag::O_RDWR)?, again(OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
    pwrite(holder.as_fd(), b"x", 0)?;
    // From before the mark.
    drop(probe);
    let lock = Lock {
        owner: Owner::OpenFile,
        shared: false,
        range: Range::default(),
    };
    lock.set(&holder, false)?;
    match pread(other.as_fd(), &mut [0], 0) {
        Err(Errno::EAGAIN) => Ok(true),
        result => result.map(|_| false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_the_first_and_the_last_byte() {
        let of = |start, len| Ok(Range { start, len });
        assert_eq!(range("0-99"), of(0, 100));
        assert_eq!(range("7"), of(7, 1));
        assert_eq!(range("100-"), of(100, 0));
        assert_eq!(range("5-5"), of(5, 1));
        for bad in [
            "",
            "-",
            "-5",
            "9-8",
            "a-b",
            "0x10-20",
            "1-2-3",
            "+1-2",
            "0-9223372036854775807",
        ] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seconds_may_be_a_fraction() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("3"), Ok(Duration::from_secs(3)));
        for bad in ["", "x", "-1", "nan", "inf", "1e99"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
