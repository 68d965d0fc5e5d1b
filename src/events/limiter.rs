//! How many events of one user are kept, and of all users but root together: a burst, then a steady few. The number of users
//! told apart is bounded too: a container's root can be any of 65,536.

use std::collections::HashMap;
use std::time::Duration;

/// An allowance.
#[derive(Debug)]
struct Rate {
    /// The events that are kept at once.
    burst: u32,
    /// The time after which one more is kept.
    refill: Duration,
}

/// Of one user.
const USER: Rate = Rate {
    burst: 100,
    refill: Duration::from_millis(50),
};

/// Of all users but root together.
const ALL: Rate = Rate {
    burst: 500,
    refill: Duration::from_millis(5),
};

/// Whose events matter most: a crowd of others does not crowd him out.
const ROOT: u32 = 0;

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

/// What is left of an allowance.
#[derive(Debug)]
struct Bucket {
    rate: &'static Rate,
    tokens: u32,
    /// Up to when tokens were given.
    filled: Duration,
    suppressed: u64,
}

impl Bucket {
    fn full(rate: &'static Rate, now: Duration) -> Bucket {
        Bucket {
            rate,
            tokens: rate.burst,
            filled: now,
            suppressed: 0,
        }
    }

    fn refill(&mut self, now: Duration) {
        let due = now.saturating_sub(self.filled).as_nanos() / self.rate.refill.as_nanos();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        self.filled = self.filled.saturating_add(self.rate.refill.saturating_mul(due));
        self.tokens = self.tokens.saturating_add(due).min(self.rate.burst);
    }

    /// Takes one token, if there is one.
    fn take(&mut self, now: Duration) -> bool {
        self.refill(now);
        let any = self.tokens > 0;
        self.tokens -= u32::from(any);
        any
    }

    fn suppress(&mut self) -> Admission {
        self.suppressed += 1;
        match self.suppressed {
            1 => Admission::FirstRefusal,
            _ => Admission::Refused,
        }
    }

    /// Whether it says no more than a new one.
    fn is_idle(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.tokens == self.rate.burst && self.suppressed == 0
    }
}

/// The allowances of all users.
#[derive(Debug)]
pub(super) struct Limiter {
    users: HashMap<u32, Bucket>,
    others: Bucket,
    all: Bucket,
    /// What the cleaner has removed: nobody else's events are fewer for it.
    removals: Bucket,
}

impl Default for Limiter {
    fn default() -> Limiter {
        let start = Duration::ZERO;
        Limiter {
            users: HashMap::from([(ROOT, Bucket::full(&USER, start))]),
            others: Bucket::full(&USER, start),
            all: Bucket::full(&ALL, start),
            removals: Bucket::full(&USER, start),
        }
    }
}

impl Limiter {
    /// Decides about one event of `uid`'s. `now` is the time since some start.
    pub(super) fn admit(&mut self, uid: u32, now: Duration) -> Admission {
        if self.users.len() >= USERS && !self.users.contains_key(&uid) {
            self.users.retain(|&uid, bucket| uid == ROOT || !bucket.is_idle(now));
        }
        let bucket = if self.users.len() >= USERS && !self.users.contains_key(&uid) {
            &mut self.others
        } else {
            self.users.entry(uid).or_insert_with(|| Bucket::full(&USER, now))
        };
        if bucket.take(now) && (uid == ROOT || self.all.take(now)) {
            Admission::Granted
        } else {
            bucket.suppress()
        }
    }

    /// Decides whether a removal is told of.
    pub(super) fn admit_removal(&mut self, now: Duration) -> bool {
        self.removals.take(now)
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
        assert_eq!(granted.count(), 500, "of all together");
        assert_eq!(limiter.users.len(), USERS);
        assert_eq!(limiter.admit(0, now), Admission::Granted);
        let suppressed = limiter.take_suppressed();
        assert_eq!(suppressed.iter().map(|(_, count)| count).sum::<u64>(), 99_999 - 500);
        assert!(suppressed.iter().any(|(uid, _)| uid.is_none()));
        let later = Duration::from_secs(3600);
        assert_eq!(limiter.admit(200_000, later), Admission::Granted);
        assert!(limiter.users.len() <= 2, "who is quiet again need not be remembered");
    }
}
