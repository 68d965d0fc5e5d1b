//! Ctrl-C: the run ends at the next opportunity and cleans up as always. If it has not ended soon, servers are killed, so
//! that no call waits for them.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::row::Outcome;
use crate::common::watchdog::Target;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Whom to kill when time is up.
static SERVERS: Mutex<Vec<Target>> = Mutex::new(Vec::new());
/// The folder to remove then. What is mounted on it is so in the run's namespace only, and gone with that.
static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// How long a sample may go on after the signal, and then the cleaning up.
const PATIENCE: Duration = Duration::from_secs(8);

/// An error once a signal has come. Whatever takes long asks this now and then.
pub fn check() -> Outcome<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err("interrupted".into());
    }
    Ok(())
}

/// Makes signals end the run in good order. To be called before there are threads.
pub fn listen() -> Outcome<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        while signals.wait().is_err() {}
        INTERRUPTED.store(true, Ordering::Relaxed);
        std::thread::sleep(PATIENCE);
        for target in SERVERS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            target.abort();
        }
        std::thread::sleep(PATIENCE);
        // The mount namespace and the signals by which the kernel tells servers of our death do the rest.
        if let Some(folder) = FOLDER.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let _gone_already = std::fs::remove_dir(folder);
        }
        std::process::exit(130);
    })?;
    Ok(())
}

/// What to remove if the run does not end by itself.
pub fn remember_folder(folder: &Path) {
    *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_owned());
}

/// A server is running.
pub fn remember(target: &Target) {
    SERVERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(target.clone());
}

/// It has ended.
pub fn forget(target: &Target) {
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    servers.retain(|it| it.mountpoint != target.mountpoint);
}
