//! Locks on ranges of bytes, and who waits for whom. Knows owners; knows neither files nor system calls.
//!
//! | file | owns |
//! |---|---|
//! | range.rs, held.rs | the words: ranges, kinds, owners, locks |
//! | runs.rs, index.rs, table.rs | what is held on one file |
//! | purse.rs | how many locks a user holds |
//! | queue.rs, pass.rs | who waits on one file, and whose turn it is |
//! | waits.rs, unmet.rs | who waits for whom, over all files |
//! | cost.rs | tests of what it costs |
//! | told.rs, report.rs | what is told to people, and locks broken for them |
//! | file.rs, woken.rs | all of it under its lock, and what is done after that is dropped |
//!
//! The graph of waits is locked before the locks of a file; only who holds the graph ever holds those of two files.

#[cfg(test)]
mod cost;
mod file;
mod held;
mod index;
mod pass;
mod purse;
mod queue;
mod range;
mod report;
mod runs;
mod table;
mod told;
mod unmet;
mod waits;
mod woken;

pub use file::{FileLocks, Locked, Park, Performed, Queued, Stops, Transfer};
pub use held::{Access, Held, Kind, Lock, Own, Owner, Request};
pub use pass::MayGrant;
pub use purse::{MAX_OF_USER, Purse, Purses};
pub use queue::{Ticket, Wake};
pub use range::Range;
pub use report::{Broken, Waited};
pub use table::{MAX_OF_FILE, MAX_OF_OWNER, Table};
pub use waits::Waits;
pub use woken::Woken;
