//! The conversation with the kernel: wire structs, decode, encode, session and worker loop, interrupts,
//! notifications. Decides nothing about meaning.

pub mod session;

pub use session::{Negotiator, Server, serve};
