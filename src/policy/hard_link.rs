//! Hard links to the files of others (semantics 3.3).

use super::verdict::Verdict;
use crate::types::{Enforcement, Errno};

/// A LINK.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// How the rule is enforced.
    pub enforcement: Enforcement,
    /// The owner of what is to be linked.
    pub owner: u32,
    /// The caller's fsuid.
    pub fsuid: u32,
}

/// Whether somebody may give the object one more name. His real uid (`None` where it cannot be seen), and whether he holds
/// CAP_FOWNER in the daemon's user namespace, are looked up only where they decide.
///
/// Threat: an attacker gives a set-user-id program, a spool file or a lock of somebody else's a second name: the vulnerable
/// program survives its update, the file cannot be removed, and whoever trusts names in a directory of his works on it.
///
/// Mirrors `may_linkat` of fs/namei.c, but without its exception for files that the caller may read and write, and in every
/// directory.
pub fn judge(link: Link, real_uid: impl FnOnce() -> Option<u32>, has_fowner: impl FnOnce() -> bool) -> Verdict {
    // Allowed if there is no such rule, or if it is the caller's own.
    if link.enforcement == Enforcement::Off || link.owner == link.fsuid {
        return Verdict::Allow;
    }
    // Allowed if it belongs to the user who started the program, whatever that acts as; and if that is root.
    if real_uid().is_some_and(|uid| uid == link.owner || uid == 0) {
        return Verdict::Allow;
    }
    // Allowed if the caller counts as the owner of everything.
    if has_fowner() {
        return Verdict::Allow;
    }
    Verdict::forbidden(link.enforcement, Errno::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: Link = Link {
        enforcement: Enforcement::On,
        owner: 1000,
        fsuid: 1001,
    };

    fn judged(real_uid: Option<u32>, fowner: bool) -> Verdict {
        judge(FOREIGN, || real_uid, || fowner)
    }

    #[test]
    fn who_may_link() {
        assert_eq!(judged(Some(1001), false), Verdict::Refuse(Errno::EPERM));
        assert_eq!(judged(None, false), Verdict::Refuse(Errno::EPERM));
        assert_eq!(judged(Some(1000), false), Verdict::Allow);
        assert_eq!(judged(Some(0), false), Verdict::Allow);
        assert_eq!(judged(Some(1001), true), Verdict::Allow);
    }

    #[test]
    fn nobody_is_looked_at_where_the_answer_is_known() {
        let own = Link { fsuid: 1000, ..FOREIGN };
        let off = Link {
            enforcement: Enforcement::Off,
            ..FOREIGN
        };
        for link in [own, off] {
            let known = || panic!("the answer is known");
            assert_eq!(judge(link, known, || panic!("the answer is known")), Verdict::Allow);
        }
        let log = Link {
            enforcement: Enforcement::Log,
            ..FOREIGN
        };
        assert_eq!(judge(log, || None, || false), Verdict::Note);
    }
}
