//! Typed values from the tree of a file; what does not fit becomes a problem with its place.

use super::problem::{Problem, Source};
use crate::openslo::suggest::nearest;
use crate::openslo::tree::{Entry, Mark, Node, NodeValue, ScalarKind};
use crate::tracetest::language::{Assertion, Expression, Selector, Value};

/// Reads one file and collects what is wrong with it.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) source: Source<'a>,
    pub(super) problems: Vec<Problem>,
}

/// The fields of a map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'n> {
    pub(super) mark: Mark,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        let found = self.entries.iter().find(|entry| entry.key == key)?;
        // A key without a value is as good as none.
        (!is_empty(&found.node)).then_some(&found.node)
    }

    /// The items of a list; one item may stand alone.
    pub(super) fn items(&self, key: &str) -> &'n [Node] {
        let Some(node) = self.get(key) else {
            return &[];
        };
        match &node.value {
            NodeValue::List(items) => items,
            NodeValue::Scalar(_) | NodeValue::Map(_) => std::slice::from_ref(node),
        }
    }
}

impl Reader<'_> {
    pub(super) fn report(&mut self, mark: Mark, message: impl Into<String>) {
        let problem = self.source.problem(mark, message);
        self.problems.push(problem);
    }

    /// A map of these keys alone; `what` names it in messages.
    pub(super) fn fields<'n>(
        &mut self,
        what: &str,
        node: &'n Node,
        allowed: &[&str],
    ) -> Option<Fields<'n>> {
        let NodeValue::Map(entries) = &node.value else {
            self.wrong(what, node, &format!("a map of {}", allowed.join(", ")));
            return None;
        };
        for (at, entry) in entries.iter().enumerate() {
            if !allowed.contains(&entry.key.as_str()) {
                let meant = nearest(&entry.key, allowed);
                let meant = meant.map_or(String::new(), |near| format!("did you mean `{near}`? "));
                let (key, allowed) = (&entry.key, allowed.join(", "));
                let message = format!("{what} has no field `{key}`; {meant}allowed are {allowed}");
                self.report(entry.mark, message);
            }
            if entries.iter().take(at).any(|other| other.key == entry.key) {
                let message = format!("the field `{}` stands here twice; keep one", entry.key);
                self.report(entry.mark, message);
            }
        }
        Some(Fields {
            mark: node.mark,
            entries,
        })
    }

    fn wrong(&mut self, what: &str, node: &Node, wanted: &str) {
        let message = format!("{what} must be {wanted}, and is {}", node.describe());
        self.report(node.mark, message);
    }

    /// A text that must be there, and not empty.
    pub(super) fn required_text(&mut self, fields: &Fields<'_>, what: &str, key: &str) -> String {
        let found = fields.get(key);
        let Some(node) = found else {
            self.report(fields.mark, format!("{what} needs the field `{key}`"));
            return String::new();
        };
        let text = self.text(key, node);
        if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
            self.report(node.mark, format!("`{key}` must not be empty"));
        }
        text.unwrap_or_default()
    }

    /// A text; numbers and booleans are taken as they are written.
    pub(super) fn text(&mut self, what: &str, node: &Node) -> Option<String> {
        match &node.value {
            NodeValue::Scalar(scalar) if scalar.kind != ScalarKind::Null => {
                Some(scalar.text.clone())
            }
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
                self.wrong(what, node, "a text");
                None
            }
        }
    }

    pub(super) fn optional_text(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        fields.get(key).and_then(|node| self.text(key, node))
    }

    pub(super) fn boolean(&mut self, fields: &Fields<'_>, key: &str) -> bool {
        let Some(node) = fields.get(key) else {
            return false;
        };
        match &node.value {
            NodeValue::Scalar(scalar) if scalar.kind == ScalarKind::Boolean(true) => true,
            NodeValue::Scalar(scalar) if scalar.kind == ScalarKind::Boolean(false) => false,
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
                self.wrong(key, node, "true or false");
                false
            }
        }
    }

    /// A whole number.
    pub(super) fn count(&mut self, fields: &Fields<'_>, key: &str) -> Option<u64> {
        let node = fields.get(key)?;
        let number = match &node.value {
            NodeValue::Scalar(scalar) => match &scalar.kind {
                ScalarKind::Number(number) => number.as_u64(),
                ScalarKind::Null | ScalarKind::Boolean(_) | ScalarKind::Text => None,
            },
            NodeValue::List(_) | NodeValue::Map(_) => None,
        };
        if number.is_none() {
            self.wrong(key, node, "a whole number");
        }
        number
    }

    /// A number.
    pub(super) fn number(&mut self, fields: &Fields<'_>, key: &str) -> Option<f64> {
        let node = fields.get(key)?;
        let number = match &node.value {
            NodeValue::Scalar(scalar) => match &scalar.kind {
                ScalarKind::Number(number) => number.as_f64(),
                ScalarKind::Null | ScalarKind::Boolean(_) | ScalarKind::Text => None,
            },
            NodeValue::List(_) | NodeValue::Map(_) => None,
        };
        if number.is_none() {
            self.wrong(key, node, "a number");
        }
        number
    }

    /// A duration such as `3s`, in nanoseconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the conversion saturates, and durations are not negative"
    )]
    pub(super) fn duration(&mut self, fields: &Fields<'_>, key: &str) -> Option<u64> {
        let node = fields.get(key)?;
        let text = self.text(key, node)?;
        if let Ok(Expression::Literal(Value::Duration(nanos))) = Expression::parse(&text) {
            return Some(nanos as u64);
        }
        let wanted = "a duration such as 500ms or 10m (ns, us, ms, s, m, h)";
        self.wrong(key, node, wanted);
        None
    }

    /// A selector.
    pub(super) fn selector(&mut self, node: &Node) -> Option<Selector> {
        let text = self.text("a selector", node)?;
        let read = Selector::parse(&text);
        read.map_err(|error| self.syntax(node, error)).ok()
    }

    pub(super) fn optional_selector(&mut self, fields: &Fields<'_>, key: &str) -> Option<Selector> {
        fields.get(key).and_then(|node| self.selector(node))
    }

    pub(super) fn required_selector(
        &mut self,
        fields: &Fields<'_>,
        what: &str,
        key: &str,
    ) -> Option<Selector> {
        let Some(node) = fields.get(key) else {
            let message = format!("{what} needs the field `{key}`, a selector");
            self.report(fields.mark, message);
            return None;
        };
        self.selector(node)
    }

    pub(super) fn assertion(&mut self, node: &Node) -> Option<Assertion> {
        let text = self.text("an assertion", node)?;
        let read = Assertion::parse(&text);
        read.map_err(|error| self.syntax(node, error)).ok()
    }

    pub(super) fn expression(&mut self, node: &Node) -> Option<Expression> {
        let text = self.text("an expression", node)?;
        let read = Expression::parse(&text);
        read.map_err(|error| self.syntax(node, error)).ok()
    }

    /// A text with `${…}` inside.
    pub(super) fn template(&mut self, what: &str, node: &Node) -> Option<Expression> {
        let text = self.text(what, node)?;
        let read = Expression::template(&text);
        read.map_err(|error| self.syntax(node, error)).ok()
    }

    fn syntax(&mut self, node: &Node, error: crate::tracetest::language::SyntaxError) {
        let problem = self.source.syntax_problem(node, error);
        self.problems.push(problem);
    }
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.value, NodeValue::Scalar(scalar) if scalar.kind == ScalarKind::Null)
}
