//! One request as it stands in a file: a header of fixed length with a checksum, then the bytes as they came.

use std::io::{self, ErrorKind, Read};

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::model::UnixNanos;
use crate::otlp::client::Encoding;

/// Length, spans, encoding (4 bytes each), sequence, time, checksum (8 bytes each), all little-endian.
pub(super) const HEADER_BYTES: usize = 36;

/// What the checksum covers of it.
const SUMMED_BYTES: usize = HEADER_BYTES - 8;

/// A request that waits.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::forward) struct Request {
    /// Grows with each request of a queue, also over restarts.
    pub(in crate::forward) sequence: u64,
    /// When it came.
    pub(in crate::forward) at: UnixNanos,
    /// Its spans.
    pub(in crate::forward) spans: u64,
    pub(in crate::forward) encoding: Encoding,
    pub(in crate::forward) body: Bytes,
}

impl Request {
    /// Bytes of its body.
    pub(in crate::forward) fn bytes(&self) -> u64 {
        self.body.len() as u64
    }

    /// The header; none if the body is longer than a file can say.
    pub(super) fn header(&self) -> Option<[u8; HEADER_BYTES]> {
        let mut header = [0; HEADER_BYTES];
        let spans = u32::try_from(self.spans).unwrap_or(u32::MAX);
        let encoding: u32 = match self.encoding {
            Encoding::Protobuf => 0,
            Encoding::Json => 1,
        };
        let len = u32::try_from(self.body.len()).ok()?;
        let words = [len, spans, encoding].map(u32::to_le_bytes);
        let longs = [self.sequence, self.at].map(u64::to_le_bytes);
        let (summed, sum) = header.split_at_mut(SUMMED_BYTES);
        summed.copy_from_slice(&[words.concat(), longs.concat()].concat());
        sum.copy_from_slice(&checksum(summed, &self.body).to_le_bytes());
        Some(header)
    }

    /// Bytes of the request in a file.
    pub(super) fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.bytes()
    }
}

fn checksum(header: &[u8], body: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(header);
    hash.update(body);
    hash.digest()
}

/// What comes next in a file.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Request(Request),
    /// The file ends here.
    End,
    /// What follows is no whole request.
    Torn,
}

/// Reads the next request; `left` is what the file still holds, so that a broken length takes no memory.
pub(super) fn read_next(reader: &mut impl Read, left: u64) -> io::Result<Next> {
    if left == 0 {
        return Ok(Next::End);
    }
    let mut header = [0; HEADER_BYTES];
    if !is_filled(reader, &mut header)? {
        return Ok(Next::Torn);
    }
    let mut rest = &header[..];
    let (len, spans, encoding) = (word(&mut rest), word(&mut rest), word(&mut rest));
    let (sequence, at, sum) = (long(&mut rest), long(&mut rest), long(&mut rest));
    if u64::from(len) + HEADER_BYTES as u64 > left {
        return Ok(Next::Torn);
    }
    let mut body = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    if !is_filled(reader, &mut body)? {
        return Ok(Next::Torn);
    }
    let encoding = match encoding {
        0 => Encoding::Protobuf,
        1 => Encoding::Json,
        _ => return Ok(Next::Torn),
    };
    let summed = header.first_chunk::<SUMMED_BYTES>();
    if summed.is_none_or(|summed| checksum(summed, &body) != sum) {
        return Ok(Next::Torn);
    }
    Ok(Next::Request(Request {
        sequence,
        at,
        spans: spans.into(),
        encoding,
        body: body.into(),
    }))
}

fn is_filled(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(rest: &mut &[u8]) -> u32 {
    let (word, after) = rest.split_first_chunk().unwrap_or((&[0; 4], &[]));
    *rest = after;
    u32::from_le_bytes(*word)
}

fn long(rest: &mut &[u8]) -> u64 {
    let (long, after) = rest.split_first_chunk().unwrap_or((&[0; 8], &[]));
    *rest = after;
    u64::from_le_bytes(*long)
}
