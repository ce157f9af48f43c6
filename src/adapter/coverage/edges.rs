//! Calls with the names of their peers resolved: services that report spans, and what stays dark.

use std::collections::{BTreeMap, BTreeSet};

use crate::adapter::coverage::peer::host_in;
use crate::adapter::coverage::tally::{CallTally, Peer, ServiceTally, Tally};
use crate::adapter::coverage::workloads;
use crate::adapter::kubernetes::{Inventory, Workload};
use crate::model::coverage::PeerKind;
use crate::model::series::ServiceKey;

/// An edge is covered where so much of its calls show both sides. What is missing up to there may be a caller's cancelled
/// call, or a span that its exporter dropped.
const COVERED_RATIO: f64 = 0.95;

/// Calls of a service to a peer.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    /// Who calls.
    pub caller: ServiceKey,
    /// Who is called, as it is shown.
    pub peer: String,
    /// What the peer is.
    pub kind: PeerKind,
    /// The service that is called, if it reports spans.
    pub callee: Option<ServiceKey>,
    /// The calls.
    pub calls: CallTally,
}

impl Edge {
    /// Whether the calls show both sides; `None` if they prove nothing.
    pub(super) fn is_covered(&self) -> Option<bool> {
        let answered = self.calls.answered_weight;
        let telling = answered + self.calls.unanswered_weight;
        (telling > 0.0).then_some(answered >= COVERED_RATIO * telling)
    }
}

/// A peer that is called and never reports a span.
#[derive(Clone, Debug)]
pub struct DarkPeer<'a> {
    /// What callers call it.
    pub name: String,
    /// Calls that went well.
    pub calls: u64,
    /// What they stand for by their sampling.
    pub weight: f64,
    /// Its callers.
    pub callers: BTreeSet<ServiceKey>,
    /// The port, as callers say it.
    pub port: Option<u16>,
    /// The protocol, as callers say it.
    pub protocol: Option<String>,
    /// Traces that show it.
    pub traces: Vec<String>,
    /// Its workload.
    pub workload: Option<&'a Workload>,
}

/// All edges, the busiest first.
pub(super) fn edges(tally: &Tally, inventory: Option<&Inventory>) -> Vec<Edge> {
    let names = Names::new(tally);
    let mut edges: BTreeMap<(&ServiceKey, String, PeerKind, Option<&ServiceKey>), CallTally> =
        BTreeMap::new();
    for ((caller, peer), calls) in &tally.calls {
        let (label, kind, callee) = match peer {
            Peer::Service(callee) => (callee.name.to_string(), PeerKind::Service, Some(callee)),
            Peer::Named(kind, name) => {
                if let Some(callee) = names.resolve(*kind, name, caller) {
                    (callee.name.to_string(), PeerKind::Service, Some(callee))
                } else {
                    let is_own = *kind == PeerKind::External
                        && inventory.is_some_and(|all| all.service_of_host(name, None).is_some());
                    let kind = if is_own { PeerKind::Dark } else { *kind };
                    (name.to_string(), kind, None)
                }
            }
        };
        let key = (caller, label, kind, callee);
        edges.entry(key).or_default().add(calls);
    }
    let edges = edges.into_iter();
    let mut edges: Vec<Edge> = edges
        .map(|((caller, peer, kind, callee), calls)| Edge {
            caller: caller.clone(),
            peer,
            kind,
            callee: callee.cloned(),
            calls,
        })
        .collect();
    edges.sort_by_key(|edge| std::cmp::Reverse(edge.calls.calls));
    edges
}

/// What stays dark, the busiest first. A peer with several ports, or several callers, is one.
pub(super) fn dark_peers<'a>(
    edges: &[Edge],
    tally: &Tally,
    inventory: Option<&'a Inventory>,
) -> Vec<DarkPeer<'a>> {
    let mut peers: BTreeMap<String, DarkPeer<'a>> = BTreeMap::new();
    let dark = edges.iter().filter(|edge| edge.kind == PeerKind::Dark);
    for edge in dark.filter(|edge| edge.calls.unanswered.wrong > 0) {
        let host = host_in(&edge.peer);
        let who = if host.is_telling() {
            host.name.to_owned()
        } else {
            edge.peer.clone()
        };
        let namespace = namespace_of(tally, &edge.caller);
        let workload = inventory.and_then(|all| workloads::of_peer(all, host.name, namespace));
        let peer = peers.entry(who).or_insert_with(|| DarkPeer {
            name: edge.peer.clone(),
            calls: 0,
            weight: 0.0,
            callers: BTreeSet::new(),
            port: None,
            protocol: None,
            traces: Vec::new(),
            workload,
        });
        peer.calls += edge.calls.unanswered.wrong;
        peer.weight += edge.calls.unanswered_weight;
        peer.callers.insert(edge.caller.clone());
        peer.port = peer.port.or(edge.calls.port);
        if peer.protocol.is_none() {
            peer.protocol = edge.calls.protocol.as_deref().map(str::to_owned);
        }
        if peer.traces.is_empty() {
            let traces = edge.calls.unanswered.traces.iter();
            peer.traces = traces.map(ToString::to_string).collect();
        }
    }
    let mut peers: Vec<DarkPeer<'a>> = peers.into_values().collect();
    peers.sort_by(|a, b| {
        let by_weight = b.weight.total_cmp(&a.weight);
        by_weight.then_with(|| b.callers.len().cmp(&a.callers.len()))
    });
    peers
}

/// The Kubernetes namespace of a service.
fn namespace_of<'t>(tally: &'t Tally, key: &ServiceKey) -> Option<&'t str> {
    let (namespace, _) = tally.services.get(key)?.workloads.first()?;
    (!namespace.is_empty()).then_some(namespace)
}

/// What services are called.
struct Names<'a> {
    by_alias: BTreeMap<&'a str, Vec<&'a ServiceKey>>,
    by_name: BTreeMap<&'a str, Vec<&'a ServiceKey>>,
    tally: &'a Tally,
}

impl<'a> Names<'a> {
    fn new(tally: &'a Tally) -> Self {
        let mut by_alias: BTreeMap<&str, Vec<&ServiceKey>> = BTreeMap::new();
        let mut by_name: BTreeMap<&str, Vec<&ServiceKey>> = BTreeMap::new();
        for (key, service) in &tally.services {
            by_name.entry(&key.name).or_default().push(key);
            let workloads = service.workloads.iter().map(|(_, name)| name);
            for name in workloads.filter(|name| ***name != *key.name) {
                by_name.entry(name).or_default().push(key);
            }
            for alias in &service.aliases {
                by_alias.entry(alias).or_default().push(key);
            }
        }
        Self {
            by_alias,
            by_name,
            tally,
        }
    }

    /// The service that a caller means.
    fn resolve(&self, kind: PeerKind, name: &str, caller: &ServiceKey) -> Option<&'a ServiceKey> {
        if !matches!(kind, PeerKind::Dark | PeerKind::External) {
            return None;
        }
        let only = |found: Option<&Vec<&'a ServiceKey>>| only_one(found?, caller);
        if let Some(known) = only(self.by_alias.get(name)) {
            return Some(known);
        }
        let host = host_in(name);
        if !host.is_telling() {
            return None;
        }
        if let Some(known) = only(self.by_alias.get(host.name)) {
            return Some(known);
        }
        let mut labels = host.name.split('.');
        let known = only(self.by_name.get(labels.next()?))?;
        let is_in = |namespace: &str| {
            let service: Option<&ServiceTally> = self.tally.services.get(known);
            let mut workloads = service.iter().flat_map(|service| &service.workloads);
            *known.namespace == *namespace || workloads.any(|(own, _)| **own == *namespace)
        };
        let is_meant = kind == PeerKind::Dark || labels.next().is_some_and(is_in);
        is_meant.then_some(known)
    }
}

/// The only one; of several the one of the caller's environment and namespace.
fn only_one<'a>(found: &[&'a ServiceKey], caller: &ServiceKey) -> Option<&'a ServiceKey> {
    if let [only] = found {
        return Some(only);
    }
    let is_near = |key: &ServiceKey| {
        key.environment == caller.environment && key.namespace == caller.namespace
    };
    let mut near = found.iter().filter(|key| is_near(key));
    match (near.next(), near.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}
