//! Takes personal data and secrets out of files: text, JSON, and traces in every format that is read.
//!
//! The file that comes out is of the same format, packed the same way. Lines, and messages of protobuf, are read one after
//! the other, in the memory of one; a JSON document of several lines is read as a whole. JSON keeps its layout. Messages
//! of protobuf lose fields that OTLP does not have.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::otlp;
use crate::pii::{Counts, Scrubber};
use crate::receiver::file::buffer::Buffer;
use crate::receiver::file::detect::DETECTION_BYTES;
use crate::receiver::file::protobuf::{Framing, framing_of};
use crate::receiver::file::source::{self, DiskBytes, Opened, Packing};
use crate::receiver::file::{BYTE_ORDER_MARK, FileError, FileSettings, TraceInput};

/// So far the end of a private key is looked for.
const KEY_BYTES_MAX: usize = 64 << 10;

/// The longest head of a message, and the tag of a record.
const HEAD_BYTES_MAX: usize = 16;

/// What a file was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubbedFormat {
    /// Lines of text; those that are JSON were read as such.
    Text,
    /// One JSON document.
    Json,
    /// A JSON text a line.
    JsonLines,
    /// OTLP in protobuf.
    OtlpProtobuf,
}

impl ScrubbedFormat {
    /// For people and reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "JSON",
            Self::JsonLines => "JSON lines",
            Self::OtlpProtobuf => "OTLP protobuf",
        }
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// What the file is.
    pub format: ScrubbedFormat,
    /// What was found.
    pub counts: Counts,
    /// Lines of JSON lines that are no JSON; they were taken for text, in which keys say less.
    pub lines_not_json: u64,
}

/// Scrubs a file into `out`. `progress` is told the bytes read of it so far.
pub fn scrub_file(
    input: &TraceInput,
    scrubber: &Scrubber,
    settings: &FileSettings,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Scrubbed, FileError> {
    let scrubbed = scrub(input, scrubber, settings, (out, progress));
    scrubbed.map_err(|error| FileError::Scrub {
        name: input.name().to_owned(),
        message: error.to_string(),
    })
}

fn scrub(
    input: &TraceInput,
    scrubber: &Scrubber,
    settings: &FileSettings,
    (out, progress): (&mut dyn Write, &mut dyn FnMut(u64)),
) -> io::Result<Scrubbed> {
    let Opened {
        reader,
        disk_bytes,
        packing,
    } = source::open(input, settings.max_record_bytes)?;
    let mut way = Way {
        buffer: Buffer::new(reader),
        max_record_bytes: settings.max_record_bytes,
        scrubber,
        disk_bytes,
        progress,
        scrubbed: Scrubbed {
            format: ScrubbedFormat::Text,
            counts: Counts::default(),
            lines_not_json: 0,
        },
    };
    match packing {
        Packing::Plain => way.all(out)?,
        Packing::Gzip => {
            let mut packed = GzEncoder::new(out, Compression::default());
            way.all(&mut packed)?;
            packed.finish()?;
        }
        Packing::Zstd => {
            let mut packed = zstd::stream::write::Encoder::new(out, 0)?;
            way.all(&mut packed)?;
            packed.finish()?;
        }
        Packing::FramedZstd => {
            return Err(invalid(
                "its messages are packed one by one, which is not written again; \
                 let the file exporter write without `compression` and pack the file as a whole",
            ));
        }
    }
    Ok(way.scrubbed)
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

/// From a file to what is written of it.
struct Way<'a> {
    buffer: Buffer<Box<dyn Read>>,
    max_record_bytes: usize,
    scrubber: &'a Scrubber,
    disk_bytes: DiskBytes,
    progress: &'a mut dyn FnMut(u64),
    scrubbed: Scrubbed,
}

impl Way<'_> {
    fn all(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let is_whole = !self.buffer.fill_to(DETECTION_BYTES);
        if let Some(framing) = framing_of(self.buffer.unread(), is_whole) {
            self.scrubbed.format = ScrubbedFormat::OtlpProtobuf;
            self.messages(framing, out)?;
        } else {
            if self.buffer.unread().starts_with(BYTE_ORDER_MARK) {
                out.write_all(BYTE_ORDER_MARK)?;
                self.buffer.consume(BYTE_ORDER_MARK.len());
            }
            self.texts(out)?;
        }
        match self.buffer.take_failure() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// The first bytes that are not yet used.
    fn head(&self, length: usize) -> &[u8] {
        self.buffer.unread().get(..length).unwrap_or_default()
    }

    fn used(&mut self, length: usize) {
        self.buffer.consume(length);
        (self.progress)(self.disk_bytes.read());
    }

    fn messages(&mut self, framing: Framing, out: &mut dyn Write) -> io::Result<()> {
        while self.buffer.fill_to(1) {
            let at = self.buffer.place().byte;
            let broken = || invalid(format!("the message at byte {at} cannot be read"));
            // Fewer are left at the end, or none: what is there decides.
            self.buffer.fill_to(HEAD_BYTES_MAX);
            let (head, length) = framing.head(self.buffer.unread()).ok_or_else(broken)?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > self.max_record_bytes {
                let most = self.max_record_bytes;
                let message = format!("the message at byte {at} has more than {most} bytes");
                return Err(invalid(message));
            }
            if !self.buffer.fill_to(head + length) {
                return Err(broken());
            }
            let record = self.buffer.unread().get(head..head + length);
            let decoded = ExportTraceServiceRequest::decode(record.unwrap_or_default());
            let mut request = decoded.map_err(|_| broken())?;
            otlp::scrub::request(&mut request, self.scrubber, &mut self.scrubbed.counts);
            out.write_all(&framing.framed(&request.encode_to_vec())?)?;
            self.used(head + length);
        }
        Ok(())
    }

    /// Bytes up to the end of the line, that included; 0 at the end of the file.
    fn line(&mut self) -> io::Result<usize> {
        let mut looked_at = 0;
        loop {
            let unread = self.buffer.unread();
            let new = unread.get(looked_at..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', new) {
                return Ok(looked_at + end + 1);
            }
            looked_at = unread.len();
            if looked_at > self.max_record_bytes {
                let (line, most) = (self.buffer.place().line, self.max_record_bytes);
                return Err(invalid(format!(
                    "line {line} has more than {most} bytes; write one JSON text a line, for example by `jq -c`"
                )));
            }
            if !self.buffer.fill() {
                return Ok(looked_at);
            }
        }
    }

    fn texts(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let first = self.line()?;
        if begins_json(self.head(first)) {
            if self.is_json(self.head(first)) {
                self.scrubbed.format = ScrubbedFormat::JsonLines;
            } else if self.fill_whole() && self.is_json(self.buffer.unread()) {
                self.scrubbed.format = ScrubbedFormat::Json;
                let length = self.buffer.unread().len();
                return self.record(length, out);
            }
        }
        loop {
            let line = self.line()?;
            if line == 0 {
                return Ok(());
            }
            let record = self.with_private_key(line);
            self.record(record, out)?;
        }
    }

    fn is_json(&self, bytes: &[u8]) -> bool {
        let text = std::str::from_utf8(bytes).ok();
        let scrub = |text| self.scrubber.scrub_json_text(text, &mut Counts::default());
        text.is_some_and(|text| scrub(text).is_ok())
    }

    /// Reads the whole file, if it is not too long for that.
    fn fill_whole(&mut self) -> bool {
        while self.buffer.unread().len() <= self.max_record_bytes {
            if !self.buffer.fill() {
                return true;
            }
        }
        false
    }

    /// A line; where it begins a private key, with the lines up to the end of that.
    fn with_private_key(&mut self, line: usize) -> usize {
        let has = |bytes: &[u8], word: &[u8]| memchr::memmem::find(bytes, word).is_some();
        let own = self.head(line);
        let is_begin = has(own, b"PRIVATE KEY-----") && has(own, b"-----BEGIN ");
        if !is_begin || has(own, b"-----END ") {
            return line;
        }
        let most = KEY_BYTES_MAX.max(line);
        self.buffer.fill_to(most);
        let near = self.buffer.unread();
        let near = near.get(..most).unwrap_or(near);
        let Some(last) = memchr::memmem::find(near, b"-----END ") else {
            return near.len();
        };
        let rest = near.get(last..).unwrap_or_default();
        last + memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1)
    }

    /// A line, or a document. What is no text at all stays.
    fn record(&mut self, length: usize, out: &mut dyn Write) -> io::Result<()> {
        let bytes = self.buffer.unread().get(..length).unwrap_or_default();
        let counts = &mut self.scrubbed.counts;
        let json = begins_json(bytes)
            .then(|| std::str::from_utf8(bytes).ok())
            .flatten()
            .and_then(|text| self.scrubber.scrub_json_text(text, counts).ok());
        if let Some(json) = json {
            out.write_all(json.as_bytes())?;
        } else {
            let should_be = self.scrubbed.format == ScrubbedFormat::JsonLines;
            let is_empty = bytes.trim_ascii().is_empty();
            self.scrubbed.lines_not_json += u64::from(should_be && !is_empty);
            for piece in bytes.utf8_chunks() {
                let scrubbed = self.scrubber.scrub_text(piece.valid(), counts);
                out.write_all(scrubbed.as_bytes())?;
                out.write_all(piece.invalid())?;
            }
        }
        self.used(length);
        Ok(())
    }
}

fn begins_json(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    fn try_scrub(
        content: &[u8],
        settings: &FileSettings,
    ) -> Result<(Vec<u8>, Scrubbed), FileError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        let (mut out, mut read) = (Vec::new(), 0);
        let scrubbed = scrub_file(
            &TraceInput::file(&path),
            &Scrubber::default(),
            settings,
            &mut out,
            &mut |bytes| read = bytes,
        )?;
        assert_eq!(read, content.len() as u64);
        Ok((out, scrubbed))
    }

    fn scrubbed(content: &[u8]) -> (Vec<u8>, Scrubbed) {
        try_scrub(content, &FileSettings::default()).unwrap()
    }

    fn check(content: &str, wanted: &str, format: ScrubbedFormat) {
        let (out, scrubbed) = scrubbed(content.as_bytes());
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        assert_eq!(scrubbed.format, format);
    }

    #[test]
    fn text_and_json_keep_their_layout() {
        use ScrubbedFormat::{Json, JsonLines, Text};
        check("to a@b.example\r\nok", "to [EMAIL]\r\nok", Text);
        check("[info] a@b.example\n", "[info] [EMAIL]\n", Text);
        check(
            "{\"user.email\":\"x\"}\n\n{\"n\":1}\n",
            "{\"user.email\":\"[EMAIL]\"}\n\n{\"n\":1}\n",
            JsonLines,
        );
        check(
            "{\n  \"pwd\": \"x\"\n}\n",
            "{\n  \"pwd\": \"[CREDENTIAL]\"\n}\n",
            Json,
        );
        check(
            "\u{feff}[\"a@b.example\"]",
            "\u{feff}[\"[EMAIL]\"]",
            JsonLines,
        );
    }

    #[test]
    fn a_broken_line_is_taken_for_text_and_counted() {
        let (out, scrubbed) = scrubbed(b"{\"n\":1}\n{\"m\": \"a@b.example\n");
        assert_eq!(out, b"{\"n\":1}\n{\"m\": \"[EMAIL]\n");
        assert_eq!(
            (scrubbed.lines_not_json, scrubbed.counts.of("email")),
            (1, 1)
        );
    }

    #[test]
    fn a_private_key_of_many_lines_goes_as_one() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIE\nabcd\n-----END PRIVATE KEY-----";
        let (text, wanted) = (format!("a\n{key}\nb\n"), "a\n[PRIVATE_KEY]\nb\n");
        check(&text, wanted, ScrubbedFormat::Text);
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let (out, _) = scrubbed(b"\xff a@b.example \xfe\n");
        assert_eq!(out, b"\xff [EMAIL] \xfe\n");
    }

    #[test]
    fn packed_files_are_packed_again() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(b"to a@b.example\n").unwrap();
        let (out, _) = scrubbed(&packed.finish().unwrap());
        let mut text = String::new();
        let mut unpacked = flate2::read::GzDecoder::new(&*out);
        unpacked.read_to_string(&mut text).unwrap();
        assert_eq!(text, "to [EMAIL]\n");
        let (out, _) = scrubbed(&zstd::stream::encode_all(&b"to a@b.example\n"[..], 0).unwrap());
        assert_eq!(zstd::stream::decode_all(&*out).unwrap(), b"to [EMAIL]\n");
    }

    #[test]
    fn messages_keep_their_framing() {
        let bytes = |framing: Framing, name: &str| {
            let span = Span {
                name: name.to_owned(),
                ..Span::default()
            };
            let scope_spans = vec![ScopeSpans {
                spans: vec![span],
                ..ScopeSpans::default()
            }];
            let request = ExportTraceServiceRequest {
                resource_spans: vec![ResourceSpans {
                    scope_spans,
                    ..ResourceSpans::default()
                }],
            };
            framing.framed(&request.encode_to_vec()).unwrap().repeat(3)
        };
        for framing in [Framing::Single, Framing::FourBytes, Framing::Varint] {
            let (out, scrubbed) = scrubbed(&bytes(framing, "a@b.example"));
            assert_eq!(out, bytes(framing, "[EMAIL]"), "{framing:?}");
            assert_eq!(scrubbed.format, ScrubbedFormat::OtlpProtobuf);
            assert_eq!(scrubbed.counts.total(), 3);
        }
        let mut broken = bytes(Framing::Varint, "a@b.example");
        broken.truncate(broken.len() - 3);
        let error = try_scrub(&broken, &FileSettings::default()).unwrap_err();
        assert!(error.to_string().contains("at byte"), "{error}");
    }

    #[test]
    fn a_line_without_end_says_what_helps() {
        let settings = FileSettings {
            max_record_bytes: 1 << 20,
            ..FileSettings::default()
        };
        let error = try_scrub(&vec![b'a'; 4 << 20], &settings).unwrap_err();
        assert!(error.to_string().contains("jq -c"), "{error}");
    }
}
