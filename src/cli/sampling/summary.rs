//! The answer of `sampling` for people.

use std::fmt::Write as _;

use crate::adapter::sampling::rates::Rate;
use crate::adapter::sampling::recommend::percent;
use crate::cli::sampling::Answer;
use crate::cli::text::table;
use crate::exporter::ci::visible;

/// Operations that are listed.
const RATES_SHOWN: usize = 40;

/// Tables and a sentence; ends with a newline.
pub(super) fn summary(answer: &Answer) -> String {
    let made = &answer.recommendation;
    let mut text = String::new();
    if !made.forecast.is_empty() {
        let rows: Vec<[String; 5]> = made
            .forecast
            .iter()
            .map(|day| {
                [
                    day.day.to_string(),
                    amount(day.mean),
                    amount(day.lower),
                    amount(day.upper),
                    day.probability_over_budget.map(percent).unwrap_or_default(),
                ]
            })
            .collect();
        text.push_str(&table(
            ["DAY", &made.unit, "10 %", "90 %", "OVER BUDGET"],
            &rows,
        ));
        text.push('\n');
    }
    text.push_str(&rates_table(&answer.rates));
    write!(text, "{}", made.sampling_action.label()).ok();
    if let (Some(over), Some(budget)) = (made.probability_over_budget, made.budget_per_day) {
        let days = made.forecast.len();
        let alert = if made.budget_alert { " (alert)" } else { "" };
        write!(
            text,
            ": {days} days exceed their budget of {} {} a day with a probability of {}{alert}",
            amount(budget),
            made.unit,
            percent(over)
        )
        .ok();
    }
    if let Some(method) = &made.method {
        write!(text, "; method: {method}").ok();
    }
    text.push('\n');
    for note in &made.notes {
        writeln!(text, "  {note}").ok();
    }
    text
}

/// The operations with the most spans, and their rates; nothing without any.
fn rates_table(rates: &[Rate]) -> String {
    if rates.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<&Rate> = rates.iter().collect();
    let volume = |rate: &Rate| rate.traces_per_day * rate.spans_per_trace;
    sorted.sort_by(|a, b| volume(b).total_cmp(&volume(a)));
    let rows: Vec<[String; 6]> = sorted
        .iter()
        .take(RATES_SHOWN)
        .map(|rate| {
            [
                visible(&rate.service),
                visible(&rate.operation),
                amount(rate.traces_per_day),
                format!("{:.1}", rate.spans_per_trace),
                format!("{:.3} %", 100.0 * rate.error_ratio),
                format!("{:.4}", rate.ratio),
            ]
        })
        .collect();
    let heads = [
        "SERVICE",
        "ROOT OPERATION",
        "TRACES/DAY",
        "SPANS",
        "ERRORS",
        "RATE",
    ];
    let mut text = table(heads, &rows);
    if rates.len() > RATES_SHOWN {
        writeln!(text, "and {} more operations", rates.len() - RATES_SHOWN).ok();
    }
    text.push('\n');
    text
}

/// A volume for people.
fn amount(volume: f64) -> String {
    let scaled = |by: f64, unit: &str| format!("{:.2}{unit}", volume / by);
    if volume >= 1e9 {
        scaled(1e9, " G")
    } else if volume >= 1e6 {
        scaled(1e6, " M")
    } else if volume >= 1e4 {
        scaled(1e3, " k")
    } else if volume >= 100.0 {
        format!("{volume:.0}")
    } else {
        format!("{volume:.3}")
    }
}
