//! Drawings of any graph: nothing lies on anything, and order and places are as good as they can be where that is known.

use proptest::prelude::*;

use super::place::nearest;
use super::*;

const SIZES: Sizes = Sizes {
    node_width: 100.0,
    node_height: 40.0,
    column_gap: 60.0,
    node_gap: 20.0,
    edge_gap: 8.0,
};

#[test]
fn callers_stand_left_of_their_callees_and_a_chain_is_straight() {
    let drawing = lay_out(3, &[(0, 1), (1, 2)], &SIZES);
    assert_eq!(drawing.nodes, [(0.0, 0.0), (160.0, 0.0), (320.0, 0.0)]);
    assert_eq!(drawing.routes[0], [(100.0, 20.0), (160.0, 20.0)]);
    assert_eq!((drawing.width, drawing.height), (420.0, 40.0));
}

#[test]
fn an_edge_of_a_circle_goes_back_from_the_left_side_of_its_caller() {
    let drawing = lay_out(3, &[(0, 1), (1, 2), (2, 0)], &SIZES);
    let back: Vec<&Vec<Point>> = drawing
        .routes
        .iter()
        .filter(|route| route.first().unwrap().0 > route.last().unwrap().0)
        .collect();
    assert_eq!(back.len(), 1, "{drawing:?}");
}

/// K2,2 with its order twisted: one exchange saves the only crossing.
#[test]
fn crossings_that_need_not_be_are_not() {
    let edges = [(0, 3), (1, 2), (4, 0), (4, 1), (2, 5), (3, 5)];
    let drawing = lay_out(6, &edges, &SIZES);
    let above = |one: usize, other: usize| drawing.nodes[one].1 < drawing.nodes[other].1;
    assert_eq!(above(0, 1), above(3, 2), "{drawing:?}");
}

#[test]
fn nodes_alone_stand_in_rows_below() {
    let drawing = lay_out(7, &[(0, 1)], &SIZES);
    let rows: Vec<f64> = drawing.nodes[2..].iter().map(|node| node.1).collect();
    assert_eq!(rows, [80.0, 80.0, 80.0, 80.0, 140.0]);
}

fn is_same(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

fn overlap(one: Point, other: Point) -> bool {
    (one.0 - other.0).abs() < SIZES.node_width + 1.0
        && (one.1 - other.1).abs() < SIZES.node_height + 1.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn property_nothing_lies_on_anything(
        count in 1..24_usize,
        pairs in prop::collection::btree_set((0..24_usize, 0..24_usize), 0..50),
    ) {
        let edges: Vec<(usize, usize)> = pairs.into_iter().filter(|(from, to)| *from < count && *to < count).collect();
        let drawing = lay_out(count, &edges, &SIZES);
        prop_assert_eq!(&drawing, &lay_out(count, &edges, &SIZES));
        for (at, one) in drawing.nodes.iter().enumerate() {
            prop_assert!(one.0 >= 0.0 && one.1 > -1e-6);
            prop_assert!(one.0 + SIZES.node_width <= drawing.width + 1e-6);
            prop_assert!(one.1 + SIZES.node_height <= drawing.height + 1e-6);
            for other in &drawing.nodes[at + 1..] {
                prop_assert!(!overlap(*one, *other), "{:?}", drawing.nodes);
            }
        }
        for ((from, to), route) in edges.iter().zip(&drawing.routes) {
            let (first, last) = (route.first().unwrap(), route.last().unwrap());
            for (node, end) in [(from, first), (to, last)] {
                let place = drawing.nodes[*node];
                let is_at_a_side = is_same(end.0, place.0) || is_same(end.0, place.0 + SIZES.node_width);
                prop_assert!(is_at_a_side && (place.1..=place.1 + SIZES.node_height).contains(&end.1));
            }
            // Where it crosses a column it meets no node.
            for crossing in route[1..route.len() - 1].chunks_exact(2) {
                let y = crossing[0].1;
                prop_assert!(is_same(y, crossing[1].1));
                for place in &drawing.nodes {
                    let is_in_column = is_same(place.0, crossing[0].0.min(crossing[1].0));
                    let is_hit = is_in_column && y > place.1 && y < place.1 + SIZES.node_height;
                    prop_assert!(!is_hit, "{:?}", drawing);
                }
            }
        }
    }

    /// No other places that keep the gaps are nearer to what is wanted.
    #[test]
    fn property_places_are_the_nearest_ones(
        wanted in prop::collection::vec((-50.0..50.0_f64, 0.1..5.0_f64), 1..8),
        moves in prop::collection::vec((0..8_usize, -3.0..3.0_f64), 1..20),
    ) {
        let gaps = vec![10.0; wanted.len() - 1];
        let places = nearest(&wanted, &gaps);
        let keeps = |places: &[f64]| places.windows(2).all(|pair| pair[1] - pair[0] >= 10.0 - 1e-9);
        let cost = |places: &[f64]| -> f64 {
            places.iter().zip(&wanted).map(|(place, (value, weight))| weight * (place - value).powi(2)).sum()
        };
        prop_assert!(keeps(&places));
        for (first, by) in moves {
            let mut moved = places.clone();
            for place in moved.iter_mut().skip(first) {
                *place += by;
            }
            prop_assert!(!keeps(&moved) || cost(&moved) >= cost(&places) - 1e-9);
        }
    }
}
