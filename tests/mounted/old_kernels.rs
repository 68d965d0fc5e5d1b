//! What a kernel of 5.10 does not offer, refused on this one: owltmp degrades and never breaks.
//!
//! The filesystem is served by the test itself, so that its handshake can leave out what was added since, and so that
//! requests that did not exist are answered as by a server that has never heard of them.

use std::fs;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fuser::InitFlags;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use owltmp::fuse::decode::{Layout, Operation, Request};
use owltmp::fuse::features::wanted;
use owltmp::fuse::session::MAX_WRITE;
use owltmp::fuse::{Handler, Reply, Workers, filesystem_handler};
use owltmp::ops::Filesystem;
use owltmp::sys::device::clone_device;
use owltmp::types::{AtimePolicy, Errno, NodeId, Settings};
use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::common::identity::{ALICE, BOB};
use crate::common::{Dir, Kind, Mode, OFlags, as_user};
use crate::pjdfstest;

/// Added to the kernel after 5.10: in 5.11, 5.14 and 6.2.
const YOUNG: InitFlags = InitFlags::FUSE_HANDLE_KILLPRIV_V2
    .union(InitFlags::FUSE_SETXATTR_EXT)
    .union(InitFlags::FUSE_HAS_EXPIRE_ONLY);

struct OldHandshake;

impl fuser::Filesystem for OldHandshake {
    fn init(&mut self, _request: &fuser::Request, config: &mut fuser::KernelConfig) -> std::io::Result<()> {
        let _accepted = config.set_max_write(MAX_WRITE);
        let offered = config.capabilities() - YOUNG;
        let refused = |_| std::io::ErrorKind::Unsupported.into();
        config.add_capabilities(wanted(offered, false, false)).map_err(refused)
    }
}

/// Serves the filesystem, but for the requests that a kernel of 5.10 never sends.
struct OldRequests {
    filesystem: Arc<dyn Handler>,
    unknown: AtomicUsize,
}

impl Handler for OldRequests {
    fn handle(&self, request: &Request<'_>, reply: Reply<'_>, out: &mut [u8]) {
        match request.operation {
            Operation::StatX(_)
            | Operation::TmpFile(_)
            | Operation::SyncFs(_)
            | Operation::CopyFileRange { wide_reply: true, .. } => {
                self.unknown.fetch_add(1, Ordering::Relaxed);
                reply.error(Errno::ENOSYS);
            }
            _ => self.filesystem.handle(request, reply, out),
        }
    }

    fn forget(&self, node: NodeId, count: u64) {
        self.filesystem.forget(node, count);
    }
}

/// A mount as of 5.10, taken away when dropped.
struct OldMount {
    mountpoint: PathBuf,
    scratch: Option<tempfile::TempDir>,
    handler: Arc<OldRequests>,
    serving: Option<(fuser::Session<OldHandshake>, Workers)>,
}

fn attach(mountpoint: &Path) -> OwnedFd {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        device.as_raw_fd()
    );
    mount(
        Some("owltmp"),
        mountpoint,
        Some("fuse.owltmp"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .unwrap();
    device.into()
}

impl OldMount {
    fn new() -> OldMount {
        let scratch = tempfile::Builder::new()
            .prefix("owltmp-test-")
            .tempdir_in("/var/tmp")
            .unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mountpoint = scratch.path().join("mnt");
        fs::create_dir(&mountpoint).unwrap();
        let settings = Settings {
            max_bytes: Some(1 << 30),
            max_inodes: Some(100_000),
            user_bytes: None,
            user_inodes: None,
            root_perm: 0o1777,
            root_uid: 0,
            root_gid: 0,
            atime: AtimePolicy::Relatime,
            umask: 0,
            rules: owltmp::types::Rules::default(),
            diratime: true,
            mandatory: owltmp::types::Mandatory::Marked,
        };
        let handler = Arc::new(OldRequests {
            filesystem: filesystem_handler(Arc::new(Filesystem::new(&settings).unwrap())).unwrap(),
            unknown: AtomicUsize::new(0),
        });
        let (device, config) = (attach(&mountpoint), fuser::Config::default());
        let session = fuser::Session::from_fd(OldHandshake, device, fuser::SessionACL::All, config).unwrap();
        let workers = NonZeroUsize::new(2).unwrap().get();
        let devices = (0..workers).map(|_| clone_device(&session).unwrap()).collect();
        let served: Arc<dyn Handler> = Arc::clone(&handler) as Arc<dyn Handler>;
        let workers = Workers::start(devices, Layout { setxattr_ext: false }, &served).unwrap();
        OldMount {
            mountpoint,
            scratch: Some(scratch),
            handler,
            serving: Some((session, workers)),
        }
    }

    fn dir(&self) -> Dir {
        Dir::open_root(&self.mountpoint, Kind::Owltmp).unwrap()
    }
}

impl Drop for OldMount {
    fn drop(&mut self) {
        let _gone = umount2(&self.mountpoint, MntFlags::MNT_DETACH | MntFlags::MNT_FORCE);
        if let Some((_session, workers)) = self.serving.take()
            && !std::thread::panicking()
        {
            workers.join().unwrap();
            self.scratch.take().unwrap().close().unwrap();
        }
    }
}

/// semantics 1.1 on Linux 5.10: everything but O_TMPFILE and the time of birth, which that kernel's FUSE has not.
#[test]
fn what_an_old_kernel_has_not_is_missed_and_nothing_else() {
    let mount = OldMount::new();
    let dir = mount.dir();
    let tmpfile = rustix::fs::openat(dir.fd(), ".", OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR);
    assert_eq!(tmpfile.unwrap_err(), rustix::io::Errno::OPNOTSUPP);

    let file = dir.open("file", OFlags::CREATE | OFlags::RDWR, 0o666).unwrap();
    rustix::io::write(&file, b"0123456789").unwrap();
    let copied = rustix::fs::copy_file_range(&file, Some(&mut 0), &file, Some(&mut 100), 10);
    assert_eq!(copied, Ok(10));
    assert_eq!(fs::metadata(dir.path("file")).unwrap().len(), 110);
    assert!(
        fs::metadata(dir.path("file")).unwrap().created().is_err(),
        "no time of birth"
    );

    // The short struct of SETXATTR.
    let path = dir.path("file");
    setxattr(&path, "user.name", b"value", XattrFlags::CREATE).unwrap();
    let mut value = [0; 16];
    assert_eq!(getxattr(&path, "user.name", &mut value), Ok(5));
    assert_eq!(&value[..5], b"value");
    let again = setxattr(&path, "user.name", b"value", XattrFlags::CREATE);
    assert_eq!(again, Err(rustix::io::Errno::EXIST));
    assert!(
        mount.handler.unknown.load(Ordering::Relaxed) >= 3,
        "STATX, TMPFILE, COPY_FILE_RANGE_64"
    );
}

type Change = fn(&Dir);

/// semantics 1.1 on Linux 5.10: there the kernel ends set-id bits before a write, and we must not stand in its way.
#[test]
fn an_old_kernel_ends_set_id_bits_itself() {
    let mount = OldMount::new();
    let dir = mount.dir();
    let changes: [(&str, Change); 3] = [
        ("write", |dir| {
            rustix::io::write(dir.open("write", OFlags::WRONLY, 0).unwrap(), b"x").unwrap();
        }),
        ("truncate", |dir| dir.truncate("truncate", 3).unwrap()),
        ("trunc", |dir| {
            dir.open("trunc", OFlags::WRONLY | OFlags::TRUNC, 0).unwrap();
        }),
    ];
    for (name, change) in changes {
        dir.file(name, b"program", 0o644);
        dir.chown(name, Some(ALICE.uid), Some(ALICE.gid)).unwrap();
        dir.chmod(name, 0o6777).unwrap();
        as_user(BOB, || change(&dir));
        assert_eq!(dir.mode(name) & 0o7777, 0o777, "{name}");
    }
    dir.file("given", b"program", 0o644);
    dir.chmod("given", 0o6777).unwrap();
    dir.chown("given", Some(BOB.uid), None).unwrap();
    assert_eq!(dir.mode("given") & 0o7777, 0o777);
}

/// semantics 1.1 on Linux 5.10: pjdfstest passes there too, but for what needs the time of birth.
#[test]
fn pjdfstest_passes_as_of_an_old_kernel() {
    let mount = OldMount::new();
    let (passed, failed) = pjdfstest::cases(&mount.mountpoint);
    println!("pjdfstest as of Linux 5.10: {passed} passed, {} failed", failed.len());
    let unexpected: Vec<_> = failed.iter().filter(|case| !case.contains("birth")).collect();
    assert!(
        unexpected.is_empty() && passed > 380,
        "{passed} passed, these failed: {unexpected:?}"
    );
}
