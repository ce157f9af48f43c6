//! Selectors: which spans of a trace.

use std::collections::BTreeSet;

use super::lex::{Prefix, Token, Tokens};
use super::span::{unknown_key, unknown_value};
use super::{Comparator, SyntaxError, Value, Variables, value_of};
use crate::model::trace::TraceSpan;
use crate::trace::tree::TraceTree;

/// Which spans of a trace: those of one alternative or another.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// As it is written.
    pub text: String,
    /// The alternatives, each from its outermost step to the span that is meant.
    pub alternatives: Vec<Vec<Step>>,
}

/// One level of a selector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    filters: Vec<Filter>,
    place: Place,
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    key: String,
    /// Nothing asks whether the attribute is there.
    condition: Option<(Comparator, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Value(Value),
    Variable(String),
    Environment(String),
}

/// Which of the spans that match, in the order of their starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Any,
    First,
    Last,
    /// From 1.
    Nth(usize),
}

impl Selector {
    /// Reads a selector.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut tokens = Tokens::new(text)?;
        let mut alternatives = vec![steps(&mut tokens)?];
        while tokens.skip(",") {
            alternatives.push(steps(&mut tokens)?);
        }
        if *tokens.peek() != Token::End {
            return Err(tokens.unexpected("`span[…]`, `,` or the end"));
        }
        Ok(Self {
            text: text.trim().to_owned(),
            alternatives,
        })
    }

    /// The spans that it selects, by their index in the trace.
    pub fn select(&self, tree: &TraceTree<'_>, variables: &Variables) -> Vec<usize> {
        let mut selected = BTreeSet::new();
        for steps in &self.alternatives {
            let mut within: Option<BTreeSet<usize>> = None;
            for step in steps {
                within = Some(step.select(tree, within.as_ref(), variables));
            }
            selected.extend(within.unwrap_or_default());
        }
        selected.into_iter().collect()
    }

    /// Whether one step of it alone matches a span.
    pub fn matches(&self, span: &TraceSpan, variables: &Variables) -> bool {
        let mut last = self.alternatives.iter().filter_map(|steps| steps.last());
        last.any(|step| step.matches(span, variables))
    }

    /// The service that it asks for by name, if all alternatives ask for the same.
    pub fn service(&self) -> Option<&str> {
        let mut services = self
            .alternatives
            .iter()
            .map(|steps| steps.last()?.service());
        let first = services.next()??;
        services.all(|other| other == Some(first)).then_some(first)
    }
}

impl Step {
    fn select(
        &self,
        tree: &TraceTree<'_>,
        within: Option<&BTreeSet<usize>>,
        variables: &Variables,
    ) -> BTreeSet<usize> {
        let spans = tree.trace().spans.iter().enumerate();
        let mut found = spans.filter(|(index, span)| {
            self.matches(span, variables)
                && within.is_none_or(|within| {
                    let mut ancestors = tree.ancestors(*index);
                    ancestors.any(|ancestor| within.contains(&ancestor))
                })
        });
        match self.place {
            Place::Any => found.map(|(index, _)| index).collect(),
            Place::First => found.next().map(|(index, _)| index).into_iter().collect(),
            Place::Last => found
                .next_back()
                .map(|(index, _)| index)
                .into_iter()
                .collect(),
            Place::Nth(number) => found
                .nth(number.saturating_sub(1))
                .map(|(index, _)| index)
                .into_iter()
                .collect(),
        }
    }

    fn matches(&self, span: &TraceSpan, variables: &Variables) -> bool {
        self.filters.iter().all(|filter| {
            let found = value_of(span, &filter.key);
            let Some((comparator, operand)) = &filter.condition else {
                return found.is_some();
            };
            let wanted = match operand {
                Operand::Value(value) => Some(value.clone()),
                Operand::Variable(name) => variables.variable(name).cloned(),
                Operand::Environment(name) => variables.environment(name),
            };
            match (found, wanted) {
                (Some(found), Some(wanted)) => comparator.compare(&found, &wanted).unwrap_or(false),
                (None, Some(_)) => comparator.holds_of_nothing(),
                (_, None) => false,
            }
        })
    }

    fn service(&self) -> Option<&str> {
        self.filters.iter().find_map(|filter| match filter {
            Filter {
                key,
                condition: Some((Comparator::Equal, Operand::Value(Value::Text(name)))),
            } if key == "service.name" => Some(name.as_str()),
            _ => None,
        })
    }
}

fn steps(tokens: &mut Tokens) -> Result<Vec<Step>, SyntaxError> {
    let mut steps = vec![step(tokens)?];
    while matches!(tokens.peek(), Token::Word(_)) {
        steps.push(step(tokens)?);
    }
    Ok(steps)
}

fn step(tokens: &mut Tokens) -> Result<Step, SyntaxError> {
    if !matches!(tokens.peek(), Token::Word(word) if word == "span") {
        return Err(tokens.unexpected("`span[…]`"));
    }
    tokens.take();
    let mut filters = Vec::new();
    if tokens.skip("[") {
        while !tokens.skip("]") {
            filters.push(filter(tokens)?);
            // Old files separate filters by commas.
            tokens.skip(",");
        }
    }
    let place = if tokens.skip(":") {
        place(tokens)?
    } else {
        Place::Any
    };
    Ok(Step { filters, place })
}

fn filter(tokens: &mut Tokens) -> Result<Filter, SyntaxError> {
    let Token::Word(key) = tokens.peek().clone() else {
        return Err(tokens.unexpected("the key of an attribute, or `]`"));
    };
    if let Some(why) = unknown_key(&key) {
        return Err(SyntaxError::new(tokens.at(), why));
    }
    tokens.take();
    let Some(comparator) = comparator(tokens) else {
        let is_next = matches!(tokens.peek(), Token::Word(_))
            || matches!(tokens.peek(), Token::Symbol("]" | ","));
        if is_next {
            let condition = None;
            return Ok(Filter { key, condition });
        }
        return Err(tokens.unexpected(&operators()));
    };
    if matches!(comparator, Comparator::JsonContains) {
        let message = "json-contains compares in assertions; a selector takes contains".to_owned();
        return Err(SyntaxError::new(tokens.at(), message));
    }
    if let (Comparator::Equal | Comparator::NotEqual, Token::Text(text)) =
        (comparator, tokens.peek())
        && let Some(why) = unknown_value(&key, text)
    {
        return Err(SyntaxError::new(tokens.at(), why));
    }
    let operand = match tokens.peek().clone() {
        Token::Text(text) => Operand::Value(Value::Text(text)),
        Token::Number(number) => Operand::Value(Value::Number(number)),
        Token::Duration(nanos) => Operand::Value(Value::Duration(nanos)),
        Token::Word(word) if word == "true" => Operand::Value(Value::Bool(true)),
        Token::Word(word) if word == "false" => Operand::Value(Value::Bool(false)),
        Token::Name(Prefix::Variable, name) => Operand::Variable(name),
        Token::Name(Prefix::Environment, name) => Operand::Environment(name),
        Token::Word(_) | Token::Name(..) | Token::Symbol(_) | Token::End => {
            return Err(tokens.unexpected(
                "a value: a text in quotes, a number, a duration, true, false, var:NAME or env:NAME",
            ));
        }
    };
    tokens.take();
    Ok(Filter {
        key,
        condition: Some((comparator, operand)),
    })
}

/// Takes an operator if one is next.
pub(super) fn comparator(tokens: &mut Tokens) -> Option<Comparator> {
    let word = match tokens.peek() {
        Token::Symbol(symbol) => *symbol,
        Token::Word(word) => word.as_str(),
        Token::Name(..) | Token::Text(_) | Token::Number(_) | Token::Duration(_) | Token::End => {
            return None;
        }
    };
    let (_, found) = Comparator::ALL
        .into_iter()
        .find(|(label, _)| *label == word)?;
    tokens.take();
    Some(found)
}

/// For messages.
pub(super) fn operators() -> String {
    let labels: Vec<&str> = Comparator::ALL.iter().map(|(label, _)| *label).collect();
    format!("an operator ({})", labels.join(" "))
}

fn place(tokens: &mut Tokens) -> Result<Place, SyntaxError> {
    let wanted = "`first`, `last` or `nth_child(NUMBER)`";
    let Token::Word(word) = tokens.peek().clone() else {
        return Err(tokens.unexpected(wanted));
    };
    match word.as_str() {
        "first" => {
            tokens.take();
            Ok(Place::First)
        }
        "last" => {
            tokens.take();
            Ok(Place::Last)
        }
        "nth_child" => {
            tokens.take();
            tokens.expect("(", "behind nth_child")?;
            let at = tokens.at();
            let Token::Number(number) = tokens.take() else {
                return Err(SyntaxError::new(at, "nth_child wants a number from 1"));
            };
            let whole =
                (1..=10_000_u32).find(|whole| f64::from(*whole).to_bits() == number.to_bits());
            let Some(nth) = whole.and_then(|whole| usize::try_from(whole).ok()) else {
                return Err(SyntaxError::new(
                    at,
                    "nth_child wants a whole number from 1",
                ));
            };
            tokens.expect(")", "behind the number")?;
            Ok(Place::Nth(nth))
        }
        _ => Err(tokens.unexpected(wanted)),
    }
}
