//! Tests on real mounts, by real users.

mod commands;
mod program;
mod run;
mod signals;
