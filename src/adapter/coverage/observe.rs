//! Looks at a whole trace: resources, spans, calls. What it finds goes into a [`Tally`].
//!
//! A trace of which the keeper lost spans proves no gap: its rules about what is there are judged, those about what is
//! missing are not.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::adapter::coverage::Config;
use crate::adapter::coverage::conventions::{
    belongs_on_spans, belongs_on_the_resource, number, says, text,
};
use crate::adapter::coverage::peer;
use crate::adapter::coverage::runtime::is_supported;
use crate::adapter::coverage::score::Rule;
use crate::adapter::coverage::tally::{CallTally, Peer, Place, ServiceTally, Taken, Tally};
use crate::model::coverage::{CoverageFindingKind as Kind, PeerKind};
use crate::model::series::{ServiceKey, UNKNOWN_SERVICE};
use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::{Attributes, StatusCode, Trace, TraceResource, TraceSpan};
use crate::trace::assemble::completeness_of;
use crate::trace::tree::TraceTree;

/// SPA-001: INTERNAL spans of a service in a trace.
const INTERNAL_SPANS_MAX: u64 = 10;

/// SPA-005: short spans of a service in a trace.
const SHORT_SPANS_MAX: u64 = 20;

/// SPA-005: shorter spans are short.
const SHORT_NANOS: u64 = 5_000_000;

/// Attributes that tell pods, containers and hosts apart, the finest first.
const PLACES: [&str; 5] = [
    "k8s.pod.uid",
    "k8s.pod.name",
    "container.id",
    "host.id",
    "host.name",
];

/// Attributes that only the resources of pods have.
const OF_PODS: [&str; 4] = [
    "k8s.pod.name",
    "k8s.deployment.name",
    "k8s.container.name",
    "k8s.namespace.name",
];

/// Attributes that name a workload.
const WORKLOADS: [&str; 5] = [
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
];

const METHOD: [&str; 2] = ["http.request.method", "http.method"];
const STATUS: [&str; 2] = ["http.response.status_code", "http.status_code"];

/// Looks at a trace.
pub fn observe(tally: &mut Tally, trace: &Trace, config: &Config) {
    let tree = TraceTree::new(trace);
    let id = &*trace.trace_id;
    // What the spans alone say is missing was never sent; anything else the keeper knows.
    let proves_gaps = trace.completeness == completeness_of(&tree);
    tally.traces += 1;
    tally.partial_traces += u64::from(!proves_gaps);
    tally.spans += trace.spans.len() as u64;
    for span in &trace.spans {
        tally.last = tally.last.max(span.end);
        if tally.first == 0 || span.end < tally.first {
            tally.first = span.end;
        }
    }
    for (resource, count) in resources(trace) {
        match service(tally, &resource.service, config) {
            Some(own) => {
                own.spans += count;
                let refused = observe_resource(own, resource, id, config);
                tally.refused.names += refused;
            }
            None => tally.refused.services += count,
        }
    }
    for (index, span) in trace.spans.iter().enumerate() {
        if let Some(own) = tally.services.get_mut(&span.resource.service) {
            let refused = observe_span(own, span, id, config);
            tally.refused.names += refused;
            if proves_gaps && span.parent_span_id.is_some() {
                let is_orphan = tree.orphans().binary_search(&index).is_ok();
                own.rule(Rule::Orphans, is_orphan, id);
                let is_entry = is_entry(span.kind);
                own.flaw(Kind::OrphanedEntries, is_orphan && is_entry, id);
                own.flaw(Kind::OrphanedSpans, is_orphan && !is_entry, id);
            }
        }
    }
    observe_lots(tally, trace);
    for index in 0..trace.spans.len() {
        observe_call(tally, &tree, index, proves_gaps, config);
    }
}

fn service<'a>(
    tally: &'a mut Tally,
    key: &ServiceKey,
    config: &Config,
) -> Option<&'a mut ServiceTally> {
    if !tally.services.contains_key(key) && tally.services.len() >= config.max_services {
        return None;
    }
    Some(tally.services.entry(key.clone()).or_default())
}

/// The resources of a trace with the number of their spans, each once.
fn resources(trace: &Trace) -> Vec<(&TraceResource, u64)> {
    let mut resources: Vec<(&Arc<TraceResource>, u64)> = Vec::new();
    for span in &trace.spans {
        let same = |(known, _): &&mut (&Arc<TraceResource>, u64)| {
            Arc::ptr_eq(known, &span.resource) || **known == span.resource
        };
        match resources.iter_mut().find(same) {
            Some((_, count)) => *count += 1,
            None => resources.push((&span.resource, 1)),
        }
    }
    let plain = resources.into_iter();
    plain
        .map(|(resource, count)| (&**resource, count))
        .collect()
}

fn is_entry(kind: SpanKind) -> bool {
    matches!(kind, SpanKind::Server | SpanKind::Consumer)
}

/// Gives how much a bound turned away.
fn observe_resource(
    own: &mut ServiceTally,
    resource: &TraceResource,
    id: &str,
    config: &Config,
) -> u64 {
    let attributes = &resource.attributes;
    let most = config.max_names_per_service;
    let mut refused = 0;
    let instance = text(attributes, &["service.instance.id"]);
    own.rule(Rule::InstanceId, instance.is_none(), id);
    let places: Vec<Place> = PLACES
        .iter()
        .filter_map(|key| Some((*key, text(attributes, &[key])?.into())))
        .collect();
    if let (Some(instance), false) = (instance, places.is_empty()) {
        match own.instance(instance, places, most) {
            Taken::Yes(is_elsewhere) => own.rule(Rule::InstanceIdIsUnique, is_elsewhere, id),
            Taken::Refused => refused += 1,
        }
    }
    if says(attributes, &OF_PODS) {
        own.rule(
            Rule::PodUid,
            text(attributes, &["k8s.pod.uid"]).is_none(),
            id,
        );
    }
    let misplaced = attributes.iter().find(|(key, _)| belongs_on_spans(key));
    own.rule(Rule::AttributeLevels, misplaced.is_some(), id);
    note_example(
        own,
        Rule::AttributeLevels,
        misplaced.map(|(key, _)| &**key),
        "on the resource",
    );
    let name = text(attributes, &["service.name"]);
    own.rule(Rule::ServiceName, name.is_none(), id);
    let is_default = name.is_none_or(|name| name.starts_with(UNKNOWN_SERVICE));
    own.flaw(Kind::DefaultServiceName, is_default, id);
    own.flaw(Kind::MissingVersion, resource.version.is_empty(), id);
    let language = text(attributes, &["telemetry.sdk.language"]);
    if let (Some(language), None) = (language, &own.language) {
        own.language = Some(language.into());
    }
    observe_runtime(own, attributes, id);
    refused + observe_place(own, attributes, config)
}

/// Whether the SDK supports its runtime.
fn observe_runtime(own: &mut ServiceTally, attributes: &Attributes, id: &str) {
    let language = text(attributes, &["telemetry.sdk.language"]);
    let versions = (
        text(attributes, &["telemetry.sdk.version"]),
        text(attributes, &["process.runtime.version"]),
    );
    if let (Some(language), (Some(sdk), Some(runtime))) = (language, versions)
        && let Some(is_supported) = is_supported(language, sdk, runtime)
    {
        own.rule(Rule::Runtime, !is_supported, id);
        let wrong = format!("{language} {runtime} with SDK {sdk}");
        note_example(
            own,
            Rule::Runtime,
            (!is_supported).then_some(wrong.as_str()),
            "",
        );
    }
}

/// Takes the workload and the process. Gives how much a bound turned away.
fn observe_place(own: &mut ServiceTally, attributes: &Attributes, config: &Config) -> u64 {
    let most = config.max_names_per_service;
    let mut refused = 0;
    let namespace = text(attributes, &["k8s.namespace.name"]).unwrap_or_default();
    for key in WORKLOADS {
        if let Some(name) = text(attributes, &[key]) {
            let workload = (Box::from(namespace), Box::from(name));
            if own.workloads.len() < most || own.workloads.contains(&workload) {
                own.workloads.insert(workload);
            } else {
                refused += 1;
            }
        }
    }
    let pid = number(attributes, &["process.pid"]).and_then(|pid| u32::try_from(pid).ok());
    if let Some(pid) = pid {
        if own.pids.len() < most || own.pids.contains(&pid) {
            own.pids.insert(pid);
        } else {
            refused += 1;
        }
    }
    refused
}

/// Keeps the first thing that breaks a rule, in words.
fn note_example(own: &mut ServiceTally, rule: Rule, what: Option<&str>, place: &str) {
    if let Some(what) = what {
        let checked = own.rules.entry(rule).or_default();
        if checked.example.is_none() {
            let words = format!("{what} {place}");
            checked.example = Some(words.trim_end().into());
        }
    }
}

/// Gives how much a bound turned away.
fn observe_span(own: &mut ServiceTally, span: &TraceSpan, id: &str, config: &Config) -> u64 {
    let attributes = &span.attributes;
    let mut refused = 0;
    let misplaced = attributes
        .iter()
        .find(|(key, _)| belongs_on_the_resource(key));
    own.rule(Rule::AttributeLevels, misplaced.is_some(), id);
    note_example(
        own,
        Rule::AttributeLevels,
        misplaced.map(|(key, _)| &**key),
        "on spans",
    );
    // One more than the rule allows tells as much as all.
    if own.names.len() <= config.max_span_names {
        own.names.insert(xxh3_64(span.name.as_bytes()));
    }
    if span.parent_span_id.is_none() {
        own.rule(Rule::ClientRoots, span.kind == SpanKind::Client, id);
        own.flaw(Kind::ClientRoots, span.kind == SpanKind::Client, id);
        own.entry_roots += u64::from(is_entry(span.kind));
    }
    let threw = span.events.iter().any(|event| &*event.name == "exception");
    if threw {
        own.flaw(
            Kind::ExceptionWithoutStatus,
            span.status == StatusCode::Unset,
            id,
        );
    }
    if !is_entry(span.kind) {
        return refused;
    }
    own.entries += 1;
    if span.kind == SpanKind::Server && says(attributes, &METHOD) {
        let status = number(attributes, &STATUS);
        // A path that no route takes has none.
        if status != Some(404) {
            let route = text(attributes, &["http.route"]);
            own.flaw(Kind::MissingRoute, route.is_none(), id);
        }
        if status.is_some_and(|status| (500..600).contains(&status)) {
            own.flaw(
                Kind::MissingErrorStatus,
                span.status == StatusCode::Unset,
                id,
            );
        }
    }
    let host = peer::host_of(attributes);
    let mut aliases: Vec<String> = Vec::new();
    if let Some(host) = host {
        aliases.extend(host.is_telling().then(|| host.name.to_owned()));
        if let Some(port) = host.port {
            aliases.push(host.label());
            if own.ports.len() < config.max_names_per_service || own.ports.contains(&port) {
                own.ports.insert(port);
            } else {
                refused += 1;
            }
        }
    }
    aliases.extend(text(attributes, &["rpc.service"]).map(str::to_owned));
    for alias in aliases {
        refused += u64::from(!add_alias(own, &alias, config));
    }
    refused
}

/// Whether there was room.
fn add_alias(own: &mut ServiceTally, alias: &str, config: &Config) -> bool {
    if own.aliases.contains(alias) {
        return true;
    }
    let has_room = own.aliases.len() < config.max_names_per_service;
    if has_room {
        own.aliases.insert(alias.into());
    }
    has_room
}

/// What rules ask of the number of a service's spans in a trace.
fn observe_lots(tally: &mut Tally, trace: &Trace) {
    let mut lots: BTreeMap<&ServiceKey, (u64, u64)> = BTreeMap::new();
    for span in &trace.spans {
        let (internal, short) = lots.entry(&span.resource.service).or_default();
        *internal += u64::from(span.kind == SpanKind::Internal);
        *short += u64::from(span.duration_nanos() < SHORT_NANOS);
    }
    for (key, (internal, short)) in lots {
        if let Some(own) = tally.services.get_mut(key) {
            let id = &trace.trace_id;
            own.rule(Rule::InternalSpans, internal > INTERNAL_SPANS_MAX, id);
            own.rule(Rule::ShortSpans, short > SHORT_SPANS_MAX, id);
        }
    }
}

/// Looks at a client or producer span: who is called, and whether that shows in the trace.
fn observe_call(
    tally: &mut Tally,
    tree: &TraceTree<'_>,
    index: usize,
    proves_gaps: bool,
    config: &Config,
) {
    let Some(span) = tree.span(index) else {
        return;
    };
    if !matches!(span.kind, SpanKind::Client | SpanKind::Producer) {
        return;
    }
    let id = &*tree.trace().trace_id;
    let children = || tree.children(index).iter().filter_map(|at| tree.span(*at));
    let caller = &span.resource.service;
    let answers: Vec<&TraceSpan> = children()
        .filter(|child| is_entry(child.kind) || child.resource.service != *caller)
        .collect();
    // A library that calls through another one says the call twice; the inner span knows the peer best.
    let is_delegated = children().any(|child| child.kind == span.kind);
    if (answers.is_empty() && (is_delegated || !proves_gaps))
        || !tally.services.contains_key(caller)
    {
        return;
    }
    let named = peer::of(span);
    let peer = match answers.first() {
        Some(answer) => Peer::Service(answer.resource.service.clone()),
        None => Peer::Named(named.kind, named.name.as_str().into()),
    };
    if let Peer::Service(callee) = &peer
        && matches!(named.kind, PeerKind::Dark | PeerKind::External)
        && let Some(theirs) = tally.services.get_mut(callee)
        && !add_alias(theirs, &named.name, config)
    {
        tally.refused.names += 1;
    }
    let key = (caller.clone(), peer);
    if !tally.calls.contains_key(&key) && tally.calls.len() >= config.max_edges {
        tally.refused.edges += 1;
        return;
    }
    let call = tally.calls.entry(key).or_default();
    call.calls += 1;
    call.port = call.port.or(named.port);
    if let (None, Some(protocol)) = (&call.protocol, named.protocol) {
        call.protocol = Some(protocol.into());
    }
    if answers.is_empty() {
        let has_failed = span.outcome == Outcome::Error;
        call.failed += u64::from(has_failed);
        call.unanswered.see(!has_failed, id);
        call.unanswered_weight += if has_failed { 0.0 } else { span.weight };
    } else {
        call.answered += 1;
        call.answered_weight += span.weight;
        call.unanswered.see(false, id);
    }
    for answer in answers {
        observe_clocks(call, span, answer, id, config);
    }
}

/// The callee's span cannot begin before the call does, nor after an answer that was good.
fn observe_clocks(
    call: &mut CallTally,
    caller: &TraceSpan,
    callee: &TraceSpan,
    id: &str,
    config: &Config,
) {
    let is_synchronous = caller.kind == SpanKind::Client && callee.kind == SpanKind::Server;
    let early = caller.start.saturating_sub(callee.start);
    let late = if is_synchronous && caller.outcome == Outcome::Ok {
        callee.start.saturating_sub(caller.end)
    } else {
        0
    };
    let allowed = u64::try_from(config.clock_skew.as_nanos()).unwrap_or(u64::MAX);
    let is_wrong = early.max(late) > allowed;
    call.skew.see(is_wrong, id);
    if is_wrong && early.max(late) > call.skew_nanos.unsigned_abs() {
        let nanos = i64::try_from(early.max(late)).unwrap_or(i64::MAX);
        call.skew_nanos = if early > late { -nanos } else { nanos };
    }
}
