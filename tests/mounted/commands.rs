//! `owltmp mount` and `owltmp umount`: what they promise, what they refuse and how they say so (semantics 6.2, 6.4).

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::sys::statfs::{FUSE_SUPER_MAGIC, statfs};
use nix::unistd::getsid;

use crate::program::{
    DeviceForAll, NOBODY, OWLTMP, Scratch, as_nobody, assert_one_line, assert_silent_success, copy_for_users,
    eventually, mounts_at, owltmp, running,
};

#[test]
fn mount_returns_when_the_mount_answers() {
    let scratch = Scratch::new();
    scratch.mount("");
    let place = scratch.mountpoint();
    assert_eq!(statfs(&place).unwrap().filesystem_type(), FUSE_SUPER_MAGIC);
    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o7777, 0o1777);
    fs::create_dir(place.join("made")).unwrap();
    let line = mounts_at(&place).concat();
    assert!(
        line.contains(" rw,nosuid,nodev,relatime ") && line.contains(" fuse.owltmp owltmp "),
        "{line}"
    );
    assert!(
        line.contains("default_permissions") && line.contains("allow_other"),
        "{line}"
    );
    assert_silent_success(&scratch.umount());
    scratch.expect_nothing_left();
}

#[test]
fn the_daemon_keeps_nothing_of_its_starter() {
    let scratch = Scratch::new();
    let held = scratch.path("held");
    fs::write(&held, "").unwrap();
    // Descriptor 7 is the starter's; a pipe on its output ends when the starter ends, not when the daemon does.
    let script = format!(
        "exec 7<{} && {OWLTMP} mount {}",
        held.display(),
        scratch.mountpoint().display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(scratch.path(""))
        .output()
        .unwrap();
    assert_silent_success(&output);
    let daemon = scratch.daemon().unwrap();
    let of_daemon = |name: &str| format!("/proc/{daemon}/{name}");
    assert_eq!(fs::read_link(of_daemon("cwd")).unwrap().to_str(), Some("/"));
    assert_eq!(getsid(Some(daemon)).unwrap(), daemon);
    for entry in fs::read_dir(of_daemon("fd")).unwrap().flatten() {
        let target = fs::read_link(entry.path()).unwrap();
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        assert!(
            number > 2 || target.to_str() == Some("/dev/null"),
            "{number} is {target:?}"
        );
        assert_ne!(target, held);
    }
    let limits = fs::read_to_string(of_daemon("limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    // 1 is what also keeps a dump from a program in core_pattern.
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some(if hard == 0 { "0" } else { "1" }));
    assert_silent_success(&scratch.umount());
    scratch.expect_nothing_left();
}

#[test]
fn limits_of_its_starter_do_not_end_the_daemon() {
    // `ulimit -S` sets what the daemon may raise again, without it the limit stays for whom it binds.
    for limits in ["ulimit -Sf 8; ulimit -St 1; ulimit -Sv 1000000", "ulimit -f 8"] {
        let scratch = Scratch::new();
        let place = scratch.mountpoint();
        let script = format!("{limits}; exec {OWLTMP} mount {}", place.display());
        assert_silent_success(&Command::new("sh").args(["-c", &script]).output().unwrap());
        let written = fs::write(place.join("large"), vec![1; 1 << 20]);
        if limits.contains("-S") {
            written.unwrap();
            let daemon = scratch.daemon().unwrap();
            let text = fs::read_to_string(format!("/proc/{daemon}/limits")).unwrap();
            for name in ["Max cpu time", "Max file size", "Max address space"] {
                let line = text.lines().find(|line| line.starts_with(name)).unwrap();
                assert_eq!(
                    line[name.len()..].split_whitespace().next(),
                    Some("unlimited"),
                    "{line}"
                );
            }
        } else if let Err(error) = written {
            assert_eq!(error.raw_os_error(), Some(libc::EFBIG));
        }
        fs::write(place.join("small"), "alive").unwrap();
        assert_eq!(fs::read_to_string(place.join("small")).unwrap(), "alive");
        // What a parallel test has just forked may still hold the files.
        eventually("the unmount", || scratch.umount().status.success());
        scratch.expect_nothing_left();
    }
}

#[test]
fn options_reach_the_mount() {
    let scratch = Scratch::new();
    let output = owltmp(
        &["mount", "-o", "mode=0750,uid=3,rw", "-o", "gid=4,ro,noexec,noatime"],
        &scratch.mountpoint(),
    );
    assert_silent_success(&{ output }.output().unwrap());
    let line = mounts_at(&scratch.mountpoint()).concat();
    assert!(line.contains(" ro,nosuid,nodev,noexec,noatime "), "{line}");
    let root = fs::metadata(scratch.mountpoint()).unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o750, 3, 4));
}

#[test]
fn a_bad_option_is_refused_in_one_line() {
    let scratch = Scratch::new();
    for (options, text) in [
        ("foo=1", "foo=1"),
        ("size=1q", "size=1q"),
        ("ro,huge=always", "huge"),
        ("uid=noone", "noone"),
    ] {
        let output = owltmp(&["mount", "-o", options], &scratch.mountpoint())
            .output()
            .unwrap();
        assert_one_line(&output, 2, text);
    }
    let output = Command::new(OWLTMP).args(["mount"]).output().unwrap();
    assert_one_line(&output, 2, "Usage: owltmp mount <MOUNTPOINT>");
    let output = owltmp(&["mount", "--foregruond"], &scratch.mountpoint())
        .output()
        .unwrap();
    assert_one_line(&output, 2, "--foreground");
    scratch.expect_nothing_left();
}

#[test]
fn a_bad_mountpoint_is_refused_in_one_line() {
    let scratch = Scratch::new();
    let absent = owltmp(&["mount"], &scratch.path("absent")).output().unwrap();
    assert_one_line(&absent, 1, "absent: no such directory");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let status = owltmp(&["mount"], &scratch.path("absent"))
        .stderr(full)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1), "also where nobody can be told");
    fs::write(scratch.path("file"), "").unwrap();
    let file = owltmp(&["mount"], &scratch.path("file")).output().unwrap();
    assert_one_line(&file, 1, "file: not a directory");
}

#[test]
fn help_and_version_are_no_failure() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["help"],
        &["help", "run"],
        &["mount", "--help"],
    ] {
        let output = Command::new(OWLTMP).args(arguments).output().unwrap();
        assert!(
            output.status.success() && !output.stdout.is_empty() && output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn the_root_directory_is_no_place() {
    for arguments in [&["mount", "/"][..], &["run", "--at", "/", "--", "true"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_owltmp"))
            .args(arguments)
            .output()
            .unwrap();
        assert_one_line(&output, 1, "nobody would see what is mounted on the root directory");
    }
}

#[test]
fn umount_refuses_what_is_not_ours() {
    let scratch = Scratch::new();
    let place = scratch.mountpoint();
    assert_one_line(&scratch.umount(), 1, "nothing is mounted here");
    assert_one_line(
        &owltmp(&["umount"], &scratch.path("absent")).output().unwrap(),
        1,
        "nothing is mounted here",
    );
    mount(Some("t"), &place, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    assert_one_line(&scratch.umount(), 1, "not an owltmp mount but tmpfs");
    assert_eq!(mounts_at(&place).len(), 1);
}

#[test]
fn a_mount_of_another_user_is_refused() {
    let scratch = Scratch::new();
    let program = copy_for_users(&scratch);
    scratch.mount("");
    let output = as_nobody(&program)
        .arg("umount")
        .arg(scratch.mountpoint())
        .output()
        .unwrap();
    assert_one_line(&output, 1, "not your mount");
    assert_silent_success(&scratch.umount());
}

#[test]
fn mounts_at_one_place_at_once_know_themselves() {
    let scratch = Scratch::new();
    let mut starters: Vec<_> = (0..8)
        .map(|_| owltmp(&["mount"], &scratch.mountpoint()).spawn().unwrap())
        .collect();
    starters
        .iter_mut()
        .for_each(|starter| assert!(starter.wait().unwrap().success()));
    assert_eq!(mounts_at(&scratch.mountpoint()).len(), 8);
    // Whoever is not on top takes nothing away when told to end; the one on top takes itself away.
    for left in (0..8).rev() {
        scratch.signal_daemon(Signal::SIGTERM);
        eventually("the end of a daemon", || running(&scratch.mountpoint()).len() == left);
    }
    for mount in mounts_at(&scratch.mountpoint()) {
        assert!(mount.contains("fuse.owltmp"), "{mount}");
        assert_silent_success(&scratch.umount());
    }
    scratch.expect_nothing_left();
}

#[test]
fn umount_follows_a_symlink_to_the_mount() {
    let scratch = Scratch::new();
    symlink("m", scratch.path("link")).unwrap();
    symlink("link", scratch.path("chain")).unwrap();
    symlink("loop", scratch.path("loop")).unwrap();
    for name in ["link", "chain"] {
        assert_silent_success(&owltmp(&["mount"], &scratch.path(name)).output().unwrap());
        assert_silent_success(&owltmp(&["umount"], &scratch.path(name)).output().unwrap());
        assert_eq!(mounts_at(&scratch.mountpoint()), Vec::<String>::new());
    }
    assert_one_line(&owltmp(&["umount"], &scratch.path("loop")).output().unwrap(), 1, "loop");
}

#[test]
fn a_mount_in_use_is_left_or_detached() {
    let scratch = Scratch::new();
    scratch.mount("");
    let held = File::open(scratch.mountpoint()).unwrap();
    assert_one_line(&scratch.umount(), 1, "in use");
    assert_eq!(mounts_at(&scratch.mountpoint()).len(), 1);
    assert_silent_success(&owltmp(&["umount", "--lazy"], &scratch.mountpoint()).output().unwrap());
    assert_eq!(mounts_at(&scratch.mountpoint()), Vec::<String>::new());
    // The daemon serves on for as long as somebody needs it.
    held.metadata().unwrap();
    assert!(scratch.daemon().is_some());
    drop(held);
    scratch.expect_nothing_left();
}

#[test]
fn a_dead_mount_is_named_and_can_be_removed() {
    let scratch = Scratch::new();
    scratch.mount("");
    scratch.signal_daemon(Signal::SIGKILL);
    let output = owltmp(&["mount"], &scratch.mountpoint()).output().unwrap();
    assert_one_line(&output, 1, "owltmp umount");
    assert_silent_success(&scratch.umount());
    scratch.expect_nothing_left();
    scratch.mount("");
}

#[test]
fn umount_does_not_wait_for_a_stopped_daemon() {
    let scratch = Scratch::new();
    scratch.mount("");
    scratch.signal_daemon(Signal::SIGSTOP);
    let output = Command::new("timeout")
        .args(["5", OWLTMP, "umount"])
        .arg(scratch.mountpoint())
        .output()
        .unwrap();
    assert_silent_success(&output);
    scratch.signal_daemon(Signal::SIGCONT);
    scratch.expect_nothing_left();
}

#[test]
fn umount_by_anyone_takes_only_this_mount() {
    let scratch = Scratch::new();
    let place = scratch.mountpoint();
    mount(Some("t"), &place, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::create_dir(place.join("underneath")).unwrap();
    scratch.mount("");
    umount2(&place, MntFlags::empty()).unwrap();
    eventually("the end of the daemon", || scratch.daemon().is_none());
    assert!(place.join("underneath").exists());
    assert_eq!(mounts_at(&place).len(), 1);
}

#[test]
fn remounting_read_only_works() {
    let scratch = Scratch::new();
    scratch.mount("");
    let remount = Command::new("mount")
        .args(["-i", "-o", "remount,ro"])
        .arg(scratch.mountpoint())
        .status()
        .unwrap();
    assert!(remount.success());
    let error = fs::create_dir(scratch.mountpoint().join("d")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
}

#[test]
fn in_the_foreground_it_stays_until_unmounted() {
    let scratch = Scratch::new();
    let mut child = owltmp(&["mount", "-f"], &scratch.mountpoint())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the mount", || {
        !mounts_at(&scratch.mountpoint()).is_empty() && fs::metadata(scratch.mountpoint()).is_ok()
    });
    assert!(child.try_wait().unwrap().is_none());
    assert_silent_success(&scratch.umount());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    scratch.expect_nothing_left();
}

#[test]
fn an_ordinary_user_mounts_and_unmounts() {
    let scratch = Scratch::new();
    let _device = DeviceForAll::new();
    let program = copy_for_users(&scratch);
    let place = scratch.mountpoint();
    assert_silent_success(&as_nobody(&program).arg("mount").arg(&place).output().unwrap());
    let line = mounts_at(&place).concat();
    assert!(
        line.contains("nosuid,nodev") && line.contains(&format!("user_id={NOBODY}")),
        "{line}"
    );
    assert!(
        as_nobody("mkdir".as_ref())
            .arg(place.join("d"))
            .status()
            .unwrap()
            .success()
    );
    assert!(fs::metadata(&place).is_err(), "FUSE shuts out root without allow_other");
    assert_silent_success(&as_nobody(&program).arg("umount").arg(&place).output().unwrap());
    scratch.expect_nothing_left();
}

#[test]
fn a_starter_that_ignores_its_children_is_no_obstacle() {
    let scratch = Scratch::new();
    let _device = DeviceForAll::new();
    let program = copy_for_users(&scratch);
    // Only fusermount3, which has an exit status, is waited for.
    let script =
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])";
    for command in ["mount", "umount"] {
        let mut python = as_nobody("/usr/bin/python3".as_ref());
        python.args(["-c", script]).arg(&program).arg(command);
        assert_silent_success(&python.arg(scratch.mountpoint()).output().unwrap());
    }
    scratch.expect_nothing_left();
}

#[test]
fn an_ordinary_user_is_told_what_is_missing() {
    let scratch = Scratch::new();
    let _device = DeviceForAll::new();
    let program = copy_for_users(&scratch);
    let mut dev = as_nobody(&program);
    assert_one_line(
        &dev.args(["mount", "-o", "dev"])
            .arg(scratch.mountpoint())
            .output()
            .unwrap(),
        2,
        "only root",
    );
    let mut helper = as_nobody("sh".as_ref());
    helper
        .args(["-c", "PATH=/nonexistent; exec \"$0\" mount \"$1\""])
        .arg(&program)
        .arg(scratch.mountpoint());
    // With the right to open /dev/fuse but not to mount, it looks for the helper.
    let output = helper.output().unwrap();
    assert_one_line(&output, 1, "apt install fuse3");
    let mut elsewhere = as_nobody(&program);
    assert_one_line(&elsewhere.args(["mount", "/etc"]).output().unwrap(), 1, "fusermount3: ");
    if !fs::read_to_string("/etc/fuse.conf")
        .unwrap_or_default()
        .lines()
        .any(|line| line.trim() == "user_allow_other")
    {
        let mut other = as_nobody(&program);
        let output = other
            .args(["mount", "-o", "allow_other"])
            .arg(scratch.mountpoint())
            .output()
            .unwrap();
        assert_one_line(&output, 1, "/etc/fuse.conf");
    }
    eventually("no process left", || running(&scratch.mountpoint()).is_empty());
}
