//! From a request that was counted to the trace buffer: the bytes of the spans that are picked, as they came.

use std::borrow::Cow;

use crate::model::UnixNanos;
use crate::receiver::collect::{is_valid_id, randomness_of};
use crate::receiver::json::read::{Span, SpanVisitor, read_request};
use crate::receiver::json::value::Keys;
use crate::receiver::json::{randomness, trace_id};
use crate::receiver::scan::{ResourceView, ScopeView, SpanView, Visitor, scan};
use crate::receiver::wire::Malformed;
use crate::trace::buffer::TraceBuffer;
use crate::trace::buffer::raw::{Encoding, Origin, RawSpan};
use crate::trace::sampling::Randomness;
use crate::window::event::ResourceAttributes;

/// Puts in what is picked of an `ExportTraceServiceRequest`.
pub(in crate::receiver) fn keep_protobuf(request: &[u8], traces: &TraceBuffer, now: UnixNanos) {
    let mut keeper = ProtobufKeeper {
        traces,
        now,
        resource: Cow::Borrowed(&[]),
        scope: &[],
        picked: Vec::new(),
    };
    // It was read once already.
    scan(request, &mut keeper).ok();
    keeper.flush();
}

struct ProtobufKeeper<'a, 'b> {
    traces: &'b TraceBuffer,
    now: UnixNanos,
    resource: Cow<'a, [u8]>,
    scope: &'a [u8],
    picked: Vec<RawSpan<'a>>,
}

impl ProtobufKeeper<'_, '_> {
    fn flush(&mut self) {
        if !self.picked.is_empty() {
            let origin = Origin {
                encoding: Encoding::Protobuf,
                resource: &self.resource,
                scope: self.scope,
            };
            self.traces.insert(&origin, &self.picked, self.now);
            self.picked.clear();
        }
    }
}

impl<'a> Visitor<'a> for ProtobufKeeper<'a, '_> {
    fn resource(&mut self, resource: ResourceView<'a>) -> Result<(), Malformed> {
        self.flush();
        let mut whole = Cow::Borrowed(&[][..]);
        // A message that is split is one after the other.
        resource.for_each_part(|part| {
            if whole.is_empty() {
                whole = Cow::Borrowed(part);
            } else {
                whole.to_mut().extend_from_slice(part);
            }
        })?;
        self.resource = whole;
        self.scope = &[];
        Ok(())
    }

    fn scope(&mut self, scope: ScopeView<'a>) {
        self.flush();
        self.scope = scope.name().unwrap_or_default();
    }

    #[inline]
    fn span(&mut self, span: &SpanView<'a>) -> Result<(), Malformed> {
        let randomness = randomness_of(span.trace_id, span.trace_state);
        let is_usable = span.start_time_unix_nano <= span.end_time_unix_nano;
        if is_usable
            && self.traces.is_picked(randomness)
            && is_valid_id(span.trace_id, 16)
            && is_valid_id(span.span_id, 8)
            && let Ok(trace_id) = span.trace_id.try_into()
        {
            self.picked.push(RawSpan {
                trace_id,
                randomness,
                bytes: span.message,
            });
        }
        Ok(())
    }
}

/// The same of OTLP/JSON.
pub(in crate::receiver) fn keep_json(request: &[u8], traces: &TraceBuffer, now: UnixNanos) {
    let mut keeper = JsonKeeper {
        traces,
        now,
        resource: String::new(),
        scope: String::new(),
        picked: Vec::new(),
    };
    if let Ok(request) = std::str::from_utf8(request) {
        read_request(request, &["resourceSpans"], &mut keeper).ok();
    }
    keeper.flush();
}

struct JsonKeeper<'b> {
    traces: &'b TraceBuffer,
    now: UnixNanos,
    resource: String,
    scope: String,
    picked: Vec<([u8; 16], Randomness, Box<str>)>,
}

impl JsonKeeper<'_> {
    fn flush(&mut self) {
        let origin = Origin {
            encoding: Encoding::Json,
            resource: self.resource.as_bytes(),
            scope: self.scope.as_bytes(),
        };
        let picked = self.picked.iter();
        let picked = picked.map(|(trace_id, randomness, text)| RawSpan {
            trace_id: *trace_id,
            randomness: *randomness,
            bytes: text.as_bytes(),
        });
        let picked: Vec<RawSpan<'_>> = picked.collect();
        if !picked.is_empty() {
            self.traces.insert(&origin, &picked, self.now);
        }
        self.picked.clear();
    }
}

impl SpanVisitor for JsonKeeper<'_> {
    const KEEPS_TEXT: bool = true;

    fn version_key(&self) -> &[u8] {
        // Resources are decoded when somebody asks for the trace.
        b""
    }

    fn is_watched(&mut self, _: &ResourceAttributes<'_>) -> bool {
        false
    }

    fn resource(&mut self, _: &ResourceAttributes<'_>, text: &str) {
        self.flush();
        text.clone_into(&mut self.resource);
        self.scope.clear();
    }

    fn scope(&mut self, name: &str) {
        self.flush();
        name.clone_into(&mut self.scope);
    }

    fn span<K: Keys>(
        &mut self,
        _: &ResourceAttributes<'_>,
        span: &Span<'_, K>,
        text: &str,
    ) -> Result<(), serde_json::Error> {
        if let Some(randomness) = randomness(span)
            && self.traces.is_picked(randomness)
            && let Some(trace_id) = trace_id(span)
        {
            self.picked.push((trace_id, randomness, text.into()));
        }
        Ok(())
    }
}
