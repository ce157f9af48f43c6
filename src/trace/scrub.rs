//! Takes personal data and secrets out of whole traces.

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::span::SpanKind;
use crate::model::trace::{AttributeValue, Attributes, Trace, TraceResource, TraceSpan};
use crate::pii::{Counts, FieldOutcome, Scrubber, Side};

/// Scrubs a trace: names, status messages, and the attributes of spans, events and resources. Ids, times and what says
/// which service it is stay.
pub fn trace(trace: &mut Trace, scrubber: &Scrubber, counts: &mut Counts) {
    if !scrubber.is_enabled() {
        return;
    }
    let mut resources: Vec<(Arc<TraceResource>, Arc<TraceResource>)> = Vec::new();
    for own in &mut trace.spans {
        let known = resources
            .iter()
            .find(|(before, _)| Arc::ptr_eq(before, &own.resource));
        let after = if let Some((_, after)) = known {
            Arc::clone(after)
        } else {
            let after = Arc::new(resource(&own.resource, scrubber, counts));
            resources.push((Arc::clone(&own.resource), Arc::clone(&after)));
            after
        };
        own.resource = after;
        span(own, scrubber, counts);
    }
}

fn resource(before: &TraceResource, scrubber: &Scrubber, counts: &mut Counts) -> TraceResource {
    let mut after = before.clone();
    attributes(&mut after.attributes, Side::Unknown, scrubber, counts);
    after
}

fn span(span: &mut TraceSpan, scrubber: &Scrubber, counts: &mut Counts) {
    let side = match span.kind {
        SpanKind::Server | SpanKind::Consumer => Side::Server,
        SpanKind::Client | SpanKind::Producer => Side::Client,
        SpanKind::Internal | SpanKind::Unspecified => Side::Unknown,
    };
    // The operation is made of the name: what is found there was counted.
    text(&mut span.operation, scrubber, &mut Counts::default());
    text(&mut span.name, scrubber, counts);
    text(&mut span.status_message, scrubber, counts);
    attributes(&mut span.attributes, side, scrubber, counts);
    for event in &mut span.events {
        text(&mut event.name, scrubber, counts);
        attributes(&mut event.attributes, side, scrubber, counts);
    }
}

fn text(text: &mut Box<str>, scrubber: &Scrubber, counts: &mut Counts) {
    if let Cow::Owned(scrubbed) = scrubber.scrub_text(text, counts) {
        *text = scrubbed.into();
    }
}

fn attributes(attributes: &mut Attributes, side: Side, scrubber: &Scrubber, counts: &mut Counts) {
    attributes.retain_mut(|(key, held)| value(held, side.key(key), scrubber, counts));
}

/// Scrubs the value of a key; whether it stays.
fn value(held: &mut AttributeValue, key: &str, scrubber: &Scrubber, counts: &mut Counts) -> bool {
    let outcome = match held {
        AttributeValue::Text(text) => scrubber.scrub_field(key, text, counts),
        AttributeValue::Int(number) => scrubber.scrub_number(key, &number.to_string(), counts),
        AttributeValue::List(values) => {
            let had = !values.is_empty();
            values.retain_mut(|own| value(own, key, scrubber, counts));
            return !had || !values.is_empty();
        }
        AttributeValue::Map(values) => {
            values.retain(|own, held| value(held, own, scrubber, counts));
            return true;
        }
        AttributeValue::Bool(_) | AttributeValue::Float(_) => return true,
    };
    match outcome {
        FieldOutcome::Unchanged => true,
        FieldOutcome::Changed(text) => {
            *held = AttributeValue::Text(text.into());
            true
        }
        FieldOutcome::Dropped => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::trace::SpanEvent;
    use crate::trace::assemble::assemble;
    use crate::trace::fixture;

    fn said(key: &str, value: &str) -> (Box<str>, AttributeValue) {
        (key.into(), AttributeValue::Text(value.into()))
    }

    #[test]
    fn a_trace_keeps_its_structure_and_loses_what_is_personal() {
        let mut root = fixture::span("root", "", "web", SpanKind::Server, (0, 9));
        root.name = "GET /ssn/536-90-4399".into();
        root.operation = root.name.clone();
        root.status_message = "Bearer abcdefgh12345678 expired".into();
        root.attributes = vec![
            said("client.address", "10.0.0.1"),
            ("phone".into(), AttributeValue::Int(4_155_550_199)),
            ("ids".into(), AttributeValue::Int(4_155_550_199)),
            (
                "list".into(),
                AttributeValue::List(vec![AttributeValue::Text("a@b.example".into())]),
            ),
            (
                "map".into(),
                AttributeValue::Map([("password".into(), AttributeValue::Text("x".into()))].into()),
            ),
        ];
        root.events = vec![SpanEvent {
            at: 1,
            name: "login".into(),
            attributes: vec![said("user.name", "Alice")],
        }];
        let child = TraceSpan {
            resource: Arc::clone(&root.resource),
            ..fixture::span("child", "root", "web", SpanKind::Client, (1, 2))
        };
        let (mut scrubbed, _) = assemble("t".into(), vec![root, child], None);
        let before = scrubbed.clone();
        let mut counts = Counts::default();
        trace(&mut scrubbed, &Scrubber::default(), &mut counts);
        let (own, other) = (&scrubbed.spans[0], &scrubbed.spans[1]);
        assert_eq!(
            (&*own.name, &*own.operation),
            ("GET /ssn/[NATIONAL_ID]", "GET /ssn/[NATIONAL_ID]")
        );
        assert_eq!(&*own.status_message, "Bearer [AUTHORIZATION] expired");
        let text = |text: &str| AttributeValue::Text(text.into());
        assert_eq!(own.attribute("client.address"), Some(&text("[IP_ADDRESS]")));
        assert_eq!(own.attribute("phone"), Some(&text("[PHONE]")));
        assert_eq!(
            own.attribute("ids"),
            Some(&AttributeValue::Int(4_155_550_199))
        );
        assert_eq!(
            own.attribute("list"),
            Some(&AttributeValue::List(vec![text("[EMAIL]")]))
        );
        let map = AttributeValue::Map([("password".into(), text("[CREDENTIAL]"))].into());
        assert_eq!(own.attribute("map"), Some(&map));
        assert_eq!(own.events[0].attributes[0].1, text("[PERSON]"));
        assert!(Arc::ptr_eq(&own.resource, &other.resource));
        assert_eq!(own.resource, before.spans[0].resource);
        assert_eq!(
            (&own.span_id, own.start, own.end),
            (&before.spans[0].span_id, 0, 9)
        );
        assert_eq!(counts.total(), 7);
    }

    #[test]
    fn scrubbing_a_trace_twice_changes_nothing() {
        let mut root = fixture::span("root", "", "web", SpanKind::Server, (0, 9));
        root.attributes = vec![said(
            "http.url",
            "https://u:p@h.example/?token=abc&mail=a%40b.example",
        )];
        let (mut once, _) = assemble("t".into(), vec![root], None);
        trace(&mut once, &Scrubber::default(), &mut Counts::default());
        let mut twice = once.clone();
        let mut counts = Counts::default();
        trace(&mut twice, &Scrubber::default(), &mut counts);
        assert_eq!((once, counts.total()), (twice, 0));
    }
}
