//! The namespace in memory: inodes, directories, open handles. Every change of it is made by one function of `changes`,
//! `ageing`, `moves`, `ownership` or `handles`, each the whole change under one hold of the locks it needs. Knows no callers and no requests.
//!
//! Lock order (checked by [`crate::sync`]): the rename lock; one directory's entries, or several while the rename lock is
//! held; one file's content; one inode's attributes.

mod ageing;
mod census;
mod changes;
mod entries;
mod handles;
mod homecoming;
mod inode;
mod leaving;
mod moves;
mod nodes;
mod opened;
mod ownership;
mod places;
mod table;
mod warm;
mod xattrs;

pub use ageing::{Aged, Gone, Stage};
pub use changes::Seed;
pub use entries::{Entries, FIRST_COOKIE};
pub use handles::{Handle, Opening};
pub use inode::{Body, Inode, Locks, Meta, Passing};
pub use leaving::{FOR_A_FIGURE, FOR_SPACE, Patience};
pub use moves::Rename;
pub use opened::Opened;
pub use ownership::Charged;
pub use places::Places;
pub use table::Tree;
pub use xattrs::{Precondition, Xattrs};
