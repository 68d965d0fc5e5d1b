//! Which record locks bind whom: the mark, and when a lock may be granted.

use crate::types::Mandatory;
use crate::types::attr::{S_ISGID, S_IXGRP};

/// Whether permission bits are those of a marked file: set-group-id without group-execute (System V).
pub fn is_marked(perm: u32) -> bool {
    perm & S_ISGID != 0 && perm & S_IXGRP == 0
}

/// Whether the locks on a regular file bind the reads and writes of others (semantics 5.1).
pub fn counts_as_marked(mandatory: Mandatory, perm: u32) -> bool {
    match mandatory {
        Mandatory::Off => false,
        Mandatory::Marked | Mandatory::Full => is_marked(perm),
        Mandatory::All => true,
    }
}

/// The open files of a regular file that matter to whoever wants to lock it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFiles {
    /// Those whose reads and writes never come to us.
    pub unseen: u32,
    /// Those whose reads and writes come to us, and whose mappings do not.
    pub checked: u32,
}

/// Whether a record lock on a regular file can be kept.
///
/// Threat: a program that locks a marked file believes that nobody reads or writes it. A descriptor from before the mark does,
/// and nothing can revoke it; so the lock is refused until it is closed (semantics 5.6). With `mand=full` reads and writes
/// through old descriptors obey, and their mappings are immune by promise (semantics 5.5).
pub fn may_lock(mandatory: Mandatory, perm: u32, open: OpenFiles) -> bool {
    !counts_as_marked(mandatory, perm) || (open.unseen == 0 && (open.checked == 0 || mandatory != Mandatory::Marked))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: [Mandatory; 4] = [Mandatory::Off, Mandatory::Marked, Mandatory::Full, Mandatory::All];

    /// The rows of "Candidate marking" as a real kernel answered them.
    #[test]
    fn the_mark_is_set_group_id_without_group_execute() {
        for perm in [
            0o2666, 0o2660, 0o2600, 0o2000, 0o6666, 0o3666, 0o2766, 0o2667, 0o2606, 0o2644,
        ] {
            assert!(is_marked(perm), "{perm:o}");
        }
        for perm in [0o0666, 0o0676, 0o4666, 0o1666, 0o2676, 0o2677, 0o2670, 0o2610] {
            assert!(!is_marked(perm), "{perm:o}");
        }
    }

    #[test]
    fn the_option_decides_which_files_count() {
        let counts = |perm| SETTINGS.map(|mandatory| counts_as_marked(mandatory, perm));
        assert_eq!(counts(0o2666), [false, true, true, true]);
        assert_eq!(counts(0o666), [false, false, false, true]);
    }

    #[test]
    fn a_lock_that_cannot_be_kept_is_refused() {
        let may = |perm, unseen, checked| {
            let open = OpenFiles { unseen, checked };
            SETTINGS.map(|mandatory| may_lock(mandatory, perm, open))
        };
        assert_eq!(may(0o2666, 0, 0), [true; 4]);
        assert_eq!(may(0o2666, 1, 0), [true, false, false, false]);
        assert_eq!(may(0o2666, 0, 1), [true, false, true, true]);
        assert_eq!(may(0o666, 1, 1), [true, true, true, false]);
    }
}
