//! A plan of sampling that people write: for those who know their shares, and to try what follows a plan.
//!
//! The file is read again with each report. While it cannot be used, the plan before holds, and the state says why.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::adapter::Adapter;
use crate::adapter::sampling::roots::Roots;
use crate::model::UnixNanos;
use crate::model::advice::Advice;
use crate::model::report::Report;
use crate::model::sampling::{OperationSampling, SamplingPlan, ServiceSampling};
use crate::model::trace::Trace;
use crate::window::event::asked::Asked;

/// Section `adapters.fixed_sampling`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The plan, YAML or JSON; none by default.
    pub file: Option<PathBuf>,
}

/// Why a file is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It says something else, or something that cannot be.
    #[error(
        "{} is no plan of sampling: {message}; it is to look like {{services: [{{service: cart, default_ratio: 0.25}}]}}", path.display()
    )]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
}

/// The plan as people write it. A written plan has its number and its time as well, which are those of its maker.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    #[serde(default, rename = "revision")]
    _revision: u64,
    #[serde(default, rename = "made_at")]
    _made_at: UnixNanos,
    services: Vec<ServiceEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceEntry {
    service: String,
    #[serde(default = "everything")]
    default_ratio: f64,
    #[serde(default)]
    operations: Vec<OperationEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationEntry {
    operation: String,
    ratio: f64,
}

fn everything() -> f64 {
    1.0
}

fn check_ratio(ratio: f64, of: &str) -> Result<(), String> {
    if ratio > 0.0 && ratio <= 1.0 {
        Ok(())
    } else {
        Err(format!(
            "the ratio {ratio} of {of} must be above 0 and at most 1"
        ))
    }
}

/// The services of a plan, sorted and checked.
fn parse(text: &str) -> Result<Vec<ServiceSampling>, String> {
    let file: PlanFile = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let mut names = BTreeSet::new();
    let mut services = Vec::with_capacity(file.services.len());
    for entry in file.services {
        let ServiceEntry {
            service,
            default_ratio,
            operations,
        } = entry;
        check_ratio(default_ratio, &format!("`{service}`"))?;
        let mut own = Vec::with_capacity(operations.len());
        for OperationEntry { operation, ratio } in operations {
            check_ratio(ratio, &format!("`{operation}` of `{service}`"))?;
            own.push(OperationSampling { operation, ratio });
        }
        own.sort_by(|a, b| a.operation.cmp(&b.operation));
        let mut pairs = own.iter().zip(own.iter().skip(1));
        if let Some((twice, _)) = pairs.find(|(a, b)| a.operation == b.operation) {
            let operation = &twice.operation;
            return Err(format!("`{operation}` of `{service}` is there twice"));
        }
        if !names.insert(service.clone()) {
            return Err(format!("`{service}` is there twice"));
        }
        services.push(ServiceSampling {
            service,
            default_ratio,
            operations: own,
        });
    }
    services.sort_by(|a, b| a.service.cmp(&b.service));
    Ok(services)
}

/// Gives the plan of a file.
#[derive(Debug)]
pub struct FixedSampling {
    path: PathBuf,
    plan: Arc<SamplingPlan>,
    /// Why the file cannot be used any more.
    trouble: Option<String>,
    roots: Roots,
    asked: Arc<Asked>,
}

impl FixedSampling {
    /// Reads the file, which must be there.
    pub fn read(path: PathBuf, now: UnixNanos) -> Result<Self, PlanFileError> {
        let mut own = Self {
            path,
            plan: Arc::default(),
            trouble: None,
            roots: Roots::new(0),
            asked: Arc::default(),
        };
        own.refresh(now)?;
        Ok(own)
    }

    /// Tells what those inherit that are called by services which were asked for less, by at most `max_operations` operations
    /// that traces begin with.
    #[must_use]
    pub fn telling(self, asked: Arc<Asked>, max_operations: usize) -> Self {
        Self {
            roots: Roots::new(max_operations),
            asked,
            ..self
        }
    }

    fn refresh(&mut self, now: UnixNanos) -> Result<(), PlanFileError> {
        let path = || self.path.clone();
        let text = std::fs::read_to_string(&self.path).map_err(|source| PlanFileError::Read {
            path: path(),
            source,
        })?;
        let services = parse(&text).map_err(|message| PlanFileError::Wrong {
            path: path(),
            message,
        })?;
        if self.plan.revision == 0 || self.plan.services != services {
            self.plan = Arc::new(SamplingPlan {
                revision: self.plan.revision + 1,
                made_at: now,
                services,
            });
        }
        Ok(())
    }
}

impl Adapter for FixedSampling {
    fn name(&self) -> &'static str {
        "fixed-sampling"
    }

    fn on_traces(&mut self, traces: &[Arc<Trace>], now: UnixNanos) {
        self.roots.fade(now);
        for trace in traces {
            self.roots.add(trace);
        }
    }

    fn on_report(&mut self, _report: &Report, now: UnixNanos) {
        let traffic = self.roots.iter().map(|(name, root)| (name, root.traces));
        let reach = self.roots.reach(traffic, &self.asked);
        self.asked.inherit(&reach, now);
        let trouble = self.refresh(now).err().map(|error| error.to_string());
        if trouble != self.trouble
            && let Some(trouble) = &trouble
        {
            tracing::warn!("The plan of sampling stays as it was: {trouble}");
        }
        self.trouble = trouble;
    }

    fn advise(&self, advice: &mut Advice) {
        advice.sampling = Some(Arc::clone(&self.plan));
        let state = self.trouble.clone().map_or_else(
            || {
                let (revision, services) = (self.plan.revision, self.plan.services.len());
                format!("enabled: revision {revision} of the file's plan, services: {services}")
            },
            |trouble| format!("the plan before holds: {trouble}"),
        );
        advice.states.insert("fixed-sampling", state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openslo::fixture::report;

    #[test]
    fn a_plan_is_sorted_and_what_is_left_out_is_sampled_in_full() {
        let text = "services: [{service: b, default_ratio: 0.5}, \
                    {service: a, operations: [{operation: z, ratio: 1}, {operation: x, ratio: 0.25}]}]";
        let services = parse(text).unwrap();
        let plan = SamplingPlan {
            services,
            ..SamplingPlan::default()
        };
        let close = |found: f64, wanted: f64| (found - wanted).abs() < 1e-12;
        assert!(close(plan.ratio("a", "x"), 0.25) && close(plan.ratio("a", "y"), 1.0));
        assert!(close(plan.ratio("b", "x"), 0.5));
        // What is written to the output directory can be given back.
        let written = serde_json::to_string(&plan).unwrap();
        assert_eq!(parse(&written).unwrap(), plan.services);
    }

    #[test]
    fn a_wrong_plan_is_named_with_its_place() {
        for (text, words) in [
            (
                "services: [{service: a, default_ratio: 0}]",
                "ratio 0 of `a`",
            ),
            ("services: [{service: a, default_ratio: 1.5}]", "1.5 of `a`"),
            (
                "services: [{service: a, default_ratio: .nan}]",
                "NaN of `a`",
            ),
            (
                "services: [{service: a, operations: [{operation: x, ratio: -1}]}]",
                "`x` of `a`",
            ),
            (
                "services: [{service: a}, {service: a}]",
                "`a` is there twice",
            ),
            (
                "services: [{service: a, operations: [{operation: x, ratio: 1}, {operation: x, ratio: 1}]}]",
                "`x` of `a` is there twice",
            ),
            ("services: [{service: a, ratio: 1}]", "ratio"),
            ("{}", "services"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_changed_file_is_a_new_revision_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.yaml");
        let missing = FixedSampling::read(path.clone(), 1).unwrap_err();
        assert!(missing.to_string().contains("plan.yaml"), "{missing}");

        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("services: [{service: a, default_ratio: 0.5}]");
        let mut adapter = FixedSampling::read(path.clone(), 1).unwrap();
        let look = |adapter: &FixedSampling| {
            let mut advice = Advice::default();
            adapter.advise(&mut advice);
            let plan = advice.sampling.unwrap();
            let state = advice.states["fixed-sampling"].clone();
            (plan.revision, plan.made_at, plan.ratio("a", ""), state)
        };
        let first = look(&adapter);
        assert_eq!((first.0, first.1), (1, 1));
        // Another order or a comment is no other plan.
        write("# half\nservices: [{default_ratio: 0.50, service: a}]");
        adapter.on_report(&report(0, &[]), 2);
        assert_eq!(look(&adapter), first);
        write("services: [{service: a, default_ratio: 0.25}]");
        adapter.on_report(&report(0, &[]), 3);
        let second = look(&adapter);
        assert_eq!((second.0, second.1), (2, 3));
        assert!((second.2 - 0.25).abs() < 1e-12);
        write("services: [{service: a, default_ratio: 25}]");
        adapter.on_report(&report(0, &[]), 4);
        let kept = look(&adapter);
        assert_eq!((kept.0, kept.1), (2, 3));
        assert!(kept.3.contains("at most 1"), "{}", kept.3);
        write("services: []");
        adapter.on_report(&report(0, &[]), 5);
        let none = look(&adapter);
        assert_eq!(none.0, 3);
        assert!(none.3.contains("revision 3"), "{}", none.3);
    }
}
