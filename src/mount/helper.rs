//! fusermount3, the set-user-id program through which an ordinary user mounts and unmounts.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::Error;
use super::options::MountOptions;
use super::place::Detach;
use crate::sys::{process, signals, socket};

const PROGRAM: &str = "fusermount3";

/// Mounts at `place`; the device descriptor comes back over a socket.
pub fn mount(place: &Path, options: &MountOptions) -> Result<OwnedFd, Error> {
    let (ours, theirs) = UnixStream::pair().map_err(Error::system("socketpair"))?;
    process::let_inherit(&theirs).map_err(Error::system("fcntl"))?;
    let mut command = program()?;
    command.arg("-o").arg(options.helper_options()).arg("--").arg(place);
    command.env("_FUSE_COMMFD", theirs.as_raw_fd().to_string());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = command.spawn().map_err(not_started)?;
    drop(theirs);
    let device = socket::receive_descriptor(&ours).map_err(Error::system("recvmsg"))?;
    drop(ours);
    let output = child.wait_with_output().map_err(Error::system(PROGRAM))?;
    device.ok_or_else(|| refusal(&output.stderr))
}

/// Unmounts what is at `path`.
pub fn unmount(path: &Path, detach: Detach) -> Result<(), Error> {
    let mut command = program()?;
    command.arg("-u");
    if detach == Detach::Now {
        command.arg("-z");
    }
    command.arg("--").arg(path).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().map_err(not_started)?;
    if output.status.success() {
        return Ok(());
    }
    Err(unmount_refusal(path, &output.stderr))
}

/// The helper, whose exit status we will want.
fn program() -> Result<Command, Error> {
    signals::expect_children().map_err(Error::system("signals"))?;
    Ok(Command::new(PROGRAM))
}

/// Why it did not unmount: the two reasons there usually are, or its own words.
fn unmount_refusal(path: &Path, stderr: &[u8]) -> Error {
    let text = String::from_utf8_lossy(stderr);
    if text.contains("busy") {
        return Error::Busy(path.to_owned());
    }
    // It looks only for mounts of the user's own.
    if text.contains("not found in /etc/mtab") {
        return Error::NotYours(path.to_owned());
    }
    refusal(stderr)
}

fn not_started(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::NoHelper,
        _ => Error::System(PROGRAM, error),
    }
}

/// What the helper printed, as an error: its first line, without its name.
fn refusal(stderr: &[u8]) -> Error {
    let text = String::from_utf8_lossy(stderr);
    if text.contains("user_allow_other") {
        return Error::AllowOtherRefused;
    }
    if text.contains("failed to open /dev/fuse: Permission denied") {
        return Error::DeviceRefused(std::io::Error::from_raw_os_error(libc::EACCES));
    }
    let line = text.lines().next().unwrap_or("it ended without a word");
    Error::HelperRefused(line.trim_start_matches("fusermount3: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helpers_words_become_one_line() {
        let error = refusal(b"fusermount3: user has no write access to mountpoint /x\nmore\n");
        assert_eq!(
            error.to_string(),
            "fusermount3: user has no write access to mountpoint /x"
        );
        let error =
            refusal(b"fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf\n");
        assert!(matches!(error, Error::AllowOtherRefused));
        let error = refusal(b"fusermount3: failed to open /dev/fuse: Permission denied\n");
        assert!(matches!(error, Error::DeviceRefused(_)));
        assert!(matches!(refusal(b""), Error::HelperRefused(_)));
        let error = unmount_refusal("/x".as_ref(), b"fusermount3: entry for /x not found in /etc/mtab\n");
        assert!(matches!(error, Error::NotYours(_)));
        let error = refusal(b"fusermount3: bad mount point /\x1b[31m: No such file or directory\n");
        assert!(!error.to_string().contains('\x1b'));
    }
}
