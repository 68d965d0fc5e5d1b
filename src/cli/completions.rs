//! `owltmp completions`, for whoever installs it: what a shell can complete, in the shell's own language.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::mount::Error;

/// Print completions for a shell
#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints them.
pub fn completions(arguments: &Arguments) -> Result<ExitCode, Error> {
    let mut text = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, env!("CARGO_PKG_NAME"), &mut text);
    io::stdout()
        .write_all(&text)
        .map_err(Error::system("standard output"))?;
    Ok(ExitCode::SUCCESS)
}
