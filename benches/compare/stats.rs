//! Medians and quartiles. Knows nothing of what was measured.

/// The quartiles of some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quartiles {
    /// A quarter lies below it.
    pub lower: f64,
    /// Half of them do.
    pub median: f64,
    /// Three quarters do.
    pub upper: f64,
}

/// None where there are no samples.
pub fn quartiles(samples: &[f64]) -> Option<Quartiles> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(Quartiles {
        lower: quantile(&sorted, 0.25)?,
        median: quantile(&sorted, 0.5)?,
        upper: quantile(&sorted, 0.75)?,
    })
}

/// The median; None where there are no samples.
pub fn median(samples: &[f64]) -> Option<f64> {
    quartiles(samples).map(|it| it.median)
}

/// The value a share of the way through the sorted samples, between two of them by their distance.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted.get(at.floor() as usize)?, sorted.get(at.ceil() as usize)?);
    Some(below + (above - below) * at.fract())
}

/// The median of the ratios round by round, so that what disturbed one round disturbs both sides of its ratio. Rounds in
/// which either is missing do not count.
pub fn median_ratio(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<f64> {
    let ratios: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?))
        .filter(|ratio| ratio.is_finite())
        .collect();
    median(&ratios)
}

/// A number with three significant digits, and no more than two after the point.
pub fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
