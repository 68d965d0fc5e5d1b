//! What the rules for sticky directories have in common: the facts about a directory, and the verdict.

use crate::types::attr::S_ISVTX;
use crate::types::{Enforcement, Errno};

/// What a rule wants to know of a directory that holds a name of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Permission bits of the directory.
    pub perm: u32,
    /// Its owner.
    pub uid: u32,
}

impl Home {
    /// A sticky directory of somebody else than `owner`, the object's owner: where he can put what others did not expect.
    pub fn is_sticky_of_another(self, owner: u32) -> bool {
        self.perm & S_ISVTX != 0 && self.uid != owner
    }

    /// The same where others than the directory's owner can make names.
    pub fn is_shared_of_another(self, owner: u32) -> bool {
        self.is_sticky_of_another(owner) && self.perm & 0o022 != 0
    }
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes ahead.
    Allow,
    /// It goes ahead, and an event says that the rule would have refused it.
    Note,
    /// It is refused with an errno, and an event says so.
    Refuse(Errno),
}

impl Verdict {
    /// The verdict on a forbidden step.
    pub fn forbidden(enforcement: Enforcement, errno: Errno) -> Verdict {
        match enforcement {
            Enforcement::Off => Verdict::Allow,
            Enforcement::Log => Verdict::Note,
            Enforcement::On | Enforcement::Strict => Verdict::Refuse(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_told_apart() {
        let home = |perm, uid| Home { perm, uid };
        assert!(home(0o1755, 0).is_sticky_of_another(7));
        assert!(!home(0o0777, 0).is_sticky_of_another(7));
        assert!(!home(0o1777, 7).is_sticky_of_another(7));
        assert!(!home(0o1755, 0).is_shared_of_another(7));
        assert!(home(0o1770, 0).is_shared_of_another(7));
        assert!(home(0o1702, 0).is_shared_of_another(7));
    }

    #[test]
    fn enforcement_decides_what_is_done() {
        let verdict = |enforcement| Verdict::forbidden(enforcement, Errno::EACCES);
        assert_eq!(verdict(Enforcement::Off), Verdict::Allow);
        assert_eq!(verdict(Enforcement::Log), Verdict::Note);
        assert_eq!(verdict(Enforcement::On), Verdict::Refuse(Errno::EACCES));
        assert_eq!(verdict(Enforcement::Strict), Verdict::Refuse(Errno::EACCES));
    }
}
