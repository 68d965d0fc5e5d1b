//! What can go wrong around a mount, and how a person is told: one line that names the thing and says what would do.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::options::OptionError;
use super::shown::{Shown, shown};
use crate::control::client;
use crate::sys::namespace::{NamespaceError, Step};

/// Why a command could not do what it was asked for.
#[derive(Debug)]
pub enum Error {
    /// A bad `-o` option.
    Option(OptionError),
    /// The mountpoint does not exist.
    NoMountpoint(PathBuf),
    /// The mountpoint is no directory.
    NotADirectory(PathBuf),
    /// At the mountpoint is a FUSE mount whose daemon is gone.
    DeadMountpoint(PathBuf),
    /// The mountpoint cannot be looked at.
    BadMountpoint(PathBuf, io::Error),
    /// A directory that `run` would cover lies below another one that it covers.
    BelowAnother(PathBuf, PathBuf),
    /// None of the directories `run` would cover exists.
    NothingToCover,
    /// An id that does not exist in the namespace of an ordinary user.
    ForeignOwner,
    /// There is no /dev/fuse.
    NoDevice,
    /// /dev/fuse cannot be opened.
    DeviceRefused(io::Error),
    /// An ordinary user's mount needs fusermount3, which is not installed.
    NoHelper,
    /// /etc/fuse.conf does not let ordinary users have `allow_other`.
    AllowOtherRefused,
    /// What fusermount3 said.
    HelperRefused(String),
    /// mount(2) failed.
    MountFailed(PathBuf, io::Error),
    /// No mount is there.
    NotAMount(PathBuf),
    /// Another filesystem is mounted there.
    NotOurs(PathBuf, OsString),
    /// Somebody uses the mount.
    Busy(PathBuf),
    /// Another user mounted it.
    NotYours(PathBuf),
    /// umount2(2) failed.
    UmountFailed(PathBuf, io::Error),
    /// The mount namespace cannot be entered.
    NamespaceRefused(PathBuf, io::Error),
    /// Only root may remount.
    RemountRefused(PathBuf, io::Error),
    /// No namespace for `run`.
    NoNamespace(NamespaceError),
    /// The daemon said that it could not, and why.
    Daemon(u8, String),
    /// The daemon ended without a word.
    DaemonEnded(String),
    /// The mount was made and does not answer.
    NoAnswer(PathBuf, io::Error),
    /// The command of `run` could not be started.
    Command(OsString, io::Error),
    /// `io=passthrough` was asked for and cannot be had.
    NoPassthrough(String),
    /// `clean` was not told what is old, and neither was the mount.
    NoAge(PathBuf),
    /// `lock` could not, with this exit status, and why.
    Lock(u8, String),
    /// A file is on no mount of ours.
    NotOnAMount(PathBuf),
    /// There is no mount of ours, or none that answers.
    NoMounts,
    /// There are several, and one must be named.
    SeveralMounts(Vec<PathBuf>),
    /// The daemon of a mount could not be asked, or refused.
    Control(PathBuf, client::Error),
    /// A system call failed that should not.
    System(&'static str, io::Error),
}

impl Error {
    /// The exit status that goes with it: 2 for a wrong use, 127 and 126 as a shell has them for a command that is
    /// not found or cannot be executed, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Option(_)
            | Error::ForeignOwner
            | Error::BelowAnother(..)
            | Error::SeveralMounts(_)
            | Error::NoAge(_) => 2,
            Error::Daemon(code, _) | Error::Lock(code, _) => *code,
            Error::Command(_, error) if error.kind() == io::ErrorKind::NotFound => 127,
            Error::Command(..) => 126,
            _ => 1,
        }
    }

    /// For `map_err`: a system call that should not fail.
    pub fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
        move |error| Error::System(what, error.into())
    }
}

impl From<OptionError> for Error {
    fn from(error: OptionError) -> Error {
        Error::Option(error)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Option(error) => write!(f, "{error}"),
            Error::NoAge(path) => write!(
                f,
                "{}: mounted without max_age=, so say --age=10d or the like",
                shown(path)
            ),
            Error::Daemon(_, message) | Error::Lock(_, message) => f.write_str(message),
            Error::DaemonEnded(how) => write!(f, "the daemon ended before the mount answered: {how}; see its log"),
            Error::NoAnswer(path, error) => write!(f, "{}: mounted, but it does not answer: {error}", shown(path)),
            Error::Command(program, error) => write!(f, "cannot run {}: {error}", Shown(program)),
            Error::NoPassthrough(reason) => write!(f, "io=passthrough: {reason}: io=auto does without"),
            Error::System(what, error) => write!(f, "{what}: {error}"),
            Error::NotOnAMount(_) | Error::NoMounts | Error::SeveralMounts(_) | Error::Control(..) => {
                self.write_control(f)
            }
            Error::NoNamespace(error) => write_namespace(f, error),
            Error::NamespaceRefused(path, error) => write!(f, "namespace {}: {error}", shown(path)),
            Error::RemountRefused(path, error) => write!(f, "{}: cannot remount: {error}", shown(path)),
            Error::NoMountpoint(_)
            | Error::NotADirectory(_)
            | Error::DeadMountpoint(_)
            | Error::BadMountpoint(..)
            | Error::BelowAnother(..)
            | Error::NothingToCover
            | Error::ForeignOwner => self.write_place(f),
            Error::NoDevice
            | Error::DeviceRefused(_)
            | Error::NoHelper
            | Error::AllowOtherRefused
            | Error::HelperRefused(_)
            | Error::MountFailed(..) => self.write_mount(f),
            Error::NotAMount(_)
            | Error::NotOurs(..)
            | Error::NotYours(_)
            | Error::Busy(_)
            | Error::UmountFailed(..) => self.write_umount(f),
        }
    }
}

impl Error {
    /// About the place to mount at.
    fn write_place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoMountpoint(path) => write!(f, "{}: no such directory: make it first (mkdir)", shown(path)),
            Error::NotADirectory(path) => write!(f, "{}: not a directory: a mount needs one", shown(path)),
            Error::DeadMountpoint(path) => {
                let path = shown(path);
                write!(
                    f,
                    "{path}: a mount is here whose daemon has ended: remove it first (owltmp umount {path})"
                )
            }
            Error::BadMountpoint(path, error) => write!(f, "{}: {error}", shown(path)),
            Error::BelowAnother(path, above) => write!(
                f,
                "{}: lies below {}, which will be new and empty: leave one of them out",
                shown(path),
                shown(above)
            ),
            Error::NothingToCover => f.write_str("neither /tmp nor /var/tmp exists: name a directory with --at"),
            _ => f.write_str(
                "uid= and gid= other than your own need root: in a user namespace of your own nobody else exists",
            ),
        }
    }

    /// About mounting.
    fn write_mount(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoDevice => f.write_str(
                "/dev/fuse: no such device: load the kernel's FUSE (modprobe fuse), or give the container \
                 --device /dev/fuse",
            ),
            Error::DeviceRefused(error) => {
                write!(
                    f,
                    "/dev/fuse: {error}: open it to all as udev does (chmod 666 /dev/fuse)"
                )
            }
            Error::NoHelper => f.write_str(
                "fusermount3: not found: an ordinary user needs it to mount and unmount (Debian: apt install fuse3)",
            ),
            Error::AllowOtherRefused => f.write_str(
                "allow_other: not allowed to ordinary users here: put the line user_allow_other into /etc/fuse.conf",
            ),
            Error::HelperRefused(message) => write!(f, "fusermount3: {}", Shown(message.as_ref())),
            Error::MountFailed(path, error) => write!(f, "{}: cannot mount: {error}", shown(path)),
            _ => Ok(()),
        }
    }

    /// About asking a daemon.
    fn write_control(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotOnAMount(path) => write!(f, "{}: is on no owltmp mount", shown(path)),
            Error::NoMounts => f.write_str("there is no owltmp mount here"),
            Error::SeveralMounts(paths) => {
                let paths: Vec<String> = paths.iter().map(|path| shown(path).to_string()).collect();
                write!(f, "there are several owltmp mounts: name one of {}", paths.join(", "))
            }
            Error::Control(path, error) => write!(f, "{}: {error}", shown(path)),
            _ => Ok(()),
        }
    }

    /// About unmounting.
    fn write_umount(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotAMount(path) => write!(f, "{}: nothing is mounted here", shown(path)),
            Error::NotOurs(path, fstype) => {
                write!(
                    f,
                    "{}: not an owltmp mount but {} (findmnt -t fuse.owltmp shows those)",
                    shown(path),
                    Shown(fstype)
                )
            }
            Error::NotYours(path) => write!(
                f,
                "{}: not your mount: root may unmount it, and who made it",
                shown(path)
            ),
            Error::Busy(path) => {
                let path = shown(path);
                write!(
                    f,
                    "{path}: in use: end who uses it (fuser -vm {path}), or detach it now with umount --lazy"
                )
            }
            Error::UmountFailed(path, error) => write!(f, "{}: cannot unmount: {error}", shown(path)),
            _ => Ok(()),
        }
    }
}

fn write_namespace(f: &mut fmt::Formatter<'_>, error: &NamespaceError) -> fmt::Result {
    let NamespaceError { step, source } = error;
    let hint = match step {
        Step::Private if source.raw_os_error() == Some(libc::EINVAL) => {
            "the root directory is no mount (a chroot): make it one first (mount --bind DIR DIR)"
        }
        _ => {
            "run as root, or let users have namespaces (sysctl user.max_user_namespaces, \
             kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
        }
    };
    write!(f, "no private namespace: {step}: {source}: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_the_path() {
        let path = PathBuf::from("/a\nb\u{1b}[31m");
        let message = Error::NoMountpoint(path).to_string();
        assert!(message.starts_with("/a\\nb\\u{1b}[31m: no such directory"), "{message}");
    }

    #[test]
    fn exit_codes() {
        let os = |code| io::Error::from_raw_os_error(code);
        assert_eq!(Error::Command("x".into(), os(libc::ENOENT)).exit_code(), 127);
        assert_eq!(Error::Command("x".into(), os(libc::EACCES)).exit_code(), 126);
        assert_eq!(Error::Command("x".into(), os(libc::ENOEXEC)).exit_code(), 126);
        assert_eq!(Error::NoDevice.exit_code(), 1);
        assert_eq!(Error::Daemon(2, String::new()).exit_code(), 2);
    }
}
