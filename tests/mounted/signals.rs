//! What ends a daemon, and what is left then: nothing that hangs, and no mount taken away but its own.

use std::fs::{self, File};
use std::process::Stdio;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::{
    DeviceForAll, Scratch, as_nobody, assert_silent_success, copy_for_users, eventually, mounts_at, owltmp,
};

#[test]
fn a_signal_unmounts_and_ends() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let scratch = Scratch::new();
        scratch.mount("");
        scratch.signal_daemon(signal);
        scratch.expect_nothing_left();
    }
}

#[test]
fn a_signal_ends_the_foreground_with_success() {
    let scratch = Scratch::new();
    let mut child = owltmp(&["mount", "--foreground"], &scratch.mountpoint())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the mount", || {
        !mounts_at(&scratch.mountpoint()).is_empty() && fs::metadata(scratch.mountpoint()).is_ok()
    });
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    scratch.expect_nothing_left();
}

#[test]
fn a_mount_in_use_is_detached_and_its_users_get_an_error() {
    let scratch = Scratch::new();
    scratch.mount("");
    let held = File::open(scratch.mountpoint()).unwrap();
    scratch.signal_daemon(Signal::SIGTERM);
    scratch.expect_nothing_left();
    // A daemon's command line goes a moment before its descriptors do.
    eventually("ENOTCONN", || {
        nix::sys::statfs::fstatfs(&held).err() == Some(nix::Error::ENOTCONN)
    });
}

#[test]
fn a_mount_on_top_stays() {
    let scratch = Scratch::new();
    let place = scratch.mountpoint();
    scratch.mount("");
    mount(Some("t"), &place, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::create_dir(place.join("on top")).unwrap();
    scratch.signal_daemon(Signal::SIGTERM);
    eventually("the end of the daemon", || scratch.daemon().is_none());
    assert!(place.join("on top").exists());
    assert_eq!(mounts_at(&place).len(), 2);
}

#[test]
fn a_signal_ends_an_ordinary_users_mount() {
    let scratch = Scratch::new();
    let _device = DeviceForAll::new();
    let program = copy_for_users(&scratch);
    let mount_as_nobody = || {
        let mount = as_nobody(&program).arg("mount").arg(scratch.mountpoint()).output();
        assert_silent_success(&mount.unwrap());
    };
    mount_as_nobody();
    scratch.signal_daemon(Signal::SIGTERM);
    scratch.expect_nothing_left();
    // In use: detached all the same.
    mount_as_nobody();
    let mut user = as_nobody("sh".as_ref());
    user.arg("-c").arg(format!(
        "cd {} && echo in && exec sleep 60",
        scratch.mountpoint().display()
    ));
    let mut user = user.stdout(Stdio::piped()).spawn().unwrap();
    let mut word = [0; 3];
    std::io::Read::read_exact(user.stdout.as_mut().unwrap(), &mut word).unwrap();
    scratch.signal_daemon(Signal::SIGTERM);
    scratch.expect_nothing_left();
    user.kill().unwrap();
    user.wait().unwrap();
}
