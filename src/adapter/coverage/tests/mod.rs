//! Hand-made traces for each rule and each finding.

mod gaps;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::coverage::{
    CoverageFinding, CoverageFindingKind as Kind, CoverageReport, PeerKind, RuleStatus,
};
use crate::model::series::ServiceKey;
use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::{
    AttributeValue, Completeness, SpanEvent, StatusCode, Trace, TraceResource, TraceSpan,
};
use crate::trace::assemble::assemble;
use crate::trace::fixture;

const MILLIS: u64 = 1_000_000;

/// Milliseconds.
fn span(id: &str, parent: &str, service: &str, kind: SpanKind, times: (u64, u64)) -> TraceSpan {
    let times = (times.0 * MILLIS, times.1 * MILLIS);
    let span = fixture::span(id, parent, service, kind, times);
    on(
        span,
        &[("service.name", service), ("telemetry.sdk.language", "go")],
    )
}

/// The same span with these attributes.
fn with(mut span: TraceSpan, attributes: &[(&str, &str)]) -> TraceSpan {
    for (key, value) in attributes {
        let value = match value.parse() {
            Ok(number) => AttributeValue::Int(number),
            Err(_) => AttributeValue::Text((*value).into()),
        };
        span.attributes.push(((*key).into(), value));
    }
    span
}

/// The same span of a resource with these attributes; `service.version` is its version.
fn on(mut span: TraceSpan, attributes: &[(&str, &str)]) -> TraceSpan {
    let version = attributes.iter().find(|(key, _)| *key == "service.version");
    let values = attributes.iter();
    span.resource = Arc::new(TraceResource {
        service: span.resource.service.clone(),
        version: version.map_or_else(|| "".into(), |(_, version)| (*version).into()),
        attributes: values
            .map(|(key, value)| ((*key).into(), AttributeValue::Text((*value).into())))
            .collect(),
    });
    span
}

/// A trace of these spans, whole as far as they say it.
fn trace(id: &str, spans: Vec<TraceSpan>) -> Trace {
    assemble(id.into(), spans, None).0
}

fn count(traces: &[Trace], config: &Config) -> Tally {
    let mut tally = Tally::default();
    for trace in traces {
        observe(&mut tally, trace, config);
    }
    tally
}

fn report_with(traces: &[Trace], config: &Config, around: Around<'_>) -> CoverageReport {
    let tally = count(traces, config);
    let mut observed = ObservedSignals::new(config.max_signals);
    for trace in traces {
        add_signals(&mut observed, trace);
    }
    let terms = Terms {
        window: "all".to_owned(),
        sampling: "none".to_owned(),
        refused: tally.refused,
    };
    of_traces(&tally, &observed, config, around, terms)
}

fn report(traces: &[Trace]) -> CoverageReport {
    report_with(traces, &Config::default(), Around::default())
}

fn findings(report: &CoverageReport) -> &[CoverageFinding] {
    &report.instrumentation.as_ref().unwrap().findings
}

fn kinds(report: &CoverageReport) -> Vec<Kind> {
    findings(report)
        .iter()
        .map(|finding| finding.kind)
        .collect()
}

fn find(report: &CoverageReport, kind: Kind) -> &CoverageFinding {
    let mut all = findings(report).iter();
    all.find(|finding| finding.kind == kind).unwrap()
}

/// What became of a rule for the service `a`, with the things looked at and broken.
fn rule(traces: &[Trace], id: &str) -> (RuleStatus, u64, u64) {
    let report = report(traces);
    let seen = report.instrumentation.unwrap();
    let mut scores = seen.scores.into_iter();
    let score = scores.find(|score| *score.service.name == *"a").unwrap();
    let mut rules = score.rules.iter();
    let rule = rules.find(|rule| rule.id == id).unwrap();
    (rule.status, rule.checked, rule.broken)
}

/// One span of `a` whose resource has these attributes.
fn reported_by(id: &str, attributes: &[(&str, &str)]) -> Trace {
    let span = span("s", "", "a", SpanKind::Server, (0, 10));
    trace(id, vec![on(span, attributes)])
}

use RuleStatus::{Fail, NotApplicable, Pass};

#[test]
fn res_001_asks_every_resource_for_its_instance() {
    let with = reported_by("1", &[("service.instance.id", "x")]);
    assert_eq!(rule(std::slice::from_ref(&with), "RES-001"), (Pass, 1, 0));
    let without = reported_by("2", &[("service.name", "a")]);
    assert_eq!(rule(&[with, without], "RES-001"), (Fail, 2, 1));
}

#[test]
fn res_002_fails_where_two_pods_share_an_instance() {
    let at = |id, instance, pod| {
        let attributes = [("service.instance.id", instance), ("k8s.pod.name", pod)];
        reported_by(id, &attributes)
    };
    let two = [at("1", "x", "payment-1"), at("2", "y", "payment-2")];
    assert_eq!(rule(&two, "RES-002"), (Pass, 2, 0));
    // The example of the specification: one id, two pods.
    let shared = [
        at("1", "abc", "payment-abc123"),
        at("2", "abc", "payment-def456"),
    ];
    assert_eq!(rule(&shared, "RES-002"), (Fail, 2, 1));
    // Without anything that tells resources apart nobody can say.
    let alone = reported_by("1", &[("service.instance.id", "x")]);
    assert_eq!(rule(&[alone], "RES-002"), (NotApplicable, 0, 0));
}

#[test]
fn res_002_is_also_told_by_two_halves_of_the_window() {
    let config = Config::default();
    let at = |pod| reported_by("1", &[("service.instance.id", "x"), ("k8s.pod.uid", pod)]);
    let mut sum = count(&[at("1")], &config);
    sum.merge(&count(&[at("2")], &config), &config);
    let broken =
        sum.services[&ServiceKey::named("a")].rules[&score::Rule::InstanceIdIsUnique].wrong;
    assert_eq!(broken, 1);
}

#[test]
fn res_003_asks_pods_for_their_uid_and_nobody_else() {
    let elsewhere = reported_by("1", &[("host.name", "h")]);
    assert_eq!(rule(&[elsewhere], "RES-003"), (NotApplicable, 0, 0));
    let named = reported_by("1", &[("k8s.pod.name", "p")]);
    assert_eq!(rule(&[named], "RES-003"), (Fail, 1, 1));
    let whole = reported_by("1", &[("k8s.pod.name", "p"), ("k8s.pod.uid", "u")]);
    assert_eq!(rule(&[whole], "RES-003"), (Pass, 1, 0));
}

#[test]
fn res_004_fails_where_an_attribute_stands_at_the_wrong_level() {
    let good = reported_by("1", &[("service.name", "a")]);
    // The resource and the span.
    assert_eq!(rule(&[good], "RES-004"), (Pass, 2, 0));
    let on_resource = reported_by("1", &[("http.method", "GET")]);
    assert_eq!(rule(&[on_resource], "RES-004"), (Fail, 2, 1));
    let root = span("s", "", "a", SpanKind::Server, (0, 10));
    let on_span = trace("1", vec![with(root, &[("service.name", "a")])]);
    assert_eq!(
        rule(std::slice::from_ref(&on_span), "RES-004"),
        (Fail, 2, 1)
    );
    let seen = report(&[on_span]).instrumentation.unwrap();
    let rules = &seen.scores[0].rules;
    assert!(
        rules
            .iter()
            .any(|rule| rule.text.contains("service.name on spans")),
        "{rules:?}"
    );
}

#[test]
fn res_005_fails_without_a_name_and_passes_with_the_sdks_default() {
    let unnamed = reported_by("1", &[("host.name", "h")]);
    assert_eq!(
        rule(std::slice::from_ref(&unnamed), "RES-005"),
        (Fail, 1, 1)
    );
    let default = reported_by("1", &[("service.name", "unknown_service:python")]);
    assert_eq!(
        rule(std::slice::from_ref(&default), "RES-005"),
        (Pass, 1, 0)
    );
    // The specification lets the default pass; that several services share it is a finding of ours.
    for traces in [unnamed, default] {
        assert!(kinds(&report(&[traces])).contains(&Kind::DefaultServiceName));
    }
}

/// A trace with a root of `a` and `count` spans below it.
fn many(count: usize, kind: SpanKind, millis: u64) -> Trace {
    let root = span("root", "", "a", SpanKind::Server, (0, 1_000));
    let below = (0..count).map(|n| span(&format!("s{n}"), "root", "a", kind, (10, 10 + millis)));
    trace("1", std::iter::once(root).chain(below).collect())
}

#[test]
fn spa_001_allows_ten_internal_spans_in_a_trace() {
    let internal = |count| rule(&[many(count, SpanKind::Internal, 50)], "SPA-001");
    assert_eq!(internal(10), (Pass, 1, 0));
    assert_eq!(internal(11), (Fail, 1, 1));
    let clients = rule(&[many(11, SpanKind::Client, 50)], "SPA-001");
    assert_eq!(clients, (Pass, 1, 0));
}

#[test]
fn spa_005_allows_twenty_short_spans_in_a_trace() {
    let short = |count, millis| rule(&[many(count, SpanKind::Client, millis)], "SPA-005");
    assert_eq!(short(20, 4), (Pass, 1, 0));
    assert_eq!(short(21, 4), (Fail, 1, 1));
    assert_eq!(short(21, 5), (Pass, 1, 0));
}

#[test]
fn spa_002_fails_for_orphans_unless_the_keeper_lost_their_parents() {
    let orphan = || {
        vec![
            span("root", "", "a", SpanKind::Server, (0, 100)),
            span("child", "root", "a", SpanKind::Internal, (0, 50)),
            span("orphan", "gone", "a", SpanKind::Internal, (0, 50)),
        ]
    };
    assert_eq!(rule(&[trace("1", orphan())], "SPA-002"), (Fail, 2, 1));
    let (lost, _) = assemble("1".into(), orphan(), Some("spans were left out".to_owned()));
    assert_eq!(
        rule(std::slice::from_ref(&lost), "SPA-002"),
        (NotApplicable, 0, 0)
    );
    assert!(!kinds(&report(&[lost])).contains(&Kind::OrphanedSpans));
    let found = report(&[trace("1", orphan())]);
    assert_eq!(find(&found, Kind::OrphanedSpans).count, 1);
    let entry = vec![
        span("root", "", "b", SpanKind::Server, (0, 100)),
        span("entry", "gone", "a", SpanKind::Server, (0, 50)),
    ];
    let found = report(&[trace("7", entry)]);
    let finding = find(&found, Kind::OrphanedEntries);
    assert_eq!(
        (finding.count, finding.traces.as_slice()),
        (1, &["7".to_owned()][..])
    );
}

#[test]
fn spa_003_counts_the_names_of_a_service() {
    let named = |count: usize| {
        let traces = (0..count).map(|n| {
            let root = span(&format!("GET /{n}"), "", "a", SpanKind::Server, (0, 10));
            trace(&n.to_string(), vec![root])
        });
        rule(&traces.collect::<Vec<_>>(), "SPA-003")
    };
    assert_eq!(named(200), (Pass, 200, 0));
    assert_eq!(named(201), (Fail, 201, 1));
    // More names than the rule allows take no more room.
    assert_eq!(named(300), (Fail, 201, 1));
}

#[test]
fn spa_004_fails_where_a_trace_begins_with_a_call() {
    let call = trace("1", vec![span("c", "", "a", SpanKind::Client, (0, 10))]);
    assert_eq!(rule(std::slice::from_ref(&call), "SPA-004"), (Fail, 1, 1));
    let found = report(&[call]);
    let finding = find(&found, Kind::ClientRoots);
    assert_eq!(finding.language.as_deref(), Some("go"));
    assert!(
        finding.remedy.contains("context of the request"),
        "{finding:?}"
    );
    assert_eq!(
        rule(&[many(0, SpanKind::Internal, 1)], "SPA-004"),
        (Pass, 1, 0)
    );
}

#[test]
fn sdk_001_applies_where_versions_are_known() {
    let of = |runtime| {
        let attributes = [
            ("telemetry.sdk.language", "nodejs"),
            ("telemetry.sdk.version", "2.0.0"),
            ("process.runtime.version", runtime),
        ];
        rule(&[reported_by("1", &attributes)], "SDK-001")
    };
    assert_eq!(of("20.20.2"), (Pass, 1, 0));
    assert_eq!(of("16.0.0"), (Fail, 1, 1));
    let unsaid = reported_by("1", &[("telemetry.sdk.language", "nodejs")]);
    assert_eq!(rule(&[unsaid], "SDK-001"), (NotApplicable, 0, 0));
}

#[test]
fn a_score_is_made_of_the_rules_that_apply_and_findings_do_not_touch_it() {
    let root = |attributes: &[(&str, &str)]| {
        let root = span("s", "", "a", SpanKind::Server, (0, 10));
        let resource = [("service.name", "a")];
        vec![trace("1", vec![with(on(root, &resource), attributes)])]
    };
    let score = |traces: &[Trace]| {
        let seen = report(traces).instrumentation.unwrap();
        (seen.scores[0].score.unwrap(), seen.findings.len())
    };
    // RES-001 (20) is broken; RES-004, RES-005, SPA-001, SPA-003, SPA-004, SPA-005 pass (180); SPA-002, RES-002, RES-003 and
    // SDK-001 do not apply: 180 / 200.
    let (plain, without_version) = score(&root(&[]));
    assert!((plain - 90.0).abs() < 1e-9, "{plain}");
    assert_eq!(without_version, 1);
    let (flawed, more) = score(&root(&[
        ("http.request.method", "GET"),
        ("http.response.status_code", "503"),
    ]));
    assert!((flawed - plain).abs() < 1e-9);
    assert_eq!(more, 3);
    let method = report(&root(&[])).instrumentation.unwrap().method;
    assert_eq!(
        (method.rules_judged, method.rules_total, method.is_complete),
        (11, 19, false)
    );
}

#[test]
fn routes_and_statuses_are_missed_where_they_belong() {
    let server = |attributes: &[(&str, &str)], status| {
        let root = span("s", "", "a", SpanKind::Server, (0, 10));
        let root = TraceSpan {
            status,
            ..with(root, attributes)
        };
        kinds(&report(&[trace("1", vec![root])]))
    };
    let get = ("http.request.method", "GET");
    let found = server(
        &[get, ("http.response.status_code", "200")],
        StatusCode::Unset,
    );
    assert_eq!(found, [Kind::MissingRoute, Kind::MissingVersion]);
    // What no route takes has none.
    let found = server(
        &[get, ("http.response.status_code", "404")],
        StatusCode::Unset,
    );
    assert_eq!(found, [Kind::MissingVersion]);
    let routed = [get, ("http.route", "/"), ("http.status_code", "500")];
    assert_eq!(
        server(&routed, StatusCode::Unset),
        [Kind::MissingErrorStatus, Kind::MissingVersion]
    );
    assert_eq!(server(&routed, StatusCode::Error), [Kind::MissingVersion]);
    assert_eq!(server(&[], StatusCode::Unset), [Kind::MissingVersion]);
}

#[test]
fn an_exception_that_leaves_the_status_unset_is_noted() {
    let threw = |status| {
        let root = span("s", "", "a", SpanKind::Internal, (0, 10));
        let exception = SpanEvent {
            at: 0,
            name: "exception".into(),
            attributes: Vec::new(),
        };
        let root = TraceSpan {
            status,
            events: vec![exception],
            ..root
        };
        kinds(&report(&[trace("1", vec![root])])).contains(&Kind::ExceptionWithoutStatus)
    };
    assert!(threw(StatusCode::Unset));
    assert!(!threw(StatusCode::Error));
    assert!(!threw(StatusCode::Ok));
}

#[test]
fn a_version_is_asked_for() {
    let versioned = reported_by("1", &[("service.name", "a"), ("service.version", "1.2")]);
    assert_eq!(kinds(&report(&[versioned])), Vec::<Kind>::new());
}

/// A call of `a` to `b`, whose span begins and ends at these milliseconds; the call takes from 100 to 200.
fn answered(times: (u64, u64)) -> Vec<TraceSpan> {
    vec![
        span("root", "", "a", SpanKind::Server, (0, 1_000)),
        span("call", "root", "a", SpanKind::Client, (100, 200)),
        span("entry", "call", "b", SpanKind::Server, times),
    ]
}

#[test]
fn a_clock_is_wrong_where_the_callee_begins_before_the_call_or_after_its_answer() {
    let skew = |times| {
        let report = report(&[trace("1", answered(times))]);
        let mut skews = findings(&report).iter();
        let skew = skews.find(|finding| finding.kind == Kind::ClockSkew);
        skew.map(|finding| finding.text.clone())
    };
    // Up to 10 ms are allowed.
    assert_eq!(skew((110, 190)), None);
    assert_eq!(skew((90, 190)), None);
    let behind = skew((40, 120)).unwrap();
    assert!(
        behind.contains("at least 60 ms behind that of `a`"),
        "{behind}"
    );
    let ahead = skew((250, 330)).unwrap();
    assert!(
        ahead.contains("at least 50 ms ahead of that of `a`"),
        "{ahead}"
    );
    // What goes on after its caller gave up is no clock.
    assert_eq!(skew((110, 5_000)), None);
}

/// The traces of a random system: up to three services that call each other, with some spans lost.
fn system() -> impl Strategy<Value = Vec<Trace>> {
    let service = prop::sample::select(vec!["a", "b", "c"]);
    let kind = prop::sample::select(vec![
        SpanKind::Client,
        SpanKind::Server,
        SpanKind::Internal,
        SpanKind::Producer,
    ]);
    let spans = prop::collection::vec((service, kind, 0..8_usize, any::<bool>()), 1..12);
    let one = spans.prop_map(|spans| {
        let spans = spans.into_iter().enumerate();
        let spans = spans.map(|(at, (service, kind, parent, fails))| {
            let parent = if parent >= at {
                String::new()
            } else {
                parent.to_string()
            };
            let mut one = span(&at.to_string(), &parent, service, kind, (0, 10));
            if fails {
                one.outcome = Outcome::Error;
            }
            with(
                one,
                &[("server.address", if fails { "b" } else { "nobody" })],
            )
        });
        spans.collect::<Vec<_>>()
    });
    prop::collection::vec(one, 1..8).prop_map(|all| {
        let all = all.into_iter().enumerate();
        all.map(|(at, spans)| trace(&at.to_string(), spans))
            .collect()
    })
}

proptest! {
    #[test]
    fn two_halves_say_what_the_whole_says(traces in system(), cut in 0..8_usize) {
        let config = Config::default();
        let (first, second) = traces.split_at(cut.min(traces.len()));
        let mut halves = count(first, &config);
        halves.merge(&count(second, &config), &config);
        let whole = count(&traces, &config);
        let counted = |tally: &Tally| {
            let services = tally.services.iter().map(|(key, own)| {
                let rules = own.rules.values().map(|checked| (checked.all, checked.wrong));
                (key.clone(), (own.spans, own.entries, rules.collect::<Vec<_>>()))
            });
            let calls = tally.calls.iter().map(|(key, own)| {
                (key.clone(), (own.calls, own.answered, own.failed, own.unanswered.wrong))
            });
            (services.collect::<BTreeMap<_, _>>(), calls.collect::<BTreeMap<_, _>>())
        };
        prop_assert_eq!(counted(&halves), counted(&whole));
    }

    #[test]
    fn every_call_is_answered_or_failed_or_missed_and_ratios_are_ratios(traces in system()) {
        let report = report(&traces);
        let seen = report.instrumentation.unwrap();
        for edge in &seen.edges {
            prop_assert!(edge.answered + edge.failed <= edge.calls);
        }
        for part in &report.objective.parts {
            prop_assert!(part.covered <= part.expected);
        }
        let listed: u64 = seen.findings_by_kind.values().sum();
        prop_assert_eq!(listed, seen.findings.len() as u64 + seen.findings_omitted);
        for finding in &seen.findings {
            prop_assert!(finding.count > 0 && finding.count <= finding.checked, "{:?}", finding);
            prop_assert!(!finding.text.is_empty() && !finding.remedy.is_empty());
        }
    }
}
