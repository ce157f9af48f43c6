//! From what was seen to a model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::NANOS_PER_SEC;
use crate::model::distribution::Distribution;
use crate::model::series::ServiceKey;
use crate::model::span::SpanKind;
use crate::traffic::generate::operation_name;
use crate::traffic::learn::shape::{Kind, text_of};
use crate::traffic::learn::sketch::{Sketch, rounded};
use crate::traffic::learn::{CallSeen, Learner, Request, Slot, Way};
use crate::traffic::model::{
    Branch, Consumer, ErrorKind, Grpc, Http, LoadShape, Model, NamedSpan, Operation, OperationRef,
    Query, Retries, RootLoad, Service, Step,
};

const HOURS_PER_DAY: u64 = 24;

/// Traces over so many hours tell the shape of a day, and of a week.
const HOURS_FOR_A_DAY: u64 = 2 * HOURS_PER_DAY;
const HOURS_FOR_A_WEEK: u64 = 14 * HOURS_PER_DAY;

/// Messages of exceptions that are kept for an operation; the others are told by their type.
const MESSAGES_MAX: usize = 8;

/// Calls that were given up without which no timeout is believed.
const TIMEOUTS_AT_LEAST: u64 = 3;

/// A model of all that was seen.
pub(super) fn model(learner: &Learner, kept_ratio: f64) -> Model {
    let names = Names::new(learner);
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    for (number, request) in learner.requests.iter().enumerate() {
        let Some(target) = names.0.get(number) else {
            continue;
        };
        let service = services
            .entry(target.service.clone())
            .or_insert_with(|| service_of(request, &target.service));
        for (version, count) in request
            .versions
            .iter()
            .filter(|(version, _)| !version.is_empty())
        {
            *service.versions.entry(version.to_string()).or_default() += *count as f64;
        }
        let operation = operation_of(request, &names);
        service
            .operations
            .insert(target.operation.clone(), operation);
    }
    for service in services.values_mut() {
        let whole: f64 = service.versions.values().sum();
        for share in service.versions.values_mut() {
            *share = rounded(*share / whole);
        }
    }
    let (load, shape) = load_of(learner, &names, kept_ratio);
    Model {
        description: format!("Learnt from {} traces", learner.traces),
        services,
        load,
        shape,
        ..Model::default()
    }
}

/// The names of requests in the model.
struct Names(Vec<OperationRef>);

impl Names {
    fn new(learner: &Learner) -> Self {
        let mut by_name: BTreeMap<&str, BTreeSet<&ServiceKey>> = BTreeMap::new();
        let mut kinds: BTreeMap<(&ServiceKey, &str), usize> = BTreeMap::new();
        for request in &learner.requests {
            let (service, operation, _) = &request.key;
            by_name.entry(&service.name).or_default().insert(service);
            *kinds.entry((service, operation)).or_default() += 1;
        }
        let names = learner.requests.iter().map(|request| {
            let (service, operation, kind) = &request.key;
            let is_one = by_name.get(&*service.name).is_none_or(|all| all.len() == 1);
            let is_one_kind = kinds
                .get(&(service, &**operation))
                .is_none_or(|count| *count == 1);
            OperationRef {
                service: if is_one {
                    service.name.to_string()
                } else {
                    format!(
                        "{} in {}/{}",
                        service.name, service.namespace, service.environment
                    )
                },
                operation: if is_one_kind {
                    operation.to_string()
                } else {
                    format!("{operation} ({})", kind.label())
                },
            }
        });
        Self(names.collect())
    }

    fn of(&self, number: usize) -> Option<OperationRef> {
        self.0.get(number).cloned()
    }
}

fn service_of(request: &Request, name: &str) -> Service {
    let (service, ..) = &request.key;
    let said = |part: &str| Some(part.to_owned()).filter(|part| !part.is_empty());
    let attributes = request.resource.attributes.iter();
    let language = attributes.filter(|(key, _)| **key == *"telemetry.sdk.language");
    let mut language = language.filter_map(|(_, value)| value.as_text().map(str::to_owned));
    Service {
        name: Some(service.name.to_string()).filter(|own| own != name),
        namespace: said(&service.namespace),
        environment: said(&service.environment),
        language: language.next_back().unwrap_or_default(),
        ..Service::default()
    }
}

fn operation_of(request: &Request, names: &Names) -> Operation {
    let mut operation = protocol_of(request);
    operation.errors = errors_of(request);
    let ways: Vec<&Way> = request.ways.values().collect();
    let whole: u64 = ways.iter().map(|way| way.count).sum();
    let branch = |way: &Way| Branch {
        share: rounded(way.count as f64 / whole.max(1) as f64),
        time: time_of(&way.own),
        gaps: gaps_of(way),
        steps: steps_of(way, request, names),
    };
    match ways.as_slice() {
        [] => {}
        [only] => {
            let Branch {
                time, gaps, steps, ..
            } = branch(only);
            (operation.time, operation.gaps, operation.steps) = (time, gaps, steps);
        }
        ways => operation.one_of = ways.iter().map(|way| branch(way)).collect(),
    }
    operation
}

/// How the operation is asked, such that its spans are named as they were.
fn protocol_of(request: &Request) -> Operation {
    let (_, name, kind) = &request.key;
    let sample = &request.sample;
    let mut found = Operation::default();
    let said = |keys: [&str; 2]| keys.iter().find_map(|key| text_of(sample, key));
    if *kind == SpanKind::Server
        && said(["http.request.method", "http.method"]).is_some()
        && let Some((method, route)) = name.split_once(' ')
    {
        found.http = Some(Http {
            method: method.to_owned(),
            route: route.to_owned(),
        });
    } else if *kind == SpanKind::Server
        && said(["rpc.system.name", "rpc.system"]).as_deref() == Some("grpc")
    {
        found.grpc = Some(Grpc {
            method: name.to_string(),
        });
    } else if *kind == SpanKind::Consumer
        && let Some(destination) = name.strip_prefix("process ")
    {
        let system = said(["messaging.system", "messaging.system.name"]);
        found.consumer = Some(Consumer {
            destination: destination.to_owned(),
            system: system.unwrap_or_else(|| "kafka".to_owned()),
        });
    }
    if operation_name(&found) != **name {
        found = Operation {
            span: Some(NamedSpan {
                name: name.to_string(),
                kind: Some(*kind),
                attributes: BTreeMap::new(),
            }),
            ..Operation::default()
        };
    }
    found
}

fn errors_of(request: &Request) -> Vec<ErrorKind> {
    let mut kinds: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    let has_place = request.errors.len() <= MESSAGES_MAX;
    for ((kind, message, status), count) in &request.errors {
        let message = if has_place { message.as_str() } else { "" };
        *kinds.entry((kind, message, status)).or_default() += count;
    }
    let kinds = kinds
        .into_iter()
        .map(|((kind, message, status), count)| ErrorKind {
            ratio: rounded(count as f64 / request.count.max(1) as f64),
            kind: kind.to_owned(),
            message: message.to_owned(),
            status: Some(status.to_owned())
                .filter(|status| !matches!(status.as_str(), "" | "OK" | "200")),
        });
    kinds.collect()
}

fn time_of(sketch: &Sketch) -> Option<Distribution> {
    Some(sketch.distribution()).filter(|distribution| *distribution != Distribution::ZERO)
}

fn gaps_of(way: &Way) -> Vec<f64> {
    let whole: f64 = way.gaps.iter().sum();
    if whole <= 0.0 || way.steps.is_empty() {
        return Vec::new();
    }
    way.gaps.iter().map(|gap| rounded(gap / whole)).collect()
}

fn steps_of(way: &Way, request: &Request, names: &Names) -> Vec<Step> {
    let groups = way.steps.iter().filter_map(|slots| {
        let mut steps: Vec<Step> = slots
            .iter()
            .filter_map(|slot| step_of(slot, request, names))
            .collect();
        match steps.len() {
            0 => None,
            1 => steps.pop(),
            _ => Some(Step {
                parallel: Some(steps),
                ..Step::default()
            }),
        }
    });
    groups.collect()
}

fn step_of(slot: &Slot, request: &Request, names: &Names) -> Option<Step> {
    let kind = slot.kind.as_ref()?;
    let seen = request.calls.get(kind).copied().unwrap_or_default();
    let mut step = Step {
        detached: slot.detached && !matches!(kind, Kind::Publish(_)),
        count: counts_of(slot),
        fan_out: slot.fan_outs * 2 > slot.seen,
        ..Step::default()
    };
    match kind {
        Kind::Call(number) | Kind::PlainCall(number) => {
            step.call = Some(names.of(*number)?);
            step.without_client_span = matches!(kind, Kind::PlainCall(_));
            step.there = Some(slot.there.distribution());
            step.back = Some(slot.back.distribution());
            behaviour(&mut step, seen);
        }
        Kind::Publish(number) => {
            step.publish = Some(names.of(*number)?);
            step.there = Some(slot.there.distribution());
            step.back = Some(slot.back.distribution());
        }
        Kind::Query(system, operation, collection) => {
            step.query = Some(Query {
                system: system.clone(),
                operation: operation.clone(),
                collection: collection.clone(),
            });
            local(&mut step, slot, request, names);
            behaviour(&mut step, seen);
        }
        Kind::Work(name, span_kind) => {
            step.work = Some(NamedSpan {
                name: name.clone(),
                kind: Some(*span_kind).filter(|kind| *kind != SpanKind::Internal),
                attributes: BTreeMap::new(),
            });
            local(&mut step, slot, request, names);
            behaviour(&mut step, seen);
        }
    }
    Some(step)
}

fn counts_of(slot: &Slot) -> BTreeMap<u32, f64> {
    if slot.counts.keys().all(|count| *count == 1) {
        return BTreeMap::new();
    }
    let whole: u64 = slot.counts.values().sum();
    let counts = slot.counts.iter();
    counts
        .map(|(count, seen)| (*count, rounded(*seen as f64 / whole as f64)))
        .collect()
}

/// What a step does itself.
fn local(step: &mut Step, slot: &Slot, request: &Request, names: &Names) {
    step.time = time_of(&slot.inner.own);
    step.steps = steps_of(&slot.inner, request, names);
    step.gaps = gaps_of(&slot.inner);
    if step.gaps.len() != step.steps.len() + 1 {
        step.gaps = Vec::new();
    }
    let spans: u64 = slot
        .counts
        .iter()
        .map(|(count, seen)| u64::from(*count) * seen)
        .sum();
    if slot.errors > 0 {
        step.errors = vec![ErrorKind {
            ratio: rounded(slot.errors as f64 / spans.max(1) as f64),
            kind: String::new(),
            message: String::new(),
            status: None,
        }];
    }
}

/// What the caller makes of a failure.
fn behaviour(step: &mut Step, seen: CallSeen) {
    if seen.failed > 0 {
        step.propagation = rounded(seen.propagated as f64 / seen.failed as f64);
    }
    if let Some(backoff_nanos) = seen.backoff_nanos.checked_div(seen.retried) {
        step.retries = Some(Retries {
            attempts: seen.attempts.clamp(2, 20),
            backoff: Duration::from_micros(backoff_nanos / 1_000),
        });
    }
    if seen.timed_out >= TIMEOUTS_AT_LEAST {
        step.timeout = Some(Duration::from_micros(
            seen.timeout_nanos / seen.timed_out / 1_000,
        ));
    }
}

fn load_of(learner: &Learner, names: &Names, kept_ratio: f64) -> (Vec<RootLoad>, LoadShape) {
    let first = learner.first.unwrap_or(0);
    let secs = learner.last.saturating_sub(first) as f64 / NANOS_PER_SEC as f64;
    let traces: u64 = learner.roots.values().sum();
    // Between n starts there are n − 1 gaps.
    let minutes = secs / 60.0 * traces as f64 / traces.saturating_sub(1).max(1) as f64;
    let rate = |count: u64| {
        let count = count as f64 / if kept_ratio > 0.0 { kept_ratio } else { 1.0 };
        rounded(if minutes > 0.0 {
            count / minutes
        } else {
            count
        })
    };
    let load = learner.roots.iter().filter_map(|(number, count)| {
        let OperationRef { service, operation } = names.of(*number)?;
        Some(RootLoad {
            service,
            operation,
            per_minute: rate(*count),
        })
    });
    (load.collect(), shape_of(learner))
}

/// How the load changes with the hour and with the day, where the traces are long enough to tell.
fn shape_of(learner: &Learner) -> LoadShape {
    let (Some((first, _)), Some((last, _))) = (
        learner.hours.first_key_value(),
        learner.hours.last_key_value(),
    ) else {
        return LoadShape::default();
    };
    let hours = last - first;
    let factors = |slots: u64, slot_of: &dyn Fn(u64) -> u64| {
        let mut sums = vec![(0_u64, 0_u64); usize::try_from(slots).unwrap_or(0)];
        // The first and the last hour are not whole.
        for hour in first + 1..*last {
            let slot = usize::try_from(slot_of(hour)).unwrap_or(0);
            if let Some((count, seen)) = sums.get_mut(slot) {
                *count += learner.hours.get(&hour).copied().unwrap_or(0);
                *seen += 1;
            }
        }
        let means: Vec<f64> = sums
            .iter()
            .map(|(count, seen)| *count as f64 / (*seen).max(1) as f64)
            .collect();
        let mean = means.iter().sum::<f64>() / means.len().max(1) as f64;
        means
            .iter()
            .map(|own| rounded(own / mean.max(f64::MIN_POSITIVE)))
            .collect()
    };
    let mut shape = LoadShape::default();
    if hours >= HOURS_FOR_A_DAY {
        shape.daily = factors(HOURS_PER_DAY, &|hour| hour % HOURS_PER_DAY);
    }
    if hours >= HOURS_FOR_A_WEEK {
        // 1 January 1970 was a Thursday; weeks begin on Monday.
        shape.weekly = factors(7, &|hour| (hour / HOURS_PER_DAY + 3) % 7);
    }
    shape
}
