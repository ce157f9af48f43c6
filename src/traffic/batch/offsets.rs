//! Where an encoded export request keeps the parts of its spans that have a fixed width.

use std::ops::Range;

use prost::DecodeError;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Field numbers of the messages on the way to a span's parts.
mod field {
    pub(super) const RESOURCE_SPANS: u32 = 1;
    pub(super) const SCOPE_SPANS: u32 = 2;
    pub(super) const SPANS: u32 = 2;
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const START_TIME: u32 = 7;
    pub(super) const END_TIME: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const STATUS: u32 = 15;
    pub(super) const STATUS_CODE: u32 = 3;
    pub(super) const ATTRIBUTE_KEY: u32 = 1;
    pub(super) const ATTRIBUTE_VALUE: u32 = 2;
    pub(super) const INT_VALUE: u32 = 3;
}

/// The attribute that tells an HTTP outcome.
const HTTP_STATUS: &[u8] = b"http.response.status_code";

/// Byte offsets into a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SpanOffsets {
    /// 16 bytes.
    pub(super) trace_id: usize,
    /// 8 bytes.
    pub(super) span_id: usize,
    /// 8 bytes, little endian.
    pub(super) start: usize,
    /// 8 bytes, little endian.
    pub(super) end: usize,
    /// 1 byte, the status code.
    pub(super) status: usize,
    /// A varint of 2 bytes, in spans that carry the attribute.
    pub(super) http_status: Option<usize>,
}

/// The offsets of all spans of `request`, in wire order.
pub(super) fn span_offsets(request: &[u8]) -> Result<Vec<SpanOffsets>, DecodeError> {
    let whole = 0..request.len();
    let mut spans = Vec::new();
    for resource in messages(request, whole, field::RESOURCE_SPANS)? {
        for scope in messages(request, resource, field::SCOPE_SPANS)? {
            for span in messages(request, scope, field::SPANS)? {
                spans.push(offsets_of(request, span)?);
            }
        }
    }
    Ok(spans)
}

fn offsets_of(request: &[u8], span: Range<usize>) -> Result<SpanOffsets, DecodeError> {
    let mut offsets = SpanOffsets::default();
    for (number, value) in fields(request, span)? {
        match number {
            field::TRACE_ID => offsets.trace_id = value.start,
            field::SPAN_ID => offsets.span_id = value.start,
            field::START_TIME => offsets.start = value.start,
            field::END_TIME => offsets.end = value.start,
            field::ATTRIBUTES => {
                offsets.http_status = offsets.http_status.or(http_status(request, value)?);
            }
            field::STATUS => {
                for code in messages(request, value, field::STATUS_CODE)? {
                    offsets.status = code.start;
                }
            }
            _ => {}
        }
    }
    Ok(offsets)
}

fn http_status(request: &[u8], attribute: Range<usize>) -> Result<Option<usize>, DecodeError> {
    let is_status = messages(request, attribute.clone(), field::ATTRIBUTE_KEY)?
        .into_iter()
        .any(|key| request.get(key) == Some(HTTP_STATUS));
    if !is_status {
        return Ok(None);
    }
    for value in messages(request, attribute, field::ATTRIBUTE_VALUE)? {
        if let Some(int) = messages(request, value, field::INT_VALUE)?.first() {
            return Ok(Some(int.start));
        }
    }
    Ok(None)
}

/// The values of the fields with this number within `message`.
fn messages(
    request: &[u8],
    message: Range<usize>,
    number: u32,
) -> Result<Vec<Range<usize>>, DecodeError> {
    let mut values = fields(request, message)?;
    values.retain(|(field, _)| *field == number);
    Ok(values.into_iter().map(|(_, value)| value).collect())
}

/// All fields within `message`: their numbers, and where their values stand without a length in front.
fn fields(request: &[u8], message: Range<usize>) -> Result<Vec<(u32, Range<usize>)>, DecodeError> {
    let end = message.end;
    let mut rest = request.get(message).unwrap_or_default();
    let mut fields = Vec::new();
    while rest.has_remaining() {
        let (number, wire_type) = decode_key(&mut rest)?;
        let start = if wire_type == WireType::LengthDelimited {
            let mut value = rest;
            decode_varint(&mut value)?;
            end - value.remaining()
        } else {
            end - rest.remaining()
        };
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        fields.push((number, start..end - rest.remaining()));
    }
    Ok(fields)
}
