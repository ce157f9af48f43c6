//! The families of the telemetry budget.

use super::{Family, Labels};
use crate::model::report::Report;

/// Forecast of the next 24 hours over the budget of a day, were everything kept.
const BUDGET_RATIO: &str = "slo_copilot_telemetry_budget_ratio";
/// Probability that the days of the forecast exceed their budget, were everything kept.
const OVER_BUDGET: &str = "slo_copilot_telemetry_over_budget_probability";
/// Forecast of the next 24 hours.
const FORECAST: &str = "slo_copilot_telemetry_forecast_volume";
/// Share of all spans that the plan keeps.
const KEPT_RATIO: &str = "slo_copilot_sampling_kept_ratio";
/// Mean rate of the traces that begin in a service.
const RATE: &str = "slo_copilot_sampling_rate_ratio";

/// Writes the families; nothing while the adapter is off.
pub(super) fn render(page: &mut String, report: &Report) {
    let Some(telemetry) = &report.telemetry_recommendation else {
        return;
    };
    let unit = Labels::new(&[("unit", &telemetry.unit)]);
    let day = telemetry.forecast.first();
    let ratio = day
        .zip(telemetry.budget_per_day)
        .map(|(day, budget)| day.mean / budget);
    let help = "Telemetry of the next 24 hours over the budget of a day, were everything kept.";
    Family::gauge(page, BUDGET_RATIO, help).optional(&unit, ratio);
    let help =
        "Probability that the days of the forecast exceed their budget, were everything kept.";
    Family::gauge(page, OVER_BUDGET, help).optional(&unit, telemetry.probability_over_budget);
    let help = "Telemetry expected in the next 24 hours, were everything kept.";
    Family::gauge(page, FORECAST, help).optional(&unit, day.map(|day| day.mean));
    let help = "Share of all spans that the sampling plan keeps.";
    Family::gauge(page, KEPT_RATIO, help).optional(&unit, telemetry.kept_ratio);
    let help = "Mean rate at which traces that begin in a service are sampled.";
    let mut family = Family::gauge(page, RATE, help);
    let services = telemetry.plan.iter().flat_map(|plan| &plan.services);
    for own in services {
        family.sample(
            "",
            &Labels::new(&[("service", &own.service)]),
            own.default_ratio,
        );
    }
}
