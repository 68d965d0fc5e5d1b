//! Tests of a real mount: every one makes its own, drives it as programs do, and leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;
mod fsx;
mod pjdfstest;
mod programs;
mod shell;
