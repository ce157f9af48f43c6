//! What a comparison found, in sentences.

use crate::evaluator::figures::{milliseconds, percentile};
use crate::model::canary::{CanaryMetric, Comparison};
use crate::model::report::Verdict;

/// A count with its thousands apart: `4 980`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A ratio as per cent with two digits that mean something: `6.1 %`, `0.05 %`, `12 %`.
pub(super) fn percent(ratio: f64) -> String {
    format!("{} %", points(ratio))
}

/// A difference of ratios in points, with its sign.
fn signed_points(difference: f64) -> String {
    let sign = if difference < 0.0 { "−" } else { "+" };
    format!("{sign}{}", points(difference.abs()))
}

fn points(ratio: f64) -> String {
    let points = ratio * 100.0;
    let text = if points >= 0.1 || points == 0.0 {
        format!("{points:.1}")
    } else if points >= 0.01 {
        format!("{points:.2}")
    } else {
        format!("{points:.3}")
    };
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A factor as a change in per cent, with its sign.
fn change(share: f64) -> String {
    let sign = if share < 0.0 { "−" } else { "+" };
    let percent = share.abs() * 100.0;
    if percent < 9.95 {
        format!("{sign}{percent:.1} %")
    } else {
        format!("{sign}{percent:.0} %")
    }
}

/// What the comparison is about: `errors`, `p99 of GET /cart`.
fn subject(comparison: &Comparison) -> String {
    let of = comparison
        .operation
        .as_ref()
        .map_or_else(String::new, |operation| format!(" of {operation}"));
    match comparison.metric {
        CanaryMetric::ErrorRatio => format!("errors{of}"),
        CanaryMetric::Latency => format!("latency{of}"),
        CanaryMetric::TailLatency => {
            format!(
                "{}{of}",
                percentile(comparison.quantile.unwrap_or_default())
            )
        }
    }
}

/// The sentence of a comparison whose numbers are all filled in.
pub(super) fn sentence(comparison: &Comparison) -> String {
    let subject = subject(comparison);
    let (Some(old), Some(new), Some(difference)) = (
        comparison.baseline,
        comparison.canary,
        comparison.difference,
    ) else {
        return format!(
            "{subject}: nothing to compare: {} requests against {}",
            count(comparison.canary_requests),
            count(comparison.baseline_requests),
        );
    };
    let show = |number: f64| match comparison.metric {
        CanaryMetric::ErrorRatio => percent(number),
        CanaryMetric::Latency | CanaryMetric::TailLatency => milliseconds(number),
    };
    let show_difference = |number: f64| match comparison.metric {
        CanaryMetric::ErrorRatio => signed_points(number),
        CanaryMetric::Latency | CanaryMetric::TailLatency => change(number / old),
    };
    let unit = match comparison.metric {
        CanaryMetric::ErrorRatio => " points",
        CanaryMetric::Latency | CanaryMetric::TailLatency => "",
    };
    let median = match comparison.metric {
        CanaryMetric::Latency => "median ",
        CanaryMetric::ErrorRatio | CanaryMetric::TailLatency => "",
    };
    let bound = match comparison.verdict {
        Verdict::Fail => comparison
            .lower
            .map(|lower| format!(", at least {}", show_difference(lower))),
        Verdict::Pass | Verdict::Warn | Verdict::Inconclusive => comparison
            .upper
            .map(|upper| format!(", at most {}", show_difference(upper))),
    };
    let tolerated = comparison.tolerance.map_or_else(String::new, |tolerance| {
        format!(" (tolerated: {})", show_difference(tolerance))
    });
    let needed = comparison
        .requests_needed
        .map_or_else(String::new, |needed| {
            format!("; about {} more requests for an answer", count(needed))
        });
    format!(
        "{subject}: {median}{} of {} requests against {} of {}: {}{unit}{}{tolerated}{needed}",
        show(new),
        count(comparison.canary_requests),
        show(old),
        count(comparison.baseline_requests),
        show_difference(difference),
        bound.unwrap_or_default(),
    )
}
