//! The limits a daemon runs under.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::host::sysctl;

/// Raises the number of descriptors as far as it goes: contents of files are descriptors. A failure leaves what was
/// there, which is no error: running out of descriptors is ENFILE for the call that needs one (semantics 6.3).
pub fn raise_open_files() {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    // Only CAP_SYS_RESOURCE can go past the hard limit.
    let most = sysctl("fs/nr_open").unwrap_or(hard).max(hard);
    if setrlimit(Resource::RLIMIT_NOFILE, most, most).is_err() {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// No core dumps: they would hold everybody's files, and could be written below the mount (semantics 6.4).
pub fn forbid_core_dumps() {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}
