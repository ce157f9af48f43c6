//! JSON of any shape: leaves are replaced where they stand, all else stays byte for byte.

use std::borrow::Cow;

use crate::pii::{Counts, FieldOutcome, Scrubber};

/// Deeper texts are refused: each level takes stack.
const DEPTH_MAX: u32 = 128;

/// Why a text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {what}")]
pub struct JsonProblem {
    /// Where, in bytes from the beginning.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// A text without what is found in it.
pub(super) fn scrub<'t>(
    scrubber: &Scrubber,
    text: &'t str,
    counts: &mut Counts,
) -> Result<Cow<'t, str>, JsonProblem> {
    let mut reader = Reader { text, at: 0 };
    let mut walk = Walk {
        scrubber,
        counts,
        text,
        edits: Vec::new(),
    };
    reader.spaces();
    while reader.at < text.len() {
        let value = reader.value(0)?;
        if walk.value(&value, "") {
            walk.edits.push((value.start, value.end, "null".to_owned()));
        }
        reader.spaces();
    }
    let mut edits = walk.edits;
    if edits.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    edits.sort_by_key(|(start, end, _)| (*start, usize::MAX - end));
    let mut scrubbed = String::with_capacity(text.len());
    let mut at = 0;
    for (start, end, replacement) in edits {
        // What stands in a part that goes, goes with it.
        if start < at {
            continue;
        }
        scrubbed.push_str(text.get(at..start).unwrap_or_default());
        scrubbed.push_str(&replacement);
        at = end;
    }
    scrubbed.push_str(text.get(at..).unwrap_or_default());
    Ok(Cow::Owned(scrubbed))
}

/// A value with where it stands.
#[derive(Debug)]
struct Node {
    start: usize,
    end: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    String,
    Number,
    /// `true`, `false`, `null`.
    Word,
    List(Vec<Node>),
    Object(Vec<(Node, Node)>),
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn problem<T>(&self, what: &'static str) -> Result<T, JsonProblem> {
        Err(JsonProblem { at: self.at, what })
    }

    fn value(&mut self, depth: u32) -> Result<Node, JsonProblem> {
        let start = self.at;
        let content = match self.peek() {
            Some(b'"') => {
                self.string()?;
                Content::String
            }
            Some(b'[' | b'{') if depth >= DEPTH_MAX => return self.problem("nested too deep"),
            Some(b'[') => self.list(depth)?,
            Some(b'{') => self.object(depth)?,
            Some(first) => self.word(first)?,
            None => return self.problem("a value is missing"),
        };
        Ok(Node {
            start,
            end: self.at,
            content,
        })
    }

    fn word(&mut self, first: u8) -> Result<Content, JsonProblem> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        {
            self.at += 1;
        }
        match self.text.get(start..self.at) {
            // The last three as some writers have it.
            Some("true" | "false" | "null" | "NaN" | "Infinity" | "-Infinity") => Ok(Content::Word),
            Some(_) if first.is_ascii_digit() || first == b'-' => Ok(Content::Number),
            _ => self.problem("a value is expected"),
        }
    }

    fn string(&mut self) -> Result<(), JsonProblem> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return self.problem("a text does not end"),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn list(&mut self, depth: u32) -> Result<Content, JsonProblem> {
        let mut elements = Vec::new();
        self.at += 1;
        self.spaces();
        while self.peek() != Some(b']') {
            elements.push(self.value(depth + 1)?);
            self.comma(b']')?;
        }
        self.at += 1;
        Ok(Content::List(elements))
    }

    fn object(&mut self, depth: u32) -> Result<Content, JsonProblem> {
        let mut members = Vec::new();
        self.at += 1;
        self.spaces();
        while self.peek() != Some(b'}') {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return self.problem("the name of a member is expected");
            }
            self.string()?;
            let name = Node {
                start,
                end: self.at,
                content: Content::String,
            };
            self.spaces();
            if self.peek() != Some(b':') {
                return self.problem("a colon is expected");
            }
            self.at += 1;
            self.spaces();
            members.push((name, self.value(depth + 1)?));
            self.comma(b'}')?;
        }
        self.at += 1;
        Ok(Content::Object(members))
    }

    /// Passes a comma, or stops before the end.
    fn comma(&mut self, end: u8) -> Result<(), JsonProblem> {
        self.spaces();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.spaces();
                if self.peek() == Some(end) {
                    return self.problem("a value is expected after the comma");
                }
                Ok(())
            }
            Some(byte) if byte == end => Ok(()),
            _ => self.problem("a comma, or the end of the list or object, is expected"),
        }
    }
}

/// Members of the values of OTLP/JSON, which are no keys of their own.
const VALUES: [&str; 6] = [
    "stringValue",
    "intValue",
    "doubleValue",
    "boolValue",
    "arrayValue",
    "values",
];

struct Walk<'a, 't> {
    scrubber: &'a Scrubber,
    counts: &'a mut Counts,
    text: &'t str,
    /// From, to, and what takes its place.
    edits: Vec<(usize, usize, String)>,
}

impl<'t> Walk<'_, 't> {
    fn raw(&self, node: &Node) -> &'t str {
        self.text.get(node.start..node.end).unwrap_or_default()
    }

    /// The text that a node writes.
    fn string(&self, node: &Node) -> Option<Cow<'t, str>> {
        let raw = self.raw(node);
        if raw.contains('\\') {
            return serde_json::from_str::<String>(raw).ok().map(Cow::Owned);
        }
        let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
        Some(Cow::Borrowed(inner))
    }

    /// Whether a value under a key is to go.
    fn value(&mut self, node: &Node, key: &str) -> bool {
        let outcome = match &node.content {
            Content::Word => return false,
            Content::Number => {
                let digits = self.raw(node);
                self.scrubber.scrub_number(key, digits, self.counts)
            }
            Content::String => {
                let Some(value) = self.string(node) else {
                    return false;
                };
                self.scrubber.scrub_field(key, &value, self.counts)
            }
            Content::List(elements) => {
                let gone: Vec<bool> = elements.iter().map(|own| self.value(own, key)).collect();
                let places = elements.iter().map(|own| (own.start, own.end));
                self.remove(&places.collect::<Vec<_>>(), &gone);
                // A list of which nothing is left is none.
                return !gone.is_empty() && gone.iter().all(|gone| *gone) && !key.is_empty();
            }
            Content::Object(members) => return self.object(members, key),
        };
        match outcome {
            FieldOutcome::Unchanged => false,
            FieldOutcome::Changed(text) => {
                self.edits.push((node.start, node.end, quoted(&text)));
                false
            }
            FieldOutcome::Dropped => true,
        }
    }

    fn object(&mut self, members: &[(Node, Node)], outer: &str) -> bool {
        let named = |quoted: &str| {
            let member = members.iter().find(|(name, _)| self.raw(name) == quoted);
            member.map(|(_, value)| value)
        };
        if let (Some(key), Some(value)) = (named("\"key\""), named("\"value\""))
            && let Some(key) = self.string(key)
        {
            return self.value(value, &key);
        }
        let mut gone = Vec::with_capacity(members.len());
        for (name, value) in members {
            let key = self.string(name).unwrap_or_default();
            let is_value = VALUES.contains(&&*key) && !outer.is_empty();
            if is_value {
                gone.push(match &*key {
                    "intValue" => self.whole_number(name, value, outer),
                    _ => self.value(value, outer),
                });
                continue;
            }
            // Names of members may be personal data, too: of maps by address. Values are judged by the name that stays, so that
            // a second look finds nothing else.
            let shown = self.scrubber.scrub_text(&key, self.counts);
            let is_gone = self.value(value, &shown);
            if !is_gone && let Cow::Owned(shown) = &shown {
                self.edits.push((name.start, name.end, quoted(shown)));
            }
            gone.push(is_gone);
        }
        // A value of OTLP of which nothing is left goes with its key.
        if let ([(name, _)], [true], false) = (members, &*gone, outer.is_empty())
            && VALUES.contains(&self.raw(name).trim_matches('"'))
        {
            return true;
        }
        let places = members.iter().map(|(name, value)| (name.start, value.end));
        self.remove(&places.collect::<Vec<_>>(), &gone);
        false
    }

    /// A whole number of OTLP/JSON, which may be in quotes. What takes its place is a text.
    fn whole_number(&mut self, name: &Node, value: &Node, key: &str) -> bool {
        let digits = self.raw(value).trim_matches('"');
        match self.scrubber.scrub_number(key, digits, self.counts) {
            FieldOutcome::Unchanged => false,
            FieldOutcome::Changed(text) => {
                let member = format!("\"stringValue\":{}", quoted(&text));
                self.edits.push((name.start, value.end, member));
                false
            }
            FieldOutcome::Dropped => true,
        }
    }

    /// Takes elements out, each with one comma.
    fn remove(&mut self, places: &[(usize, usize)], gone: &[bool]) {
        let mut kept_until = None;
        let starts = places.iter().skip(1).map(|(start, _)| Some(*start));
        let nexts = starts.chain([None]);
        for (((start, end), is_gone), next) in places.iter().zip(gone).zip(nexts) {
            match kept_until {
                _ if !is_gone => kept_until = Some(*end),
                // Behind something that stays, with the comma before it.
                Some(kept) => {
                    self.edits.push((kept, *end, String::new()));
                    kept_until = Some(*end);
                }
                // In front, up to what comes next.
                None => self
                    .edits
                    .push((*start, next.unwrap_or(*end), String::new())),
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
