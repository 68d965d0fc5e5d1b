//! `owltmp run`: a private /tmp for one command, and nothing left of it afterwards.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::{
    DeviceForAll, OWLTMP, Scratch, as_nobody, assert_one_line, copy_for_users, eventually, mounts_at, running,
};

/// Runs `script` in a shell inside, with `options` for `run`; `$0` is the scratch directory, which marks every
/// process.
fn inside(scratch: &Scratch, options: &[&str], script: &str) -> Output {
    let output = shell(scratch, options, script).output().unwrap();
    eventually("no process left", || running(&scratch.path("")).is_empty());
    output
}

fn shell(scratch: &Scratch, options: &[&str], script: &str) -> Command {
    let mut command = Command::new(OWLTMP);
    command
        .arg("run")
        .args(options)
        // A shell cannot trap what was ignored when it started, as in the background of a script.
        .args(["--", "env", "--default-signal", "sh", "-c", script])
        .arg(scratch.path(""));
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn stdout(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A shell inside that has said that it runs, and its pid.
fn start(scratch: &Scratch, script: &str) -> (Child, Pid) {
    let script = format!("echo $$; {script}");
    let mut child = shell(scratch, &[], &script).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    (child, Pid::from_raw(line.trim().parse().unwrap()))
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

#[test]
fn tmp_is_empty_private_and_gone_afterwards() {
    let scratch = Scratch::new();
    let marker = format!("owltmp-test-{}", std::process::id());
    let script =
        format!("ls -A /tmp /var/tmp && mkdir /tmp/{marker} /var/tmp/{marker} && stat -fc %T /tmp /var/tmp; exit 7");
    let output = inside(&scratch, &[], &script);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(stdout(&output), "/tmp:\n\n/var/tmp:\nfuseblk\nfuseblk\n");
    assert!(!Path::new("/tmp").join(&marker).exists() && !Path::new("/var/tmp").join(&marker).exists());
}

#[test]
fn the_exit_status_is_the_commands() {
    let scratch = Scratch::new();
    assert_eq!(inside(&scratch, &[], "exit 0").status.code(), Some(0));
    assert_eq!(inside(&scratch, &[], "exit 255").status.code(), Some(255));
    assert_eq!(inside(&scratch, &[], "kill -KILL $$").status.code(), Some(137));
    assert_eq!(inside(&scratch, &[], "kill -TERM $$").status.code(), Some(143));
    let absent = Command::new(OWLTMP)
        .args(["run", "--", "no-such-command"])
        .output()
        .unwrap();
    assert_one_line(&absent, 127, "no-such-command");
    let data = Command::new(OWLTMP)
        .args(["run", "--", "/etc/passwd"])
        .output()
        .unwrap();
    assert_one_line(&data, 126, "/etc/passwd");
}

#[test]
fn other_directories_can_be_covered_each_once() {
    let scratch = Scratch::new();
    let place = scratch.mountpoint();
    symlink("m", scratch.path("link")).unwrap();
    let link = scratch.path("link");
    let options = [
        "--at",
        place.to_str().unwrap(),
        "--at",
        link.to_str().unwrap(),
        "-o",
        "mode=0711",
    ];
    let output = inside(
        &scratch,
        &options,
        "grep -c \" $0/*m fuse.owltmp\" /proc/mounts; stat -c %a $0/m; mkdir $0/m/d",
    );
    assert_eq!(stdout(&output), "1\n711\n");
    assert!(!place.join("d").exists());
    assert_eq!(mounts_at(&place), Vec::<String>::new());
}

#[test]
fn a_directory_below_a_covered_one_is_refused() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("m/below")).unwrap();
    let (above, below) = (scratch.path("m"), scratch.path("m/below"));
    let (above, below) = (above.to_str().unwrap(), below.to_str().unwrap());
    for options in [["--at", above, "--at", below], ["--at", below, "--at", above]] {
        assert_one_line(&inside(&scratch, &options, "exit 5"), 2, "below: lies below");
    }
}

#[test]
fn whoever_stands_in_a_covered_directory_gets_the_new_one() {
    let scratch = Scratch::new();
    let place = scratch.mountpoint();
    fs::write(place.join("outside"), "").unwrap();
    let options = ["--at", place.to_str().unwrap()];
    let mut command = shell(&scratch, &options, "ls -A; touch inside; cd .. && cat m/inside");
    let output = command.current_dir(&place).output().unwrap();
    assert_eq!(stdout(&output), "");
    assert!(!place.join("inside").exists());
}

#[test]
fn errors_before_the_command_are_one_line() {
    let scratch = Scratch::new();
    let absent = scratch.path("absent");
    let at_absent = inside(&scratch, &["--at", absent.to_str().unwrap()], "exit 5");
    assert_one_line(&at_absent, 1, "absent: no such directory");
    assert_one_line(&inside(&scratch, &["-o", "foo"], "exit 5"), 2, "foo");
    assert_eq!(Command::new(OWLTMP).arg("run").output().unwrap().status.code(), Some(2));
}

#[test]
fn the_working_directory_stays() {
    let scratch = Scratch::new();
    fs::write(scratch.path("here"), "").unwrap();
    let mut command = shell(&scratch, &[], "cat here && ls -A /tmp && pwd");
    let output = command.current_dir(scratch.path("")).output().unwrap();
    assert_eq!(
        Path::new(stdout(&output).trim()),
        fs::canonicalize(scratch.path("")).unwrap()
    );
}

#[test]
fn the_command_starts_as_if_alone() {
    let scratch = Scratch::new();
    let ignore = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); \
                  signal.signal(signal.SIGHUP, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, [10, 15]); \
                  os.execvp(sys.argv[1], sys.argv[1:])";
    for program in [
        &["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"][..],
        &["ls", "/proc/self/fd"],
        &["env"],
        &["sh", "-c", "umask; ulimit -a"],
        &["pwd"],
    ] {
        let alone = Command::new(program[0]).args(&program[1..]).output().unwrap();
        let within = Command::new(OWLTMP).arg("run").args(program).output().unwrap();
        assert_eq!(stdout(&within), stdout(&alone), "{program:?}");
        let python = || {
            let mut python = Command::new("/usr/bin/python3");
            // Python ignores SIGPIPE and SIGXFSZ, which a program does not hand on through Rust's start of another.
            python.args([
                "-c",
                &format!("import signal; [signal.signal(s, signal.SIG_DFL) for s in (13, 25)]; {ignore}"),
            ]);
            python
        };
        let alone = python().args(program).output().unwrap();
        let within = python().args([OWLTMP, "run"]).args(program).output().unwrap();
        assert_eq!(
            stdout(&within),
            stdout(&alone),
            "{program:?} with signals ignored and blocked"
        );
    }
    let children = stdout(&inside(&scratch, &[], "ps -o comm= --ppid $$"));
    assert_eq!(children, "ps\n", "the daemons are no children of the command");
}

#[test]
fn signals_are_passed_on() {
    let scratch = Scratch::new();
    let script = "trap 'exit 3' TERM; trap 'exit 4' HUP; trap 'exit 5' USR1; trap 'exit 6' USR2; trap 'exit 8' INT; \
                  echo ready; while :; do sleep 0.01; done";
    for (signal, status) in [
        (Signal::SIGTERM, 3),
        (Signal::SIGHUP, 4),
        (Signal::SIGUSR1, 5),
        (Signal::SIGUSR2, 6),
        (Signal::SIGINT, 8),
    ] {
        let mut child = shell(&scratch, &[], script).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        kill(pid_of(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(status), "{signal}");
        eventually("no process left", || running(&scratch.path("")).is_empty());
    }
}

#[test]
fn a_killed_run_takes_its_daemons_along_and_exposes_nothing() {
    let scratch = Scratch::new();
    let (mut child, command) = start(&scratch, "exec sleep 60");
    kill(pid_of(&child), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    // What remains is the command itself, which does not find itself in the shared /tmp.
    eventually("the end of the daemons", || running(&scratch.path("")).is_empty());
    expect_lost(command);
    kill(command, Signal::SIGKILL).unwrap();
}

#[test]
fn what_the_command_leaves_running_loses_its_tmp() {
    let scratch = Scratch::new();
    let script = "sleep 60 >/dev/null 2>&1 & echo $!; exit 4";
    let output = inside(&scratch, &[], script);
    assert_eq!(output.status.code(), Some(4));
    let left = Pid::from_raw(stdout(&output).trim().parse().unwrap());
    expect_lost(left);
    kill(left, Signal::SIGKILL).unwrap();
}

/// In the namespace of `process`, /tmp is the dead mount.
fn expect_lost(process: Pid) {
    let read = || {
        fs::read_dir(format!("/proc/{process}/root/tmp"))
            .err()
            .and_then(|error| error.raw_os_error())
    };
    eventually("ENOTCONN", || read() == Some(libc::ENOTCONN));
}

#[test]
fn an_ordinary_user_runs_as_who_they_are() {
    let scratch = Scratch::new();
    let _device = DeviceForAll::new();
    let program = copy_for_users(&scratch);
    let script = "id -u; id -g; stat -c '%u %a' /tmp; mkdir /tmp/d; grep CapEff /proc/self/status | cut -f2; exit 9";
    let output = as_nobody(&program)
        .args(["run", "--", "sh", "-c", script])
        .arg(scratch.path(""))
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "65534\n65534\n65534 1777\n0000000000000000\n");
    assert_eq!(output.status.code(), Some(9));
    assert!(!Path::new("/tmp/d").exists());
    eventually("no process left", || running(&scratch.path("")).is_empty());
    let output = as_nobody(&program)
        .args(["run", "-o", "uid=0", "true"])
        .output()
        .unwrap();
    assert_one_line(&output, 2, "uid=");
}

#[test]
fn without_user_namespaces_an_ordinary_user_is_told() {
    let scratch = Scratch::new();
    let _device = DeviceForAll::new();
    let program = copy_for_users(&scratch);
    // A user namespace that allows no further one, in which the program lacks every right.
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -all --inh-caps -all \
                  --securebits +noroot,+noroot_locked -- $0 run true";
    let output = Command::new("unshare")
        .args(["-Ur", "sh", "-c", script])
        .arg(&program)
        .output()
        .unwrap();
    assert_one_line(&output, 1, "user.max_user_namespaces");
}
