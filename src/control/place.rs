//! Where the sockets are, and whom one found there may belong to.
//!
//! Root's are in /run/owltmp, those of an ordinary user in his runtime directory, each named by the device number of its
//! filesystem: `0:57.sock`. Nobody else can write there, and both sides make sure of it before they trust what they find. No
//! path is followed through a symlink.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, io};

use nix::dir::Dir;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, setsockopt, socket,
};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat, mkdirat};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use rustix::fs::{StatxFlags, statx};

use crate::sys::mountinfo::{Device, Mount, MountId, MountTable};

/// Where root's directory is.
const SYSTEM: &str = "/run";

/// What the directory is called in it, and in a user's runtime directory.
const DIRECTORY: &str = "owltmp";

/// Locked by who adds or removes a socket.
const LOCK: &str = ".lock";

/// How long another may be at that.
const PATIENCE: Duration = Duration::from_secs(2);

/// To look at what has a name, whatever it is.
const WITHOUT_ACCESS: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// The most connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// How long one waits for his turn to be accepted.
const TURN: Duration = Duration::from_secs(20);

/// How long a socket is tried that most likely has nobody behind it.
const GLANCE: Duration = Duration::from_millis(5);

/// The most sockets that are looked at to find those whose daemons have ended.
const SWEPT: usize = 256;

/// A directory that has, or is to have, a directory for sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    path: PathBuf,
    /// Whether only its owner may look into it.
    private: bool,
}

impl Base {
    /// Those of `uid`, best first. `runtime` is his own word for where his runtime directory is.
    pub(super) fn of(uid: u32, runtime: Option<PathBuf>) -> Vec<Base> {
        let private = |path| Base { path, private: true };
        let system = (uid == 0).then(|| Base {
            path: SYSTEM.into(),
            private: false,
        });
        let usual = PathBuf::from(format!("{SYSTEM}/user/{uid}"));
        let runtime = runtime.filter(|path| path.is_absolute() && *path != usual);
        let all = system.into_iter().chain(runtime.map(private));
        all.chain([private(usual)]).collect()
    }

    fn directory(&self) -> PathBuf {
        self.path.join(DIRECTORY)
    }

    /// Who may do what in it.
    fn mode(&self) -> Mode {
        Mode::from_bits_truncate(if self.private { 0o700 } else { 0o755 })
    }

    /// Opens it, if it belongs to `uid` and nobody else can put anything there.
    fn open(&self, uid: u32) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let base = openat2(AT_FDCWD, &self.path, how)?;
        if is_served(&base)? {
            return Err(untrusted());
        }
        self.check(&fstat(&base)?, uid)?;
        Ok(base)
    }

    fn check(&self, stat: &FileStat, uid: u32) -> io::Result<()> {
        let others = if self.private { 0o077 } else { 0o022 };
        match stat.st_uid == uid && stat.st_mode & others == 0 {
            true => Ok(()),
            false => Err(untrusted()),
        }
    }

    /// Opens the directory for sockets in it, if that too belongs to `uid` and nobody else can put anything there.
    fn open_directory(&self, base: &OwnedFd, uid: u32) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV);
        let directory = openat2(base, DIRECTORY, how)?;
        self.check(&fstat(&directory)?, uid)?;
        Ok(directory)
    }
}

/// Whether an open directory is of a filesystem whose server may never answer. It is not asked.
fn is_served(directory: &OwnedFd) -> io::Result<bool> {
    let how = rustix::fs::AtFlags::EMPTY_PATH | rustix::fs::AtFlags::STATX_DONT_SYNC;
    let stat = statx(directory, c"", how, StatxFlags::MNT_ID)?;
    // It may have been mounted since the table was read last.
    let table = MountTable::read()?;
    Ok(table.get(MountId(stat.stx_mnt_id)).is_some_and(Mount::is_fuse))
}

/// What is there belongs to somebody else, or others can change it.
fn untrusted() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "belongs to somebody else, or others may write there",
    )
}

/// The user's own word for where his runtime directory is.
pub(super) fn own_runtime() -> Option<PathBuf> {
    env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
}

/// The name of the socket of a filesystem.
fn name_of(device: Device) -> String {
    format!("{device}.sock")
}

fn device_of(name: &str) -> Option<Device> {
    let (major, minor) = name.strip_suffix(".sock")?.split_once(':')?;
    let device = Device(major.parse().ok()?, minor.parse().ok()?);
    (name_of(device) == name).then_some(device)
}

/// A path that leads to an entry of an open directory, for system calls that take no descriptor.
fn path_in(directory: &OwnedFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

/// Whether the way to `path` leads through a mount for which `test` holds.
fn leads_through(table: &MountTable, path: &Path, test: impl Fn(&Mount) -> bool) -> bool {
    path.ancestors().filter_map(|above| table.containing(above)).any(test)
}

fn is_socket_of(stat: &FileStat, uid: u32) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK && stat.st_uid == uid
}

/// The place of a socket that listens. Its name is in the file system until [`Bound::remove`].
#[derive(Debug)]
pub(super) struct Bound {
    directory: OwnedFd,
    name: String,
    /// By which it is known again: a later filesystem with the same number may have put its own there. While it is held no
    /// other has its inode number.
    itself: OwnedFd,
    /// Where that is, for people.
    pub(super) path: PathBuf,
}

impl Bound {
    /// Makes a socket for the filesystem `device`, mounted by `uid`, at the first place that will do. Errors say why none does.
    pub(super) fn new(device: Device, uid: u32) -> Result<(OwnedFd, Bound), String> {
        let table = MountTable::read().map_err(|error| error.to_string())?;
        let mut reasons = Vec::new();
        for base in Base::of(uid, own_runtime()) {
            let directory = base.directory();
            // A path that leads into the mount itself is not so much as looked at.
            if leads_through(&table, &directory, |mount| mount.device == device) {
                reasons.push(format!("{}: lies in the mount", base.path.display()));
                continue;
            }
            match Bound::in_base(&base, device, uid, &table) {
                Ok(bound) => return Ok(bound),
                Err(error) => reasons.push(format!("{}: {error}", directory.display())),
            }
        }
        Err(reasons.join(", "))
    }

    fn in_base(base: &Base, device: Device, uid: u32, table: &MountTable) -> io::Result<(OwnedFd, Bound)> {
        let opened = base.open(uid)?;
        match mkdirat(&opened, DIRECTORY, base.mode()) {
            Ok(()) | Err(nix::Error::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let directory = base.open_directory(&opened, uid)?;
        let _lock = lock(&directory)?;
        sweep(&directory, uid, table);
        let name = name_of(device);
        match fstatat(&directory, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            // Of a daemon that was killed, or is about to end: no two filesystems have the number.
            Ok(stat) if is_socket_of(&stat, uid) => unlinkat(&directory, name.as_str(), UnlinkatFlags::NoRemoveDir)?,
            Ok(_) => return Err(io::Error::other(format!("{name} is there and not ours"))),
            Err(nix::Error::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        bind(listener.as_raw_fd(), &UnixAddr::new(&path_in(&directory, &name))?)?;
        let itself = openat(&directory, name.as_str(), WITHOUT_ACCESS, Mode::empty())?;
        let bound = Bound {
            path: base.directory().join(&name),
            directory,
            name,
            itself,
        };
        let mode = Mode::from_bits_truncate(if base.private { 0o600 } else { 0o666 });
        let ready = fchmodat(
            &bound.directory,
            bound.name.as_str(),
            mode,
            FchmodatFlags::FollowSymlink,
        )
        .and_then(|()| listen(&listener, Backlog::new(BACKLOG)?));
        match ready {
            Ok(()) => Ok((listener, bound)),
            Err(error) => {
                bound.remove_locked();
                Err(error.into())
            }
        }
    }

    /// Takes the name away, if it is still that of this socket.
    pub(super) fn remove(&self) {
        if let Ok(_lock) = lock(&self.directory) {
            self.remove_locked();
        }
    }

    /// Preconditions: the directory is locked.
    fn remove_locked(&self) {
        let there = fstatat(&self.directory, self.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        let is_it = |stat: FileStat| fstat(&self.itself).is_ok_and(|own| own.st_ino == stat.st_ino);
        if there.is_ok_and(is_it) {
            let _gone = unlinkat(&self.directory, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Nobody else adds or removes sockets in the directory until it is dropped. Only its owner can open the file that is locked.
fn lock(directory: &OwnedFd) -> io::Result<Flock<File>> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(directory, LOCK, flags, Mode::from_bits_truncate(0o600))?);
    let end = Instant::now() + PATIENCE;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, nix::Error::EWOULDBLOCK)) if Instant::now() < end => file = back,
            Err((_, error)) => return Err(error.into()),
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Takes away sockets of daemons that were killed, whose mounts are gone too. Preconditions: the directory is locked, so that none
/// is there that does not listen yet.
fn sweep(directory: &OwnedFd, uid: u32, table: &MountTable) {
    let Some(entries) = directory.try_clone().ok().and_then(|it| Dir::from_fd(it).ok()) else {
        return;
    };
    let names = entries.into_iter().filter_map(Result::ok);
    let names = names.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
    for name in names.take(SWEPT) {
        let is_mounted = device_of(&name).is_none_or(|device| table.of(device).is_some());
        if !is_mounted
            && matches!(enter(directory, &name, uid, GLANCE), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
        {
            let _gone = unlinkat(directory, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Connects to a socket of that name that belongs to `uid`, in so long a time. Errors: ECONNREFUSED where nobody listens any more.
fn enter(directory: &OwnedFd, name: &str, uid: u32, patience: Duration) -> io::Result<OwnedFd> {
    let found = openat(directory, name, WITHOUT_ACCESS, Mode::empty())?;
    if !is_socket_of(&fstat(&found)?, uid) {
        return Err(untrusted());
    }
    let stream = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Where many wait to be accepted they take turns; who comes with a socket that does not block would get none.
    let patience = TimeVal::microseconds(i64::try_from(patience.as_micros()).unwrap_or(i64::MAX));
    setsockopt(&stream, SendTimeout, &patience)?;
    // What was looked at, whatever has the name by now.
    let path = PathBuf::from(format!("/proc/self/fd/{}", found.as_fd().as_raw_fd()));
    connect(stream.as_raw_fd(), &UnixAddr::new(&path)?)?;
    Ok(stream)
}

/// Why no socket was found, or none that can be trusted.
#[derive(Debug)]
pub(super) enum NotFound {
    /// There is none.
    Absent,
    /// It, or where it is, is not for the caller.
    Refused,
    /// It, or where it is, belongs to somebody else, or others can change it.
    Untrusted,
    /// It is there, and whoever listened has ended.
    Dead,
    /// It cannot be had.
    Failed(io::Error),
}

/// Connects to the socket of the filesystem `device`, which `uid` mounted. It belongs to `uid`, and so does whatever leads there.
pub(super) fn find(device: Device, uid: u32, runtime: Option<PathBuf>) -> Result<OwnedFd, NotFound> {
    let table = MountTable::read().map_err(NotFound::Failed)?;
    let mut result = NotFound::Absent;
    // Of root's, others can look into the first only.
    let most = if uid == 0 && !geteuid().is_root() {
        1
    } else {
        usize::MAX
    };
    for base in Base::of(uid, runtime).into_iter().take(most) {
        // A user may have mounted something there that never answers.
        if leads_through(&table, &base.directory(), Mount::is_fuse) {
            continue;
        }
        let entered = base
            .open(uid)
            .and_then(|opened| base.open_directory(&opened, uid))
            .and_then(|directory| enter(&directory, &name_of(device), uid, TURN));
        result = match entered {
            Ok(stream) => return Ok(stream),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => continue,
                io::ErrorKind::PermissionDenied => NotFound::Refused,
                io::ErrorKind::InvalidData => NotFound::Untrusted,
                io::ErrorKind::ConnectionRefused => NotFound::Dead,
                _ => NotFound::Failed(error),
            },
        };
        if matches!(result, NotFound::Dead) {
            break;
        }
    }
    Err(result)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_name_tells_the_device() {
        assert_eq!(name_of(Device(0, 57)), "0:57.sock");
        assert_eq!(device_of("0:57.sock"), Some(Device(0, 57)));
        for other in [
            "0:57",
            "0:057.sock",
            ".lock",
            "a:b.sock",
            "0.sock",
            "-1:2.sock",
            "0:+5.sock",
        ] {
            assert_eq!(device_of(other), None, "{other}");
        }
    }

    #[test]
    fn places_are_tried_in_order() {
        let paths = |uid, runtime: Option<&str>| -> Vec<String> {
            let all = Base::of(uid, runtime.map(PathBuf::from));
            all.iter().map(|base| base.path.display().to_string()).collect()
        };
        assert_eq!(paths(0, None), ["/run", "/run/user/0"]);
        assert_eq!(paths(1000, Some("/run/user/1000")), ["/run/user/1000"]);
        assert_eq!(paths(1000, Some("/x")), ["/x", "/run/user/1000"]);
        assert_eq!(paths(1000, Some("x")), ["/run/user/1000"]);
    }

    const NUMBER: Device = Device(0, 999_999);

    /// A directory that has, or is to have, a directory for sockets, and who owns it.
    fn scratch() -> (tempfile::TempDir, Base, u32) {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let path = fs::canonicalize(directory.path()).unwrap();
        let base = Base { path, private: true };
        (directory, base, geteuid().as_raw())
    }

    fn bound(base: &Base, uid: u32) -> io::Result<(OwnedFd, Bound)> {
        Bound::in_base(base, NUMBER, uid, &MountTable::default())
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_later_one_left_alone() {
        let (_directory, base, uid) = scratch();
        let (listener, first) = bound(&base, uid).unwrap();
        let path = base.directory().join(name_of(NUMBER));
        assert_eq!(first.path, path);
        drop(listener);
        let (_listener, second) = bound(&base, uid).unwrap();
        first.remove();
        assert!(
            UnixStream::connect(&path).is_ok(),
            "the first has left the second alone"
        );
        second.remove();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_our_socket_is_not_replaced() {
        let (_directory, base, uid) = scratch();
        let path = base.directory().join(name_of(NUMBER));
        drop(bound(&base, uid).unwrap());
        fs::remove_file(&path).unwrap();
        let make: [&dyn Fn(); 3] = [
            &|| fs::write(&path, "kept").unwrap(),
            &|| symlink("/dev/null", &path).unwrap(),
            &|| fs::create_dir(&path).unwrap(),
        ];
        for make in make {
            make();
            let before = fs::symlink_metadata(&path).unwrap().ino();
            assert!(bound(&base, uid).is_err());
            assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before);
            fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        }
        assert!(bound(&base, uid).is_ok());
    }

    #[test]
    fn a_directory_that_others_can_change_or_lead_elsewhere_is_not_used() {
        let (_directory, base, uid) = scratch();
        let inner = base.directory();
        fs::create_dir(&inner).unwrap();
        for mode in [0o777, 0o770, 0o702, 0o701] {
            fs::set_permissions(&inner, fs::Permissions::from_mode(mode)).unwrap();
            assert!(bound(&base, uid).is_err(), "{mode:o}");
        }
        fs::remove_dir(&inner).unwrap();
        fs::create_dir(base.path.join("elsewhere")).unwrap();
        symlink("elsewhere", &inner).unwrap();
        assert!(bound(&base, uid).is_err());
        fs::remove_file(&inner).unwrap();
        fs::set_permissions(&base.path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(bound(&base, uid).is_err());
        fs::set_permissions(&base.path, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(bound(&base, uid.wrapping_add(1)).is_err(), "it belongs to another");
        assert!(bound(&base, uid).is_ok());
    }

    #[test]
    fn sockets_of_the_dead_are_swept_and_no_others() {
        let (_directory, base, uid) = scratch();
        let dead = Device(0, 999_998);
        let mounted = MountTable::parse(b"40 7 0:999997 / /x rw - fuse.owltmp owltmp rw\n");
        let living = Device(0, 999_996);
        let place = |device: Device| base.directory().join(name_of(device));
        for device in [dead, Device(0, 999_997)] {
            drop(Bound::in_base(&base, device, uid, &mounted).unwrap());
        }
        let (_listener, _living) = Bound::in_base(&base, living, uid, &mounted).unwrap();
        fs::write(base.directory().join("other.sock"), "").unwrap();
        let (_listener, _ours) = Bound::in_base(&base, NUMBER, uid, &mounted).unwrap();
        let is_there = |path: PathBuf| fs::symlink_metadata(path).is_ok();
        assert!(!is_there(place(dead)));
        assert!(is_there(place(Device(0, 999_997))), "its mount is still there");
        assert!(is_there(place(living)) && is_there(base.directory().join("other.sock")));
    }

    #[test]
    fn a_way_through_a_mount_is_seen_wherever_it_ends() {
        let table = MountTable::parse(
            b"22 1 254:0 / / rw - ext4 x rw\n23 22 0:40 / /run rw - fuse.owltmp x rw\n24 23 0:41 / /run/user/7 rw - tmpfs x rw\n",
        );
        let through = |path: &str, minor| leads_through(&table, Path::new(path), |it| it.device == Device(0, minor));
        assert!(through("/run/user/7/owltmp", 40) && through("/run/user/7/owltmp", 41) && through("/run", 40));
        assert!(!through("/runs", 40) && !through("/", 40));
    }
}
