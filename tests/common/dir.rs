//! A directory to test in, and the calls on names in it, each exactly one system call with its errno.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps};
use rustix::io::{self, Errno};
use rustix::process::{Gid, Uid};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::mount::Kind;

/// The result of a system call.
pub type Sys<T = ()> = Result<T, Errno>;

/// A directory, held open.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    kind: Kind,
}

impl Dir {
    /// Opens `path`, a directory of a filesystem of that kind.
    pub fn open_root(path: &Path, kind: Kind) -> Sys<Self> {
        let fd = fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self {
            fd,
            path: path.to_owned(),
            kind,
        })
    }

    /// What is mounted here.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The path of a name in it.
    pub fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            self.path.clone()
        } else {
            self.path.join(name)
        }
    }

    /// A directory below.
    pub fn sub(&self, name: &str) -> Self {
        let fd = self.open(name, OFlags::DIRECTORY, 0).expect("a directory");
        Self {
            fd,
            path: self.path.join(name),
            kind: self.kind,
        }
    }

    /// openat(2); O_CLOEXEC is added.
    pub fn open(&self, name: &str, flags: OFlags, mode: u32) -> Sys<OwnedFd> {
        fs::openat(self.fd(), name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))
    }

    /// A new file, open to read and write.
    pub fn create(&self, name: &str) -> OwnedFd {
        self.open(name, OFlags::CREATE | OFlags::EXCL | OFlags::RDWR, 0o644)
            .expect("a new file")
    }

    /// A new file with these bytes and, whatever the umask, this mode.
    pub fn file(&self, name: &str, bytes: &[u8], mode: u32) {
        let fd = self.create(name);
        write_all(&fd, bytes);
        fs::fchmod(&fd, Mode::from_raw_mode(mode)).expect("fchmod");
    }

    /// The whole contents.
    pub fn read(&self, name: &str) -> Sys<Vec<u8>> {
        let fd = self.open(name, OFlags::RDONLY, 0)?;
        let mut bytes = vec![];
        let mut buffer = vec![0; 65_536];
        loop {
            match io::read(&fd, &mut buffer)? {
                0 => return Ok(bytes),
                n => bytes.extend(&buffer[..n]),
            }
        }
    }

    /// mkdirat(2).
    pub fn mkdir(&self, name: &str, mode: u32) -> Sys {
        fs::mkdirat(self.fd(), name, Mode::from_raw_mode(mode))
    }

    /// A directory with this mode whatever the umask.
    pub fn subdir(&self, name: &str, mode: u32) -> Self {
        self.mkdir(name, 0o700).expect("mkdir");
        self.chmod(name, mode).expect("chmod");
        self.sub(name)
    }

    /// mknodat(2).
    pub fn mknod(&self, name: &str, kind: FileType, mode: u32, dev: u64) -> Sys {
        fs::mknodat(self.fd(), name, kind, Mode::from_raw_mode(mode), dev)
    }

    /// symlinkat(2).
    pub fn symlink(&self, target: &str, name: &str) -> Sys {
        fs::symlinkat(target, self.fd(), name)
    }

    /// readlinkat(2).
    pub fn readlink(&self, name: &str) -> Sys<Vec<u8>> {
        fs::readlinkat(self.fd(), name, vec![]).map(|target| target.into_bytes())
    }

    /// linkat(2) without flags.
    pub fn link(&self, old: &str, new: &str) -> Sys {
        fs::linkat(self.fd(), old, self.fd(), new, AtFlags::empty())
    }

    /// Gives the file of a descriptor a name, through /proc as open(2) shows.
    pub fn link_fd(&self, fd: impl AsFd, new: &str) -> Sys {
        use std::os::fd::AsRawFd;
        let old = format!("/proc/thread-self/fd/{}", fd.as_fd().as_raw_fd());
        fs::linkat(fs::CWD, old, self.fd(), new, AtFlags::SYMLINK_FOLLOW)
    }

    /// renameat(2).
    pub fn rename(&self, old: &str, new: &str) -> Sys {
        fs::renameat(self.fd(), old, self.fd(), new)
    }

    /// renameat2(2).
    pub fn rename_with(&self, old: &str, new: &str, flags: RenameFlags) -> Sys {
        fs::renameat_with(self.fd(), old, self.fd(), new, flags)
    }

    /// unlinkat(2).
    pub fn unlink(&self, name: &str) -> Sys {
        fs::unlinkat(self.fd(), name, AtFlags::empty())
    }

    /// unlinkat(2) with AT_REMOVEDIR.
    pub fn rmdir(&self, name: &str) -> Sys {
        fs::unlinkat(self.fd(), name, AtFlags::REMOVEDIR)
    }

    /// fstatat(2) of the name itself.
    pub fn lstat(&self, name: &str) -> Sys<Stat> {
        fs::statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// fstatat(2).
    pub fn stat(&self, name: &str) -> Sys<Stat> {
        fs::statat(self.fd(), name, AtFlags::empty())
    }

    /// fchmodat(2).
    pub fn chmod(&self, name: &str, mode: u32) -> Sys {
        fs::chmodat(self.fd(), name, Mode::from_raw_mode(mode), AtFlags::empty())
    }

    /// fchownat(2) of the name itself.
    pub fn chown(&self, name: &str, uid: Option<u32>, gid: Option<u32>) -> Sys {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        fs::chownat(self.fd(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// truncate(2).
    pub fn truncate(&self, name: &str, len: i64) -> Sys {
        nix::unistd::truncate(&self.path(name), len).map_err(|e| Errno::from_raw_os_error(e as i32))
    }

    /// utimensat(2) of the name itself; each time is (seconds, nanoseconds).
    pub fn set_times(&self, name: &str, atime: (i64, i64), mtime: (i64, i64)) -> Sys {
        let spec = |(tv_sec, tv_nsec): (i64, i64)| Timespec { tv_sec, tv_nsec };
        let times = Timestamps {
            last_access: spec(atime),
            last_modification: spec(mtime),
        };
        fs::utimensat(self.fd(), name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The permission bits, set-id and sticky included.
    pub fn mode(&self, name: &str) -> u32 {
        self.lstat(name).expect("lstat").st_mode & 0o7777
    }

    /// Every name in it but `.` and `..`.
    pub fn names(&self) -> BTreeSet<String> {
        let dir = fs::Dir::read_from(self.fd()).expect("opendir");
        dir.map(|e| e.expect("readdir").file_name().to_string_lossy().into_owned())
            .filter(|n| n != "." && n != "..")
            .collect()
    }
}

/// Writes all bytes at the descriptor's position.
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let n = io::write(fd.as_fd(), bytes).expect("write");
        bytes = &bytes[n..];
    }
}

/// pread(2) of up to `len` bytes, once.
pub fn pread(fd: impl AsFd, len: usize, offset: u64) -> Sys<Vec<u8>> {
    let mut bytes = vec![0; len];
    let n = io::pread(fd.as_fd(), &mut bytes, offset)?;
    bytes.truncate(n);
    Ok(bytes)
}
