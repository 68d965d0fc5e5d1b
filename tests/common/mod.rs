//! What every test of a mounted filesystem needs: a mount that cleans up after itself, callers with other identities,
//! processes of their own, and small safe wrappers. Knows nothing of what is being tested.
//!
//! `OWLTMP_TEST_SELF=tmpfs` mounts tmpfs wherever owltmp would be mounted: it checks the tests against the oracle.
#![allow(dead_code, unused_imports)]

pub mod actor;
pub mod call;
pub mod dir;
pub mod handle;
pub mod identity;
pub mod lock;
pub mod mandatory;
pub mod map;
pub mod mount;
pub mod perform;
pub mod raw;
pub mod rng;
pub mod sysctl;
pub mod uring;
pub mod watchdog;
pub mod xattr;

pub use actor::Actor;
pub use dir::Dir;
pub use identity::{Identity, as_user};
pub use mount::{Kind, Mount, both, both_with, each};
pub use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
pub use rustix::io::Errno;

use std::time::{Duration, Instant};

/// Waits until `ready` holds, looking often; panics with `what` after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(50);
    while !ready() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The number in an environment variable, or the default.
pub fn env_number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")),
        Err(_) => default,
    }
}
