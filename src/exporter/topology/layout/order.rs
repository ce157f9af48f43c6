//! The order within columns: sweeps of medians and exchanges of neighbours, of which the best order stays (Gansner et al. 1993).

use super::Layered;

/// Sweeps from each start.
const SWEEPS: usize = 24;

/// Rounds of exchanges after each sweep.
const EXCHANGES: usize = 8;

/// Gives columns an order with few crossings.
pub(super) fn reduce_crossings(layered: &mut Layered) {
    let start = layered.columns.clone();
    let mut reversed = start.clone();
    for column in &mut reversed {
        column.reverse();
    }
    let mut best = (usize::MAX, start.clone());
    for columns in [start, reversed] {
        layered.columns = columns;
        for sweep in 0..SWEEPS {
            let crossings = crossings(layered);
            if crossings < best.0 {
                best = (crossings, layered.columns.clone());
            }
            if crossings == 0 {
                break;
            }
            sort_by_medians(layered, sweep % 2 == 0);
            exchange(layered);
        }
        let crossings = crossings(layered);
        if crossings < best.0 {
            best = (crossings, layered.columns.clone());
        }
    }
    layered.columns = best.1;
}

/// The place of each vertex in its column.
fn positions(layered: &Layered) -> Vec<usize> {
    let mut positions = vec![0; layered.column_of.len()];
    for column in &layered.columns {
        for (at, vertex) in column.iter().enumerate() {
            if let Some(place) = positions.get_mut(*vertex) {
                *place = at;
            }
        }
    }
    positions
}

fn places(neighbours: &[Vec<usize>], vertex: usize, positions: &[usize]) -> Vec<usize> {
    let own = neighbours
        .get(vertex)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut places: Vec<usize> = own
        .iter()
        .filter_map(|neighbour| positions.get(*neighbour).copied())
        .collect();
    places.sort_unstable();
    places
}

/// All crossings between neighbouring columns.
pub(super) fn crossings(layered: &Layered) -> usize {
    let positions = positions(layered);
    let columns = layered.columns.iter();
    columns
        .map(|column| {
            let mut arrived: Vec<usize> = Vec::new();
            let mut count = 0;
            for vertex in column {
                let ends = places(&layered.behind, *vertex, &positions);
                // Those of the same vertex cross nobody of each other.
                count += ends
                    .iter()
                    .map(|end| arrived.len() - arrived.partition_point(|other| other <= end))
                    .sum::<usize>();
                for end in ends {
                    arrived.insert(arrived.partition_point(|other| *other <= end), end);
                }
            }
            count
        })
        .sum()
}

fn sort_by_medians(layered: &mut Layered, is_forward: bool) {
    let count = layered.columns.len();
    let order: Vec<usize> = if is_forward {
        (0..count).collect()
    } else {
        (0..count).rev().collect()
    };
    let mut positions = positions(layered);
    for at in order {
        let neighbours = if is_forward {
            &layered.before
        } else {
            &layered.behind
        };
        let Some(column) = layered.columns.get_mut(at) else {
            continue;
        };
        let medians = column
            .iter()
            .map(|vertex| median(&places(neighbours, *vertex, &positions)));
        let keyed: Vec<(Option<f64>, usize)> = medians.zip(column.iter().copied()).collect();
        // What has no neighbours there keeps its place.
        let mut moving: Vec<(f64, usize)> = keyed
            .iter()
            .filter_map(|(median, vertex)| Some(((*median)?, *vertex)))
            .collect();
        moving.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut moving = moving.into_iter();
        for (place, (median, vertex)) in column.iter_mut().zip(keyed) {
            *place = median
                .and_then(|_| moving.next())
                .map_or(vertex, |(_, vertex)| vertex);
        }
        for (place, vertex) in column.iter().enumerate() {
            if let Some(held) = positions.get_mut(*vertex) {
                *held = place;
            }
        }
    }
}

fn median(places: &[usize]) -> Option<f64> {
    let upper = places.get(places.len() / 2)?;
    if places.len() % 2 == 1 {
        return Some(*upper as f64);
    }
    let lower = places.get(places.len() / 2 - 1)?;
    Some((lower + upper) as f64 / 2.0)
}

/// Exchanges neighbours as long as that saves crossings.
fn exchange(layered: &mut Layered) {
    let mut positions = positions(layered);
    for _ in 0..EXCHANGES {
        let mut is_changed = false;
        for column in &mut layered.columns {
            for at in 1..column.len() {
                let (Some(upper), Some(lower)) =
                    (column.get(at - 1).copied(), column.get(at).copied())
                else {
                    continue;
                };
                let cost = |upper, lower| -> usize {
                    [&layered.before, &layered.behind]
                        .map(|side| {
                            inversions(
                                &places(side, upper, &positions),
                                &places(side, lower, &positions),
                            )
                        })
                        .iter()
                        .sum()
                };
                if cost(lower, upper) < cost(upper, lower) {
                    column.swap(at - 1, at);
                    for (vertex, place) in [(lower, at - 1), (upper, at)] {
                        if let Some(held) = positions.get_mut(vertex) {
                            *held = place;
                        }
                    }
                    is_changed = true;
                }
            }
        }
        if !is_changed {
            break;
        }
    }
}

/// Crossings of the edges of an upper vertex with those of a lower one.
fn inversions(upper: &[usize], lower: &[usize]) -> usize {
    let ends = lower.iter();
    ends.map(|end| upper.len() - upper.partition_point(|other| other <= end))
        .sum()
}
