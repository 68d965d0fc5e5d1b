//! Runs programs and shell scripts for tests: a clean environment, a time limit, all output in the failure message, and no
//! process left behind. Knows nothing of what they do.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// What a program needs to run: its name and the Debian package that has it.
pub type Need = (&'static str, &'static str);

const TIME_LIMIT: Duration = Duration::from_secs(300);
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a program ended and everything it said on both streams.
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its output and its errors, in order.
    pub text: String,
}

/// Where `program` is: on PATH, or among the tools that tests/setup.sh built.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin");
    std::env::split_paths(&path)
        .chain(std::iter::once(tools))
        .chain(std::env::split_paths(SYSTEM_PATH))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A tool that tests/setup.sh builds with cargo; its absence is a failure that says so.
pub fn tool(program: &str) -> PathBuf {
    find(program).unwrap_or_else(|| panic!("{program} is missing: run tests/setup.sh, which installs it"))
}

/// [`run_within`] the usual time limit.
pub fn run(command: &mut Command) -> Ended {
    run_within(TIME_LIMIT, command)
}

/// Runs `command` to its end, kills it and its process group at the time limit, and collects what it said.
pub fn run_within(limit: Duration, command: &mut Command) -> Ended {
    let mut said = tempfile::tempfile().unwrap();
    command
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said.try_clone().unwrap())
        .process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let group = Pid::from_raw(child.id().try_into().unwrap());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > limit {
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // Whatever it left in the background goes too; none left is the usual case and no error.
    let _ = killpg(group, Signal::SIGKILL);
    let late = status.is_none();
    let status = status.unwrap_or_else(|| child.wait().unwrap());
    let text = read_all(&mut said);
    assert!(!late, "{command:?} did not end within {limit:?}; it said:\n{text}");
    Ended { status, text }
}

fn read_all(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `set -e` overlooks `! command` and all but the last of `a && b`, so scripts say `fails command` and `a; b`.
const FAILS: &str = r#"fails() { if "$@"; then echo "must fail, but did not: $*"; return 1; fi; }; export -f fails"#;

/// Runs a bash script with `$M` and `$TMPDIR` at `place`, and fails with its trace unless it succeeds. Returns what it said.
pub fn script(place: &Path, needs: &[Need], text: &str) -> String {
    let missing: Vec<String> = needs
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(program, package)| format!("{program} (Debian package {package})"))
        .collect();
    assert!(
        missing.is_empty(),
        "missing: {}; tests/setup.sh installs them",
        missing.join(", ")
    );
    let mut command = Command::new("bash");
    command.args(["-eu", "-o", "pipefail", "-O", "inherit_errexit", "-x", "-c"]);
    command.arg(format!("umask 022; cd \"$M\"; {FAILS}\n{text}"));
    command
        .env_clear()
        .env("PATH", SYSTEM_PATH)
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", place)
        .env("PS4", "+ ");
    command
        .env("M", place)
        .env("TMPDIR", place)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let ended = run(&mut command);
    assert!(
        ended.status.success(),
        "the script ended with {}; its trace:\n{}",
        ended.status,
        ended.text
    );
    ended.text
}

/// A command prefix that runs the rest as another user with no groups but its own.
pub fn as_user(user: &str, group: &str) -> String {
    format!("setpriv --reuid={user} --regid={group} --clear-groups --")
}

#[test]
fn a_script_that_fails_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let failed = std::panic::catch_unwind(|| script(place.path(), &[], "false; true"));
    assert!(failed.is_err());
    let inverted = std::panic::catch_unwind(|| script(place.path(), &[], "fails true; true"));
    assert!(inverted.is_err());
    let absent = std::panic::catch_unwind(|| script(place.path(), &[("no-such-program", "none")], "true"));
    assert!(absent.is_err());
}

#[test]
fn a_script_leaves_no_process_behind() {
    let place = tempfile::tempdir().unwrap();
    let text = script(place.path(), &[], "sleep 1000 & echo \"pid=$!\"");
    let pid: i32 = text
        .lines()
        .find_map(|line| line.strip_prefix("pid="))
        .unwrap()
        .parse()
        .unwrap();
    let gone = (0..400).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z")
    });
    assert!(gone, "process {pid} survived its script");
}
