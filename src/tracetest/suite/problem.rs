//! What is wrong with a suite file, shown at its place.

use std::fmt;

use crate::openslo::tree::{Mark, Node, NodeValue};
use crate::tracetest::language::SyntaxError;

/// Longest part of a line that is shown.
const SHOWN_LENGTH_MAX: usize = 160;

/// Something that is wrong, with the line and a caret below the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What is wrong, with the remedy.
    pub message: String,
    /// The line.
    pub source: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            source,
        } = self;
        write!(formatter, "{file}:{line}:{column}: {message}")?;
        let before = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
        if source.is_empty() || before > SHOWN_LENGTH_MAX {
            return Ok(());
        }
        let shown: String = source.chars().take(SHOWN_LENGTH_MAX).collect();
        let margin = " ".repeat(line.to_string().len());
        // Tabs stay, so that the caret stands where the eye looks for it.
        let indent: String = source
            .chars()
            .take(before)
            .map(|character| if character == '\t' { '\t' } else { ' ' })
            .collect();
        write!(
            formatter,
            "\n{margin} |\n{line} | {shown}\n{margin} | {indent}^"
        )
    }
}

/// The text of a file, by lines.
#[derive(Clone, Debug)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            file,
            lines: text.lines().collect(),
        }
    }

    pub(super) fn problem(&self, mark: Mark, message: impl Into<String>) -> Problem {
        Problem {
            file: self.file.to_owned(),
            line: mark.line,
            column: mark.column,
            message: message.into(),
            source: self.line(mark.line).to_owned(),
        }
    }

    /// A mistake inside of a scalar.
    pub(super) fn syntax_problem(&self, node: &Node, error: SyntaxError) -> Problem {
        self.problem(self.place_in(node, error.at), error.message)
    }

    fn line(&self, number: u32) -> &'a str {
        let index = usize::try_from(number).unwrap_or(0).checked_sub(1);
        index
            .and_then(|index| self.lines.get(index))
            .copied()
            .unwrap_or_default()
    }

    /// Where a character of a scalar stands in the file: exact on one line and in blocks, else where the scalar begins.
    fn place_in(&self, node: &Node, at: usize) -> Mark {
        let NodeValue::Scalar(scalar) = &node.value else {
            return node.mark;
        };
        let before = usize::try_from(node.mark.column.saturating_sub(1)).unwrap_or(0);
        let written: Vec<char> = self.line(node.mark.line).chars().skip(before).collect();
        match written.first() {
            Some('|' | '>') if scalar.text.contains('\n') || written.len() <= 3 => {
                self.place_in_block(node.mark, &scalar.text, at)
            }
            Some(quote @ ('"' | '\'')) => {
                let raw = raw_offset(&written, *quote, at);
                moved(node.mark, raw.unwrap_or(0))
            }
            Some(_) | None if at <= written.len() => moved(node.mark, at),
            Some(_) | None => node.mark,
        }
    }

    /// In a block the text stands below its mark, indented.
    fn place_in_block(&self, mark: Mark, text: &str, at: usize) -> Mark {
        let before: String = text.chars().take(at).collect();
        let number = before.matches('\n').count();
        let column = before.chars().rev().take_while(|one| *one != '\n').count();
        let wanted = text.lines().nth(number).unwrap_or_default();
        let mut line = mark.line + 1;
        let mut seen = 0;
        while usize::try_from(line).is_ok_and(|line| line <= self.lines.len()) {
            let content = self.line(line);
            if seen >= number && content.trim() == wanted.trim() {
                let indent = content.chars().take_while(|one| *one == ' ').count();
                let mark = Mark { line, column: 1 };
                return moved(mark, indent + column);
            }
            seen += 1;
            line += 1;
        }
        mark
    }
}

fn moved(mark: Mark, by: usize) -> Mark {
    Mark {
        line: mark.line,
        column: mark.column + u32::try_from(by).unwrap_or(0),
    }
}

/// Where the character `at` of a quoted scalar stands behind its opening quote, escapes counted as they are written.
fn raw_offset(written: &[char], quote: char, at: usize) -> Option<usize> {
    let mut raw = 1;
    for _ in 0..at {
        let (first, second) = (written.get(raw)?, written.get(raw + 1));
        let is_escape = match quote {
            '"' => *first == '\\',
            _ => *first == '\'' && second == Some(&'\''),
        };
        raw += if is_escape { 2 } else { 1 };
    }
    Some(raw)
}
