//! Ends a test that hangs: says so, kills the daemon (which aborts the connection, so nobody stays in state D), and if that
//! doesn't help ends the whole test process.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Watches until dropped.
pub struct Watchdog(#[allow(dead_code)] Sender<()>);

/// What to end when time is up.
#[derive(Clone, Debug)]
pub struct Target {
    /// The daemon, if there is one.
    pub daemon: Option<i32>,
    /// Minor number of the mount's device: names the FUSE connection.
    pub minor: u32,
    /// The mount point, to be detached at last.
    pub mountpoint: PathBuf,
}

impl Target {
    /// Ends the connection: by the control filesystem if it is there, and by killing the daemon.
    pub fn abort(&self) {
        if let Some(pid) = self.daemon {
            let _ = owltmp::sys::device::abort(self.minor);
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

impl Watchdog {
    /// Starts to watch; time is up after `limit`.
    pub fn start(limit: Duration, target: Target) -> Self {
        let (sender, receiver) = channel::<()>();
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        std::thread::spawn(move || {
            if receiver.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            eprintln!("watchdog: {test} took longer than {limit:?}; aborting {target:?}");
            target.abort();
            if receiver.recv_timeout(Duration::from_secs(15)) == Err(RecvTimeoutError::Timeout) {
                eprintln!("watchdog: {test} still hangs; ending the test process");
                let _ = rustix::mount::unmount(&target.mountpoint, rustix::mount::UnmountFlags::DETACH);
                std::process::abort();
            }
        });
        Self(sender)
    }
}
