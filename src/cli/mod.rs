//! The command line: raw arguments, resolved once into the plans of `mount`. One file per subcommand.

mod mount;
mod run;
mod umount;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::unistd::{getegid, geteuid};

use crate::mount::Error;
use crate::mount::options::{self, Accounts, Host, MountOptions, RawOptions};
use crate::sys::host;

/// A safe temporary filesystem, to mount in place of /tmp or to give to one command.
#[derive(Debug, Parser)]
#[command(name = "owltmp", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Mount(mount::Arguments),
    Umount(umount::Arguments),
    Run(run::Arguments),
}

/// Does what the arguments say; the exit status. `warn` gets lines that a person should see though nothing has
/// failed.
pub fn run(arguments: Arguments, warn: &mut dyn FnMut(&str)) -> Result<ExitCode, Error> {
    match arguments.command {
        Command::Mount(arguments) => mount::mount(&arguments, warn),
        Command::Umount(arguments) => umount::umount(&arguments),
        Command::Run(arguments) => run::run(arguments, warn),
    }
}

/// The users and groups of this machine.
struct System;

impl Accounts for System {
    fn uid(&self, name: &str) -> Option<u32> {
        host::uid_of(name)
    }

    fn gid(&self, name: &str) -> Option<u32> {
        host::gid_of(name)
    }
}

/// All `-o` arguments to what they mean here.
fn resolve_options(texts: &[String]) -> Result<MountOptions, Error> {
    let raw = RawOptions::parse_all(texts.iter().map(String::as_str))?;
    let host = Host {
        ram_pages: host::ram_pages(),
        cpus: host::cpus(),
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        selinux: host::has_selinux(),
        accounts: &System,
    };
    Ok(options::resolve(&raw, &host)?)
}
