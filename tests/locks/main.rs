//! Locks on a mounted owltmp, with a real kernel, real users and real processes. They need root.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation
)]
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "../mounted/shell.rs"]
mod shell;

mod attacks;
mod mandatory;
mod records;
