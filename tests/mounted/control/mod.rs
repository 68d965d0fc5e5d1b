//! The control socket: what it tells, to whom, and what it withstands; and the commands that ask there.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use owltmp::control::client::Client;
use owltmp::control::protocol::{Answer, Ask, Body, Locks, Status};
use owltmp::sys::mountinfo::{Device, MountTable};

use crate::common::mount::tmpfs_plays_owltmp;
use crate::common::{Identity, Mount};
use crate::program::OWLTMP;

mod ends;
mod hostile;
mod locks;
mod status;
mod users;

const SOON: Duration = Duration::from_secs(10);

/// An owltmp that can be asked; none where tmpfs plays it.
fn mounted(options: &str) -> Option<Mount> {
    if tmpfs_plays_owltmp() {
        return None;
    }
    let mount = Mount::owltmp(options);
    // Nobody sees the mount before the socket is there.
    UnixStream::connect(socket_of(device_of(mount.path()))).unwrap();
    Some(mount)
}

fn device_of(place: &Path) -> Device {
    let table = MountTable::read().unwrap();
    table.at(place).unwrap().device
}

fn socket_of(device: Device) -> PathBuf {
    format!("/run/owltmp/{device}.sock").into()
}

/// A conversation as whoever the thread is.
fn client(mount: &Mount) -> Client {
    Client::connect(device_of(mount.path()), 0).unwrap()
}

/// A connection that keeps to no protocol.
fn raw(mount: &Mount) -> UnixStream {
    let stream = UnixStream::connect(socket_of(device_of(mount.path()))).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn locks_in(body: Body) -> Locks {
    match body {
        Body::Locks(locks) => locks,
        other => panic!("{other:?}"),
    }
}

fn locks_of(mount: &Mount) -> Locks {
    locks_in(client(mount).ask(&Ask::Locks { inode: None }).unwrap().body)
}

/// The program as root.
fn owltmp(arguments: &[&str], path: &Path) -> Output {
    Command::new(OWLTMP).args(arguments).arg(path).output().unwrap()
}

/// What a command prints with `--json`, a line.
fn answer_of(output: &Output) -> Body {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Answer = serde_json::from_str(&said).unwrap();
    answer.body
}

fn status_of(output: &Output) -> Status {
    match answer_of(output) {
        Body::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

/// A program as one of our users, with a runtime directory.
fn command_of(who: Identity, runtime: Option<&Path>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let (uid, gid) = (who.uid.to_string(), who.gid.to_string());
    command
        .args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "--"])
        .arg(program);
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    command.envs(runtime.map(|runtime| ("XDG_RUNTIME_DIR", runtime)));
    command.current_dir("/");
    command
}
