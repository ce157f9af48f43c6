//! What becomes of a week that is sampled.

use std::collections::BTreeMap;

use slo_copilot::evaluator::statistics::{clopper_pearson_lower, clopper_pearson_upper};
use slo_copilot::trace::sampling::{Randomness, Threshold};

use crate::samplers::{Kept, Sampler};
use crate::week::{MINUTE, START, Week};

/// What became of a week.
#[derive(Default)]
pub struct Outcomes {
    pub kept_by_day: Vec<f64>,
    pub errors: (u64, u64),
    pub slow: (u64, u64),
    /// Intervals that held the truth, and all, of error ratio and latency.
    pub error_sli: (u64, u64),
    pub latency_sli: (u64, u64),
    /// Mean width of the intervals of the error ratio over the truth.
    pub width: (f64, u64),
}

/// The events of one root operation in one hour.
#[derive(Clone, Default)]
struct Hour {
    all: Vec<(bool, f32)>,
    kept: Vec<(bool, f32, f64)>,
}

fn quantile(values: &mut [f32], quantile: f64) -> f32 {
    if values.is_empty() {
        return f32::INFINITY;
    }
    values.sort_unstable_by(f32::total_cmp);
    values[((values.len() as f64 * quantile).ceil() as usize).clamp(1, values.len()) - 1]
}

/// Whether the 95 % interval of a weighted share holds the truth, and how wide it is.
fn holds(events: impl Iterator<Item = (bool, f64)> + Clone, truth: f64) -> Option<(bool, f64)> {
    let weights: f64 = events.clone().map(|own| own.1).sum();
    let squares: f64 = events.clone().map(|own| own.1 * own.1).sum();
    let bad: f64 = events.filter(|own| own.0).map(|own| own.1).sum();
    if weights <= 0.0 {
        return None;
    }
    let n_eff = weights * weights / squares;
    let x = bad / weights * n_eff;
    let (lower, upper) = (
        clopper_pearson_lower(x, n_eff, 0.975),
        clopper_pearson_upper(x, n_eff, 0.975),
    );
    Some(((lower..=upper).contains(&truth), upper - lower))
}

impl Outcomes {
    fn judge(&mut self, hours: &mut BTreeMap<usize, Hour>) {
        for hour in hours.values_mut() {
            let all = hour.all.len() as f64;
            let truth = hour.all.iter().filter(|own| own.0).count() as f64 / all;
            if let Some((is_held, width)) = holds(hour.kept.iter().map(|own| (own.0, own.2)), truth)
            {
                self.error_sli.0 += u64::from(is_held);
                self.error_sli.1 += 1;
                self.width.0 += width;
                self.width.1 += 1;
            }
            let mut times: Vec<f32> = hour.all.iter().map(|own| own.1).collect();
            let p95 = quantile(&mut times, 0.95);
            let truth = hour.all.iter().filter(|own| own.1 > p95).count() as f64 / all;
            if let Some((is_held, _)) =
                holds(hour.kept.iter().map(|own| (own.1 > p95, own.2)), truth)
            {
                self.latency_sli.0 += u64::from(is_held);
                self.latency_sli.1 += 1;
            }
        }
        hours.clear();
    }
}

/// Replays a week: each trace is kept by its id, and where there is a tail, for its error or its duration.
pub fn replay(week: &Week, sampler: &mut impl Sampler, has_tail: bool) -> Outcomes {
    let mut outcomes = Outcomes {
        kept_by_day: vec![0.0; usize::try_from(week.days).unwrap()],
        ..Outcomes::default()
    };
    let roots = week.roots.len();
    // By root operation, and all together.
    let mut hours: BTreeMap<usize, Hour> = BTreeMap::new();
    let mut slow = vec![f32::INFINITY; roots];
    let mut rest = week.digests.as_slice();
    for minute in 0..week.days * 1_440 {
        let end = START + (minute + 1) * MINUTE;
        let count = rest.partition_point(|own| own.start < end);
        let (now, later) = rest.split_at(count);
        rest = later;
        let (mut kept_spans, mut bad) = (0.0, (0.0, 0.0));
        let thresholds: Vec<Threshold> = (0..roots)
            .map(|root| Threshold::ALL.scaled(sampler.ratio(root)))
            .collect();
        for own in now {
            let root = usize::from(own.root);
            let is_slow = own.seconds > slow[root];
            let is_wanted = has_tail && (own.has_error || is_slow);
            let threshold = thresholds[root];
            let is_kept = is_wanted || threshold.keeps(Randomness::from_number(own.randomness));
            for (is_bad, counts) in [
                (own.has_error, &mut outcomes.errors),
                (is_slow, &mut outcomes.slow),
            ] {
                counts.0 += u64::from(is_bad && is_kept);
                counts.1 += u64::from(is_bad);
            }
            if own.has_error || is_slow {
                bad.0 += f64::from(u8::from(is_kept));
                bad.1 += 1.0;
            }
            for key in [root, roots] {
                let hour = hours.entry(key).or_default();
                hour.all.push((own.is_error, own.seconds));
                if is_kept {
                    let weight = if is_wanted {
                        1.0
                    } else {
                        1.0 / threshold.ratio()
                    };
                    hour.kept.push((own.is_error, own.seconds, weight));
                }
            }
            kept_spans += if is_kept { f64::from(own.spans) } else { 0.0 };
        }
        outcomes.kept_by_day[usize::try_from(minute / 1_440).unwrap()] += kept_spans;
        let kept = Kept {
            spans: kept_spans,
            bad_share: (bad.1 > 0.0).then(|| bad.0 / bad.1),
        };
        sampler.minute(week, now, kept, end);
        if (minute + 1).is_multiple_of(60) {
            for (root, limit) in slow.iter_mut().enumerate() {
                let times: Option<Vec<f32>> = hours
                    .get(&root)
                    .map(|hour| hour.all.iter().map(|own| own.1).collect());
                *limit = quantile(&mut times.unwrap_or_default(), 0.99);
            }
            outcomes.judge(&mut hours);
        }
    }
    outcomes
}
/// How far the days of a week are off their budget, in percent.
pub struct Off {
    /// All of them together.
    pub week: f64,
    /// Each of them on average, whichever way.
    pub day: f64,
    pub worst: f64,
}

impl Off {
    pub fn new(week: &Week, outcomes: &Outcomes) -> Self {
        let off = |kept: f64, days: f64| 100.0 * (kept / (days * week.budget()) - 1.0);
        let days = week.days as f64;
        let each = outcomes.kept_by_day.iter().map(|kept| off(*kept, 1.0));
        let worst = |a: f64, b: f64| if b.abs() > a.abs() { b } else { a };
        Self {
            week: off(outcomes.kept_by_day.iter().sum(), days),
            day: each.clone().map(f64::abs).sum::<f64>() / days,
            worst: each.fold(0.0, worst),
        }
    }
}
