//! owltmp: a FUSE filesystem to mount in place of a temporary directory. (Map to follow.)

pub mod content;
pub mod fuse;
pub mod ops;
pub mod policy;
pub mod sync;
pub mod sys;
pub mod tree;
pub mod types;
