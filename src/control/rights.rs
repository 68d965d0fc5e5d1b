//! Who asks, and what he may see and do: root and who made the mount all, others what is theirs.

use std::fs;
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::events::Actor;
use crate::ops::report::Whose;
use crate::sys::proc;

/// What the kernel shows for a uid that a user namespace has no number for (`overflowuid`).
const OVERFLOW_UID: u32 = 65534;

/// Who is at the other end of a connection, as the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// The user, in our user namespace.
    pub(super) uid: u32,
    /// The process, in our PID namespace; 0 where it is not in it.
    pub(super) pid: u32,
    /// Whether he may see and do all.
    pub(super) all: bool,
}

impl Who {
    /// Whose things he may see.
    pub(super) fn whose(self) -> Whose {
        match self.all {
            true => Whose::All,
            false => Whose::User(self.uid),
        }
    }

    /// For an event.
    pub(super) fn actor(self) -> Actor {
        let comm = proc::process_of_thread(self.pid).map(|(_, comm)| comm);
        Actor {
            uid: self.uid,
            pid: self.pid,
            comm: comm.unwrap_or_default(),
        }
    }
}

/// Knows who is who.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge {
    owner: u32,
    /// Every user there is has a number here.
    all_known: bool,
}

impl Judge {
    /// For a mount that `owner` made.
    pub(super) fn new(owner: u32) -> Judge {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        Judge {
            owner,
            all_known: is_full(&map),
        }
    }

    /// Who is at the other end; `None` where he has no number in our user namespace, and could be anybody.
    pub(super) fn who(self, stream: impl AsFd) -> Option<Who> {
        let told = getsockopt(&stream, PeerCredentials).ok()?;
        self.judge(told.uid(), u32::try_from(told.pid()).unwrap_or(0))
    }

    fn judge(self, uid: u32, pid: u32) -> Option<Who> {
        let known = self.all_known || uid != OVERFLOW_UID;
        known.then_some(Who {
            uid,
            pid,
            all: uid == 0 || uid == self.owner,
        })
    }
}

/// Whether a uid_map gives every user a number: `first here, first outside, count`.
fn is_full(map: &str) -> bool {
    let counts = map.lines().filter_map(|line| line.split_ascii_whitespace().nth(2));
    counts.filter_map(|count| count.parse::<u64>().ok()).sum::<u64>() >= u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_owner_see_all() {
        let judge = Judge {
            owner: 1000,
            all_known: true,
        };
        let all = |uid| judge.judge(uid, 1).map(|who| who.all);
        assert_eq!(
            [all(0), all(1000), all(1001), all(65534)],
            [Some(true), Some(true), Some(false), Some(false)]
        );
        assert_eq!(judge.judge(1001, 1).unwrap().whose(), Whose::User(1001));
    }

    #[test]
    fn who_has_no_number_is_nobody_not_even_the_owner() {
        let judge = Judge {
            owner: OVERFLOW_UID,
            all_known: false,
        };
        assert_eq!(judge.judge(OVERFLOW_UID, 1), None);
        assert!(is_full("         0          0 4294967295\n"));
        assert!(!is_full("1000 1000 1\n") && !is_full("") && !is_full("0 100000 65536\n"));
    }
}
