//! `run`: a command with temporary directories of its own, in a mount namespace that ends with it.
//!
//! ```text
//! owltmp run ──┬── daemon of /tmp      a session of its own, killed with us
//! (waits)      ├── daemon of /var/tmp
//!              └── COMMAND             our session, our terminal
//! ```

use std::env;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::{Pid, getegid, geteuid};

use super::attach::Method;
use super::daemon::{Daemon, Life};
use super::error::Error;
use super::notify::Manager;
use super::options::{Access, MountOptions};
use super::serve::{OnSignal, Plan};
use crate::sys::namespace::{self, Namespace};
use crate::sys::{process, signals};

/// What we wait for: the end of the command, and what others send us but mean for it.
const WATCHED: [Signal; 7] = [
    Signal::SIGCHLD,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// What to run, and over which directories it gets its own.
#[derive(Clone, Debug)]
pub struct Run {
    /// Real paths, none of them below another.
    pub places: Vec<PathBuf>,
    /// What each is made with.
    pub options: MountOptions,
    /// The command.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// Runs the command to its end and returns the exit status a shell would give for it. When it returns there is no
/// process and no mount of ours left. The process must have one thread.
pub fn run(run: &Run) -> Result<u8, Error> {
    let inherited = signals::expect_children().map_err(Error::system("signals"))?;
    let directory = own_directory(&run.places);
    signals::block_only(&WATCHED).map_err(Error::system("signals"))?;
    let watched =
        SignalFd::with_flags(&signals::set_of(&WATCHED), SfdFlags::SFD_CLOEXEC).map_err(Error::system("signalfd"))?;
    let namespace = namespace::enter().map_err(Error::NoNamespace)?;
    let options = options_inside(&run.options, namespace)?;
    // Ended by Drop, also on an error.
    let mut daemons = Vec::new();
    for place in &run.places {
        let plan = Plan {
            place: place.clone(),
            options: options.clone(),
            namespace: None,
            method: Method::Direct,
            on_signal: OnSignal::End,
            manager: Manager::Ignored,
        };
        daemons.push(Daemon::start(&plan, Life::WithStarter)?);
    }
    let mut command = Command::new(&run.program);
    command.args(&run.arguments);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let child = process::spawn_inheriting(&mut command, inherited)
        .map_err(|error| Error::Command(run.program.clone(), error))?;
    let status = wait(child, &watched)?;
    // All at once, before Drop waits for each. The namespace takes the mounts along; the sockets they take away themselves.
    daemons.iter().for_each(Daemon::tell_to_end);
    Ok(exit_code(status))
}

/// The place this process is in, if it is in one: to stay would leave the command in the shared directory underneath.
/// A directory further down exists only there, and whoever runs a command in it wants it.
fn own_directory(places: &[PathBuf]) -> Option<PathBuf> {
    env::current_dir().ok().filter(|directory| places.contains(directory))
}

/// Everybody in the namespace may use the mounts. In a user namespace of one's own nobody else exists, as an owner
/// neither.
fn options_inside(options: &MountOptions, namespace: Namespace) -> Result<MountOptions, Error> {
    let settings = &options.settings;
    let own = (settings.root_uid, settings.root_gid) == (geteuid().as_raw(), getegid().as_raw());
    if namespace == Namespace::UsersAndMounts && !own {
        return Err(Error::ForeignOwner);
    }
    Ok(MountOptions {
        access: Access::Everyone,
        ..options.clone()
    })
}

/// Waits for the command's end and passes signals on to it meanwhile.
fn wait(mut child: Child, watched: &SignalFd) -> Result<ExitStatus, Error> {
    let pid = Pid::from_raw(child.id().cast_signed());
    loop {
        if let Some(status) = child.try_wait().map_err(Error::system("wait"))? {
            return Ok(status);
        }
        let info = match watched.read_signal() {
            Err(nix::Error::EINTR) => continue,
            other => other.map_err(Error::system("signalfd"))?,
        };
        if let Some(signal) = info.and_then(|info| passed_on(&Received::from_info(&info)?, pid)) {
            // It may have ended meanwhile; its status comes next. Until then its pid is nobody else's.
            let _ = kill(pid, signal);
        }
    }
}

/// A signal that came to us.
struct Received {
    signal: Signal,
    sender: Pid,
    by_kernel: bool,
}

impl Received {
    fn from_info(info: &siginfo) -> Option<Received> {
        Some(Received {
            signal: Signal::try_from(info.ssi_signo.cast_signed()).ok()?,
            sender: Pid::from_raw(info.ssi_pid.cast_signed()),
            by_kernel: info.ssi_code > 0,
        })
    }
}

/// The signal to send to the command, if this one is meant for it and has not reached it already: what the terminal
/// sends goes to the whole foreground, the command included, and what the command sends to its group it sends to
/// itself.
fn passed_on(received: &Received, command: Pid) -> Option<Signal> {
    let reached = received.by_kernel || received.sender == command;
    (received.signal != Signal::SIGCHLD && !reached).then_some(received.signal)
}

/// As a shell has it: 128 and the number of the signal that killed it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_have_reached_the_command_are_not_passed_on() {
        let (command, stranger) = (Pid::from_raw(10), Pid::from_raw(11));
        let sent = |signal, sender, by_kernel| {
            passed_on(
                &Received {
                    signal,
                    sender,
                    by_kernel,
                },
                command,
            )
        };
        assert_eq!(sent(Signal::SIGTERM, stranger, false), Some(Signal::SIGTERM));
        assert_eq!(sent(Signal::SIGINT, stranger, false), Some(Signal::SIGINT));
        assert_eq!(sent(Signal::SIGINT, Pid::from_raw(0), true), None);
        assert_eq!(sent(Signal::SIGTERM, command, false), None);
        assert_eq!(sent(Signal::SIGCHLD, command, true), None);
        assert_eq!(sent(Signal::SIGCHLD, stranger, false), None);
    }

    #[test]
    fn exit_codes_are_a_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(libc::SIGKILL)), 137);
        assert_eq!(exit_code(ExitStatus::from_raw(libc::SIGSEGV | 0x80)), 139);
    }
}
