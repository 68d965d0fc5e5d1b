//! What a filesystem of ours costs: owltmp, tmpfs and other FUSE filesystems in one run, in turns, as a table, JSON and a chart.
//!
//! `cargo bench --bench compare`, as root; `-- --help` tells the options, docs/performance.md how to read the figures.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "compare/mod.rs"]
mod compare;

fn main() -> std::process::ExitCode {
    compare::main()
}
