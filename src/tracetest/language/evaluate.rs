//! What expressions are worth for a span.

use std::collections::BTreeMap;

use super::{Assertion, Expression, Value, value_of};
use crate::model::trace::TraceSpan;

/// The attribute that holds the number of selected spans.
pub(super) const SELECTED: &str = "tracetest.selected_spans.count";

/// What `var:` and `env:` stand for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variables {
    values: BTreeMap<String, Value>,
    environment: BTreeMap<String, String>,
}

impl Variables {
    /// No variables, and this environment.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            values: BTreeMap::new(),
            environment: environment.into_iter().collect(),
        }
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub(super) fn environment(&self, name: &str) -> Option<Value> {
        self.environment.get(name).cloned().map(Value::Text)
    }
}

/// What an expression may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The span; nothing where none is selected.
    pub span: Option<&'a TraceSpan>,
    /// How many spans are selected.
    pub selected: usize,
    /// Variables.
    pub variables: &'a Variables,
}

/// An assertion that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The value that was seen, or why there is none.
    pub observed: String,
    /// The value that is wanted, with the operator.
    pub wanted: String,
}

impl Assertion {
    /// Nothing if it holds.
    pub fn check(&self, scope: Scope<'_>) -> Option<Seen> {
        let label = self.comparator.label();
        let right = self.right.value(scope);
        let wanted = match &right {
            Ok(right) => format!("{label} {}", right.quoted()),
            Err(error) => error.clone(),
        };
        let seen = |observed| {
            Some(Seen {
                observed,
                wanted: wanted.clone(),
            })
        };
        let left = match (self.left.value(scope), &right) {
            (Ok(left), Ok(_)) => left,
            (Err(error), _) => return seen(error),
            (Ok(left), Err(_)) => return seen(left.quoted()),
        };
        match self
            .comparator
            .compare(&left, &right.unwrap_or(Value::Nothing))
        {
            Ok(true) => None,
            Ok(false) => seen(left.quoted()),
            Err(error) => seen(error),
        }
    }
}

impl Expression {
    /// The value, or why there is none.
    pub fn value(&self, scope: Scope<'_>) -> Result<Value, String> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Attribute(name) if name == SELECTED => Ok(Value::Number(scope.selected as f64)),
            Self::Attribute(name) => {
                let span = scope.span.ok_or("no span is selected")?;
                value_of(span, name).ok_or_else(|| format!("the span has no attribute {name}"))
            }
            Self::Variable(name) => {
                let found = scope.variables.variable(name).cloned();
                found.ok_or_else(|| format!("the variable {name} has no value"))
            }
            Self::Environment(name) => {
                let found = scope.variables.environment(name);
                found.ok_or_else(|| format!("the environment has no variable {name}"))
            }
            Self::Template(parts) => {
                let values = parts.iter().map(|part| Ok(part.value(scope)?.to_string()));
                values.collect::<Result<String, String>>().map(Value::Text)
            }
            Self::List(items) => {
                let values = items.iter().map(|item| item.value(scope));
                values.collect::<Result<_, _>>().map(Value::List)
            }
            Self::Arithmetic {
                operator,
                left,
                right,
            } => arithmetic(*operator, &left.value(scope)?, &right.value(scope)?),
            Self::Filtered {
                input,
                filter,
                arguments,
            } => {
                let arguments = arguments.iter().map(|argument| argument.value(scope));
                let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
                filter.apply(&input.value(scope)?, &arguments)
            }
        }
    }
}

/// Numbers with numbers; durations with durations, and with numbers where they scale; `+` joins texts.
fn arithmetic(operator: char, left: &Value, right: &Value) -> Result<Value, String> {
    let numbers = left.number().zip(right.number());
    let Some((a, b)) = numbers else {
        return match (operator, left, right) {
            ('+', Value::Text(left), right) => Ok(Value::Text(format!("{left}{right}"))),
            ('+', left, Value::Text(right)) => Ok(Value::Text(format!("{left}{right}"))),
            _ => Err(format!(
                "`{operator}` wants numbers or durations, not {} and {}",
                left.quoted(),
                right.quoted()
            )),
        };
    };
    let result = match operator {
        '+' => a + b,
        '-' => a - b,
        '*' => a * b,
        _ if b == 0.0 => return Err(format!("{} is divided by 0", left.quoted())),
        _ => a / b,
    };
    let is_duration = |value: &Value| matches!(value, Value::Duration(_));
    Ok(match (operator, is_duration(left), is_duration(right)) {
        ('/', true, true) | (_, false, false) => Value::Number(result),
        (_, _, _) => Value::Duration(result),
    })
}
