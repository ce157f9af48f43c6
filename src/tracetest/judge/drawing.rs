//! A trace as a small tree of text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::trace::tree::TraceTree;
use crate::tracetest::language::{duration_text, service_of};

/// Lines of a tree; more spans are counted instead.
const LINES_MAX: usize = 24;

/// Characters of a name.
const NAME_LENGTH_MAX: usize = 60;

/// The trace with these spans marked. Where it is long, what leads to them and what stands below them is shown.
pub fn draw(tree: &TraceTree<'_>, marked: &[usize]) -> String {
    let all: Vec<(usize, usize)> = tree.depth_first().collect();
    let mut telling: BTreeSet<usize> = BTreeSet::new();
    for index in marked {
        telling.insert(*index);
        telling.extend(tree.ancestors(*index));
    }
    for index in marked {
        telling.extend(tree.children(*index));
    }
    telling.extend(tree.tops());
    let is_long = all.len() > LINES_MAX;
    let mut text = String::new();
    let (mut lines, mut omitted) = (0, 0);
    for (index, depth) in all {
        if lines == LINES_MAX || (is_long && !telling.contains(&index)) {
            omitted += 1;
            continue;
        }
        let Some(span) = tree.span(index) else {
            continue;
        };
        lines += 1;
        let mark = if marked.contains(&index) { '>' } else { ' ' };
        let name: String = span.name.chars().take(NAME_LENGTH_MAX).collect();
        let failed = if tree.is_failed(index) { "  ERROR" } else { "" };
        // Writing to a text cannot fail.
        let _written = writeln!(
            text,
            "{mark} {:indent$}{} {name} [{}] {}{failed}",
            "",
            service_of(span),
            span.kind.label(),
            duration_text(span.duration_nanos() as f64),
            indent = 2 * depth.min(20),
        );
    }
    if omitted > 0 {
        let _written = writeln!(text, "  … {omitted} more spans");
    }
    text
}
