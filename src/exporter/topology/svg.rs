//! The graph as SVG: boxes from left to right, edges as wide as they have calls and as red as they fail. It loads nothing, runs
//! nothing, follows the reader's light or dark colours, and is the same for the same graph.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::layout::{Drawing, Point, Sizes, lay_out};
use super::{Arrow, Picture, caption, describe, has_several_places, numbers, rate, severity};
use crate::evaluator::verdict::timestamp;
use crate::exporter::markup::Escaped;
use crate::model::topology::{GraphNode, NodeKind, ServiceGraph, significant};

/// Boxes at most: more are no picture. JSON and DOT have them all.
const NODES_MAX: usize = 150;

const SIZES: Sizes = Sizes {
    node_width: 212.0,
    node_height: 62.0,
    column_gap: 116.0,
    node_gap: 24.0,
    edge_gap: 10.0,
};

/// Around the picture, above it, and below it.
const MARGIN: f64 = 28.0;
const HEAD: f64 = 64.0;
const LEGEND: f64 = 78.0;

/// The legend needs so much.
const WIDTH_MIN: f64 = 880.0;

/// Letters of a name and of what stands above it that fit into a box.
const NAME_CHARS: usize = 25;
const CAPTION_CHARS: usize = 36;

/// Widths of edges.
const NARROWEST: f64 = 1.4;
const WIDEST: f64 = 6.0;

/// Half of the length of an arrow's head.
const HEAD_HALF: f64 = 4.5;

const STYLE: &str = "\
.slo-graph { font-family: system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; }
.slo-graph .ground { fill: #ffffff; }
.slo-graph text { fill: #1f2328; font-size: 11px; }
.slo-graph .title { font-size: 17px; font-weight: 600; }
.slo-graph .name { font-size: 13px; font-weight: 600; }
.slo-graph .quiet { fill: #59636e; font-size: 10px; }
.slo-graph .box { fill: #f6f8fa; stroke: #8c959f; stroke-width: 1.2; }
.slo-graph .service .box { fill: #eef4fc; stroke: #5b7ea8; }
.slo-graph .database .box { fill: #f3eefc; stroke: #8565b5; }
.slo-graph .queue .box { fill: #e9f6f1; stroke: #3f8f72; }
.slo-graph .lid { fill: none; stroke: #8565b5; stroke-width: 1.2; }
.slo-graph .workload .box { fill: none; stroke-dasharray: 5 4; }
.slo-graph .line { fill: none; stroke: #8c959f; stroke-opacity: .75; }
.slo-graph .head { fill: #8c959f; stroke: none; }
.slo-graph .e1 .line { stroke: #bf8700; } .slo-graph .e1 .head, .slo-graph .mark.e1 { fill: #bf8700; }
.slo-graph .e2 .line { stroke: #e16f24; } .slo-graph .e2 .head, .slo-graph .mark.e2 { fill: #e16f24; }
.slo-graph .e3 .line { stroke: #cf222e; } .slo-graph .e3 .head, .slo-graph .mark.e3 { fill: #cf222e; }
.slo-graph .message .line { stroke-dasharray: 7 4; }
.slo-graph .gone .line { stroke-dasharray: 1.5 4; }
.slo-graph .halo { fill: none; stroke: #2f81f7; stroke-opacity: .35; }
.slo-graph .tag { fill: #1f6feb; font-size: 10px; font-weight: 600; }
.slo-graph .e2 .tag { fill: #bc4c00; } .slo-graph .e3 .tag { fill: #cf222e; }
.slo-graph .edge:hover .line { stroke-opacity: 1; stroke-width: 7; }
@media (prefers-color-scheme: dark) {
.slo-graph .ground { fill: #0d1117; }
.slo-graph text { fill: #e6edf3; }
.slo-graph .quiet { fill: #9198a1; }
.slo-graph .box { fill: #161b22; stroke: #6e7681; }
.slo-graph .service .box { fill: #14202f; stroke: #6f93bd; }
.slo-graph .database .box { fill: #1e1730; stroke: #a98ad9; }
.slo-graph .queue .box { fill: #10251d; stroke: #56b08f; }
.slo-graph .lid { stroke: #a98ad9; }
.slo-graph .tag { fill: #6cb6ff; }
.slo-graph .e2 .tag { fill: #f0883e; } .slo-graph .e3 .tag { fill: #ff7b72; }
}
";

/// The graph as a document.
pub fn svg(graph: &ServiceGraph) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    write_svg(&mut text, graph).ok();
    text
}

fn write_svg(out: &mut String, graph: &ServiceGraph) -> fmt::Result {
    let picture = Picture::new(graph, NODES_MAX);
    let edges: Vec<(usize, usize)> = picture
        .arrows
        .iter()
        .map(|arrow| (arrow.from, arrow.to))
        .collect();
    let drawing = lay_out(picture.nodes.len(), &edges, &SIZES);
    let width = (drawing.width + 2.0 * MARGIN).max(WIDTH_MIN);
    let height = HEAD + drawing.height + LEGEND + MARGIN;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"slo-graph\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-labelledby=\"slo-graph-title slo-graph-text\">"
    )?;
    let summary = summary(graph, &picture);
    writeln!(
        out,
        "<title id=\"slo-graph-title\">Services and what they call</title>\n<desc id=\"slo-graph-text\">{}</desc>",
        Escaped(&spoken(graph, &summary))
    )?;
    writeln!(out, "<style>\n{STYLE}</style>")?;
    writeln!(
        out,
        "<rect class=\"ground\" width=\"{width:.0}\" height=\"{height:.0}\"/>"
    )?;
    writeln!(
        out,
        "<text class=\"title\" x=\"{MARGIN}\" y=\"28\">Services and what they call</text>\n\
         <text class=\"quiet\" x=\"{MARGIN}\" y=\"45\">{}</text>",
        Escaped(&summary)
    )?;
    writeln!(out, "<g transform=\"translate({MARGIN} {HEAD})\">")?;
    write_arrows(out, &picture, &drawing)?;
    let says_place = has_several_places(&picture.nodes);
    for (node, place) in picture.nodes.iter().zip(&drawing.nodes) {
        write_node(out, node, *place, says_place)?;
    }
    out.push_str("</g>\n");
    write_legend(out, HEAD + drawing.height + 30.0)?;
    out.push_str("</svg>\n");
    Ok(())
}

fn summary(graph: &ServiceGraph, picture: &Picture<'_>) -> String {
    let services = graph
        .nodes
        .iter()
        .filter(|node| node.kind == NodeKind::Service)
        .count();
    let mut parts = vec![
        format!(
            "{services} services, {} other nodes, {} edges",
            graph.nodes.len() - services,
            graph.edges.len()
        ),
        format!("{} traces", graph.traces),
    ];
    if graph.traces > 0 {
        parts.push(format!(
            "{:.0} to {:.0}",
            timestamp(graph.from),
            timestamp(graph.to)
        ));
    }
    for (word, edges) in [
        ("new", &graph.changes.new),
        ("vanished", &graph.changes.vanished),
    ] {
        if !edges.is_empty() {
            parts.push(format!("{} {word}", edges.len()));
        }
    }
    if picture.left_out > 0 {
        parts.push(format!("{} more nodes in JSON and DOT", picture.left_out));
    }
    parts.join(" · ")
}

/// The picture for those who do not see it.
fn spoken(graph: &ServiceGraph, summary: &str) -> String {
    let mut busiest: Vec<_> = graph.edges.iter().collect();
    busiest.sort_by(|one, other| {
        let calls = other.traffic.calls.total_cmp(&one.traffic.calls);
        calls.then_with(|| one.name().cmp(&other.name()))
    });
    let busiest: Vec<String> = busiest
        .iter()
        .take(12)
        .map(|edge| {
            format!(
                "{} calls {} ({})",
                edge.from,
                edge.to,
                numbers(&edge.traffic)
            )
        })
        .collect();
    if busiest.is_empty() {
        return summary.to_owned();
    }
    format!("{summary}. {}.", busiest.join("; "))
}

/// How wide an edge is drawn: by the logarithm of its calls.
pub(super) fn width_of(arrow: &Arrow<'_>) -> f64 {
    let per_hour = 3_600.0 * arrow.calls_per_sec;
    (NARROWEST + 0.85 * (1.0 + per_hour / 60.0).log10()).min(WIDEST)
}

fn write_arrows(out: &mut String, picture: &Picture<'_>, drawing: &Drawing) -> fmt::Result {
    let mut order: Vec<(&Arrow<'_>, &Vec<Point>)> =
        picture.arrows.iter().zip(&drawing.routes).collect();
    // What fails is drawn above what does not.
    order.sort_by_key(|(arrow, _)| arrow.severity());
    // One tag at each node: more would cover each other.
    let mut tagged: BTreeMap<usize, &Arrow<'_>> = BTreeMap::new();
    for arrow in &picture.arrows {
        let best = tagged.entry(arrow.to).or_insert(arrow);
        if arrow.weight_of_tag() > best.weight_of_tag() {
            *best = arrow;
        }
    }
    for (arrow, route) in order {
        let is_tagged = tagged
            .get(&arrow.to)
            .is_some_and(|best| best.from == arrow.from);
        write_arrow(out, arrow, route, (&picture.nodes, is_tagged))?;
    }
    Ok(())
}

fn write_arrow(
    out: &mut String,
    arrow: &Arrow<'_>,
    route: &[Point],
    (nodes, is_tagged): (&[&GraphNode], bool),
) -> fmt::Result {
    let (Some(first), Some(last)) = (route.first(), route.last()) else {
        return Ok(());
    };
    let mut class = format!("edge e{}", arrow.severity());
    for (word, holds) in [("message", arrow.is_message), ("gone", arrow.is_gone)] {
        if holds {
            class.push(' ');
            class.push_str(word);
        }
    }
    let width = width_of(arrow);
    let half = HEAD_HALF + width / 3.0;
    // Heads point into their node: to the right, unless the edge goes back.
    let is_own = arrow.from == arrow.to;
    let ahead = if first.0 < last.0 && !is_own {
        1.0
    } else {
        -1.0
    };
    let end = (last.0 - ahead * 2.0 * half, last.1);
    let path = if is_own {
        own_path(*first, end)
    } else {
        path(route, end)
    };
    writeln!(
        out,
        "<g class=\"{class}\"><title>{}</title>",
        Escaped(&arrow.describe(nodes))
    )?;
    if arrow.is_new {
        writeln!(
            out,
            "<path class=\"halo\" stroke-width=\"{:.1}\" d=\"{path}\"/>",
            width + 6.0
        )?;
    }
    writeln!(
        out,
        "<path class=\"line\" stroke-width=\"{width:.1}\" d=\"{path}\"/>"
    )?;
    writeln!(
        out,
        "<path class=\"head\" d=\"M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z\"/>",
        last.0,
        last.1,
        end.0 - ahead,
        last.1 - half,
        end.0 - ahead,
        last.1 + half
    )?;
    let tag = (end.0 - ahead * 4.0, last.1 - half - 1.0);
    if is_tagged {
        write_tag(out, arrow, tag, ahead > 0.0)?;
    }
    out.push_str("</g>\n");
    Ok(())
}

/// What is remarkable about an edge stands at its head.
fn write_tag(out: &mut String, arrow: &Arrow<'_>, (x, y): Point, is_ahead: bool) -> fmt::Result {
    let mut tags = Vec::new();
    for (word, holds) in [("new", arrow.is_new), ("vanished", arrow.is_gone)] {
        if holds {
            tags.push(word.to_owned());
        }
    }
    let errors = arrow.error_ratio.filter(|_| arrow.severity() > 1);
    tags.extend(errors.map(|ratio| format!("{} %", significant(100.0 * ratio))));
    if tags.is_empty() {
        return Ok(());
    }
    let anchor = if is_ahead { "end" } else { "start" };
    let tags = tags.join(" ");
    writeln!(
        out,
        "<text class=\"tag\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{tags}</text>"
    )
}

/// Straight across columns, curved between them.
fn path(route: &[Point], end: Point) -> String {
    let mut text = String::new();
    let mut previous = None;
    let count = route.len();
    for (at, point) in route.iter().enumerate() {
        let (x, y) = if at + 1 == count { end } else { *point };
        let step = match previous {
            None => write!(text, "M{x:.1} {y:.1}"),
            Some((_, last_y)) if at % 2 == 0 && f64::abs(y - last_y) < 0.05 => {
                write!(text, "H{x:.1}")
            }
            Some((last_x, last_y)) => {
                let middle = f64::midpoint(last_x, x);
                write!(
                    text,
                    "C{middle:.1} {last_y:.1} {middle:.1} {y:.1} {x:.1} {y:.1}"
                )
            }
        };
        // Writing to a string does not fail.
        step.ok();
        previous = Some((x, y));
    }
    text
}

/// Out of the right side of a node and back into it.
fn own_path((x, y): Point, (end_x, end_y): Point) -> String {
    let far = x + 46.0;
    format!("M{x:.1} {y:.1}C{far:.1} {y:.1} {far:.1} {end_y:.1} {end_x:.1} {end_y:.1}")
}

fn write_node(out: &mut String, node: &GraphNode, (x, y): Point, says_place: bool) -> fmt::Result {
    let w = SIZES.node_width;
    writeln!(
        out,
        "<g class=\"{}\" transform=\"translate({x:.1} {y:.1})\"><title>{}</title>",
        node.kind.label(),
        Escaped(&describe(node))
    )?;
    write_outline(out, node.kind)?;
    let red = severity(node.traffic.error_ratio);
    if red > 0 {
        let dot = (w - 16.0, 16.0);
        writeln!(
            out,
            "<circle class=\"mark e{red}\" cx=\"{}\" cy=\"{}\" r=\"4.5\"/>",
            dot.0, dot.1
        )?;
    }
    // Beside the round ends of queues there is less room.
    let (left, lid) = match node.kind {
        NodeKind::Queue => (26.0, 0.0),
        NodeKind::Database => (14.0, 4.0),
        NodeKind::Service | NodeKind::External | NodeKind::Workload => (14.0, 0.0),
    };
    writeln!(
        out,
        "<text class=\"quiet\" x=\"{left}\" y=\"{}\">{}</text>\n<text class=\"name\" x=\"{left}\" y=\"{}\">{}</text>",
        17.0 + lid,
        Escaped(&shortened(&caption(node, says_place), CAPTION_CHARS)),
        34.0 + lid * 0.75,
        Escaped(&shortened(&node.key.name, NAME_CHARS)),
    )?;
    if node.is_observed {
        writeln!(
            out,
            "<text x=\"{left}\" y=\"{}\">{}</text>",
            51.0 + lid / 4.0,
            Escaped(&numbers(&node.traffic))
        )?;
    }
    out.push_str("</g>\n");
    Ok(())
}

/// The shape of a node tells its kind.
fn write_outline(out: &mut String, kind: NodeKind) -> fmt::Result {
    let (w, h) = (SIZES.node_width, SIZES.node_height);
    match kind {
        NodeKind::Service | NodeKind::Workload => {
            writeln!(
                out,
                "<rect class=\"box\" width=\"{w}\" height=\"{h}\" rx=\"8\"/>"
            )
        }
        NodeKind::Database => {
            // A cylinder.
            let (side, round) = (h - 6.0, 6.0);
            writeln!(
                out,
                "<path class=\"box\" d=\"M0 {round}A{r} {round} 0 0 1 {w} {round}V{side}A{r} {round} 0 0 1 0 {side}Z\"/>\
                 <path class=\"lid\" d=\"M0 {round}A{r} {round} 0 0 0 {w} {round}\"/>",
                r = w / 2.0,
            )
        }
        NodeKind::Queue => {
            let round = h / 2.0;
            writeln!(
                out,
                "<rect class=\"box\" width=\"{w}\" height=\"{h}\" rx=\"{round}\"/>"
            )
        }
        NodeKind::External => {
            let cut = 12.0;
            writeln!(
                out,
                "<path class=\"box\" d=\"M{cut} 0H{}L{w} {cut}V{}L{} {h}H{cut}L0 {}V{cut}Z\"/>",
                w - cut,
                h - cut,
                w - cut,
                h - cut
            )
        }
    }
}

/// Long names lose their middle: both ends tell them apart.
fn shortened(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let head = most / 2;
    let tail = most - head - 1;
    let first = text.chars().take(head);
    let last = text.chars().skip(count - tail);
    first.chain(['…']).chain(last).collect()
}

fn write_legend(out: &mut String, top: f64) -> fmt::Result {
    writeln!(
        out,
        "<g class=\"legend\" transform=\"translate({MARGIN} {top:.1})\">"
    )?;
    let labels = ["errors below 0.1 %", "from 0.1 %", "from 1 %", "from 5 %"];
    let mut x = 0.0;
    for (red, label) in labels.iter().enumerate() {
        writeln!(
            out,
            "<g class=\"e{red}\"><path class=\"line\" stroke-width=\"3\" d=\"M{x} 0h26\"/>\
             <path class=\"head\" d=\"M{} 0l-8 -5v10Z\"/></g><text class=\"quiet\" x=\"{}\" y=\"3.5\">{label}</text>",
            x + 34.0,
            x + 42.0
        )?;
        x += if red == 0 { 160.0 } else { 116.0 };
    }
    writeln!(
        out,
        "<g class=\"message\"><path class=\"line\" stroke-width=\"2\" d=\"M{x} 0h34\"/></g>\
         <text class=\"quiet\" x=\"{}\" y=\"3.5\">messages</text>",
        x + 42.0
    )?;
    x += 116.0;
    writeln!(
        out,
        "<g class=\"gone\"><path class=\"line\" stroke-width=\"2\" d=\"M{x} 0h34\"/></g>\
         <text class=\"quiet\" x=\"{}\" y=\"3.5\">vanished</text>",
        x + 42.0
    )?;
    x += 110.0;
    writeln!(
        out,
        "<path class=\"halo\" stroke-width=\"9\" d=\"M{x} 0h34\"/><text class=\"quiet\" x=\"{}\" y=\"3.5\">new</text>",
        x + 42.0
    )?;
    writeln!(
        out,
        "<text class=\"quiet\" x=\"0\" y=\"22\">Wider: more calls ({} {:.1}, {} {:.1}, {} {:.1} px). Boxes: requests, errors, 95th percentile. \
         Point at a box or an edge for more.</text>\n</g>",
        rate(1.0 / 60.0),
        legend_width(1.0 / 60.0),
        rate(1.0),
        legend_width(1.0),
        rate(100.0),
        legend_width(100.0)
    )
}

fn legend_width(calls_per_sec: f64) -> f64 {
    width_of(&Arrow {
        calls_per_sec,
        ..Arrow::between(0, 0)
    })
}
