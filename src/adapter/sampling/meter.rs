//! Measures the volume: how many spans would come, were nothing sampled, and of which operations.
//!
//! Entry spans are counted by the windows, with their weights. Spans of other kinds and bytes are counted as requests arrive;
//! how many of them there are for each entry span is measured here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::adapter::sampling::roots::OperationName;
use crate::model::report::Report;
use crate::model::sampling::TelemetryVolume;
use crate::model::series::ServiceKey;
use crate::model::span::SpanKind;
use crate::model::window::Window;
use crate::model::{NANOS_PER_SEC, UnixNanos};

/// Half-lives in seconds: of the rate that is now, of the mix of operations, and of what changes with releases alone.
const NOW_SECS: f64 = 600.0;
const MIX_SECS: f64 = 3_600.0;
const SHAPE_SECS: f64 = 6.0 * 3_600.0;

/// After a longer pause the machine had slept, or its clock was set: no rate can be told from it.
const GAP_SECS: f64 = 3_600.0;

/// Operations that are counted less are forgotten.
const FORGOTTEN_BELOW: f64 = 1e-3;

/// A sum over time in which what is old counts for less.
#[derive(Clone, Copy, Debug, Default)]
struct Fading {
    sum: f64,
    secs: f64,
}

impl Fading {
    fn add(&mut self, sum: f64, secs: f64, half_life: f64) {
        let factor = 0.5_f64.powf(secs / half_life);
        self.sum = self.sum * factor + sum;
        self.secs = self.secs * factor + secs;
    }

    fn per_second(self) -> Option<f64> {
        (self.secs > 0.0).then(|| self.sum / self.secs)
    }
}

/// Counts of an operation.
#[derive(Clone, Copy, Debug, Default)]
struct Operation {
    all: Fading,
    errors: Fading,
}

/// What came between two reports, were nothing sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// Seconds between them.
    pub secs: f64,
    /// Entry spans.
    pub entries: f64,
    /// Spans of every kind.
    pub spans: f64,
}

/// Requests of an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OperationRate {
    /// A day, at the present rate.
    pub per_day: f64,
    /// The share that fails; one half of a request failed and one half did not beside those that were seen.
    pub error_ratio: f64,
}

type CounterKey = (ServiceKey, String, SpanKind);

/// What was counted so far.
#[derive(Debug, Default)]
pub struct Meter {
    last: Option<(UnixNanos, TelemetryVolume)>,
    services: HashMap<CounterKey, (f64, f64)>,
    counters: HashMap<CounterKey, (f64, f64)>,
    operations: BTreeMap<OperationName, Operation>,
    spans: Fading,
    spans_shape: Fading,
    entries_shape: Fading,
    raw_spans: f64,
    raw_bytes: f64,
}

impl Meter {
    /// Takes a report and what arrived until now. The first one is where counting begins.
    pub fn observe(
        &mut self,
        report: &Report,
        volume: TelemetryVolume,
        now: UnixNanos,
    ) -> Interval {
        let before = self.last.replace((now, volume));
        let entries = changes(&mut self.services, &report.service_counters)
            .into_iter()
            .map(|(_, (ok, error))| ok + error)
            .sum();
        let operations = changes(&mut self.counters, &report.operation_counters);
        let Some((at, before)) = before else {
            return Interval::default();
        };
        let secs = now.saturating_sub(at) as f64 / NANOS_PER_SEC as f64;
        let raw_spans = volume.spans.saturating_sub(before.spans) as f64;
        self.raw_spans += raw_spans;
        self.raw_bytes += volume.bytes.saturating_sub(before.bytes) as f64;
        if secs > GAP_SECS {
            return Interval::default();
        }
        let spans = raw_spans * mean_weight(report);
        self.spans.add(spans, secs, NOW_SECS);
        self.spans_shape.add(spans, secs, SHAPE_SECS);
        self.entries_shape.add(entries, secs, SHAPE_SECS);
        self.count_operations(operations, secs);
        Interval {
            secs,
            entries,
            spans,
        }
    }

    fn count_operations(&mut self, counted: Vec<(CounterKey, (f64, f64))>, secs: f64) {
        let mut sums: BTreeMap<OperationName, (f64, f64)> = BTreeMap::new();
        for ((service, operation, _), (ok, error)) in counted {
            let name = (Arc::clone(&service.name), operation.as_str().into());
            let own = sums.entry(name).or_default();
            own.0 += ok + error;
            own.1 += error;
        }
        for (name, own) in &mut self.operations {
            let (all, errors) = sums.remove(name).unwrap_or_default();
            own.all.add(all, secs, MIX_SECS);
            own.errors.add(errors, secs, MIX_SECS);
        }
        for (name, (all, errors)) in sums.into_iter().filter(|(_, own)| own.0 > 0.0) {
            let mut own = Operation::default();
            // Nothing is what came of it before.
            own.all.add(all, secs, MIX_SECS);
            own.errors.add(errors, secs, MIX_SECS);
            self.operations.insert(name, own);
        }
        self.operations
            .retain(|_, own| own.all.sum >= FORGOTTEN_BELOW);
    }

    /// The requests of an operation; `None` before it had any.
    pub fn operation(&self, name: &OperationName) -> Option<OperationRate> {
        let own = self.operations.get(name)?;
        Some(OperationRate {
            per_day: own.all.per_second()? * 86_400.0,
            error_ratio: (own.errors.sum + 0.5) / (own.all.sum + 1.0),
        })
    }

    /// Spans of every kind that would come in a second now, were nothing sampled.
    pub fn spans_per_second(&self) -> Option<f64> {
        self.spans.per_second()
    }

    /// Spans of every kind for each entry span.
    pub fn spans_per_entry(&self) -> Option<f64> {
        let (spans, entries) = (self.spans_shape.sum, self.entries_shape.sum);
        (entries > 0.0 && spans > 0.0).then(|| spans / entries)
    }

    /// Bytes of a span on average.
    pub fn bytes_per_span(&self) -> Option<f64> {
        (self.raw_spans > 0.0).then(|| self.raw_bytes / self.raw_spans)
    }
}

/// How much each counter grew; one that is smaller than before has begun anew.
fn changes(
    known: &mut HashMap<CounterKey, (f64, f64)>,
    counters: &[crate::model::report::SeriesCounters],
) -> Vec<(CounterKey, (f64, f64))> {
    let mut next = HashMap::with_capacity(counters.len());
    let mut grown = Vec::new();
    for own in counters {
        let key = (own.service.clone(), own.operation.clone(), own.kind);
        let (ok, error) = known.get(&key).copied().unwrap_or_default();
        let more = |now: f64, before: f64| if now >= before { now - before } else { now };
        grown.push((key.clone(), (more(own.ok, ok), more(own.error, error))));
        next.insert(key, (own.ok, own.error));
    }
    *known = next;
    grown
}

/// The mean weight of the entry spans of the last minutes: 1 where every span arrives.
fn mean_weight(report: &Report) -> f64 {
    let services = report.services.iter().flat_map(|own| &own.windows);
    let (mut total, mut observed) = (0.0, 0.0);
    for sli in services.filter(|sli| sli.window == Window::M5) {
        total += sli.sums.total;
        observed += sli.sums.observed_total as f64;
    }
    if observed > 0.0 {
        (total / observed).max(1.0)
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::sampling::fixture::{counters, report, verdict};
    use crate::model::report::{Verdict, WindowSli};
    use crate::model::window::WindowSums;

    const SECOND: u64 = NANOS_PER_SEC;

    fn counted(ok: f64, error: f64) -> Report {
        let mut report = report(vec![verdict("shop", Verdict::Pass)]);
        report.service_counters = vec![counters("shop", "", (ok, error))];
        report.operation_counters = vec![counters("shop", "page", (ok, error))];
        report
    }

    fn volume(spans: u64) -> TelemetryVolume {
        TelemetryVolume {
            spans,
            bytes: spans * 400,
        }
    }

    fn near(a: Option<f64>, b: f64) {
        assert!((a.unwrap() - b).abs() < 1e-9 * b, "{a:?} {b}");
    }

    #[test]
    fn what_came_before_the_first_report_is_not_counted() {
        let mut meter = Meter::default();
        let first = meter.observe(&counted(1_000.0, 0.0), volume(9_000), SECOND);
        assert_eq!(first, Interval::default());
        assert_eq!(meter.spans_per_entry(), None);
        let second = meter.observe(&counted(1_090.0, 10.0), volume(9_500), 11 * SECOND);
        assert!((second.entries - 100.0).abs() < 1e-9 && (second.spans - 500.0).abs() < 1e-9);
        near(meter.spans_per_second(), 50.0);
        near(meter.spans_per_entry(), 5.0);
        near(meter.bytes_per_span(), 400.0);
        let page = meter.operation(&("shop".into(), "page".into())).unwrap();
        near(Some(page.per_day), 10.0 * 86_400.0);
        near(Some(page.error_ratio), 10.5 / 101.0);
        assert_eq!(meter.operation(&("shop".into(), "other".into())), None);
    }

    #[test]
    fn a_sampled_span_stands_for_those_that_did_not_come() {
        let mut meter = Meter::default();
        let sampled = |ok: f64| {
            let mut report = counted(ok, 0.0);
            report.services[0].windows = vec![WindowSli {
                window: Window::M5,
                sums: WindowSums {
                    total: 400.0,
                    observed_total: 100,
                    ..WindowSums::default()
                },
                error_ratio: Some(0.0),
            }];
            report
        };
        meter.observe(&sampled(0.0), volume(0), SECOND);
        let interval = meter.observe(&sampled(400.0), volume(500), 11 * SECOND);
        assert!((interval.spans - 2_000.0).abs() < 1e-9);
        near(meter.spans_per_entry(), 5.0);
    }

    #[test]
    fn a_clock_that_was_set_makes_no_rate() {
        let mut meter = Meter::default();
        meter.observe(&counted(0.0, 0.0), volume(0), SECOND);
        meter.observe(&counted(100.0, 0.0), volume(500), 11 * SECOND);
        for at in [u64::MAX, 12 * SECOND] {
            let interval = meter.observe(&counted(200.0, 0.0), volume(1_000), at);
            assert!(interval.secs < 1.0, "{interval:?}");
        }
        near(meter.spans_per_second(), 50.0);
    }

    #[test]
    fn a_counter_that_begins_anew_is_not_a_step_back() {
        let mut meter = Meter::default();
        meter.observe(&counted(1_000.0, 0.0), volume(1_000), SECOND);
        let interval = meter.observe(&counted(30.0, 0.0), volume(1_030), 2 * SECOND);
        assert!((interval.entries - 30.0).abs() < 1e-9);
    }

    #[test]
    fn rates_follow_the_present_within_their_half_life() {
        let mut meter = Meter::default();
        meter.observe(&counted(0.0, 0.0), volume(0), 0);
        let (mut at, mut spans) = (0, 0);
        let mut run = |meter: &mut Meter, per_second: u64, seconds: u64| {
            for _ in 0..seconds / 10 {
                at += 10 * SECOND;
                spans += 10 * per_second;
                meter.observe(&counted(spans as f64, 0.0), volume(spans), at);
            }
        };
        run(&mut meter, 100, 36_000);
        near(meter.spans_per_second(), 100.0);
        run(&mut meter, 300, 600);
        let now = meter.spans_per_second().unwrap();
        assert!((now - 200.0).abs() < 1.0, "{now}");
    }
}
