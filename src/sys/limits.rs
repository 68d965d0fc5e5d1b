//! The limits a daemon runs under.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};

use super::host::sysctl;

/// Raises the number of descriptors as far as it goes: contents of files are descriptors. A failure leaves what was
/// there, which is no error: running out of descriptors is ENFILE for the call that needs one (semantics 6.3).
pub fn raise_open_files() {
    raise(Resource::RLIMIT_NOFILE, sysctl("fs/nr_open").unwrap_or(0));
}

/// How many descriptors this process may have.
pub fn open_files() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    usize::try_from(soft).unwrap_or(usize::MAX)
}

/// Lets go of limits that were meant for the programs of whoever started us: on the size of files (it would cut the files
/// of all users), on CPU time (it would kill the daemon in the end) and, as far as the hard limit goes, on memory (`size=`
/// and `nr_inodes=` say what we may use; a hard limit is taken as meant).
pub fn leave_limits_of_starter() {
    raise(Resource::RLIMIT_FSIZE, RLIM_INFINITY);
    raise(Resource::RLIMIT_CPU, RLIM_INFINITY);
    raise(Resource::RLIMIT_AS, 0);
    raise(Resource::RLIMIT_DATA, 0);
}

/// Raises a limit to `most`, or if that may not be, to the hard limit, which only CAP_SYS_RESOURCE can go past.
fn raise(resource: Resource, most: rlim_t) {
    let Ok((_, hard)) = getrlimit(resource) else {
        return;
    };
    let most = most.max(hard);
    if setrlimit(resource, most, most).is_err() {
        let _ = setrlimit(resource, hard, hard);
    }
}

/// No core dumps: they would hold everybody's files, and could be written below the mount (semantics 6.4). A limit of 0
/// stops files only, and the kernel still hands the dump to a program that `core_pattern` may name; 1 stops
/// both (fs/coredump.c).
pub fn forbid_core_dumps() {
    if setrlimit(Resource::RLIMIT_CORE, 1, 1).is_err() {
        // The hard limit is 0 already.
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    }
}
