//! One mount from beginning to end, in the process that serves it: mounted, answering, told to end or unmounted.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, geteuid};

use super::attach::{self, Attached, Method};
use super::detached::Detached;
use super::error::Error;
use super::logging;
use super::notify::{Manager, Notifier};
use super::options::{IoMode, MountOptions};
use super::place::{self, Detach, Mounted};
use super::reporting::report;
use super::shown::shown;
use super::surroundings::Surroundings;
use crate::clean::{self, Cleaner, Exclude, SystemClock, Terms};
use crate::content::Store;
use crate::control::{About, Control, World};
use crate::fuse::{self, Connection, Server, Wishes};
use crate::ops::Filesystem;
use crate::sys::device::{abort, connection};
use crate::sys::mountinfo::Device;
use crate::sys::namespace::Foreign;
use crate::sys::{limits, memory, process as sys_process, signals};
use crate::types::{Errno, Mandatory};

/// Signals that end the daemon. All others are blocked in no thread and mean what they always do.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// How long the conversation may go on after an unmount: another namespace may still have the mount.
const GRACE: Duration = Duration::from_secs(2);

/// What one of the ending signals does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSignal {
    /// Take the mount away (out of use or not), then end.
    Unmount,
    /// Just end. The mount stays, dead, for as long as its namespace: who is left in a private namespace must not
    /// find itself back in the shared directory underneath.
    End,
}

/// What to mount, where and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The real path of a directory; in another namespace any path of it.
    pub place: PathBuf,
    /// The mount namespace to mount in, by a path such as `/proc/PID/ns/mnt`; `None` is our own. The daemon stays outside, so
    /// the mount ends with the last process in there.
    pub namespace: Option<PathBuf>,
    /// What it is made with.
    pub options: MountOptions,
    /// Who calls mount(2).
    pub method: Method,
    /// What SIGTERM, SIGINT and SIGHUP do. Out of another namespace nothing is unmounted.
    pub on_signal: OnSignal,
    /// Whether the service manager is told that the mount answers, and that it ends.
    pub manager: Manager,
}

/// Mounts, calls `ready` once requests are answered, and serves until the mount is gone or a signal ends it. On an
/// error the mount is gone too. The process must have one thread.
pub fn serve(plan: &Plan, ready: impl FnOnce(&Notifier) -> Result<(), Error>) -> Result<(), Error> {
    prepare()?;
    let notifier = Notifier::of(plan.manager);
    let Attached { device, detached } = attach::attach(&plan.place, &plan.options, plan.method)?;
    let begun = match detached {
        Some(detached) => begin_then_put(plan, device, detached),
        None => begin_at_place(plan, device),
    };
    let served = begun.and_then(|(service, mounted)| {
        service.run(plan, mounted.clone(), &notifier, ready).inspect_err(|_| {
            let _ = mounted.map(|mounted| mounted.take_away());
        })
    });
    log::logger().flush();
    served
}

/// Puts the mount at its place when all is there, for whoever comes first. Returns what can be taken away again: of another
/// namespace nothing is kept, for that would keep it alive.
fn begin_then_put(plan: &Plan, device: OwnedFd, detached: Detached) -> Result<(Service, Option<Mounted>), Error> {
    let failed = |error| Error::MountFailed(plan.place.clone(), error);
    let connection = connection(&device);
    let started = start(device, plan)?;
    let mount = detached.ready(&started.server).map_err(failed)?;
    let service = Service::of(plan, mount.device().map_err(failed)?, started)?;
    if plan.namespace.is_some() {
        within(plan.namespace.as_deref(), || {
            let place = place::check(&plan.place)?;
            mount.move_to(&place).map_err(failed)
        })?;
        return Ok((service, None));
    }
    let mounted = match mount.move_to(&plan.place).map_err(failed)? {
        Some(mounted) => mounted,
        None => Mounted::remember(&plan.place, connection)?,
    };
    Ok((service, Some(mounted)))
}

/// The same where mount(2) or the helper has put it at its place already.
fn begin_at_place(plan: &Plan, device: OwnedFd) -> Result<(Service, Option<Mounted>), Error> {
    // If it is not found it is hidden, and nothing is unmounted: what is at the place is not ours.
    let mounted = Mounted::remember(&plan.place, connection(&device))?;
    let service = start(device, plan)
        .and_then(|started| Service::of(plan, mounted.device(), started))
        .inspect_err(|_| {
            let _ = mounted.take_away();
        })?;
    Ok((service, Some(mounted)))
}

/// Does something in the namespace.
pub fn within<T: Send>(namespace: Option<&Path>, work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    let Some(path) = namespace else { return work() };
    let refused = |error| Error::NamespaceRefused(path.to_owned(), error);
    let namespace = Foreign::open(path).map_err(refused)?;
    namespace.within(work).map_err(refused)?
}

/// Makes a process fit to serve: it must neither touch a path below its own mount (semantics 6.4) nor pass on what it
/// was started with.
fn prepare() -> Result<(), Error> {
    umask(Mode::empty());
    chdir("/").map_err(Error::system("/"))?;
    memory::keep_large_pieces_apart();
    limits::raise_open_files();
    limits::leave_limits_of_starter();
    // Where a limit on the size of files stays, a write past it is EFBIG for its caller (semantics 6.3).
    signals::ignore(Signal::SIGXFSZ).map_err(Error::system("signals"))?;
    // What the kernel may send while it is asked whether a file is in use (sys/tmpfs.rs).
    signals::ignore(Signal::SIGIO).map_err(Error::system("signals"))?;
    limits::forbid_core_dumps();
    // A library that wants a temporary file fails at once instead of asking ourselves.
    sys_process::set_environment(&[("TMPDIR", "/dev/null"), ("RUST_BACKTRACE", "0")])
        .map_err(Error::system("environment"))?;
    signals::block_only(&ENDING).map_err(Error::system("signals"))
}

/// How the kernel gets at contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Io {
    Passthrough,
    Cached,
}

/// A mount that answers.
struct Started {
    server: Server,
    filesystem: Arc<Filesystem>,
    io: Io,
}

/// One that can be asked about, too, and cleaned.
struct Service {
    server: Server,
    device: Device,
    cleaner: Arc<Cleaner>,
    control: Option<Arc<Control>>,
}

impl Service {
    fn of(plan: &Plan, device: Device, started: Started) -> Result<Service, Error> {
        let Started { server, filesystem, io } = started;
        let cleaner = cleaner(&plan.options, device, &server, &filesystem)?;
        let control = control(plan, device, &server, filesystem, Arc::clone(&cleaner), io);
        Ok(Service {
            server,
            device,
            cleaner,
            control,
        })
    }

    /// Until the mount is gone, or a signal ends the process.
    fn run(
        self,
        plan: &Plan,
        mounted: Option<Mounted>,
        notifier: &Notifier,
        ready: impl FnOnce(&Notifier) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let ending = Ending {
            device: self.device,
            mounted,
            on_signal: plan.on_signal,
            notifier: notifier.clone(),
            control: self.control.clone(),
        };
        end_on_signal(ending)?;
        clean(&plan.options, self.cleaner)?;
        ready(notifier)?;
        log::info!("{} is mounted", shown(&plan.place));
        let served = self.server.wait().map_err(Error::system("/dev/fuse"));
        self.control.iter().for_each(|control| control.close());
        served
    }
}

/// Shakes hands with the kernel and starts the workers. Whoever listens to them is there before.
fn start(device: OwnedFd, plan: &Plan) -> Result<Started, Error> {
    logging::detach().map_err(Error::system("thread"))?;
    let connection = fuse::connect(device, wishes(&plan.options)).map_err(Error::system("/dev/fuse: handshake"))?;
    let store = store(&connection, &plan.options)?;
    let io = if store.is_some() { Io::Passthrough } else { Io::Cached };
    say_what_cannot_be_mapped(&plan.options, store.is_some());
    let filesystem = Filesystem::with_store(&plan.options.settings, store).map_err(|error| {
        // No room for the root directory; else the first user's store cannot be made.
        let option = if error == Errno::ENOSPC {
            "nr_inodes"
        } else {
            "user_size"
        };
        Error::system(option)(error)
    })?;
    let filesystem = Arc::new(filesystem);
    report(filesystem.events()).map_err(Error::system("thread"))?;
    let server = fuse::serve(connection, Arc::clone(&filesystem), plan.options.workers)
        .map_err(Error::system("starting the workers"))?;
    Ok(Started { server, filesystem, io })
}

fn wishes(options: &MountOptions) -> Wishes {
    Wishes {
        passthrough: options.io != IoMode::Cached,
        locks: options.settings.mandatory != Mandatory::Off,
    }
}

/// Lets people ask about the mount, where there is a place for a socket.
fn control(
    plan: &Plan,
    device: Device,
    server: &Server,
    filesystem: Arc<Filesystem>,
    cleaner: Arc<Cleaner>,
    io: Io,
) -> Option<Arc<Control>> {
    let world = World {
        about: About {
            device,
            mountpoint: plan.place.as_os_str().as_bytes().to_vec(),
            owner: geteuid().as_raw(),
            options: plan.options.in_force(),
            flags: plan.options.flags_given(),
            passthrough: io == Io::Passthrough,
            agreement: server.agreement().clone(),
            wishes: wishes(&plan.options),
        },
        filesystem,
        statistics: Arc::clone(server.statistics()),
        parking: Arc::clone(server.parking()),
        cleaner,
    };
    Control::start(world)
        .inspect(|control| log::info!("control socket: {}", control.path()))
        .inspect_err(|reason| log::warn!("no control socket, so no owltmp status and its like: {reason}"))
        .ok()
        .map(Arc::new)
}

/// Has removed what is old, if that is wanted.
fn clean(options: &MountOptions, cleaner: Arc<Cleaner>) -> Result<(), Error> {
    match terms(options) {
        Some(terms) => clean::start(cleaner, terms, SystemClock)
            .map(drop)
            .map_err(Error::system("thread")),
        None => Ok(()),
    }
}

/// What removes what is old, by itself or when it is told to.
fn cleaner(
    options: &MountOptions,
    device: Device,
    server: &Server,
    filesystem: &Arc<Filesystem>,
) -> Result<Arc<Cleaner>, Error> {
    let kernel = server.kernel().map_err(Error::system("/dev/fuse"))?;
    // Each of them was a pattern when the options were read.
    let exclude = Exclude::new(&options.exclude).unwrap_or_default();
    let surroundings = Box::new(Surroundings::of(device, server.root_path()));
    Ok(Arc::new(Cleaner::new(
        Arc::clone(filesystem),
        kernel,
        exclude,
        surroundings,
    )))
}

/// How the mount is to be cleaned; `None` where it is not. For tests, who cannot wait for days, the environment of whoever mounts
/// may say milliseconds instead: `AGE,EVERY`.
fn terms(options: &MountOptions) -> Option<Terms> {
    let max_age = options.max_age?;
    let quick = std::env::var("OWLTMP_TEST_CLEANER").ok();
    let quick = quick.as_deref().and_then(|text| text.split_once(','));
    let milliseconds = |text: &str| text.parse().ok().map(Duration::from_millis);
    match quick.map(|(age, every)| (milliseconds(age), milliseconds(every))) {
        Some((Some(max_age), Some(every))) => Some(Terms { max_age, every }),
        _ => Some(Terms::of(max_age)),
    }
}

/// With `mand=full` and `mand=all` some or all files cannot be mapped shared (semantics 5.5), which programs may need.
fn say_what_cannot_be_mapped(options: &MountOptions, passthrough: bool) {
    match options.settings.mandatory {
        Mandatory::All => log::warn!("mand=all: no file can be mapped shared"),
        Mandatory::Full if !passthrough => {
            log::warn!("mand=full without passthrough: no file can be mapped shared (see io= in owltmp(8))");
        }
        _ => {}
    }
}

/// Where contents are kept for the kernel to read and write by itself; `None` where that is not to be, or, if it need not be,
/// cannot.
fn store(connection: &Connection, options: &MountOptions) -> Result<Option<Arc<Store>>, Error> {
    if options.io == IoMode::Cached {
        return Ok(None);
    }
    match try_store(connection, options) {
        Ok(store) => Ok(Some(store)),
        Err(reason) if options.io == IoMode::Passthrough => Err(Error::NoPassthrough(reason)),
        Err(reason) => {
            log::info!("contents go through the page cache: {reason}");
            Ok(None)
        }
    }
}

fn try_store(connection: &Connection, options: &MountOptions) -> Result<Arc<Store>, String> {
    let kernel = connection.backing_files().map_err(|error| error.to_string())?;
    let kernel = kernel.ok_or("this kernel has no FUSE passthrough (Linux 6.9 or later has)")?;
    let settings = &options.settings;
    Store::new(settings.max_bytes, settings.atime, kernel).map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => "FUSE passthrough needs CAP_SYS_ADMIN, of root outside of containers".to_owned(),
        _ => format!("no private tmpfs can be made: {error}"),
    })
}

/// What one of the ending signals puts an end to.
struct Ending {
    device: Device,
    mounted: Option<Mounted>,
    on_signal: OnSignal,
    notifier: Notifier,
    control: Option<Arc<Control>>,
}

impl Ending {
    fn end(&self, signal: Signal) -> ! {
        log::info!("ending on {signal}");
        self.notifier.stopping();
        // Whether the connection still has its number: once the mount is gone another may get that.
        let mut is_ours = true;
        if let (OnSignal::Unmount, Some(mounted)) = (self.on_signal, &self.mounted) {
            match mounted.take_away() {
                // The workers see the end of the mount and end the process; if they don't, another namespace has it.
                Ok(Detach::WhenIdle) => {
                    is_ours = false;
                    thread::sleep(GRACE);
                }
                Ok(Detach::Now) => log::warn!("it was in use: who still has it open gets ENOTCONN from now on"),
                Err(error) => log::warn!("left mounted, without answers from now on: {error}"),
            }
        }
        self.control.iter().for_each(|control| control.close());
        log::logger().flush();
        // A thread that tells the kernel something may be held up for ever (fuse/telling.rs), and then the connection would not end
        // with us.
        if is_ours {
            let _by_the_end_then = abort(self.device.1);
        }
        process::exit(0)
    }
}

/// Starts the thread that waits for the ending signals, which are blocked in all threads.
fn end_on_signal(ending: Ending) -> Result<(), Error> {
    let wait_then_end = move || {
        loop {
            if let Ok(signal) = signals::set_of(&ENDING).wait() {
                ending.end(signal);
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait_then_end)
        .map_err(Error::system("thread"))?;
    Ok(())
}
