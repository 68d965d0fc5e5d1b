//! owltmp: a FUSE filesystem to mount in place of a temporary directory, which enforces safe semantics by itself.
//!
//! The map. A file uses only layers with a smaller number, or its own folder; `tests/tidy.rs` sees to it.
//!
//! ```text
//! src/types/    0  vocabulary without behaviour: NodeId, Ino, Fh, Unique, Errno, Attr, Caller, Name, Settings, SystemCall, flags
//! src/sys/      1  the only unsafe: memfds, the clock, the FUSE device, /proc, processes, namespaces, signals, limits
//! src/sync.rs   1  every lock level of the program in order; debug builds panic on inversion
//! src/policy/   2  pure rules: facts in, verdict out. mod.rs has their table
//! src/lock/     2  byte-range locks: who holds what, who waits for whom. Knows owners, not files
//! src/events.rs 3  what the rules refused: bounded ring, limit per uid, escaping; followers
//! src/content/  3  the bytes of files: inline or a backing file; limits and accounting
//! src/tree/     4  the namespace in memory: inodes, entries with stable cookies, handles, renames, places of names
//! src/ops/      5  what a request means. mod.rs lists request -> function
//! src/fuse/     6  the conversation with the kernel: wire structs, decode, encode, workers, parked requests
//! src/clean/    6  ageing: walks the tree and has taken away what nobody touched for long, each name by one step of tree
//! src/control/  7  the administrator's socket: protocol, server, client
//! src/mount/    8  options, mounting, daemon, private namespaces, readiness, signals
//! src/cli/      9  the command line, one file per subcommand
//! ```
//!
//! `src/main.rs` stands above all of them: arguments in, text and an exit status out.

pub mod clean;
pub mod cli;
pub mod content;
pub mod control;
pub mod events;
pub mod fuse;
pub mod lock;
pub mod mount;
pub mod ops;
pub mod policy;
pub mod sync;
pub mod sys;
pub mod tree;
pub mod types;
