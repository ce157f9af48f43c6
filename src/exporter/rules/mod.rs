//! Prometheus recording and alerting rules from OpenSLO documents: one generator for the command and for the exporter.
//!
//! ```text
//! documents ─ source ─ Slo ─┬─ recording ─┐            (slices)
//!               (query)     ├─ alerts ────┴─ groups ─ YAML for Prometheus or for its operator
//!                           └─ proof ─ unit tests for promtool, with the minutes that the rules themselves say
//! ```
//!
//! A composite is one SLO whose counts, ratios and slices are put together from those of its members, which are recorded
//! beside it and have no alerts of their own.
//!
//! Pure but for `export`, which writes files. Prometheus sees events when it scrapes them, while the windows of
//! `serve` go by the time of the events: late spans make the two differ.

mod alerts;
mod export;
mod model;
mod proof;
mod query;
mod recording;
mod slices;
mod slo;
mod source;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evaluator::burn_rate::Limits;
use crate::exporter::rules::model::{ObjectMeta, PrometheusRule};
use crate::exporter::rules::slo::Slo;
use crate::openslo::v1::Document;

pub use self::export::RulesConfig;
pub(in crate::exporter) use self::export::RulesExporter;
pub use self::model::Groups;
pub use self::proof::TestFile;
pub use self::source::Problem;

/// In whose form rules are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Files for `rule_files`.
    #[default]
    Prometheus,
    /// Objects of kind `PrometheusRule` for the Prometheus Operator.
    Operator,
}

/// What Kubernetes is told about a `PrometheusRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Its namespace; that of who applies it without one.
    pub namespace: Option<String>,
    /// Its labels, by which an operator selects rules.
    pub labels: BTreeMap<String, String>,
}

/// The SLOs of documents that can become rules, by service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSet {
    services: BTreeMap<String, Vec<Slo>>,
}

impl RuleSet {
    /// Of these documents; what keeps an SLO from becoming rules is a problem, and the others go on without it.
    pub fn of(documents: &[&Document], limits: Limits) -> (Self, Vec<Problem>) {
        let (slos, problems) = source::slos(documents, limits);
        let mut set = Self::default();
        for slo in slos {
            set.services
                .entry(slo.service.clone())
                .or_default()
                .push(slo);
        }
        (set, problems)
    }

    /// The services by name.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    /// How many SLOs there are.
    pub fn len(&self) -> usize {
        self.services.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// The rules of one service, or of all without a name.
    pub fn groups(&self, service: Option<&str>) -> Groups {
        let meant = |name: &str| service.is_none_or(|wanted| wanted == name);
        let slos = self.services.iter().filter(|(name, _)| meant(name));
        let groups = slos.flat_map(|(_, slos)| slos).flat_map(groups);
        Groups {
            groups: groups.collect(),
        }
    }

    /// Unit tests for a service's rules in `rule_file`, by the name that follows the service's in that of a test file; and
    /// the SLOs that have none, with the reason.
    pub fn tests(
        &self,
        service: &str,
        rule_file: &str,
    ) -> (BTreeMap<String, TestFile>, Vec<Untested>) {
        let slos = self.services.get(service).map_or(&[][..], Vec::as_slice);
        proof::tests(slos, rule_file)
    }
}

/// An SLO for which no tests can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untested {
    /// Name of the objective.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// The groups of an SLO.
fn groups(slo: &Slo) -> [model::Group; 3] {
    [
        recording::indicators(slo),
        recording::facts(slo),
        alerts::alerts(slo),
    ]
}

impl Groups {
    /// Expressions that Prometheus would not understand, with the reason. None, unless there is a defect.
    pub fn defects(&self) -> Vec<String> {
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        let found = rules.filter_map(|rule| {
            let expr = rule.expr();
            query::check(expr).err().map(|why| format!("{expr}: {why}"))
        });
        found.collect()
    }

    /// As a rule file.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        to_yaml(self)
    }

    /// As a `PrometheusRule` that is named after a service.
    pub fn to_operator_yaml(
        &self,
        service: &str,
        placement: &Placement,
    ) -> Result<String, serde_saphyr::ser::Error> {
        to_yaml(&PrometheusRule {
            api_version: "monitoring.coreos.com/v1",
            kind: "PrometheusRule",
            metadata: ObjectMeta {
                name: format!("slo-{service}"),
                namespace: placement.namespace.as_deref(),
                labels: &placement.labels,
            },
            spec: self,
        })
    }
}

/// One line an expression: folded ones are hard to copy.
fn to_yaml(value: &impl Serialize) -> Result<String, serde_saphyr::ser::Error> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options)
}
