//! What is wrong beyond the rules of the score, each with what to do.

use std::collections::BTreeMap;

use crate::adapter::coverage::edges::{DarkPeer, Edge};
use crate::adapter::coverage::host::Listener;
use crate::adapter::coverage::remedies::remedy;
use crate::adapter::coverage::tally::{Checked, ServiceTally, Tally};
use crate::adapter::coverage::workloads;
use crate::adapter::kubernetes::Workload;
use crate::model::coverage::{CoverageFinding, CoverageFindingKind as Kind, PeerKind};
use crate::model::series::ServiceKey;

/// Callers that a sentence names.
const CALLERS_NAMED: usize = 3;

/// All findings, the worst first.
pub(super) fn find(
    tally: &Tally,
    edges: &[Edge],
    dark: &[DarkPeer<'_>],
    unseen: &[&Workload],
    silent: &[&Listener],
) -> Vec<CoverageFinding> {
    let of_services = tally
        .services
        .iter()
        .flat_map(|(key, own)| of_service(key, own));
    let mut findings: Vec<CoverageFinding> = of_services
        .chain(edges.iter().filter_map(|edge| lost_context(tally, edge)))
        .chain(edges.iter().filter_map(|edge| clock_skew(tally, edge)))
        .chain(dark.iter().map(dark_peer))
        .chain(unseen.iter().map(|workload| unseen_workload(workload)))
        .chain(silent.iter().map(|listener| silent_listener(listener)))
        .collect();
    findings.sort_by(|a, b| {
        let order = |finding: &CoverageFinding| (finding.level, finding.count);
        order(b).cmp(&order(a)).then_with(|| a.kind.cmp(&b.kind))
    });
    findings
}

/// How many there are of each kind; kinds without one are there with 0, so that their metrics go back to it.
pub(super) fn by_kind(findings: &[CoverageFinding]) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = ALL_KINDS
        .iter()
        .map(|kind| (kind.label().to_owned(), 0))
        .collect();
    for finding in findings {
        *counts.entry(finding.kind.label().to_owned()).or_default() += 1;
    }
    counts
}

const ALL_KINDS: [Kind; 13] = [
    Kind::DefaultServiceName,
    Kind::LostContext,
    Kind::OrphanedEntries,
    Kind::OrphanedSpans,
    Kind::ClientRoots,
    Kind::DarkPeer,
    Kind::UninstrumentedWorkload,
    Kind::SilentListener,
    Kind::MissingRoute,
    Kind::MissingErrorStatus,
    Kind::ExceptionWithoutStatus,
    Kind::MissingVersion,
    Kind::ClockSkew,
];

fn of_service<'a>(
    key: &'a ServiceKey,
    own: &'a ServiceTally,
) -> impl Iterator<Item = CoverageFinding> + 'a {
    let wrong = own.flaws.iter().filter(|(_, checked)| checked.wrong > 0);
    wrong.map(move |(kind, checked)| {
        let (wrong, all, name) = (checked.wrong, checked.all, &key.name);
        let text = match kind {
            Kind::DefaultServiceName => {
                format!("`{name}` is what the SDK calls a service that nobody named")
            }
            Kind::MissingVersion => format!("{wrong} of {all} resources of `{name}` say no service.version"),
            Kind::MissingRoute => format!("{wrong} of {all} HTTP server spans of `{name}` have no http.route"),
            Kind::MissingErrorStatus => {
                format!("{wrong} of {all} server spans of `{name}` with HTTP 5xx leave their status unset")
            }
            Kind::ExceptionWithoutStatus => {
                format!("{wrong} of {all} spans of `{name}` with an exception leave their status unset")
            }
            Kind::OrphanedEntries => {
                format!("{wrong} of {all} spans with a parent are entries of `{name}` whose caller's span is not there")
            }
            Kind::OrphanedSpans => {
                format!("{wrong} of {all} spans of `{name}` with a parent are inner ones whose parent is not there")
            }
            Kind::ClientRoots => format!("{wrong} of {all} traces that `{name}` begins, begin with a client span"),
            Kind::LostContext
            | Kind::DarkPeer
            | Kind::UninstrumentedWorkload
            | Kind::SilentListener
            | Kind::ClockSkew => String::new(),
        };
        let about = About {
            service: Some(key),
            language: own.language.as_deref(),
            ..About::default()
        };
        finding(*kind, about, checked, text)
    })
}

fn lost_context(tally: &Tally, edge: &Edge) -> Option<CoverageFinding> {
    let callee = edge.callee.as_ref()?;
    if edge.is_covered()? {
        return None;
    }
    let roots = tally
        .services
        .get(callee)
        .map_or(0, |service| service.entry_roots);
    let (caller, peer, lost) = (&edge.caller.name, &edge.peer, edge.calls.unanswered.wrong);
    let telling = edge.calls.answered + lost;
    let text = format!(
        "{lost} of {telling} calls of `{caller}` to `{peer}` show no span of `{peer}` in their trace, and {roots} traces begin at `{peer}`: the context is lost between them"
    );
    let checked = Checked {
        all: telling,
        ..edge.calls.unanswered.clone()
    };
    Some(finding(
        Kind::LostContext,
        of_edge(tally, edge),
        &checked,
        text,
    ))
}

fn clock_skew(tally: &Tally, edge: &Edge) -> Option<CoverageFinding> {
    let skew = &edge.calls.skew;
    if skew.wrong == 0 || edge.kind != PeerKind::Service {
        return None;
    }
    let (caller, peer) = (&edge.caller.name, &edge.peer);
    let millis = edge.calls.skew_nanos.unsigned_abs() as f64 / 1e6;
    let side = if edge.calls.skew_nanos < 0 {
        "behind"
    } else {
        "ahead of"
    };
    let (wrong, all) = (skew.wrong, skew.all);
    let text = format!(
        "in {wrong} of {all} calls of `{caller}` to `{peer}` the span of `{peer}` lies where it cannot: its clock is at least {millis:.0} ms {side} that of `{caller}`"
    );
    Some(finding(Kind::ClockSkew, of_edge(tally, edge), skew, text))
}

/// The caller is where it is mended.
fn of_edge<'a>(tally: &'a Tally, edge: &'a Edge) -> About<'a> {
    let caller = tally.services.get(&edge.caller);
    About {
        service: Some(&edge.caller),
        peer: Some(&edge.peer),
        language: caller.and_then(|service| service.language.as_deref()),
    }
}

fn of_peer<'a>(name: &'a str, language: Option<&'a str>) -> About<'a> {
    About {
        service: None,
        peer: Some(name),
        language,
    }
}

fn dark_peer(peer: &DarkPeer<'_>) -> CoverageFinding {
    let mut named: Vec<String> = peer
        .callers
        .iter()
        .take(CALLERS_NAMED)
        .map(|caller| format!("`{}`", caller.name))
        .collect();
    if peer.callers.len() > CALLERS_NAMED {
        named.push(format!("{} more", peer.callers.len() - CALLERS_NAMED));
    }
    let (name, calls, callers) = (&peer.name, peer.calls, named.join(", "));
    let workload = peer
        .workload
        .map_or_else(String::new, |workload| format!(" ({workload})"));
    let text = format!(
        "`{name}`{workload} is called by {callers} ({calls} calls) and never reports a span"
    );
    let language = peer.workload.and_then(workloads::language);
    let checked = Checked {
        all: calls,
        wrong: calls,
        ..Checked::default()
    };
    CoverageFinding {
        traces: peer.traces.clone(),
        ..finding(Kind::DarkPeer, of_peer(name, language), &checked, text)
    }
}

fn unseen_workload(workload: &Workload) -> CoverageFinding {
    let name = workload.to_string();
    let text = format!(
        "{name} reports no span: no service is called {}, and no resource names it",
        quoted(&workload.service_names())
    );
    let language = workloads::language(workload);
    let kind = Kind::UninstrumentedWorkload;
    finding(kind, of_peer(&name, language), &one(), text)
}

fn silent_listener(listener: &Listener) -> CoverageFinding {
    let name = format!("{} (pid {})", listener.name, listener.pid);
    let (ports, connections) = (list(&listener.ports), listener.connections);
    let text = format!(
        "{name} listens on port {ports} with {connections} connections, and no span comes from it"
    );
    let executable = listener.executable.as_deref();
    let program = executable.and_then(|path| path.rsplit('/').next());
    let language = program.and_then(workloads::language_of_program);
    let about = of_peer(&name, language);
    finding(Kind::SilentListener, about, &one(), text)
}

fn one() -> Checked {
    Checked {
        all: 1,
        wrong: 1,
        ..Checked::default()
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(" or ")
}

/// Numbers with commas between them.
pub(super) fn list(ports: &std::collections::BTreeSet<u16>) -> String {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    ports.join(",")
}

/// Whom a finding is about.
#[derive(Clone, Copy, Default)]
struct About<'a> {
    service: Option<&'a ServiceKey>,
    peer: Option<&'a str>,
    language: Option<&'a str>,
}

fn finding(kind: Kind, about: About<'_>, checked: &Checked, text: String) -> CoverageFinding {
    let traces = checked.traces.iter();
    CoverageFinding {
        kind,
        level: kind.level(),
        service: about.service.cloned(),
        peer: about.peer.map(str::to_owned),
        language: about.language.map(str::to_owned),
        count: checked.wrong,
        checked: checked.all,
        text,
        remedy: remedy(kind, about.language).to_owned(),
        traces: traces.map(ToString::to_string).collect(),
    }
}
