//! The words of the protocol for what the kernel asked for.

use serde::{Deserialize, Serialize};

/// What the kernel asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Now, in milliseconds since 1970.
    pub time_ms: u64,
    /// How long it has been mounted.
    pub uptime_ms: u64,
    /// Requests that wait for their answer and keep no worker.
    pub parked: u64,
    /// Each worker's.
    pub workers: Vec<Worker>,
    /// The end of each class of time, in nanoseconds; the last class has none, so there is one more class than ends.
    pub class_ends_ns: Vec<u64>,
    /// Each kind's; those of which there was none are absent.
    pub requests: Vec<Requests>,
}

/// What one worker has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Requests.
    pub count: u64,
    /// How long it was at them, in nanoseconds.
    pub busy_ns: u64,
}

/// What there was of one kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Its name in fuse.h.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// How long workers were at them altogether, in nanoseconds.
    pub busy_ns: u64,
    /// How many of them took how long.
    pub classes: Vec<u64>,
}
