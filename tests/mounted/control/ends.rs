//! Where the socket is, and that it goes with the mount.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{SOON, device_of, mounted, owltmp, socket_of, status_of};
use crate::common::mount::tmpfs_plays_owltmp;
use crate::common::wait_until;
use crate::program::{Scratch, assert_one_line};

#[test]
fn it_is_there_with_the_mount_and_gone_with_it() {
    let Some(mount) = mounted("") else { return };
    let socket = socket_of(device_of(mount.path()));
    let metadata = fs::symlink_metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o666));
    let directory = fs::metadata("/run/owltmp").unwrap();
    assert_eq!((directory.uid(), directory.mode() & 0o7777), (0, 0o755));
    let ino = metadata.ino();
    drop(mount);
    let is_gone = fs::symlink_metadata(&socket).map_or(true, |it| it.ino() != ino);
    assert!(is_gone, "the daemon has ended");
}

#[test]
fn sigterm_takes_it_away() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let scratch = Scratch::new();
    scratch.mount("size=1m");
    let socket = socket_of(device_of(&scratch.mountpoint()));
    let ino = fs::symlink_metadata(&socket).unwrap().ino();
    scratch.signal_daemon(Signal::SIGTERM);
    scratch.expect_nothing_left();
    assert!(fs::symlink_metadata(&socket).map_or(true, |it| it.ino() != ino));
}

#[test]
fn what_a_killed_daemon_leaves_is_named_and_then_replaced() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let scratch = Scratch::new();
    scratch.mount("size=1m");
    let socket = socket_of(device_of(&scratch.mountpoint()));
    let ino = fs::symlink_metadata(&socket).unwrap().ino();
    scratch.signal_daemon(Signal::SIGKILL);
    wait_until("nobody listens", SOON, || UnixStream::connect(&socket).is_err());
    assert!(fs::symlink_metadata(&socket).is_ok(), "nobody took it away");
    for command in ["status", "locks", "events"] {
        let said = owltmp(&[command], &scratch.mountpoint());
        assert_one_line(
            &said,
            1,
            "its daemon has ended and the mount is dead: remove it (owltmp umount)",
        );
    }
    // Another mount does not touch it while the dead one is there.
    let other = mounted("").unwrap();
    assert_eq!(fs::symlink_metadata(&socket).unwrap().ino(), ino);
    drop(other);
    assert!(scratch.umount().status.success());
    // The next one has the number, or finds that nobody has it.
    let next = mounted("").unwrap();
    let replaced = match fs::symlink_metadata(&socket) {
        Err(_) => true,
        Ok(_) => UnixStream::connect(&socket).is_ok(),
    };
    assert!(replaced, "a dead socket is left beside a mount that came later");
    assert_eq!(status_of(&owltmp(&["status", "--json"], next.path())).inodes.used, 1);
}

#[test]
fn a_daemon_that_does_not_answer_keeps_nobody_for_ever() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let scratch = Scratch::new();
    scratch.mount("size=1m");
    scratch.signal_daemon(Signal::SIGSTOP);
    let start = std::time::Instant::now();
    let said = owltmp(&["status"], &scratch.mountpoint());
    scratch.signal_daemon(Signal::SIGCONT);
    assert_one_line(&said, 1, "does not answer");
    assert!(start.elapsed() < Duration::from_secs(60));
}
