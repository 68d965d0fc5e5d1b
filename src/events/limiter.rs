//! How many events of one user are kept: a burst, then a steady few. The number of users told apart is bounded too.

use std::collections::HashMap;
use std::time::Duration;

/// The events of one user that are kept at once.
const BURST: u32 = 100;

/// The time after which one more is kept.
const REFILL: Duration = Duration::from_millis(50);

/// The users told apart; all others share one allowance.
const USERS: usize = 1024;

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is kept.
    Granted,
    /// It is only counted, and is the first of the user's since the counts were taken.
    FirstRefusal,
    /// It is only counted.
    Refused,
}

/// The allowance of one user.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    /// Up to when tokens were given.
    filled: Duration,
    suppressed: u64,
}

impl Bucket {
    fn full(now: Duration) -> Bucket {
        Bucket {
            tokens: BURST,
            filled: now,
            suppressed: 0,
        }
    }

    fn refill(&mut self, now: Duration) {
        let due = now.saturating_sub(self.filled).as_nanos() / REFILL.as_nanos();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        self.filled = self.filled.saturating_add(REFILL.saturating_mul(due));
        self.tokens = self.tokens.saturating_add(due).min(BURST);
    }

    fn admit(&mut self, now: Duration) -> Admission {
        self.refill(now);
        if self.tokens > 0 {
            self.tokens -= 1;
            return Admission::Granted;
        }
        self.suppressed += 1;
        match self.suppressed {
            1 => Admission::FirstRefusal,
            _ => Admission::Refused,
        }
    }

    /// Whether it says no more than a new one.
    fn is_idle(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.tokens == BURST && self.suppressed == 0
    }
}

/// The allowances of all users.
#[derive(Debug)]
pub(super) struct Limiter {
    users: HashMap<u32, Bucket>,
    others: Bucket,
}

impl Default for Limiter {
    fn default() -> Limiter {
        let start = Duration::ZERO;
        Limiter {
            // Root is the one whose events matter most: nobody takes the place away.
            users: HashMap::from([(0, Bucket::full(start))]),
            others: Bucket::full(start),
        }
    }
}

impl Limiter {
    /// Decides about one event of `uid`'s. `now` is the time since some start.
    pub(super) fn admit(&mut self, uid: u32, now: Duration) -> Admission {
        if self.users.len() >= USERS && !self.users.contains_key(&uid) {
            self.users.retain(|&uid, bucket| uid == 0 || !bucket.is_idle(now));
        }
        if self.users.len() >= USERS && !self.users.contains_key(&uid) {
            return self.others.admit(now);
        }
        self.users.entry(uid).or_insert_with(|| Bucket::full(now)).admit(now)
    }

    /// How many were only counted, by user, since this was last asked; `None` for those not told apart.
    pub(super) fn take_suppressed(&mut self) -> Vec<(Option<u32>, u64)> {
        let known = self.users.iter_mut().map(|(&uid, bucket)| (Some(uid), bucket));
        known
            .chain([(None, &mut self.others)])
            .map(|(uid, bucket)| (uid, std::mem::take(&mut bucket.suppressed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_steady_few() {
        let mut limiter = Limiter::default();
        let granted = |limiter: &mut Limiter, now| {
            (0..1000)
                .filter(|_| limiter.admit(7, now) == Admission::Granted)
                .count()
        };
        assert_eq!(granted(&mut limiter, Duration::from_secs(1)), 100);
        assert_eq!(granted(&mut limiter, Duration::from_secs(2)), 20);
        assert_eq!(granted(&mut limiter, Duration::from_secs(3600)), 100);
        assert_eq!(limiter.take_suppressed(), [(Some(7), 3000 - 220)]);
    }

    #[test]
    fn the_first_refusal_is_told() {
        let mut limiter = Limiter::default();
        let now = Duration::ZERO;
        for _ in 0..100 {
            assert_eq!(limiter.admit(7, now), Admission::Granted);
        }
        assert_eq!(limiter.admit(7, now), Admission::FirstRefusal);
        assert_eq!(limiter.admit(7, now), Admission::Refused);
        limiter.take_suppressed();
        assert_eq!(limiter.admit(7, now), Admission::FirstRefusal);
    }

    #[test]
    fn a_crowd_shares_and_root_has_a_place() {
        let mut limiter = Limiter::default();
        let now = Duration::ZERO;
        let granted = (1..100_000).filter(|&uid| limiter.admit(uid, now) == Admission::Granted);
        assert_eq!(granted.count(), USERS - 1 + 100);
        assert_eq!(limiter.users.len(), USERS);
        assert_eq!(limiter.admit(0, now), Admission::Granted);
        assert!(
            limiter
                .take_suppressed()
                .contains(&(None, 100_000 - 1 - (USERS as u64 - 1) - 100))
        );
        let later = Duration::from_secs(3600);
        assert_eq!(limiter.admit(200_000, later), Admission::Granted);
        assert!(limiter.users.len() <= 2, "who is quiet again need not be remembered");
    }
}
