//! `owltmp events`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::ask;
use crate::control::protocol::{Answer, Ask, Body, Event};
use crate::mount::Error;

/// Show what the rules refused or noted, and locks that were broken
///
/// Root and who made the mount see all, others what they tried themselves.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Go on with what happens from now on, until the mount is gone
    #[arg(short, long)]
    follow: bool,
    /// Print the daemon's answers as JSON, a line each (see docs/control.md)
    #[arg(long)]
    json: bool,
    /// Where it is mounted; may be left out where there is one owltmp mount
    mountpoint: Option<PathBuf>,
}

/// Shows.
pub fn events(arguments: &Arguments) -> Result<ExitCode, Error> {
    let target = ask::one(arguments.mountpoint.as_deref())?;
    let mut client = target.connect()?;
    let follow = arguments.follow;
    let first = client.ask(&Ask::Events { follow }).map_err(target.failed())?;
    show(arguments, &first)?;
    if follow {
        client.be_patient();
        while let Some(answer) = client.next().map_err(target.failed())? {
            show(arguments, &answer)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(arguments: &Arguments, answer: &Answer) -> Result<(), Error> {
    if arguments.json {
        return ask::print_json(answer);
    }
    match &answer.body {
        Body::Events(events) => {
            let left_out = match events.left_out {
                0 => String::new(),
                count => format!("... {count} older ones\n"),
            };
            ask::print(&(left_out + &events.events.iter().map(line).collect::<String>()))
        }
        Body::Event(event) => ask::print(&line(event)),
        Body::Flood {} => ask::print("... some of many that come at once are only counted (owltmp status)\n"),
        _ => Ok(()),
    }
}

fn line(event: &Event) -> String {
    format!("{} {}\n", ask::time(event.time_ms), event.text)
}
