//! How much a share has changed.

/// Spans beyond which more of them make a change no more surprising: it is its size that matters then.
const SPANS_MAX: f64 = 400.0;

/// Rise of a share from `before` to `after`, of so many spans each: Cohen's h, 2·asin √p, whose standard deviation is
/// √(1/n + 1/m) whatever the share, over that deviation.
pub(super) fn rise((before, after): (f64, f64), (n, m): (f64, f64)) -> f64 {
    let angle = |share: f64| 2.0 * share.clamp(0.0, 1.0).sqrt().asin();
    let size = (n * m / (n + m)).min(SPANS_MAX);
    (angle(after) - angle(before)) * size.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cohen's h of 0.25 → 0.5 is π/6, of 0 → 1 is π (statsmodels `proportion_effectsize`).
    #[test]
    fn a_rise_is_measured_in_standard_deviations_of_an_angle() {
        let pi = std::f64::consts::PI;
        assert!((rise((0.25, 0.5), (200.0, 200.0)) - pi / 6.0 * 10.0).abs() < 1e-12);
        assert!((rise((0.0, 1.0), (8.0, 8.0)) - pi * 2.0).abs() < 1e-12);
        assert!(rise((0.5, 0.4), (10.0, 10.0)) < 0.0);
    }

    #[test]
    fn a_million_spans_make_a_small_rise_no_larger_than_a_thousand_do() {
        let few = rise((0.0, 0.01), (1_000.0, 1_000.0));
        let many = rise((0.0, 0.01), (1e6, 1e6));
        assert!((few - many).abs() < 1e-12);
        assert!(few > 3.0);
    }
}
