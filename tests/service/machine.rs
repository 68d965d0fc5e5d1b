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
# Waits until a command succeeds.
until_it() { for _ in $(seq 400); do if "$@"; then return; fi; sleep 0.02; done; echo "waited in vain: $*"; return 1; }
# A command as somebody with no groups but their own.
as() { local user=$1; shift; setpriv --reuid="$user" --regid="$user" --clear-groups -- "$@"; }
mounted() { findmnt --mountpoint "$1" --types fuse.owltmp > /dev/null; }
no_daemon() { fails pgrep -x owltmp > /dev/null; }
nothing_left() { until_it no_daemon; fails grep fuse.owltmp /proc/*/mountinfo; }
} 2> /dev/null
"#;

/// Runs a script, as bash does with `-eu -o pipefail`, and fails with its trace unless it succeeds. Returns what it said.
pub fn run(needs: &[Need], script: &str) -> String {
    ran("run", needs, script)
}

/// The same as a service of systemd.
pub fn boot(needs: &[Need], script: &str) -> String {
    ran("boot", &[needs, &[("systemctl", "systemd")]].concat(), script)
}

fn ran(way: &str, needs: &[Need], script: &str) -> String {
    let needs = [needs, &[("unshare", "util-linux"), ("pgrep", "procps")]].concat();
    for (program, package) in needs {
        let found = shell::find(program).is_some();
        assert!(
            found,
            "{program} (Debian package {package}) is missing: tests/setup.sh installs it"
        );
    }
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let build = Path::new(env!("CARGO_BIN_EXE_owltmp")).parent().unwrap();
    let output = file("output", "");
    let mut command = Command::new("sh");
    command
        .arg(source.join("tests/service/machine.sh"))
        .arg(way)
        .arg(source)
        .arg(build);
    command.arg(&output).arg(file("script", &format!("{WORDS}{script}")));
    let Ended { status, text } = shell::run_within(LIMIT, &mut command);
    let text = text + &std::fs::read_to_string(&output).unwrap();
    assert!(status.success(), "the script ended with {status}; its trace:\n{text}");
    text
}

#[test]
fn a_failure_in_there_is_noticed_and_nothing_of_it_is_seen_outside() {
    let marker = format!("/etc/owltmp-test-{}", std::process::id());
    let script = format!("echo > {marker}; mount -t tmpfs x /etc; hostname elsewhere; sleep 1000 & false; true");
    for start in [run, boot] {
        assert!(std::panic::catch_unwind(|| start(&[], &script)).is_err());
        assert!(std::panic::catch_unwind(|| start(&[], "fails true; true")).is_err());
        start(&[], "fails false; until_it true; no_daemon");
    }
    assert!(!Path::new(&marker).exists());
    assert!(std::panic::catch_unwind(|| run(&[("no-such-program", "none")], "true")).is_err());
}
