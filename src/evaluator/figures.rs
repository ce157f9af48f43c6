//! Numbers as the texts of evidence say them.

/// A number with one digit, rounded down, so that what is missing never looks complete; whole numbers without it.
pub(in crate::evaluator) fn tenths(number: f64) -> String {
    trimmed(&format!("{:.1}", (number * 10.0).floor() / 10.0))
}

/// A ratio as a percentage with two significant digits, more where it is near 100: `0.1%`, `0.052%`, `99.951%`.
pub(crate) fn percentage(ratio: f64) -> String {
    let distance = ratio.min(1.0 - ratio);
    if distance <= 0.0 {
        return format!("{}%", ratio * 100.0);
    }
    // A percentage below 1 starts one digit later.
    let decimals = (-(distance * 100.0).log10().floor() + 1.0).clamp(0.0, 9.0);
    format!("{}%", with_decimals(ratio * 100.0, decimals))
}

/// A quantile by its usual name: `p95`, `p99.9`.
pub(in crate::evaluator) fn percentile(quantile: f64) -> String {
    format!("p{}", with_decimals(quantile * 100.0, 4.0))
}

/// A duration with three significant digits, from microseconds to seconds: `82 ms`, `1.31 s`.
pub(crate) fn milliseconds(secs: f64) -> String {
    let (number, unit) = if secs >= 1.0 {
        (secs, "s")
    } else {
        (secs * 1e3, "ms")
    };
    let decimals = if number > 0.0 {
        (2.0 - number.log10().floor()).clamp(0.0, 3.0)
    } else {
        0.0
    };
    format!("{} {unit}", with_decimals(number, decimals))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "both callers clamp to 0 … 9"
)]
fn with_decimals(number: f64, decimals: f64) -> String {
    trimmed(&format!("{number:.*}", decimals as usize))
}

/// Without zeros at the end of a fraction.
fn trimmed(number: &str) -> String {
    if number.contains('.') {
        let number = number.trim_end_matches('0');
        number.trim_end_matches('.').to_owned()
    } else {
        number.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_never_looks_complete() {
        assert_eq!([13.99, 14.0, 0.0].map(tenths), ["13.9", "14", "0"]);
    }

    #[test]
    fn percentages_keep_two_significant_digits_of_what_is_bad_or_good() {
        let shown = [0.0, 1.0, 0.001, 0.000_52, 0.25, 0.999_51, 0.9, 0.033_3].map(percentage);
        assert_eq!(
            shown,
            [
                "0%", "100%", "0.1%", "0.052%", "25%", "99.951%", "90%", "3.3%"
            ]
        );
    }

    #[test]
    fn durations_and_quantiles_read_as_people_write_them() {
        assert_eq!(
            [0.082, 1.312, 0.000_25, 0.131_4, 0.0].map(milliseconds),
            ["82 ms", "1.31 s", "0.25 ms", "131 ms", "0 ms"]
        );
        assert_eq!([0.95, 0.999].map(percentile), ["p95", "p99.9"]);
    }
}
