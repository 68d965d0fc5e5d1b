//! Following symlinks (semantics 3.2).

use super::verdict::Verdict;
use crate::types::{Enforcement, Errno};

/// A READLINK: somebody follows a symlink, or reads it.
#[derive(Clone, Copy, Debug)]
pub struct Follow {
    /// How the rule is enforced.
    pub enforcement: Enforcement,
    /// The symlink's owner.
    pub owner: u32,
    /// The caller's fsuid.
    pub fsuid: u32,
    /// Whether a sticky directory of somebody else than the symlink's owner holds a name of it (or held the one by which
    /// the caller may have found it).
    pub in_sticky_of_another: bool,
}

/// Whether the symlink's path may be handed out. `is_read` tells whether the caller provably reads the link and does not
/// follow it; it is asked only where that decides.
///
/// Threat: in a directory where everybody may make names, an attacker guesses a name that a victim will open, and makes it a
/// symlink to a file that only the victim may write. Or a directory on the victim's way, as a middle component.
///
/// Mirrors `may_follow_link` of fs/namei.c (from Openwall and owlsm), but for every sticky directory, world-writable or not,
/// for every component, and for root.
pub fn judge(follow: Follow, is_read: impl FnOnce() -> bool) -> Verdict {
    let Follow { enforcement, .. } = follow;
    // Allowed if there is no such rule.
    if enforcement == Enforcement::Off {
        return Verdict::Allow;
    }
    // Allowed if it is the caller's own: nobody tricks himself.
    if follow.owner == follow.fsuid {
        return Verdict::Allow;
    }
    // Allowed if no sticky directory holds it but those of its owner, who could replace anything there anyway.
    if !follow.in_sticky_of_another {
        return Verdict::Allow;
    }
    // Allowed if it is only read: a listing must be able to show where an attacker's link points to.
    if enforcement != Enforcement::Strict && is_read() {
        return Verdict::Allow;
    }
    Verdict::forbidden(enforcement, Errno::EACCES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: Follow = Follow {
        enforcement: Enforcement::On,
        owner: 1000,
        fsuid: 0,
        in_sticky_of_another: true,
    };

    fn never() -> bool {
        panic!("the answer is known")
    }

    #[test]
    fn a_foreign_symlink_is_read_and_not_followed() {
        assert_eq!(judge(FOREIGN, || false), Verdict::Refuse(Errno::EACCES));
        assert_eq!(judge(FOREIGN, || true), Verdict::Allow);
    }

    #[test]
    fn nobody_is_looked_at_where_the_answer_is_known() {
        let own = Follow { fsuid: 1000, ..FOREIGN };
        let elsewhere = Follow {
            in_sticky_of_another: false,
            ..FOREIGN
        };
        let off = Follow {
            enforcement: Enforcement::Off,
            ..FOREIGN
        };
        for follow in [own, elsewhere, off] {
            assert_eq!(judge(follow, never), Verdict::Allow);
            let enforcement = if follow.enforcement == Enforcement::Off {
                Enforcement::Off
            } else {
                Enforcement::Strict
            };
            assert_eq!(judge(Follow { enforcement, ..follow }, never), Verdict::Allow);
        }
    }

    #[test]
    fn strict_refuses_the_read_too_and_log_lets_all_pass() {
        let with = |enforcement| Follow { enforcement, ..FOREIGN };
        assert_eq!(judge(with(Enforcement::Strict), never), Verdict::Refuse(Errno::EACCES));
        assert_eq!(judge(with(Enforcement::Log), || false), Verdict::Note);
        assert_eq!(judge(with(Enforcement::Log), || true), Verdict::Allow);
    }
}
