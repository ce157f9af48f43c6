//! YAML by the events of its parser.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::{Budget, Entry, Mark, Node, NodeValue, Problem, Scalar, ScalarKind, Tree};

/// What an anchor stands for, and how many nodes that is.
type Anchored = (Node, usize);

/// Reads a stream. Behind a document that is broken, reading goes on at the next `---`.
pub(super) fn read(text: &str) -> Tree {
    let mut tree = Tree::default();
    let (mut rest, mut skipped_lines, mut document) = (text, 0, 0);
    loop {
        let mut stream = Stream::new(rest, skipped_lines, document);
        let Err(problem) = stream.documents(&mut tree) else {
            return tree;
        };
        // A marker that ends a broken document begins the next one.
        let broken_at = problem.mark.line.max(stream.begun_line + 1);
        document = stream.next_document.max(problem.document + 1);
        tree.problems.push(problem);
        let Some(next) = marker_from(rest, skipped_lines, broken_at) else {
            return tree;
        };
        (rest, skipped_lines) = next;
    }
}

/// The text from the first `---` at or behind a line of the file, and the lines before it.
fn marker_from(text: &str, skipped_lines: u32, line: u32) -> Option<(&str, u32)> {
    let mut offset = 0;
    for (number, content) in (skipped_lines + 1..).zip(text.split_inclusive('\n')) {
        let is_marker = content
            .strip_prefix("---")
            .is_some_and(|behind| behind.is_empty() || behind.starts_with([' ', '\t', '\r', '\n']));
        if is_marker && number >= line {
            return Some((text.get(offset..)?, number - 1));
        }
        offset += content.len();
    }
    None
}

struct Stream<'text> {
    parser: Parser<'text, StrInput<'text>>,
    skipped_lines: u32,
    /// The line on which the document under way began.
    begun_line: u32,
    next_document: u32,
    anchors: BTreeMap<usize, Anchored>,
    budget: Budget,
}

/// Why a node cannot be read: where, whether it is too large, and what is wrong.
struct Refusal {
    mark: Mark,
    excessive: bool,
    message: String,
}

impl<'text> Stream<'text> {
    fn new(text: &'text str, skipped_lines: u32, next_document: u32) -> Self {
        Self {
            parser: Parser::new_from_str(text),
            skipped_lines,
            begun_line: skipped_lines + 1,
            next_document,
            anchors: BTreeMap::new(),
            budget: Budget::default(),
        }
    }

    /// Reads documents up to the end or to the first problem.
    fn documents(&mut self, tree: &mut Tree) -> Result<(), Problem> {
        loop {
            let index = self.next_document;
            let read = self.document().map_err(|refusal| Problem {
                document: index,
                mark: refusal.mark,
                excessive: refusal.excessive,
                message: refusal.message,
            })?;
            match read {
                None => return Ok(()),
                Some(node) if is_empty(&node) => {}
                Some(node) => tree.documents.push((index, node)),
            }
        }
    }

    /// The next document, or nothing at the end of the stream.
    fn document(&mut self) -> Result<Option<Node>, Refusal> {
        loop {
            let (event, mark) = self.next()?;
            if event == Event::StreamEnd {
                return Ok(None);
            }
            if matches!(event, Event::DocumentStart(_)) {
                self.begun_line = mark.line;
                self.next_document += 1;
                self.budget = Budget::default();
                self.anchors.clear();
                let (event, mark) = self.next()?;
                let node = self.node(event, mark, 0)?;
                // What follows the root is a mistake of this document.
                self.next()?;
                return Ok(Some(node));
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'text>, Mark), Refusal> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, Mark::default())),
            Some(Ok((event, span))) => Ok((event, self.mark(&span.start))),
            Some(Err(error)) => Err(self.broken(&error)),
        }
    }

    fn mark(&self, marker: &Marker) -> Mark {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Mark {
            line: self.skipped_lines.saturating_add(number(marker.line())),
            column: number(marker.col()).saturating_add(1),
        }
    }

    fn broken(&self, error: &ScanError) -> Refusal {
        refusal(self.mark(error.marker()), error.info())
    }

    fn node(&mut self, event: Event<'text>, mark: Mark, depth: usize) -> Result<Node, Refusal> {
        if let Event::Alias(anchor) = event {
            return self.alias(anchor, mark, depth);
        }
        let before = self.budget.nodes;
        self.take(1, depth, mark)?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = scalar(text.into_owned(), style, tag.as_deref());
                (anchor, NodeValue::Scalar(scalar))
            }
            Event::SequenceStart(anchor, _) => (anchor, NodeValue::List(self.items(depth)?)),
            Event::MappingStart(anchor, _) => (anchor, NodeValue::Map(self.entries(depth)?)),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Alias(_)
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(refusal(mark, "a value is missing")),
        };
        let node = Node { mark, value };
        if anchor > 0 {
            let nodes = self.budget.nodes - before;
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
        Ok(node)
    }

    /// What an anchor stands for, counted once more: aliases of aliases grow exponentially.
    fn alias(&mut self, anchor: usize, mark: Mark, depth: usize) -> Result<Node, Refusal> {
        let Some((node, nodes)) = self.anchors.get(&anchor) else {
            let message = "an alias stands inside of what it repeats, or what it repeats stands in another document: \
                           anchors end where their document does";
            return Err(refusal(mark, message));
        };
        let (node, nodes) = (node.clone(), *nodes);
        self.take(nodes, depth + height(&node), mark)?;
        Ok(node)
    }

    fn take(&mut self, nodes: usize, depth: usize, mark: Mark) -> Result<(), Refusal> {
        self.budget.take(nodes, depth).map_err(|message| Refusal {
            mark,
            excessive: true,
            message,
        })
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, Refusal> {
        let mut items = Vec::new();
        loop {
            let (event, mark) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            items.push(self.node(event, mark, depth + 1)?);
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Refusal> {
        let (mut entries, mut merged) = (Vec::new(), Vec::new());
        loop {
            let (event, mark) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, mark, depth + 1)?;
            let (event, value_mark) = self.next()?;
            let node = self.node(event, value_mark, depth + 1)?;
            let NodeValue::Scalar(key) = key.value else {
                return Err(refusal(mark, "a key is a list or a map; keys are texts"));
            };
            if key.plain && key.text == "<<" {
                merged.extend(merged_entries(node)?);
            } else {
                let key = key.text;
                entries.push(Entry { key, mark, node });
            }
        }
        merge(&mut entries, merged);
        Ok(entries)
    }
}

fn refusal(mark: Mark, message: &str) -> Refusal {
    Refusal {
        mark,
        excessive: false,
        message: message.to_owned(),
    }
}

/// The entries that `<<: *anchor` or `<<: [*anchor, …]` brings in.
fn merged_entries(node: Node) -> Result<Vec<Entry>, Refusal> {
    let wrong = |mark| refusal(mark, "`<<` merges a map, or a list of maps");
    match node.value {
        NodeValue::Map(entries) => Ok(entries),
        NodeValue::List(items) => {
            let mut merged = Vec::new();
            for item in items {
                let NodeValue::Map(entries) = item.value else {
                    return Err(wrong(item.mark));
                };
                merged.extend(entries);
            }
            Ok(merged)
        }
        NodeValue::Scalar(_) => Err(wrong(node.mark)),
    }
}

/// Adds what is not there yet: own keys win, then the first of those merged.
fn merge(entries: &mut Vec<Entry>, merged: Vec<Entry>) {
    if merged.is_empty() {
        return;
    }
    let mut keys: BTreeSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    entries.extend(
        merged
            .into_iter()
            .filter(|entry| keys.insert(entry.key.clone())),
    );
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> Scalar {
    let is_text = tag.is_some_and(|tag| {
        (tag.is_yaml_core_schema() && tag.suffix == "str")
            || (tag.handle.is_empty() && tag.suffix == "!")
    });
    match style {
        ScalarStyle::Plain if !is_text => Scalar::plain(text),
        ScalarStyle::Plain
        | ScalarStyle::SingleQuoted
        | ScalarStyle::DoubleQuoted
        | ScalarStyle::Literal
        | ScalarStyle::Folded => Scalar::quoted(text),
    }
}

/// Levels below a node.
fn height(node: &Node) -> usize {
    let below = |nodes: &mut dyn Iterator<Item = &Node>| nodes.map(|node| 1 + height(node)).max();
    let levels = match &node.value {
        NodeValue::Scalar(_) => None,
        NodeValue::List(items) => below(&mut items.iter()),
        NodeValue::Map(entries) => below(&mut entries.iter().map(|entry| &entry.node)),
    };
    levels.unwrap_or(0)
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.value, NodeValue::Scalar(scalar) if scalar.kind == ScalarKind::Null)
}
