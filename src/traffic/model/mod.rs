//! A system of services as data: who calls whom, how long it takes, how it fails, and how often it is asked.
//!
//! A model is a YAML file. `examples/traffic/shop.yaml` explains each field by use, and
//! `schema/traffic_model.schema.json` describes them all. Fields that nobody knows are errors.

mod check;
mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::distribution::Distribution;
use crate::model::finding::yaml_fault;
use crate::model::span::SpanKind;

pub use load::{Burst, LoadShape, Rollout, RootLoad, ScheduledFault};

/// A system of services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `service.namespace` of services that name none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `deployment.environment.name` of services that name none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub environment: String,
    /// Times between services, where a step gives none.
    pub defaults: Defaults,
    /// The services by the name that steps call them.
    pub services: BTreeMap<String, Service>,
    /// What is asked from outside, and how often.
    pub load: Vec<RootLoad>,
    /// How the load changes over time.
    #[serde(skip_serializing_if = "is_default")]
    pub shape: LoadShape,
    /// What goes wrong, and when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<ScheduledFault>,
    /// New versions that take over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<Rollout>,
    /// A trace has no more spans; what is beyond is left out, and counted.
    pub max_spans_per_trace: MaxSpans,
}

/// The most spans of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct MaxSpans(pub u32);

impl Default for MaxSpans {
    fn default() -> Self {
        Self(10_000)
    }
}

/// Times between services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// One way of a call over the network.
    pub network: Distribution,
    /// Handing a message to the broker.
    pub send: Distribution,
    /// From the broker to the consumer.
    pub queue: Distribution,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            network: Distribution::lognormal(0.3, 0.3),
            send: Distribution::lognormal(1.2, 0.3),
            queue: Distribution::lognormal(15.0, 0.5),
        }
    }
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// `service.name` if it is not the name in the model, as where two environments have the same service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `service.namespace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `deployment.environment.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// `telemetry.sdk.language`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// Share of the requests that each version serves; none at all says no version.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, f64>,
    /// More attributes of the resource.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// What it does when it is asked, by the name that steps call it.
    pub operations: BTreeMap<String, Operation>,
}

/// What a service does when it is asked. Exactly one of `http`, `grpc`, `consumer` and `span` says how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Operation {
    /// An HTTP route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// A gRPC method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Grpc>,
    /// A consumer of messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<Consumer>,
    /// Anything else: a job, a function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<NamedSpan>,
    /// The operation's own time: what it spends outside of its steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Distribution>,
    /// Where the own time lies: before the first step, between the steps, after the last. Half before and half after
    /// if nothing is said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<f64>,
    /// How it fails by itself: after its own time, and without its steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ErrorKind>,
    /// What it does before it answers, one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// One of these instead of `steps`: a cache that hits or misses, for example.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Branch>,
}

/// One of several ways to go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Branch {
    /// How often, relative to the other branches.
    pub share: f64,
    /// Own time on this way, beside that of the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Distribution>,
    /// Where the own time lies, as for an operation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<f64>,
    /// What is done on this way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// An HTTP route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// `/users/{id}`: parameters in braces are filled with numbers.
    pub route: String,
}

/// A gRPC method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// `package.Service/Method`.
    pub method: String,
}

/// A consumer of messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// Queue or topic.
    pub destination: String,
    /// `messaging.system`.
    #[serde(default = "kafka")]
    pub system: String,
}

fn kafka() -> String {
    "kafka".to_owned()
}

/// A span that no convention describes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct NamedSpan {
    /// Its name.
    pub name: String,
    /// Its kind; unspecified if not said, for work `internal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<SpanKind>,
    /// Its attributes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// How an operation fails by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ErrorKind {
    /// Share of the requests, 0 to 1.
    pub ratio: f64,
    /// `exception.type`; empty for an answer without an exception.
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// `exception.message`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// HTTP status or name of the gRPC code; 500 or `INTERNAL` if not said. A status that blames the caller, as 404
    /// and `NOT_FOUND`, is an error of the client's span only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// An operation of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OperationRef {
    /// Name of the service in the model.
    pub service: String,
    /// Name of the operation in the model.
    pub operation: String,
}

/// A step: exactly one of `call`, `publish`, `query`, `work`, `parallel` and `sequence`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// Calls an operation and waits for its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<OperationRef>,
    /// Sends a message to a consumer and goes on when the broker has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<OperationRef>,
    /// A database statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<Query>,
    /// Work with a span of its own, or a call to somebody who reports no spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work: Option<NamedSpan>,
    /// Steps at the same time; the next one waits for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<Vec<Self>>,
    /// Steps one after the other, within `parallel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Vec<Self>>,
    /// How likely the step is made at all.
    #[serde(skip_serializing_if = "is_one")]
    pub probability: f64,
    /// How many times it is made, by their shares: `{1: 0.8, 2: 0.2}`. Once if nothing is said.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub count: BTreeMap<u32, f64>,
    /// All times at once instead of one after the other.
    #[serde(skip_serializing_if = "is_default")]
    pub fan_out: bool,
    /// How likely a failure of it fails the one who makes it.
    #[serde(skip_serializing_if = "is_one")]
    pub propagation: f64,
    /// Time of a query; own time of work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Distribution>,
    /// Where the own time of work lies, as for an operation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<f64>,
    /// How a query or work fails.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ErrorKind>,
    /// Steps within work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Self>,
    /// The caller gives up after this time.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub timeout: Option<Duration>,
    /// The caller tries again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Time to the callee; of a message, handing it to the broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub there: Option<Distribution>,
    /// Time from the callee; of a message, from the broker to the consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back: Option<Distribution>,
    /// The caller has no span of its own for the call.
    #[serde(skip_serializing_if = "is_default")]
    pub without_client_span: bool,
    /// The one who makes the step does not wait for it.
    #[serde(skip_serializing_if = "is_default")]
    pub detached: bool,
}

/// A database statement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// `db.system.name`.
    pub system: String,
    /// `db.operation.name`.
    pub operation: String,
    /// `db.collection.name`; empty for stores without collections.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub collection: String,
}

/// How a caller tries again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// How often it tries, the first time included.
    pub attempts: u32,
    /// How long it waits before it tries again.
    #[serde(default, with = "humantime_serde")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub backoff: Duration,
}

impl Default for Step {
    /// A step that is made once, always, and whose failure is the caller's.
    fn default() -> Self {
        Self {
            call: None,
            publish: None,
            query: None,
            work: None,
            parallel: None,
            sequence: None,
            probability: 1.0,
            count: BTreeMap::new(),
            fan_out: false,
            propagation: 1.0,
            time: None,
            gaps: Vec::new(),
            errors: Vec::new(),
            steps: Vec::new(),
            timeout: None,
            retries: None,
            there: None,
            back: None,
            without_client_span: false,
            detached: false,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::float_cmp,
    reason = "serde hands a reference, and what is written is what was read"
)]
fn is_one(ratio: &f64) -> bool {
    *ratio == 1.0
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read.
    #[error("cannot read the traffic model {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML of a model.
    #[error("{name}: {text}")]
    Syntax {
        /// The file.
        name: String,
        /// What the reader says, with the line.
        text: String,
    },
    /// It contradicts itself.
    #[error("{name}: {place}: {text}")]
    Meaning {
        /// The file.
        name: String,
        /// Path to the field.
        place: String,
        /// What is wrong, and the remedy.
        text: String,
    },
}

impl Model {
    /// Reads and checks a model. `name` stands in messages.
    pub fn from_yaml(name: &str, text: &str) -> Result<Self, ModelError> {
        let model: Self = serde_saphyr::from_str(text).map_err(|error| ModelError::Syntax {
            name: name.to_owned(),
            text: yaml_fault(name, &error.to_string()),
        })?;
        model.check(name)?;
        Ok(model)
    }

    /// Reads and checks a model file.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path).map_err(|source| ModelError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_yaml(&path.display().to_string(), &text)
    }

    /// The model as YAML that [`Self::from_yaml`] reads.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        serde_saphyr::to_string_with_options(self, options)
    }
}
