//! What the filesystem has and uses, as statfs(2) shows it.

use super::Filesystem;
use crate::tree::FOR_A_FIGURE;
use crate::types::Caller;
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
    /// Waits for a moment, if need be, until what was just unlinked and closed is gone.
    pub(super) fn let_go(&self) {
        if let Some(mut patience) = self.tree.patience(FOR_A_FIGURE) {
            while patience.again() {}
        }
    }

    /// The figures now, if possible without what was just unlinked and closed: what the caller can have, where there are limits
    /// for users.
    pub fn statfs(&self, caller: Caller) -> Statfs {
        self.let_go();
        let limits = &self.tree.limits;
        let (all, own) = (limits.usage(), limits.usage_of(caller.uid));
        let (blocks, free_blocks) = shown(
            (all.max_pages, all.used_pages),
            own.and_then(|own| Some((own.max_pages?, own.used_pages))),
        );
        let (inodes, free_inodes) = shown(
            (all.max_inodes, all.used_inodes),
            own.and_then(|own| Some((own.max_inodes?, own.used_inodes))),
        );
        Statfs {
            block_size: PAGE_SIZE,
            blocks,
            free_blocks,
            inodes,
            free_inodes,
            name_max: NAME_MAX,
        }
    }
}

/// What there is and what is free, by the limit of all and the use they make of it, and by those of one user: the lesser ones.
fn shown((limit, used): (Option<u64>, u64), own: Option<(u64, u64)>) -> (u64, u64) {
    let left = limit.map(|limit| (limit, limit.saturating_sub(used)));
    let own = own.map(|(limit, used)| (limit, limit.saturating_sub(used)));
    match (left, own) {
        (Some((total, free)), Some((own_total, own_free))) => (total.min(own_total), free.min(own_free)),
        (left, own) => left.or(own).unwrap_or((0, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lesser_limit_is_shown() {
        assert_eq!(shown((Some(100), 30), None), (100, 70));
        assert_eq!(shown((Some(100), 30), Some((40, 10))), (40, 30));
        assert_eq!(shown((Some(100), 95), Some((40, 10))), (40, 5));
        assert_eq!(shown((Some(100), 30), Some((400, 10))), (100, 70));
        assert_eq!(shown((None, 30), Some((40, 50))), (40, 0));
        assert_eq!(shown((None, 30), None), (0, 0), "no limit");
    }
}
