//! What whole traces tell about the operations that traces begin with: how many spans they have, how much their durations
//! differ, which services they touch, and by which name an SDK knows them.
//!
//! The traces are a sample in which errors and slow ones are too many, so that nothing here is a count of traffic; that
//! comes from the windows. What is old counts for less and less.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::span::Outcome;
use crate::model::trace::Trace;
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::window::event::asked::Asked;

/// After so long a trace counts half.
const HALF_LIFE_SECS: f64 = 6.0 * 3_600.0;

/// A root operation whose traces weigh less together is forgotten: one trace, six half-lives ago.
const FORGOTTEN_BELOW: f64 = 1.0 / 64.0;

/// A root operation as its SDK knows it: service and name of the root span, not templated.
pub type RootName = (Arc<str>, Arc<str>);

/// An operation as the windows know it: service and templated name.
pub type OperationName = (Arc<str>, Arc<str>);

/// Traces that begin with one operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    /// The operation's templated name.
    pub operation: Arc<str>,
    /// Traces, weighed by their sampling.
    pub traces: f64,
    /// Those whose root failed.
    pub errors: f64,
    /// Spans of them.
    pub spans: f64,
    /// Services that they touch.
    pub touches: BTreeSet<Arc<str>>,
    log_sum: f64,
    log_squares: f64,
}

impl Root {
    fn new(operation: &str) -> Self {
        Self {
            operation: operation.into(),
            traces: 0.0,
            errors: 0.0,
            spans: 0.0,
            touches: BTreeSet::new(),
            log_sum: 0.0,
            log_squares: 0.0,
        }
    }

    /// Spans of a trace on average, at least the root.
    pub fn spans_per_trace(&self) -> f64 {
        if self.traces > 0.0 {
            (self.spans / self.traces).max(1.0)
        } else {
            1.0
        }
    }

    /// Standard deviation of the logarithm of the duration; `None` with too few traces to tell.
    pub fn log_sd(&self) -> Option<f64> {
        if self.traces < 10.0 {
            return None;
        }
        let mean = self.log_sum / self.traces;
        let variance = self.log_squares / self.traces - mean * mean;
        Some(variance.max(0.0).sqrt())
    }

    fn fade(&mut self, factor: f64) {
        for value in [
            &mut self.traces,
            &mut self.errors,
            &mut self.spans,
            &mut self.log_sum,
            &mut self.log_squares,
        ] {
            *value *= factor;
        }
    }
}

/// How often an operation was seen, and how often it was the root.
#[derive(Clone, Copy, Debug, Default)]
struct Entries {
    all: f64,
    roots: f64,
}

/// The root operations, within a bound.
#[derive(Debug)]
pub struct Roots {
    max: usize,
    by_name: BTreeMap<RootName, Root>,
    entries: BTreeMap<OperationName, Entries>,
    faded_at: UnixNanos,
    refused: u64,
}

impl Roots {
    /// None yet; at most `max` are told apart.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            by_name: BTreeMap::new(),
            entries: BTreeMap::new(),
            faded_at: 0,
            refused: 0,
        }
    }

    /// Traces so far whose root operation had no place.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// All of them, by service and name.
    pub fn iter(&self) -> impl Iterator<Item = (&RootName, &Root)> {
        self.by_name.iter()
    }

    /// The share of the traces that reaches each service, of so many that begin with each operation, where some begin in services
    /// that were asked for less.
    pub fn reach<'a>(
        &self,
        traffic: impl Iterator<Item = (&'a RootName, f64)>,
        asked: &Asked,
    ) -> BTreeMap<Arc<str>, f64> {
        let mut sums: BTreeMap<Arc<str>, (f64, f64)> = BTreeMap::new();
        for (name, traces) in traffic {
            let served = asked.served(&name.0, &name.1).unwrap_or(1.0);
            let own = self.by_name.get(name);
            for service in own.into_iter().flat_map(|own| &own.touches) {
                let (kept, all) = sums.entry(Arc::clone(service)).or_default();
                *kept += served * traces;
                *all += traces;
            }
        }
        let reached = sums.into_iter().filter(|(_, (_, all))| *all > 0.0);
        let shares = reached.map(|(service, (kept, all))| (service, kept / all));
        shares.collect()
    }

    /// Takes a trace.
    pub fn add(&mut self, trace: &Trace) {
        let Some(root) = trace
            .spans
            .iter()
            .find(|span| span.parent_span_id.is_none())
        else {
            return;
        };
        let mut touches: BTreeSet<&Arc<str>> = BTreeSet::new();
        for span in &trace.spans {
            let service = &span.resource.service.name;
            touches.insert(service);
            if span.is_entry {
                let name: OperationName = (Arc::clone(service), (&*span.operation).into());
                let has_room = self.entries.len() < self.max;
                let known = self.entries.get_mut(&name);
                let entries = match known {
                    Some(entries) => entries,
                    None if has_room => self.entries.entry(name).or_default(),
                    None => continue,
                };
                entries.all += span.weight;
                entries.roots += if std::ptr::eq(span, root) {
                    span.weight
                } else {
                    0.0
                };
            }
        }
        let name: RootName = (
            Arc::clone(&root.resource.service.name),
            (&*root.name).into(),
        );
        if self.by_name.len() >= self.max && !self.by_name.contains_key(&name) {
            self.refused += 1;
            return;
        }
        let weight = root.weight;
        let own = self
            .by_name
            .entry(name)
            .or_insert_with(|| Root::new(&root.operation));
        own.traces += weight;
        own.spans += weight * trace.spans.len() as f64;
        if root.outcome == Outcome::Error {
            own.errors += weight;
        }
        let seconds = root.duration_nanos().max(1) as f64 / NANOS_PER_SEC as f64;
        own.log_sum += weight * seconds.ln();
        own.log_squares += weight * seconds.ln().powi(2);
        for service in touches {
            if !own.touches.contains(service) {
                own.touches.insert(Arc::clone(service));
            }
        }
    }

    /// What was before counts for less from here on.
    pub fn fade(&mut self, now: UnixNanos) {
        let since = now.saturating_sub(self.faded_at) as f64 / NANOS_PER_SEC as f64;
        let is_first = self.faded_at == 0;
        self.faded_at = now;
        if is_first || since <= 0.0 {
            return;
        }
        let factor = 0.5_f64.powf(since / HALF_LIFE_SECS);
        for own in self.by_name.values_mut() {
            own.fade(factor);
        }
        for own in self.entries.values_mut() {
            own.all *= factor;
            own.roots *= factor;
        }
        self.by_name.retain(|_, own| own.traces >= FORGOTTEN_BELOW);
        self.entries.retain(|_, own| own.all >= FORGOTTEN_BELOW);
    }

    /// The share of an operation's requests with which a trace begins; all of one that nobody else was seen to call.
    pub fn root_share(&self, operation: &OperationName) -> f64 {
        match self.entries.get(operation) {
            Some(entries) if entries.all > 0.0 => entries.roots / entries.all,
            Some(_) | None => 1.0,
        }
    }

    /// The share that a name has among the names of its operation.
    pub fn name_share(&self, name: &RootName, own: &Root) -> f64 {
        let from = (Arc::clone(&name.0), Arc::from(""));
        let of_service = self.by_name.range(from..);
        let same: f64 = of_service
            .take_while(|((service, _), _)| *service == name.0)
            .filter(|(_, other)| other.operation == own.operation)
            .map(|(_, other)| other.traces)
            .sum();
        if same > 0.0 { own.traces / same } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sampling::ServiceSampling;
    use crate::model::span::SpanKind;
    use crate::trace::fixture::{failed, span, trace};

    const SECOND: u64 = NANOS_PER_SEC;

    /// `page` of the shop calls `get` of the cart.
    fn visit(millis: u64) -> Trace {
        let end = SECOND + millis * 1_000_000;
        trace(vec![
            span("page", "", "shop", SpanKind::Server, (SECOND, end)),
            span("call", "page", "shop", SpanKind::Client, (SECOND, end)),
            span("get", "call", "cart", SpanKind::Server, (SECOND, end)),
        ])
    }

    fn direct() -> Trace {
        let own = span("get", "", "cart", SpanKind::Server, (SECOND, 2 * SECOND));
        trace(vec![failed(own)])
    }

    fn name(service: &str, operation: &str) -> RootName {
        (service.into(), operation.into())
    }

    fn root<'a>(roots: &'a Roots, service: &str, operation: &str) -> &'a Root {
        let name = name(service, operation);
        roots.iter().find(|(own, _)| **own == name).unwrap().1
    }

    #[test]
    fn traces_belong_to_the_operation_that_they_begin_with() {
        let mut roots = Roots::new(10);
        for _ in 0..3 {
            roots.add(&visit(100));
        }
        roots.add(&direct());
        let page = root(&roots, "shop", "page");
        assert!((page.spans_per_trace() - 3.0).abs() < 1e-12);
        let touched: Vec<&str> = page.touches.iter().map(|own| &**own).collect();
        assert_eq!(touched, ["cart", "shop"]);
        assert!((root(&roots, "cart", "get").errors - 1.0).abs() < 1e-12);
        // Three of the cart's four requests came from the shop.
        assert!((roots.root_share(&name("cart", "get")) - 0.25).abs() < 1e-12);
        assert!((roots.root_share(&name("shop", "page")) - 1.0).abs() < 1e-12);
        assert!((roots.root_share(&name("new", "op")) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_deviation_of_durations_is_that_of_their_logarithms() {
        let mut roots = Roots::new(10);
        for millis in [10, 1_000].repeat(5) {
            roots.add(&visit(millis));
        }
        // ln 10 ms and ln 1 s lie ln 10 to either side of their mean.
        let sd = root(&roots, "shop", "page").log_sd().unwrap();
        assert!((sd - 10.0_f64.ln()).abs() < 1e-9, "{sd}");
        roots.add(&direct());
        assert_eq!(root(&roots, "cart", "get").log_sd(), None);
    }

    #[test]
    fn names_of_one_operation_share_its_requests() {
        let mut roots = Roots::new(10);
        for number in 0..4_u64 {
            let mut own = visit(10);
            own.spans[0].name = format!("GET /users/{}", number.min(1)).into();
            own.spans[0].operation = "GET /users/{id}".into();
            roots.add(&own);
        }
        let wanted = name("shop", "GET /users/1");
        let own = root(&roots, "shop", "GET /users/1");
        assert!((roots.name_share(&wanted, own) - 0.75).abs() < 1e-12);
    }

    #[test]
    fn beyond_the_bound_traces_are_counted_and_room_comes_back_with_time() {
        let mut roots = Roots::new(1);
        roots.fade(SECOND);
        roots.add(&visit(10));
        roots.add(&direct());
        assert_eq!((roots.iter().count(), roots.refused()), (1, 1));
        roots.fade(SECOND + 6 * 3_600 * SECOND);
        assert!((root(&roots, "shop", "page").traces - 0.5).abs() < 1e-9);
        roots.fade(SECOND + 7 * 6 * 3_600 * SECOND);
        assert_eq!(roots.iter().count(), 0);
        roots.add(&direct());
        assert_eq!(roots.refused(), 1);
    }

    #[test]
    fn a_service_is_reached_by_the_share_of_its_callers_traces() {
        let (mut roots, asked) = (Roots::new(10), Asked::default());
        roots.add(&visit(10));
        roots.add(&direct());
        let (page, get) = (name("shop", "page"), name("cart", "get"));
        let reach = |asked: &Asked| roots.reach([(&page, 300.0), (&get, 100.0)].into_iter(), asked);
        assert!(reach(&asked).values().all(|share| *share >= 1.0));
        let shop = ServiceSampling {
            service: "shop".to_owned(),
            default_ratio: 0.2,
            operations: Vec::new(),
        };
        asked.answered("shop", Some(&shop), SECOND);
        // 60 of 300 come by way of the shop, and 100 of 100 directly.
        assert!((reach(&asked)["cart"] - 0.4).abs() < 1e-12);
        assert!((reach(&asked)["shop"] - 0.2).abs() < 1e-12);
    }

    #[test]
    fn a_trace_without_its_root_says_nothing() {
        let mut roots = Roots::new(10);
        let mut own = visit(10);
        own.spans.remove(0);
        roots.add(&own);
        assert_eq!(roots.iter().count(), 0);
    }
}
