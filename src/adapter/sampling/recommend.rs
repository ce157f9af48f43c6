//! From a forecast and a budget to words: will it hold, and what is to be done.

use crate::adapter::sampling::forecast::{Forecasted, Method, Total, forecast};
use crate::model::recommendation::{ForecastDay, SamplingAction, TelemetryRecommendation};

/// The season of daily volumes.
const WEEK: [usize; 1] = [7];

/// The bounds of a day: one in ten is below, one in ten above.
const BOUND: f64 = 0.9;

/// Sampling is increased where so much more would hold the budget as well.
const MORE: f64 = 1.5;

/// So many days are looked at, the newest: three years.
const VOLUMES_MAX: usize = 1_096;

/// Unit of volumes that are told as multiples of their budget.
pub const BUDGETS: &str = "budgets";

/// What a forecast is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// What may be kept a day; `None` without a budget.
    pub budget_per_day: Option<f64>,
    /// Days ahead.
    pub horizon_days: u32,
    /// Alert above this probability.
    pub alert_probability: f64,
}

/// The days of a forecast of `steps_per_day` values each, and their sum.
pub fn days(
    forecasted: &Forecasted,
    steps_per_day: usize,
    rule: &Rule,
) -> (Vec<ForecastDay>, Total) {
    let steps = |day: u32| {
        let start = (day - 1) as usize * steps_per_day;
        start..start + steps_per_day
    };
    let made = &forecasted.prediction;
    let all = (1..=rule.horizon_days).map(|day| {
        let total = made.total(steps(day));
        ForecastDay {
            day,
            mean: total.mean.max(0.0),
            lower: total.quantile(1.0 - BOUND),
            upper: total.quantile(BOUND),
            probability_over_budget: rule.budget_per_day.map(|own| total.probability_over(own)),
        }
    });
    (
        all.collect(),
        made.total(0..rule.horizon_days as usize * steps_per_day),
    )
}

/// What is known of volumes whose rates are not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Facts {
    /// The probability to go over the budget; `None` without one.
    over: Option<f64>,
    /// The same with [`MORE`] sampling.
    over_with_more: Option<f64>,
    is_incident: bool,
}

/// Less where the budget will not hold, more in an incident and where it would hold anyway.
fn decide(facts: Facts, alert_probability: f64) -> SamplingAction {
    let is_likely = |probability: Option<f64>| probability.map(|own| own > alert_probability);
    match (is_likely(facts.over), is_likely(facts.over_with_more)) {
        _ if facts.is_incident => SamplingAction::IncreaseSampling,
        (Some(true), _) => SamplingAction::DecreaseSampling,
        (Some(false), Some(false)) => SamplingAction::IncreaseSampling,
        (Some(false) | None, _) => SamplingAction::MaintainSampling,
    }
}

/// A recommendation from daily volumes, the oldest first, whose sampling rates nobody told.
pub fn of_volumes(
    volumes: &[f64],
    unit: &str,
    rule: &Rule,
    is_incident: bool,
) -> TelemetryRecommendation {
    let horizon = rule.horizon_days as usize;
    let mut made = TelemetryRecommendation {
        unit: unit.to_owned(),
        budget_per_day: rule.budget_per_day,
        ..TelemetryRecommendation::default()
    };
    let mut facts = Facts {
        is_incident,
        ..Facts::default()
    };
    let older = volumes.len().saturating_sub(VOLUMES_MAX);
    let newest = volumes.get(older..).unwrap_or(volumes);
    if older > 0 {
        made.notes.push(format!(
            "of {} days the newest {VOLUMES_MAX} are looked at",
            volumes.len()
        ));
    }
    if let Some(forecasted) = forecast(newest, &WEEK, horizon, "day") {
        let total = fill(&mut made, &forecasted, 1, rule);
        let budget = rule
            .budget_per_day
            .map(|own| own * f64::from(rule.horizon_days));
        facts.over = made.probability_over_budget;
        facts.over_with_more = budget.map(|own| total.probability_over(own / MORE));
    } else {
        made.notes.push("no volumes are known".to_owned());
    }
    made.sampling_action = decide(facts, rule.alert_probability);
    made.notes.push(reason(&made, facts, rule));
    made
}

/// Puts a forecast into a recommendation, with the alert.
pub fn fill(
    made: &mut TelemetryRecommendation,
    forecasted: &Forecasted,
    steps_per_day: usize,
    rule: &Rule,
) -> Total {
    let (days, total) = days(forecasted, steps_per_day, rule);
    let budget = rule.budget_per_day;
    made.probability_over_budget =
        budget.map(|own| total.probability_over(own * f64::from(rule.horizon_days)));
    made.budget_alert = made
        .probability_over_budget
        .is_some_and(|own| own > rule.alert_probability);
    made.forecast = days;
    made.method = Some(forecasted.method.name());
    made.backtest.clone_from(&forecasted.backtest);
    if forecasted.method == Method::Mean && !forecasted.backtest.is_empty() {
        made.notes
            .push("no method did better on the past than its mean".to_owned());
    }
    made.notes.extend(forecasted.notes.iter().cloned());
    total
}

fn reason(made: &TelemetryRecommendation, facts: Facts, rule: &Rule) -> String {
    let over = facts.over.map(|own| {
        format!(
            "the next {} days exceed their budget with a probability of {}",
            rule.horizon_days,
            percent(own)
        )
    });
    match (over, made.sampling_action) {
        (over, SamplingAction::IncreaseSampling) if facts.is_incident => {
            let over = over.map_or_else(String::new, |over| format!("; {over}"));
            format!("something is wrong: sample more until it is over{over}")
        }
        (None, _) => "no budget is set: there is nothing to hold the volumes against".to_owned(),
        (Some(over), SamplingAction::DecreaseSampling) => format!("{over}: sample less"),
        (Some(over), SamplingAction::IncreaseSampling) => {
            format!(
                "{over}, and would hold it with half as much again: there is room to sample more"
            )
        }
        (Some(over), SamplingAction::MaintainSampling) => {
            format!("{over}: keep sampling as it is")
        }
    }
}

/// A probability for people.
pub fn percent(probability: f64) -> String {
    let percent = 100.0 * probability;
    if percent > 0.0 && percent < 1.0 {
        "less than 1 %".to_owned()
    } else if percent < 100.0 && percent > 99.0 {
        "more than 99 %".to_owned()
    } else {
        format!("{percent:.0} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        budget_per_day: Some(1.0),
        horizon_days: 7,
        alert_probability: 0.2,
    };

    fn of(volumes: &[f64], is_incident: bool) -> TelemetryRecommendation {
        of_volumes(volumes, BUDGETS, &RULE, is_incident)
    }

    /// 14 days around a level.
    fn around(level: f64) -> Vec<f64> {
        (0..14)
            .map(|day| level * (1.0 + 0.02 * f64::from(day % 3) - 0.02))
            .collect()
    }

    #[test]
    fn over_its_budget_sampling_is_decreased_and_people_are_told() {
        let made = of(&around(1.3), false);
        assert_eq!(made.sampling_action, SamplingAction::DecreaseSampling);
        assert!(made.budget_alert && made.probability_over_budget.unwrap() > 0.95);
        assert_eq!(made.forecast.len(), 7);
        let day = made.forecast[0];
        assert!(day.lower < day.mean && day.mean < day.upper, "{day:?}");
        assert!((1.2..1.4).contains(&day.mean) && day.probability_over_budget.unwrap() > 0.9);
    }

    /// The seed always said decrease.
    #[test]
    fn under_its_budget_sampling_is_not_decreased() {
        let far = of(&around(0.4), false);
        assert_eq!(far.sampling_action, SamplingAction::IncreaseSampling);
        assert!(!far.budget_alert && far.probability_over_budget.unwrap() < 0.05);
        // Half as much again would be too much.
        let near = of(&around(0.85), false);
        assert_eq!(
            near.sampling_action,
            SamplingAction::MaintainSampling,
            "{near:?}"
        );
        assert!(!near.budget_alert);
    }

    #[test]
    fn in_an_incident_more_is_sampled_whatever_it_costs() {
        for level in [0.4, 1.3] {
            let made = of(&around(level), true);
            assert_eq!(made.sampling_action, SamplingAction::IncreaseSampling);
            assert!(
                made.notes
                    .iter()
                    .any(|note| note.contains("something is wrong"))
            );
        }
        assert!(of(&around(1.3), true).budget_alert);
    }

    #[test]
    fn of_many_years_the_newest_are_looked_at() {
        let mut volumes = vec![1e9; 5_000];
        volumes.extend(around(0.9).repeat(80));
        let made = of(&volumes, false);
        assert!(made.forecast[0].mean < 1.0, "{:?}", made.forecast[0]);
        assert!(made.notes[0].contains("6120"), "{:?}", made.notes);
    }

    /// One high day of seven is no alert, as the greatest of the point forecasts would have it.
    #[test]
    fn the_sum_decides_and_not_the_highest_day() {
        let week = [0.7, 0.7, 0.7, 0.7, 1.2, 0.6, 0.5];
        let made = of(&week.repeat(5), false);
        assert!(made.forecast.iter().any(|day| day.mean > 1.1), "{made:?}");
        assert!(!made.budget_alert, "{:?}", made.probability_over_budget);
    }

    #[test]
    fn one_day_is_a_forecast_with_wide_bounds_and_none_is_none() {
        let made = of(&[0.9], false);
        assert_eq!(made.method.as_deref(), Some("mean"));
        assert!(made.forecast[0].upper > 2.0 && made.forecast[0].lower < 1e-12);
        assert!(
            made.notes[0].contains("1 day of history"),
            "{:?}",
            made.notes
        );
        let none = of(&[], false);
        assert_eq!(none.sampling_action, SamplingAction::MaintainSampling);
        assert!(none.forecast.is_empty() && none.method.is_none());
    }

    #[test]
    fn without_a_budget_nothing_is_recommended() {
        let rule = Rule {
            budget_per_day: None,
            ..RULE
        };
        let made = of_volumes(&around(1e6), "spans", &rule, false);
        assert_eq!(made.sampling_action, SamplingAction::MaintainSampling);
        assert!(made.probability_over_budget.is_none() && !made.budget_alert);
        assert_eq!(made.forecast.len(), 7);
    }
}
