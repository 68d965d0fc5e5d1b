//! `owltmp run`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::resolve_options;
use crate::mount::{self, Error, Run, place, warnings};

/// What is covered when nothing is said, if it exists.
const DEFAULT_PLACES: [&str; 2] = ["/tmp", "/var/tmp"];

/// Run a command with a private, empty /tmp and /var/tmp that vanish with it
///
/// The exit status is the command's; 128+N when signal N killed it, 127 when it was not found, 126 when it could not
/// be executed.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Mount options, separated by commas, as for mount
    #[arg(short, value_name = "OPT,...")]
    options: Vec<String>,
    /// A directory to cover instead of /tmp and /var/tmp; may be repeated
    #[arg(long, value_name = "DIR")]
    at: Vec<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs.
pub fn run(arguments: Arguments, warn: &mut dyn FnMut(&str)) -> Result<ExitCode, Error> {
    let mut command = arguments.command.into_iter();
    let run = Run {
        options: resolve_options(&arguments.options)?,
        places: places(&arguments.at)?,
        // Clap requires one; an empty name is not found.
        program: command.next().unwrap_or_default(),
        arguments: command.collect(),
    };
    warnings().iter().for_each(|line| warn(line));
    mount::run(&run).map(ExitCode::from)
}

/// The real paths of the directories to cover, each once, and none below another: there it would not be found. By
/// default /var/tmp may be a symlink to /tmp, or into it.
fn places(at: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut places = Vec::new();
    if at.is_empty() {
        for place in DEFAULT_PLACES {
            match place::check(Path::new(place)) {
                Ok(place) if places.contains(&place) || below_another(&place, &places).is_some() => {}
                Ok(place) => places.push(place),
                Err(Error::NoMountpoint(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    for place in at {
        let place = place::check(place)?;
        if !places.contains(&place) {
            places.push(place);
        }
    }
    for place in &places {
        if let Some(above) = below_another(place, &places) {
            return Err(Error::BelowAnother(place.clone(), above.clone()));
        }
    }
    if places.is_empty() {
        return Err(Error::NothingToCover);
    }
    Ok(places)
}

/// One of `places` that `place` lies below.
fn below_another<'a>(place: &Path, places: &'a [PathBuf]) -> Option<&'a PathBuf> {
    places.iter().find(|above| *above != place && place.starts_with(above))
}
