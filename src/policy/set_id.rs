//! What is left of set-id bits when somebody changes a file.

use super::mandatory::is_marked;
use crate::types::Mandatory;
use crate::types::attr::{S_ISGID, S_ISUID};

/// What stays of set-id bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// All of them: the caller holds CAP_FSETID.
    All,
    /// Set-group-id without group-execute, which is no privilege but the mark of mandatory locking.
    Mark,
    /// None.
    Nothing,
}

/// What somebody's change of a file leaves. `capable` tells whether he holds CAP_FSETID, `in_group` whether he is of the file's group.
///
/// The mark stays whoever writes, as it protects the file (semantics 5.8). Where locks are not mandatory it goes as on tmpfs, where
/// somebody outside the group ends it (`setattr_should_drop_sgid`).
pub fn kept(mandatory: Mandatory, perm: u32, capable: impl FnOnce() -> bool, in_group: impl FnOnce() -> bool) -> Keeps {
    if !at_stake(perm) || capable() {
        return Keeps::All;
    }
    match mandatory {
        Mandatory::Off if is_marked(perm) && !in_group() => Keeps::Nothing,
        _ => Keeps::Mark,
    }
}

/// The permission bits left once a file was written, truncated or given away.
///
/// Threat: a set-user-id program that others may write would run their code as its owner.
pub fn after_change(perm: u32, keeps: Keeps) -> u32 {
    match keeps {
        Keeps::All => perm,
        Keeps::Mark if is_marked(perm) => perm & !S_ISUID,
        Keeps::Mark | Keeps::Nothing => perm & !(S_ISUID | S_ISGID),
    }
}

/// Whether a change may take something away.
pub fn at_stake(perm: u32) -> bool {
    after_change(perm, Keeps::Nothing) != perm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_go_and_the_mark_stays() {
        let rows = [
            (0o6755, 0o755, 0o755),
            (0o2775, 0o775, 0o775),
            (0o4644, 0o644, 0o644),
            (0o2666, 0o2666, 0o666),
            (0o6666, 0o2666, 0o666),
            (0o644, 0o644, 0o644),
        ];
        for (perm, with_mark, without) in rows {
            assert_eq!(after_change(perm, Keeps::All), perm);
            assert_eq!(after_change(perm, Keeps::Mark), with_mark, "{perm:o}");
            assert_eq!(after_change(perm, Keeps::Nothing), without, "{perm:o}");
            assert_eq!(at_stake(perm), perm != without);
        }
    }

    #[test]
    fn only_where_locks_bind_nobody_does_an_outsider_end_the_mark() {
        let kept = |mandatory, perm, in_group| kept(mandatory, perm, || false, || in_group);
        for mandatory in [Mandatory::Marked, Mandatory::Full, Mandatory::All] {
            assert_eq!(kept(mandatory, 0o2666, false), Keeps::Mark);
        }
        assert_eq!(kept(Mandatory::Off, 0o2666, false), Keeps::Nothing);
        assert_eq!(kept(Mandatory::Off, 0o2666, true), Keeps::Mark);
        assert_eq!(kept(Mandatory::Off, 0o2677, true), Keeps::Mark);
        assert_eq!(kept(Mandatory::Off, 0o666, false), Keeps::All);
    }
}
