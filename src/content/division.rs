//! How the room of a filesystem is divided among the stores of its users. Pure: pages in, pages out.

/// What one store needs and may have, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// In use, or asked for. It is granted, whatever the rest says.
    pub(super) needs: u64,
    /// The most it may have.
    pub(super) most: u64,
}

/// The size of each store: what it needs, and an equal share of what is left, as far as it may have that. What one may not
/// have the others share. Preconditions: all needs together are at most `total`; else each gets what it needs and no more.
pub(super) fn divide(total: u64, claims: &[Claim]) -> Vec<u64> {
    let needed = claims.iter().fold(0, |sum: u64, claim| sum.saturating_add(claim.needs));
    let mut free = total.saturating_sub(needed);
    let mut sizes: Vec<u64> = claims.iter().map(|claim| claim.needs).collect();
    let room = |at: usize| claims[at].most.saturating_sub(claims[at].needs);
    // Those who may have least go first: what they leave is shared by all who come after.
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by_key(|&at| (room(at), at));
    let waiting = (1..=claims.len() as u64).rev();
    for (at, waiting) in order.into_iter().zip(waiting) {
        let share = (free / waiting).min(room(at));
        sizes[at] += share;
        free -= share;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(needs: u64, most: u64) -> Claim {
        Claim { needs, most }
    }

    #[test]
    fn who_may_have_all_gets_all_where_there_is_enough() {
        assert_eq!(divide(100, &[claim(0, 30), claim(5, 30), claim(0, 40)]), [30, 30, 40]);
        assert_eq!(divide(1000, &[claim(0, 30), claim(0, u64::MAX)]), [30, 970]);
    }

    #[test]
    fn what_is_free_is_shared_where_there_is_not() {
        assert_eq!(divide(100, &[claim(40, 80), claim(0, 80)]), [70, 30]);
        assert_eq!(divide(100, &[claim(0, 10), claim(0, 80), claim(0, 80)]), [10, 45, 45]);
        assert_eq!(divide(10, &[claim(0, 8), claim(0, 8), claim(0, 8)]), [3, 3, 4]);
    }

    #[test]
    fn a_full_filesystem_leaves_nothing_to_newcomers() {
        assert_eq!(divide(100, &[claim(60, 80), claim(40, 80), claim(0, 80)]), [60, 40, 0]);
        assert_eq!(divide(5, &[]), [0; 0]);
    }

    fn claims() -> impl Strategy<Value = Vec<Claim>> {
        let most = prop_oneof![0..2000u64, Just(u64::MAX)];
        prop::collection::vec((0..1000u64, most).prop_map(|(needs, most)| claim(needs, most)), 0..12)
    }

    proptest! {
        #[test]
        fn nobody_loses_and_nothing_is_given_twice(claims in claims(), spare in 0..20_000u64) {
            let needed: u64 = claims.iter().map(|it| it.needs).sum();
            let total = needed + spare;
            let sizes = divide(total, &claims);
            let sum: u64 = sizes.iter().sum();
            prop_assert!(sum <= total);
            for (size, claim) in sizes.iter().zip(&claims) {
                prop_assert!(*size >= claim.needs);
                prop_assert!(*size <= claim.most.max(claim.needs));
            }
            // All of it is given out where anybody may have more.
            let all_have_most = sizes.iter().zip(&claims).all(|(size, claim)| *size >= claim.most);
            prop_assert!(sum == total || all_have_most);
        }

        #[test]
        fn it_is_fair(claims in claims(), spare in 0..20_000u64) {
            let needed: u64 = claims.iter().map(|it| it.needs).sum();
            let sizes = divide(needed + spare, &claims);
            let share = |at: usize| sizes[at] - claims[at].needs;
            for one in 0..claims.len() {
                for other in 0..claims.len() {
                    // Whoever has less than another has all he may have.
                    prop_assert!(share(one) + 1 >= share(other) || sizes[one] >= claims[one].most);
                }
            }
        }

        #[test]
        fn more_room_takes_from_nobody(claims in claims(), spare in 0..20_000u64, more in 0..5000u64) {
            let needed: u64 = claims.iter().map(|it| it.needs).sum();
            let before = divide(needed + spare, &claims);
            let after = divide(needed + spare + more, &claims);
            prop_assert!(before.iter().zip(&after).all(|(before, after)| before <= after));
        }

        #[test]
        fn no_numbers_are_too_large(claims in prop::collection::vec((any::<u64>(), any::<u64>()), 0..6), total in any::<u64>()) {
            let claims: Vec<Claim> = claims.into_iter().map(|(needs, most)| claim(needs, most)).collect();
            let sizes = divide(total, &claims);
            prop_assert!(sizes.iter().zip(&claims).all(|(size, claim)| *size >= claim.needs));
        }
    }
}
