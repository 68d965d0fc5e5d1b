//! Opening what somebody else has put where the caller wanted to make a file (semantics 3.4).

use super::verdict::Verdict;
use crate::types::{Enforcement, Errno};

/// An open of an existing regular file or FIFO.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// How the rule is enforced.
    pub enforcement: Enforcement,
    /// The object's owner.
    pub owner: u32,
    /// The caller's fsuid.
    pub fsuid: u32,
    /// Whether a sticky directory of somebody else than the object's owner, in which others than that one's owner can make
    /// names, holds the object (or held the name by which the caller may have found it).
    pub in_shared_of_another: bool,
}

/// Whether the object may be opened. `would_create` tells whether the caller would have made a file had there been none
/// (O_CREAT without O_EXCL), or whether that cannot be seen; it is asked only where that decides.
///
/// Threat: a victim makes a file with a name that an attacker can guess. The attacker makes it first, leaves it open to the
/// victim, and then owns what the victim believes to be his own: he reads secrets, or changes data before it is read back.
/// With a FIFO he feeds the victim, or lets him wait.
///
/// Mirrors `may_create_in_sticky` of fs/namei.c (`fs.protected_regular`, `fs.protected_fifos`) at its strictest.
pub fn judge(open: Open, would_create: impl FnOnce() -> bool) -> Verdict {
    // Allowed if there is no such rule, or if it is the caller's own.
    if open.enforcement == Enforcement::Off || open.owner == open.fsuid {
        return Verdict::Allow;
    }
    // Allowed if nobody could have squatted there, or if the directory's owner has made it.
    if !open.in_shared_of_another {
        return Verdict::Allow;
    }
    // Allowed if the caller knows that it exists: no file of his own was to be made.
    if !would_create() {
        return Verdict::Allow;
    }
    Verdict::forbidden(open.enforcement, Errno::EACCES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUATTED: Open = Open {
        enforcement: Enforcement::On,
        owner: 1000,
        fsuid: 0,
        in_shared_of_another: true,
    };

    #[test]
    fn who_wanted_a_file_of_his_own_gets_none_of_others() {
        assert_eq!(judge(SQUATTED, || true), Verdict::Refuse(Errno::EACCES));
        assert_eq!(judge(SQUATTED, || false), Verdict::Allow);
    }

    #[test]
    fn nobody_is_looked_at_where_the_answer_is_known() {
        let own = Open {
            fsuid: 1000,
            ..SQUATTED
        };
        let elsewhere = Open {
            in_shared_of_another: false,
            ..SQUATTED
        };
        let off = Open {
            enforcement: Enforcement::Off,
            ..SQUATTED
        };
        for open in [own, elsewhere, off] {
            assert_eq!(judge(open, || panic!("the answer is known")), Verdict::Allow);
        }
    }
}
