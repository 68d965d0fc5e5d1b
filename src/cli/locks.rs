//! `owltmp locks`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::ask::{self, Target};
use crate::control::protocol::{Ask, Body, Held, LockedFile, Locks, Waiting};
use crate::mount::{Error, shown};

/// Show who holds locks and who waits for them: record locks and flock(2), which lslocks(8) cannot see here
///
/// Root and who made the mount see all, others their own and what is in their way.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Print the daemon's answer, a line of JSON for each mount (see docs/control.md)
    #[arg(long)]
    json: bool,
    /// A file, or where a filesystem is mounted; all owltmp mounts where nothing is said
    path: Option<PathBuf>,
}

/// Shows.
pub fn locks(arguments: &Arguments, warn: &mut dyn FnMut(&str)) -> Result<ExitCode, Error> {
    let (targets, inode) = match &arguments.path {
        Some(path) => {
            let (target, inode) = ask::file_at(path)?;
            (vec![target], inode)
        }
        None => (ask::all()?, None),
    };
    let mut rows = vec![head()];
    let mut more = 0_u64;
    ask::for_each(&targets, &mut *warn, |target| {
        let answer = target.ask(&Ask::Locks { inode })?;
        if arguments.json {
            return ask::print_json(&answer);
        }
        let Body::Locks(locks) = &answer.body else {
            return Ok(());
        };
        if locks.kept_by == "kernel" {
            let place = shown(&target.place);
            return ask::print(&format!(
                "{place}: mand=off: the kernel keeps the locks of this mount: see lslocks(8)\n"
            ));
        }
        more = left_out(locks).saturating_add(more);
        rows.extend(locks.files.iter().flat_map(|file| rows_of(target, file)));
        Ok(())
    })?;
    if rows.len() > 1 {
        ask::print(&ask::columns(&rows, &|column| matches!(column, 1 | 6 | 7)))?;
    }
    if more > 0 {
        warn(&format!("{more} more are not shown: name a file"));
    }
    Ok(ExitCode::SUCCESS)
}

fn left_out(locks: &Locks) -> u64 {
    let of_files = locks
        .files
        .iter()
        .flat_map(|file| [file.held_left_out, file.waiting_left_out]);
    // A daemon of another user may say anything.
    of_files.fold(locks.files_left_out, u64::saturating_add)
}

fn head() -> Vec<String> {
    [
        "COMMAND", "PID", "USER", "TYPE", "MODE", "M", "START", "END", "SINCE", "STATE", "PATH",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn rows_of(target: &Target, file: &LockedFile) -> Vec<Vec<String>> {
    let path = match &file.path {
        Some(path) => format!("{}{path}", target.place.as_os_str().as_encoded_bytes().escape_ascii()),
        None => format!("inode {} of {}", file.inode, shown(&target.place)),
    };
    let held = file.held.iter().map(|held| held_row(held, &path));
    let waiting = file.waiting.iter().map(|waiting| waiting_row(waiting, file, &path));
    held.chain(waiting).collect()
}

fn process(pid: u32) -> String {
    if pid == 0 { "?".to_owned() } else { pid.to_string() }
}

fn command(command: Option<&String>) -> String {
    command.map_or("?".to_owned(), Clone::clone)
}

fn end(last: Option<u64>) -> String {
    last.map_or("EOF".to_owned(), |last| last.to_string())
}

fn held_row(held: &Held, path: &str) -> Vec<String> {
    vec![
        command(held.command.as_ref()),
        process(held.pid),
        ask::user(held.uid),
        held.lock.to_uppercase(),
        held.mode.to_uppercase(),
        u8::from(held.mandatory).to_string(),
        held.first.to_string(),
        end(held.last),
        ask::time(held.since_ms),
        "held".to_owned(),
        path.to_owned(),
    ]
}

fn waiting_row(waiting: &Waiting, file: &LockedFile, path: &str) -> Vec<String> {
    let blocker = waiting.blocked_by.as_ref().map_or("waits".to_owned(), |held| {
        format!("waits for {} {}", process(held.pid), command(held.command.as_ref()))
    });
    vec![
        command(waiting.command.as_ref()),
        process(waiting.pid),
        waiting.uid.map_or("?".to_owned(), ask::user),
        waiting.lock.to_uppercase(),
        format!("{}*", waiting.mode.to_uppercase()),
        u8::from(file.mandatory && waiting.lock != "flock").to_string(),
        waiting.first.to_string(),
        end(waiting.last),
        ask::time(waiting.since_ms),
        blocker,
        path.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_says_is_left_out_may_be_too_much() {
        let text = r#"{"kept_by":"owltmp","files_left_out":18446744073709551615,"files":[{"inode":1,"path":null,"owner":0,
            "mandatory":false,"held":[],"held_left_out":18446744073709551615,"waiting":[],"waiting_left_out":1}]}"#;
        let locks: Locks = serde_json::from_str(text).unwrap();
        assert_eq!(left_out(&locks), u64::MAX);
    }
}
