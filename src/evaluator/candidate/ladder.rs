//! The ladder: the steps that candidates may propose. Targets of availability, thresholds of the latency.

use crate::model::candidate::Step;
use crate::model::slo::Sli;
use crate::model::window::LATENCY_LADDER_MICROS;

use crate::evaluator::figures::{milliseconds, percentage};

/// Targets that availability candidates may have, the highest first.
pub const TARGET_LADDER: [f64; 7] = [0.999_9, 0.999_5, 0.999, 0.995, 0.99, 0.95, 0.9];

/// The loosest target of [`TARGET_LADDER`].
pub(super) const TARGET_MIN: f64 = 0.9;

/// The highest target of the ladder that is at most `bound`.
pub(super) fn target_at_most(bound: f64) -> Option<f64> {
    TARGET_LADDER.into_iter().find(|target| *target <= bound)
}

/// 1 − ratio without the noise of binary fractions: 0.001, not 0.0010000000000000009.
pub(super) fn complement(ratio: f64) -> f64 {
    ((1.0 - ratio) * 1e9).round() / 1e9
}

/// The error budget of a step.
pub(super) fn budget_of(step: Step) -> f64 {
    complement(step.target)
}

/// The next tighter step: a higher target, or a lower threshold of the latency.
pub(super) fn tighter(step: Step) -> Option<Step> {
    match step.sli {
        Sli::Availability | Sli::ErrorRate => {
            let target = TARGET_LADDER
                .into_iter()
                .rfind(|held| *held > step.target)?;
            Some(Step { target, ..step })
        }
        Sli::Latency { threshold_micros } => LATENCY_LADDER_MICROS
            .into_iter()
            .rfind(|edge| *edge < threshold_micros)
            .map(|edge| with_threshold(step, edge)),
    }
}

/// The next looser step: a lower target, or a higher threshold of the latency.
pub(super) fn looser(step: Step) -> Option<Step> {
    match step.sli {
        Sli::Availability | Sli::ErrorRate => {
            let target = TARGET_LADDER.into_iter().find(|held| *held < step.target)?;
            Some(Step { target, ..step })
        }
        Sli::Latency { threshold_micros } => LATENCY_LADDER_MICROS
            .into_iter()
            .find(|edge| *edge > threshold_micros)
            .map(|edge| with_threshold(step, edge)),
    }
}

fn with_threshold(step: Step, threshold_micros: u64) -> Step {
    Step {
        sli: Sli::Latency { threshold_micros },
        ..step
    }
}

/// What a step promises: its target, or its threshold.
pub(super) fn label(step: Step) -> String {
    match step.sli {
        Sli::Availability | Sli::ErrorRate => percentage(step.target),
        Sli::Latency { threshold_micros } => milliseconds(threshold_micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn availability(target: f64) -> Step {
        Step {
            sli: Sli::Availability,
            target,
        }
    }

    fn latency(threshold_micros: u64) -> Step {
        Step {
            sli: Sli::Latency { threshold_micros },
            target: 0.95,
        }
    }

    #[test]
    fn a_target_of_the_ladder_is_kept_where_it_is_met_exactly() {
        assert_eq!(target_at_most(0.999), Some(0.999));
        assert_eq!(target_at_most(0.998_999), Some(0.995));
        assert_eq!(target_at_most(1.0), Some(0.999_9));
        assert_eq!(target_at_most(0.899), None);
    }

    #[test]
    fn steps_follow_each_other_both_ways_and_end() {
        assert_eq!(tighter(availability(0.99)), Some(availability(0.995)));
        assert_eq!(looser(availability(0.99)), Some(availability(0.95)));
        assert_eq!(tighter(availability(0.999_9)), None);
        assert_eq!(looser(availability(0.9)), None);
        assert_eq!(tighter(latency(300_000)), Some(latency(250_000)));
        assert_eq!(looser(latency(300_000)), Some(latency(400_000)));
        assert_eq!(tighter(latency(500)), None);
        assert_eq!(looser(latency(60_000_000)), None);
    }

    #[test]
    fn a_budget_has_no_noise() {
        let budgets =
            [0.9999, 0.9995, 0.95].map(|target| budget_of(availability(target)).to_string());
        assert_eq!(budgets, ["0.0001", "0.0005", "0.05"]);
    }

    #[test]
    fn a_step_is_called_by_what_it_promises() {
        assert_eq!(label(availability(0.9995)), "99.95%");
        assert_eq!(label(latency(1_500_000)), "1.5 s");
    }
}
