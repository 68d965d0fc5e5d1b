//! Tests of a mounted owltmp, with a real kernel, real users and real processes. They need root.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation
)]
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss)]

#[path = "../common/mod.rs"]
mod common;

mod attacks;
mod cleaner;
mod commands;
mod compare;
mod control;
mod differential;
mod execs;
mod fast;
mod fsx;
mod hostile;
mod io_modes;
mod lock_command;
mod old_kernels;
mod owners;
mod parking;
mod pjdfstest;
mod posix_attr;
mod posix_data;
mod posix_ipc;
mod posix_limits;
mod posix_names;
mod posix_open;
mod posix_readdir;
mod posix_rename;
mod posix_xattr;
mod program;
mod programs;
mod races;
mod requests;
mod run;
mod scale;
mod shell;
mod signals;
mod sticky;
mod sticky_matrix;
mod stuck;
mod top;
mod users;
