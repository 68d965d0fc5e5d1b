//! owltmp: a FUSE filesystem to mount in place of a temporary directory. (Map to follow.)

pub mod cli;
pub mod fuse;
pub mod mount;
pub mod ops;
pub mod sys;
pub mod types;
