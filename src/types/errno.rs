//! The error numbers owltmp answers with. One table, so that a reader sees them all.

use std::io;

/// An errno value as Linux numbers it (positive).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Errno = Errno(libc::$name);)*

            /// The symbolic name, for messages; `None` for one this table does not list.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Errno::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    /// Not owner, or the operation needs a capability.
    EPERM,
    /// No such name, or the directory was removed.
    ENOENT,
    /// A wait was ended by a signal. Legal only as the answer to an INTERRUPT (kernel-facts, "Waiting and signals").
    EINTR,
    /// Also what a request gets that could not be understood or whose handling panicked (semantics 6.4).
    EIO,
    /// No data or hole at or after the offset (lseek(2)).
    ENXIO,
    /// The handle is not open, or not open for this.
    EBADF,
    /// Would have to wait.
    EAGAIN,
    /// A program that is being executed cannot be written, nor one that is written be executed.
    ETXTBSY,
    /// The daemon is out of memory (semantics 6.3).
    ENOMEM,
    /// Permission bits, or a default ACL on something that is no directory (acl(5)).
    EACCES,
    /// The name exists.
    EEXIST,
    /// Two filesystems.
    EXDEV,
    /// A directory was needed.
    ENOTDIR,
    /// A directory was given.
    EISDIR,
    /// An argument makes no sense.
    EINVAL,
    /// The daemon has no descriptors left (semantics 6.3).
    ENFILE,
    /// The process has no descriptors left; the server reports its own shortage as ENFILE.
    EMFILE,
    /// The file would become larger than any file may be.
    EFBIG,
    /// No space or no inodes left (semantics 1.5).
    ENOSPC,
    /// More than the limit for one user (`user_size=`, `user_inodes=`).
    EDQUOT,
    /// Too many links.
    EMLINK,
    /// The buffer is too small for the answer.
    ERANGE,
    /// The name is longer than 255 bytes.
    ENAMETOOLONG,
    /// A wait for a lock would close a circle of waits (semantics 4.3).
    EDEADLK,
    /// Too many locks (fcntl(2)).
    ENOLCK,
    /// The operation is not implemented: the kernel falls back and does not ask again.
    ENOSYS,
    /// The directory is not empty.
    ENOTEMPTY,
    /// No such extended attribute.
    ENODATA,
    /// A value does not fit its type.
    EOVERFLOW,
    /// The ioctl is not for this object.
    ENOTTY,
    /// Not supported for this object.
    EOPNOTSUPP,
    /// The node is gone.
    ESTALE,
    /// The answer is too big for any buffer.
    E2BIG,
}

impl std::fmt::Debug for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl From<io::Error> for Errno {
    /// What a system call of the daemon's own failed with, as the caller of the filesystem should see it:
    /// the daemon's shortage of descriptors is not the caller's, so EMFILE becomes ENFILE (semantics 6.3).
    fn from(error: io::Error) -> Errno {
        match error.raw_os_error() {
            Some(libc::EMFILE) => Errno::ENFILE,
            Some(code) => Errno(code),
            None => Errno::EIO,
        }
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.0)
    }
}

impl From<nix::Error> for Errno {
    fn from(error: nix::Error) -> Errno {
        Errno::from(io::Error::from(error))
    }
}
