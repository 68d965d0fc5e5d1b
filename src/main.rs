//! The program: arguments to configuration to run. The only place where an error becomes text and an exit status.

use std::process::ExitCode;

use clap::Parser;
use owltmp::cli::{self, Arguments};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = cli::run(arguments, &mut |warning| eprintln!("owltmp: warning: {warning}"));
    result.unwrap_or_else(|error| {
        eprintln!("owltmp: {error}");
        ExitCode::from(error.exit_code())
    })
}
