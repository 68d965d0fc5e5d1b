//! The bytes of regular files, and what they may use. Knows pages and limits; knows neither names nor callers.

mod allocate;
mod books;
mod disposal;
mod division;
mod file;
mod limits;
mod moving;
mod regulated;
mod store;
mod stored;
mod stores;
mod users;

pub use allocate::{Allocation, LongAllocation};
pub use file::{Content, MAX_FILE_SIZE, Whence};
pub use limits::{INODE_SPACE, InodeCharge, Limits, PageCharge, Usage};
pub use store::Store;
pub use stored::Changes;
pub use users::Account;
