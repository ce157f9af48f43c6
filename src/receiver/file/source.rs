//! The bytes of a trace file: opened, unpacked, and counted as they lie on the disk.
//!
//! What packs them is told by their first bytes. Unpacking runs on a thread of its own, a few chunks ahead.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::receiver::file::buffer::CHUNK_BYTES;
use crate::receiver::file::find::{TraceInput, Where};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The longest beginning that tells what packs a file: a length, then the magic number of zstd.
const MAGIC_BYTES: u64 = 8;

/// Chunks that wait between the thread that unpacks and the one that reads.
const CHUNKS_AHEAD: usize = 4;

/// Bytes of the file on the disk that were read so far.
#[derive(Clone, Debug, Default)]
pub(super) struct DiskBytes(Arc<AtomicU64>);

impl DiskBytes {
    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Not at all.
    Plain,
    Gzip,
    Zstd,
    /// Message by message, see [`FramedZstd`].
    FramedZstd,
}

/// What a file says, how much of it was read, and how it is packed.
pub(super) struct Opened {
    pub(super) reader: Box<dyn Read>,
    pub(super) disk_bytes: DiskBytes,
    pub(super) packing: Packing,
}

/// Opens a file. `max_record_bytes` bounds what is unpacked in one piece.
pub(super) fn open(input: &TraceInput, max_record_bytes: usize) -> io::Result<Opened> {
    let disk_bytes = DiskBytes::default();
    let reader: Box<dyn Read + Send> = match input.place() {
        Where::File(path) => Box::new(File::open(path)?),
        Where::StandardInput => Box::new(io::stdin()),
    };
    let counted = Counted {
        reader,
        disk_bytes: disk_bytes.clone(),
    };
    let (packing, reader) = unpacked(counted, max_record_bytes)?;
    Ok(Opened {
        reader,
        disk_bytes,
        packing,
    })
}

/// The content of what is perhaps packed.
fn unpacked(
    mut reader: impl Read + Send + 'static,
    max_record_bytes: usize,
) -> io::Result<(Packing, Box<dyn Read>)> {
    let mut magic = Vec::new();
    reader.by_ref().take(MAGIC_BYTES).read_to_end(&mut magic)?;
    let is_gzip = magic.starts_with(&GZIP_MAGIC);
    let is_zstd = magic.starts_with(&ZSTD_MAGIC);
    let is_framed_zstd = magic.ends_with(&ZSTD_MAGIC);
    let whole = Cursor::new(magic).chain(reader);
    if is_gzip {
        let packed = BufReader::with_capacity(CHUNK_BYTES, whole);
        let content = read_ahead(flate2::bufread::MultiGzDecoder::new(packed))?;
        Ok((Packing::Gzip, content))
    } else if is_zstd {
        let content = read_ahead(zstd::stream::read::Decoder::new(whole)?)?;
        Ok((Packing::Zstd, content))
    } else if is_framed_zstd {
        let content = read_ahead(FramedZstd {
            reader: BufReader::with_capacity(CHUNK_BYTES, whole),
            message: None,
            max_record_bytes,
        })?;
        Ok((Packing::FramedZstd, content))
    } else {
        Ok((Packing::Plain, Box::new(whole)))
    }
}

/// Counts what is read.
struct Counted<R> {
    reader: R,
    disk_bytes: DiskBytes,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(room)?;
        self.disk_bytes.0.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// What the Collector's file exporter writes with `compression: zstd`: each message packed by itself, its packed length
/// as four bytes, the greatest first, before it.
struct FramedZstd<R> {
    reader: R,
    message: Option<zstd::stream::read::Decoder<'static, Cursor<Vec<u8>>>>,
    max_record_bytes: usize,
}

impl<R: Read> FramedZstd<R> {
    /// Begins the next message, false after the last.
    fn next_message(&mut self) -> io::Result<bool> {
        let mut length = Vec::new();
        self.reader.by_ref().take(4).read_to_end(&mut length)?;
        if length.is_empty() {
            return Ok(false);
        }
        let length: [u8; 4] = length
            .try_into()
            .map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let length = u64::from(u32::from_be_bytes(length));
        if length > self.max_record_bytes as u64 {
            let message = format!(
                "a packed message of {length} bytes is longer than max_record_bytes, {}",
                self.max_record_bytes
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let mut packed = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut packed)?;
        if packed.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let decoder = zstd::stream::read::Decoder::with_buffer(Cursor::new(packed))?;
        self.message = Some(decoder);
        Ok(true)
    }
}

impl<R: Read> Read for FramedZstd<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(message) = &mut self.message {
                match message.read(room)? {
                    0 => self.message = None,
                    count => return Ok(count),
                }
            }
            if !self.next_message()? {
                return Ok(0);
            }
        }
    }
}

/// Reads on a thread of its own. The thread ends with the file, or once nobody takes what it read.
fn read_ahead(mut reader: impl Read + Send + 'static) -> io::Result<Box<dyn Read>> {
    let (sender, chunks) = sync_channel(CHUNKS_AHEAD);
    thread::Builder::new()
        .name("unpack".to_owned())
        .spawn(move || {
            loop {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                let piece = reader.by_ref().take(CHUNK_BYTES as u64);
                let outcome = { piece }.read_to_end(&mut chunk);
                let is_last = chunk.len() < CHUNK_BYTES;
                if sender.send(Ok(chunk)).is_err() {
                    return;
                }
                if let Err(error) = outcome {
                    // Nobody waiting for the error is as good as nobody waiting for a chunk.
                    sender.send(Err(error)).ok();
                    return;
                }
                if is_last {
                    return;
                }
            }
        })?;
    Ok(Box::new(ReadAhead {
        chunks,
        chunk: Cursor::default(),
    }))
}

struct ReadAhead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Cursor<Vec<u8>>,
}

impl Read for ReadAhead {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.chunk.read(room)?;
            if count > 0 || room.is_empty() {
                return Ok(count);
            }
            match self.chunks.recv() {
                Ok(chunk) => self.chunk = Cursor::new(chunk?),
                // The thread has ended.
                Err(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let packed = messages.iter().map(|message| zstd(message));
        let frames = packed.map(|packed| {
            let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
            [&length[..], &packed].concat()
        });
        frames.collect::<Vec<_>>().concat()
    }

    fn content(packed: Vec<u8>) -> (Vec<u8>, Option<String>) {
        let mut content = Vec::new();
        let outcome = unpacked(Cursor::new(packed), 1 << 22)
            .and_then(|(_, mut reader)| reader.read_to_end(&mut content));
        (content, outcome.err().map(|error| error.to_string()))
    }

    #[test]
    fn what_packs_a_file_is_told_by_its_first_bytes() {
        let text = "a text of some length, ".repeat(50_000).into_bytes();
        let (first, second) = text.split_at(700_000);
        for packed in [
            text.clone(),
            gzip(&text),
            [gzip(first), gzip(second)].concat(),
            zstd(&text),
            [zstd(first), zstd(second)].concat(),
            framed(&[first, second]),
            framed(&[first, b"", second]),
        ] {
            let (read, error) = content(packed);
            assert_eq!((read == text, error), (true, None));
        }
        assert_eq!(content(Vec::new()), (Vec::new(), None));
        assert_eq!(content(b"{}".to_vec()), (b"{}".to_vec(), None));
    }

    #[test]
    fn what_is_cut_off_gives_what_was_readable_and_the_reason() {
        // Bytes that cannot be packed, so that half of the file is half of the content.
        let mut state = 1_u64;
        let text: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .take(1_600_000)
        .collect();
        for packed in [gzip(&text), zstd(&text), framed(&[&text, &text])] {
            let half = packed[..packed.len() * 3 / 4].to_vec();
            let (read, error) = content(half);
            assert!(error.is_some());
            assert!(text.repeat(2).starts_with(&read));
            assert!(read.len() > text.len() / 2, "{}", read.len());
        }
    }

    #[test]
    fn a_packed_message_of_any_length_is_not_believed() {
        let lie = [&[0xff; 4][..], &ZSTD_MAGIC].concat();
        let (_, error) = content(lie);
        assert!(error.unwrap().contains("longer than max_record_bytes"));
    }
}
