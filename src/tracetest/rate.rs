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
    let Counts {
        passed,
        failed,
        silent,
    } = counts;
    let judged = passed + failed;
    let said = |verdict, needed, text: String| Rated {
        verdict,
        needed,
        text,
    };
    let Some(over) = over else {
        return match (failed, passed, silent) {
            (1.., _, _) => said(Verdict::Fail, None, format!("{failed} of {judged} traces fail")),
            (0, 1.., _) => said(Verdict::Pass, None, format!("all {passed} traces pass")),
            (0, 0, 1..) => {
                let text = format!("none of {silent} traces has anything that it is about");
                said(Verdict::Pass, None, text)
            }
            (0, 0, 0) => said(Verdict::Inconclusive, Some(1), "no trace was judged".to_owned()),
        };
    };
    if judged == 0 && silent > 0 {
        let text = format!("none of {silent} traces has anything that it is about");
        return said(Verdict::Pass, None, text);
    }
    let seen = format!("{passed} of {judged} traces pass");
    let wanted = percent(over.pass_rate);
    let few = over.traces.saturating_sub(judged);
    let Some(confidence) = over.confidence else {
        return if few > 0 {
            let text = format!("{seen}; {few} more are needed to judge");
            said(Verdict::Inconclusive, Some(few), text)
        } else if passed as f64 / judged as f64 >= over.pass_rate - ROUNDING {
            said(Verdict::Pass, None, format!("{seen}, {wanted} must"))
        } else {
            said(Verdict::Fail, None, format!("{seen}, {wanted} must"))
        };
    };
    let sure = percent(confidence);
    let highest = clopper_pearson_upper(passed as f64, judged as f64, confidence);
    if judged > 0 && highest < over.pass_rate {
        let text = format!(
            "{seen}: at most {} do, with confidence {sure}, and {wanted} must",
            percent(highest)
        );
        return said(Verdict::Fail, None, text);
    }
    let lowest = |judged: u64| 1.0 - clopper_pearson_upper(failed as f64, judged as f64, confidence);
    let is_shown = |judged: u64| lowest(judged) >= over.pass_rate - ROUNDING;
    if few == 0 && is_shown(judged) {
        let text = format!(
            "{seen}: at least {} do, with confidence {sure}, and {wanted} must",
            percent(lowest(judged))
        );
        return said(Verdict::Pass, None, text);
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
    said(Verdict::Inconclusive, needed, text)
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
        assert_eq!((open.verdict, open.needed), (Verdict::Inconclusive, Some(99)));
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
        assert_eq!(rate(Some(OVER), counts(19, 1)).verdict, Verdict::Inconclusive);
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
