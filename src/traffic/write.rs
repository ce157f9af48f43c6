//! Export requests into files: OTLP in JSON lines or in protobuf, plain or packed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::traffic::generate::span_count;

/// The usual level of zstd.
const ZSTD_LEVEL: i32 = 3;

/// Buffer before the disk, in bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// How requests stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// A line of OTLP/JSON for each request.
    JsonLines,
    /// Each request in protobuf, its length before it in four bytes, the greatest first, as the Collector's file
    /// exporter writes.
    Protobuf,
}

/// What packs a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Its name does not say what it should hold.
    #[error(
        "{}: the name of a trace file ends with .jsonl, .ndjson or .json, or with .pb or .binpb, and .gz or .zst after it \
         if it is packed", path.display()
    )]
    Suffix {
        /// The file.
        path: PathBuf,
    },
    /// The disk refuses.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Requests.
    pub requests: u64,
    /// Spans.
    pub spans: u64,
}

/// A file that takes requests.
pub struct TraceFile {
    path: PathBuf,
    format: Format,
    out: Out,
    written: Written,
    buffer: Vec<u8>,
}

enum Out {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
    Zstd(Box<zstd::Encoder<'static, BufWriter<File>>>),
}

impl TraceFile {
    /// Makes a file; the end of its name says what it holds: `.jsonl` or `.pb`, and `.gz` or `.zst` after it.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let (format, packing) = meaning_of(path)?;
        let failed = |source| WriteError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::create(path).map_err(failed)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let out = match packing {
            Packing::Plain => Out::Plain(file),
            // The fastest level: generating waits for it, and it packs traces to a tenth all the same.
            Packing::Gzip => Out::Gzip(Box::new(GzEncoder::new(file, Compression::fast()))),
            Packing::Zstd => {
                let encoder = zstd::Encoder::new(file, ZSTD_LEVEL).map_err(failed)?;
                Out::Zstd(Box::new(encoder))
            }
        };
        Ok(Self {
            path: path.to_owned(),
            format,
            out,
            written: Written::default(),
            buffer: Vec::new(),
        })
    }

    /// Adds a request.
    pub fn write(&mut self, request: &ExportTraceServiceRequest) -> Result<(), WriteError> {
        self.encode(request)
            .and_then(|()| self.out.writer().write_all(&self.buffer))
            .map_err(|source| self.failed(source))?;
        self.written.requests += 1;
        self.written.spans += span_count(request) as u64;
        Ok(())
    }

    /// What was written so far.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Ends the file.
    pub fn finish(self) -> Result<Written, WriteError> {
        let finished = match self.out {
            Out::Plain(file) => Ok(file),
            Out::Gzip(file) => file.finish(),
            Out::Zstd(file) => file.finish(),
        };
        let flushed = finished.and_then(|mut file| file.flush());
        flushed.map_err(|source| WriteError::Io {
            path: self.path,
            source,
        })?;
        Ok(self.written)
    }

    fn encode(&mut self, request: &ExportTraceServiceRequest) -> io::Result<()> {
        self.buffer.clear();
        match self.format {
            Format::JsonLines => {
                serde_json::to_writer(&mut self.buffer, request)?;
                self.buffer.push(b'\n');
            }
            Format::Protobuf => {
                let len = u32::try_from(request.encoded_len()).map_err(io::Error::other)?;
                self.buffer.extend_from_slice(&len.to_be_bytes());
                request.encode(&mut self.buffer).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> WriteError {
        WriteError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

impl Out {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(file) => file,
            Self::Gzip(file) => file,
            Self::Zstd(file) => file,
        }
    }
}

fn meaning_of(path: &Path) -> Result<(Format, Packing), WriteError> {
    let wrong = || WriteError::Suffix {
        path: path.to_owned(),
    };
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(wrong)?;
    let (name, packing) = match name.rsplit_once('.') {
        Some((name, "gz")) => (name, Packing::Gzip),
        Some((name, "zst")) => (name, Packing::Zstd),
        Some(_) | None => (name, Packing::Plain),
    };
    let format = match name.rsplit_once('.').map(|(_, suffix)| suffix) {
        Some("jsonl" | "ndjson" | "json") => Format::JsonLines,
        Some("pb" | "binpb") => Format::Protobuf,
        Some(_) | None => return Err(wrong()),
    };
    Ok((format, packing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::generate::{Faults, export_requests};
    use crate::traffic::shop;

    fn bytes_of(name: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut file = TraceFile::create(&path).unwrap();
        let mut shop = shop::generator(5);
        let period = 1_700_000_000_000_000_000..1_700_000_060_000_000_000;
        let traces: Vec<_> = shop.traffic(period, 60.0, &Faults::none()).collect();
        for request in export_requests(traces, 100) {
            file.write(&request).unwrap();
        }
        let written = file.finish().unwrap();
        assert!(written.spans > 300 && written.requests > 3, "{written:?}");
        std::fs::read(path).unwrap()
    }

    #[test]
    fn the_same_seed_writes_the_same_bytes_and_the_end_of_the_name_says_what_they_are() {
        for (name, begins) in [
            ("t.jsonl", &b"{\"resourceSpans\":"[..]),
            ("t.pb", &[0, 0]),
            ("t.jsonl.gz", &[0x1f, 0x8b]),
            ("t.pb.zst", &[0x28, 0xb5, 0x2f, 0xfd]),
        ] {
            let bytes = bytes_of(name);
            assert!(bytes.starts_with(begins), "{name}");
            assert_eq!(bytes, bytes_of(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_says_nothing_is_refused_with_those_that_do() {
        for name in ["traces", "traces.gz", "traces.txt"] {
            let error = TraceFile::create(Path::new(name))
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(name) && error.contains(".jsonl"), "{error}");
        }
    }
}
