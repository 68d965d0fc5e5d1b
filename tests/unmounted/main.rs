//! Tests without a mount.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod options;
