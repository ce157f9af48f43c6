//! What is simulated on healthy traces against what really happens, and what is learnt against what is there.

use std::collections::BTreeMap;

use slo_copilot::model::span::Outcome;
use slo_copilot::model::trace::Trace;
use slo_copilot::traffic::shop;

use crate::support::truth::{Entry, faults, learned, recorded, simulated, systems, traffic};

/// Enough for a quick test; `cargo bench --bench simulation` does the same with thirty times as many.
const SECS: u64 = 90;

#[test]
fn the_predicted_p95_and_error_ratio_of_the_entry_are_within_ten_percent_of_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (system, model) in systems() {
        let healthy = recorded(traffic(&model, SECS, 1, None), folder.path());
        for (name, fault) in faults() {
            let predicted = simulated(&healthy, &fault);
            let truth = Entry::of_generated(&traffic(&model, SECS, 2, Some(&fault)));
            // Both are samples: three standard errors of their difference come on top of the 10 %.
            let both = 2.0 / truth.count as f64;
            let noise = 3.0 * (truth.error_ratio * (1.0 - truth.error_ratio) * both).sqrt();
            let error_is_near = (predicted.error_ratio - truth.error_ratio).abs()
                <= 0.1 * truth.error_ratio + noise;
            let p95_is_near = (predicted.p95_ms / truth.p95_ms - 1.0).abs() <= 0.1;
            if !error_is_near || !p95_is_near {
                wrong.push(format!("{system}, {name}: {predicted:?}, not {truth:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Durations in milliseconds and failures by service, operation and kind.
type Seen = BTreeMap<(String, String), (Vec<f64>, usize)>;

fn seen(traces: &[Trace]) -> Seen {
    let mut seen = Seen::new();
    for span in traces.iter().flat_map(|trace| &trace.spans) {
        let key = (
            span.resource.service.name.to_string(),
            format!("{} {:?}", span.operation, span.kind),
        );
        let (durations, failures) = seen.entry(key).or_default();
        durations.push(span.duration_nanos() as f64 / 1e6);
        *failures += usize::from(span.outcome == Outcome::Error);
    }
    for (durations, _) in seen.values_mut() {
        durations.sort_by(f64::total_cmp);
    }
    seen
}

#[test]
fn traffic_of_a_learnt_model_is_like_the_traffic_that_it_was_learnt_from() {
    let folder = tempfile::tempdir().unwrap();
    let [_, fan_out, mixed] = systems();
    let mut slow_shop = shop::model();
    for load in &mut slow_shop.load {
        load.per_minute *= 0.4;
    }
    for (name, model) in [fan_out, mixed, ("shop", slow_shop)] {
        let first = recorded(traffic(&model, SECS * 2, 3, None), folder.path());
        let again = recorded(traffic(&learned(&first), SECS * 2, 4, None), folder.path());
        let (first, again) = (seen(&first), seen(&again));
        assert_eq!(
            first.keys().collect::<Vec<_>>(),
            again.keys().collect::<Vec<_>>(),
            "{name}"
        );
        for (key, (durations, failures)) in &first {
            let (new_durations, new_failures) = &again[key];
            let (n, m) = (durations.len() as f64, new_durations.len() as f64);
            // Counts are Poisson: 4 standard errors of the difference, and 3 % of the model.
            assert!(
                (n - m).abs() <= 0.03 * n + 4.0 * (n + m).sqrt(),
                "{name} {key:?}: {n} and {m}"
            );
            let ratio = *failures as f64 / n;
            let new_ratio = *new_failures as f64 / m;
            let noise = 4.0 * ((ratio + 1.0 / n) * (1.0 / n + 1.0 / m)).sqrt();
            assert!(
                (ratio - new_ratio).abs() <= 0.1 * ratio + noise,
                "{name} {key:?}: errors {ratio}, {new_ratio}"
            );
            for (percent, tolerance) in [(50, 0.08), (95, 0.12), (99, 0.25)] {
                // Quantiles with fewer than thirty samples beyond them are chance.
                if durations.len().min(new_durations.len()) * (100 - percent) < 3_000 {
                    continue;
                }
                let at = |sorted: &[f64]| sorted[sorted.len() * percent / 100];
                let (was, is) = (at(durations), at(new_durations));
                assert!(
                    (was / is - 1.0).abs() < tolerance,
                    "{name} {key:?} at {percent} %: {was}, {is} ms"
                );
            }
        }
    }
}
