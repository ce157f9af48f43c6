//! What changed for the worse between two sides, by several signals that complement each other.
//!
//! A signal knows neither how much is too much nor who is to blame for a delay between two services: it gives a statistic
//! that grows with how surprising the change is, and the numbers that a person can check.

pub mod errors;
pub mod events;
pub mod repeats;
pub mod self_time;
pub(super) mod share;
pub mod structure;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::adapter::rca::cells::Half;
use crate::adapter::rca::keys::{LinkId, OperationKey};
use crate::adapter::rca::settings::Settings;
use crate::adapter::rca::summary::{Instance, Operation, Summary};
use crate::model::series::{SeriesId, ServiceKey};

/// Traces of one side.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Where they are.
    pub summary: &'a Summary,
    /// Which of them.
    pub half: Half,
}

/// Two sides.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// The time before.
    pub before: Side<'a>,
    /// The incident.
    pub after: Side<'a>,
    /// When a change counts.
    pub settings: &'a Settings,
}

/// An operation on both sides.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Its hash.
    pub id: SeriesId,
    /// In the time before.
    pub before: &'a Operation,
    /// In the incident.
    pub after: &'a Operation,
    /// Spans before and after.
    pub spans: (f64, f64),
    /// Requests that they stand for.
    pub weights: (f64, f64),
}

impl<'a> Sides<'a> {
    /// All traces of two summaries.
    pub fn of(baseline: &'a Summary, incident: &'a Summary, settings: &'a Settings) -> Self {
        let side = |summary| Side {
            summary,
            half: Half::ALL,
        };
        Self {
            before: side(baseline),
            after: side(incident),
            settings,
        }
    }

    /// One part of a summary and the rest of it.
    pub fn dealt(summary: &'a Summary, half: Half, settings: &'a Settings) -> Self {
        let side = |half| Side { summary, half };
        Self {
            before: side(half),
            after: side(half.other()),
            settings,
        }
    }

    /// Numbers that are compared: durations of operations, of their instances and of links, and counts of links.
    pub fn numbers(&self) -> f64 {
        let of_operation = |pair: Pair<'a>| 1 + pair.after.instances.len();
        let links = self.before.summary.links.len();
        let operations: usize = self.operations().map(of_operation).sum();
        (operations + 2 * links).max(1) as f64
    }

    /// Probability that chance alone makes a change as large as that of a finding, were the traces of both sides alike.
    pub fn chance(&self, finding: &Finding) -> f64 {
        self.look_up(finding).unwrap_or(1.0)
    }

    fn look_up(&self, finding: &Finding) -> Option<f64> {
        let (before, after) = (self.before, self.after);
        let (was, is) = match finding.subject {
            Subject::Operation(id) => (
                before.summary.operations.get(&id)?,
                after.summary.operations.get(&id)?,
            ),
            Subject::Link(id) => {
                let was = before.summary.links.get(&id)?;
                let is = after.summary.links.get(&id)?;
                if finding.signal == Signal::RepeatedCalls {
                    return Some(repeats::chance(self, was, is));
                }
                let sizes = (was.effective(before.half), is.effective(after.half));
                let (one, other) = ((&was.times, before.half), (&is.times, after.half));
                return self_time::chance(one, other, sizes);
            }
        };
        Some(match finding.signal {
            Signal::SelfTime | Signal::LinkTime => {
                self_time::chance_of_operation(self, finding, (was, is))?
            }
            // Errors are weighed, so that of a sample more is seen than its shares say.
            Signal::ErrorOrigin => {
                let traces = (was.traces.sum(before.half), is.traces.sum(after.half));
                let failed = (
                    was.failed_traces.sum(before.half) / traces.0,
                    is.failed_traces.sum(after.half) / traces.1,
                );
                share::chance(failed, traces)
            }
            Signal::ErrorEvents
            | Signal::MissingCalls
            | Signal::MissingAnswers
            | Signal::NewCalls
            | Signal::EventOrder
            | Signal::RepeatedCalls => {
                share::chance((finding.before, finding.after), finding.spans)
            }
        })
    }

    /// Whether an instance was seen often enough before to be compared with itself.
    pub(super) fn is_past(&self, past: &Instance) -> bool {
        past.spans.sum(self.before.half) >= self.settings.min_spans as f64
    }

    /// Whether both sides hold enough spans to be compared.
    pub fn are_enough(&self, spans: (f64, f64)) -> bool {
        spans.0.min(spans.1) >= self.settings.min_spans as f64
    }

    /// The operations that both sides hold often enough.
    pub fn operations(&self) -> impl Iterator<Item = Pair<'a>> + use<'a> {
        let sides = *self;
        sides
            .before
            .summary
            .operations
            .iter()
            .filter_map(move |(id, before)| {
                let after = sides.after.summary.operations.get(id)?;
                let (spans_before, weight_before) = before.counts(sides.before.half);
                let (spans_after, weight_after) = after.counts(sides.after.half);
                let pair = Pair {
                    id: *id,
                    before,
                    after,
                    spans: (spans_before, spans_after),
                    weights: (weight_before, weight_after),
                };
                let are_weighed = weight_before > 0.0 && weight_after > 0.0;
                (sides.are_enough(pair.spans) && are_weighed).then_some(pair)
            })
    }

    /// The services that logged any event in the time before.
    pub fn services_that_logged(&self) -> BTreeSet<&'a ServiceKey> {
        let half = self.before.half;
        let operations = self.before.summary.operations.values();
        operations
            .filter(|operation| operation.logged.sum(half) > 0.0)
            .map(|operation| &operation.key.service)
            .collect()
    }
}

/// Which signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// An operation takes longer itself.
    SelfTime,
    /// Calls wait longer between caller and callee.
    LinkTime,
    /// More errors begin in an operation.
    ErrorOrigin,
    /// More spans log errors.
    ErrorEvents,
    /// Calls are missing that belonged to the work.
    MissingCalls,
    /// Calls are not answered any more.
    MissingAnswers,
    /// Work is done in ways that were rare or unknown.
    NewCalls,
    /// Events come in sequences that were rare or unknown.
    EventOrder,
    /// Calls are made more often on behalf of one request.
    RepeatedCalls,
}

/// Signals whose statistics are alike share what is seen of them when nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Durations.
    Time,
    /// Failed spans.
    Errors,
    /// Errors in events.
    ErrorEvents,
    /// Missing calls.
    Missing,
    /// New ways to do the work.
    Novelty,
    /// Calls on behalf of one request.
    Repeats,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Time,
        Self::Errors,
        Self::ErrorEvents,
        Self::Missing,
        Self::Novelty,
        Self::Repeats,
    ];
}

impl Signal {
    /// Its name in evidence.
    pub fn label(self) -> &'static str {
        match self {
            Self::SelfTime => "self_time",
            Self::LinkTime => "link_time",
            Self::ErrorOrigin => "error_origin",
            Self::ErrorEvents => "error_events",
            Self::MissingCalls => "missing_calls",
            Self::MissingAnswers => "missing_answers",
            Self::NewCalls => "new_calls",
            Self::EventOrder => "event_order",
            Self::RepeatedCalls => "repeated_calls",
        }
    }

    /// Its family.
    pub fn family(self) -> Family {
        match self {
            Self::SelfTime | Self::LinkTime => Family::Time,
            Self::ErrorOrigin => Family::Errors,
            Self::ErrorEvents => Family::ErrorEvents,
            Self::MissingCalls | Self::MissingAnswers => Family::Missing,
            Self::NewCalls | Self::EventOrder => Family::Novelty,
            Self::RepeatedCalls => Family::Repeats,
        }
    }
}

/// Where in a summary the numbers of a finding stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An operation.
    Operation(SeriesId),
    /// A link.
    Link(LinkId),
}

/// What more there is to say about a finding.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// Nothing.
    None,
    /// Of delays: who waits, where it is a link.
    Caller(ServiceKey),
    /// Of delays of an operation: on which instance, where that one is worse than all of them.
    Instance(Arc<str>),
    /// Of missing calls: those, and what was answered last, if anything.
    Missing {
        /// What is not called any more.
        calls: Vec<OperationKey>,
        /// What was answered last before the work ended.
        last: Option<OperationKey>,
    },
    /// Of missing answers and failed calls: who calls.
    Unanswered(OperationKey),
    /// Of repeated calls.
    Repeated {
        /// Who calls.
        caller: ServiceKey,
        /// Whether it does since calls fail.
        is_retry: bool,
    },
    /// Of events of a service that logged none in the time before.
    LoggedNothingBefore,
}

/// A change for the worse.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// By which signal.
    pub signal: Signal,
    /// Whom it speaks against; of a link, who is called.
    pub service: ServiceKey,
    /// Of which operation the numbers are.
    pub operation: OperationKey,
    /// Where they stand.
    pub subject: Subject,
    /// How large the change is, in the unit of the signal's family.
    pub statistic: f64,
    /// Value before: seconds or a share.
    pub before: f64,
    /// Value in the incident.
    pub after: f64,
    /// Spans before and after.
    pub spans: (f64, f64),
    /// What more there is to say.
    pub detail: Detail,
    /// Traces of the incident that show it.
    pub examples: Vec<String>,
    /// Logarithm of the statistic over what is worth a look; 0 if it is not.
    pub strength: f64,
    /// The statistic in standard deviations of what is seen when nothing is wrong.
    pub deviations: f64,
    /// Whether it is more than nearly all that is seen when nothing is wrong.
    pub is_significant: bool,
}

impl Finding {
    /// A finding about an operation, not judged yet.
    fn of(pair: &Pair<'_>, signal: Signal, statistic: f64, (before, after): (f64, f64)) -> Self {
        Self {
            signal,
            service: pair.after.key.service.clone(),
            operation: pair.after.key.clone(),
            subject: Subject::Operation(pair.id),
            statistic,
            before,
            after,
            spans: pair.spans,
            detail: Detail::None,
            examples: Vec::new(),
            strength: 0.0,
            deviations: 0.0,
            is_significant: false,
        }
    }

    /// Who waits, if it is about a link.
    pub fn caller(&self) -> Option<&ServiceKey> {
        match &self.detail {
            Detail::Caller(caller) => Some(caller),
            Detail::None
            | Detail::Instance(_)
            | Detail::Missing { .. }
            | Detail::Unanswered(_)
            | Detail::Repeated { .. }
            | Detail::LoggedNothingBefore => None,
        }
    }
}

/// What all signals find, in no order.
pub fn all(sides: &Sides<'_>) -> Vec<Finding> {
    let mut findings = self_time::findings(sides);
    findings.extend(errors::findings(sides));
    findings.extend(structure::findings(sides));
    findings.extend(events::findings(sides));
    findings.extend(repeats::findings(sides));
    findings
}
