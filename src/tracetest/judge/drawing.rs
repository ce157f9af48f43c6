//! A trace as a small tree of text, for those who read why a test failed.

use std::collections::BTreeSet;

use crate::trace::render;
use crate::trace::tree::TraceTree;
use crate::tracetest::language::{duration_text, service_of};

/// Lines of a tree; more spans are counted instead.
const LINES_MAX: usize = 24;

/// Characters of a name.
const NAME_LENGTH_MAX: usize = 60;

/// The trace with these spans marked. Where it is long, what leads to them and what stands below them is shown.
pub fn draw(tree: &TraceTree<'_>, marked: &[usize]) -> String {
    let mut telling: BTreeSet<usize> = BTreeSet::new();
    for index in marked {
        telling.insert(*index);
        telling.extend(tree.ancestors(*index));
        telling.extend(tree.children(*index));
    }
    telling.extend(tree.tops());
    let is_long = tree.depth_first().count() > LINES_MAX;
    render::draw(tree, LINES_MAX, |index, span| {
        if is_long && !telling.contains(&index) {
            return None;
        }
        let mark = if marked.contains(&index) { '>' } else { ' ' };
        let name: String = span.name.chars().take(NAME_LENGTH_MAX).collect();
        let failed = if tree.is_failed(index) { "  ERROR" } else { "" };
        let (service, kind) = (service_of(span), span.kind.label());
        let took = duration_text(span.duration_nanos() as f64);
        Some((mark, format!("{service} {name} [{kind}] {took}{failed}")))
    })
}
