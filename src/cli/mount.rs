//! `owltmp mount`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::resolve_options;
use crate::mount::{Daemon, Error, Life, Method, OnSignal, Plan, logging, place, serve, warnings};

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
    /// The directory to mount over
    mountpoint: PathBuf,
}

/// Mounts.
pub fn mount(arguments: &Arguments, warn: &mut dyn FnMut(&str)) -> Result<ExitCode, Error> {
    let plan = Plan {
        options: resolve_options(&arguments.options)?,
        place: place::check(&arguments.mountpoint)?,
        method: Method::DirectOrHelper,
        on_signal: OnSignal::Unmount,
    };
    warnings().iter().for_each(|line| warn(line));
    if arguments.foreground {
        logging::to_stderr();
        serve(&plan, || Ok(()))?;
    } else {
        Daemon::start(&plan, Life::Free)?.release();
    }
    Ok(ExitCode::SUCCESS)
}
