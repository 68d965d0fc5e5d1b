//! The scripts, units and packages around the program, each in a machine of its own (`machine.sh`): installed, used and removed
//! as their documents say. They need root.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod containers;
mod docs;
mod helper;
mod install;
mod machine;
mod pam;
mod scripts;
#[allow(dead_code)]
#[path = "../mounted/shell.rs"]
mod shell;
mod systemd;
