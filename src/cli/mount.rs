//! `owltmp mount`.

use std::path::{self, Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Unknown, ask, parse_options, resolve_raw, this_host};
use crate::control::protocol::{Ask, Body};
use crate::mount::options::RawOptions;
use crate::mount::{
    self, Change, Daemon, Error, Manager, Method, OnSignal, Plan, logging, place, serve, warnings, within,
};

/// Mount a temporary filesystem over a directory
///
/// Returns when the mount answers. A daemon serves it until it is unmounted.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Mount options, separated by commas, as tmpfs has them: size=, nr_inodes=, mode=, ro, noexec, ... (see
    /// owltmp(8))
    #[arg(short, value_name = "OPT,...")]
    options: Vec<String>,
    /// Stay in the foreground and log to standard error (filter: OWLTMP_LOG)
    #[arg(short, long)]
    foreground: bool,
    /// Mount in this mount namespace, /proc/PID/ns/mnt or PID, and serve from this one
    #[arg(short = 'N', long, value_name = "NS")]
    namespace: Option<PathBuf>,
    /// Ignore options that are not known
    #[arg(short, long)]
    sloppy: bool,
    /// Do all but the mount: say what is wrong with options and mountpoint
    #[arg(long)]
    fake: bool,
    /// The directory to mount over
    mountpoint: PathBuf,
}

/// Mounts.
pub fn mount(arguments: &Arguments, warn: &mut dyn FnMut(&str)) -> Result<ExitCode, Error> {
    let raw = parse_options(&arguments.options)?;
    if raw
        .iter()
        .any(|option| option.name == "remount" && option.value.is_none())
    {
        return remount(arguments, &raw);
    }
    let plan = plan(arguments, &raw)?;
    if arguments.fake {
        return within(plan.namespace.as_deref(), || place::check(&plan.place)).map(|_| ExitCode::SUCCESS);
    }
    warnings().iter().for_each(|line| warn(line));
    if arguments.foreground {
        logging::to_stderr();
        serve(&plan, |manager| {
            manager.ready(&plan.place);
            Ok(())
        })?;
    } else {
        Daemon::start_free(&plan)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(arguments: &Arguments, raw: &RawOptions) -> Result<Plan, Error> {
    let unknown = if arguments.sloppy {
        Unknown::Ignored
    } else {
        Unknown::Refused
    };
    let namespace = arguments.namespace.as_deref().map(namespace);
    Ok(Plan {
        options: resolve_raw(raw, unknown)?,
        // A path of another namespace is looked up there.
        place: match namespace {
            None => place::check(&arguments.mountpoint)?,
            Some(_) => path::absolute(&arguments.mountpoint).map_err(Error::system("working directory"))?,
        },
        method: match namespace {
            None => Method::DirectOrHelper,
            Some(_) => Method::Detached,
        },
        namespace,
        on_signal: OnSignal::Unmount,
        manager: Manager::Told,
    })
}

/// A number is that of a process in the namespace, as for mount(8).
fn namespace(given: &Path) -> PathBuf {
    match given.to_str().map(str::parse::<u32>) {
        Some(Ok(pid)) => PathBuf::from(format!("/proc/{pid}/ns/mnt")),
        _ => given.to_owned(),
    }
}

fn remount(arguments: &Arguments, raw: &RawOptions) -> Result<ExitCode, Error> {
    let namespace = arguments.namespace.as_deref().map(namespace);
    let change = if arguments.fake { Change::None } else { Change::Made };
    let path = &arguments.mountpoint;
    within(namespace.as_deref(), || {
        mount::remount(path, raw, options_in_force(path), &this_host(), change)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What the daemon says that it was started with; `None` where it cannot be asked.
fn options_in_force(path: &Path) -> Option<RawOptions> {
    match ask::mount_at(path).ok()?.ask(&Ask::Status { brief: true }).ok()?.body {
        Body::Status(status) => {
            let options: Option<Vec<String>> = status.options.iter().map(|it| ask::unescaped(it)).collect();
            RawOptions::parse_all(options?.iter().map(String::as_str)).ok()
        }
        _ => None,
    }
}
