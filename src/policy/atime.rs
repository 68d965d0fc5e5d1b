//! When a read counts as an access.

use crate::types::{AtimePolicy, Timestamp};

const DAY: i64 = 24 * 60 * 60;

/// Whether a read now must move the access time (mount(8), `relatime_need_update` of fs/inode.c).
pub fn read_counts(policy: AtimePolicy, atime: Timestamp, mtime: Timestamp, ctime: Timestamp, now: Timestamp) -> bool {
    match policy {
        AtimePolicy::NoAtime => false,
        AtimePolicy::Strict => true,
        AtimePolicy::Relatime => atime <= mtime || atime <= ctime || now.secs.saturating_sub(atime.secs) >= DAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp { secs, nanos: 5 }
    }

    #[test]
    fn relatime_counts_the_first_read_after_a_change_and_one_a_day() {
        let counts =
            |atime, mtime, ctime, now| read_counts(AtimePolicy::Relatime, at(atime), at(mtime), at(ctime), at(now));
        assert!(counts(10, 10, 5, 11), "as old as the last change");
        assert!(counts(10, 5, 12, 13), "older than the last change of the inode");
        assert!(!counts(12, 10, 10, 13));
        assert!(!counts(12, 10, 10, 12 + DAY - 1));
        assert!(counts(12, 10, 10, 12 + DAY));
        assert!(!counts(i64::MAX, 0, 0, i64::MIN), "no overflow");
    }

    #[test]
    fn the_other_policies_do_not_look() {
        assert!(!read_counts(AtimePolicy::NoAtime, at(0), at(9), at(9), at(9)));
        assert!(read_counts(AtimePolicy::Strict, at(9), at(0), at(0), at(9)));
    }
}
