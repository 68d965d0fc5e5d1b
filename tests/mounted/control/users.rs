//! Ordinary users: mounts of their own, others', and `run`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::chown;

use super::{answer_of, client, command_of, device_of, mounted, owltmp, status_of};
use crate::common::identity::{ALICE, BOB, CAROL};
use crate::common::mount::tmpfs_plays_owltmp;
use crate::common::{Identity, as_user};
use crate::program::{DeviceForAll, NOBODY, Scratch, assert_one_line, copy_for_users, eventually, running};

/// Who has a name, which fusermount3 wants.
const NAMED: Identity = Identity {
    uid: NOBODY,
    gid: NOBODY,
    groups: &[],
};

/// A runtime directory, as a login makes one.
fn runtime_of(scratch: &Scratch, who: Identity, mode: u32) -> PathBuf {
    let path = scratch.path(&format!("run-{}", who.uid));
    fs::create_dir(&path).unwrap();
    chown(&path, Some(who.uid.into()), Some(who.gid.into())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_mount_of_ones_own_is_asked_by_its_owner() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let (scratch, _device) = (Scratch::new(), DeviceForAll::new());
    let program = copy_for_users(&scratch);
    let runtime = runtime_of(&scratch, NAMED, 0o700);
    let own = |arguments: &[&str], path: &Path| {
        let mut command = command_of(NAMED, Some(&runtime), &program);
        command.args(arguments).arg(path).output().unwrap()
    };
    let place = scratch.mountpoint();
    assert!(own(&["mount"], &place).status.success());
    let socket = runtime.join(format!("owltmp/{}.sock", device_of(&place)));
    let metadata = fs::symlink_metadata(&socket).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (NOBODY, 0o600));
    let status = status_of(&own(&["status", "--json"], &place));
    assert_eq!((status.uid, status.you.uid, status.you.all), (NOBODY, NOBODY, true));
    assert!(own(&["locks"], &place).status.success() && own(&["events"], &place).status.success());
    assert_one_line(&own(&["unlock"], &place), 1, "no such lock is held");
    // Others cannot so much as find it; nor can root here, who is not told of the directory.
    let mut carol = command_of(CAROL, None, &program);
    assert_one_line(
        &carol.arg("status").arg(&place).output().unwrap(),
        1,
        "no control socket",
    );
    assert!(own(&["umount"], &place).status.success());
    scratch.expect_nothing_left();
    assert!(!socket.exists());
}

#[test]
fn a_runtime_directory_that_others_may_enter_is_not_used() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let (scratch, _device) = (Scratch::new(), DeviceForAll::new());
    let program = copy_for_users(&scratch);
    let runtime = runtime_of(&scratch, NAMED, 0o777);
    let place = scratch.mountpoint();
    let run = |command: &str| {
        let mut it = command_of(NAMED, Some(&runtime), &program);
        it.arg(command).arg(&place).output().unwrap()
    };
    assert!(run("mount").status.success(), "it works without");
    assert!(!runtime.join("owltmp").exists());
    assert_eq!(run("status").status.code(), Some(1));
    assert!(run("umount").status.success());
}

#[test]
fn a_runtime_directory_in_the_mount_is_not_touched() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let scratch = Scratch::new();
    // Root, where /run is a symlink for nobody but has no room for a directory either: its own word is in the mount.
    let place = scratch.mountpoint();
    let script = "mount -t tmpfs -o ro tmpfs /run && XDG_RUNTIME_DIR=\"$1/x\" \"$0\" mount \"$1\" && ls -A \"$1\" && \"$0\" umount \"$1\"";
    let output = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", script, crate::program::OWLTMP])
        .arg(&place)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    scratch.expect_nothing_left();
}

#[test]
fn others_see_of_roots_mount_what_is_theirs() {
    let Some(mount) = mounted("user_size=10m") else { return };
    for (who, size) in [(ALICE, 1 << 20), (BOB, 2 << 20)] {
        as_user(who, || {
            fs::write(mount.path().join(who.uid.to_string()), vec![0; size]).unwrap()
        });
    }
    as_user(ALICE, || {
        let status = client(&mount).status(false).unwrap();
        assert_eq!((status.you.uid, status.you.all), (ALICE.uid, false));
        let users: Vec<_> = status.users.unwrap().iter().map(|it| (it.uid, it.bytes.used)).collect();
        assert_eq!(users, [(ALICE.uid, 1 << 20)]);
        assert_eq!((status.open, status.events), (None, None));
    });
    as_user(CAROL, || {
        assert_eq!(client(&mount).status(false).unwrap().users.unwrap(), [])
    });
}

#[test]
fn root_of_a_user_namespace_is_not_root() {
    let Some(mount) = mounted("") else { return };
    let scratch = Scratch::new();
    let program = copy_for_users(&scratch);
    let mut inside = command_of(ALICE, None, Path::new("unshare"));
    inside.args(["--user", "--map-root-user"]).arg(&program);
    let output = inside.args(["status", "--json"]).arg(mount.path()).output().unwrap();
    // In there the mount's owner is nobody, and what belongs to root is not trusted; or the daemon knows him by his true uid.
    if output.status.success() {
        let status = status_of(&output);
        assert_eq!((status.you.uid, status.you.all), (ALICE.uid, false));
    } else {
        assert_one_line(&output, 1, mount.path().to_str().unwrap());
    }
    // And whatever the client thinks, the daemon knows him.
    let socket = super::socket_of(device_of(mount.path()));
    let script = format!(
        "import socket\ns=socket.socket(socket.AF_UNIX); s.connect('{}'); s.sendall(b'{{\"version\":1,\"ask\":\"status\"}}\\n')\n\
         print(s.makefile().readline(),end='')",
        socket.display()
    );
    let mut inside = command_of(ALICE, None, Path::new("unshare"));
    let output = inside
        .args(["--user", "--map-root-user", "python3", "-c", &script])
        .output()
        .unwrap();
    let status = status_of(&output);
    assert_eq!((status.you.uid, status.you.all), (ALICE.uid, false));
}

#[test]
fn inside_of_run_the_mounts_can_be_asked_about() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let (scratch, _device) = (Scratch::new(), DeviceForAll::new());
    let program = copy_for_users(&scratch);
    let runtime = runtime_of(&scratch, ALICE, 0o700);
    let place = scratch.mountpoint();
    let script = "echo x > \"$1/f\" && \"$0\" status --json \"$1\" && \"$0\" locks \"$1\" && \"$0\" status > /dev/null";
    let run = |mut command: std::process::Command, script: &str| {
        command
            .args(["run", "--at"])
            .arg(&place)
            .args(["--", "sh", "-c", script]);
        command.arg(&program).arg(&place).output().unwrap()
    };
    let output = run(command_of(ALICE, Some(&runtime), &program), script);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let status = status_of(&output);
    assert_eq!((status.you.all, status.uid, status.inodes.used), (true, ALICE.uid, 2));
    eventually("no process left", || running(&scratch.path("")).is_empty());
    let left: Vec<_> = fs::read_dir(runtime.join("owltmp"))
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(left, [".lock"], "the sockets are gone");
    // As root.
    let output = run(std::process::Command::new(&program), "\"$0\" status --json \"$1\"");
    assert!(matches!(answer_of(&output), owltmp::control::protocol::Body::Status(status) if status.you.all));
}

#[test]
fn a_false_socket_is_not_asked() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let (scratch, _device) = (Scratch::new(), DeviceForAll::new());
    let program = copy_for_users(&scratch);
    let runtime = runtime_of(&scratch, NAMED, 0o700);
    let place = scratch.mountpoint();
    let own = |arguments: &[&str]| {
        let mut command = command_of(NAMED, Some(&runtime), &program);
        command.args(arguments).arg(&place).output().unwrap()
    };
    assert!(own(&["mount"]).status.success());
    let directory = runtime.join("owltmp");
    let socket = directory.join(format!("{}.sock", device_of(&place)));
    // A symlink in its place, to one that answers.
    let aside = directory.join("aside");
    fs::rename(&socket, &aside).unwrap();
    std::os::unix::fs::symlink("aside", &socket).unwrap();
    assert_eq!(own(&["status"]).status.code(), Some(1));
    fs::remove_file(&socket).unwrap();
    // One that belongs to another.
    fs::rename(&aside, &socket).unwrap();
    chown(&socket, Some(BOB.uid.into()), None).unwrap();
    assert_eq!(own(&["status"]).status.code(), Some(1));
    chown(&socket, Some(NOBODY.into()), None).unwrap();
    assert!(own(&["status"]).status.success());
    // A directory that others may write to, or a symlink to it.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(own(&["status"]).status.code(), Some(1));
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    fs::rename(&directory, runtime.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &directory).unwrap();
    assert_eq!(own(&["status"]).status.code(), Some(1));
    assert!(own(&["umount"]).status.success());
    // The daemon takes its socket away wherever its directory is by now.
    scratch.expect_nothing_left();
    eventually("the socket is gone", || {
        fs::read_dir(runtime.join("elsewhere")).unwrap().count() == 1
    });
    let _ = owltmp(&["status"], &place);
}
