//! System calls, and the only place for unsafe code: every block with the reason why it is sound. Knows no filesystem.

pub mod device;
pub mod memfd;
pub mod memory;
pub mod proc;
