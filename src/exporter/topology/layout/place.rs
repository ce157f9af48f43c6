//! The height at which each vertex stands: near the mean of its neighbours, as far as the order and the gaps allow.
//!
//! For one column that is a least-squares problem under order constraints, which pooling adjacent violators solves exactly.

use std::collections::BTreeMap;

use super::columns::{Chains, Way};
use super::{Layered, Sizes};

/// Sweeps over all columns.
const SWEEPS: usize = 32;

/// Long edges should be straight: weights of passage to passage, of passage to node, and of node to node.
const WEIGHTS: [f64; 3] = [8.0, 3.0, 1.0];

/// What stands nowhere in particular stays about where it is.
const INERTIA: f64 = 0.05;

/// Distance of edges that leave one side of a node, at most.
const PORT_GAP: f64 = 9.0;

/// The part of a node's side that edges may take.
const PORT_SHARE: f64 = 0.72;

/// The middle of each vertex; the uppermost box begins at 0.
pub(super) fn centres(layered: &Layered, sizes: &Sizes) -> Vec<f64> {
    let height = |vertex: usize| {
        if vertex < layered.nodes {
            sizes.node_height
        } else {
            0.0
        }
    };
    let gap = |one: usize, other: usize| {
        let margin = |vertex| {
            if vertex < layered.nodes {
                sizes.node_gap
            } else {
                sizes.edge_gap
            }
        };
        f64::midpoint(height(one), height(other)) + f64::midpoint(margin(one), margin(other))
    };
    let mut centres = vec![0.0; layered.column_of.len()];
    for column in &layered.columns {
        let mut at = 0.0;
        let mut above = None;
        for vertex in column {
            at += above.map_or(0.0, |above| gap(above, *vertex));
            set(&mut centres, *vertex, at);
            above = Some(*vertex);
        }
        // Columns stand around one line at first.
        for vertex in column {
            let own = get(&centres, *vertex) - at / 2.0;
            set(&mut centres, *vertex, own);
        }
    }
    let count = layered.columns.len();
    for sweep in 0..SWEEPS {
        // One side at a time first, so that movements travel; then both, for balance.
        let (left, right) = match (sweep + 8 >= SWEEPS, sweep % 2) {
            (true, _) => (true, true),
            (false, 0) => (true, false),
            (false, _) => (false, true),
        };
        for step in 0..count {
            let at = if sweep % 2 == 0 {
                step
            } else {
                count - 1 - step
            };
            let Some(column) = layered.columns.get(at) else {
                continue;
            };
            let wanted: Vec<(f64, f64)> = column
                .iter()
                .map(|vertex| wanted(layered, *vertex, &centres, (left, right)))
                .collect();
            let gaps: Vec<f64> = column
                .iter()
                .zip(column.iter().skip(1))
                .map(|(one, other)| gap(*one, *other))
                .collect();
            for (vertex, centre) in column.iter().zip(nearest(&wanted, &gaps)) {
                set(&mut centres, *vertex, centre);
            }
        }
    }
    let tops = centres
        .iter()
        .enumerate()
        .map(|(vertex, centre)| centre - height(vertex) / 2.0);
    let top = tops.fold(f64::INFINITY, f64::min);
    centres.iter().map(|centre| centre - top).collect()
}

fn get(values: &[f64], at: usize) -> f64 {
    values.get(at).copied().unwrap_or_default()
}

fn set(values: &mut [f64], at: usize, value: f64) {
    if let Some(place) = values.get_mut(at) {
        *place = value;
    }
}

/// Where a vertex would best stand, and how much that matters.
fn wanted(
    layered: &Layered,
    vertex: usize,
    centres: &[f64],
    (left, right): (bool, bool),
) -> (f64, f64) {
    let is_passage = |vertex: usize| vertex >= layered.nodes;
    let mut weights = INERTIA;
    let mut sum = INERTIA * get(centres, vertex);
    for (is_asked, side) in [(left, &layered.before), (right, &layered.behind)] {
        for neighbour in side.get(vertex).into_iter().flatten().filter(|_| is_asked) {
            let [both, one, none] = WEIGHTS;
            let weight = match (is_passage(vertex), is_passage(*neighbour)) {
                (true, true) => both,
                (false, false) => none,
                (true, false) | (false, true) => one,
            };
            weights += weight;
            sum += weight * get(centres, *neighbour);
        }
    }
    (sum / weights, weights)
}

/// The places nearest to those that are wanted (by value and weight, in the sense of least squares) that keep the gaps.
pub(super) fn nearest(wanted: &[(f64, f64)], gaps: &[f64]) -> Vec<f64> {
    let mut offset = 0.0;
    let mut offsets = vec![0.0];
    for gap in gaps {
        offset += gap;
        offsets.push(offset);
    }
    // Blocks of vertices that stand as close as they may: mean, weight and how many.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::with_capacity(wanted.len());
    for ((place, weight), offset) in wanted.iter().zip(&offsets) {
        let mut block = (place - offset, *weight, 1);
        while let Some(above) = blocks.pop_if(|above| above.0 > block.0) {
            let weight = above.1 + block.1;
            let mean = (above.0 * above.1 + block.0 * block.1) / weight;
            block = (mean, weight, above.2 + block.2);
        }
        blocks.push(block);
    }
    let means = blocks
        .into_iter()
        .flat_map(|(mean, _, count)| std::iter::repeat_n(mean, count));
    means
        .zip(offsets)
        .map(|(mean, offset)| mean + offset)
        .collect()
}

/// Where on the sides of their nodes edges leave and arrive, beside the middle.
pub(super) struct Ports {
    leaving: BTreeMap<Way, f64>,
    arriving: BTreeMap<Way, f64>,
}

impl Ports {
    pub(super) fn new(chains: &Chains, layered: &Layered, centres: &[f64], sizes: &Sizes) -> Self {
        let mut leaving: Vec<Vec<(f64, Way)>> = vec![Vec::new(); layered.nodes];
        let mut arriving = leaving.clone();
        for (way, chain) in chains {
            let (first, last) = way.0;
            if let (Some(next), Some(list)) = (chain.get(1), leaving.get_mut(first)) {
                list.push((get(centres, *next), *way));
            }
            let previous = chain.len().checked_sub(2).and_then(|at| chain.get(at));
            if let (Some(previous), Some(list)) = (previous, arriving.get_mut(last)) {
                list.push((get(centres, *previous), *way));
            }
        }
        Self {
            leaving: spread(leaving, sizes),
            arriving: spread(arriving, sizes),
        }
    }

    pub(super) fn leaving(&self, way: &Way) -> f64 {
        self.leaving.get(way).copied().unwrap_or_default()
    }

    pub(super) fn arriving(&self, way: &Way) -> f64 {
        self.arriving.get(way).copied().unwrap_or_default()
    }
}

fn spread(sides: Vec<Vec<(f64, Way)>>, sizes: &Sizes) -> BTreeMap<Way, f64> {
    let mut ports = BTreeMap::new();
    for mut side in sides {
        side.sort_by(|one, other| one.0.total_cmp(&other.0).then_with(|| one.1.cmp(&other.1)));
        let step = PORT_GAP.min(PORT_SHARE * sizes.node_height / side.len().max(1) as f64);
        let middle = (side.len().max(1) - 1) as f64 / 2.0;
        for (at, (_, way)) in side.into_iter().enumerate() {
            ports.insert(way, (at as f64 - middle) * step);
        }
    }
    ports
}
