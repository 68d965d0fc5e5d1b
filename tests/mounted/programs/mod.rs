//! Real programs with their temporary directory on the mount, each in a test. A program that is not there is a failure that
//! names its Debian package: tests/setup.sh installs all of them.

use std::path::Path;

use crate::common::Mount;
use crate::shell::{self, Need};

mod archive;
mod build;
mod database;
mod lockfiles;
mod python;
mod sandbox;
mod sockets;
mod sticky;
mod text;
mod version;

/// Runs a script in a mount of its own and returns what it said.
fn on_mount(needs: &[Need], script: &str) -> String {
    let mount = Mount::new("");
    shell::script(mount.path(), needs, script)
}

/// Runs a script on tmpfs first, then on the filesystem under test, and returns what it said there: for scripts whose
/// program may dislike this machine, so that a failure is ours only if tmpfs does not share it.
fn on_both(needs: &[Need], script: &str) -> String {
    let reference = Mount::tmpfs("");
    shell::script(reference.path(), needs, script);
    on_mount(needs, script)
}

/// What a line that starts with `key=` says after it.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no line {key}= in:\n{text}"))
}

/// Text files that scripts read: made outside the mount under test.
fn write(dir: &Path, name: &str, text: &str) -> String {
    let file = dir.join(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}
