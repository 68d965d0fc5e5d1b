//! The administrator's socket: what may be asked of a mounted filesystem from outside of it, by whom, and where. The
//! protocol is described in docs/control.md.
//!
//! ```text
//! cli status, locks, ... ── client ══ socket ══ server ─┬─ peer        lines in, lines out, bounded
//!                              └─ place ─┘    └─ place  └─ answers     what the filesystem tells, as far as rights say
//! ```

mod answers;
mod cleaned;
mod cleaning;
pub mod client;
mod fit;
mod lock_words;
mod peer;
mod place;
pub mod protocol;
mod rights;
mod server;
mod statistics;

pub use answers::{About, World};
pub use server::Control;
