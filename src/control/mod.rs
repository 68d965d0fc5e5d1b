//! The administrator's socket: what may be asked of a mounted filesystem from outside of it, by whom, and where. The
//! protocol is described in docs/control.md.
//!
//! ```text
//! cli status, locks, ... ── client ══ socket ══ server ── answers ── ops::report
//!                              └─ place ─┘         └─ peer, rights
//! ```

pub mod protocol;
