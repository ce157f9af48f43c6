//! Files of the Python predecessor: SLOs by name, service, metric and threshold, without history.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use crate::model::period::{DurationUnit, Period, Shorthand};
use crate::model::record::{Actor, Edit, Identity, RecordState, SloRecord};
use crate::model::slo::{Objective, ObjectiveSource, Sli};
use crate::model::slug::{name_with_hash, rfc1123_slug};

/// What its files say that they are.
pub(super) const SCHEMA_VERSIONS: [&str; 2] = ["slo-copilot/v1", "slo-store/v1"];

/// A file, or the plain list of older ones.
#[derive(Debug, Deserialize)]
pub(super) struct SeedStore {
    #[serde(default)]
    updated_at: Option<Timestamp>,
    slos: Vec<SeedSlo>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SeedSlo {
    name: String,
    service: String,
    #[serde(default)]
    description: String,
    target: SeedTarget,
}

#[derive(Debug, Deserialize)]
struct SeedTarget {
    metric: String,
    #[serde(default)]
    comparator: Option<String>,
    threshold: f64,
    #[serde(default = "default_window_days")]
    window_days: u32,
}

fn default_window_days() -> u32 {
    30
}

impl SeedStore {
    pub(super) fn of_list(slos: Vec<SeedSlo>) -> Self {
        let updated_at = None;
        Self { updated_at, slos }
    }
}

/// What a file says in our words.
pub(super) struct Converted {
    pub(super) records: Vec<SloRecord>,
    /// What has no words, with the reason.
    pub(super) skipped: Vec<String>,
}

/// Every SLO becomes a proposal: the predecessor knew no adoption. A time that is not told is 1970.
pub(super) fn convert(store: SeedStore, path: &Path) -> Converted {
    let file = path.display().to_string();
    let at = store.updated_at.unwrap_or(Timestamp::UNIX_EPOCH);
    let mut converted = Converted {
        records: Vec::new(),
        skipped: Vec::new(),
    };
    let mut names = BTreeSet::new();
    for slo in store.slos {
        let edit = Edit {
            text: slo.description.clone(),
            ..Edit::new(at, Actor::Import { file: file.clone() })
        };
        match slo.objective() {
            Ok(mut objective) => {
                if !names.insert(objective.name.clone()) {
                    let identity = Identity::of(&objective);
                    objective.name = name_with_hash(&[&objective.name], &identity.parts());
                    names.insert(objective.name.clone());
                }
                let record = SloRecord::written(RecordState::Proposed, objective, &edit);
                converted.records.push(record);
            }
            Err(reason) => converted.skipped.push(format!("{}: {reason}", slo.name)),
        }
    }
    converted
}

impl SeedSlo {
    fn objective(&self) -> Result<Objective, String> {
        let SeedTarget {
            metric,
            comparator,
            threshold,
            window_days,
        } = &self.target;
        let (sli, target, wanted) = match metric.as_str() {
            "availability" => (Sli::Availability, *threshold, '>'),
            "error_rate" => (Sli::ErrorRate, *threshold, '<'),
            metric => {
                let quantile = quantile(metric).ok_or_else(|| {
                    format!("its metric `{metric}` is no availability, error rate or latency")
                })?;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "the cast saturates, and 0 is refused"
                )]
                let threshold_micros = (threshold * 1_000.0).round() as u64;
                (Sli::Latency { threshold_micros }, quantile, '<')
            }
        };
        if sli
            == (Sli::Latency {
                threshold_micros: 0,
            })
            || !(target > 0.0 && target < 1.0)
        {
            return Err(format!("its threshold {threshold} leaves no error budget"));
        }
        if let Some(comparator) = comparator
            && !comparator.starts_with(wanted)
        {
            return Err(format!("`{metric} {comparator} {threshold}` is no promise"));
        }
        if self.service.is_empty() {
            return Err("it names no service".to_owned());
        }
        let name = rfc1123_slug(&self.name);
        Ok(Objective {
            window: Period::Rolling(Shorthand::new(*window_days, DurationUnit::Day)),
            source: ObjectiveSource::Accepted,
            ..Objective::new(&name, &self.service, sli, target)
        })
    }
}

/// 0.95 of `latency_p95_ms`.
fn quantile(metric: &str) -> Option<f64> {
    let percent = metric.strip_prefix("latency_p")?.strip_suffix("_ms")?;
    let percent: f64 = percent.parse().ok()?;
    (percent > 0.0 && percent < 100.0).then_some(percent / 100.0)
}
