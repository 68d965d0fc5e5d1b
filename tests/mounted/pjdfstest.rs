//! pjdfstest as root: every case that passes on tmpfs passes on owltmp.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::{Mount, wait_until};
use crate::shell;

/// Cases that may fail here although they pass on tmpfs, each with its reason in the kernel's FUSE code.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Cases that cannot run: Linux does not say what LINK_MAX is on either filesystem, so the case has nothing to count to.
const SKIPPED: &[&str] = &["link::link_count_max"];

/// Everything is switched on that Linux has (chflags and NFSv4 ACLs are FreeBSD's).
const CONFIGURATION: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
stat_st_birthtime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.02
allow_remount = true
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

type Report = BTreeMap<String, Outcome>;

/// semantics 1.1: what pjdfstest finds true of tmpfs, it finds true here.
#[test]
fn every_case_that_tmpfs_passes_passes() {
    let tools = tempfile::tempdir().unwrap();
    write_tools(tools.path());
    let (tmpfs, owltmp) = (Mount::tmpfs(""), Mount::new(""));
    let (reference, _) = run_all(tools.path(), tmpfs.path());
    let (ours, said) = run_all(tools.path(), owltmp.path());
    print_totals("tmpfs", &reference);
    print_totals("owltmp", &ours);
    println!(
        "exceptions: {}; failing on tmpfs: {:?}",
        EXCEPTIONS.len(),
        with(&reference, Outcome::Failed)
    );

    assert!(
        with(&reference, Outcome::Passed).len() > 390,
        "pjdfstest hardly ran on tmpfs"
    );
    assert_eq!(
        with(&reference, Outcome::Skipped),
        SKIPPED,
        "a case that could run was skipped on tmpfs"
    );
    assert_eq!(
        with(&ours, Outcome::Skipped),
        SKIPPED,
        "a case that could run was skipped on owltmp"
    );
    let excepted: Vec<&str> = EXCEPTIONS.iter().map(|(case, _)| *case).collect();
    let worse: Vec<&str> = regressions(&reference, &ours)
        .into_iter()
        .filter(|case| !excepted.contains(case))
        .collect();
    assert!(
        worse.is_empty(),
        "{} cases pass on tmpfs and not here: {worse:#?}\n{}",
        worse.len(),
        reasons(&said)
    );
    let stale: Vec<&&str> = excepted
        .iter()
        .filter(|case| ours.get(**case) == Some(&Outcome::Passed))
        .collect();
    assert!(stale.is_empty(), "listed as exceptions, but they pass: {stale:?}");
}

/// How many cases pass on the filesystem mounted at `place`, and those that fail.
pub fn cases(place: &Path) -> (usize, Vec<String>) {
    let tools = tempfile::tempdir().unwrap();
    write_tools(tools.path());
    let (report, _) = run_all(tools.path(), place);
    let failed = with(&report, Outcome::Failed).into_iter().map(str::to_owned);
    (with(&report, Outcome::Passed).len(), failed.collect())
}

/// The cases that pass in `reference` and not in `ours`, those that did not run at all included.
fn regressions<'a>(reference: &'a Report, ours: &Report) -> Vec<&'a str> {
    let passed = |report: &Report, case: &str| report.get(case) == Some(&Outcome::Passed);
    reference
        .keys()
        .map(String::as_str)
        .filter(|case| passed(reference, case) && !passed(ours, case))
        .collect()
}

fn with(report: &Report, outcome: Outcome) -> Vec<&str> {
    report
        .iter()
        .filter(|(_, it)| **it == outcome)
        .map(|(case, _)| case.as_str())
        .collect()
}

fn print_totals(name: &str, report: &Report) {
    let count = |outcome| with(report, outcome).len();
    let (passed, failed) = (count(Outcome::Passed), count(Outcome::Failed));
    let skipped = count(Outcome::Skipped);
    println!(
        "pjdfstest on {name}: run {}, passed {passed}, failed {failed}, skipped {skipped}",
        passed + failed
    );
}

/// The configuration, and a `mount` that leaves mount helpers out: one for FUSE would start a filesystem, not remount it.
fn write_tools(dir: &Path) {
    fs::write(dir.join("pjdfstest.toml"), CONFIGURATION).unwrap();
    let mount = shell::tool("mount");
    fs::write(
        dir.join("mount"),
        format!("#!/bin/sh\nexec {} -i \"$@\"\n", mount.display()),
    )
    .unwrap();
    fs::set_permissions(dir.join("mount"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// All cases in one process; then those again, each in a process of its own, that failed because they remount the
/// filesystem read-only, which needs it idle: earlier cases of the same process leave files open for writing.
fn run_all(tools: &Path, place: &Path) -> (Report, String) {
    let (mut report, mut said) = run(tools, place, &[]);
    let busy: Vec<String> = with(&report, Outcome::Failed)
        .into_iter()
        .filter(|case| case.contains("erofs"))
        .map(str::to_owned)
        .collect();
    for case in busy {
        wait_until_idle(place);
        let (alone, text) = run(tools, place, &["--exact", &format!("pjdfstest::tests::{case}")]);
        report.extend(alone);
        said += &text;
    }
    (report, said)
}

/// The process that has just ended may have left unlinked files open. Its end closes them, but until the server has had
/// the RELEASE of each, the kernel does not let a FUSE filesystem become read-only (docs/semantics.md).
fn wait_until_idle(place: &Path) {
    let mount = shell::tool("mount");
    let remount = |mode: &str| {
        let mut command = Command::new(&mount);
        command.args(["-i", "-o", &format!("remount,{mode}")]).arg(place);
        shell::run(&mut command)
    };
    wait_until("nothing is open any more", Duration::from_secs(20), || {
        remount("ro").status.success()
    });
    let writable = remount("rw");
    assert!(writable.status.success(), "{}", writable.text);
}

/// What pjdfstest said of the cases that failed, without all that passed.
fn reasons(said: &str) -> String {
    let mut told = false;
    let lines = said.lines().filter(|line| {
        let of_a_case = !line.starts_with(char::is_whitespace);
        told = if of_a_case { line.ends_with("FAILED") } else { told };
        told
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn run(tools: &Path, place: &Path, arguments: &[&str]) -> (Report, String) {
    let second = Mount::tmpfs("");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(shell::tool("pjdfstest"));
    command.arg("-c").arg(tools.join("pjdfstest.toml")).arg("-p").arg(place);
    command.arg("-s").arg(second.path()).args(arguments);
    command
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .env("RUST_BACKTRACE", "0")
        .current_dir("/");
    let ended = shell::run(&mut command);
    (parse(&ended.text), ended.text)
}

/// One line a case: its name, spaces, its outcome. Everything else (reasons, backtraces, the summary) is indented or differs.
fn parse(text: &str) -> Report {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, outcome, end) = (words.next()?, words.next()?, words.next());
        let outcome = match outcome {
            "ok" => Outcome::Passed,
            "FAILED" => Outcome::Failed,
            "skipped" => Outcome::Skipped,
            _ => return None,
        };
        (line.starts_with(name) && name.contains("::") && end.is_none()).then(|| (name.to_owned(), outcome))
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn the_report_is_read_right() {
    let text = "link::a::b      ok\nlink::max    skipped\n\tCannot get value\nopen::c   FAILED\n\tcalled `x` on ok\n\
                \nSummary: 1 failed, 1 skipped, 1 passed, 0 expected failures, 3 total\n";
    let report = parse(text);
    assert_eq!(with(&report, Outcome::Passed), ["link::a::b"]);
    assert_eq!(with(&report, Outcome::Failed), ["open::c"]);
    assert_eq!(with(&report, Outcome::Skipped), ["link::max"]);
    assert_eq!(reasons(text), "open::c   FAILED\n\tcalled `x` on ok");
    let nothing_ran = Report::new();
    assert_eq!(regressions(&report, &nothing_ran), ["link::a::b"]);
    assert_eq!(regressions(&report, &report), [""; 0]);
}
