//! Mount points below the mount, and directories of it that are mounted elsewhere: they stay, in whatever namespace that is.

use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

use super::*;

/// A shell in a mount namespace of its own, which has done something and then waits.
struct Elsewhere(Child);

impl Elsewhere {
    fn start(script: &str, mount: &Mount) -> Elsewhere {
        let ready = mount.scratch().join("ready");
        let script = format!("set -e; {script}; touch \"$2\"; read x || true");
        let shell = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
            .arg(mount.path())
            .arg(&ready)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut it = Elsewhere(shell);
        wait_until("it is mounted", PATIENCE, || {
            assert!(it.0.try_wait().unwrap().is_none(), "the shell ended");
            ready.exists()
        });
        fs::remove_file(ready).unwrap();
        it
    }

    /// Ends it, and with it the namespace.
    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Old directories go, and what is old by now has had its chance.
fn another_directory_goes(dir: &Dir) {
    dir.subdir("other", 0o755);
    wait_until("another directory is gone", PATIENCE, || dir.lstat("other").is_err());
    std::thread::sleep(Duration::from_millis(500));
}

#[test]
fn mount_points_stay_while_they_are_mounted_on() {
    let mount = mount("", 400, 20);
    let dir = mount.dir();
    dir.subdir("point", 0o755);
    dir.file("file", b"", 0o644);
    let script = "mount -t tmpfs none \"$1/point\"; echo in > \"$1/point/in\"; mount --bind /etc/passwd \"$1/file\"";
    let elsewhere = Elsewhere::start(script, &mount);
    another_directory_goes(dir);
    assert!(dir.lstat("point").is_ok() && dir.lstat("file").is_ok());
    let inside = format!("/proc/{}/root{}/point/in", elsewhere.0.id(), mount.path().display());
    assert_eq!(fs::read_to_string(inside).unwrap(), "in\n");
    elsewhere.end();
    wait_until("they go afterwards", PATIENCE, || dir.names().is_empty());
}

/// As systemd's PrivateTmp= does with /tmp: a directory of the mount is the whole of another place.
#[test]
fn what_is_mounted_elsewhere_stays() {
    let mount = mount("", 400, 20);
    let dir = mount.dir();
    dir.subdir("private", 0o755);
    dir.subdir("private/tmp", 0o777);
    let elsewhere = Elsewhere::start("mount --bind \"$1/private/tmp\" /mnt; echo old > /mnt/old", &mount);
    wait_until("what is old in it goes", PATIENCE, || {
        dir.lstat("private/tmp/old").is_err()
    });
    std::thread::sleep(Duration::from_millis(600));
    let there = format!("/proc/{}/root/mnt", elsewhere.0.id());
    fs::write(format!("{there}/new"), "still a place to write").unwrap();
    assert!(dir.lstat("private/tmp").is_ok());
    elsewhere.end();
    wait_until("it goes afterwards", PATIENCE, || dir.names().is_empty());
}

/// Who has prepared a root directory in /tmp, with mounts in it, and chroots: in his mountinfo the mount they sit on is not shown.
#[test]
fn mount_points_of_who_has_his_root_in_the_mount_stay() {
    let mount = mount("", 400, 20);
    let dir = mount.dir();
    dir.subdir("jail", 0o755);
    dir.subdir("jail/deep", 0o755);
    dir.subdir("jail/deep/point", 0o755);
    let chroot = "import os, sys; at = os.open(os.path.dirname(sys.argv[2]), os.O_RDONLY); os.chroot(sys.argv[1]); \
                  os.close(os.open(os.path.basename(sys.argv[2]), os.O_CREAT | os.O_WRONLY, dir_fd=at)); sys.stdin.read()";
    let script = format!("mount -t tmpfs none \"$1/jail/deep/point\"; exec python3 -c '{chroot}' \"$1/jail\" \"$2\"");
    let elsewhere = Elsewhere::start(&script, &mount);
    another_directory_goes(dir);
    assert!(dir.lstat("jail/deep/point").is_ok());
    let inside = format!("/proc/{}/root/deep/point", elsewhere.0.id());
    assert_ne!(
        fs::metadata(inside).unwrap().dev(),
        fs::metadata(mount.path()).unwrap().dev()
    );
    elsewhere.end();
    wait_until("they go afterwards", PATIENCE, || dir.names().is_empty());
}
