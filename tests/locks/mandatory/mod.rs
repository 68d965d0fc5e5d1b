//! Mandatory locks: record locks on marked files are enforced on the reads and writes of others. By semantics 5.

mod attacks;
mod hinder;
mod mapped;
mod nodes;
mod old;
mod options;
mod oracle;
mod polls;
mod race;
mod release;
mod splices;
mod stage;
mod storm;
mod textbook;
mod waiting;
