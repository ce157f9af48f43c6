//! How much a share has changed, and whether chance does that.

use statrs::distribution::{DiscreteCDF, Hypergeometric};

/// Spans beyond which more of them make a change no more surprising: it is its size that matters then.
const SPANS_MAX: f64 = 400.0;

/// Counts beyond which no more are needed to tell chance from a change that anybody minds; sums take the longer the more.
const COUNTED_MAX: f64 = 10_000.0;

/// Rise of a share from `before` to `after`, of so many spans each: Cohen's h, 2·asin √p, whose standard deviation is
/// √(1/n + 1/m) whatever the share, over that deviation.
pub(super) fn rise((before, after): (f64, f64), (n, m): (f64, f64)) -> f64 {
    let angle = |share: f64| 2.0 * share.clamp(0.0, 1.0).sqrt().asin();
    let size = (n * m / (n + m)).min(SPANS_MAX);
    (angle(after) - angle(before)) * size.sqrt()
}

/// Probability that chance alone makes the share after so large or larger: Fisher's exact test, one-sided. The angle above
/// overstates rises from next to nothing in a few dozen spans.
pub(in crate::adapter::rca) fn chance((before, after): (f64, f64), (n, m): (f64, f64)) -> f64 {
    let (n, m) = (whole(n.min(COUNTED_MAX)), whole(m.min(COUNTED_MAX)));
    let (held, risen) = (whole(before * n as f64), whole(after * m as f64));
    match Hypergeometric::new(n + m, held + risen, m) {
        Ok(shares) if risen > 0 => shares.sf(risen - 1),
        Ok(_) | Err(_) => 1.0,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts, not below 0"
)]
fn whole(count: f64) -> u64 {
    count.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy: `fisher_exact([[7, 53], [0, 60]], alternative="greater")`, `[[30, 30], [3, 57]]`.
    #[test]
    fn the_exact_probability_equals_that_of_scipy() {
        let few = chance((0.0, 7.0 / 60.0), (60.0, 60.0));
        assert!((few - 0.006_492_228_998_622_862).abs() < 1e-9, "{few}");
        let many = chance((0.05, 0.5), (60.0, 60.0));
        assert!(
            (many / 1.164_404_713_964_974_5e-8 - 1.0).abs() < 1e-6,
            "{many:e}"
        );
        assert!((chance((0.2, 0.0), (10.0, 10.0)) - 1.0).abs() < 1e-12);
    }

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
