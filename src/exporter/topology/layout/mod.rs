//! A layered drawing from left to right (Sugiyama, Tagawa, Toda 1981): circles are broken, nodes get columns, columns an order
//! with few crossings, and places that make edges straight. Edges over several columns run between the nodes of each.
//!
//! The crates for this either give no way for the edges past the nodes, or panic on what they do not expect, so it is here.
//! The same graph has the same drawing.

mod columns;
mod order;
mod place;

use std::collections::{BTreeMap, BTreeSet};

use petgraph::unionfind::UnionFind;

/// Sizes in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) node_width: f64,
    pub(super) node_height: f64,
    /// Between columns.
    pub(super) column_gap: f64,
    /// Between nodes of a column.
    pub(super) node_gap: f64,
    /// Around an edge that passes a column.
    pub(super) edge_gap: f64,
}

/// A point.
pub(super) type Point = (f64, f64);

/// Where everything is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Drawing {
    /// Upper left corner of each node.
    pub(super) nodes: Vec<Point>,
    /// Points that each edge passes, from the side of its caller to the side of its callee; between a pair of them it runs
    /// across a column or a gap.
    pub(super) routes: Vec<Vec<Point>>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A part of the graph with columns: nodes, and the places where edges pass columns.
#[derive(Clone, Debug, Default)]
struct Layered {
    columns: Vec<Vec<usize>>,
    column_of: Vec<usize>,
    /// Neighbours in the column before, and in the one behind.
    before: Vec<Vec<usize>>,
    behind: Vec<Vec<usize>>,
    /// The first so many vertices are nodes.
    nodes: usize,
}

/// Draws nodes `0..count`; edges go from caller to callee.
pub(super) fn lay_out(count: usize, edges: &[(usize, usize)], sizes: &Sizes) -> Drawing {
    let mut drawing = Drawing {
        nodes: vec![(0.0, 0.0); count],
        routes: vec![Vec::new(); edges.len()],
        ..Drawing::default()
    };
    let mut groups = UnionFind::new(count);
    for (from, to) in edges {
        groups.union(*from, *to);
    }
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for node in 0..count {
        members.entry(groups.find(node)).or_default().push(node);
    }
    let (mut alone, mut parts) = (Vec::new(), Vec::new());
    for part in members.into_values() {
        match part.as_slice() {
            [only] => alone.push(*only),
            _ => parts.push(part),
        }
    }
    // The largest part stands on top.
    parts.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    alone.sort_unstable();
    for part in &parts {
        draw_part(&mut drawing, part, edges, sizes);
    }
    draw_alone(&mut drawing, &alone, sizes);
    for (at, (from, to)) in edges.iter().enumerate() {
        if from == to {
            let route = drawing
                .nodes
                .get(*from)
                .map(|place| own_route(*place, sizes));
            if let Some((route, place)) = route.zip(drawing.routes.get_mut(at)) {
                *place = route;
            }
        }
    }
    drawing
}

/// Around the upper right corner of a node.
fn own_route((x, y): Point, sizes: &Sizes) -> Vec<Point> {
    let right = x + sizes.node_width;
    vec![
        (right, y + 0.3 * sizes.node_height),
        (right, y + 0.7 * sizes.node_height),
    ]
}

/// Nodes without edges stand in rows below the others.
fn draw_alone(drawing: &mut Drawing, alone: &[usize], sizes: &Sizes) {
    if alone.is_empty() {
        return;
    }
    let step = sizes.node_width + sizes.node_gap;
    let mut per_row = 4;
    while f64::from(per_row + 1) * step - sizes.node_gap <= drawing.width {
        per_row += 1;
    }
    let top = gap_below(drawing, sizes);
    let (mut column, mut row) = (0, 0);
    for node in alone {
        let place = (
            f64::from(column) * step,
            top + f64::from(row) * (sizes.node_height + sizes.node_gap),
        );
        if let Some(held) = drawing.nodes.get_mut(*node) {
            *held = place;
        }
        drawing.width = drawing.width.max(place.0 + sizes.node_width);
        drawing.height = drawing.height.max(place.1 + sizes.node_height);
        column += 1;
        if column == per_row {
            (column, row) = (0, row + 1);
        }
    }
}

fn gap_below(drawing: &Drawing, sizes: &Sizes) -> f64 {
    if drawing.height > 0.0 {
        drawing.height + 2.0 * sizes.node_gap
    } else {
        0.0
    }
}

/// Nodes that hang together.
fn draw_part(drawing: &mut Drawing, part: &[usize], edges: &[(usize, usize)], sizes: &Sizes) {
    let local: BTreeMap<usize, usize> = part.iter().copied().zip(0..).collect();
    let own: Vec<(usize, (usize, usize))> = edges
        .iter()
        .enumerate()
        .filter(|(_, (from, to))| from != to)
        .filter_map(|(at, (from, to))| Some((at, (*local.get(from)?, *local.get(to)?))))
        .collect();
    let pairs: BTreeSet<(usize, usize)> = own.iter().map(|(_, pair)| *pair).collect();
    let (column_of, forward) = columns::assign(part.len(), &pairs);
    let (mut layered, chains) = columns::with_passages(&column_of, &forward);
    order::reduce_crossings(&mut layered);
    let centres = place::centres(&layered, sizes);
    let top = gap_below(drawing, sizes);
    let x_of = |column: usize| column as f64 * (sizes.node_width + sizes.column_gap);
    for (at, node) in part.iter().enumerate() {
        let column = column_of.get(at).copied().unwrap_or_default();
        let centre = centres.get(at).copied().unwrap_or_default();
        let corner = (x_of(column), top + centre - sizes.node_height / 2.0);
        if let Some(held) = drawing.nodes.get_mut(*node) {
            *held = corner;
        }
        drawing.width = drawing.width.max(corner.0 + sizes.node_width);
        drawing.height = drawing.height.max(corner.1 + sizes.node_height);
    }
    for centre in &centres {
        drawing.height = drawing.height.max(top + centre);
    }
    let ports = place::Ports::new(&chains, &layered, &centres, sizes);
    for (at, pair) in own {
        let flipped = (pair.1, pair.0);
        // Where both call each other, each has a way of its own.
        let (key, is_flipped) = if chains.contains_key(&(pair, false)) {
            ((pair, false), false)
        } else {
            ((flipped, true), true)
        };
        let Some(chain) = chains.get(&key) else {
            continue;
        };
        let mut route = Vec::with_capacity(2 * chain.len());
        for (step, vertex) in chain.iter().enumerate() {
            let column = layered.column_of.get(*vertex).copied().unwrap_or_default();
            let x = x_of(column);
            let y = top + centres.get(*vertex).copied().unwrap_or_default();
            if step == 0 {
                route.push((x + sizes.node_width, y + ports.leaving(&key)));
            } else if step + 1 == chain.len() {
                route.push((x, y + ports.arriving(&key)));
            } else {
                route.extend([(x, y), (x + sizes.node_width, y)]);
            }
        }
        if is_flipped {
            route.reverse();
        }
        if let Some(held) = drawing.routes.get_mut(at) {
            *held = route;
        }
    }
}

#[cfg(test)]
mod tests;
