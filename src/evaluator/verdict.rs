//! From measured objectives to a verdict, and how long a bad one stays.

use std::collections::BTreeMap;

use crate::evaluator::error_budget_policy::strictest_action;
use crate::evaluator::objective::Standing;
use crate::model::report::{ObjectiveStatus, Reason, Verdict, VerdictEvidence, VerdictReport};
use crate::model::series::ServiceKey;
use crate::model::{NANOS_PER_SEC, UnixNanos};

/// `source` of a reason that is about the question: why it has no answer, or none that counts yet.
pub const REQUEST_SOURCE: &str = "request";

/// What a gate is told when nothing was adopted.
const NO_OBJECTIVES: &str = "no objective is adopted: accept a candidate (`slo-copilot candidates \
    accept NAME`, or POST /api/v1/candidates/NAME:accept), or list objectives in the configuration or in OpenSLO files";

/// `fail > warn > pass` over the conclusive objectives; inconclusive if none is, or a required one is not.
pub fn judge(
    service: Option<&ServiceKey>,
    statuses: &[&ObjectiveStatus],
    now: UnixNanos,
) -> VerdictReport {
    let standings: Vec<Standing<'_>> = statuses.iter().copied().map(Standing::from).collect();
    judge_standings(service, &standings, now)
}

/// The same over objectives, composites and rollouts.
pub fn judge_standings(
    service: Option<&ServiceKey>,
    standings: &[Standing<'_>],
    now: UnixNanos,
) -> VerdictReport {
    judge_all(service, standings, std::iter::empty(), now)
}

/// The same with what others say, such as trace tests.
pub fn judge_all(
    service: Option<&ServiceKey>,
    standings: &[Standing<'_>],
    others: impl Iterator<Item = Opinion>,
    now: UnixNanos,
) -> VerdictReport {
    let opinions = standings.iter().map(|standing| Opinion {
        required: standing.required,
        weight: standing.weight,
        state: standing.state,
        reason: standing.reason(),
    });
    let verdict = weigh(service, others.chain(opinions).collect(), timestamp(now));
    let mut reasons = verdict.reasons;
    reasons.extend(standings.iter().filter_map(Standing::policy_reason));
    let action = strictest_action(standings.iter().filter_map(Standing::action));
    VerdictReport {
        reasons,
        action: action.map(str::to_owned),
        ..verdict
    }
}

/// What one objective says.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    /// The verdict is inconclusive while this one is.
    pub required: bool,
    /// Weight in the score.
    pub weight: f64,
    /// pass, warn, fail, or inconclusive while undecided.
    pub state: Verdict,
    /// Why; nothing of one that passes.
    pub reason: Option<Reason>,
}

/// The verdict that opinions add up to.
pub fn weigh(
    service: Option<&ServiceKey>,
    opinions: Vec<Opinion>,
    generated_at: jiff::Timestamp,
) -> VerdictReport {
    let is_empty = opinions.is_empty();
    let is_open = |opinion: &Opinion| opinion.state == Verdict::Inconclusive;
    let (undecided, mut conclusive): (Vec<Opinion>, Vec<Opinion>) =
        opinions.into_iter().partition(is_open);
    let required_open = undecided.iter().any(|opinion| opinion.required);
    let worst = conclusive.iter().map(|opinion| opinion.state).max();
    let verdict = match worst {
        // A failure stands, whatever else is unknown.
        Some(Verdict::Fail) => Verdict::Fail,
        Some(_) | None if required_open => Verdict::Inconclusive,
        Some(worst) => worst,
        None => Verdict::Inconclusive,
    };
    let score = (verdict != Verdict::Inconclusive).then(|| score_of(&conclusive));
    // The worst first.
    conclusive.sort_by_key(|opinion| std::cmp::Reverse(opinion.state));
    let reasons = |opinions: Vec<Opinion>| -> Vec<Reason> {
        let reasons = opinions.into_iter().filter_map(|opinion| opinion.reason);
        reasons.collect()
    };
    let mut decided = reasons(conclusive);
    if is_empty {
        decided.push(Reason {
            source: "objective".to_owned(),
            name: String::new(),
            window: None,
            observed: None,
            limit: None,
            text: NO_OBJECTIVES.to_owned(),
        });
    }
    VerdictReport {
        verdict,
        ok: verdict.is_ok(),
        score,
        service: service.cloned(),
        version: None,
        window: None,
        reasons: decided,
        undecided: reasons(undecided),
        evidence: VerdictEvidence::default(),
        action: None,
        generated_at,
    }
}

/// RFC 3339; the epoch for times beyond the calendar.
pub fn timestamp(now: UnixNanos) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap_or_default()
}

/// 100·Σw·s/Σw with pass 1, warn ½, fail 0.
fn score_of(conclusive: &[Opinion]) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for opinion in conclusive {
        let points = match opinion.state {
            Verdict::Pass => 1.0,
            Verdict::Warn => 0.5,
            Verdict::Fail | Verdict::Inconclusive => 0.0,
        };
        sum += opinion.weight * points;
        weights += opinion.weight;
    }
    if weights > 0.0 {
        100.0 * sum / weights
    } else {
        0.0
    }
}

/// Keeps a bad verdict until things have been better for a while. Worsening is immediate.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    shown: BTreeMap<Option<ServiceKey>, Shown>,
}

#[derive(Clone, Debug)]
struct Shown {
    verdict: VerdictReport,
    /// Since when the raw verdict has been better than the shown one.
    better_since: Option<UnixNanos>,
}

impl Recovery {
    /// What to show for `raw`, when improving takes `recovery_secs`.
    pub fn apply(
        &mut self,
        raw: VerdictReport,
        now: UnixNanos,
        recovery_secs: u64,
    ) -> VerdictReport {
        let Some(shown) = self.shown.get_mut(&raw.service) else {
            let shown = Shown {
                verdict: raw.clone(),
                better_since: None,
            };
            self.shown.insert(raw.service.clone(), shown);
            return raw;
        };
        if badness(raw.verdict) >= badness(shown.verdict.verdict) {
            *shown = Shown {
                verdict: raw.clone(),
                better_since: None,
            };
            return raw;
        }
        let since = *shown.better_since.get_or_insert(now);
        let better_secs = now.saturating_sub(since) / NANOS_PER_SEC;
        if better_secs >= recovery_secs {
            *shown = Shown {
                verdict: raw.clone(),
                better_since: None,
            };
            return raw;
        }
        let mut held = VerdictReport {
            evidence: raw.evidence,
            generated_at: raw.generated_at,
            undecided: raw.undecided,
            ..shown.verdict.clone()
        };
        held.reasons.push(Reason {
            source: "recovery".to_owned(),
            name: String::new(),
            window: None,
            observed: Some(better_secs as f64),
            limit: Some(recovery_secs as f64),
            text: format!(
                "measured {} for {better_secs} s; the verdict improves after {recovery_secs} s (evaluator.recovery)",
                raw.verdict.label()
            ),
        });
        held
    }

    /// Forgets services that are gone.
    pub fn retain(&mut self, services: &[ServiceKey]) {
        self.shown.retain(|service, _| {
            service
                .as_ref()
                .is_none_or(|service| services.contains(service))
        });
    }
}

/// Pass and inconclusive are equally good to leave at once.
fn badness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass | Verdict::Inconclusive => 0,
        Verdict::Warn => 1,
        Verdict::Fail => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::objective::tests::status;

    const NOW: UnixNanos = 1_700_000_000 * NANOS_PER_SEC;

    fn verdict_of(statuses: &[ObjectiveStatus]) -> VerdictReport {
        judge(None, &statuses.iter().collect::<Vec<_>>(), NOW)
    }

    #[test]
    fn the_worst_conclusive_objective_decides() {
        let (pass, fail) = (status("a", 0, 1_000), status("c", 100, 1_000));
        let warn = ObjectiveStatus {
            state: Verdict::Warn,
            ..status("b", 9, 1_000)
        };
        assert_eq!(
            verdict_of(std::slice::from_ref(&pass)).verdict,
            Verdict::Pass
        );
        assert_eq!(
            verdict_of(&[pass.clone(), warn.clone()]).verdict,
            Verdict::Warn
        );
        let all = verdict_of(&[pass, warn, fail]);
        assert_eq!((all.verdict, all.ok), (Verdict::Fail, false));
        assert!((all.score.unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(all.reasons.len(), 2);
    }

    #[test]
    fn an_undecided_objective_is_listed_and_does_not_decide() {
        let report = verdict_of(&[status("a", 0, 1_000), status("b", 0, 5)]);
        assert_eq!(report.verdict, Verdict::Pass);
        assert_eq!(report.undecided.len(), 1);
    }

    #[test]
    fn a_required_objective_that_is_undecided_makes_it_inconclusive_but_hides_no_failure() {
        let mut required = status("b", 0, 5);
        required.objective.required = true;
        let open = verdict_of(&[status("a", 0, 1_000), required.clone()]);
        assert_eq!((open.verdict, open.score), (Verdict::Inconclusive, None));
        assert_eq!(
            verdict_of(&[status("a", 100, 1_000), required]).verdict,
            Verdict::Fail
        );
    }

    #[test]
    fn without_objectives_the_answer_says_how_to_adopt_one() {
        let report = verdict_of(&[]);
        assert_eq!(report.verdict, Verdict::Inconclusive);
        assert!(report.reasons[0].text.contains(":accept"));
    }

    #[test]
    fn worsening_is_immediate_and_improving_takes_its_time() {
        let mut recovery = Recovery::default();
        let good = || verdict_of(&[status("a", 0, 1_000)]);
        let bad = || verdict_of(&[status("a", 100, 1_000)]);
        let at = |secs: u64| NOW + secs * NANOS_PER_SEC;
        let mut shown = |raw, secs| recovery.apply(raw, at(secs), 300).verdict;
        assert_eq!(shown(good(), 0), Verdict::Pass);
        assert_eq!(shown(bad(), 10), Verdict::Fail);
        assert_eq!(shown(good(), 20), Verdict::Fail);
        assert_eq!(shown(good(), 319), Verdict::Fail);
        assert_eq!(shown(bad(), 320), Verdict::Fail);
        assert_eq!(
            shown(good(), 330),
            Verdict::Fail,
            "a relapse starts the wait again"
        );
        assert_eq!(shown(good(), 629), Verdict::Fail);
        assert_eq!(shown(good(), 630), Verdict::Pass);
    }
}
