//! The report: scores, edges, findings, gaps and the ratio, from what was counted.

use crate::adapter::coverage::Config;
use crate::adapter::coverage::edges::{DarkPeer, Edge, dark_peers, edges};
use crate::adapter::coverage::findings::{by_kind, find};
use crate::adapter::coverage::host::{HostView, Listener};
use crate::adapter::coverage::probes::{behind, rank};
use crate::adapter::coverage::score::{self, Rule};
use crate::adapter::coverage::signals::{ObservedSignals, Signals, Traffic, compare, part};
use crate::adapter::coverage::tally::{Checked, Refused, ServiceTally, Tally};
use crate::adapter::coverage::workloads;
use crate::adapter::kubernetes::{Inventory, Workload};
use crate::evaluator::verdict::timestamp;
use crate::model::coverage::{
    CoverageEdge, CoverageKind, CoverageObjective, CoveragePart, CoverageReport, CoverageStatus,
    Instrumentation, InstrumentationScore, PeerKind, Probe, RuleResult, RuleStatus, ScoreMethod,
};
use crate::model::series::ServiceKey;

/// Gaps that a report lists.
const PROBES_MAX: usize = 100;

/// Compares expected names with those that were seen, without traces. `None` where nothing was expected: a ratio of nothing is
/// no ratio.
pub fn of_signals(
    expected: &[String],
    observed: &ObservedSignals,
    target: f64,
) -> Option<CoverageReport> {
    let signals = compare(expected, observed);
    if signals.expected.is_empty() {
        return None;
    }
    let probes = signals.probes(observed, &[]);
    let probes = rank(&[], probes, &[], &[], None);
    let objective = objective(target, vec![signals.part()]);
    Some(with(signals, probes, objective, None))
}

/// What surrounds the traces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// What manifests say should be there.
    pub inventory: Option<&'a Inventory>,
    /// What listens on this host.
    pub host: Option<&'a HostView>,
}

/// What is said of scores, and by whom.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The window in words.
    pub window: String,
    /// Whose traces, in words.
    pub sampling: String,
    /// What was turned away; more than the traces in the window say on a running server.
    pub refused: Refused,
}

/// Everything that traces and their surroundings say.
pub fn of_traces(
    tally: &Tally,
    observed: &ObservedSignals,
    config: &Config,
    around: Around<'_>,
    terms: Terms,
) -> CoverageReport {
    let edges = edges(tally, around.inventory);
    let dark = dark_peers(&edges, tally, around.inventory);
    let seen = around
        .inventory
        .map(|inventory| workloads::seen(inventory, tally))
        .unwrap_or_default();
    let unseen: Vec<&Workload> = seen
        .iter()
        .filter(|(_, is_seen)| !is_seen)
        .map(|(workload, _)| *workload)
        .collect();
    let silent = around
        .host
        .map(|host| silent_listeners(host, tally, &dark))
        .unwrap_or_default();
    let findings = find(tally, &edges, &dark, &unseen, &silent);
    let traffic: Vec<Traffic<'_>> = dark
        .iter()
        .map(|peer| Traffic {
            name: &peer.name,
            calls: peer.calls,
            weight: peer.weight,
            callers: peer.callers.len() as u64,
        })
        .collect();
    let signals = compare(&config.expected_signals, observed);
    let of_signals = signals.probes(observed, &traffic);
    let probes = rank(&dark, of_signals, &unseen, &silent, around.host);
    let services = tally.services.len() as u64;
    let mut parts = vec![
        part(
            CoverageKind::Services,
            services,
            services + dark.len() as u64,
        ),
        edges_part(&edges),
    ];
    if !signals.expected.is_empty() {
        parts.insert(0, signals.part());
    }
    if around.inventory.is_some() {
        let covered = seen.len() - unseen.len();
        parts.push(part(
            CoverageKind::Workloads,
            covered as u64,
            seen.len() as u64,
        ));
    }
    let instrumentation = Instrumentation {
        findings_by_kind: by_kind(&findings),
        findings_omitted: findings.len().saturating_sub(config.max_findings) as u64,
        findings: findings.into_iter().take(config.max_findings).collect(),
        ..instrumentation(tally, observed, config, &edges, terms)
    };
    let mut objective = objective(config.target, parts);
    if tally.traces == 0 {
        // A server that has just started has missed nothing.
        objective.status = CoverageStatus::Unknown;
    }
    with(signals, probes, objective, Some(instrumentation))
}

/// What traces say by themselves, findings aside.
fn instrumentation(
    tally: &Tally,
    observed: &ObservedSignals,
    config: &Config,
    edges: &[Edge],
    terms: Terms,
) -> Instrumentation {
    let listed = edges.iter().take(config.max_findings).map(edge_report);
    let refused = [
        ("max_services", terms.refused.services),
        ("max_edges", terms.refused.edges),
        ("max_names_per_service", terms.refused.names),
        ("max_signals", observed.omitted()),
    ];
    let at = |nanos| (nanos > 0).then(|| timestamp(nanos));
    Instrumentation {
        traces: tally.traces,
        partial_traces: tally.partial_traces,
        spans: tally.spans,
        first: at(tally.first),
        last: at(tally.last),
        method: score::method(terms.window, terms.sampling, config.max_span_names),
        scores: tally
            .services
            .iter()
            .map(|(key, service)| score_of(key, service, config))
            .collect(),
        edges: listed.collect(),
        edges_omitted: edges.len().saturating_sub(config.max_findings) as u64,
        findings_by_kind: by_kind(&[]),
        findings_omitted: 0,
        findings: Vec::new(),
        refused: refused
            .into_iter()
            .map(|(key, count)| (key.to_owned(), count))
            .collect(),
    }
}

fn with(
    signals: Signals,
    mut probes: Vec<Probe>,
    objective: CoverageObjective,
    instrumentation: Option<Instrumentation>,
) -> CoverageReport {
    probes.truncate(PROBES_MAX);
    CoverageReport {
        coverage_ratio: signals.part().ratio,
        suggestions: signals.suggestions(),
        next_probe: probes.first().map(|probe| probe.target.clone()),
        expected_signals: signals.expected,
        observed_signals: signals.listed,
        observed_signals_omitted: signals.omitted,
        coverage_map: signals.map,
        missing_signals: signals.missing,
        probes,
        objective,
        instrumentation,
    }
}

/// Of all things together, whatever their kind: each counts once.
fn objective(target: f64, parts: Vec<CoveragePart>) -> CoverageObjective {
    let covered: u64 = parts.iter().map(|part| part.covered).sum();
    let expected: u64 = parts.iter().map(|part| part.expected).sum();
    let ratio = (expected > 0).then(|| covered as f64 / expected as f64);
    CoverageObjective {
        target,
        ratio,
        status: match ratio {
            Some(ratio) if ratio >= target => CoverageStatus::Met,
            Some(_) => CoverageStatus::Missed,
            None => CoverageStatus::Unknown,
        },
        parts,
    }
}

fn edges_part(edges: &[Edge]) -> CoveragePart {
    let between_services = edges
        .iter()
        .filter(|edge| matches!(edge.kind, PeerKind::Service | PeerKind::Dark));
    let telling: Vec<bool> = between_services.filter_map(Edge::is_covered).collect();
    let covered = telling.iter().filter(|is_covered| **is_covered).count();
    part(CoverageKind::Edges, covered as u64, telling.len() as u64)
}

fn edge_report(edge: &Edge) -> CoverageEdge {
    CoverageEdge {
        caller: edge.caller.clone(),
        peer: edge.peer.clone(),
        kind: edge.kind,
        calls: edge.calls.calls,
        answered: edge.calls.answered,
        failed: edge.calls.failed,
        protocol: edge.calls.protocol.as_deref().map(str::to_owned),
    }
}

/// Processes that listen and that no span and no dark peer tells of. Data stores are seen by their callers.
fn silent_listeners<'a>(
    host: &'a HostView,
    tally: &Tally,
    dark: &[DarkPeer<'_>],
) -> Vec<&'a Listener> {
    let is_known = |listener: &Listener| {
        let mut services = tally.services.values();
        services.any(|service| {
            service.pids.contains(&listener.pid) || !service.ports.is_disjoint(&listener.ports)
        })
    };
    let called: Vec<u32> = dark
        .iter()
        .filter_map(|peer| Some(behind(peer, host)?.pid))
        .collect();
    let silent = host.listeners.iter().filter(|listener| {
        !listener.is_of_the_system()
            && !workloads::is_program_of_others(&listener.name)
            && !called.contains(&listener.pid)
            && !is_known(listener)
    });
    silent.collect()
}

fn score_of(key: &ServiceKey, service: &ServiceTally, config: &Config) -> InstrumentationScore {
    let rules: Vec<RuleResult> = Rule::ALL
        .iter()
        .map(|rule| rule_result(*rule, service, config))
        .collect();
    let score = score::score(rules.iter().map(|rule| (rule.impact, rule.status)));
    InstrumentationScore {
        service: key.clone(),
        score,
        category: score.map(score::category),
        language: service.language.as_deref().map(str::to_owned),
        spans: service.spans,
        rules,
    }
}

fn rule_result(rule: Rule, service: &ServiceTally, config: &Config) -> RuleResult {
    let names = || Checked {
        all: service.names.len() as u64,
        wrong: service.names.len().saturating_sub(config.max_span_names) as u64,
        ..Checked::default()
    };
    let checked = if rule == Rule::SpanNames {
        names()
    } else {
        service.rules.get(&rule).cloned().unwrap_or_default()
    };
    let status = match (checked.all, checked.wrong) {
        (0, _) => RuleStatus::NotApplicable,
        (_, 0) => RuleStatus::Pass,
        _ => RuleStatus::Fail,
    };
    let text = match (&checked.example, status) {
        (Some(example), RuleStatus::Fail) => format!("{}; seen: {example}", rule.text()),
        _ => rule.text().to_owned(),
    };
    RuleResult {
        id: rule.id().to_owned(),
        impact: rule.impact(),
        status,
        checked: checked.all,
        broken: checked.wrong,
        text,
        traces: checked.traces.iter().map(ToString::to_string).collect(),
    }
}

/// What the report says of itself, for people.
pub fn summary(report: &CoverageReport) -> String {
    let objective = &report.objective;
    let ratio = objective
        .ratio
        .map_or_else(|| "unknown".to_owned(), |ratio| format!("{ratio:.3}"));
    let parts: Vec<String> = objective
        .parts
        .iter()
        .map(|part| {
            let (covered, expected) = (part.covered, part.expected);
            format!("{covered} of {expected} {}", part.kind.label())
        })
        .collect();
    let (status, target) = (objective.status.label(), objective.target);
    format!(
        "coverage {ratio} (target {target}, {status}): {}",
        parts.join(", ")
    )
}

/// How many of the rules are judged, for people.
pub fn disclosure(method: &ScoreMethod) -> String {
    format!(
        "{} with {} of {} rules, so it is not complete; {}; {}",
        method.specification,
        method.rules_judged,
        method.rules_total,
        method.window,
        method.sampling
    )
}
