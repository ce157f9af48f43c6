//! A part of PromQL over the page: what rollout controllers ask, answered as a Prometheus would that has scraped the page
//! once, now.
//!
//! There are selectors, numbers, arithmetic, comparisons, `and`, `or`, `unless`, `sum`, `min`, `max`, `avg` and `count`,
//! `vector` and `scalar`. What needs the past (`rate`, `…_over_time`, `offset`, `@`, subqueries) is refused: one scrape
//! has none.

mod operator;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use promql_parser::label::Matchers;
use promql_parser::parser::token::{T_AVG, T_COUNT, T_MAX, T_MIN, T_SUM};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AggregateExpr, Call, Expr, LabelModifier, MatrixSelector, VectorSelector, parse,
};

use super::read::{LabelSet, NAME_LABEL, Sample, samples};

/// Bytes of the longest query.
pub const MAX_QUERY_BYTES: usize = 4_096;

/// Expressions within expressions.
const MAX_DEPTH: usize = 64;

/// What there is; for the answer to anything else.
const SUPPORTED: &str = "slo-copilot answers selectors of the series on its /metrics, numbers, arithmetic, comparisons, \
    and/or/unless, sum/min/max/avg/count by or without labels, vector() and scalar(); ask a Prometheus that scrapes \
    /metrics for the rest";

/// Why a query has no answer. Named as in the answers of Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It cannot be read, or asks for what there is not: HTTP 400.
    #[error("{0}")]
    BadData(String),
    /// It cannot be executed on these series: HTTP 422.
    #[error("{0}")]
    Execution(String),
}

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar(f64),
    /// A number a series.
    Vector(Vec<Sample>),
}

/// How an answer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Scalar,
    /// One value a series.
    Vector,
    /// Values over time a series.
    Matrix,
}

/// A query that was understood.
#[derive(Clone, Debug)]
pub struct Query {
    expression: Expr,
    shape: Shape,
}

impl Query {
    /// Reads a query; refuses what cannot be answered.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > MAX_QUERY_BYTES {
            let text = format!("the query is longer than {MAX_QUERY_BYTES} bytes");
            return Err(QueryError::BadData(text));
        }
        let parsed =
            parse(text).map_err(|error| QueryError::BadData(format!("parse error: {error}")))?;
        // A range of the only sample there is: it stands alone, since functions over it would pretend to know the past.
        let (expression, shape) = if let Expr::MatrixSelector(MatrixSelector { vs, .. }) = parsed {
            (Expr::VectorSelector(vs), Shape::Matrix)
        } else {
            let shape = match parsed.value_type() {
                ValueType::Scalar => Shape::Scalar,
                ValueType::Vector | ValueType::Matrix | ValueType::String => Shape::Vector,
            };
            (parsed, shape)
        };
        check(&expression, 0)?;
        Ok(Self { expression, shape })
    }

    /// How its answer is told at one instant.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether its answer depends on the page.
    pub fn reads_series(&self) -> bool {
        reads_series(&self.expression)
    }

    /// Its answer on a page that [`super::render`] wrote.
    pub fn evaluate(&self, page: &str) -> Result<Value, QueryError> {
        evaluate(&self.expression, page)
    }
}

fn unsupported(what: &str) -> QueryError {
    QueryError::BadData(format!("{what} is not supported: {SUPPORTED}"))
}

/// Refuses everything that [`evaluate`] does not know.
fn check(expression: &Expr, depth: usize) -> Result<(), QueryError> {
    if depth > MAX_DEPTH {
        let text = format!("the query has more than {MAX_DEPTH} expressions within each other");
        return Err(QueryError::BadData(text));
    }
    let below = depth + 1;
    match expression {
        Expr::NumberLiteral(_) => Ok(()),
        Expr::Paren(inner) => check(&inner.expr, below),
        Expr::Unary(inner) => check(&inner.expr, below),
        Expr::VectorSelector(selector) => check_selector(selector),
        Expr::Binary(binary) => {
            operator::check(binary)?;
            check(&binary.lhs, below)?;
            check(&binary.rhs, below)
        }
        Expr::Aggregate(AggregateExpr {
            op, expr, param, ..
        }) => {
            let is_known = [T_SUM, T_MIN, T_MAX, T_AVG, T_COUNT].contains(&op.id());
            if !is_known || param.is_some() {
                return Err(unsupported(&format!("`{op}`")));
            }
            check(expr, below)
        }
        Expr::Call(Call { func, args }) => match (func.name, args.args.as_slice()) {
            ("vector" | "scalar", [argument]) => check(argument, below),
            (name, _) => Err(unsupported(&format!("the function `{name}`"))),
        },
        Expr::MatrixSelector(_) => Err(unsupported("a range within an expression")),
        Expr::Subquery(_) => Err(unsupported("a subquery")),
        Expr::StringLiteral(_) => Err(unsupported("a text")),
        Expr::Extension(_) => Err(unsupported("an extension")),
    }
}

fn check_selector(selector: &VectorSelector) -> Result<(), QueryError> {
    if selector.offset.is_some() || selector.at.is_some() {
        return Err(unsupported(
            "another time than now (`offset`, `@`), of which nothing is held,",
        ));
    }
    if !selector.matchers.or_matchers.is_empty() {
        return Err(unsupported("`or` between matchers"));
    }
    Ok(())
}

fn reads_series(expression: &Expr) -> bool {
    match expression {
        Expr::VectorSelector(_) | Expr::MatrixSelector(_) | Expr::Subquery(_) => true,
        Expr::Paren(inner) => reads_series(&inner.expr),
        Expr::Unary(inner) => reads_series(&inner.expr),
        Expr::Aggregate(inner) => reads_series(&inner.expr),
        Expr::Binary(binary) => reads_series(&binary.lhs) || reads_series(&binary.rhs),
        Expr::Call(call) => call.args.args.iter().any(|argument| reads_series(argument)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => false,
    }
}

fn evaluate(expression: &Expr, page: &str) -> Result<Value, QueryError> {
    match expression {
        Expr::NumberLiteral(number) => Ok(Value::Scalar(number.val)),
        Expr::Paren(inner) => evaluate(&inner.expr, page),
        Expr::VectorSelector(selector) => Ok(Value::Vector(select(selector, page))),
        Expr::Unary(inner) => match evaluate(&inner.expr, page)? {
            Value::Scalar(number) => Ok(Value::Scalar(-number)),
            Value::Vector(samples) => {
                let negated = samples.into_iter().map(|sample| Sample {
                    labels: without_name(sample.labels),
                    value: -sample.value,
                });
                unique(negated.collect()).map(Value::Vector)
            }
        },
        Expr::Binary(binary) => {
            let (left, right) = (evaluate(&binary.lhs, page)?, evaluate(&binary.rhs, page)?);
            operator::apply(binary, left, right)
        }
        Expr::Aggregate(aggregate) => {
            let samples = vector(evaluate(&aggregate.expr, page)?)?;
            Ok(Value::Vector(aggregated(aggregate, samples)))
        }
        Expr::Call(Call { func, args }) => {
            let argument = args.args.first();
            let argument = argument.map(|argument| evaluate(argument, page));
            match (func.name, argument.transpose()?) {
                ("vector", Some(Value::Scalar(value))) => Ok(Value::Vector(vec![Sample {
                    labels: LabelSet::new(),
                    value,
                }])),
                ("scalar", Some(Value::Vector(samples))) => {
                    Ok(Value::Scalar(match samples.as_slice() {
                        [only] => only.value,
                        [] | [_, _, ..] => f64::NAN,
                    }))
                }
                (name, _) => Err(unsupported(&format!("the function `{name}`"))),
            }
        }
        Expr::MatrixSelector(_)
        | Expr::Subquery(_)
        | Expr::StringLiteral(_)
        | Expr::Extension(_) => Err(unsupported("this expression")),
    }
}

fn vector(value: Value) -> Result<Vec<Sample>, QueryError> {
    match value {
        Value::Vector(samples) => Ok(samples),
        Value::Scalar(_) => Err(QueryError::BadData(
            "expected an instant vector, got a scalar".to_owned(),
        )),
    }
}

fn select(selector: &VectorSelector, page: &str) -> Vec<Sample> {
    let VectorSelector { name, matchers, .. } = selector;
    let is_wanted = |sample: &Sample| matches(matchers, &sample.labels);
    let is_named = |found: &str| name.as_deref().is_none_or(|name| name == found);
    samples(page, is_named).filter(is_wanted).collect()
}

/// A label that is missing counts as an empty one.
fn matches(matchers: &Matchers, labels: &LabelSet) -> bool {
    let of = |name: &str| labels.get(name).map_or("", String::as_str);
    let mut matchers = matchers.matchers.iter();
    matchers.all(|matcher| matcher.is_match(of(&matcher.name)))
}

fn aggregated(aggregate: &AggregateExpr, samples: Vec<Sample>) -> Vec<Sample> {
    let mut groups: BTreeMap<LabelSet, Vec<f64>> = BTreeMap::new();
    for sample in samples {
        let group = match &aggregate.modifier {
            None => LabelSet::new(),
            Some(modifier) => grouped(modifier, sample.labels),
        };
        groups.entry(group).or_default().push(sample.value);
    }
    let operation = aggregate.op.id();
    let groups = groups.into_iter().map(|(labels, values)| Sample {
        labels,
        value: reduced(operation, &values),
    });
    groups.collect()
}

fn reduced(operation: u16, values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let sum = || values.iter().sum::<f64>();
    // `min` and `max` of numbers pass over NaN, as Prometheus does.
    let fold = |choose: fn(f64, f64) -> f64| values.iter().copied().fold(f64::NAN, choose);
    match operation {
        T_COUNT => count,
        T_AVG => sum() / count,
        T_MIN => fold(f64::min),
        T_MAX => fold(f64::max),
        _ => sum(),
    }
}

/// The labels that a clause leaves: those of `by` and `on`, or all but those of `without` and `ignoring`.
fn grouped(modifier: &LabelModifier, labels: LabelSet) -> LabelSet {
    let listed = |name: &String| modifier.labels().labels.contains(name);
    let mut labels = labels;
    match modifier {
        LabelModifier::Include(_) => labels.retain(|name, _| listed(name)),
        LabelModifier::Exclude(_) => labels.retain(|name, _| !listed(name) && name != NAME_LABEL),
    }
    labels
}

fn without_name(mut labels: LabelSet) -> LabelSet {
    labels.remove(NAME_LABEL);
    labels
}

/// Two series that lost what told them apart cannot both be told.
fn unique(samples: Vec<Sample>) -> Result<Vec<Sample>, QueryError> {
    let mut seen = std::collections::BTreeSet::new();
    let mut labels = samples.iter().map(|sample| &sample.labels);
    if labels.all(|labels| seen.insert(labels)) {
        return Ok(samples);
    }
    let text = "vector cannot contain metrics with the same labelset";
    Err(QueryError::Execution(text.to_owned()))
}
