//! From whole traces to calls between nodes.
//!
//! A call is what [`TraceTree::calls`] has for one. A client span that nobody answers leads to a database or to something
//! else that reports no spans, by what [`peer_of`] reads; a message leads to its destination, and from there to whom it is
//! delivered. A call failed if its callee failed, or its caller for a reason of its own, such as a time-out; an answer such as 404 is
//! no failure. Where nobody names the destination, producer and consumer are joined directly: by parent, else by link.

use std::sync::Arc;

use crate::adapter::topology::sent::Sent;
use crate::model::UnixNanos;
use crate::model::series::ServiceKey;
use crate::model::span::SpanKind;
use crate::model::topology::{EdgeKind, NodeKind, NodeRef};
use crate::model::trace::{AttributeValue, TraceSpan};
use crate::trace::tree::TraceTree;
use crate::window::event::Scalar;
use crate::window::event::detail::{Peer, peer_of};

/// Longer names are cut here.
const NAME_CHARS_MAX: usize = 128;

impl NodeRef {
    pub(super) fn service(key: &ServiceKey) -> Self {
        Self {
            kind: NodeKind::Service,
            key: key.clone(),
        }
    }

    /// What takes the place of those that there is no room for.
    pub(super) fn overflow(kind: NodeKind) -> Self {
        Self {
            kind,
            key: ServiceKey::overflow(),
        }
    }
}

/// A call as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SeenCall {
    pub(super) from: NodeRef,
    pub(super) to: NodeRef,
    pub(super) kind: EdgeKind,
    /// `postgresql`, `kafka` …; empty if not said.
    pub(super) technology: Arc<str>,
    pub(super) seen: Seen,
    /// Whether it failed and the caller's own work did, too.
    pub(super) is_propagated: bool,
    /// What the caller calls a callee that answered, where that is another name.
    pub(super) alias: Option<Arc<str>>,
}

/// A request to a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SeenRequest {
    pub(super) node: NodeRef,
    pub(super) seen: Seen,
    /// Whether nobody called: it comes from outside.
    pub(super) is_from_outside: bool,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) weight: f64,
    pub(super) is_failed: bool,
    pub(super) duration_nanos: u64,
    pub(super) end: UnixNanos,
}

/// What one trace shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Observed {
    pub(super) calls: Vec<SeenCall>,
    pub(super) requests: Vec<SeenRequest>,
}

/// All that a trace shows.
pub(super) fn observe(tree: &TraceTree<'_>, sent: &mut Sent) -> Observed {
    let mut look = Look {
        tree,
        entries: tree.entries(),
        peers: tree.trace().spans.iter().map(peer).collect(),
        is_answered: vec![false; tree.trace().spans.len()],
        is_delivered: vec![false; tree.trace().spans.len()],
        observed: Observed::default(),
    };
    look.answered_calls();
    look.sent_messages(sent);
    look.delivered_messages(sent);
    look.unanswered_calls();
    look.requests();
    look.observed
}

fn peer(span: &TraceSpan) -> Peer<'_> {
    peer_of(span.attributes.iter().filter_map(|(key, value)| {
        let value = match value {
            AttributeValue::Text(text) => Scalar::Text(text.as_bytes()),
            AttributeValue::Int(number) => Scalar::Int(*number),
            AttributeValue::Bool(_)
            | AttributeValue::Float(_)
            | AttributeValue::List(_)
            | AttributeValue::Map(_) => return None,
        };
        Some((key.as_bytes(), value))
    }))
}

fn named(bytes: &[u8]) -> Arc<str> {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(NAME_CHARS_MAX).collect::<String>().into()
}

struct Look<'a> {
    tree: &'a TraceTree<'a>,
    entries: Vec<usize>,
    peers: Vec<Peer<'a>>,
    /// Spans that call somebody who reports spans.
    is_answered: Vec<bool>,
    /// Consumer spans whose sender, or whose destination, is known.
    is_delivered: Vec<bool>,
    observed: Observed,
}

impl<'a> Look<'a> {
    fn span(&self, index: usize) -> Option<(&'a TraceSpan, Peer<'a>)> {
        Some((self.tree.span(index)?, self.peers.get(index).copied()?))
    }

    fn indices(&self) -> std::ops::Range<usize> {
        0..self.peers.len()
    }

    /// Whether a call failed as its caller sees it.
    fn is_call_failed(&self, index: usize) -> bool {
        self.span(index).is_some_and(|(span, peer)| {
            is_outgoing(span) && self.tree.is_failed(index) && !peer.is_callers_fault
        })
    }

    /// Whether the work of which a span is a part failed.
    fn is_work_failed(&self, index: usize) -> bool {
        let entry = self.entries.get(index).copied().unwrap_or(index);
        self.tree.is_failed(entry)
    }

    fn answered_calls(&mut self) {
        let tree = self.tree;
        for call in tree.calls() {
            let (Some((caller, asked)), Some((callee, answered))) =
                (self.span(call.caller), self.span(call.callee))
            else {
                continue;
            };
            if let Some(place) = self.is_answered.get_mut(call.caller) {
                *place = true;
            }
            // What a server says is about itself, and not about whom it calls.
            let asked = if is_outgoing(caller) {
                asked
            } else {
                Peer::default()
            };
            let is_message = caller.kind == SpanKind::Producer || callee.kind == SpanKind::Consumer;
            if is_message && answered.destination.or(asked.destination).is_some() {
                continue;
            }
            if let Some(place) = self.is_delivered.get_mut(call.callee) {
                *place = true;
            }
            let is_caller_failed = !is_message && self.is_call_failed(call.caller);
            let is_failed = tree.is_failed(call.callee) || is_caller_failed;
            let timed = if is_outgoing(caller) && !is_message {
                caller
            } else {
                callee
            };
            let alias = asked.name.map(named);
            self.observed.calls.push(SeenCall {
                from: NodeRef::service(&caller.resource.service),
                to: NodeRef::service(&callee.resource.service),
                kind: if is_message {
                    EdgeKind::Messaging
                } else {
                    kind_of(&asked, &answered)
                },
                technology: "".into(),
                seen: Seen {
                    weight: callee.weight,
                    is_failed,
                    duration_nanos: timed.duration_nanos(),
                    end: timed.end,
                },
                is_propagated: is_failed && self.is_work_failed(call.caller),
                alias: alias.filter(|name| **name != *callee.resource.service.name),
            });
        }
    }

    /// Where a message goes, by its sender or by whom it is delivered to.
    fn destination(&self, index: usize) -> Option<NodeRef> {
        let (span, own) = self.span(index)?;
        let below = || {
            let mut children = self.tree.children(index).iter();
            children.find_map(|child| {
                let (span, peer) = self.span(*child)?;
                (span.kind == SpanKind::Consumer).then_some(peer.destination)?
            })
        };
        let above = || {
            let (span, peer) = self.span(self.tree.parent(index)?)?;
            (span.kind == SpanKind::Producer).then_some(peer.destination)?
        };
        let name = own.destination.or_else(|| match span.kind {
            SpanKind::Producer => below(),
            SpanKind::Consumer => above(),
            SpanKind::Unspecified | SpanKind::Internal | SpanKind::Server | SpanKind::Client => {
                None
            }
        })?;
        Some(queue(span, named(name)))
    }

    fn sent_messages(&mut self, sent: &mut Sent) {
        for index in self.indices() {
            let Some((span, _)) = self.span(index) else {
                continue;
            };
            if span.kind != SpanKind::Producer {
                continue;
            }
            let sender = NodeRef::service(&span.resource.service);
            let to = self.destination(index);
            let id = (&*self.tree.trace().trace_id, &*span.span_id);
            sent.remember(id, sender, to.clone());
            if let Some(to) = to {
                self.push_outgoing(index, to, EdgeKind::Messaging, messaging_system(span));
            }
        }
    }

    fn delivered_messages(&mut self, sent: &mut Sent) {
        for index in self.indices() {
            let Some((span, _)) = self.span(index) else {
                continue;
            };
            if span.kind != SpanKind::Consumer || self.is_delivered.get(index) != Some(&false) {
                continue;
            }
            // A message that is processed within the span that received it is delivered once.
            let within = self
                .tree
                .parent(index)
                .and_then(|parent| self.tree.span(parent));
            if within.is_some_and(|parent| {
                parent.kind == SpanKind::Consumer
                    && parent.resource.service == span.resource.service
            }) {
                continue;
            }
            let mut senders = Vec::new();
            if let Some(queue) = self.destination(index) {
                // Who sends without a span of its own is known by the parent alone.
                let parent = self
                    .tree
                    .parent(index)
                    .and_then(|parent| self.tree.span(parent));
                if let Some(parent) = parent
                    && parent.kind != SpanKind::Producer
                    && parent.resource.service != span.resource.service
                {
                    let sender = NodeRef::service(&parent.resource.service);
                    self.push_delivery(index, sender, queue.clone());
                }
                senders.push(queue);
            } else {
                let trace = &*self.tree.trace().trace_id;
                for link in &span.links {
                    let id = if link.trace_id.is_empty() {
                        trace
                    } else {
                        &*link.trace_id
                    };
                    match sent.sender(id, &link.span_id) {
                        Some((sender, to)) => {
                            senders.push(to.clone().unwrap_or_else(|| sender.clone()));
                        }
                        None => sent.unresolved += 1,
                    }
                }
                senders.sort();
                senders.dedup();
            }
            for sender in senders {
                if let Some(place) = self.is_delivered.get_mut(index) {
                    *place = true;
                }
                self.push_delivery(index, sender, NodeRef::service(&span.resource.service));
            }
        }
    }

    /// A call that a consumer span shows.
    fn push_delivery(&mut self, index: usize, from: NodeRef, to: NodeRef) {
        let Some((span, _)) = self.span(index) else {
            return;
        };
        self.observed.calls.push(SeenCall {
            from,
            to,
            kind: EdgeKind::Messaging,
            technology: messaging_system(span),
            seen: seen(span, self.tree.is_failed(index)),
            is_propagated: false,
            alias: None,
        });
    }

    fn unanswered_calls(&mut self) {
        for index in self.indices() {
            let Some((span, peer)) = self.span(index) else {
                continue;
            };
            let is_answered = self.is_answered.get(index) != Some(&false);
            if span.kind != SpanKind::Client || is_answered || self.is_made_by_a_child(index) {
                continue;
            }
            if let Some((to, kind, technology)) = unanswered(span, &peer) {
                self.push_outgoing(index, to, kind, technology);
            }
        }
    }

    /// Whether a client span only wraps another one that makes the call.
    fn is_made_by_a_child(&self, index: usize) -> bool {
        let Some((span, peer)) = self.span(index) else {
            return false;
        };
        let mut children = self.tree.children(index).iter();
        children.any(|child| {
            self.span(*child).is_some_and(|(below, other)| {
                below.kind == SpanKind::Client
                    && below.resource.service == span.resource.service
                    && (self.is_answered.get(*child) == Some(&true) || other.name == peer.name)
            })
        })
    }

    /// A call that only its caller shows.
    fn push_outgoing(&mut self, index: usize, to: NodeRef, kind: EdgeKind, technology: Arc<str>) {
        let Some((span, _)) = self.span(index) else {
            return;
        };
        let is_failed = self.is_call_failed(index);
        self.observed.calls.push(SeenCall {
            from: NodeRef::service(&span.resource.service),
            to,
            kind,
            technology,
            seen: seen(span, is_failed),
            is_propagated: is_failed && self.is_work_failed(index),
            alias: None,
        });
    }

    fn requests(&mut self) {
        for index in self.indices() {
            let Some((span, _)) = self.span(index) else {
                continue;
            };
            if !span.is_entry {
                continue;
            }
            let is_consumer = span.kind == SpanKind::Consumer;
            self.observed.requests.push(SeenRequest {
                node: NodeRef::service(&span.resource.service),
                seen: seen(span, self.tree.is_failed(index)),
                is_from_outside: self.tree.parent(index).is_none() && !is_consumer,
            });
        }
    }
}

fn seen(span: &TraceSpan, is_failed: bool) -> Seen {
    Seen {
        weight: span.weight,
        is_failed,
        duration_nanos: span.duration_nanos(),
        end: span.end,
    }
}

/// Whether a span is the caller's view of a call.
fn is_outgoing(span: &TraceSpan) -> bool {
    span.kind.is_call()
}

fn kind_of(asked: &Peer<'_>, answered: &Peer<'_>) -> EdgeKind {
    if asked.is_rpc || answered.is_rpc {
        EdgeKind::Rpc
    } else if asked.is_http || answered.is_http {
        EdgeKind::Http
    } else {
        EdgeKind::Other
    }
}

/// Destinations are those of an environment: senders and receivers may have different namespaces.
fn queue(span: &TraceSpan, name: Arc<str>) -> NodeRef {
    peer_node(NodeKind::Queue, span, name, false)
}

fn peer_node(kind: NodeKind, span: &TraceSpan, name: Arc<str>, has_namespace: bool) -> NodeRef {
    let service = &span.resource.service;
    let namespace = if has_namespace {
        Arc::clone(&service.namespace)
    } else {
        "".into()
    };
    NodeRef {
        kind,
        key: ServiceKey {
            namespace,
            environment: Arc::clone(&service.environment),
            name,
        },
    }
}

/// The node that a client span leads to whose server reports no span. Short names of databases mean different ones in
/// different namespaces; other names do not.
fn unanswered(span: &TraceSpan, peer: &Peer<'_>) -> Option<(NodeRef, EdgeKind, Arc<str>)> {
    if let Some(system) = peer.database {
        let name = named(peer.name.unwrap_or(system));
        let is_short = !name.contains(['.', ':']);
        let node = peer_node(NodeKind::Database, span, name, is_short);
        return Some((node, EdgeKind::Database, named(system)));
    }
    if let Some(destination) = peer.destination {
        // Who fetches messages is told by what it then does with them.
        if is_receiving(span) {
            return None;
        }
        let system = messaging_system(span);
        return Some((queue(span, named(destination)), EdgeKind::Messaging, system));
    }
    let node = peer_node(NodeKind::External, span, named(peer.name?), false);
    Some((node, kind_of(peer, peer), "".into()))
}

fn is_receiving(span: &TraceSpan) -> bool {
    let said = ["messaging.operation.type", "messaging.operation"];
    said.iter().any(|key| {
        let Some(AttributeValue::Text(operation)) = span.attribute(key) else {
            return false;
        };
        matches!(&**operation, "receive" | "process" | "settle")
    })
}

fn messaging_system(span: &TraceSpan) -> Arc<str> {
    match span.attribute("messaging.system") {
        Some(AttributeValue::Text(system)) => named(system.as_bytes()),
        Some(_) | None => "".into(),
    }
}
