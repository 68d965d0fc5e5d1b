//! owltmp: a FUSE filesystem to mount in place of a temporary directory. (Map to follow.)

pub mod fuse;
pub mod ops;
pub mod types;
