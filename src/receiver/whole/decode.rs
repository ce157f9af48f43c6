//! Reads what receivers put into the trace buffer.

use std::sync::Arc;

use crate::model::span::SpanKind;
use crate::model::trace::{AttributeValue, Attributes, TraceResource, TraceSpan};
use crate::receiver::json::read::Span;
use crate::receiver::json::value::{Few, Number, text_of};
use crate::receiver::json::{has_parent, numbers, span_id};
use crate::receiver::scan::SpanView;
use crate::receiver::whole::{json, protobuf, trace_resource, trace_span};
use crate::trace::buffer::raw::{DecodeSpans, Encoding, RawOrigin, RawSpans};
use crate::window::event::{
    EventRules, ResourceAttributes, Scalar, SpanAttributes, SpanInput, SpanStatus,
};

/// Reads spans by the rules of the windows.
#[derive(Debug)]
pub struct Decoder {
    rules: EventRules,
}

impl Decoder {
    /// With these rules.
    pub fn new(rules: EventRules) -> Self {
        Self { rules }
    }

    fn protobuf(
        &self,
        bytes: &[u8],
        scope: &str,
        resource: &Arc<TraceResource>,
    ) -> Option<TraceSpan> {
        let span = SpanView::read(bytes).ok()?;
        let mut input = SpanInput {
            name: span.name,
            kind: SpanKind::from_otlp(span.kind),
            has_parent: span.parent_span_id.iter().any(|byte| *byte != 0),
            span_id: span.span_id,
            trace_state: span.trace_state,
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            status: SpanStatus::from_otlp(span.status_code),
            randomness: 0,
            attributes: SpanAttributes::default(),
        };
        span.for_each_attribute(SpanAttributes::may_read, |key, value| {
            input.attributes.set(key, value);
        })
        .ok()?;
        let details = protobuf::details(bytes, scope).ok()?;
        Some(trace_span(
            &input,
            Arc::clone(resource),
            details,
            &self.rules,
        ))
    }

    fn json(&self, text: &str, scope: &str, resource: &Arc<TraceResource>) -> Option<TraceSpan> {
        let span: Span<'_, Few> = serde_json::from_str(text).ok()?;
        let (kind, start, end, status) = numbers(&span).ok()?;
        let span_id = span_id(&span)?;
        let input = SpanInput {
            name: text_of(span.name.as_ref()).as_bytes(),
            kind,
            has_parent: has_parent(text_of(span.parent_span_id.as_ref())),
            span_id: &span_id,
            trace_state: text_of(span.trace_state.as_ref()).as_bytes(),
            start,
            end,
            status,
            randomness: 0,
            attributes: span.attributes.of_span(),
        };
        let time = |number: &Number<'_>| number.whole(&[]).ok();
        let details = json::details(text, scope, time).ok()?;
        (start <= end).then(|| trace_span(&input, Arc::clone(resource), details, &self.rules))
    }
}

impl DecodeSpans for Decoder {
    fn decode(&self, spans: &RawSpans) -> Vec<TraceSpan> {
        let mut resources: Vec<(&Arc<RawOrigin>, Arc<TraceResource>)> = Vec::new();
        let mut decoded = Vec::with_capacity(spans.len());
        for (origin, bytes) in spans.iter() {
            let known = resources
                .iter()
                .find(|(known, _)| Arc::ptr_eq(known, origin));
            let resource = if let Some((_, resource)) = known {
                Arc::clone(resource)
            } else {
                let resource = Arc::new(resource_of(origin, self.rules.version_key()));
                resources.push((origin, Arc::clone(&resource)));
                resource
            };
            let scope = String::from_utf8_lossy(&origin.scope);
            let span = match origin.encoding {
                Encoding::Protobuf => self.protobuf(bytes, &scope, &resource),
                Encoding::Json => {
                    let text = std::str::from_utf8(bytes).ok();
                    text.and_then(|text| self.json(text, &scope, &resource))
                }
            };
            decoded.extend(span);
        }
        decoded
    }
}

fn resource_of(origin: &RawOrigin, version_key: &[u8]) -> TraceResource {
    let attributes: Attributes = match origin.encoding {
        Encoding::Protobuf => protobuf::resource_attributes(&origin.resource).unwrap_or_default(),
        Encoding::Json => {
            let text = std::str::from_utf8(&origin.resource).unwrap_or_default();
            json::resource_attributes(text)
        }
    };
    let mut service = ResourceAttributes::default();
    for (key, value) in &attributes {
        match value {
            AttributeValue::Text(text) => {
                service.set(key.as_bytes(), Scalar::Text(text.as_bytes()), version_key);
            }
            AttributeValue::Int(number) => {
                service.set(key.as_bytes(), Scalar::Int(*number), version_key);
            }
            AttributeValue::Bool(_)
            | AttributeValue::Float(_)
            | AttributeValue::List(_)
            | AttributeValue::Map(_) => {}
        }
    }
    trace_resource(&service, attributes.clone())
}
