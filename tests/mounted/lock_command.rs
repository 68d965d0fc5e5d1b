//! `owltmp lock`: with real programs, on owltmp and elsewhere.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::identity::{ALICE, BOB, Identity};
use crate::common::{Mount, each, wait_until};
use crate::program::{OWLTMP, Scratch, assert_one_line, copy_for_users};

const PATIENCE: Duration = Duration::from_secs(20);

/// `owltmp lock` with these arguments, in a directory.
fn lock(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(OWLTMP);
    command.arg("lock").args(arguments).current_dir(directory);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    lock(directory, arguments).output().unwrap()
}

fn status(directory: &Path, arguments: &[&str]) -> i32 {
    let output = run(directory, arguments);
    assert!(output.stderr.is_empty(), "{output:?}");
    output.status.code().unwrap()
}

/// A command that holds a lock until it is dropped.
struct Holder(Child);

impl Holder {
    /// Returns when the command runs, so the lock is held.
    fn start(directory: &Path, arguments: &[&str]) -> Holder {
        let ready = directory.join("ready");
        let script = "touch ready; exec sleep 100";
        let child = lock(directory, &[arguments, &["--", "sh", "-c", script]].concat())
            .spawn()
            .unwrap();
        wait_until("the command runs", PATIENCE, || ready.exists());
        fs::remove_file(ready).unwrap();
        Holder(child)
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn one_waits_for_another_on_any_filesystem() {
    each("mode=0777", |mount| {
        let at = mount.path();
        let mut holder = Holder::start(at, &["f"]);
        assert!(at.join("f").exists(), "it is made");
        assert_eq!(status(at, &["-n", "f", "true"]), 1);
        assert_eq!(status(at, &["-s", "-n", "-E", "77", "f", "true"]), 77);
        let start = Instant::now();
        assert_eq!(status(at, &["-w", "0.2", "f", "true"]), 1);
        assert!(start.elapsed() >= Duration::from_millis(200));
        let waiting = [
            &["f", "-c", "exit 5"][..],
            &["-w", "60", "f", "--", "sh", "-c", "exit 5"],
        ];
        let mut waiting: Vec<Child> = waiting.iter().map(|it| lock(at, it).spawn().unwrap()).collect();
        std::thread::sleep(Duration::from_millis(100));
        assert!(
            waiting.iter_mut().all(|it| it.try_wait().unwrap().is_none()),
            "they wait"
        );
        holder.end();
        for child in &mut waiting {
            assert_eq!(child.wait().unwrap().code(), Some(5));
        }
        assert_eq!(status(at, &["-n", "f", "true"]), 0);
    });
}

#[test]
fn readers_share_and_ranges_are_apart() {
    each("mode=0777", |mount| {
        let at = mount.path();
        let _reader = Holder::start(at, &["-s", "f"]);
        assert_eq!(status(at, &["-s", "-n", "f", "true"]), 0);
        assert_eq!(status(at, &["-n", "f", "true"]), 1);
        let _range = Holder::start(at, &["-r", "10-19", "g"]);
        for (range, code) in [("0-9", 0), ("20-", 0), ("19", 1), ("0-10", 1), ("0-", 1)] {
            assert_eq!(status(at, &["-n", "-r", range, "g", "true"]), code, "{range}");
        }
    });
}

/// The command may open and close the file, and so may its children: the lock is that of the descriptor they inherit.
#[test]
fn the_lock_lasts_while_the_command_uses_the_file() {
    each("mode=0777", |mount| {
        let at = mount.path();
        let uses = "echo a >> f; cat f > /dev/null; (echo b >> f); touch used; read x < go; exit 3";
        nix::unistd::mkfifo(&at.join("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut user = lock(at, &["f", "--", "sh", "-c", uses]).spawn().unwrap();
        wait_until("it has used the file", PATIENCE, || at.join("used").exists());
        assert_eq!(status(at, &["-n", "f", "true"]), 1);
        fs::write(at.join("go"), "\n").unwrap();
        assert_eq!(user.wait().unwrap().code(), Some(3));
        assert_eq!(fs::read(at.join("f")).unwrap(), b"a\nb\n");
        assert_eq!(status(at, &["-n", "f", "true"]), 0);
    });
}

/// A program that reads and writes by a descriptor of its own.
const EDIT: &str = "import os
d = os.open('f', os.O_RDWR)
assert os.pread(d, 9, 0) == b'before'
os.pwrite(d, b'behind', 0)
open('ready', 'w').close()
input()
assert os.pread(d, 9, 0) == b'behind'";

#[test]
fn a_mandatory_lock_is_the_commands_own() {
    let mount = Mount::new("mode=0777");
    let at = mount.path();
    fs::write(at.join("f"), "before").unwrap();
    let mut editor = lock(at, &["--mandatory", "f", "--", "python3", "-c", EDIT]);
    let mut editor = editor.stdin(Stdio::piped()).spawn().unwrap();
    wait_until("it has edited", PATIENCE, || {
        assert!(editor.try_wait().unwrap().is_none(), "the command ended");
        at.join("ready").exists()
    });
    assert_eq!(mount.dir().mode("f") & 0o2010, 0o2000, "it is marked");
    let dd = |arguments: &[&str]| {
        let mut dd = Command::new("dd");
        dd.args(arguments)
            .current_dir(at)
            .stderr(Stdio::piped())
            .stdout(Stdio::null());
        dd.output().unwrap()
    };
    for arguments in [["if=f", "iflag=nonblock"], ["of=f", "oflag=nonblock"]] {
        let output = dd(&[
            &arguments[..],
            &["if=/dev/zero", "count=1", "conv=notrunc"][usize::from(arguments[0] == "if=f")..],
        ]
        .concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Resource temporarily unavailable"), "{said}");
    }
    let mut reader = Command::new("cat")
        .arg("f")
        .current_dir(at)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(150));
    assert!(reader.try_wait().unwrap().is_none(), "it waits");
    drop(editor.stdin.take());
    assert!(
        editor.wait_with_output().unwrap().status.code() == Some(1),
        "input() meets the end"
    );
    assert_eq!(reader.wait_with_output().unwrap().stdout, b"behind");
}

#[test]
fn children_use_the_descriptor_that_has_the_lock() {
    let mount = Mount::new("mode=0777");
    let at = mount.path();
    fs::write(at.join("f"), "before").unwrap();
    let script = "cat <&$OWLTMP_LOCK_FD && echo and behind >&$OWLTMP_LOCK_FD";
    let output = run(
        at,
        &[
            "--mandatory",
            "--open-file",
            "-w",
            "10",
            "f",
            "--",
            "bash",
            "-c",
            script,
        ],
    );
    assert_eq!(
        (output.status.code(), &output.stdout[..]),
        (Some(0), &b"before"[..]),
        "{output:?}"
    );
    assert_eq!(fs::read(at.join("f")).unwrap(), b"beforeand behind\n");
}

fn as_user(mut command: Command, who: Identity) -> Output {
    command.uid(who.uid).gid(who.gid).output().unwrap()
}

#[test]
fn what_cannot_be_is_told_in_one_line() {
    let mount = Mount::new("mode=0777");
    let at = mount.path();
    let scratch = Scratch::new();
    let program = copy_for_users(&scratch);
    let users = |who, arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("lock").args(arguments).current_dir(at);
        as_user(command, who)
    };
    assert_eq!(users(ALICE, &["f", "true"]).status.code(), Some(0));
    assert_one_line(
        &users(BOB, &["--mandatory", "f", "true"]),
        66,
        "f: cannot be opened: Permission denied",
    );
    fs::set_permissions(at.join("f"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    assert_one_line(
        &users(BOB, &["--mandatory", "f", "true"]),
        71,
        "f: cannot be marked: Operation not permitted",
    );
    assert_eq!(
        users(BOB, &["-n", "f", "true"]).status.code(),
        Some(0),
        "advisory it may be"
    );
    assert_one_line(&run(at, &["f", "no-such-program"]), 69, "cannot run no-such-program");
    assert_one_line(
        &run(at, &["no/such/file", "true"]),
        66,
        "no/such/file: cannot be opened",
    );
    assert_one_line(&run(at, &["f"]), 2, "COMMAND");
    assert_one_line(
        &run(at, &["-r", "9-3", "f", "true"]),
        2,
        "want the first and the last byte",
    );
    assert_one_line(&run(at, &["-n", "-w", "1", "f", "true"]), 2, "cannot be used with");
    let elsewhere = Mount::tmpfs("mode=0777");
    let off = Mount::new("mode=0777,mand=off");
    for mount in [&elsewhere, &off] {
        let output = run(mount.path(), &["--mandatory", "f", "true"]);
        assert_one_line(&output, 71, "f: locks bind nobody's reads and writes there");
        assert!(!mount.path().join("f").exists(), "it is not even made");
    }
}

/// Whatever the way to the file, and where nothing can be tried out because its directory is closed.
#[test]
fn a_mandatory_lock_that_binds_nobody_is_refused() {
    let (mount, elsewhere) = (Mount::new("mode=0777"), Mount::tmpfs("mode=0777"));
    let off = Mount::new("mode=0777,mand=off");
    let scratch = Scratch::new();
    let program = copy_for_users(&scratch);
    let as_alice = |file: &Path| {
        let mut command = Command::new(&program);
        command.args(["lock", "--mandatory"]).arg(file).arg("true");
        as_user(command, ALICE)
    };
    let file_in = |mount: &Mount| {
        mount.dir().subdir("closed", 0o755);
        let file = mount.path().join("closed/f");
        fs::write(&file, "").unwrap();
        std::os::unix::fs::chown(&file, Some(ALICE.uid), Some(ALICE.gid)).unwrap();
        file
    };
    let (bound, free) = (file_in(&mount), file_in(&elsewhere));
    let (into, out) = (elsewhere.path().join("into"), mount.path().join("out"));
    std::os::unix::fs::symlink(&bound, &into).unwrap();
    std::os::unix::fs::symlink(&free, &out).unwrap();
    for file in [&free, &out, &file_in(&off)] {
        assert_one_line(&as_alice(file), 71, "locks bind nobody's reads and writes there");
    }
    for file in [&bound, &into] {
        assert_eq!(as_alice(file).status.code(), Some(0));
    }
}

/// In a sticky directory what is somebody else's is not opened with O_CREAT, which would be refused.
#[test]
fn what_is_somebody_elses_can_be_locked_in_a_sticky_directory() {
    let mount = Mount::new("mode=1777");
    let scratch = Scratch::new();
    let program = copy_for_users(&scratch);
    mount.dir().file("f", b"", 0o666);
    mount.dir().file("readable", b"", 0o644);
    for arguments in [&["f", "true"][..], &["-s", "readable", "true"]] {
        let mut command = Command::new(&program);
        command.arg("lock").args(arguments).current_dir(mount.path());
        let output = as_user(command, ALICE);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}
