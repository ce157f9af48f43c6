//! Walking through JSON of any size, holding one value of it at a time.
//!
//! The cursor looks at brackets and quotes only, to find where a value ends; whether the value makes sense is left to the
//! reader that gets it.

use std::io::Read;

use crate::receiver::file::buffer::{Buffer, Place};

/// Why a walk cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Something else was expected.
    #[error("expected {expected}, found {found}")]
    Syntax {
        expected: &'static str,
        found: String,
    },
    /// The file, or the line, ends.
    #[error("expected {expected}, but it ends here")]
    Ended { expected: &'static str },
    /// A value is longer than a record may be.
    #[error("longer than max_record_bytes, {max_record_bytes} bytes")]
    TooLarge { max_record_bytes: usize },
    /// The value has the right brackets and quotes, and is not what it should be all the same.
    #[error("{0}")]
    Unreadable(String),
}

/// A place in a JSON text that is read as it goes.
#[derive(Debug)]
pub(super) struct Cursor<R> {
    buffer: Buffer<R>,
    /// Unread bytes of the line, where a line is a text of its own.
    line: Option<usize>,
    max_record_bytes: usize,
}

impl<R: Read> Cursor<R> {
    /// At the beginning of a buffer.
    pub(super) fn new(buffer: Buffer<R>, max_record_bytes: usize) -> Self {
        Self {
            buffer,
            line: None,
            max_record_bytes,
        }
    }

    /// Where the cursor is.
    pub(super) fn place(&self) -> Place {
        self.buffer.place()
    }

    /// What was read behind the cursor.
    pub(super) fn into_buffer(self) -> Buffer<R> {
        self.buffer
    }

    /// The bytes from here on that were read already, at most to the end of the line.
    pub(super) fn unread(&self) -> &[u8] {
        let unread = self.buffer.unread();
        let line = self.line.unwrap_or(unread.len());
        unread.get(..line).unwrap_or(unread)
    }

    /// Passes over bytes that were read already.
    pub(super) fn consume(&mut self, count: usize) {
        self.buffer.consume(count);
        if let Some(line) = &mut self.line {
            *line = line.saturating_sub(count);
        }
    }

    fn fill(&mut self) -> bool {
        self.line.is_none() && self.buffer.fill()
    }

    /// The next byte that is no white space, which stays; `None` at the end.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            let unread = self.unread();
            let blank = unread.iter().take_while(|byte| is_blank(**byte)).count();
            let next = unread.get(blank).copied();
            self.consume(blank);
            if next.is_some() || !self.fill() {
                return next;
            }
        }
    }

    /// Passes over `wanted` if it comes next.
    pub(super) fn accept(&mut self, wanted: u8) -> bool {
        let is_next = self.peek() == Some(wanted);
        if is_next {
            self.consume(1);
        }
        is_next
    }

    /// The fault of finding what comes next.
    pub(super) fn unexpected(&mut self, expected: &'static str) -> Fault {
        while self.unread().len() < SHOWN_BYTES && self.fill() {}
        match self.peek() {
            Some(_) => Fault::Syntax {
                expected,
                found: beginning(self.unread()),
            },
            None => Fault::Ended { expected },
        }
    }

    /// From here to the line's end is a text of its own, until [`Self::leave_line`]. A line that is too long is passed
    /// over.
    pub(super) fn enter_line(&mut self) -> Result<(), Fault> {
        let mut searched = 0;
        loop {
            let unread = self.buffer.unread();
            let rest = unread.get(searched..).unwrap_or_default();
            let end = memchr::memchr(b'\n', rest).map(|at| searched + at);
            searched = unread.len();
            if end.unwrap_or(searched) > self.max_record_bytes {
                return Err(self.too_large());
            }
            if end.is_some() || !self.buffer.fill() {
                self.line = Some(end.unwrap_or(searched));
                return Ok(());
            }
        }
    }

    /// Whether the line is the last one, and breaks off where the file does.
    pub(super) fn is_cut_line(&self) -> bool {
        self.buffer.is_cut_off() && self.is_open_line()
    }

    /// Whether the line is the last one, and no line feed ends it.
    pub(super) fn is_open_line(&self) -> bool {
        self.line == Some(self.buffer.unread().len())
    }

    /// Goes to the beginning of the next line.
    pub(super) fn leave_line(&mut self) {
        self.line = None;
        loop {
            let unread = self.buffer.unread();
            match memchr::memchr(b'\n', unread) {
                Some(end) => return self.consume(end + 1),
                None => self.consume(unread.len()),
            }
            if !self.fill() {
                return;
            }
        }
    }

    /// Goes to the next line that begins an object or a list, which may be a document that can be read again.
    pub(super) fn leave_document(&mut self) {
        loop {
            self.leave_line();
            let is_read = !self.unread().is_empty() || self.fill();
            if !is_read || matches!(self.unread().first(), Some(b'{' | b'[')) {
                return;
            }
        }
    }

    /// Whether reading ended before the file did.
    pub(super) fn is_cut_off(&self) -> bool {
        self.buffer.is_cut_off()
    }

    /// The length of the value that comes next, all of which is in [`Self::unread`] then.
    pub(super) fn value_len(&mut self) -> Result<usize, Fault> {
        self.value_len_within(self.max_record_bytes)
    }

    /// The length of the value that comes next if it is no more than `limit_bytes`.
    pub(super) fn value_len_within(&mut self, limit_bytes: usize) -> Result<usize, Fault> {
        let limit_bytes = limit_bytes.min(self.max_record_bytes);
        let len = self.walk_value(|cursor, scanned| {
            if scanned > limit_bytes {
                return Err(cursor.too_large());
            }
            Ok(false)
        })?;
        if len > limit_bytes {
            return Err(self.too_large());
        }
        Ok(len)
    }

    /// Passes over the value that comes next, however long it is.
    pub(super) fn skip_value(&mut self) -> Result<(), Fault> {
        let rest = self.walk_value(|cursor, scanned| {
            cursor.consume(scanned);
            Ok(true)
        })?;
        self.consume(rest);
        Ok(())
    }

    /// Finds the end of the value that comes next. Before more is read, `make_room` sees how much of it was walked
    /// through, and says whether it consumed that.
    fn walk_value(
        &mut self,
        mut make_room: impl FnMut(&mut Self, usize) -> Result<bool, Fault>,
    ) -> Result<usize, Fault> {
        if self.peek().is_none() {
            return Err(Fault::Ended {
                expected: "a JSON value",
            });
        }
        let mut extent = Extent::default();
        loop {
            let scan = extent.scan(self.unread());
            match scan {
                Scan::Complete => return Ok(extent.scanned),
                Scan::Broken(expected) => {
                    self.consume(extent.scanned);
                    return Err(self.unexpected(expected));
                }
                Scan::Incomplete => {}
            }
            if make_room(self, extent.scanned)? {
                extent.scanned = 0;
            }
            if !self.fill() {
                return match extent.inside {
                    Inside::Scalar => Ok(extent.scanned),
                    Inside::Structure | Inside::String => Err(Fault::Ended {
                        expected: "the rest of a JSON value",
                    }),
                };
            }
        }
    }

    fn too_large(&self) -> Fault {
        Fault::TooLarge {
            max_record_bytes: self.max_record_bytes,
        }
    }

    /// Calls `take` before each element of the list that comes next; `null` is an empty list.
    pub(super) fn for_each_element(
        &mut self,
        mut take: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.peek() == Some(b'n') {
            return self.skip_value();
        }
        if !self.accept(b'[') {
            return Err(self.unexpected("a list"));
        }
        if self.accept(b']') {
            return Ok(());
        }
        loop {
            take(self)?;
            if self.accept(b']') {
                return Ok(());
            }
            if !self.accept(b',') {
                return Err(self.unexpected("`,` or `]` after an element of a list"));
            }
        }
    }

    /// Calls `take` before the value of each member of the object that comes next, with the member's name.
    pub(super) fn for_each_member(
        &mut self,
        mut take: impl FnMut(&mut Self, &str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if !self.accept(b'{') {
            return Err(self.unexpected("an object"));
        }
        if self.accept(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("the name of a member of an object"));
            }
            let len = self.value_len()?;
            let quoted = self.unread().get(..len).unwrap_or_default();
            let name: String = serde_json::from_slice(quoted)
                .map_err(|error| Fault::Unreadable(error.to_string()))?;
            self.consume(len);
            if !self.accept(b':') {
                return Err(self.unexpected("`:` after the name of a member"));
            }
            take(self, &name)?;
            if self.accept(b'}') {
                return Ok(());
            }
            if !self.accept(b',') {
                return Err(self.unexpected("`,` or `}` after a member of an object"));
            }
        }
    }
}

/// So much is shown of what was found.
const SHOWN_BYTES: usize = 24;

/// The first characters of some bytes, to be shown in a message.
pub(super) fn beginning(bytes: &[u8]) -> String {
    let shown = bytes.get(..SHOWN_BYTES).unwrap_or(bytes);
    let more = if shown.len() < bytes.len() { "…" } else { "" };
    format!("`{}{more}`", shown.escape_ascii())
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Structure,
    String,
    Scalar,
}

/// Finds where a JSON value ends, over as many pieces as it takes.
#[derive(Debug, Default)]
pub(super) struct Extent {
    /// Bytes walked through.
    pub scanned: usize,
    /// The brackets that are to come.
    closing: Vec<u8>,
    inside: Inside,
}

/// Lists and objects in each other that are walked through.
const DEPTH_MAX: usize = 512;

/// What a piece of a value told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The value ends after [`Extent::scanned`] bytes.
    Complete,
    /// More is to come.
    Incomplete,
    /// At [`Extent::scanned`] stands something else than this.
    Broken(&'static str),
}

impl Extent {
    /// Goes on in `bytes`, which begin where the value does, or after what was walked through if [`Self::scanned`] was
    /// set back to 0.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scan {
        loop {
            let rest = bytes.get(self.scanned..).unwrap_or_default();
            let scan = match self.inside {
                Inside::Structure => self.structure(rest),
                Inside::String => self.string(rest),
                Inside::Scalar => Some(self.scalar(rest)),
            };
            if let Some(scan) = scan {
                return scan;
            }
        }
    }

    fn structure(&mut self, rest: &[u8]) -> Option<Scan> {
        for (position, byte) in rest.iter().enumerate() {
            let broken = match byte {
                b'"' => {
                    self.scanned += position + 1;
                    self.inside = Inside::String;
                    return None;
                }
                b'{' | b'[' if self.closing.len() < DEPTH_MAX => {
                    // Both stand two places before the bracket that closes them.
                    self.closing.push(byte + 2);
                    None
                }
                b'{' | b'[' => Some("no more than 512 lists and objects in each other"),
                b'}' | b']' if self.closing.last() == Some(byte) => {
                    self.closing.pop();
                    if self.closing.is_empty() {
                        self.scanned += position + 1;
                        return Some(Scan::Complete);
                    }
                    None
                }
                b'}' if !self.closing.is_empty() => Some("`]`, the end of a list"),
                b']' if !self.closing.is_empty() => Some("`}`, the end of an object"),
                _ if !self.closing.is_empty() => None,
                b'}' | b']' | b',' | b':' => Some("a JSON value"),
                _ if is_blank(*byte) => None,
                _ => {
                    self.scanned += position;
                    self.inside = Inside::Scalar;
                    return None;
                }
            };
            if let Some(expected) = broken {
                self.scanned += position;
                return Some(Scan::Broken(expected));
            }
        }
        self.scanned += rest.len();
        Some(Scan::Incomplete)
    }

    fn string(&mut self, rest: &[u8]) -> Option<Scan> {
        let Some(at) = memchr::memchr3(b'"', b'\\', b'\n', rest) else {
            self.scanned += rest.len();
            return Some(Scan::Incomplete);
        };
        self.scanned += at;
        match rest.get(at) {
            // The escaped character may come with the next piece.
            Some(b'\\') if at + 1 == rest.len() => return Some(Scan::Incomplete),
            Some(b'\\') => self.scanned += 2,
            Some(b'"') => {
                self.scanned += 1;
                self.inside = Inside::Structure;
                return self.closing.is_empty().then_some(Scan::Complete);
            }
            _ => {
                return Some(Scan::Broken(
                    "the end of a string before the end of the line",
                ));
            }
        }
        None
    }

    fn scalar(&mut self, rest: &[u8]) -> Scan {
        let ends = |byte: &u8| is_blank(*byte) || matches!(byte, b',' | b'}' | b']');
        let end = rest.iter().position(ends);
        self.scanned += end.unwrap_or(rest.len());
        end.map_or(Scan::Incomplete, |_| Scan::Complete)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Gives one byte at a time, so that every place is the edge of a piece.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.len().min(1);
            let (now, later) = self.0.split_at(count);
            room[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    fn cursor(text: &str) -> Cursor<Dripping<'_>> {
        Cursor::new(Buffer::new(Dripping(text.as_bytes())), 1 << 20)
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[\\[\\]{}\",:\\\\ \na-zé]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..5).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn property_the_elements_of_a_list_are_found_one_by_one(
            elements in prop::collection::vec(json(), 0..5),
            pretty: bool,
        ) {
            let list = Value::from(elements.clone());
            let text = if pretty { format!("{list:#}") } else { list.to_string() };
            let mut cursor = cursor(&text);
            let mut found = Vec::new();
            cursor.for_each_element(|cursor| {
                let len = cursor.value_len()?;
                found.push(serde_json::from_slice::<Value>(&cursor.unread()[..len]).unwrap());
                cursor.consume(len);
                Ok(())
            }).unwrap();
            prop_assert_eq!(found, elements);
            prop_assert_eq!(cursor.peek(), None);
        }

        #[test]
        fn property_a_skipped_value_ends_where_a_read_one_does(value in json(), after in "[,\\]} ]x{0,3}") {
            let text = format!("{value}{after}");
            let mut cursor = cursor(&text);
            cursor.skip_value().unwrap();
            prop_assert_eq!(cursor.place().byte, (text.len() - after.len()) as u64);
        }

        #[test]
        fn property_no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut cursor = Cursor::new(Buffer::new(&bytes[..]), 20);
            let walked = cursor.for_each_member(|cursor, _| cursor.skip_value());
            let has_object = bytes.contains(&b'{');
            prop_assert!(walked.is_err() || has_object);
        }
    }

    #[test]
    fn a_broken_text_is_named_where_it_breaks() {
        for (text, byte, message) in [
            (
                "[1 2]",
                3,
                "expected `,` or `]` after an element of a list, found `2]`",
            ),
            ("[\"a\nb\"]", 1, "expected a JSON value, found"),
            ("[,]", 1, "expected a JSON value, found `,]`"),
            (
                "[[1]",
                4,
                "expected `,` or `]` after an element of a list, but it ends here",
            ),
            ("7", 0, "expected a list, found `7`"),
            ("", 0, "expected a list, but it ends here"),
        ] {
            let mut cursor = cursor(text);
            let fault = cursor.for_each_element(Cursor::skip_value).unwrap_err();
            let at = cursor.place().byte;
            if text.contains('\n') {
                let wanted = "expected the end of a string before the end of the line";
                assert!(fault.to_string().starts_with(wanted), "{fault}");
            } else {
                assert_eq!((at, fault.to_string().as_str()), (byte, message), "{text}");
            }
        }
    }

    #[test]
    fn a_value_that_is_too_large_can_still_be_passed_over() {
        let text = format!("[\"{}\", 1]", "x".repeat(100));
        let mut cursor = Cursor::new(Buffer::new(Dripping(text.as_bytes())), 20);
        let mut lens = Vec::new();
        let walked = cursor.for_each_element(|cursor| {
            lens.push(cursor.value_len());
            cursor.skip_value()
        });
        assert_eq!(walked, Ok(()));
        let too_large = Fault::TooLarge {
            max_record_bytes: 20,
        };
        assert_eq!(lens, [Err(too_large), Ok(1)]);
    }

    #[test]
    fn a_line_is_a_text_of_its_own() {
        let mut cursor = cursor("[1,\n2]\n");
        cursor.enter_line().unwrap();
        let ended = Fault::Ended {
            expected: "a JSON value",
        };
        assert_eq!(cursor.for_each_element(Cursor::skip_value), Err(ended));
        cursor.leave_line();
        assert_eq!(cursor.place(), Place { byte: 4, line: 2 });
        assert_eq!(cursor.peek(), Some(b'2'));
    }
}
