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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::exporter::prometheus::fixture::report;
    use crate::exporter::prometheus::render;
    use crate::model::recommendation::{ForecastDay, TelemetryRecommendation};
    use crate::model::sampling::{SamplingPlan, ServiceSampling};

    #[test]
    fn the_budget_is_on_the_page_while_it_is_known() {
        let mut report = report();
        assert!(!render(&report).contains("slo_copilot_sampling"));
        report.telemetry_recommendation = Some(Arc::new(TelemetryRecommendation {
            unit: "bytes".to_owned(),
            budget_per_day: Some(50.0),
            probability_over_budget: Some(0.75),
            forecast: vec![ForecastDay {
                day: 1,
                mean: 60.0,
                lower: 40.0,
                upper: 80.0,
                probability_over_budget: Some(0.7),
            }],
            plan: Some(Arc::new(SamplingPlan {
                services: vec![ServiceSampling {
                    service: "checkout".to_owned(),
                    default_ratio: 0.25,
                    operations: Vec::new(),
                }],
                ..SamplingPlan::default()
            })),
            ..TelemetryRecommendation::default()
        }));
        let page = render(&report);
        for line in [
            "slo_copilot_telemetry_budget_ratio{unit=\"bytes\"} 1.2",
            "slo_copilot_telemetry_over_budget_probability{unit=\"bytes\"} 0.75",
            "slo_copilot_telemetry_forecast_volume{unit=\"bytes\"} 60",
            "slo_copilot_sampling_rate_ratio{service=\"checkout\"} 0.25",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        assert!(!page.contains("slo_copilot_sampling_kept_ratio{"), "{page}");
    }
}
