//! The PII guardrail: finds personal data and secrets in text, fields and JSON, and takes them out.
//!
//! ```text
//! text ─ words and bytes that occur ─ detectors that they call for ─ validators ─ allow lists ─ merge ─ actions
//! ```
//!
//! One walk over the text tells which words and bytes occur in it; only detectors that need them look closer. Most text of
//! telemetry calls for none. What a detector finds must pass the checks of its kind: check digits, issuers, numbering
//! plans, impossible ranges. Numbers whose checks every tenth number passes count only beside a word, or under a key, that
//! names them. A key decides as strongly as a value: `user.email` is taken out whatever it says.
//!
//! Invariant: what is left is a subsequence of the text, with markers between; scrubbing it again changes nothing.
//!
//! Invariant: integers go only if their key names them, and ids and times never: a tenth of all long integers pass the
//! check digit of payment cards.

mod counts;
mod detect;
mod json;
mod keys;
mod kind;
mod replace;
mod settings;
mod side;
#[cfg(test)]
#[expect(clippy::string_slice, reason = "cut where markers and ASCII are")]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use ring::hmac;

pub use crate::pii::counts::{Counts, Finding};
use crate::pii::detect::{Detectors, Hit};
pub use crate::pii::json::JsonProblem;
use crate::pii::keys::{KeyClass, Keys};
pub use crate::pii::kind::{Action, Kind};
use crate::pii::replace::Label;
pub use crate::pii::settings::{Actions, Addresses, Allow, Config, ConfigProblem, Rule};
pub use crate::pii::side::Side;

/// Takes personal data and secrets out. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scrubber(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_enabled: bool,
    detectors: Detectors,
    keys: Keys,
    labels: Vec<Label>,
    hash_key: hmac::Key,
    allowed_values: Vec<Box<str>>,
    allowed_patterns: Vec<regex::Regex>,
}

/// What becomes of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldOutcome {
    /// It stays as it is.
    Unchanged,
    /// Its value is this text now.
    Changed(String),
    /// It goes, with its key.
    Dropped,
}

impl Default for Scrubber {
    /// By the default settings.
    fn default() -> Self {
        Self::new(&Config::default()).unwrap_or_else(|_| Self::off())
    }
}

impl Scrubber {
    /// By these settings.
    pub fn new(config: &Config) -> Result<Self, ConfigProblem> {
        config.check()?;
        let labels = replace::labels(config);
        let allowed = config.allow.patterns.iter().enumerate();
        let allowed = allowed.map(|(at, pattern)| {
            // The whole of a finding is allowed, not a part of it.
            let anchored = format!("^(?:{pattern})$");
            settings::regex(&format!("pii.allow.patterns[{at}]"), &anchored)
        });
        Ok(Self(Arc::new(Inner {
            is_enabled: config.enabled,
            detectors: Detectors::new(config)?,
            keys: Keys::new(config),
            hash_key: hmac::Key::new(hmac::HMAC_SHA256, config.hash_key.as_bytes()),
            allowed_values: config
                .allow
                .values
                .iter()
                .map(|own| (**own).into())
                .collect(),
            allowed_patterns: allowed.collect::<Result<_, _>>()?,
            labels,
        })))
    }

    /// One that changes nothing.
    pub fn off() -> Self {
        Self(Arc::new(Inner {
            is_enabled: false,
            detectors: Detectors::default(),
            keys: Keys::default(),
            labels: Vec::new(),
            hash_key: hmac::Key::new(hmac::HMAC_SHA256, b""),
            allowed_values: Vec::new(),
            allowed_patterns: Vec::new(),
        }))
    }

    /// Whether it changes anything at all.
    pub fn is_enabled(&self) -> bool {
        self.0.is_enabled
    }

    /// All kinds, those of the configuration last, with what is done about them.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, Action)> {
        let labels = self.0.labels.iter();
        labels.map(|label| (&*label.name, label.action))
    }

    /// A text without what is found in it.
    pub fn scrub_text<'t>(&self, text: &'t str, counts: &mut Counts) -> Cow<'t, str> {
        self.scrub(text, KeyClass::default(), None, counts).0
    }

    /// The value of a field. The key decides first; then the value is looked at as a text. Without a key, it is a text.
    pub fn scrub_field(&self, key: &str, value: &str, counts: &mut Counts) -> FieldOutcome {
        if !self.0.is_enabled || value.is_empty() {
            return FieldOutcome::Unchanged;
        }
        let class = self.class(key);
        if class.is_kept {
            return FieldOutcome::Unchanged;
        }
        if let Some(named) = self.named(class, key, value, counts) {
            return named;
        }
        match self.scrub(value, class, Some(key), counts) {
            (_, true) => FieldOutcome::Dropped,
            (Cow::Owned(text), false) => FieldOutcome::Changed(text),
            (Cow::Borrowed(_), false) => FieldOutcome::Unchanged,
        }
    }

    /// A number, as its digits: it goes only if its key names it.
    pub fn scrub_number(&self, key: &str, digits: &str, counts: &mut Counts) -> FieldOutcome {
        if !self.0.is_enabled {
            return FieldOutcome::Unchanged;
        }
        let class = self.class(key);
        if class.is_kept {
            return FieldOutcome::Unchanged;
        }
        let named = self.named(class, key, digits, counts);
        named.unwrap_or(FieldOutcome::Unchanged)
    }

    /// A JSON text of any shape, its layout kept. Pairs of `key` and `value`, as OTLP and Jaeger write attributes, are
    /// fields like members.
    pub fn scrub_json_text<'t>(
        &self,
        text: &'t str,
        counts: &mut Counts,
    ) -> Result<Cow<'t, str>, JsonProblem> {
        if !self.0.is_enabled {
            return Ok(Cow::Borrowed(text));
        }
        json::scrub(self, text, counts)
    }

    /// What a key says. Markers stand where the keys of a map were personal data, and say nothing.
    fn class(&self, key: &str) -> KeyClass {
        if key.contains('[') && !replace::markers(&self.0.labels, key).is_empty() {
            return KeyClass::default();
        }
        self.0.keys.class(key)
    }

    /// What becomes of a value whose key names it.
    fn named(
        &self,
        class: KeyClass,
        key: &str,
        value: &str,
        counts: &mut Counts,
    ) -> Option<FieldOutcome> {
        let (at, condition) = class.named?;
        let label = self.0.labels.get(usize::from(at))?;
        let is_left = label.action == Action::Keep
            || !condition.holds(&replace::without_markers(&self.0.labels, value))
            || self.is_allowed(value);
        if is_left {
            return None;
        }
        counts.add(label, Some(&self.plain(key)));
        let text = label.replacement(value, &self.0.hash_key);
        Some(text.map_or(FieldOutcome::Dropped, FieldOutcome::Changed))
    }

    /// A key as reports may show it: maps may have personal data for keys.
    fn plain<'k>(&self, key: &'k str) -> Cow<'k, str> {
        self.scrub_text(key, &mut Counts::default())
    }

    fn is_allowed(&self, found: &str) -> bool {
        self.0.allowed_values.iter().any(|own| **own == *found)
            || self
                .0
                .allowed_patterns
                .iter()
                .any(|own| own.is_match(found))
    }

    /// A text without what is found in it, and whether something in it asks for the whole field to go.
    fn scrub<'t>(
        &self,
        text: &'t str,
        class: KeyClass,
        key: Option<&str>,
        counts: &mut Counts,
    ) -> (Cow<'t, str>, bool) {
        let mut current = Cow::Borrowed(text);
        let mut is_dropped = false;
        if !self.0.is_enabled {
            return (current, is_dropped);
        }
        // What was taken out may have hidden something beside it. Each round leaves less that is no marker, so this ends.
        loop {
            let hits = self.find(&current, class);
            if hits.is_empty() {
                return (current, is_dropped);
            }
            let mut scrubbed = String::with_capacity(current.len());
            let mut at = 0;
            for hit in &hits {
                let Some(label) = self.0.labels.get(usize::from(hit.label)) else {
                    continue;
                };
                let found = current.get(hit.start..hit.end).unwrap_or_default();
                scrubbed.push_str(current.get(at..hit.start).unwrap_or_default());
                let replacement = label.replacement(found, &self.0.hash_key);
                scrubbed.push_str(&replacement.unwrap_or_default());
                is_dropped |= label.action == Action::Drop;
                let key = key.filter(|key| !key.is_empty());
                counts.add(label, key.map(|key| self.plain(key)).as_deref());
                at = hit.end;
            }
            scrubbed.push_str(current.get(at..).unwrap_or_default());
            current = Cow::Owned(scrubbed);
        }
    }

    /// What there is to be taken out, sorted and apart from each other.
    fn find(&self, text: &str, class: KeyClass) -> Vec<Hit> {
        let mut hits = self.0.detectors.find(text, class);
        if hits.is_empty() {
            return hits;
        }
        let markers = replace::markers(&self.0.labels, text);
        hits.retain(|hit| {
            let is_sought = self
                .0
                .labels
                .get(usize::from(hit.label))
                .is_some_and(|label| label.action != Action::Keep);
            let touches = |(start, end): &(usize, usize)| hit.start < *end && *start < hit.end;
            let found = text.get(hit.start..hit.end).unwrap_or_default();
            is_sought && !markers.iter().any(touches) && !self.is_allowed(found)
        });
        detect::merge(hits)
    }
}
