//! Expressions and assertions, read by recursive descent.

use super::filter::Filter;
use super::lex::{Prefix, Token, Tokens};
use super::selector::{comparator, operators};
use super::span::unknown_key;
use super::{Comparator, SyntaxError, Value};

/// Brackets within brackets at most.
const NESTING_MAX: usize = 32;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A value as it is written.
    Literal(Value),
    /// `attr:name`
    Attribute(String),
    /// `var:name`
    Variable(String),
    /// `env:name`
    Environment(String),
    /// A text with expressions inside.
    Template(Vec<Self>),
    /// A list.
    List(Vec<Self>),
    /// `a + b`
    Arithmetic {
        /// `+`, `-`, `*` or `/`.
        operator: char,
        /// What stands before it.
        left: Box<Self>,
        /// What stands behind it.
        right: Box<Self>,
    },
    /// `a | filter 'argument'`
    Filtered {
        /// What goes in.
        input: Box<Self>,
        /// What is done to it.
        filter: Filter,
        /// With what.
        arguments: Vec<Self>,
    },
}

/// `left operator right`.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    /// As it is written.
    pub text: String,
    /// What is seen.
    pub left: Expression,
    /// How they compare.
    pub comparator: Comparator,
    /// What is wanted.
    pub right: Expression,
}

impl Assertion {
    /// Reads an assertion.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut tokens = Tokens::new(text)?;
        let left = expression(&mut tokens, 0)?;
        let Some(comparator) = comparator(&mut tokens) else {
            return Err(tokens.unexpected(&operators()));
        };
        let right = expression(&mut tokens, 0)?;
        end(&tokens)?;
        Ok(Self {
            text: text.trim().to_owned(),
            left,
            comparator,
            right,
        })
    }

    /// Whether it asks for something of a span, rather than for the number of spans alone.
    pub(crate) fn needs_span(&self) -> bool {
        self.left.needs_span() || self.right.needs_span()
    }
}

impl Expression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut tokens = Tokens::new(text)?;
        let read = expression(&mut tokens, 0)?;
        end(&tokens)?;
        Ok(read)
    }

    /// Reads a text without quotes, in which `${expression}` stands for its value.
    pub fn template(text: &str) -> Result<Self, SyntaxError> {
        template(text, 0, 0)
    }

    fn needs_span(&self) -> bool {
        match self {
            Self::Literal(_) | Self::Variable(_) | Self::Environment(_) => false,
            Self::Attribute(name) => name != super::evaluate::SELECTED,
            Self::Template(parts) | Self::List(parts) => parts.iter().any(Self::needs_span),
            Self::Arithmetic { left, right, .. } => left.needs_span() || right.needs_span(),
            Self::Filtered {
                input, arguments, ..
            } => input.needs_span() || arguments.iter().any(Self::needs_span),
        }
    }
}

fn end(tokens: &Tokens) -> Result<(), SyntaxError> {
    if *tokens.peek() == Token::End {
        Ok(())
    } else {
        Err(tokens.unexpected("the end"))
    }
}

fn expression(tokens: &mut Tokens, depth: usize) -> Result<Expression, SyntaxError> {
    if depth > NESTING_MAX {
        let message = format!("brackets are nested deeper than {NESTING_MAX} levels");
        return Err(SyntaxError::new(tokens.at(), message));
    }
    let mut read = sum(tokens, depth)?;
    while tokens.skip("|") {
        read = filtered(tokens, read, depth)?;
    }
    Ok(read)
}

fn filtered(
    tokens: &mut Tokens,
    input: Expression,
    depth: usize,
) -> Result<Expression, SyntaxError> {
    let at = tokens.at();
    let Token::Word(name) = tokens.take() else {
        let message = format!("expected a filter: {}", Filter::names().join(", "));
        return Err(SyntaxError::new(at, message));
    };
    let filter = Filter::named(&name).map_err(|message| SyntaxError::new(at, message))?;
    let mut arguments = Vec::new();
    while arguments.len() < filter.arguments() {
        let at = tokens.at();
        let is_missing = matches!(
            tokens.peek(),
            Token::End | Token::Symbol("|" | ")" | "]" | ",")
        );
        if is_missing {
            let message = format!("the filter {name} wants {}", filter.wants());
            return Err(SyntaxError::new(at, message));
        }
        let argument = term(tokens, depth)?;
        if let Expression::Literal(value) = &argument {
            let checked = filter.check(value);
            checked.map_err(|message| SyntaxError::new(at, message))?;
        }
        arguments.push(argument);
    }
    Ok(Expression::Filtered {
        input: Box::new(input),
        filter,
        arguments,
    })
}

fn sum(tokens: &mut Tokens, depth: usize) -> Result<Expression, SyntaxError> {
    chain(tokens, depth, ["+", "-"], product)
}

fn product(tokens: &mut Tokens, depth: usize) -> Result<Expression, SyntaxError> {
    chain(tokens, depth, ["*", "/"], term)
}

fn chain(
    tokens: &mut Tokens,
    depth: usize,
    operators: [&str; 2],
    operand: fn(&mut Tokens, usize) -> Result<Expression, SyntaxError>,
) -> Result<Expression, SyntaxError> {
    let mut left = operand(tokens, depth)?;
    loop {
        let found = operators.into_iter().find(|operator| tokens.skip(operator));
        let Some(operator) = found.and_then(|operator| operator.chars().next()) else {
            return Ok(left);
        };
        left = Expression::Arithmetic {
            operator,
            left: Box::new(left),
            right: Box::new(operand(tokens, depth)?),
        };
    }
}

fn term(tokens: &mut Tokens, depth: usize) -> Result<Expression, SyntaxError> {
    let at = tokens.at();
    let wanted = "a value: attr:NAME, var:NAME, env:NAME, a text in quotes, a number or a duration";
    let read = match tokens.peek().clone() {
        Token::Name(Prefix::Attribute, name) => match unknown_key(&name) {
            Some(why) => return Err(SyntaxError::new(at, why)),
            None => Expression::Attribute(name),
        },
        Token::Name(Prefix::Variable, name) => Expression::Variable(name),
        Token::Name(Prefix::Environment, name) => Expression::Environment(name),
        Token::Text(text) => template(&text, at + 1, depth + 1)?,
        Token::Number(number) => Expression::Literal(Value::Number(number)),
        Token::Duration(nanos) => Expression::Literal(Value::Duration(nanos)),
        Token::Word(word) => match word.as_str() {
            "true" => Expression::Literal(Value::Bool(true)),
            "false" => Expression::Literal(Value::Bool(false)),
            "null" => Expression::Literal(Value::Nothing),
            _ => {
                let found = tokens.unexpected(wanted).message;
                let message =
                    format!("{found}; an attribute is written attr:{word}, a text \"{word}\"");
                return Err(SyntaxError::new(at, message));
            }
        },
        Token::Symbol("(") => {
            tokens.take();
            let inner = expression(tokens, depth + 1)?;
            tokens.expect(")", "behind the expression")?;
            return Ok(inner);
        }
        Token::Symbol("[") => {
            tokens.take();
            return list(tokens, depth + 1);
        }
        Token::Symbol("-") => {
            tokens.take();
            let negated = term(tokens, depth)?;
            return Ok(Expression::Arithmetic {
                operator: '-',
                left: Box::new(Expression::Literal(Value::Number(0.0))),
                right: Box::new(negated),
            });
        }
        Token::Symbol(_) | Token::End => return Err(tokens.unexpected(wanted)),
    };
    tokens.take();
    Ok(read)
}

fn list(tokens: &mut Tokens, depth: usize) -> Result<Expression, SyntaxError> {
    let mut items = Vec::new();
    while !tokens.skip("]") {
        if !items.is_empty() {
            tokens.expect(",", "between the items, or `]`")?;
        }
        items.push(expression(tokens, depth)?);
    }
    Ok(Expression::List(items))
}

/// A text with its `${…}`; `at` is where it begins.
fn template(text: &str, at: usize, depth: usize) -> Result<Expression, SyntaxError> {
    let literal = |text: &str| Expression::Literal(Value::Text(text.to_owned()));
    let mut parts = Vec::new();
    let mut rest = text;
    let mut passed = 0;
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((inside, after)) = behind.split_once('}') else {
            let place = at + passed + before.chars().count();
            return Err(SyntaxError::new(
                place,
                "`${` is not closed; end it with `}`",
            ));
        };
        if !before.is_empty() {
            parts.push(literal(before));
        }
        passed += before.chars().count() + 2;
        let inner = Tokens::new(inside).and_then(|mut tokens| {
            let read = expression(&mut tokens, depth)?;
            end(&tokens)?;
            Ok(read)
        });
        let moved = |error: SyntaxError| SyntaxError::new(at + passed + error.at, error.message);
        parts.push(inner.map_err(moved)?);
        passed += inside.chars().count() + 1;
        rest = after;
    }
    if parts.is_empty() {
        return Ok(literal(rest));
    }
    if !rest.is_empty() {
        parts.push(literal(rest));
    }
    Ok(Expression::Template(parts))
}
