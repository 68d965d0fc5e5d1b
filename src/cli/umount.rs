//! `owltmp umount`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::mount::Error;
use crate::mount::place::{self, Detach};

/// Unmount an owltmp mount, also one whose daemon has died
#[derive(Debug, Args)]
pub struct Arguments {
    /// Detach it now, even if it is in use; it ends when the last user is gone
    #[arg(short, long)]
    lazy: bool,
    /// Only if its daemon has died; else, or if there is no mount, do nothing
    #[arg(long)]
    if_dead: bool,
    /// Where it is mounted
    mountpoint: PathBuf,
}

/// Unmounts.
pub fn umount(arguments: &Arguments) -> Result<ExitCode, Error> {
    let detach = if arguments.lazy { Detach::Now } else { Detach::WhenIdle };
    let mountpoint = match place::find_mount(&arguments.mountpoint) {
        Err(Error::NotAMount(_) | Error::NotOurs(..)) if arguments.if_dead => return Ok(ExitCode::SUCCESS),
        found => found?,
    };
    if arguments.if_dead && !place::is_dead(&mountpoint) {
        return Ok(ExitCode::SUCCESS);
    }
    place::unmount(&mountpoint, detach)?;
    Ok(ExitCode::SUCCESS)
}
