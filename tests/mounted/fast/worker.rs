//! Processes of their own for these tests: this test program, started again with a part to play. A part is a function from its
//! arguments to nothing; what it prints to stderr is seen, and its exit status or signal is judged.

use std::process::{Child, Command, Stdio};

use super::{kills, limits, recycling, storm};

const PART: &str = "OWLTMP_FAST_PART";

/// Starts a process that plays `part` in the directory `cwd`.
pub fn start(part: &str, arguments: &[&str], cwd: &std::path::Path) -> Child {
    command(part, arguments, cwd).spawn().expect("a process")
}

/// The command that [`start`] starts.
pub fn command(part: &str, arguments: &[&str], cwd: &std::path::Path) -> Command {
    let entry = format!("{}::process", module_path!().split_once("::").expect("a crate").1);
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args([&entry, "--exact", "--nocapture", "--test-threads=1"])
        .env(PART, format!("{part} {}", arguments.join(" ")))
        .current_dir(cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// The process itself; does nothing when it runs as one of the tests.
#[test]
fn process() {
    let Ok(part) = std::env::var(PART) else { return };
    let words: Vec<&str> = part.split_whitespace().collect();
    let (part, arguments) = words.split_first().expect("a part");
    match *part {
        "store" => limits::store_part(arguments),
        "write" => limits::write_part(arguments),
        "churn" => kills::churn_part(arguments),
        "peek" => recycling::peek_part(arguments),
        "storm" => storm::storm_part(arguments),
        other => panic!("nobody plays {other}"),
    }
    std::process::exit(0);
}
