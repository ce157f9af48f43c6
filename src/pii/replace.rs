//! What takes the place of a finding.

use std::borrow::Cow;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use ring::hmac;

use crate::pii::{Action, Config, Kind};

/// Bytes of a hash that are shown: two values of a billion share one once in 40 such collections.
const HASH_BYTES: usize = 8;

/// A kind, or a rule of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) name: Arc<str>,
    pub(super) action: Action,
    /// `EMAIL`.
    marker: Box<str>,
}

impl Label {
    fn new(name: &str, action: Action) -> Self {
        Self {
            name: name.into(),
            action,
            marker: name.to_ascii_uppercase().into(),
        }
    }

    /// What stands in place of a finding; `None` for nothing.
    pub(super) fn replacement(&self, found: &str, key: &hmac::Key) -> Option<String> {
        match self.action {
            Action::Redact => Some(format!("[{}]", self.marker)),
            Action::Hash => {
                let tag = hmac::sign(key, found.trim().as_bytes());
                let shown = tag.as_ref().get(..HASH_BYTES).unwrap_or_default();
                Some(format!("[{}:{}]", self.marker, HEXLOWER.encode(shown)))
            }
            Action::Drop => None,
            Action::Keep => Some(found.to_owned()),
        }
    }
}

/// The labels of all kinds in their order, then those of the rules.
pub(super) fn labels(config: &Config) -> Vec<Label> {
    let kinds = Kind::ALL.map(|kind| Label::new(kind.label(), config.actions.of(kind)));
    let rules = config.rules.iter();
    let rules = rules.map(|rule| Label::new(&rule.name, rule.action));
    kinds.into_iter().chain(rules).collect()
}

/// What a text says itself, between the markers that stand for what was taken out.
pub(super) fn without_markers<'t>(labels: &[Label], text: &'t str) -> Cow<'t, str> {
    let markers = markers(labels, text);
    if markers.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut rest = String::with_capacity(text.len());
    let mut at = 0;
    for (start, end) in markers {
        rest.push_str(text.get(at..start).unwrap_or_default());
        at = end;
    }
    rest.push_str(text.get(at..).unwrap_or_default());
    Cow::Owned(rest)
}

/// Where markers stand.
pub(super) fn markers(labels: &[Label], text: &str) -> Vec<(usize, usize)> {
    let starts = memchr::memchr_iter(b'[', text.as_bytes());
    starts
        .filter_map(|start| Some((start, start + marker_len(labels, text.get(start..)?)?)))
        .collect()
}

/// Bytes of the marker that a text begins with.
fn marker_len(labels: &[Label], text: &str) -> Option<usize> {
    let inner = text.strip_prefix('[')?;
    labels.iter().find_map(|label| {
        let rest = inner.strip_prefix(&*label.marker)?;
        let rest = match rest.strip_prefix(':') {
            Some(hashed) => {
                let (hash, rest) = hashed.split_at_checked(2 * HASH_BYTES)?;
                let is_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
                hash.bytes().all(is_hex).then_some(rest)?
            }
            None => rest,
        };
        let rest = rest.strip_prefix(']')?;
        Some(text.len() - rest.len())
    })
}
