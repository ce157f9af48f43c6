//! A small system, hand-made: a frontend that asks a cart and a payment service, which stores what it did.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::adapter::rca::settings::Settings;
use crate::adapter::rca::summary::Summary;
use crate::model::span::SpanKind::{Client, Consumer, Internal, Producer, Server};
use crate::model::trace::{
    AttributeValue, Completeness, SpanEvent, Trace, TraceResource, TraceSpan,
};
use crate::trace::fixture::{failed, span};

const MICROS: u64 = 1_000;
const SECOND: u64 = 1_000_000_000;

/// What is wrong. Shares are of the requests that it happens to.
#[derive(Clone, Debug, Default)]
pub(super) struct Wrong {
    /// Payment takes so many milliseconds longer itself.
    pub(super) payment_ms: u64,
    /// Calls of payment wait so many milliseconds longer.
    pub(super) payment_link_ms: u64,
    /// Calls of the cart wait so many milliseconds longer.
    pub(super) cart_link_ms: u64,
    /// Only this instance of payment has what is wrong.
    pub(super) only_on: Option<&'static str>,
    /// Payment fails, and the frontend with it.
    pub(super) errors: f64,
    /// Payment is gone: nobody answers.
    pub(super) gone: f64,
    /// Payment forgets to store.
    pub(super) forgets: f64,
    /// The frontend ends after the cart answered.
    pub(super) ends_early: f64,
    /// Payment records an exception, and all goes on.
    pub(super) exceptions: f64,
    /// Payment logs the end before the beginning.
    pub(super) disorder: f64,
    /// The frontend asks the cart so many times more.
    pub(super) asks_again: usize,
    /// Payment fails, and the frontend asks once more.
    pub(super) retries: f64,
    /// Nobody takes the frontend's messages any more.
    pub(super) untaken: f64,
    /// Weight of the requests that do not fail.
    pub(super) weight: Option<f64>,
    /// Version of payment.
    pub(super) version: &'static str,
}

/// So many visits, one a second, each with its own chance.
pub(super) fn visits(seed: u64, count: u64, wrong: &Wrong) -> Vec<Trace> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count)
        .map(|number| {
            visit(
                seed * 1_000_000 + number,
                number * SECOND,
                &mut random,
                wrong,
            )
        })
        .collect()
}

/// A summary of them.
pub(super) fn summary(traces: &[Trace]) -> Summary {
    crate::adapter::rca::evaluate::summary(traces.iter(), &Settings::default())
}

fn event(at: u64, name: &str, attributes: &[(&str, &str)]) -> SpanEvent {
    let attributes = attributes.iter();
    SpanEvent {
        at,
        name: name.into(),
        attributes: attributes
            .map(|(key, value)| ((*key).into(), AttributeValue::Text((*value).into())))
            .collect(),
    }
}

/// One visit under way.
struct Visit<'a> {
    now: u64,
    random: &'a mut StdRng,
    wrong: &'a Wrong,
    instance: &'static str,
    /// Whether what is wrong can happen to it.
    is_sick: bool,
    spans: Vec<TraceSpan>,
}

impl Visit<'_> {
    /// A duration of about so many milliseconds.
    fn about(&mut self, ms: u64) -> u64 {
        ms * MICROS * self.random.random_range(800..1_300)
    }

    fn happens(&mut self, share: f64) -> bool {
        self.is_sick && self.random.random_bool(share)
    }

    fn extra(&self, ms: u64) -> u64 {
        if self.is_sick { ms * MICROS * 1_000 } else { 0 }
    }

    /// A message to the mailer.
    fn message(&mut self) {
        let sent = (self.now, self.now + self.about(1));
        let takes = (sent.1 + self.about(5), sent.1 + self.about(20));
        self.now = sent.1;
        let is_taken = !self.happens(self.wrong.untaken);
        self.spans
            .push(span("send", "root", "frontend", Producer, sent));
        let mail = span("mail", "send", "mailer", Consumer, takes);
        self.spans.extend(is_taken.then_some(mail));
    }

    /// Gives the spans since `from` ids of their own.
    fn renamed(&mut self, from: usize, number: usize) {
        for span in self.spans.iter_mut().skip(from) {
            span.span_id = format!("{} {number}", span.span_id).into();
            let parent = span.parent_span_id.take();
            span.parent_span_id = parent.map(|parent| match &*parent {
                "root" => parent,
                parent => format!("{parent} {number}").into(),
            });
        }
    }

    fn cart(&mut self) {
        let begins = self.now;
        let waits = self.about(3) + self.extra(self.wrong.cart_link_ms);
        let takes = self.about(12);
        self.now += waits + takes;
        let server = (begins + waits / 2, begins + waits / 2 + takes);
        let client = (begins, self.now);
        self.spans.extend([
            span("cart.Get", "root", "frontend", Client, client),
            span("Cart/Get", "cart.Get", "cart", Server, server),
        ]);
        self.now += self.about(2);
    }

    /// Whether the payment failed.
    fn payment(&mut self) -> bool {
        let wrong = self.wrong;
        let (fails, is_gone) = (self.happens(wrong.errors), self.happens(wrong.gone));
        let forgets = self.happens(wrong.forgets);
        let begins = self.now;
        let waits = self.about(3) + self.extra(wrong.payment_link_ms);
        let stores = self.about(8);
        let own = self.about(20) + self.extra(wrong.payment_ms);
        let takes = if forgets { own } else { own + stores };
        self.now += waits + takes;
        let server = begins + waits / 2;
        let client = (begins, self.now);
        let mut client = span("payment.Charge", "root", "frontend", Client, client);
        let id = "Payment/Charge";
        let during = (server, server + takes);
        let mut charge = span(id, "payment.Charge", "payment", Server, during);
        let during = (server + own / 2, server + own / 2 + stores);
        let mut store = span("store", id, "payment", Internal, during);
        let instance = AttributeValue::Text(self.instance.into());
        charge.resource = Arc::new(TraceResource {
            version: wrong.version.into(),
            attributes: vec![("service.instance.id".into(), instance)],
            ..(*charge.resource).clone()
        });
        store.resource = Arc::clone(&charge.resource);
        charge.events = self.events(server);
        if fails || is_gone {
            client = failed(client);
            charge = failed(charge);
        }
        self.spans.push(client);
        if !is_gone {
            self.spans.push(charge);
            self.spans.extend((!forgets).then_some(store));
        }
        self.now += self.about(2);
        fails || is_gone
    }

    fn events(&mut self, at: u64) -> Vec<SpanEvent> {
        let mut order = ["charge begins", "charge ends"];
        if self.happens(self.wrong.disorder) {
            order.reverse();
        }
        let mut events = order.map(|name| event(at, name, &[])).to_vec();
        if self.happens(self.wrong.exceptions) {
            let kind = [("exception.type", "CardError")];
            events.push(event(at, "exception", &kind));
        }
        events
    }
}

fn visit(number: u64, start: u64, random: &mut StdRng, wrong: &Wrong) -> Trace {
    let instance = ["payment-1", "payment-2", "payment-3"][random.random_range(0..3)];
    let fails = Wrong {
        errors: 1.0,
        ..wrong.clone()
    };
    let mut visit = Visit {
        now: start,
        random,
        wrong,
        instance,
        is_sick: wrong.only_on.is_none_or(|sick| sick == instance),
        spans: Vec::new(),
    };
    visit.now += visit.about(4);
    visit.cart();
    for number in 0..wrong.asks_again {
        let from = visit.spans.len();
        visit.cart();
        visit.renamed(from, number);
    }
    if visit.happens(wrong.retries) {
        let from = visit.spans.len();
        visit.wrong = &fails;
        visit.payment();
        visit.wrong = wrong;
        visit.renamed(from, 0);
    }
    let fails = !visit.happens(wrong.ends_early) && visit.payment();
    visit.message();
    let end = visit.now + visit.about(2);
    let root = span("root", "", "frontend", Server, (start, end));
    let root = if fails { failed(root) } else { root };
    let mut spans = visit.spans;
    spans.insert(0, root);
    for span in &mut spans {
        span.weight = wrong.weight.filter(|_| !fails).unwrap_or(1.0);
    }
    whole(number, spans)
}

fn whole(number: u64, spans: Vec<TraceSpan>) -> Trace {
    Trace {
        trace_id: format!("{:032x}", u128::from(number) * 0x9e37_79b9_7f4a_7c15_f39c).into(),
        spans,
        completeness: Completeness::Complete,
    }
}
