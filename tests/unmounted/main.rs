//! Tests without a mount.

mod options;
