//! Every shell script of the repository: no complaint of shellcheck, and `set -eu`.

use std::path::Path;
use std::process::Command;

use crate::shell;

/// The scripts that git has or would take: their first line says so.
fn scripts() -> Vec<String> {
    let mut git = Command::new("git");
    git.args([
        "-c",
        "safe.directory=*",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let output = git.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    names
        .lines()
        .filter(|name| first_line(name).is_some_and(is_shell))
        .map(str::to_owned)
        .collect()
}

fn text(name: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).ok()
}

fn first_line(name: &str) -> Option<String> {
    text(name)?.lines().next().map(str::to_owned)
}

fn is_shell(first_line: String) -> bool {
    first_line.starts_with("#!") && first_line.ends_with("sh")
}

#[test]
fn shellcheck_has_no_complaint() {
    let scripts = scripts();
    assert!(
        scripts.iter().any(|name| name == "mount-scripts/mount.owltmp"),
        "{scripts:?}"
    );
    let mut shellcheck = Command::new(shell::tool("shellcheck"));
    let ended = shell::run(
        shellcheck
            .arg("--external-sources")
            .args(&scripts)
            .current_dir(env!("CARGO_MANIFEST_DIR")),
    );
    assert!(ended.status.success(), "{}", ended.text);
}

#[test]
fn scripts_end_at_the_first_failure() {
    let careless = |name: &&String| !text(name).unwrap().lines().any(|line| line.starts_with("set -eu"));
    assert_eq!(
        scripts().iter().filter(careless).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}

#[test]
fn scripts_are_short() {
    let long = |name: &&String| name.starts_with("mount-scripts/") && text(name).unwrap().lines().count() > 80;
    assert_eq!(scripts().iter().filter(long).collect::<Vec<_>>(), Vec::<&String>::new());
}
