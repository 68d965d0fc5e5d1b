//! `owltmp clean`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::ask::{self, Target};
use crate::control::protocol::{Answer, Ask, Body, Cleaned, Status};
use crate::mount::{Error, options};

/// How often it is asked whether the walk is over.
const LOOK: Duration = Duration::from_millis(20);

/// Remove what nobody has touched for long, now, as max_age= does by itself
///
/// For root and who made the mount. What is in use, excluded or mounted stays, as always.
#[derive(Debug, Args)]
pub struct Arguments {
    /// What was not touched for so long is old, such as 10d or 12h; the mount's max_age= where nothing is said
    #[arg(long, value_name = "TIME", value_parser = age)]
    age: Option<Duration>,
    /// Only show what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Take it to be this time: 2026-11-26T07:00:00Z, or @SECONDS since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<u64>,
    /// Print the daemon's answer as JSON (see docs/control.md)
    #[arg(long)]
    json: bool,
    /// Where it is mounted; may be left out where there is one owltmp mount
    mountpoint: Option<PathBuf>,
}

fn age(text: &str) -> Result<Duration, String> {
    options::duration(text).ok_or_else(|| format!("want {}", options::WANT_DURATION))
}

/// Milliseconds since 1970.
fn time(text: &str) -> Result<u64, String> {
    let milliseconds = match text.strip_prefix('@') {
        Some(seconds) => seconds.parse::<u64>().ok().and_then(|it| it.checked_mul(1000)),
        None => text
            .parse::<jiff::Timestamp>()
            .ok()
            .and_then(|it| u64::try_from(it.as_millisecond()).ok()),
    };
    milliseconds.ok_or_else(|| "want a time such as 2026-11-26T07:00:00Z, or @SECONDS since 1970".to_owned())
}

/// Cleans.
pub fn clean(arguments: &Arguments) -> Result<ExitCode, Error> {
    let target = ask::one(arguments.mountpoint.as_deref())?;
    let mut client = target.connect()?;
    let failed = target.failed();
    let age = match arguments.age {
        Some(age) => age,
        None => of_mount(&client.status(true).map_err(&failed)?).ok_or_else(|| Error::NoAge(target.place.clone()))?,
    };
    let wish = Ask::Clean {
        age_s: age.as_secs(),
        dry_run: arguments.dry_run,
        now_ms: arguments.now,
    };
    client.ask(&wish).map_err(&failed)?;
    loop {
        let answer = client.ask(&Ask::Cleaned).map_err(&failed)?;
        match &answer.body {
            Body::Cleaning {} => thread::sleep(LOOK),
            _ => return show(arguments, &target, &answer).map(|()| ExitCode::SUCCESS),
        }
    }
}

/// The mount's own age.
fn of_mount(status: &Status) -> Option<Duration> {
    let ages = status
        .options
        .iter()
        .filter_map(|option| option.strip_prefix("max_age="));
    ages.filter_map(options::duration).next()
}

fn show(arguments: &Arguments, target: &Target, answer: &Answer) -> Result<(), Error> {
    match &answer.body {
        _ if arguments.json => ask::print_json(answer),
        Body::Cleaned(cleaned) => ask::print(&described(target, cleaned)),
        _ => Ok(()),
    }
}

fn described(target: &Target, cleaned: &Cleaned) -> String {
    let line = |path: &str, kind: &str, owner: u32, touched: u64| {
        let (owner, touched) = (ask::user(owner), ask::time(touched));
        format!("{kind} of {owner}, last touched {touched}: {path}\n")
    };
    let mut text: String = cleaned
        .taken
        .iter()
        .map(|it| line(&it.path, &it.kind, it.owner, it.touched_ms))
        .collect();
    if cleaned.taken_left_out > 0 {
        text.push_str(&format!("... {} more\n", cleaned.taken_left_out));
    }
    let verb = if cleaned.dry_run { "would remove" } else { "removed" };
    let Cleaned {
        files,
        directories,
        looked,
        young,
        in_use,
        ..
    } = cleaned;
    let place = crate::mount::Shown(target.place.as_os_str());
    text.push_str(&format!(
        "{place}: {verb} {files} files and {directories} directories of {looked} names; {young} are young, {in_use} in use\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_read() {
        assert_eq!(time("@5"), Ok(5000));
        assert_eq!(time("1970-01-01T00:00:05Z"), Ok(5000));
        assert!(time("yesterday").is_err() && time("@-1").is_err() && time("1969-01-01T00:00:00Z").is_err());
        assert_eq!(age("2d"), Ok(Duration::from_secs(172_800)));
        assert!(age("2y").unwrap_err().starts_with("want a time such as"));
    }
}
