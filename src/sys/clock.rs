//! The time that changes of files are given: the clock of the kernel's own filesystems.
//!
//! Those go by a clock that moves some hundred times a second, and by the exact one only where a file changes twice between
//! two such moves and somebody looked in between; after that no file anywhere gets an earlier time. Whoever takes
//! clock_gettime(2) instead is ahead of them: a file made later, on another filesystem, would be older (make(1) goes by that).

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use super::memfd;
use crate::types::Timestamp;

/// A file whose time of change the kernel sets to what "now" is to it; `None` where there was no descriptor for it.
static STAMPED: OnceLock<Option<File>> = OnceLock::new();

impl Timestamp {
    /// The time now, for a change. Later than what any earlier call returned (before Linux 6.13: not earlier).
    pub fn now() -> Timestamp {
        STAMPED
            .get_or_init(|| memfd::create().ok())
            .as_ref()
            .and_then(stamp)
            .unwrap_or_else(Timestamp::recent)
    }

    /// The time when the clock last moved, some milliseconds ago: to compare with, not to be remembered. Costs no system
    /// call.
    pub fn recent() -> Timestamp {
        // It fails for no clock that exists.
        clock_gettime(ClockId::CLOCK_REALTIME_COARSE)
            .map_or(Timestamp::default(), |now| timestamp(now.tv_sec(), now.tv_nsec()))
    }
}

/// The time since the machine was started, by a clock that nobody can set and that goes on while the machine sleeps.
pub fn since_boot() -> Duration {
    // It fails for no clock that exists.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Whoever stamps at the same moment may have its time: both are now.
fn stamp(file: &File) -> Option<Timestamp> {
    futimens(file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW).ok()?;
    let metadata = file.metadata().ok()?;
    Some(timestamp(metadata.ctime(), metadata.ctime_nsec()))
}

fn timestamp(secs: i64, nanos: i64) -> Timestamp {
    Timestamp {
        secs,
        nanos: u32::try_from(nanos).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_go_back_and_is_about_now() {
        let before = Timestamp::recent();
        let times: Vec<Timestamp> = (0..100).map(|_| Timestamp::now()).collect();
        assert!(before <= times[0] && times.is_sorted());
        assert!(times[99].secs - before.secs < 60);
    }
}
