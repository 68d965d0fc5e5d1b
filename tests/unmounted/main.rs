//! Everything that can be tested without a mount: contents, namespace, operations, decoding, options.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation
)]

mod compare;
mod content;
mod decode;
mod direct;
mod entries;
mod fake;
mod options;
mod parking;
mod races;
mod sticky;
mod tree;
mod users;
