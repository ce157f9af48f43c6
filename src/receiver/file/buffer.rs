//! What was read of a file and is not yet used, and where in the file that is.

use std::io::{self, Read};

/// Bytes asked for at once.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// A place in what a file says, after decompression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes before it.
    pub byte: u64,
    /// Line, from 1.
    pub line: u64,
}

/// A piece of a reader. It holds no more than the longest record and a chunk.
#[derive(Debug)]
pub(super) struct Buffer<R> {
    reader: R,
    bytes: Vec<u8>,
    /// The part of `bytes` that is not yet used.
    start: usize,
    end: usize,
    place: Place,
    ended: bool,
    failure: Option<io::Error>,
}

impl<R: Read> Buffer<R> {
    /// Nothing is read until the first [`Self::fill`].
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            bytes: Vec::new(),
            start: 0,
            end: 0,
            place: Place { byte: 0, line: 1 },
            ended: false,
            failure: None,
        }
    }

    /// What was read and is not yet used.
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Where [`Self::unread`] begins.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Memory held.
    #[cfg(test)]
    pub(super) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether reading ended before the file did.
    pub(super) fn is_cut_off(&self) -> bool {
        self.failure.is_some()
    }

    /// Why reading ended before the file did.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// The first `count` bytes are used.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        let used = self.unread().get(..count).unwrap_or_default();
        let lines = memchr::memchr_iter(b'\n', used).count();
        self.place.line += lines as u64;
        self.place.byte += count as u64;
        self.start += count;
    }

    /// Reads more; false at the end, or where reading failed.
    pub(super) fn fill(&mut self) -> bool {
        self.make_room();
        while !self.ended {
            let room = self.bytes.get_mut(self.end..).unwrap_or_default();
            match self.reader.read(room) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.end += count;
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure = Some(error);
                    self.ended = true;
                }
            }
        }
        false
    }

    /// Reads until `count` bytes are there; false if the file has fewer.
    pub(super) fn fill_to(&mut self, count: usize) -> bool {
        while self.end - self.start < count {
            if !self.fill() {
                return false;
            }
        }
        true
    }

    fn make_room(&mut self) {
        if self.bytes.len() - self.end >= CHUNK_BYTES / 2 {
            return;
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.bytes.len() - self.end < CHUNK_BYTES / 2 {
            // Doubling, so that a long record is copied a few times only.
            self.bytes.resize((2 * self.end).max(CHUNK_BYTES), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_consumed_is_counted_in_bytes_and_lines() {
        let mut buffer = Buffer::new(&b"one\ntwo\nthree"[..]);
        assert!(buffer.fill());
        buffer.consume(5);
        assert_eq!(buffer.unread(), b"wo\nthree");
        assert_eq!(buffer.place(), Place { byte: 5, line: 2 });
        buffer.consume(100);
        assert_eq!(buffer.place(), Place { byte: 13, line: 3 });
        assert!(!buffer.fill());
    }

    #[test]
    fn used_bytes_make_room_for_new_ones() {
        let text = vec![b'x'; 40 * CHUNK_BYTES];
        let mut buffer = Buffer::new(&text[..]);
        let mut read = 0;
        while buffer.fill_to(1_000) {
            let count = buffer.unread().len();
            read += count - 10;
            buffer.consume(count - 10);
        }
        assert_eq!(read + buffer.unread().len(), text.len());
        assert_eq!(buffer.bytes.len(), CHUNK_BYTES);
    }

    #[test]
    fn a_failing_reader_ends_and_says_why() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut buffer = Buffer::new(b"ab".chain(Failing));
        assert!(buffer.fill());
        assert!(!buffer.fill());
        assert_eq!(buffer.unread(), b"ab");
        assert_eq!(buffer.take_failure().unwrap().to_string(), "broken");
    }
}
