//! Which sets of calls, or sequences of events, the spans of an operation have, and how often.

use serde::{Deserialize, Serialize};

use crate::adapter::rca::cells::{Cell, Cells, Half};
use crate::model::series::SeriesId;

/// Shapes with their weights, the commonest of them told apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shapes<T> {
    /// Sorted by what they are.
    counted: Vec<Shape<T>>,
    /// Those that the bound had no place for.
    pub other: Cells,
}

/// One shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape<T> {
    /// What is called (a set, sorted), or what happens (a sequence).
    pub parts: Vec<T>,
    /// The operation of another service that was called and answered last.
    pub last: Option<SeriesId>,
    /// Weight of the spans.
    pub weight: Cells,
    /// A trace with such a span: the least id of all.
    pub example: Box<str>,
}

impl<T> Default for Shapes<T> {
    fn default() -> Self {
        Self {
            counted: Vec::new(),
            other: Cells::default(),
        }
    }
}

impl<T: Ord + Clone> Shape<T> {
    fn key(&self) -> (&[T], Option<SeriesId>) {
        (&self.parts, self.last)
    }
}

impl<T: Ord + Clone> Shapes<T> {
    /// Adds a span; `false` if the bound has no place for its shape.
    pub fn add(
        &mut self,
        (parts, last): (Vec<T>, Option<SeriesId>),
        (cell, weight): (Cell, f64),
        trace_id: &str,
        most: usize,
    ) -> bool {
        let mut cells = Cells::default();
        cells.add(cell, weight);
        let shape = Shape {
            parts,
            last,
            weight: cells,
            example: trace_id.into(),
        };
        self.add_shape(shape, most)
    }

    /// Adds all of another; the number of shapes that the bound has no place for.
    pub fn merge(&mut self, other: &Self, most: usize) -> u64 {
        self.other.merge(&other.other);
        let mut refused = 0;
        for shape in &other.counted {
            refused += u64::from(!self.add_shape(shape.clone(), most));
        }
        refused
    }

    fn add_shape(&mut self, shape: Shape<T>, most: usize) -> bool {
        let place = self
            .counted
            .binary_search_by(|known| known.key().cmp(&shape.key()));
        match place {
            Ok(place) => {
                if let Some(known) = self.counted.get_mut(place) {
                    known.weight.merge(&shape.weight);
                    known.example = known.example.clone().min(shape.example);
                }
                true
            }
            Err(place) if self.counted.len() < most => {
                self.counted.insert(place, shape);
                true
            }
            Err(_) => {
                self.other.merge(&shape.weight);
                false
            }
        }
    }

    /// All that are told apart.
    pub fn iter(&self) -> impl Iterator<Item = &Shape<T>> {
        self.counted.iter()
    }

    /// Weight of all of them over some cells.
    pub fn total(&self, half: Half) -> f64 {
        let told_apart: f64 = self.iter().map(|shape| shape.weight.sum(half)).sum();
        told_apart + self.other.sum(half)
    }
}
