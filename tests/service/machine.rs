//! Scripts in a machine of their own: `machine.sh` says what that is.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::shell::{self, Ended, Need};

/// How long a script may take that takes seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// What scripts say besides what they would anyway. `set -e` overlooks `! command` and all but the last of `a && b`.
const WORDS: &str = r#"{
fails() { if "$@"; then echo "must fail, but did not: $*"; return 1; fi; }
# Waits until a command succeeds, for half a minute and more.
until_it() {
    { local traced=$- try; set +x; } 2> /dev/null
    for try in $(seq 1500); do
        if "$@" > /dev/null 2>&1; then break; fi
        sleep 0.02
    done
    [[ $traced != *x* ]] || set -x
    [ "$try" -lt 1500 ] || { echo "waited in vain: $*"; "$@"; }
}
# A command as somebody with no groups but their own.
as() { local user=$1; shift; setpriv --reuid="$user" --regid="$user" --clear-groups -- "$@"; }
mounted() { findmnt --mountpoint "$1" --types fuse.owltmp > /dev/null; }
size_of() { df --output=size -BM "$1" | tail -n 1 | tr -d ' '; }
no_daemon() { fails pgrep -x owltmp > /dev/null; }
no_mount() { fails grep -qs fuse.owltmp /proc/[0-9]*/mountinfo; }
no_socket() { test -z "$(ls /run/owltmp 2> /dev/null)"; }
nothing_left() { until_it no_daemon; until_it no_mount; }
} 2> /dev/null
"#;

/// Runs a script, as bash does with `-eu -o pipefail`, and fails with its trace unless it succeeds. Returns what it said.
pub fn run(needs: &[Need], script: &str) -> String {
    ran("run", needs, "", script)
}

/// The same as a service of systemd, which is started when `before` is done.
pub fn boot(needs: &[Need], before: &str, script: &str) -> String {
    ran("boot", &[needs, &[("systemctl", "systemd")]].concat(), before, script)
}

fn ran(way: &str, needs: &[Need], before: &str, script: &str) -> String {
    let needs = [
        needs,
        &[("unshare", "util-linux"), ("pgrep", "procps"), ("strip", "binutils")],
    ]
    .concat();
    for (program, package) in needs {
        let found = shell::find(program).is_some();
        assert!(
            found,
            "{program} (Debian package {package}) is missing: tests/setup.sh installs it"
        );
    }
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(files.path().join(name), text).unwrap();
    write("script", &format!("{WORDS}{script}"));
    write("before", &format!("{WORDS}{before}"));
    write("output", "");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Scripts copy it here and there, and what is for debuggers is most of it.
    let build = files.path().join("build");
    std::fs::create_dir(&build).unwrap();
    let strip = Command::new("strip")
        .arg("-o")
        .arg(build.join("owltmp"))
        .arg(env!("CARGO_BIN_EXE_owltmp"))
        .status();
    assert!(strip.unwrap().success());
    let mut command = Command::new("sh");
    command.arg(source.join("tests/service/machine.sh")).arg(way);
    command.args([source, &build, files.path()]);
    let Ended { status, text } = shell::run_within(LIMIT, &mut command);
    let text = text + &std::fs::read_to_string(files.path().join("output")).unwrap();
    assert!(status.success(), "the script ended with {status}; its trace:\n{text}");
    text
}

#[test]
fn a_failure_in_there_is_noticed_and_nothing_of_it_is_seen_outside() {
    let marker = format!("/etc/owltmp-test-{}", std::process::id());
    let script = format!("echo > {marker}; mount -t tmpfs x /etc; hostname elsewhere; sleep 1000 & false; true");
    for start in [|script: &str| run(&[], script), |script: &str| boot(&[], "", script)] {
        assert!(std::panic::catch_unwind(|| start(&script)).is_err());
        assert!(std::panic::catch_unwind(|| start("fails true; true")).is_err());
        start("fails false; until_it true; no_daemon");
    }
    assert!(std::panic::catch_unwind(|| boot(&[], "false; true", "true")).is_err());
    assert!(!Path::new(&marker).exists());
    assert!(std::panic::catch_unwind(|| run(&[("no-such-program", "none")], "true")).is_err());
}
