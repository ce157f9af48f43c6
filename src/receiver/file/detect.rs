//! What a file holds, told by its beginning.

use std::collections::BTreeSet;
use std::io::Read;

use crate::receiver::file::TraceFormat;
use crate::receiver::file::buffer::Buffer;
use crate::receiver::file::cursor::{Cursor, Extent, Fault, Scan};
use crate::receiver::file::documents::LIST_DEPTH_MAX;
use crate::receiver::file::protobuf::{Framing, framing_of};

/// So much of a file is looked at.
pub(super) const DETECTION_BYTES: usize = 64 << 10;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// White space, empty lists, empty objects.
    Nothing,
    /// JSON.
    Json {
        format: TraceFormat,
        /// Each line is a text of its own.
        is_lines: bool,
    },
    /// Protobuf.
    Protobuf(Framing),
}

impl Content {
    /// The format, if there is anything.
    pub(super) fn format(self) -> Option<TraceFormat> {
        match self {
            Self::Nothing => None,
            Self::Json { format, .. } => Some(format),
            Self::Protobuf(_) => Some(TraceFormat::OtlpProtobuf),
        }
    }
}

/// Tells what a file holds that begins so; `is_whole` if there is nothing else. `None` if it is nothing known.
pub(super) fn detect(beginning: &[u8], is_whole: bool) -> Option<Content> {
    if let Some(framing) = framing_of(beginning, is_whole) {
        return Some(Content::Protobuf(framing));
    }
    let mut cursor = Cursor::new(Buffer::new(beginning), DETECTION_BYTES);
    let mut is_empty = is_whole;
    while cursor.peek().is_some() {
        let mut names = Names::default();
        let walked = names.collect(&mut cursor, 0);
        if let Some(format) = names.format() {
            let is_lines = is_lines(beginning);
            return Some(Content::Json { format, is_lines });
        }
        is_empty &= walked.is_ok() && !names.has_values && names.names.is_empty();
        if walked.is_err() {
            // A broken line may stand before good ones.
            cursor.leave_line();
        }
    }
    is_empty.then_some(Content::Nothing)
}

/// The names of the members of the first objects, which tell the format.
#[derive(Debug, Default)]
struct Names {
    names: BTreeSet<String>,
    /// There is something else than objects and lists.
    has_values: bool,
}

impl Names {
    fn collect<R: Read>(&mut self, cursor: &mut Cursor<R>, depth: u32) -> Result<(), Fault> {
        match cursor.peek() {
            Some(b'[') if depth < LIST_DEPTH_MAX => {
                cursor.for_each_element(|cursor| self.collect(cursor, depth + 1))
            }
            Some(b'{') => cursor.for_each_member(|cursor, name| {
                self.names.insert(name.to_owned());
                match name {
                    "data" if depth == 0 => self.collect(cursor, depth + 1),
                    _ => cursor.skip_value(),
                }
            }),
            Some(_) | None => {
                self.has_values = true;
                cursor.skip_value()
            }
        }
    }

    fn format(&self) -> Option<TraceFormat> {
        let has = |names: &[&str]| names.iter().any(|name| self.names.contains(*name));
        // Metrics and logs may stand between the spans, where one file takes all that a Collector exports.
        if has(&[
            "resourceSpans",
            "batches",
            "resourceMetrics",
            "resourceLogs",
        ]) {
            Some(TraceFormat::OtlpJson)
        } else if has(&["data"]) && (self.names.len() == 1 || has(&["traceID", "total", "errors"]))
        {
            Some(TraceFormat::JaegerJson)
        } else if has(&["traceId"]) && has(&["spanId", "startTimeUnixNano", "endTimeUnixNano"]) {
            Some(TraceFormat::SpanList)
        } else if has(&["traceId"]) && has(&["id", "localEndpoint", "timestamp"]) {
            Some(TraceFormat::ZipkinJson)
        } else {
            None
        }
    }
}

/// Whether each line is a text of its own. A document that is laid out over lines begins with one that waits for more.
fn is_lines(beginning: &[u8]) -> bool {
    let mut lines = beginning
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty());
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return false;
    };
    let waits = matches!(first.last(), Some(b'{' | b'[' | b',' | b':'));
    is_one_value(first) || (!waits && is_one_value(second))
}

/// Whether a line is an object or a list, all of it.
fn is_one_value(line: &[u8]) -> bool {
    let mut extent = Extent::default();
    extent.scan(line) == Scan::Complete && extent.scanned == line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(format: TraceFormat, is_lines: bool) -> Content {
        Content::Json { format, is_lines }
    }

    #[test]
    fn the_members_of_the_first_objects_tell_the_format() {
        use TraceFormat::{JaegerJson, OtlpJson, SpanList, ZipkinJson};
        for (text, wanted) in [
            (r#"{"resourceSpans":[]}"#, Some(json(OtlpJson, false))),
            ("{\n  \"resourceSpans\": [\n", Some(json(OtlpJson, false))),
            (
                "{\"resourceSpans\":[]}\n{\"resourceSpans\":[",
                Some(json(OtlpJson, true)),
            ),
            (
                "{\"resourceMetrics\":[]}\n{\"resourceSpans\":[]}\n",
                Some(json(OtlpJson, true)),
            ),
            (
                "aceId\":7}]}]}\n{\"resourceSpans\":[]}\n",
                Some(json(OtlpJson, true)),
            ),
            (
                r#"{"unknown":[1,{"a":2}],"resourceSpans":["#,
                Some(json(OtlpJson, false)),
            ),
            (
                r#"[{"traceId":"a","spanId":"b"}]"#,
                Some(json(SpanList, false)),
            ),
            (
                "[\n{\"traceId\":\"a\",\"spanId\":\"b\"},\n{",
                Some(json(SpanList, false)),
            ),
            (
                "{\"traceId\":\"a\",\"spanId\":\"b\"}\n{\"traceId\":\"a\"",
                Some(json(SpanList, true)),
            ),
            (
                r#"[{"traceId":"a","id":"b","name":"c"}"#,
                Some(json(ZipkinJson, false)),
            ),
            (
                r#"[[{"traceId":"a","id":"b"}]]"#,
                Some(json(ZipkinJson, false)),
            ),
            (
                "[]\n[{\"id\":\"b\",\"traceId\":\"a\"}]\n",
                Some(json(ZipkinJson, true)),
            ),
            (
                r#"{"data":[{"traceID":"a","spans":[{"traceID":"a","#,
                Some(json(JaegerJson, false)),
            ),
            (
                r#"{"data":null,"total":0,"errors":[]}"#,
                Some(json(JaegerJson, false)),
            ),
            (r#"{"data":[]}"#, Some(json(JaegerJson, false))),
            ("", Some(Content::Nothing)),
            (" \r\n [] \n[[]]", Some(Content::Nothing)),
            ("{}\n{}\n", Some(Content::Nothing)),
            (r#"{"data":{"a":1}}"#, None),
            (r#"{"name":"slo-copilot","version":1}"#, None),
            ("[1,2]", None),
            ("time,service\n1,checkout\n", None),
            ("null", None),
            ("[[[[{\"traceId\":\"a\",\"spanId\":\"b\"}]]]]", None),
        ] {
            assert_eq!(detect(text.as_bytes(), true), wanted, "{text}");
        }
        assert_eq!(detect(b"[ ", false), None);
        let deep = "[".repeat(DETECTION_BYTES);
        assert_eq!(detect(deep.as_bytes(), false), None);
    }
}
