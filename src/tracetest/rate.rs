//! From counts of traces to a verdict about a check.

use crate::evaluator::statistics::clopper_pearson_upper;
use crate::model::report::Verdict;
use crate::tracetest::suite::Over;

/// More traces than this are not asked for by number.
const NEEDED_MAX: u64 = 10_000_000;

/// What rounding may cost a ratio.
const ROUNDING: f64 = 1e-12;

/// Traces by what a check says of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// It holds.
    pub passed: u64,
    /// It does not.
    pub failed: u64,
    /// It has nothing to judge.
    pub silent: u64,
}

impl Counts {
    fn seen(self) -> String {
        format!(
            "{} of {} traces pass",
            self.passed,
            self.passed + self.failed
        )
    }
}

/// What a check comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rated {
    /// pass, fail or inconclusive.
    pub verdict: Verdict,
    /// So many more traces decide it, if they all pass.
    pub needed: Option<u64>,
    /// Why, in a sentence.
    pub text: String,
}

/// The verdict over traces.
pub fn rate(over: Option<Over>, counts: Counts) -> Rated {
    let judged = counts.passed + counts.failed;
    if judged == 0 && counts.silent > 0 {
        let silent = counts.silent;
        let text = format!("none of {silent} traces has anything that it is about");
        return Rated::new(Verdict::Pass, text);
    }
    match over {
        None => all_of(counts),
        Some(over) => match over.confidence {
            None => by_ratio(over, counts),
            Some(confidence) => by_bound(over, confidence, counts),
        },
    }
}

impl Rated {
    fn new(verdict: Verdict, text: String) -> Self {
        Self {
            verdict,
            needed: None,
            text,
        }
    }
}

/// Every trace must pass, and there must be one.
fn all_of(counts: Counts) -> Rated {
    let judged = counts.passed + counts.failed;
    match (counts.failed, counts.passed) {
        (0, 0) => Rated {
            needed: Some(1),
            ..Rated::new(Verdict::Inconclusive, "no trace was judged".to_owned())
        },
        (0, passed) => Rated::new(Verdict::Pass, format!("all {passed} traces pass")),
        (failed, _) => Rated::new(Verdict::Fail, format!("{failed} of {judged} traces fail")),
    }
}

/// The ratio that was seen decides, once there are enough.
fn by_ratio(over: Over, counts: Counts) -> Rated {
    let judged = counts.passed + counts.failed;
    let (seen, wanted) = (counts.seen(), percent(over.pass_rate));
    let few = over.traces.saturating_sub(judged);
    if few > 0 {
        return Rated {
            needed: Some(few),
            ..Rated::new(
                Verdict::Inconclusive,
                format!("{seen}; {few} more are needed to judge"),
            )
        };
    }
    let ratio = counts.passed as f64 / judged as f64;
    let verdict = if ratio >= over.pass_rate - ROUNDING {
        Verdict::Pass
    } else {
        Verdict::Fail
    };
    Rated::new(verdict, format!("{seen}, {wanted} must"))
}

/// The bounds of the ratio decide.
fn by_bound(over: Over, confidence: f64, counts: Counts) -> Rated {
    let judged = counts.passed + counts.failed;
    let (seen, wanted, sure) = (counts.seen(), percent(over.pass_rate), percent(confidence));
    let upper = |part: u64, all: u64| clopper_pearson_upper(part as f64, all as f64, confidence);
    let highest = upper(counts.passed, judged);
    if judged > 0 && highest < over.pass_rate {
        let highest = percent(highest);
        return Rated::new(
            Verdict::Fail,
            format!("{seen}: at most {highest} do, with confidence {sure}, and {wanted} must"),
        );
    }
    let lowest = |judged: u64| 1.0 - upper(counts.failed, judged);
    let is_shown = |judged: u64| lowest(judged) >= over.pass_rate - ROUNDING;
    let few = over.traces.saturating_sub(judged);
    if few == 0 && is_shown(judged) {
        let lowest = percent(lowest(judged));
        return Rated::new(
            Verdict::Pass,
            format!("{seen}: at least {lowest} do, with confidence {sure}, and {wanted} must"),
        );
    }
    let needed = needed(judged, is_shown).map(|needed| needed.max(few));
    let text = needed.map_or_else(
        || format!("{seen}: no number of traces shows {wanted} with confidence {sure}"),
        |needed| {
            format!(
                "{seen}: {wanted} is not shown with confidence {sure} yet; {needed} more traces decide it, if all pass"
            )
        },
    );
    Rated {
        needed,
        ..Rated::new(Verdict::Inconclusive, text)
    }
}

/// The fewest further traces that show it.
fn needed(judged: u64, is_shown: impl Fn(u64) -> bool) -> Option<u64> {
    let mut high = 1;
    while !is_shown(judged + high) {
        high *= 2;
        if high > NEEDED_MAX {
            return None;
        }
    }
    let mut low = high / 2;
    // It is not shown by `low` more, but for 0.
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if is_shown(judged + middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

/// A ratio for people.
fn percent(ratio: f64) -> String {
    let hundredths = (ratio * 10_000.0).round() / 100.0;
    format!("{hundredths} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER: Over = Over {
        traces: 1,
        window: None,
        pass_rate: 0.99,
        confidence: Some(0.95),
    };

    fn counts(passed: u64, failed: u64) -> Counts {
        Counts {
            passed,
            failed,
            silent: 0,
        }
    }

    /// ⌈ln 0.05 / ln 0.99⌉ = 299, the rule of three in its exact form.
    #[test]
    fn two_hundred_and_ninety_nine_traces_without_failure_show_99_percent() {
        let open = rate(Some(OVER), counts(200, 0));
        assert_eq!(
            (open.verdict, open.needed),
            (Verdict::Inconclusive, Some(99))
        );
        assert_eq!(rate(Some(OVER), counts(298, 0)).needed, Some(1));
        assert_eq!(rate(Some(OVER), counts(299, 0)).verdict, Verdict::Pass);
    }

    /// `scipy.stats.beta.ppf(0.95, 2, n - 1) <= 0.01` first holds at n = 473 with one failure.
    #[test]
    fn a_failure_asks_for_more_traces() {
        assert_eq!(rate(Some(OVER), counts(299, 1)).needed, Some(173));
        assert_eq!(rate(Some(OVER), counts(472, 1)).verdict, Verdict::Pass);
        assert_eq!(rate(Some(OVER), counts(471, 1)).needed, Some(1));
    }

    /// `scipy.stats.beta.ppf(0.95, 18 + 1, 20 - 18)` = 0.9819 < 0.99; with 19 of 20, 0.9974.
    #[test]
    fn failures_that_chance_does_not_explain_fail_at_once() {
        assert_eq!(rate(Some(OVER), counts(18, 2)).verdict, Verdict::Fail);
        assert_eq!(
            rate(Some(OVER), counts(19, 1)).verdict,
            Verdict::Inconclusive
        );
    }

    #[test]
    fn without_confidence_the_ratio_that_was_seen_decides_once_there_are_enough() {
        let over = Some(Over {
            traces: 100,
            confidence: None,
            ..OVER
        });
        assert_eq!(rate(over, counts(50, 0)).needed, Some(50));
        assert_eq!(rate(over, counts(99, 1)).verdict, Verdict::Pass);
        assert_eq!(rate(over, counts(98, 2)).verdict, Verdict::Fail);
    }

    #[test]
    fn without_over_every_trace_must_pass_and_one_must_be_there() {
        assert_eq!(rate(None, counts(1_000, 1)).verdict, Verdict::Fail);
        assert_eq!(rate(None, counts(1, 0)).verdict, Verdict::Pass);
        assert_eq!(rate(None, counts(0, 0)).verdict, Verdict::Inconclusive);
        let silent = Counts {
            silent: 3,
            ..Counts::default()
        };
        assert_eq!(rate(None, silent).verdict, Verdict::Pass);
    }
}
