//! Operators between two values: arithmetic, comparisons, and the set operators.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::token::{
    T_ADD, T_DIV, T_EQLC, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_MOD, T_MUL,
    T_NEQ, T_POW, T_SUB,
};
use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::{LabelSet, QueryError, Sample, Value, grouped, unique, unsupported, without_name};

/// What an operator makes of two numbers.
enum Outcome {
    Number(f64),
    /// Of a comparison.
    Truth(bool),
}

/// Refuses an operator that [`apply`] does not know.
pub(super) fn check(binary: &BinaryExpr) -> Result<(), QueryError> {
    let operator = binary.op;
    if !operator.is_set_operator() && outcome(operator.id(), 0.0, 0.0).is_none() {
        return Err(unsupported(&format!("`{operator}`")));
    }
    let Some(BinModifier {
        card, fill_values, ..
    }) = &binary.modifier
    else {
        return Ok(());
    };
    match card {
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {}
        VectorMatchCardinality::ManyToOne(_) | VectorMatchCardinality::OneToMany(_) => {
            return Err(unsupported("`group_left` and `group_right`"));
        }
    }
    if fill_values.lhs.is_some() || fill_values.rhs.is_some() {
        return Err(unsupported("`fill`"));
    }
    Ok(())
}

/// What both sides come to.
pub(super) fn apply(binary: &BinaryExpr, left: Value, right: Value) -> Result<Value, QueryError> {
    let operator = binary.op.id();
    let modifier = binary.modifier.as_ref();
    let as_number = modifier.is_some_and(|modifier| modifier.return_bool);
    let matching = modifier.and_then(|modifier| modifier.matching.as_ref());
    match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => match outcome(operator, left, right) {
            Some(Outcome::Number(number)) => Ok(Value::Scalar(number)),
            Some(Outcome::Truth(holds)) => Ok(Value::Scalar(number_of(holds))),
            None => Err(unsupported("a set operator between numbers")),
        },
        (Value::Vector(left), Value::Scalar(right)) => {
            let kept = left.into_iter().filter_map(|sample| {
                let found = outcome(operator, sample.value, right)?;
                kept(sample, &found, as_number)
            });
            unique(kept.collect()).map(Value::Vector)
        }
        (Value::Scalar(left), Value::Vector(right)) => {
            let kept = right.into_iter().filter_map(|sample| {
                let found = outcome(operator, left, sample.value)?;
                kept(sample, &found, as_number)
            });
            unique(kept.collect()).map(Value::Vector)
        }
        (Value::Vector(left), Value::Vector(right)) => {
            if binary.op.is_set_operator() {
                return Ok(Value::Vector(set(operator, matching, left, right)));
            }
            one_to_one(operator, matching, as_number, left, right).map(Value::Vector)
        }
    }
}

/// `None` for an operator that is none between numbers.
#[expect(clippy::float_cmp, reason = "PromQL compares floats as they are")]
fn outcome(operator: u16, left: f64, right: f64) -> Option<Outcome> {
    let number = match operator {
        T_ADD => left + right,
        T_SUB => left - right,
        T_MUL => left * right,
        T_DIV => left / right,
        T_MOD => left % right,
        T_POW => left.powf(right),
        _ => {
            let holds = match operator {
                T_EQLC => left == right,
                T_NEQ => left != right,
                T_GTR => left > right,
                T_LSS => left < right,
                T_GTE => left >= right,
                T_LTE => left <= right,
                _ => return None,
            };
            return Some(Outcome::Truth(holds));
        }
    };
    Some(Outcome::Number(number))
}

fn number_of(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// The sample after an operator: a comparison keeps it as it is or drops it, everything else takes its name.
fn kept(sample: Sample, found: &Outcome, as_number: bool) -> Option<Sample> {
    let value = match found {
        Outcome::Truth(holds) if !as_number => return holds.then_some(sample),
        Outcome::Truth(holds) => number_of(*holds),
        Outcome::Number(number) => *number,
    };
    Some(Sample {
        labels: without_name(sample.labels),
        value,
    })
}

/// The labels by which samples of both sides belong together.
fn signature(matching: Option<&LabelModifier>, labels: &LabelSet) -> LabelSet {
    match matching {
        None => without_name(labels.clone()),
        Some(matching) => grouped(matching, labels.clone()),
    }
}

fn set(
    operator: u16,
    matching: Option<&LabelModifier>,
    left: Vec<Sample>,
    right: Vec<Sample>,
) -> Vec<Sample> {
    let signatures = |samples: &[Sample]| -> BTreeSet<LabelSet> {
        let signatures = samples
            .iter()
            .map(|sample| signature(matching, &sample.labels));
        signatures.collect()
    };
    let is_in = |side: &BTreeSet<LabelSet>, sample: &Sample| {
        side.contains(&signature(matching, &sample.labels))
    };
    let (on_left, on_right) = (signatures(&left), signatures(&right));
    let mut samples = left;
    match operator {
        T_LAND => samples.retain(|sample| is_in(&on_right, sample)),
        T_LUNLESS => samples.retain(|sample| !is_in(&on_right, sample)),
        T_LOR => {
            let more = right.into_iter().filter(|sample| !is_in(&on_left, sample));
            samples.extend(more);
        }
        _ => samples.clear(),
    }
    samples
}

fn one_to_one(
    operator: u16,
    matching: Option<&LabelModifier>,
    as_number: bool,
    left: Vec<Sample>,
    right: Vec<Sample>,
) -> Result<Vec<Sample>, QueryError> {
    let many = |side: &str| {
        QueryError::Execution(format!(
            "found duplicate series for the match group on the {side} hand-side of the operation; many-to-many matching \
             not allowed: matching labels must be unique on one side"
        ))
    };
    let mut partners = BTreeMap::new();
    for sample in right {
        let signature = signature(matching, &sample.labels);
        if partners.insert(signature, sample.value).is_some() {
            return Err(many("right"));
        }
    }
    let mut seen = BTreeSet::new();
    let mut matched = Vec::new();
    for sample in left {
        let signature = signature(matching, &sample.labels);
        let Some(partner) = partners.get(&signature) else {
            continue;
        };
        let Some(found) = outcome(operator, sample.value, *partner) else {
            continue;
        };
        let labels = match matching {
            None => sample.labels.clone(),
            Some(_) => signature.clone(),
        };
        if !seen.insert(signature) {
            return Err(many("left"));
        }
        let sample = Sample { labels, ..sample };
        matched.extend(kept(sample, &found, as_number));
    }
    Ok(matched)
}
