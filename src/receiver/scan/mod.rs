//! One pass over an `ExportTraceServiceRequest`, yielding borrowed views and allocating nothing.
//!
//! The views say what the messages of opentelemetry-proto would say: fields in any order, a message split over several
//! fields merged, the last of repeated scalars taken, unknown fields skipped. Attribute values are read only when somebody
//! asks for them, so what is malformed inside a value that nobody asks for goes unnoticed.

use crate::receiver::wire::{Fields, Malformed, Value};
use crate::window::event::Scalar;

/// Takes what [`scan`] finds: a resource, then its spans.
pub trait Visitor<'a> {
    /// A resource begins.
    fn resource(&mut self, resource: ResourceView<'a>) -> Result<(), Malformed>;
    /// A `ScopeSpans` begins, whose spans follow.
    #[inline]
    fn scope(&mut self, _scope: ScopeView<'a>) {}
    /// A span of the newest resource.
    fn span(&mut self, span: &SpanView<'a>) -> Result<(), Malformed>;
}

/// Walks a request.
pub fn scan<'a>(request: &'a [u8], visitor: &mut impl Visitor<'a>) -> Result<(), Malformed> {
    let mut fields = Fields::new(request);
    while let Some((number, value)) = fields.next_field()? {
        if let (1, Value::Bytes(resource_spans)) = (number, value) {
            scan_resource_spans(resource_spans, visitor)?;
        }
    }
    Ok(())
}

fn scan_resource_spans<'a>(
    resource_spans: &'a [u8],
    visitor: &mut impl Visitor<'a>,
) -> Result<(), Malformed> {
    visitor.resource(ResourceView { resource_spans })?;
    let mut fields = Fields::new(resource_spans);
    while let Some((number, value)) = fields.next_field()? {
        if let (2, Value::Bytes(scope_spans)) = (number, value) {
            visitor.scope(ScopeView { scope_spans });
            let mut fields = Fields::new(scope_spans);
            while let Some((number, value)) = fields.next_field()? {
                if let (2, Value::Bytes(span)) = (number, value) {
                    visitor.span(&SpanView::read(span)?)?;
                }
            }
        }
    }
    Ok(())
}

/// The resource of a `ResourceSpans`, wherever in it its fields stand.
#[derive(Clone, Copy, Debug)]
pub struct ResourceView<'a> {
    resource_spans: &'a [u8],
}

impl<'a> ResourceView<'a> {
    /// Calls `take` with the bytes of the `Resource`; where a message is split, with each part.
    pub fn for_each_part(&self, mut take: impl FnMut(&'a [u8])) -> Result<(), Malformed> {
        let mut fields = Fields::new(self.resource_spans);
        while let Some((number, value)) = fields.next_field()? {
            if let (1, Value::Bytes(resource)) = (number, value) {
                take(resource);
            }
        }
        Ok(())
    }

    /// Calls `take` with each attribute.
    pub fn for_each_attribute(
        &self,
        mut take: impl FnMut(&'a [u8], Scalar<'a>),
    ) -> Result<(), Malformed> {
        let mut outcome = Ok(());
        self.for_each_part(|resource| {
            if outcome.is_ok() {
                outcome = for_each_attribute(resource, 1, |_| true, &mut take);
            }
        })?;
        outcome
    }
}

/// The scope of a `ScopeSpans`, wherever in it its fields stand.
#[derive(Clone, Copy, Debug)]
pub struct ScopeView<'a> {
    scope_spans: &'a [u8],
}

impl<'a> ScopeView<'a> {
    /// Its name, empty if it is not said.
    pub fn name(&self) -> Result<&'a [u8], Malformed> {
        let mut name = &[][..];
        let mut fields = Fields::new(self.scope_spans);
        while let Some((number, value)) = fields.next_field()? {
            if let (1, Value::Bytes(scope)) = (number, value) {
                let mut fields = Fields::new(scope);
                while let Some((number, value)) = fields.next_field()? {
                    if let (1, Value::Bytes(text)) = (number, value) {
                        name = text;
                    }
                }
            }
        }
        Ok(name)
    }
}

/// A span.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanView<'a> {
    /// The whole message.
    pub message: &'a [u8],
    /// Field 1, 16 bytes.
    pub trace_id: &'a [u8],
    /// Field 2, 8 bytes.
    pub span_id: &'a [u8],
    /// Field 3, W3C tracestate.
    pub trace_state: &'a [u8],
    /// Field 4, empty or all zeros for a root.
    pub parent_span_id: &'a [u8],
    /// Field 5.
    pub name: &'a [u8],
    /// Field 6, as a number.
    pub kind: u64,
    /// Field 7.
    pub start_time_unix_nano: u64,
    /// Field 8.
    pub end_time_unix_nano: u64,
    /// Code of field 15, as a number.
    pub status_code: u64,
    /// The span's bytes from the first attribute to the last.
    attributes: &'a [u8],
}

impl<'a> SpanView<'a> {
    /// Reads a `Span`.
    pub fn read(span: &'a [u8]) -> Result<Self, Malformed> {
        let mut view = SpanView {
            message: span,
            ..SpanView::default()
        };
        let mut fields = Fields::new(span);
        let mut before = fields.rest();
        let mut attributes: Option<(&'a [u8], &'a [u8])> = None;
        loop {
            if fields.skip_short(ATTRIBUTE_TAG) {
                let from = attributes.map_or(before, |(from, _)| from);
                while fields.skip_short(ATTRIBUTE_TAG) {}
                attributes = Some((from, fields.rest()));
                before = fields.rest();
            }
            let Some((number, value)) = fields.next_field()? else {
                break;
            };
            match (number, value) {
                (9, Value::Bytes(_)) => {
                    let from = attributes.map_or(before, |(from, _)| from);
                    attributes = Some((from, fields.rest()));
                }
                (1, Value::Bytes(id)) => view.trace_id = id,
                (2, Value::Bytes(id)) => view.span_id = id,
                (3, Value::Bytes(state)) => view.trace_state = state,
                (4, Value::Bytes(id)) => view.parent_span_id = id,
                (5, Value::Bytes(name)) => view.name = name,
                (6, Value::Varint(kind)) => view.kind = enum_number(kind),
                (7, Value::Fixed64(time)) => view.start_time_unix_nano = time,
                (8, Value::Fixed64(time)) => view.end_time_unix_nano = time,
                (15, Value::Bytes(status)) => view.read_status(status)?,
                _ => {}
            }
            before = fields.rest();
        }
        if let Some((from, rest)) = attributes {
            view.attributes = from.get(..from.len() - rest.len()).unwrap_or_default();
        }
        Ok(view)
    }

    fn read_status(&mut self, status: &[u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(status);
        while let Some((number, value)) = fields.next_field()? {
            if let (3, Value::Varint(code)) = (number, value) {
                self.status_code = enum_number(code);
            }
        }
        Ok(())
    }

    /// Calls `take` with each attribute whose key passes `wanted`; values of the others are not read.
    #[inline]
    pub fn for_each_attribute(
        &self,
        wanted: impl Fn(&[u8]) -> bool,
        mut take: impl FnMut(&'a [u8], Scalar<'a>),
    ) -> Result<(), Malformed> {
        for_each_attribute(self.attributes, 9, wanted, &mut take)
    }

    /// Calls `take` with each attribute of the span's events whose key passes `wanted`. Events are looked for only here.
    #[cold]
    pub fn for_each_event_attribute(
        &self,
        wanted: impl Fn(&[u8]) -> bool,
        mut take: impl FnMut(&'a [u8], Scalar<'a>),
    ) -> Result<(), Malformed> {
        let mut fields = Fields::new(self.message);
        while let Some((number, value)) = fields.next_field()? {
            if let (11, Value::Bytes(event)) = (number, value) {
                for_each_attribute(event, 3, &wanted, &mut take)?;
            }
        }
        Ok(())
    }
}

/// Enums have 32 bits, whatever the varint holds.
fn enum_number(varint: u64) -> u64 {
    varint & u64::from(u32::MAX)
}

/// Walks the `KeyValue` fields with this number. Values that are neither text nor whole numbers are passed over.
#[inline]
fn for_each_attribute<'a>(
    message: &'a [u8],
    field: u8,
    wanted: impl Fn(&[u8]) -> bool,
    take: &mut impl FnMut(&'a [u8], Scalar<'a>),
) -> Result<(), Malformed> {
    let mut rest = message;
    // Every known writer puts the attributes one after the other, key before value, with short lengths.
    while let Some((key_value, after)) = split_short(rest, field << 3 | 2) {
        rest = after;
        match split_short(key_value, KEY_TAG) {
            Some((key, value)) if !wanted(key) && is_one_value(value) => {}
            Some((key, value)) => match short_scalar(value) {
                Some(scalar) => take(key, scalar),
                None => read_attribute(key_value, &wanted, take)?,
            },
            None => read_attribute(key_value, &wanted, take)?,
        }
    }
    let mut fields = Fields::new(rest);
    while let Some((number, value)) = fields.next_field()? {
        if let Value::Bytes(key_value) = value
            && number == u32::from(field)
        {
            read_attribute(key_value, &wanted, take)?;
        }
    }
    Ok(())
}

const ATTRIBUTE_TAG: u8 = 9 << 3 | 2;
const KEY_TAG: u8 = 1 << 3 | 2;
const VALUE_TAG: u8 = 2 << 3 | 2;
const STRING_VALUE_TAG: u8 = 1 << 3 | 2;
const INT_VALUE_TAG: u8 = 3 << 3;

/// The bytes of the field that comes first, if it has this tag and a length of one byte, and what follows.
#[inline]
fn split_short(message: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    match message {
        [first, len @ 0..0x80, rest @ ..] if *first == tag => {
            rest.split_at_checked(usize::from(*len))
        }
        _ => None,
    }
}

/// Whether nothing but a value follows: a second key would overrule the first.
#[inline]
fn is_one_value(rest: &[u8]) -> bool {
    matches!(split_short(rest, VALUE_TAG), Some((_, [])))
}

/// The scalar of a `KeyValue.value` field that is nothing but a text or a whole number below 2¹⁴.
#[inline]
fn short_scalar(value_field: &[u8]) -> Option<Scalar<'_>> {
    match split_short(value_field, VALUE_TAG)? {
        ([INT_VALUE_TAG, low @ 0..0x80], []) => Some(Scalar::Int(i64::from(*low))),
        ([INT_VALUE_TAG, low @ 0x80..=0xff, high @ 0..0x80], []) => {
            Some(Scalar::Int(i64::from(*high) << 7 | i64::from(*low & 0x7f)))
        }
        (any_value, []) => match split_short(any_value, STRING_VALUE_TAG)? {
            (text, []) => Some(Scalar::Text(text)),
            _ => None,
        },
        _ => None,
    }
}

/// One `KeyValue` of any shape.
fn read_attribute<'a>(
    key_value: &'a [u8],
    wanted: &impl Fn(&[u8]) -> bool,
    take: &mut impl FnMut(&'a [u8], Scalar<'a>),
) -> Result<(), Malformed> {
    let (mut key, mut scalar) = (&[][..], None);
    let mut parts = Fields::new(key_value);
    while let Some((number, value)) = parts.next_field()? {
        match (number, value) {
            (1, Value::Bytes(text)) => key = text,
            (2, Value::Bytes(any_value)) => scalar = read_scalar(any_value, scalar)?,
            _ => {}
        }
    }
    if let Some(scalar) = scalar
        && wanted(key)
    {
        take(key, scalar);
    }
    Ok(())
}

/// The text or whole number of an `AnyValue`; the last of a oneof's fields holds.
#[inline]
fn read_scalar<'a>(
    any_value: &'a [u8],
    before: Option<Scalar<'a>>,
) -> Result<Option<Scalar<'a>>, Malformed> {
    let mut scalar = before;
    let mut fields = Fields::new(any_value);
    while let Some((number, value)) = fields.next_field()? {
        scalar = match (number, value) {
            (1, Value::Bytes(text)) => Some(Scalar::Text(text)),
            (3, Value::Varint(number)) => Some(Scalar::Int(number.cast_signed())),
            (2 | 8, Value::Varint(_)) | (4, Value::Fixed64(_)) | (5..=7, Value::Bytes(_)) => None,
            _ => scalar,
        };
    }
    Ok(scalar)
}

#[cfg(test)]
pub(super) mod tests;
