//! What the filesystem has and uses, as statfs(2) shows it.

use super::Filesystem;
use crate::tree::FOR_A_FIGURE;
use crate::types::attr::PAGE_SIZE;
use crate::types::name::NAME_MAX;

/// The figures of statfs(2). As on tmpfs a total of 0 says that there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statfs {
    /// Unit of the blocks, in bytes.
    pub block_size: u64,
    /// Blocks there are.
    pub blocks: u64,
    /// Blocks that are free.
    pub free_blocks: u64,
    /// Inodes there can be.
    pub inodes: u64,
    /// Inodes that can still be made.
    pub free_inodes: u64,
    /// The longest name, in bytes.
    pub name_max: usize,
}

impl Filesystem {
    /// The figures now, if possible without what was just unlinked and closed.
    pub fn statfs(&self) -> Statfs {
        if let Some(mut patience) = self.tree.patience(FOR_A_FIGURE) {
            while patience.again() {}
        }
        let usage = self.tree.limits.usage();
        let blocks = usage.max_pages.unwrap_or(0);
        let inodes = usage.max_inodes.unwrap_or(0);
        Statfs {
            block_size: PAGE_SIZE,
            blocks,
            free_blocks: blocks.saturating_sub(usage.used_pages),
            inodes,
            free_inodes: inodes.saturating_sub(usage.used_inodes),
            name_max: NAME_MAX,
        }
    }
}
