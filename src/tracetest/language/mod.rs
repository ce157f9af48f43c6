//! The language of trace tests, in Tracetest's words: selectors pick spans, assertions compare expressions.
//!
//! ```text
//! selector   = step {step} {"," selector}                    a later step is a descendant, at any depth
//! step       = "span" ["[" {filter} "]"] [":first" | ":last" | ":nth_child(" n ")"]
//! filter     = key [operator value]                          all must hold; a key alone: the attribute is there
//! assertion  = expression operator expression
//! operator   = "=" | "!=" | ">" | ">=" | "<" | "<=" | "contains" | "not-contains" | "starts-with"
//!            | "not-starts-with" | "ends-with" | "not-ends-with" | "json-contains"
//! expression = sum {"|" filter {argument}}
//! sum        = product {("+" | "-") product}
//! product    = term {("*" | "/") term}
//! term       = "attr:" name | "var:" name | "env:" name | text | number | duration | "true" | "false"
//!            | "[" [expression {"," expression}] "]" | "(" expression ")"
//! text       = '"' … '"' | "'" … "'"                         with ${expression} inside
//! ```
//!
//! Names may hold `-`, so that a minus behind a name stands between spaces.

mod evaluate;
mod expression;
mod filter;
mod lex;
mod selector;
mod span;
mod value;

#[cfg(test)]
mod tests;

pub use evaluate::{Scope, Seen, Variables};
pub use expression::{Assertion, Expression};
pub use selector::{Selector, Step};
pub use span::{service_of, value_of};
pub use value::{Comparator, Value, duration_text};

/// What is wrong with a text of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where, in characters from 0.
    pub at: usize,
    /// What, with the remedy.
    pub message: String,
}

impl SyntaxError {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }
}
