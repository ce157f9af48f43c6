//! A model made ready: names are indexes, shares are normal, attributes are written once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::model::distribution::Distribution;
use crate::traffic::attribute::text;
use crate::traffic::generate::conventions::{self, Template};
use crate::traffic::generate::reply::Failure;
use crate::traffic::model::{
    Branch, ErrorKind, LoadShape, Model, Operation, OperationRef, Retries, ScheduledFault, Service,
    Step,
};

/// Who reports spans: a version of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Reporter {
    /// Its number in the plan.
    pub index: usize,
    /// `service.name`.
    pub service: String,
    /// `service.version`; empty if not said.
    pub version: String,
    pub(super) resource: Resource,
    pub(super) scope: InstrumentationScope,
}

/// A model made ready.
#[derive(Debug)]
pub struct Plan {
    pub(super) load: Vec<PlannedLoad>,
    pub(super) shape: LoadShape,
    pub(super) faults: Vec<ScheduledFault>,
    pub(super) services: Vec<PlannedService>,
    pub(super) operations: Vec<PlannedOperation>,
    pub(super) max_spans: usize,
}

#[derive(Debug)]
pub(super) struct PlannedLoad {
    pub(super) operation: usize,
    pub(super) per_minute: f64,
}

#[derive(Debug)]
pub(super) struct PlannedService {
    pub(super) name: String,
    /// Versions with their shares; those that are rolled out later have a share of 0.
    pub(super) versions: Vec<(f64, Arc<Reporter>)>,
    /// What is rolled out: the index of its version.
    pub(super) rollouts: Vec<(usize, crate::traffic::model::Rollout)>,
}

#[derive(Debug)]
pub(super) struct PlannedOperation {
    pub(super) service: usize,
    /// As the windows name it.
    pub(super) name: String,
    pub(super) entry: Template,
    pub(super) call: Template,
    pub(super) time: Distribution,
    pub(super) failures: Vec<Failure>,
    pub(super) bodies: Vec<Body>,
}

/// A way to go.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) share: f64,
    pub(super) time: Distribution,
    /// Shares of the own time that add up to 1, one more than there are steps.
    pub(super) gaps: Vec<f64>,
    pub(super) steps: Vec<PlannedStep>,
}

#[derive(Debug)]
pub(super) struct PlannedStep {
    pub(super) what: What,
    pub(super) probability: f64,
    pub(super) count: Vec<(u32, f64)>,
    pub(super) fan_out: bool,
    pub(super) propagation: f64,
    pub(super) timeout: Option<Duration>,
    pub(super) retries: Option<Retries>,
    pub(super) detached: bool,
}

#[derive(Debug)]
pub(super) enum What {
    Call {
        operation: usize,
        there: Distribution,
        back: Distribution,
        has_client_span: bool,
    },
    Publish {
        operation: usize,
        send: Distribution,
        queue: Distribution,
    },
    Local(Box<Local>),
    Parallel(Vec<PlannedStep>),
    Sequence(Vec<PlannedStep>),
}

/// A span of the one who makes the step.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) template: Template,
    pub(super) failures: Vec<Failure>,
    pub(super) body: Body,
}

impl Plan {
    /// Makes a model ready that was checked.
    pub fn new(model: &Model) -> Self {
        let mut indexes = BTreeMap::new();
        for (service, own) in &model.services {
            for operation in own.operations.keys() {
                let next = indexes.len();
                indexes.insert((service.as_str(), operation.as_str()), next);
            }
        }
        let planner = Planner { model, indexes };
        Self {
            load: planner.load(),
            shape: model.shape.clone(),
            faults: model.faults.clone(),
            services: planner.services(),
            operations: planner.operations(),
            max_spans: usize::try_from(model.max_spans_per_trace.0).unwrap_or(usize::MAX),
        }
    }

    /// Visits a minute on average, without the shape of the load.
    pub fn traces_per_minute(&self) -> f64 {
        self.load.iter().map(|load| load.per_minute).sum()
    }
}

struct Planner<'a> {
    model: &'a Model,
    indexes: BTreeMap<(&'a str, &'a str), usize>,
}

impl Planner<'_> {
    fn index(&self, target: &OperationRef) -> usize {
        let found = self
            .indexes
            .get(&(target.service.as_str(), target.operation.as_str()));
        // A checked model names only what is there; an index that is not there makes no span.
        found.copied().unwrap_or(usize::MAX)
    }

    fn load(&self) -> Vec<PlannedLoad> {
        let load = self.model.load.iter();
        load.map(|load| PlannedLoad {
            operation: self.index(&load.target()),
            per_minute: load.per_minute,
        })
        .collect()
    }

    fn services(&self) -> Vec<PlannedService> {
        let mut index = 0;
        let mut services = Vec::new();
        for (key, service) in &self.model.services {
            let name = service.name.as_ref().unwrap_or(key);
            let mut versions = service.versions.clone();
            if versions.is_empty() {
                versions.insert(String::new(), 1.0);
            }
            let rollouts = || {
                self.model
                    .rollouts
                    .iter()
                    .filter(|rollout| rollout.service == *key)
            };
            for rollout in rollouts() {
                versions.entry(rollout.version.clone()).or_insert(0.0);
            }
            let position = |version: &String| versions.keys().position(|own| own == version);
            let rollouts = rollouts()
                .filter_map(|rollout| Some((position(&rollout.version)?, rollout.clone())))
                .collect();
            let versions = versions.iter().map(|(version, share)| {
                let reporter = Reporter {
                    index,
                    service: name.clone(),
                    version: version.clone(),
                    resource: self.resource(name, service, version),
                    scope: InstrumentationScope {
                        name: format!("traffic/{name}"),
                        version: version.clone(),
                        ..InstrumentationScope::default()
                    },
                };
                index += 1;
                (*share, Arc::new(reporter))
            });
            services.push(PlannedService {
                name: name.clone(),
                versions: versions.collect(),
                rollouts,
            });
        }
        services
    }

    /// The resource that the SDK of a service reports.
    fn resource(&self, name: &str, service: &Service, version: &str) -> Resource {
        let namespace = service.namespace.as_ref().unwrap_or(&self.model.namespace);
        let environment = service
            .environment
            .as_ref()
            .unwrap_or(&self.model.environment);
        let mut attributes: Vec<KeyValue> = vec![text("service.name", name)];
        let instance = format!("{name}-7c9d5b6f4-x2x8k");
        for (key, value) in [
            ("service.namespace", namespace.as_str()),
            ("service.version", version),
            ("service.instance.id", &instance),
            ("deployment.environment.name", environment),
            ("telemetry.sdk.name", "opentelemetry"),
            ("telemetry.sdk.language", &service.language),
        ] {
            if !value.is_empty() {
                attributes.push(text(key, value));
            }
        }
        attributes.extend(
            service
                .attributes
                .iter()
                .map(|(key, value)| text(key, &**value)),
        );
        Resource {
            attributes,
            ..Resource::default()
        }
    }

    fn operations(&self) -> Vec<PlannedOperation> {
        let mut operations = Vec::new();
        for (index, (key, service)) in self.model.services.iter().enumerate() {
            let name = service.name.as_ref().unwrap_or(key);
            let namespace = service.namespace.as_ref().unwrap_or(&self.model.namespace);
            for operation in service.operations.values() {
                operations.push(PlannedOperation {
                    service: index,
                    name: conventions::operation_name(operation),
                    entry: conventions::entry(name, operation),
                    call: conventions::call(name, operation),
                    time: operation.time.clone().unwrap_or(Distribution::ZERO),
                    failures: failures(&operation.errors),
                    bodies: self.bodies(operation, namespace),
                });
            }
        }
        operations
    }

    fn bodies(&self, operation: &Operation, namespace: &str) -> Vec<Body> {
        if operation.one_of.is_empty() {
            let only = Branch {
                share: 1.0,
                time: None,
                gaps: operation.gaps.clone(),
                steps: operation.steps.clone(),
            };
            return vec![self.body(&only, namespace)];
        }
        operation
            .one_of
            .iter()
            .map(|branch| self.body(branch, namespace))
            .collect()
    }

    fn body(&self, branch: &Branch, namespace: &str) -> Body {
        let count = branch.steps.len();
        let whole: f64 = branch.gaps.iter().sum();
        let gaps = if whole > 0.0 {
            branch.gaps.iter().map(|gap| gap / whole).collect()
        } else if count == 0 {
            vec![1.0]
        } else {
            let edge = |at| if at == 0 || at == count { 0.5 } else { 0.0 };
            (0..=count).map(edge).collect()
        };
        Body {
            share: branch.share,
            time: branch.time.clone().unwrap_or(Distribution::ZERO),
            gaps,
            steps: self.steps(&branch.steps, namespace),
        }
    }

    fn steps(&self, steps: &[Step], namespace: &str) -> Vec<PlannedStep> {
        steps
            .iter()
            .filter_map(|step| self.step(step, namespace))
            .collect()
    }

    fn step(&self, step: &Step, namespace: &str) -> Option<PlannedStep> {
        let defaults = &self.model.defaults;
        let or = |own: &Option<Distribution>, usual: &Distribution| {
            own.clone().unwrap_or_else(|| usual.clone())
        };
        let what = if let Some(target) = &step.call {
            What::Call {
                operation: self.index(target),
                there: or(&step.there, &defaults.network),
                back: or(&step.back, &defaults.network),
                has_client_span: !step.without_client_span,
            }
        } else if let Some(target) = &step.publish {
            What::Publish {
                operation: self.index(target),
                send: or(&step.there, &defaults.send),
                queue: or(&step.back, &defaults.queue),
            }
        } else if let Some(query) = &step.query {
            self.local(conventions::query(query, namespace), step, namespace)
        } else if let Some(work) = &step.work {
            self.local(conventions::work(work), step, namespace)
        } else if let Some(steps) = &step.parallel {
            What::Parallel(self.steps(steps, namespace))
        } else {
            What::Sequence(self.steps(step.sequence.as_ref()?, namespace))
        };
        Some(PlannedStep {
            what,
            probability: step.probability,
            count: step
                .count
                .iter()
                .map(|(count, share)| (*count, *share))
                .collect(),
            fan_out: step.fan_out,
            propagation: step.propagation,
            timeout: step.timeout,
            retries: step.retries,
            detached: step.detached,
        })
    }

    fn local(&self, template: Template, step: &Step, namespace: &str) -> What {
        let only = Branch {
            share: 1.0,
            time: step.time.clone(),
            gaps: step.gaps.clone(),
            steps: step.steps.clone(),
        };
        What::Local(Box::new(Local {
            template,
            failures: failures(&step.errors),
            body: self.body(&only, namespace),
        }))
    }
}

fn failures(errors: &[ErrorKind]) -> Vec<Failure> {
    errors.iter().map(Failure::new).collect()
}
