//! What cannot be read is counted and named, the rest goes on, and memory stays bounded.

use std::io::Read;

use proptest::sample::Index;
use prost::Message;

use super::*;
use crate::model::finding::Location;
use crate::receiver::file::buffer::CHUNK_BYTES;
use crate::receiver::file::otlp_json::WHOLE_BYTES_MAX;
use crate::receiver::file::source::DiskBytes;
use crate::receiver::file::tests::render::gzip;

fn line() -> String {
    otlp_line(&[server_span("work")])
}

fn small() -> FileSettings {
    FileSettings {
        max_record_bytes: 400,
        max_findings: 2,
    }
}

/// Rule, line and message of each finding.
fn findings(summary: &FileSummary) -> Vec<(&str, Option<u32>, &str)> {
    let findings = summary.findings.iter();
    findings
        .map(|finding| {
            let location = finding.location.as_ref().unwrap();
            assert!(location.file.ends_with("traces"));
            (
                finding.rule.as_str(),
                location.line,
                finding.message.as_str(),
            )
        })
        .collect()
}

#[test]
fn a_broken_line_is_named_and_the_others_count() {
    let good = line();
    let (half, _) = good.split_at(good.len() / 2);
    let text = format!("{good}\n{half}\n\nno json\n{good} {good}\n{good}\n{half}");
    let (summary, seen) = read(&text);
    // The first text of the line with two stands before the fault.
    assert_eq!((summary.spans, seen.events.len()), (3, 3));
    assert_eq!(summary.unreadable_records, 4);
    let found = findings(&summary);
    let lines: Vec<_> = found.iter().map(|finding| (finding.0, finding.1)).collect();
    let rule = "trace-file-unreadable";
    assert_eq!(
        lines,
        [
            (rule, Some(2)),
            (rule, Some(4)),
            (rule, Some(5)),
            (rule, Some(7))
        ]
    );
    let at = format!("the line at byte {} cannot be read: ", good.len() + 1);
    assert!(found[0].2.starts_with(&at), "{found:?}");
    assert!(found[0].2.contains("EOF while parsing"), "{found:?}");
    assert!(found[1].2.contains("expected ident"), "{found:?}");
}

/// Nothing but brackets is missing at the end of the second line, and a document would go on in the third.
#[test]
fn lines_are_known_to_be_lines_however_long_they_are() {
    let good = otlp_line(&vec![server_span("work"); 1_000]);
    assert!(good.len() > 2 * DETECTION_BYTES);
    let (open, _) = good.split_at(good.len() - 4);
    let (summary, _) = read(format!("{good}\n{open}\n{good}\n{good}\n"));
    assert_eq!((summary.spans, summary.unreadable_records), (4_000, 1));
    assert_eq!(findings(&summary)[0].1, Some(2));
}

#[test]
fn a_first_line_that_is_cut_off_does_not_hide_the_format() {
    let good = line();
    for cut in [5, good.len() / 2, good.len() - 3] {
        let (summary, _) = read(format!("{}\n{good}\n{good}\n", good.split_at(cut).1));
        assert_eq!((summary.spans, summary.unreadable_records), (2, 1), "{cut}");
    }
}

#[test]
fn a_broken_element_of_a_document_is_named_and_the_others_count() {
    let mut broken = server_span("work");
    broken["name"] = json!(5);
    let mut timeless = server_span("work");
    timeless["endTimeUnixNano"] = json!("NaN");
    let list = json!([server_span("a"), broken, 7, timeless, server_span("b")]);
    let (summary, seen) = read(format!("{list:#}").replace("7,\n", "{\"name\": {}},\n"));
    assert_eq!(seen.operations(), ["a", "b"]);
    let found = findings(&summary);
    assert_eq!(summary.unreadable_records, 3);
    assert!(
        found[0].2.contains("the span at byte") && found[0].2.contains("invalid type: integer `5`"),
        "{found:?}"
    );
    assert!(
        found[2].2.contains("`endTimeUnixNano` is no time"),
        "{found:?}"
    );
    let lines: Vec<_> = found.iter().map(|finding| finding.1).collect();
    // The line of the member, then of the object, as serde counts, then of the record.
    assert_eq!(lines, [Some(13), Some(18), Some(19)], "{list:#}");
}

#[test]
fn after_a_broken_document_the_next_one_is_read() {
    let good = format!("{:#}", json!([server_span("work")]));
    let text = format!("[{{\"traceId\": \"a\", \"spanId\": \"b\" ]\n{good}\n{good}\n");
    let (summary, _) = read(text);
    assert_eq!(
        (summary.spans, summary.unreadable_records),
        (2, 1),
        "{summary:?}"
    );
}

#[test]
fn a_document_that_ends_early_gives_its_whole_elements() {
    let spans = vec![server_span("work"); 3];
    for text in [json!(spans).to_string(), otlp_line(&spans)] {
        let (summary, _) = read(text.split_at(text.len() - 10).0);
        let whole = if text.starts_with('[') { 2 } else { 0 };
        assert_eq!(
            (summary.spans, summary.unreadable_records),
            (whole, 1),
            "{text}"
        );
        assert!(
            summary.findings[0].message.contains("but it ends here"),
            "{summary:?}"
        );
    }
}

#[test]
fn a_file_is_cut_off_where_the_last_that_it_holds_lacks_its_end() {
    let good = line();
    let (half, rest) = good.split_at(good.len() / 2);
    let message = render::message().encode_length_delimited_to_vec();
    let list = json!([server_span("work"), server_span("work")]).to_string();
    let cut_off: [Vec<u8>; 3] = [
        format!("{good}\n{good}\n{half}").into(),
        list.as_bytes()[..list.len() - 20].to_vec(),
        [&message[..], &message[..message.len() - 5]].concat(),
    ];
    for bytes in cut_off {
        let (summary, _) = read(&bytes);
        assert!(summary.spans > 0 && summary.is_truncated, "{summary:?}");
        assert_eq!(summary.unreadable_records, 1, "{summary:?}");
    }
    let not_cut_off = [
        format!("{good}\n{good}"),
        // Broken in the middle, or in another way.
        format!("{good}\n{half}\n{good}\n"),
        format!("{rest}\n{good}\n"),
        format!("{good}\nno json"),
    ];
    for text in not_cut_off {
        assert!(!read(&text).0.is_truncated, "{text}");
    }
}

#[test]
fn a_packed_file_that_is_cut_off_gives_what_was_readable_and_one_finding() {
    let text = format!("{}\n", line()).repeat(2_000);
    let whole = gzip(text.as_bytes());
    for bytes in [
        &whole[..whole.len() / 2],
        &[&whole[..], b"\x1f\x8b\x08 and then nonsense"].concat(),
    ] {
        let (summary, _) = read(bytes);
        assert!(summary.spans > 100 && summary.spans <= 2_000);
        let found = findings(&summary);
        assert_eq!(
            (found.len(), summary.unreadable_records),
            (1, 1),
            "{found:?}"
        );
        assert_eq!(found[0].0, "trace-file-truncated");
    }
    let (refused, _) = try_read_with(&whole[..12], &FileSettings::default());
    assert!(matches!(refused, Err(FileError::Open { .. })));
}

#[test]
fn findings_are_kept_up_to_a_limit_and_counted_beyond() {
    let text = format!("{}\n{}", line(), "{broken\n".repeat(50));
    let (summary, _) = read_with(text.as_bytes(), &small());
    assert_eq!(
        (summary.unreadable_records, summary.findings.len()),
        (50, 2)
    );
}

#[test]
fn a_record_that_is_too_long_is_passed_over() {
    let good = line();
    let long = otlp_line(&vec![server_span("work"); 10]);
    let (summary, _) = read_with(format!("{good}\n{long}\n{good}\n").as_bytes(), &small());
    assert_eq!((summary.spans, summary.unreadable_records), (2, 1));
    let wanted = "longer than max_record_bytes, 400 bytes";
    assert!(summary.findings[0].message.ends_with(wanted), "{summary:?}");

    let mut long = server_span("work");
    long["unread"] = json!("x".repeat(500));
    let list = json!([server_span("work"), long, server_span("work")]);
    let (summary, _) = read_with(list.to_string().as_bytes(), &small());
    assert_eq!((summary.spans, summary.unreadable_records), (2, 1));
}

#[test]
fn an_element_of_a_document_that_is_too_long_is_read_in_parts() {
    let resource =
        json!({"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]});
    let mut long = server_span("long");
    long["unread"] = json!("x".repeat(500));
    let mut spans = vec![server_span("work"); 10];
    spans.push(long);
    let scopes = json!([{"scope": {}, "spans": spans}, {"spans": [server_span("last")]}]);
    let document = |members: &str| format!(r#"{{"a": 1, "resourceSpans": [{{{members}}}]}}"#);
    let text = document(&format!(
        r#""resource": {resource}, "scopeSpans": {scopes}"#
    ));
    let (summary, seen) = read_with(text.as_bytes(), &small());
    assert_eq!((summary.spans, summary.unreadable_records), (11, 1));
    assert_eq!(seen.services(), ["checkout"; 11]);

    let turned = document(&format!(
        r#""scopeSpans": {scopes}, "resource": {resource}"#
    ));
    let (summary, seen) = read_with(turned.as_bytes(), &small());
    assert_eq!(seen.services(), ["unknown_service"; 11]);
    assert!(
        findings(&summary)[1].2.contains("stands after its spans"),
        "{summary:?}"
    );
}

#[test]
fn broken_messages_are_named_by_their_place() {
    let message = render::message();
    let framed = |message: &[u8]| {
        let len = u32::try_from(message.len()).unwrap();
        [&len.to_be_bytes()[..], message].concat()
    };
    let mut broken = message.encode_to_vec();
    broken[1] ^= 1;
    let good = framed(&message.encode_to_vec());
    let bytes = [&good[..], &framed(&broken), &good, &good[..good.len() - 1]].concat();
    let (summary, _) = read(&bytes);
    assert_eq!((summary.spans, summary.unreadable_records), (2, 2));
    let place = &summary.findings[0];
    let wanted = format!("the message at byte {} cannot be read: ", good.len());
    assert!(place.message.starts_with(&wanted), "{place:?}");
    assert!(matches!(place.location, Some(Location { line: None, .. })));

    let settings = FileSettings {
        max_record_bytes: 20,
        ..FileSettings::default()
    };
    let (summary, _) = read_with(&[&good[..], &good].concat(), &settings);
    assert_eq!((summary.spans, summary.unreadable_records), (0, 2));

    let delimited = message.encode_length_delimited_to_vec();
    let (summary, _) = read([&delimited[..], &[0xff; 12]].concat());
    assert_eq!(
        (summary.spans, summary.unreadable_records),
        (1, 1),
        "{summary:?}"
    );
}

/// Says something, then so many times something else.
struct Repeating {
    text: Vec<u8>,
    then: Vec<u8>,
    at: usize,
    left: usize,
}

impl Read for Repeating {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.at == self.text.len() && self.left > 0 {
            self.left -= 1;
            self.at = 0;
            self.text.clone_from(&self.then);
        }
        let count = (&self.text[self.at..]).read(room)?;
        self.at += count;
        Ok(count)
    }
}

/// One JSON text of 4 MiB, whatever its shape, in the memory of a few chunks, however long a record may be.
#[test]
fn a_document_without_end_is_read_in_constant_memory() {
    let span = server_span("work").to_string();
    let nested = r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"spans":["#;
    let zipkin = r#"{"traceId":"a","id":"b","timestamp":1710000000000000,"duration":5}"#;
    for (format, beginning, middle, end) in [
        (
            TraceFormat::SpanList,
            format!("[{span}"),
            format!(",{span}"),
            "]",
        ),
        (
            TraceFormat::OtlpJson,
            format!("{nested}{span}"),
            format!(",{span}"),
            "]}]}]}",
        ),
        (
            TraceFormat::OtlpJson,
            format!("{nested}{span}"),
            format!("]}}]}},{{\"scopeSpans\":[{{\"spans\":[{span}"),
            "]}]}]}",
        ),
        (
            TraceFormat::ZipkinJson,
            format!("[[{zipkin}"),
            format!(",{zipkin}"),
            "]]",
        ),
    ] {
        let repeated = (4 << 20) / middle.len();
        for max_record_bytes in [1_000, 64 << 20] {
            let reader = Repeating {
                text: beginning.clone().into_bytes(),
                then: middle.clone().into_bytes(),
                at: 0,
                left: repeated,
            };
            let reader = reader.chain(end.as_bytes());
            let (summary, buffer_bytes, batch_bytes) =
                read_document(reader, format, max_record_bytes);
            assert_eq!(summary.spans, repeated as u64 + 1);
            assert_eq!(summary.unreadable_records, 0);
            let most = 2 * max_record_bytes.clamp(CHUNK_BYTES, WHOLE_BYTES_MAX);
            assert!(buffer_bytes <= most, "{buffer_bytes}");
            assert!(batch_bytes < 2 << 20, "{batch_bytes}");
        }
    }
}

/// Reads a document, and tells how large the buffer and the largest batch became.
fn read_document(
    reader: impl Read,
    format: TraceFormat,
    max_record_bytes: usize,
) -> (FileSummary, usize, usize) {
    let settings = FileSettings {
        max_record_bytes,
        ..FileSettings::default()
    };
    let rules = EventRules::new(&SliConfig::default());
    let mut largest = LargestBatch(0);
    let disk_bytes = DiskBytes::default();
    let mut collector = Collector::new(&mut largest, &rules, &settings, "traces", disk_bytes);
    let buffer = Buffer::new(reader);
    let buffer = documents::read(buffer, format, false, &settings, &mut collector);
    (collector.finish(), buffer.capacity_bytes(), largest.0)
}

/// The largest batch in bytes.
struct LargestBatch(usize);

impl FileSink for LargestBatch {
    fn batch(&mut self, batch: &mut EventBatch) {
        self.0 = self.0.max(batch.capacity_bytes());
    }
}

proptest! {
    #[test]
    fn property_no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        try_read_with(&bytes, &small()).0.ok();
    }

    #[test]
    fn property_no_text_panics(text in r#"[\[\]{}":,0-9a-z\\\n ]{0,200}"#) {
        for beginning in ["", "{\"resourceSpans\":", "[{\"traceId\":1,\"spanId\":", "{\"data\":[{\"traceID\":1,\"spans\":"] {
            try_read_with(format!("{beginning}{text}").as_bytes(), &small()).0.ok();
        }
    }

    /// Whatever happens to a file, it is read to its end, and no span is counted that is not there.
    #[test]
    fn property_damage_never_adds_spans(
        spans in prop::collection::vec(plain_span(), 2..6),
        which: Index,
        packing: Index,
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let rendered = render(&spans);
        let (_, _, bytes) = which.get(&rendered);
        let packed = packed(bytes);
        let (_, mut bytes) = packing.get(&packed).clone();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let (Ok(summary), seen) = try_read_with(&bytes, &FileSettings::default()) {
            prop_assert!(summary.spans <= spans.len() as u64);
            prop_assert_eq!(summary.spans, seen.names.len() as u64);
        }
    }
}
