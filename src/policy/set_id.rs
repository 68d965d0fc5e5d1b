//! What is left of set-id bits when somebody changes a file.

use crate::types::attr::{S_ISGID, S_ISUID, S_IXGRP};

/// The permission bits left once a file was written, truncated or given away.
///
/// Threat: a set-user-id program that others may write would run their code as its owner.
///
/// Set-user-id goes. Set-group-id goes where group-execute stands beside it; without that it is no privilege but the mark
/// of mandatory locking, and stays (semantics 5.8; there Linux differs and drops it for writers outside the group).
pub fn after_change(perm: u32) -> u32 {
    let perm = perm & !S_ISUID;
    if perm & S_IXGRP != 0 { perm & !S_ISGID } else { perm }
}

/// Whether [`after_change`] would take something away.
pub fn at_stake(perm: u32) -> bool {
    after_change(perm) != perm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_go_and_the_mark_stays() {
        assert_eq!(after_change(0o6755), 0o755);
        assert_eq!(after_change(0o2775), 0o775);
        assert_eq!(after_change(0o4644), 0o644);
        assert_eq!(after_change(0o2666), 0o2666);
        assert_eq!(after_change(0o6666), 0o2666);
        assert!(!at_stake(0o2666) && at_stake(0o4666));
    }
}
