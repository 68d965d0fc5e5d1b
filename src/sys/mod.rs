//! System calls, and the only place for unsafe code: every block with the reason why it is sound. Knows no filesystem.

pub mod clock;
pub mod device;
pub mod holders;
pub mod host;
pub mod limits;
pub mod memfd;
pub mod memory;
pub mod mountinfo;
pub mod namespace;
pub mod proc;
pub mod process;
pub mod remote;
pub mod sched;
pub mod signals;
pub mod socket;
pub mod tmpfs;
