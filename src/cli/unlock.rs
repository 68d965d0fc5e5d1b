//! `owltmp unlock`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::ask;
use crate::control::protocol::{Ask, Body, Held};
use crate::mount::Error;

/// Break locks on a file and let go on who waits for them; an event records it
///
/// Who held them is not told. Root and who made the mount may break all locks, others their own.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only those of this process, as `owltmp locks` shows it
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Only these bytes: the first and the last, or `A-` to the end. Locks of flock(2) have all bytes and stay then
    #[arg(long, value_name = "A-B", value_parser = range)]
    range: Option<(u64, Option<u64>)>,
    /// Of the file of this inode number, where PATH is the mount: for one that is deleted, or that you may not look up
    #[arg(long, value_name = "INODE")]
    inode: Option<u64>,
    /// Print the daemon's answer as JSON (see docs/control.md)
    #[arg(long)]
    json: bool,
    /// The file
    path: PathBuf,
}

fn range(text: &str) -> Result<(u64, Option<u64>), String> {
    let wrong = || "two offsets, the first and the last, such as 0-99, or 100- to the end".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let first = first.parse().map_err(|_| wrong())?;
    let last = match last {
        "" => None,
        last => Some(last.parse().map_err(|_| wrong())?),
    };
    match last.is_none_or(|last| first <= last) {
        true => Ok((first, last)),
        false => Err(wrong()),
    }
}

/// Breaks.
pub fn unlock(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (target, inode) = match arguments.inode {
        Some(inode) => (ask::mount_at(&arguments.path)?, inode),
        None => match ask::file_at(&arguments.path)? {
            (target, Some(inode)) => (target, inode),
            // The root directory: it can be locked by flock(2) like any other.
            (target, None) => (target, 1),
        },
    };
    let (first, last) = arguments.range.unwrap_or((0, None));
    let answer = target.ask(&Ask::Unlock {
        inode,
        pid: arguments.pid,
        first,
        last,
    });
    let answer = answer.map_err(|error| match error {
        Error::Control(_, error) => Error::Control(arguments.path.clone(), error),
        other => other,
    })?;
    if arguments.json {
        ask::print_json(&answer)?;
    } else if let Body::Unlocked(unlocked) = &answer.body {
        let lines: Vec<String> = unlocked.broken.iter().map(described).collect();
        let more = unlocked.count.saturating_sub(lines.len() as u64);
        let more = if more > 0 {
            format!("... and {more} more\n")
        } else {
            String::new()
        };
        ask::print(&(lines.concat() + &more))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn described(held: &Held) -> String {
    let end = held.last.map_or("the end".to_owned(), |last| last.to_string());
    let Held {
        lock, mode, first, pid, ..
    } = held;
    format!(
        "broken: {lock} {mode} {first} to {end} of process {pid}, user {}\n",
        ask::user(held.uid)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_name_the_first_and_the_last_byte() {
        assert_eq!(range("0-99"), Ok((0, Some(99))));
        assert_eq!(range("7-7"), Ok((7, Some(7))));
        assert_eq!(range("100-"), Ok((100, None)));
        for bad in ["", "-", "5", "-5", "9-8", "a-b", "1-2-3", "0x1-2"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
