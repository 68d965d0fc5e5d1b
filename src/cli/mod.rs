//! The command line: raw arguments, resolved once into the plans of `mount`. One file per subcommand.

mod ask;
mod clean;
mod completions;
mod events;
mod lock;
mod locks;
mod mount;
mod run;
mod status;
mod top;
mod umount;
mod unlock;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use nix::unistd::{getegid, geteuid};

use crate::mount::options::{self, Accounts, Host, MountOptions, RawOptions};
use crate::mount::{Error, Shown};
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
    Lock(lock::Arguments),
    Status(status::Arguments),
    Locks(locks::Arguments),
    Unlock(unlock::Arguments),
    Events(events::Arguments),
    Top(top::Arguments),
    Clean(clean::Arguments),
    #[command(hide = true)]
    Completions(completions::Arguments),
}

/// What is wrong with a command line, in one line; `None` where help or the version was asked for.
pub fn usage_error(error: &clap::Error) -> Option<String> {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        return None;
    }
    // Paragraphs: what is wrong, perhaps a tip, the usage, and a word on --help, which the usage makes dispensable.
    let text = error.to_string();
    let paragraphs: Vec<String> = text
        .trim_start_matches("error: ")
        .split("\n\n")
        .map(|paragraph| paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" "))
        .filter(|paragraph| !paragraph.starts_with("For more information") && !paragraph.is_empty())
        .collect();
    Some(Shown(paragraphs.join("; ").as_ref()).to_string())
}

/// Does what the arguments say; the exit status. `warn` gets lines that a person should see though nothing has
/// failed.
pub fn run(arguments: Arguments, warn: &mut dyn FnMut(&str)) -> Result<ExitCode, Error> {
    match arguments.command {
        Command::Mount(arguments) => mount::mount(&arguments, warn),
        Command::Umount(arguments) => umount::umount(&arguments),
        Command::Run(arguments) => run::run(arguments, warn),
        Command::Lock(arguments) => lock::lock(arguments),
        Command::Status(arguments) => status::status(&arguments, warn),
        Command::Locks(arguments) => locks::locks(&arguments, warn),
        Command::Unlock(arguments) => unlock::unlock(&arguments),
        Command::Events(arguments) => events::events(&arguments),
        Command::Top(arguments) => top::top(&arguments),
        Command::Clean(arguments) => clean::clean(&arguments),
        Command::Completions(arguments) => completions::completions(&arguments),
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
    resolve_raw(&parse_options(texts)?, Unknown::Refused)
}

/// All `-o` arguments as written.
fn parse_options(texts: &[String]) -> Result<RawOptions, Error> {
    Ok(RawOptions::parse_all(texts.iter().map(String::as_str))?)
}

/// What becomes of options that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    Refused,
    Ignored,
}

fn resolve_raw(raw: &RawOptions, unknown: Unknown) -> Result<MountOptions, Error> {
    Ok(match unknown {
        Unknown::Refused => options::resolve(raw, &this_host())?,
        Unknown::Ignored => options::resolve_known(raw, &this_host())?,
    })
}

/// What the meaning of options depends on.
fn this_host() -> Host<'static> {
    Host {
        ram_pages: host::ram_pages(),
        cpus: host::cpus(),
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        selinux: host::has_selinux(),
        accounts: &System,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(arguments: &[&str]) -> Option<String> {
        usage_error(&Arguments::try_parse_from([&["owltmp"], arguments].concat()).unwrap_err())
    }

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        assert_eq!(
            said(&["mount"]).unwrap(),
            "the following required arguments were not provided: <MOUNTPOINT>; Usage: owltmp mount <MOUNTPOINT>"
        );
        for arguments in [
            &["mount", "--fo", "x"][..],
            &["mount", "--\n\u{1b}[31m", "x"],
            &["mount", ""],
            &["run", "--at"],
            &["a\n\nb"],
        ] {
            let line = said(arguments).unwrap();
            assert!(!line.contains(char::is_control) && !line.is_empty(), "{line:?}");
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for arguments in [&[][..], &["--help"], &["--version"], &["run", "--help"]] {
            assert_eq!(said(arguments), None);
        }
    }
}
