//! `owltmp clean`: the same walk, now and by the clock one names.

use std::process::{Command, Output};
use std::time::SystemTime;

use super::*;
use crate::common::identity::ALICE;
use crate::program::{OWLTMP, Scratch, assert_one_line, copy_for_users};

fn clean(mount: &Mount, arguments: &[&str]) -> Output {
    let mut command = Command::new(OWLTMP);
    command.arg("clean").args(arguments).arg(mount.path());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// `@SECONDS`, so many days from now.
fn in_days(days: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    format!("@{}", now.as_secs() + days * 86_400)
}

#[test]
fn it_can_be_asked_for_at_any_time() {
    let mount = Mount::new("mode=0777,exclude=kept");
    let dir = mount.dir();
    dir.subdir("d", 0o755);
    dir.file("d/old\u{1b}[31m'", b"x", 0o644);
    dir.file("kept", b"", 0o644);
    let open = dir.create("open");
    let text = said(&clean(&mount, &["--age", "10d"]));
    assert!(
        text.contains("removed 0 files and 0 directories of 4 names; 2 are young"),
        "{text}"
    );
    let later = in_days(11);
    for (arguments, verb) in [(&["--dry-run"][..], "would remove"), (&[], "removed")] {
        assert!(dir.lstat("d").is_ok());
        let text = said(&clean(
            &mount,
            &[&["--age", "10d", "--now", &later], arguments].concat(),
        ));
        assert!(
            text.contains(&format!("{verb} 1 files and 1 directories of 4 names")),
            "{text}"
        );
        assert!(
            text.contains(": /d/old\\x1b[31m\\'\n") && text.contains("directory of root, last touched 20"),
            "{text}"
        );
        assert!(text.contains("1 in use") && !text.contains('\u{1b}'), "{text}");
    }
    assert!(dir.lstat("d").is_err() && dir.lstat("kept").is_ok() && dir.lstat("open").is_ok());
    drop(open);
    let json = said(&clean(&mount, &["--age", "10d", "--now", &later, "--json"]));
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(answer["cleaned"]["taken"][0]["path"], "/open", "{json}");
}

#[test]
fn it_is_for_root_and_who_made_the_mount() {
    use std::os::unix::process::CommandExt;
    let mount = Mount::new("mode=0777");
    mount.dir().file("f", b"", 0o644);
    let scratch = Scratch::new();
    let mut command = Command::new(copy_for_users(&scratch));
    command.args(["clean", "--age", "0"]).arg(mount.path());
    let output = command.uid(ALICE.uid).gid(ALICE.gid).output().unwrap();
    assert_one_line(&output, 1, "only root and who made the mount may have it cleaned");
    assert!(mount.dir().lstat("f").is_ok());
    assert_one_line(&clean(&mount, &[]), 2, "say --age=10d");
    assert_one_line(&clean(&mount, &["--age", "2y"]), 2, "want a time such as 10d");
}
