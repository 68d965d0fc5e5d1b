//! Everything that can be tested without a mount: contents, namespace, operations, decoding, options.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation
)]

mod cleaner;
mod compare;
mod content;
mod decode;
mod direct;
mod entries;
mod fake;
mod locks;
mod options;
mod parking;
mod races;
#[allow(dead_code, reason = "shared with tests that use more of it")]
#[path = "../common/rng.rs"]
mod rng;
mod sticky;
mod tree;
mod users;
