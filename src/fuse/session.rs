//! One mounted filesystem's conversation with the kernel: the handshake, the workers, the end.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use fuser::{InitFlags, KernelConfig};
use log::{debug, error};

use super::decode::Layout;
use super::device::Device;
use super::dispatch::Dispatch;
use super::features;
use super::near::Near;
use super::parked::Parking;
use super::statistics::Statistics;
use super::telling::Telling;
use super::top::Top;
use super::worker::{Handler, Worker};
use crate::ops::Filesystem;
use crate::ops::ageing::{Kernel, Removed};
use crate::sys::device::{BackingFiles, clone_device};
use crate::types::NodeId;

/// The most bytes one WRITE carries, and one READ asks for.
pub const MAX_WRITE: u32 = 1 << 20;

/// Requests the kernel may have under way in the background: readahead, writeback and asynchronous direct I/O. The default
/// of 16 is for network filesystems.
const MAX_BACKGROUND: u16 = 64;

/// What to ask the kernel for, besides what is always wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// Passthrough.
    pub passthrough: bool,
    /// That locks are asked of us.
    pub locks: bool,
}

/// What came of the handshake.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// The version of the kernel's protocol.
    pub protocol: String,
    /// What the kernel can do.
    pub offered: InitFlags,
    /// What is used of it.
    pub used: InitFlags,
}

impl Default for Agreement {
    fn default() -> Agreement {
        Agreement {
            protocol: String::new(),
            offered: InitFlags::empty(),
            used: InitFlags::empty(),
        }
    }
}

/// Answers the kernel's INIT, through fuser: says which features are used.
#[derive(Debug, Default)]
pub struct Negotiator {
    wishes: Wishes,
    agreed: Arc<OnceLock<Agreement>>,
}

impl fuser::Filesystem for Negotiator {
    fn init(&mut self, _request: &fuser::Request, config: &mut KernelConfig) -> io::Result<()> {
        let offered = config.capabilities();
        let wanted = features::wanted(offered, self.wishes.passthrough, self.wishes.locks);
        debug!(
            "kernel protocol {}, offers {offered:?}, used {wanted:?}",
            config.kernel_abi()
        );
        config
            .add_capabilities(wanted)
            .map_err(|missing| io::Error::other(format!("asked for what is not offered: {missing:?}")))?;
        // On refusal these say what would be accepted, and leave what was: good enough either way.
        let _accepted = config.set_max_write(MAX_WRITE);
        let _accepted = config.set_max_background(MAX_BACKGROUND);
        if wanted.contains(InitFlags::FUSE_PASSTHROUGH) {
            // So that an overlayfs can still be stacked on top of us.
            let _accepted = config.set_max_stack_depth(1);
        }
        let _first = self.agreed.set(Agreement {
            protocol: config.kernel_abi().to_string(),
            offered,
            used: wanted,
        });
        Ok(())
    }
}

/// The threads that serve a connection.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    parking: Arc<Parking>,
    statistics: Arc<Statistics>,
}

impl Workers {
    /// One worker on each device. A device is a descriptor of the connection, or in tests a socket that keeps messages
    /// apart, with somebody at the other end who plays the kernel.
    pub fn start(devices: Vec<File>, layout: Layout, handler: &Arc<dyn Handler>) -> io::Result<Workers> {
        let count = NonZeroUsize::new(devices.len()).ok_or(io::ErrorKind::InvalidInput)?;
        let parking = Parking::new(count);
        let devices: Arc<[_]> = devices.into_iter().map(|file| Arc::new(Device::new(file))).collect();
        let near = Near::new(devices.len());
        let statistics = Statistics::new(count);
        let mut threads = Vec::with_capacity(devices.len());
        for number in 0..devices.len() {
            let worker = Worker {
                number,
                devices: Arc::clone(&devices),
                handler: Arc::clone(handler),
                parking: Arc::clone(&parking),
                layout,
                near: Arc::clone(&near),
                statistics: Arc::clone(&statistics),
            };
            let run = move || {
                if let Err(error) = worker.run() {
                    error!("worker {number} cannot read requests any more: {error}");
                }
            };
            threads.push(
                std::thread::Builder::new()
                    .name(format!("owltmp-{number}"))
                    .spawn(run)?,
            );
        }
        Ok(Workers {
            threads,
            parking,
            statistics,
        })
    }

    /// Returns when the conversation is over and the last worker has ended. Errors where one of them panicked.
    pub fn join(self) -> io::Result<()> {
        let mut result = Ok(());
        for thread in self.threads {
            if thread.join().is_err() {
                result = Err(io::Error::other("a worker has panicked"));
            }
        }
        result
    }

    /// The requests that wait.
    pub fn parking(&self) -> &Arc<Parking> {
        &self.parking
    }

    /// What was asked for so far.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }
}

/// A mounted filesystem being served.
#[derive(Debug)]
pub struct Server {
    session: fuser::Session<Negotiator>,
    workers: Workers,
    telling: Telling,
    top: Arc<Top>,
    agreement: Agreement,
}

/// By what the kernel is told what it has not asked for.
#[derive(Debug)]
struct Teller {
    device: Arc<Device>,
    telling: Telling,
    top: Arc<Top>,
}

impl Kernel for Teller {
    fn removed(&self, removed: &Removed<'_>) {
        let Removed { node, last, .. } = *removed;
        let (device, name) = (Arc::clone(&self.device), removed.name.to_vec());
        let directory = self.top.to_kernel(removed.directory);
        let tell = move || {
            // Each fails where the kernel does not know what is meant, and then it need not know.
            let _unknown = match last {
                true => device.delete_entry(directory, &name, node),
                false => device
                    .drop_entry(directory, &name)
                    .and_then(|()| device.doubt_attributes(node)),
            };
            let _unknown = device.doubt_attributes(directory);
        };
        self.telling.add_and_wait(removed.directory, removed.owner, tell);
    }

    fn let_go(&self, node: NodeId) {
        // It waits for nobody's lock.
        let _unknown = self.device.prune(node);
    }
}

impl Server {
    /// By what the kernel is told of what is removed without its asking. Errors: EMFILE.
    pub fn kernel(&self) -> io::Result<Arc<dyn Kernel>> {
        Ok(Arc::new(Teller {
            device: Arc::new(Device::new(clone_device(&self.session)?)),
            telling: self.telling.clone(),
            top: Arc::clone(&self.top),
        }))
    }

    /// The path of the root directory in the kernel's tree, as /proc/self/mountinfo shows it for the mount.
    pub fn root_path(&self) -> &'static str {
        self.top.root_path()
    }

    /// Returns when the kernel has ended the conversation: unmounted, or the connection aborted. Errors where a worker
    /// could not go on.
    pub fn wait(self) -> io::Result<()> {
        self.workers.join()
    }

    /// The session over which the mount is served: it sends notifications.
    pub fn session(&self) -> &fuser::Session<Negotiator> {
        &self.session
    }

    /// The requests that wait.
    pub fn parking(&self) -> &Arc<Parking> {
        self.workers.parking()
    }

    /// What was asked for so far.
    pub fn statistics(&self) -> &Arc<Statistics> {
        self.workers.statistics()
    }

    /// What the kernel offered and what of it is used.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// How often the kernel has asked for an extended attribute of the directory at its top.
    pub fn asked_at_top(&self) -> u32 {
        self.top.asked()
    }

    /// From now on the root directory is found by [`super::ROOT_NAME`] in the one at the kernel's top, where there is nothing
    /// else. Preconditions: nobody has seen the mount.
    pub fn step_down(&self) {
        self.top.step_down();
    }
}

/// A mounted filesystem whose requests nobody reads yet.
#[derive(Debug)]
pub struct Connection {
    session: fuser::Session<Negotiator>,
    agreed: Agreement,
}

impl Connection {
    /// What tells the kernel of files it is to read and write by itself; `None` where the kernel has no passthrough.
    pub fn backing_files(&self) -> io::Result<Option<BackingFiles>> {
        match self.agreed.used.contains(InitFlags::FUSE_PASSTHROUGH) {
            true => BackingFiles::of(&self.session).map(Some),
            false => Ok(None),
        }
    }
}

/// Agrees with the kernel on the features to use. `device` is the descriptor the mount was made with: a session that fuser
/// mounts by itself unmounts by path when dropped, also when the mount is gone and something else is there.
pub fn connect(device: OwnedFd, wishes: Wishes) -> io::Result<Connection> {
    let negotiator = Negotiator {
        wishes,
        ..Negotiator::default()
    };
    let agreed = Arc::clone(&negotiator.agreed);
    // Who may use the mount, the kernel decides by its options; fuser is not asked, as it reads no request.
    let acl = fuser::SessionACL::All;
    let session = fuser::Session::from_fd(negotiator, device, acl, fuser::Config::default())?;
    let agreed = agreed.get().cloned().unwrap_or_default();
    Ok(Connection { session, agreed })
}

/// Starts `workers` threads that serve the connection's requests from `filesystem`.
pub fn serve(connection: Connection, filesystem: Arc<Filesystem>, workers: NonZeroUsize) -> io::Result<Server> {
    let top = Arc::new(Top::default());
    let telling = Telling::default();
    let told = (
        connection.session.notifier(),
        Arc::new(Device::new(clone_device(&connection.session)?)),
    );
    let dispatch = Dispatch::new(filesystem, Some(told), &telling, Arc::clone(&top))?;
    let server = serve_with(connection, Arc::new(dispatch), workers)?;
    Ok(Server { telling, top, ..server })
}

/// The handler that serves a filesystem to a kernel that is told nothing by itself. Errors where a thread cannot be started.
pub fn filesystem_handler(filesystem: Arc<Filesystem>) -> io::Result<Arc<dyn Handler>> {
    Ok(Arc::new(Dispatch::new(
        filesystem,
        None,
        &Telling::default(),
        Arc::default(),
    )?))
}

/// [`serve`] with a handler of one's own.
pub fn serve_with(connection: Connection, handler: Arc<dyn Handler>, workers: NonZeroUsize) -> io::Result<Server> {
    let Connection { session, agreed } = connection;
    let layout = Layout {
        setxattr_ext: agreed.used.contains(InitFlags::FUSE_SETXATTR_EXT),
    };
    let devices = (0..workers.get())
        .map(|_| clone_device(&session))
        .collect::<io::Result<_>>()?;
    let workers = Workers::start(devices, layout, &handler)?;
    Ok(Server {
        session,
        workers,
        telling: Telling::default(),
        top: Arc::default(),
        agreement: agreed,
    })
}
