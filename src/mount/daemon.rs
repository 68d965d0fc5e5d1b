//! The daemon as its starter sees it: started, ready or failed with a reason, and ended.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{FUSE_SUPER_MAGIC, statfs};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, pipe2, setsid};

use super::error::Error;
use super::logging;
use super::notify::Notifier;
use super::serve::{self, Plan};
use crate::sys::process::{Side, close_inherited, die_with, discard_stdio, fork};
use crate::sys::signals;

/// What the daemon writes once it answers; anything else is an exit status and a message.
const READY: u8 = 0;

/// How long a daemon may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a daemon lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Until the mount is gone.
    Free,
    /// At most as long as the process that started it, however that one ends.
    WithStarter,
}

/// A running daemon; dropping it ends it.
#[derive(Debug)]
pub struct Daemon(Pid);

impl Daemon {
    /// Starts a daemon that mounts and serves as planned. Returns when the mount has answered. The process must have
    /// one thread.
    pub fn start(plan: &Plan, life: Life) -> Result<Daemon, Error> {
        let starter = getpid();
        signals::expect_children().map_err(Error::system("signals"))?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(Error::system("pipe"))?;
        let daemon = match fork().map_err(Error::system("fork"))? {
            Side::Parent(pid) => Daemon(pid),
            Side::Child => {
                drop(reader);
                be_daemon(plan, life, starter, writer)
            }
        };
        drop(writer);
        let mut message = Vec::new();
        File::from(reader)
            .read_to_end(&mut message)
            .map_err(Error::system("pipe"))?;
        match message.split_first() {
            Some((&READY, _)) => {
                serve::within(plan.namespace.as_deref(), || ask(&plan.place))?;
                Ok(daemon)
            }
            Some((code, text)) => Err(Error::Daemon(*code, String::from_utf8_lossy(text).into_owned())),
            None => Err(Error::DaemonEnded(daemon.last_words())),
        }
    }

    /// Starts one that lives on by itself. A process in between starts it and is gone when this returns: a service manager waits
    /// properly only for daemons that are its own children by then.
    pub fn start_free(plan: &Plan) -> Result<(), Error> {
        signals::expect_children().map_err(Error::system("signals"))?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(Error::system("pipe"))?;
        let between = match fork().map_err(Error::system("fork"))? {
            Side::Parent(pid) => Daemon(pid),
            Side::Child => {
                drop(reader);
                pass_on(Daemon::start(plan, Life::Free), File::from(writer))
            }
        };
        drop(writer);
        let mut message = Vec::new();
        File::from(reader)
            .read_to_end(&mut message)
            .map_err(Error::system("pipe"))?;
        let end = between.last_words();
        std::mem::forget(between);
        match message.split_first() {
            Some((&READY, pid)) => {
                let pid = String::from_utf8_lossy(pid).into_owned();
                Notifier::of(plan.manager).ready_elsewhere(&pid, &plan.place);
                Ok(())
            }
            Some((code, text)) => Err(Error::Daemon(*code, String::from_utf8_lossy(text).into_owned())),
            None => Err(Error::DaemonEnded(end)),
        }
    }

    /// Tells it to end.
    pub fn tell_to_end(&self) {
        let _ = kill(self.0, Signal::SIGTERM);
    }

    /// Ends it at once, as it is.
    fn kill(&self) {
        // It has not been waited for, so the pid is its own; if it has ended already, all is well.
        let _ = kill(self.0, Signal::SIGKILL);
    }

    /// How it ended.
    fn last_words(&self) -> String {
        match waitpid(self.0, None) {
            Ok(WaitStatus::Exited(_, code)) => format!("exit status {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("killed by {signal}"),
            other => format!("{other:?}"),
        }
    }
}

impl Drop for Daemon {
    /// Ends the daemon and waits for its end. Until it is waited for, its pid is nobody else's.
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        self.tell_to_end();
        while let Ok(WaitStatus::StillAlive) = waitpid(self.0, Some(WaitPidFlag::WNOHANG)) {
            if Instant::now() > deadline {
                self.kill();
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The end of the process in between: how it went, for who waits.
fn pass_on(started: Result<Daemon, Error>, mut starter: File) -> ! {
    let message = match started {
        Ok(daemon) => {
            let pid = daemon.0;
            std::mem::forget(daemon);
            [&[READY], pid.to_string().as_bytes()].concat()
        }
        Err(error) => [&[error.exit_code()], error.to_string().as_bytes()].concat(),
    };
    // Who does not wait any more has the mount, or the log.
    let _ = starter.write_all(&message);
    process::exit(0)
}

/// Asks the mount something, through the kernel, as any program would.
fn ask(place: &Path) -> Result<(), Error> {
    let silent = |error| Error::NoAnswer(place.to_owned(), error);
    let filesystem = statfs(place).map_err(|error| silent(error.into()))?;
    if filesystem.filesystem_type() != FUSE_SUPER_MAGIC {
        return Err(Error::NotAMount(place.to_owned()));
    }
    fs::metadata(place).map_err(silent)?;
    Ok(())
}

/// The life of the child process.
fn be_daemon(plan: &Plan, life: Life, starter: Pid, writer: OwnedFd) -> ! {
    let mut report = Some(File::from(writer));
    let result = let_go(life, starter, &report).and_then(|()| {
        logging::to_syslog();
        // The manager is told by the starter, whom it knows.
        serve::serve(plan, |_| tell_ready(report.take()))
    });
    let Err(error) = result else { process::exit(0) };
    log::error!("{error}");
    if let Some(mut report) = report {
        // If nobody reads it, the log has it.
        let _ = report.write_all(&[&[error.exit_code()], error.to_string().as_bytes()].concat());
    }
    process::exit(i32::from(error.exit_code()))
}

/// A session of its own, and nothing kept open for the starter's sake.
fn let_go(life: Life, starter: Pid, report: &Option<File>) -> Result<(), Error> {
    setsid().map_err(Error::system("setsid"))?;
    if life == Life::WithStarter && !die_with(starter).map_err(Error::system("prctl"))? {
        process::exit(1);
    }
    if let Some(report) = report {
        close_inherited(report.as_fd()).map_err(Error::system("close_range"))?;
    }
    discard_stdio().map_err(Error::system("/dev/null"))
}

fn tell_ready(report: Option<File>) -> Result<(), Error> {
    match report {
        Some(mut report) => report
            .write_all(&[READY])
            .map_err(Error::system("whoever started the mount is gone")),
        None => Ok(()),
    }
}
