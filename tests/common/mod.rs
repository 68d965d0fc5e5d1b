//! A mount for a test, unmounted in Drop. Small stand-in until the full harness takes its place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A filesystem mounted over a fresh directory of its own, gone when dropped.
pub struct Mount {
    dir: PathBuf,
    tmpfs: bool,
}

impl Mount {
    /// The filesystem under test: owltmp, or tmpfs with OWLTMP_TEST_SELF=tmpfs.
    pub fn new(options: &str) -> Mount {
        let tmpfs = std::env::var("OWLTMP_TEST_SELF").is_ok_and(|it| it == "tmpfs");
        if tmpfs {
            Mount::tmpfs(options)
        } else {
            Mount::owltmp(options)
        }
    }

    /// The reference.
    pub fn tmpfs(options: &str) -> Mount {
        let mount = Mount {
            dir: fresh_directory(),
            tmpfs: true,
        };
        let options = join("nosuid,nodev", options);
        check(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
                .arg(&mount.dir),
        );
        mount
    }

    fn owltmp(options: &str) -> Mount {
        let mount = Mount {
            dir: fresh_directory(),
            tmpfs: false,
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_owltmp"));
        command.arg("mount");
        if !options.is_empty() {
            command.args(["-o", options]);
        }
        check(command.arg(&mount.dir));
        mount
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut command = if self.tmpfs {
            Command::new("umount")
        } else {
            let mut own = Command::new(env!("CARGO_BIN_EXE_owltmp"));
            own.arg("umount");
            own
        };
        let clean = command.arg(&self.dir).status().is_ok_and(|status| status.success());
        if !clean {
            let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
        }
        let removed = fs::remove_dir(&self.dir);
        if !std::thread::panicking() {
            assert!(
                clean && removed.is_ok(),
                "{} was still in use at the end of the test",
                self.dir.display()
            );
        }
    }
}

fn fresh_directory() -> PathBuf {
    let dir = tempfile::Builder::new()
        .prefix("owltmp-test.")
        .tempdir()
        .unwrap()
        .keep();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn join(first: &str, second: &str) -> String {
    if second.is_empty() {
        first.to_owned()
    } else {
        format!("{first},{second}")
    }
}

fn check(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
