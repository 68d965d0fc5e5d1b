//! Tests on real mounts, by real users.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod commands;
mod program;
mod run;
mod signals;
