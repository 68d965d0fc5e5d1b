//! How the room of a filesystem is divided among the stores of its users. Pure: pages in, pages out.

/// What one store needs and may have, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// In use, or asked for. It is granted, whatever the rest says.
    pub(super) needs: u64,
    /// The most it may have.
    pub(super) most: u64,
    /// How large its share is of what is left, against the others; not 0.
    pub(super) weight: u32,
}

impl Claim {
    fn room(&self) -> u64 {
        self.most.saturating_sub(self.needs)
    }
}

/// The size of each store: what it needs, and a share by its weight of what is left, as far as it may have that. What one may
/// not have the others share. Preconditions: all needs together are at most `total`; else each gets what it needs and no more.
pub(super) fn divide(total: u64, claims: &[Claim]) -> Vec<u64> {
    let needed = claims.iter().fold(0, |sum: u64, claim| sum.saturating_add(claim.needs));
    let mut free = total.saturating_sub(needed);
    let mut waiting: u64 = claims.iter().map(|claim| u64::from(claim.weight)).sum();
    let mut sizes: Vec<u64> = claims.iter().map(|claim| claim.needs).collect();
    // Those whose share would first be more than they may have go first: what they leave is shared by all who come after.
    let mut order: Vec<usize> = (0..claims.len()).collect();
    let product = |room: &Claim, weight: &Claim| u128::from(room.room()) * u128::from(weight.weight);
    order.sort_by(|&one, &other| {
        let (one, other) = (&claims[one], &claims[other]);
        product(one, other).cmp(&product(other, one))
    });
    for at in order {
        let weight = u64::from(claims[at].weight);
        let share = u128::from(free) * u128::from(weight) / u128::from(waiting.max(1));
        let share = u64::try_from(share).unwrap_or(free).min(claims[at].room());
        sizes[at] += share;
        free -= share;
        waiting -= weight;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(needs: u64, most: u64) -> Claim {
        weighty(needs, most, 1)
    }

    fn weighty(needs: u64, most: u64, weight: u32) -> Claim {
        Claim { needs, most, weight }
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

    #[test]
    fn a_share_is_as_large_as_its_weight() {
        assert_eq!(divide(100, &[weighty(10, 200, 8), weighty(0, 200, 1)]), [90, 10]);
        assert_eq!(divide(100, &[weighty(10, 30, 8), weighty(0, 200, 1)]), [30, 70]);
    }

    fn claims() -> impl Strategy<Value = Vec<Claim>> {
        let most = prop_oneof![0..2000u64, Just(u64::MAX)];
        let claim = (0..1000u64, most, prop::sample::select(vec![1, 8]));
        prop::collection::vec(
            claim.prop_map(|(needs, most, weight)| weighty(needs, most, weight)),
            0..12,
        )
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
            let share = |at: usize| (sizes[at] - claims[at].needs) / u64::from(claims[at].weight);
            // What does not divide goes to those who come later.
            let rest = claims.len() as u64;
            for one in 0..claims.len() {
                for other in 0..claims.len() {
                    // Whoever has less than another, by their weights, has all he may have.
                    prop_assert!(share(one) + rest >= share(other) || sizes[one] >= claims[one].most);
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
