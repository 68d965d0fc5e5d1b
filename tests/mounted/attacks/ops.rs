//! What a victim may do with a path: every system call that walks one, to be tried on a path with a planted link in it.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{
    self, Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, Timestamps, XattrFlags,
};
use rustix::mount::{MountFlags, OpenTreeFlags, UnmountFlags};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use super::errno;
use crate::common::Errno;
use crate::common::dir::Sys;
use crate::common::identity::SHARED;
#[cfg(target_arch = "x86_64")]
use crate::common::raw;
use crate::common::uring::{self, By};

/// What is at the end of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    File,
    Dir,
    Socket,
    /// A socket for datagrams.
    Datagrams,
    Program,
    /// Nothing yet.
    New,
    /// A symlink to the file.
    Link,
}

impl End {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Socket => "socket",
            Self::Datagrams => "datagrams",
            Self::Program => "program",
            Self::New => "new",
            Self::Link => "link",
        }
    }
}

/// Where in the path it makes sense to plant a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// At the end too.
    Any,
    /// Only before the end: the call doesn't follow a link there.
    Middle,
}

/// A system call.
pub struct Op {
    pub name: &'static str,
    pub end: End,
    pub places: Places,
    /// It changes what is there.
    pub harms: bool,
    pub only_root: bool,
    pub act: fn(&Path) -> Sys,
}

/// One that only looks.
const fn looks(name: &'static str, end: End, act: fn(&Path) -> Sys) -> Op {
    Op {
        name,
        end,
        places: Places::Any,
        harms: false,
        only_root: false,
        act,
    }
}

/// One that changes something.
const fn harms(name: &'static str, end: End, act: fn(&Path) -> Sys) -> Op {
    let mut op = looks(name, end, act);
    op.harms = true;
    op
}

/// One that does not follow a link at the end.
const fn middle(mut op: Op) -> Op {
    op.places = Places::Middle;
    op
}

const fn root(mut op: Op) -> Op {
    op.only_root = true;
    op
}

const WRITE: OFlags = OFlags::WRONLY.union(OFlags::CLOEXEC);
const CREATE: OFlags = WRITE.union(OFlags::CREATE);

fn open(path: &Path, flags: OFlags) -> Sys {
    fs::open(path, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR).map(drop)
}

fn open2(path: &Path, flags: OFlags, resolve: ResolveFlags) -> Sys {
    let mode = if flags.contains(OFlags::CREATE) {
        Mode::RUSR
    } else {
        Mode::empty()
    };
    fs::openat2(CWD, path, flags | OFlags::CLOEXEC, mode, resolve).map(drop)
}

fn sibling(path: &Path) -> std::path::PathBuf {
    path.with_file_name("sibling")
}

fn execute(path: &Path) -> Sys {
    let status = Command::new(path)
        .stdin(Stdio::null())
        .status()
        .map_err(|e| errno(&e))?;
    assert!(status.success(), "{}: {status}", path.display());
    Ok(())
}

fn mount(path: &Path) -> Sys {
    rustix::mount::mount("tmpfs", path, "tmpfs", MountFlags::NOSUID, None)?;
    rustix::mount::unmount(path, UnmountFlags::empty())
}

fn no_such_times() -> Timestamps {
    let time = fs::Timespec { tv_sec: 1, tv_nsec: 1 };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// All of them.
pub const OPS: &[Op] = &[
    looks("open", End::File, |p| open(p, OFlags::RDONLY)),
    looks("open-dir", End::Dir, |p| open(p, OFlags::DIRECTORY)),
    looks("open-path", End::File, |p| open(p, OFlags::PATH)),
    looks("open-write", End::File, |p| open(p, WRITE)),
    harms("open-trunc", End::File, |p| open(p, WRITE | OFlags::TRUNC)),
    harms("open-tmpfile", End::Dir, |p| open(p, OFlags::TMPFILE | OFlags::RDWR)),
    looks("create-existing", End::File, |p| open(p, CREATE)),
    harms("create-trunc", End::File, |p| open(p, CREATE | OFlags::TRUNC)),
    harms("create-dangling", End::New, |p| open(p, CREATE)),
    middle(harms("create-excl", End::New, |p| open(p, CREATE | OFlags::EXCL))),
    middle(looks("open-nofollow", End::File, |p| open(p, OFlags::NOFOLLOW))),
    looks("openat2", End::File, |p| {
        open2(p, OFlags::RDONLY, ResolveFlags::NO_MAGICLINKS)
    }),
    harms("openat2-create", End::New, |p| open2(p, CREATE, ResolveFlags::empty())),
    harms("truncate", End::File, |p| {
        nix::unistd::truncate(p, 1).map_err(|e| Errno::from_raw_os_error(e as i32))
    }),
    harms("chmod", End::File, |p| fs::chmod(p, Mode::from_raw_mode(0o666))),
    harms("chown", End::File, |p| {
        fs::chown(p, None, Some(rustix::process::Gid::from_raw(SHARED)))
    }),
    looks("stat", End::File, |p| fs::stat(p).map(drop)),
    looks("statx", End::Dir, |p| {
        fs::statx(CWD, p, AtFlags::empty(), StatxFlags::BASIC_STATS).map(drop)
    }),
    middle(looks("lstat", End::File, |p| fs::lstat(p).map(drop))),
    looks("access", End::File, |p| {
        fs::accessat(CWD, p, Access::READ_OK, AtFlags::empty())
    }),
    looks("statfs", End::Dir, |p| fs::statfs(p).map(drop)),
    looks("chdir", End::Dir, |p| rustix::process::chdir(p)),
    root(looks("chroot", End::Dir, |p| rustix::process::chroot(p))),
    looks("execve", End::Program, execute),
    root(looks("mount", End::Dir, mount)),
    root(looks("open-tree", End::Dir, |p| {
        rustix::mount::open_tree(CWD, p, OpenTreeFlags::OPEN_TREE_CLOEXEC).map(drop)
    })),
    middle(harms("bind", End::New, |p| {
        UnixListener::bind(p).map(drop).map_err(|e| errno(&e))
    })),
    looks("connect", End::Socket, |p| {
        UnixStream::connect(p).map(drop).map_err(|e| errno(&e))
    }),
    looks("sendto", End::Datagrams, |p| {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.send_to(b"x", p).map(drop).map_err(|e| errno(&e))
    }),
    looks("inotify", End::File, |p| {
        let watch = inotify::init(CreateFlags::CLOEXEC).expect("inotify");
        inotify::add_watch(&watch, p, WatchFlags::OPEN).map(drop)
    }),
    harms("utimensat", End::File, |p| {
        fs::utimensat(CWD, p, &no_such_times(), AtFlags::empty())
    }),
    harms("setxattr", End::File, |p| {
        fs::setxattr(p, "user.x", b"1", XattrFlags::empty())
    }),
    looks("listxattr", End::File, |p| {
        fs::listxattr(p, &mut [0_u8; 512][..]).map(drop)
    }),
    middle(harms("rename", End::File, |p| fs::rename(p, sibling(p)))),
    middle(harms("link", End::File, |p| fs::link(p, sibling(p)))),
    middle(harms("symlink", End::New, |p| fs::symlink("x", p))),
    middle(harms("unlink", End::File, |p| fs::unlink(p))),
    middle(harms("rmdir", End::Dir, |p| fs::rmdir(p))),
    middle(harms("mkdir", End::New, |p| fs::mkdir(p, Mode::RWXU))),
    middle(harms("mknod", End::New, |p| {
        fs::mknodat(CWD, p, FileType::Fifo, Mode::RUSR, 0)
    })),
    middle(looks("readlink", End::Link, |p| fs::readlink(p, vec![]).map(drop))),
    looks("uring-open", End::File, |p| {
        uring::open(By::Submitter, p, OFlags::RDONLY).map(drop)
    }),
    looks("uring-open-worker", End::File, |p| {
        uring::open(By::Worker, p, OFlags::RDONLY).map(drop)
    }),
    looks("uring-open-poller", End::File, |p| {
        uring::open(By::Poller, p, OFlags::RDONLY).map(drop)
    }),
    harms("uring-create", End::New, |p| {
        uring::open(By::Submitter, p, CREATE).map(drop)
    }),
    harms("uring-openat2", End::File, |p| {
        uring::open2(By::Worker, p, WRITE | OFlags::TRUNC).map(drop)
    }),
    looks("uring-statx", End::File, |p| uring::stat(By::Worker, p)),
    middle(harms("uring-mkdir", End::New, |p| uring::mkdir(By::Submitter, p))),
    #[cfg(target_arch = "x86_64")]
    looks("open-by-old-number", End::File, |p| raw::open(p, WRITE).map(drop)),
    #[cfg(target_arch = "x86_64")]
    harms("creat", End::New, |p| raw::creat(p).map(drop)),
    #[cfg(target_arch = "x86_64")]
    looks("open-32-bit", End::File, |p| raw::open32(p, WRITE).map(drop)),
    #[cfg(target_arch = "x86_64")]
    harms("creat-32-bit", End::New, |p| raw::creat32(p).map(drop)),
];
