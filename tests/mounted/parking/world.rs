//! A mount whose requests wait: the handler, the mount, and the processes that wait.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use owltmp::fuse::decode::{Layout, Operation, Request};
use owltmp::fuse::session::MAX_WRITE;
use owltmp::fuse::wire::{AttrOut, EntryOut, OpenOut, WireAttr};
use owltmp::fuse::{self, Delivery, Handler, Parked, Parking, Reply, Server, Wishes, Workers};
use owltmp::sys::device::clone_device;
use owltmp::types::{Errno, NodeId};

use crate::common::wait_until;

pub const SOON: Duration = Duration::from_secs(20);
const FILE: u64 = 2;
/// Without the page cache, whose reads nothing interrupts.
const FOPEN_DIRECT_IO: u32 = 1;

/// A root directory and a file in it. Looking up `wait...`, reading the file, and waiting for a lock on it wait.
#[derive(Default)]
pub struct Waits {
    pub parked: Mutex<HashMap<String, Parked>>,
    interrupts: AtomicUsize,
}

struct Waiting(Arc<Waits>);

impl Waiting {
    fn park(&self, what: String, reply: Reply<'_>) {
        let mut parked = self.0.parked.lock().unwrap();
        let (this, key) = (Arc::clone(&self.0), what.clone());
        let give_up = Box::new(move || {
            this.interrupts.fetch_add(1, Ordering::Relaxed);
            if let Some(parked) = this.parked.lock().unwrap().remove(&key) {
                let _nothing_handed_over = parked.answer(Err(Errno(libc::EINTR)));
            }
            false
        });
        if let Ok(now) = reply.park(give_up) {
            parked.insert(what, now);
        }
    }
}

fn attr(node: u64) -> WireAttr {
    let (mode, size) = if node == FILE { (0o100_666, 4096) } else { (0o40_777, 0) };
    WireAttr {
        ino: node,
        mode,
        size,
        nlink: 1,
        ..WireAttr::default()
    }
}

impl Handler for Waiting {
    fn handle(&self, request: &Request<'_>, reply: Reply<'_>, _out: &mut [u8]) {
        match request.operation {
            Operation::Lookup { name } if name.starts_with(b"wait") => {
                self.park(String::from_utf8_lossy(name).into_owned(), reply);
            }
            Operation::Lookup { name: b"file" } => {
                let entry = EntryOut {
                    nodeid: FILE,
                    attr: attr(FILE),
                    ..EntryOut::default()
                };
                assert_eq!(reply.value(&entry), Delivery::Taken);
            }
            Operation::Lookup { name: b"panic" } => panic!("as the test wants"),
            Operation::Lookup { name: b"forgotten" } => {}
            Operation::Lookup { .. } => reply.error(Errno::ENOENT),
            Operation::GetAttr(_) => {
                let _either = reply.value(&AttrOut {
                    attr: attr(request.node.0),
                    ..AttrOut::default()
                });
            }
            Operation::Open(_) => {
                let opened = OpenOut {
                    fh: 1,
                    open_flags: FOPEN_DIRECT_IO,
                    backing_id: 0,
                };
                assert_eq!(reply.value(&opened), Delivery::Taken);
            }
            Operation::Read(_) => self.park("read".to_owned(), reply),
            Operation::SetLkW(_) => self.park("lock".to_owned(), reply),
            Operation::SetLk(_) | Operation::Flush(_) | Operation::Release(_) => reply.done(),
            _ => reply.error(Errno::ENOSYS),
        }
    }

    fn forget(&self, _node: NodeId, _count: u64) {}
}

/// What serves: with the features owltmp asks for, or with record locks too, which it does not ask for yet.
enum Serving {
    Usual(Server),
    WithLocks(fuser::Session<AskForLocks>, Workers),
}

impl Serving {
    fn wait(self) -> std::io::Result<()> {
        match self {
            Serving::Usual(server) => server.wait(),
            Serving::WithLocks(_session, workers) => workers.join(),
        }
    }

    fn parking(&self) -> &Arc<Parking> {
        match self {
            Serving::Usual(server) => server.parking(),
            Serving::WithLocks(_, workers) => workers.parking(),
        }
    }
}

struct AskForLocks;

impl fuser::Filesystem for AskForLocks {
    fn init(&mut self, _request: &fuser::Request, config: &mut fuser::KernelConfig) -> std::io::Result<()> {
        // What the workers' buffers have room for; the kernel would not talk to smaller ones.
        let _accepted = config.set_max_write(MAX_WRITE);
        let locks = fuser::InitFlags::FUSE_POSIX_LOCKS;
        config
            .add_capabilities(locks)
            .map_err(|_| std::io::ErrorKind::Unsupported.into())
    }
}

/// One mount, taken away when dropped, whoever waits.
pub struct World {
    scratch: PathBuf,
    pub mountpoint: PathBuf,
    serving: Option<Serving>,
    pub waits: Arc<Waits>,
    _watchdog: Sender<()>,
    /// One mount at a time: the threads that serve it are counted.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

fn attach(mountpoint: &Path) -> OwnedFd {
    let device = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .unwrap();
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("waits"),
        mountpoint,
        Some("fuse.waits"),
        flags,
        Some(data.as_str()),
    )
    .unwrap();
    device.into()
}

/// Aborts the connection, so that nobody waits any more.
pub fn abort(mountpoint: &Path) {
    let _ = umount2(mountpoint, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
}

fn watch(mountpoint: PathBuf) -> Sender<()> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let expired = |limit| receiver.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if expired(Duration::from_secs(100)) {
            eprintln!("watchdog: a test of waiting hangs; aborting {}", mountpoint.display());
            abort(&mountpoint);
            if expired(SOON) {
                std::process::abort();
            }
        }
    });
    sender
}

impl World {
    pub fn new(workers: usize) -> World {
        World::served(|device, handler| {
            let connection = fuse::connect(device, Wishes::default()).unwrap();
            let workers = NonZeroUsize::new(workers).unwrap();
            Serving::Usual(fuse::serve_with(connection, handler, workers).unwrap())
        })
    }

    pub fn with_locks(workers: usize) -> World {
        World::served(|device, handler| {
            let config = fuser::Config::default();
            let session = fuser::Session::from_fd(AskForLocks, device, fuser::SessionACL::All, config).unwrap();
            let devices = (0..workers).map(|_| clone_device(&session).unwrap()).collect();
            let workers = Workers::start(devices, Layout::default(), &handler).unwrap();
            Serving::WithLocks(session, workers)
        })
    }

    fn served(serve: impl FnOnce(OwnedFd, Arc<dyn Handler>) -> Serving) -> World {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = tempfile::Builder::new()
            .prefix("owltmp-test-")
            .tempdir_in("/var/tmp")
            .unwrap()
            .keep();
        let mountpoint = scratch.join("mnt");
        std::fs::create_dir(&mountpoint).unwrap();
        let waits = Arc::new(Waits::default());
        let serving = serve(attach(&mountpoint), Arc::new(Waiting(Arc::clone(&waits))));
        World {
            scratch,
            _watchdog: watch(mountpoint.clone()),
            mountpoint,
            serving: Some(serving),
            waits,
            _turn: turn,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.mountpoint.join(name)
    }

    pub fn stat(&self, name: &str) -> Option<i32> {
        std::fs::metadata(self.path(name))
            .err()
            .and_then(|error| error.raw_os_error())
    }

    pub fn waiting(&self) -> usize {
        self.serving.as_ref().unwrap().parking().len()
    }

    /// Returns when so many requests wait, both as the session and as the handler see it.
    pub fn until_waiting(&self, count: usize) {
        let what = format!("{count} requests wait");
        wait_until(&what, SOON, || {
            (self.waiting(), self.waits.parked.lock().unwrap().len()) == (count, count)
        });
    }

    pub fn take(&self, what: &str) -> Parked {
        self.waits.parked.lock().unwrap().remove(what).unwrap()
    }

    pub fn interrupts(&self) -> usize {
        self.waits.interrupts.load(Ordering::Relaxed)
    }

    /// Ends the mount like `umount -f`; the session must end too.
    pub fn end(&mut self) {
        abort(&self.mountpoint);
        if let Some(serving) = self.serving.take() {
            let (done, is_done) = channel();
            std::thread::spawn(move || done.send(serving.wait().is_ok()));
            assert_eq!(is_done.recv_timeout(SOON), Ok(true), "the session ends");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        abort(&self.mountpoint);
        if !std::thread::panicking() {
            self.end();
        }
        let removed = std::fs::remove_dir(&self.mountpoint).and_then(|()| std::fs::remove_dir(&self.scratch));
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

/// A process that waits for answers. It ends with the test.
pub struct Client(pub Child, BufReader<ChildStdout>);

impl Client {
    pub fn python(script: &str, path: &Path, arguments: &[&str]) -> Client {
        const HEAD: &str = "import ctypes, os, signal, struct, sys, threading\n\
            libc = ctypes.CDLL(None, use_errno=True)\n\
            def say(*words): print(*words, flush=True)\n\
            path = sys.argv[1]\n";
        let mut child = Command::new("python3")
            .args(["-c", &format!("{HEAD}{script}")])
            .arg(path)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Client(child, out)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn end(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
