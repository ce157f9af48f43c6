//! The graph in the language of Graphviz.

use std::fmt::{self, Display, Write};

use super::{Arrow, Picture, caption, describe, has_several_places, numbers, rate, severity};
use crate::model::topology::{GraphNode, NodeKind, ServiceGraph, significant};

/// Colours of edges by how red they are.
const COLOURS: [&str; 4] = ["#6e7781", "#bf8700", "#e16f24", "#cf222e"];

/// The whole graph as a document for `dot`.
pub fn dot(graph: &ServiceGraph) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    write_dot(&mut text, graph).ok();
    text
}

fn write_dot(out: &mut String, graph: &ServiceGraph) -> fmt::Result {
    let picture = Picture::new(graph, usize::MAX);
    let says_place = has_several_places(&picture.nodes);
    out.push_str(
        "digraph services {\n  rankdir=LR;\n  node [shape=box, style=\"rounded\", fontname=\"sans-serif\", fontsize=11];\n  \
         edge [fontname=\"sans-serif\", fontsize=9];\n",
    );
    for node in &picture.nodes {
        write_node(out, node, says_place)?;
    }
    for arrow in &picture.arrows {
        write_arrow(out, arrow, &picture.nodes)?;
    }
    out.push_str("}\n");
    Ok(())
}

fn write_node(out: &mut String, node: &GraphNode, says_place: bool) -> fmt::Result {
    let (shape, style) = match node.kind {
        NodeKind::Service => ("box", "rounded"),
        NodeKind::Database => ("cylinder", "solid"),
        NodeKind::Queue => ("cds", "solid"),
        NodeKind::External => ("octagon", "solid"),
        NodeKind::Workload => ("box", "dashed"),
    };
    let mut label = format!("{}\n{}", caption(node, says_place), node.key.name);
    if node.is_observed {
        label.push('\n');
        label.push_str(&numbers(&node.traffic));
    }
    let colour = COLOURS
        .get(severity(node.traffic.error_ratio))
        .unwrap_or(&"#6e7781");
    writeln!(
        out,
        "  {} [label={}, shape={shape}, style={style}, color={}, tooltip={}];",
        Quoted(&node.id),
        Quoted(&label),
        Quoted(colour),
        Quoted(&describe(node)),
    )
}

fn write_arrow(out: &mut String, arrow: &Arrow<'_>, nodes: &[&GraphNode]) -> fmt::Result {
    let id = |at: usize| nodes.get(at).map_or("", |node| node.id.as_str());
    let style = match (arrow.is_gone, arrow.is_message) {
        (true, _) => "dotted",
        (false, true) => "dashed",
        (false, false) => "solid",
    };
    let mut label = String::new();
    if arrow.calls > 0.0 {
        label.push_str(&rate(arrow.calls_per_sec));
    }
    if let Some(ratio) = arrow.error_ratio.filter(|_| arrow.severity() > 0) {
        write!(label, "\n{} %", significant(100.0 * ratio))?;
    }
    for (word, holds) in [("new", arrow.is_new), ("vanished", arrow.is_gone)] {
        if holds {
            write!(label, "\n{word}")?;
        }
    }
    writeln!(
        out,
        "  {} -> {} [label={}, style={style}, color={}, penwidth={:.1}, tooltip={}];",
        Quoted(id(arrow.from)),
        Quoted(id(arrow.to)),
        Quoted(label.trim_start()),
        Quoted(COLOURS.get(arrow.severity()).unwrap_or(&"#6e7781")),
        super::svg::width_of(arrow),
        Quoted(&arrow.describe(nodes)),
    )
}

/// A quoted string of DOT.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => out.write_str("\\\"")?,
                '\\' => out.write_str("\\\\")?,
                '\n' => out.write_str("\\n")?,
                other if other.is_control() => out.write_char(' ')?,
                other => out.write_char(other)?,
            }
        }
        out.write_char('"')
    }
}
