//! The program: arguments to configuration to run. The only place where an error becomes text and an exit status.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use owltmp::cli::{self, Arguments};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let Some(line) = cli::usage_error(&error) else {
                error.exit()
            };
            say(&line);
            return ExitCode::from(2);
        }
    };
    let result = cli::run(arguments, &mut |warning| say(&format_args!("warning: {warning}")));
    result.unwrap_or_else(|error| {
        say(&error);
        ExitCode::from(error.exit_code())
    })
}

/// Where a line cannot be written the exit status has to do.
fn say(line: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "owltmp: {line}");
}
