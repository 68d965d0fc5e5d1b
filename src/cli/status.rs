//! `owltmp status`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::ask::{self, Target};
use crate::control::protocol::{Answer, Ask, Body, Deleted, Holder, Room, Status, User};
use crate::mount::{Error, shown};
use crate::sys::holders;

/// Show what a mount is and holds: options, use by user, deleted files that are still open, events
///
/// Root and who made the mount see all, others what is theirs.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Print the daemon's answer, a line of JSON for each mount (see docs/control.md)
    #[arg(long)]
    json: bool,
    /// Where it is mounted; all owltmp mounts where nothing is said
    mountpoint: Option<PathBuf>,
}

/// Shows.
pub fn status(arguments: &Arguments, warn: &mut dyn FnMut(&str)) -> Result<ExitCode, Error> {
    let targets = match &arguments.mountpoint {
        Some(path) => vec![ask::mount_at(path)?],
        None => ask::all()?,
    };
    let mut first = true;
    ask::for_each(&targets, warn, |target| {
        let answer = answer(target)?;
        if arguments.json {
            return ask::print_json(&answer);
        }
        let Body::Status(status) = &answer.body else {
            return Ok(());
        };
        let gap = if first { "" } else { "\n" };
        first = false;
        ask::print(&format!("{gap}{}", described(target, status)))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What the daemon says, and who has the deleted files: that is for us to find, with the rights of whoever runs us.
fn answer(target: &Target) -> Result<Answer, Error> {
    let mut answer = target.ask(&Ask::Status { brief: false })?;
    if let Body::Status(status) = &mut answer.body
        && let Some(deleted) = status.deleted.as_mut().filter(|deleted| !deleted.is_empty())
    {
        let inodes: HashSet<u64> = deleted.iter().map(|it| it.inode).collect();
        let mut found = holders::holders(target.device, &inodes);
        for file in deleted {
            let of_file = found.found.remove(&file.inode).unwrap_or_default();
            file.holders = Some(of_file.into_iter().map(holder).collect());
        }
        status.all_processes_seen = Some(found.complete);
    }
    Ok(answer)
}

fn holder(found: holders::Holder) -> Holder {
    Holder {
        pid: found.pid,
        command: found.command.escape_ascii().to_string(),
        by: found
            .descriptor
            .map_or("mapping".to_owned(), |number| format!("descriptor {number}")),
    }
}

/// Lines of a name and a value.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        let mut name = name;
        for line in wrapped(value) {
            // Writing to a String cannot fail.
            let _ = writeln!(self.0, "  {name:<9} {}", line.trim_end());
            name = "";
        }
    }
}

/// Text in lines that end after a blank or a comma, and are not much longer than a terminal is wide.
fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = 100;
    let mut lines = vec![String::new()];
    for word in text.split_inclusive([' ', ',']) {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.len() + word.trim_end().len() <= WIDTH => line.push_str(word),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn described(target: &Target, status: &Status) -> String {
    let mut lines = Lines::default();
    made_with(&mut lines, status);
    lines.add("size", &room(&status.bytes, ask::bytes));
    lines.add("inodes", &room(&status.inodes, |count| count.to_string()));
    if let Some(open) = status.open {
        lines.add("open", &format!("{open} open files and directories"));
    }
    let waiting = match status.waiting {
        0 => "nobody waits for a lock".to_owned(),
        1 => "1 waits for a lock (owltmp locks)".to_owned(),
        count => format!("{count} wait for locks (owltmp locks)"),
    };
    lines.add("waiting", &waiting);
    if let Some(events) = &status.events {
        let counts: Vec<String> = events.iter().map(|it| format!("{} {}", it.rule, it.count)).collect();
        lines.add("events", &counts.join(", "));
    }
    if !status.you.all {
        lines.add("you", "see only what is yours; root and who made the mount see all");
    }
    let Lines(text) = lines;
    let (users, deleted) = (users(status), deleted(status));
    format!("{}\n{text}{users}{deleted}", shown(&target.place))
}

/// What does not change while it is mounted, but for the time.
fn made_with(lines: &mut Lines, status: &Status) {
    let (time, owner) = (ask::duration(status.uptime_ms), ask::user(status.uid));
    lines.add("mounted", &format!("{time} ago by {owner}, device {}", status.device));
    let Status {
        pid, program, workers, ..
    } = status;
    lines.add("daemon", &format!("process {pid}, owltmp {program}, {workers} workers"));
    // As `-o` takes them; a quotation mark does nothing to a terminal.
    lines.add(
        "options",
        &status.options.join(",").replace("\\\"", "\"").replace("\\'", "'"),
    );
    lines.add("flags", &status.flags.join(","));
    let io = match status.io.as_str() {
        "passthrough" => "passthrough: the kernel reads and writes contents by itself",
        "cached" => "cached: contents go through the daemon and the page cache",
        other => other,
    };
    lines.add("io", io);
    let kernel = &status.kernel;
    lines.add("kernel", &format!("FUSE protocol {}", kernel.protocol));
    for (name, features) in [
        ("  used", &kernel.used),
        ("  refused", &kernel.refused),
        ("  missing", &kernel.missing),
    ] {
        let short: Vec<&str> = features.iter().map(|it| it.trim_start_matches("FUSE_")).collect();
        let none = "nothing".to_owned();
        lines.add(name, &if short.is_empty() { none } else { short.join(" ") });
    }
}

fn room(room: &Room, unit: impl Fn(u64) -> String) -> String {
    match room.most {
        Some(most) => format!("{} of {} used", unit(room.used), unit(most)),
        None => format!("{} used, no limit", unit(room.used)),
    }
}

fn left_out(count: u64) -> String {
    match count {
        0 => String::new(),
        count => format!("  ... and {count} more\n"),
    }
}

fn users(status: &Status) -> String {
    let Some(users) = &status.users else {
        return "  users     too many files to count by user\n".to_owned();
    };
    if users.is_empty() {
        return "  users     you have no files here\n".to_owned();
    }
    let limit = |most: Option<u64>, unit: &dyn Fn(u64) -> String| most.map_or("-".to_owned(), unit);
    let row = |user: &User| {
        vec![
            format!("  {}", ask::user(user.uid)),
            ask::bytes(user.bytes.used),
            limit(user.bytes.most, &ask::bytes),
            user.inodes.used.to_string(),
            limit(user.inodes.most, &|count| count.to_string()),
        ]
    };
    let head = ["  USER", "SIZE", "LIMIT", "INODES", "LIMIT"]
        .map(str::to_owned)
        .to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(users.iter().map(row)).collect();
    ask::columns(&rows, &|column| column > 0) + &left_out(status.users_left_out)
}

fn deleted(status: &Status) -> String {
    let files = status.deleted.as_deref().unwrap_or_default();
    if files.is_empty() {
        return String::new();
    }
    let complete = status.all_processes_seen == Some(true);
    let row = |file: &Deleted| {
        vec![
            format!("  {}", file.inode),
            file.kind.clone(),
            ask::bytes(file.size),
            ask::bytes(file.bytes),
            ask::user(file.owner),
            holders_of(file, complete),
        ]
    };
    let head = ["  DELETED", "KIND", "SIZE", "IN USE", "OWNER", "HELD BY"]
        .map(str::to_owned)
        .to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(files.iter().map(row)).collect();
    ask::columns(&rows, &|column| (2..4).contains(&column)) + &left_out(status.deleted_left_out)
}

/// Who has a file; where nobody was found, why that may be.
fn holders_of(file: &Deleted, complete: bool) -> String {
    let holders = file.holders.as_deref().unwrap_or_default();
    if !holders.is_empty() {
        let named = holders
            .iter()
            .map(|it| format!("{} {} ({})", it.pid, it.command, it.by));
        return named.collect::<Vec<_>>().join(", ");
    }
    let openers: Vec<String> = file.openers.iter().map(u32::to_string).collect();
    let opened = match openers.is_empty() {
        true => String::new(),
        false => format!("; opened by thread {}", openers.join(", ")),
    };
    match complete {
        true => format!("no process that is seen here{opened}"),
        false => format!("not known: not all processes could be looked at{opened}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_and_lose_nothing() {
        assert_eq!(wrapped(""), [""]);
        assert_eq!(wrapped("a b,c"), ["a b,c"]);
        let words: Vec<String> = (0..40).map(|at| format!("option{at}=value")).collect();
        let lines = wrapped(&words.join(","));
        assert!(lines.len() > 3 && lines.iter().all(|line| line.len() <= 100));
        assert_eq!(lines.concat(), words.join(","));
        assert_eq!(wrapped(&"x".repeat(300)).len(), 1);
    }
}
