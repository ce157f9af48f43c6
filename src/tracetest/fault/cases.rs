//! Fault cases as data: a file of them, and the four that stand without one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::fault::{Fault, FaultTarget, LatencyChange};
use crate::model::finding::yaml_fault;
use crate::tracetest::fault::edges::PROPAGATION_PRIOR;
use crate::tracetest::fault::{Callers, Expectation, PlacedFault};

/// A file of fault cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct FaultSuite {
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Share of failed calls after which the caller fails, where the traces show no failed call.
    pub propagation_prior: f64,
    /// Determines which requests a fault meets.
    pub seed: u64,
    /// The cases.
    pub cases: Vec<FaultCase>,
}

impl Default for FaultSuite {
    fn default() -> Self {
        Self {
            name: String::new(),
            propagation_prior: PROPAGATION_PRIOR,
            seed: 1,
            cases: Vec::new(),
        }
    }
}

/// A fault, and what is expected of the alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct FaultCase {
    /// Unique within the file.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where the fault is.
    pub target: FaultTarget,
    /// What is wrong; nothing is a case too, which shows that all is well without a fault.
    pub fault: Fault,
    /// What callers of the target do, where the traces do not show it.
    #[serde(skip_serializing_if = "is_default")]
    pub callers: Callers,
    /// How long the fault lasts.
    #[serde(rename = "for", with = "humantime_serde")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub lasts: Duration,
    /// What is expected of the alerts; without it the case only reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expectation>,
    /// The objective that must meet the expectation; any of them if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
}

impl Default for FaultCase {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            target: FaultTarget::default(),
            fault: Fault::default(),
            callers: Callers::default(),
            lasts: Duration::from_hours(24),
            expect: None,
            objective: None,
        }
    }
}

fn is_default(callers: &Callers) -> bool {
    *callers == Callers::default()
}

/// Why a file of fault cases cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {text}")]
pub struct FaultSuiteError {
    /// The file.
    pub name: String,
    /// What is wrong, and where.
    pub text: String,
}

impl FaultSuite {
    /// Reads and checks a file. `name` stands in messages.
    pub fn from_yaml(name: &str, text: &str) -> Result<Self, FaultSuiteError> {
        let wrong = |text: String| FaultSuiteError {
            name: name.to_owned(),
            text,
        };
        let suite: Self = serde_saphyr::from_str(text)
            .map_err(|error| wrong(yaml_fault(name, &error.to_string())))?;
        suite.check().map_err(wrong)?;
        Ok(suite)
    }

    fn check(&self) -> Result<(), String> {
        if self.cases.is_empty() {
            return Err("has no cases".to_owned());
        }
        if !(0.0..=1.0).contains(&self.propagation_prior) {
            return Err("propagation_prior is not a share from 0 to 1".to_owned());
        }
        let mut names = std::collections::BTreeSet::new();
        for (number, case) in self.cases.iter().enumerate() {
            let at = format!("cases[{number}]");
            if case.name.is_empty() {
                return Err(format!("{at} has no name"));
            }
            if !names.insert(&case.name) {
                return Err(format!("{at}: there is a case {:?} already", case.name));
            }
            case.fault
                .check()
                .map_err(|text| format!("{at}.fault: {text}"))?;
            if case.lasts < Duration::from_mins(1) {
                return Err(format!(
                    "{at}.for: alerts are looked at every minute; give 1m or more"
                ));
            }
        }
        Ok(())
    }
}

impl FaultCase {
    /// The fault at its place.
    pub fn placed(&self) -> PlacedFault {
        PlacedFault {
            target: self.target.clone(),
            fault: self.fault.clone(),
            callers: self.callers,
        }
    }

    /// The four cases that are tried on a service without a file: nothing, latency ×1.5, 5 % and 10 % more errors.
    pub fn defaults_of(service: &str) -> [Self; 4] {
        let case = |name: &str, description: &str, fault| Self {
            name: name.to_owned(),
            description: description.to_owned(),
            target: FaultTarget::service(service),
            fault,
            ..Self::default()
        };
        [
            case("baseline", "nothing is wrong", Fault::default()),
            case(
                "latency-spike",
                "requests take half as long again",
                Fault::latency(LatencyChange::TotalFactor(1.5)),
            ),
            case("error-burst", "5 % more requests fail", Fault::error(0.05)),
            case(
                "partial-outage",
                "10 % of the requests are not served",
                Fault {
                    partial_outage: 0.1,
                    ..Fault::default()
                },
            ),
        ]
    }
}
