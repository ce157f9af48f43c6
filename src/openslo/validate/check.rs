//! One document under check: its findings, and the readers of typed values that make them.

use std::collections::BTreeMap;

use crate::model::finding::{Finding, Location};
use crate::model::period::Shorthand;
use crate::openslo::rules::Rule;
use crate::openslo::rules::document::{
    AMBIGUOUS_SCALAR, DUPLICATE_KEY, DURATION, REQUIRED, UNKNOWN_KEY, WRONG_TYPE,
};
use crate::openslo::suggest::unknown;
use crate::openslo::tree::{NodeValue, Scalar, ScalarKind};
use crate::openslo::validate::RawDocument;
use crate::openslo::validate::cursor::{Cursor, Object};
use crate::openslo::validate::declared::Declared;

/// A document under check.
pub(super) struct Check<'a> {
    document: &'a RawDocument,
    pub(super) declared: &'a Declared,
    findings: Vec<Finding>,
}

impl<'a> Check<'a> {
    pub(super) fn new(document: &'a RawDocument, declared: &'a Declared) -> Self {
        Self {
            document,
            declared,
            findings: Vec::new(),
        }
    }

    /// The findings in the order of their lines.
    pub(super) fn into_findings(mut self) -> Vec<Finding> {
        let line = |finding: &Finding| finding.location.as_ref().and_then(|location| location.line);
        self.findings.sort_by_key(line);
        self.findings
    }

    /// Where something is.
    pub(super) fn location(&self, at: &Cursor<'a>) -> Location {
        Location {
            file: self.document.file.clone(),
            line: Some(at.line),
            document: Some(self.document.index),
            path: Some(at.path.to_string()),
        }
    }

    /// Adds a finding.
    pub(super) fn report(&mut self, rule: &Rule, at: &Cursor<'a>, message: impl Into<String>) {
        self.findings.push(Finding {
            rule: rule.id.to_owned(),
            level: rule.level,
            message: message.into(),
            location: Some(self.location(at)),
        });
    }

    /// A map of these keys alone.
    pub(super) fn object(&mut self, at: &Cursor<'a>, keys: &[&str]) -> Option<Object<'a>> {
        let object = self.map(at)?;
        for (key, field) in &object.fields {
            if !keys.contains(key) {
                let message = unknown("the key", key, keys);
                self.report(&UNKNOWN_KEY, field, message);
            }
        }
        Some(object)
    }

    /// A map of any keys.
    pub(super) fn map(&mut self, at: &Cursor<'a>) -> Option<Object<'a>> {
        let NodeValue::Map(entries) = &at.node.value else {
            self.wrong_type(at, "a map of keys and values");
            return None;
        };
        let mut fields = BTreeMap::new();
        for entry in entries {
            let field = Cursor {
                node: &entry.node,
                path: at.path.key(&entry.key),
                line: entry.mark.line,
            };
            let first: Option<&Cursor<'a>> = fields.get(entry.key.as_str());
            if let Some(first) = first {
                let message = format!(
                    "the key `{}` stands already on line {}; keep one of the two",
                    entry.key, first.line
                );
                self.report(&DUPLICATE_KEY, &field, message);
            } else {
                fields.insert(entry.key.as_str(), field);
            }
        }
        let at = at.clone();
        Some(Object { at, fields })
    }

    /// A field that must be there.
    pub(super) fn required(&mut self, object: &Object<'a>, key: &str) -> Option<Cursor<'a>> {
        let found = object.get(key).cloned();
        if found.is_none() {
            let message = format!("the key `{key}` is missing");
            self.report(&REQUIRED, &object.at, message);
        }
        found
    }

    /// A text that must be there, and not empty.
    pub(super) fn required_text(&mut self, object: &Object<'a>, key: &str) -> Option<&'a str> {
        let at = self.required(object, key)?;
        let text = self.text(&at)?;
        if text.trim().is_empty() {
            self.report(&REQUIRED, &at, format!("`{key}` must not be empty"));
            return None;
        }
        Some(text)
    }

    /// A text if it is there.
    pub(super) fn optional_text(&mut self, object: &Object<'a>, key: &str) -> Option<&'a str> {
        self.text(object.get(key)?)
    }

    /// A boolean if it is there.
    pub(super) fn optional_boolean(&mut self, object: &Object<'a>, key: &str) -> Option<bool> {
        let at = object.get(key)?;
        match &at.node.value {
            NodeValue::Scalar(Scalar {
                kind: ScalarKind::Boolean(value),
                ..
            }) => Some(*value),
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
                self.wrong_type(at, "true or false");
                None
            }
        }
    }

    /// A number if it is there.
    pub(super) fn optional_number(&mut self, object: &Object<'a>, key: &str) -> Option<f64> {
        let at = object.get(key)?;
        let number = match &at.node.value {
            NodeValue::Scalar(Scalar {
                kind: ScalarKind::Number(number),
                ..
            }) => number.as_f64(),
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => None,
        };
        if number.is_none() {
            self.wrong_type(at, "a number");
        }
        number
    }

    /// The items of a list.
    pub(super) fn list(&mut self, at: &Cursor<'a>) -> Option<Vec<Cursor<'a>>> {
        let NodeValue::List(items) = &at.node.value else {
            self.wrong_type(at, "a list");
            return None;
        };
        let cursors = items.iter().enumerate().map(|(index, node)| Cursor {
            node,
            path: at.path.index(index),
            line: node.mark.line,
        });
        Some(cursors.collect())
    }

    /// A text, with a warning where other readers take it for something else.
    pub(super) fn text(&mut self, at: &Cursor<'a>) -> Option<&'a str> {
        let scalar = self.text_scalar(at)?;
        if scalar.is_trap() {
            let message = format!(
                "`{}` is no text for readers of YAML 1.1; put it in quotes",
                scalar.text
            );
            self.report(&AMBIGUOUS_SCALAR, at, message);
        }
        Some(&scalar.text)
    }

    /// A text with its style.
    pub(super) fn text_scalar(&mut self, at: &Cursor<'a>) -> Option<&'a Scalar> {
        if let NodeValue::Scalar(scalar) = &at.node.value
            && scalar.kind == ScalarKind::Text
        {
            return Some(scalar);
        }
        self.wrong_type(at, "a text");
        None
    }

    /// A text that is one of these, for example an operator.
    pub(super) fn one_of(
        &mut self,
        rule: &Rule,
        at: &Cursor<'a>,
        allowed: &[&'static str],
    ) -> Option<&'static str> {
        let text = self.text(at)?;
        let found = allowed.iter().find(|known| **known == text).copied();
        if found.is_none() {
            let message = unknown("the value", text, allowed);
            self.report(rule, at, message);
        }
        found
    }

    /// A duration in shorthand.
    pub(super) fn duration(&mut self, at: &Cursor<'a>) -> Option<Shorthand> {
        if let NodeValue::Scalar(Scalar {
            kind: ScalarKind::Number(number),
            ..
        }) = &at.node.value
        {
            let message =
                format!("`{number}` has no unit; write for example {number}m, a text, for minutes");
            self.report(&DURATION, at, message);
            return None;
        }
        match self.text(at)?.parse() {
            Ok(duration) => Some(duration),
            Err(error) => {
                let error: crate::model::period::NoShorthand = error;
                self.report(&DURATION, at, error.to_string());
                None
            }
        }
    }

    fn wrong_type(&mut self, at: &Cursor<'a>, wanted: &str) {
        let remedy = match &at.node.value {
            NodeValue::Scalar(Scalar {
                kind: ScalarKind::Null,
                ..
            }) => "; give it a value, or leave the key out",
            NodeValue::Scalar(Scalar {
                kind: ScalarKind::Boolean(_) | ScalarKind::Number(_),
                ..
            }) if wanted == "a text" => "; put it in quotes",
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => "",
        };
        let found = at.node.describe();
        self.report(
            &WRONG_TYPE,
            at,
            format!("must be {wanted}, and is {found}{remedy}"),
        );
    }
}
