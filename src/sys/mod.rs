//! The system calls that need unsafe code or care of their own, behind safe functions. The only layer with unsafe
//! code.

pub mod host;
pub mod limits;
pub mod namespace;
pub mod process;
pub mod signals;
pub mod socket;
