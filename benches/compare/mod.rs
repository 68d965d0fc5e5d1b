//! The command: from its arguments to a run and its reports. Also compiled into the tests of a mounted filesystem, which
//! run it in small.

mod args;
mod empty;
mod interrupt;
mod machine;
mod measure;
mod place;
mod report;
mod row;
mod rows;
mod server;
mod stats;
mod systems;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

pub use args::Args;
pub use row::Outcome;

/// The whole program. Apart from what the arguments say, it serves the empty filesystem when it is called to by itself.
pub fn main() -> ExitCode {
    if let Some(place) = empty::called_to_serve() {
        return ended(empty::serve(&place));
    }
    let args = Args::parse();
    if args.list {
        for row in rows::all() {
            println!("{:<18} {}", row.id, row.what);
        }
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        return ended(Err(
            "it mounts filesystems and acts as other users: run it as root".into()
        ));
    }
    ended(interrupt::listen().and_then(|()| run(&args, std::env::current_exe().ok())))
}

fn ended(outcome: Outcome<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and reports. `itself` is this program where it can serve the empty filesystem.
///
/// All mounts are made in a mount namespace of the calling thread's own, so they end with it, however it ends.
pub fn run(args: &Args, itself: Option<PathBuf>) -> Outcome<()> {
    let machine = machine::Machine::look()?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    let rows = args.rows(rows::all())?;
    let systems = systems::chosen(args)?;
    println!("{}\n", machine.lines());
    let run = measure::Run::new(args, itself)?;
    let results = run.measure(&rows, &systems)?;
    print!("\n{}", report::table::text(&results));
    report::write(&args.out, &machine, &results)?;
    println!(
        "\nwritten to {}: compare.txt, compare.json, compare.svg",
        args.out.display()
    );
    Ok(())
}
