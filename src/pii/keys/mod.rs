//! What a key says about its value.
//!
//! Keys are read as words: `userEmail`, `user_email` and `User-Email` are `user.email`. A row of the table names the last
//! words of a key.

mod table;

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use wildmatch::WildMatch;

use crate::pii::detect::Context;
use crate::pii::keys::table::{KEPT, NAMED, NUMBERS};
use crate::pii::{Config, Kind};

/// Keys whose class is remembered; more are looked at each time.
const KEYS_REMEMBERED: usize = 4_096;

/// Longer keys are not remembered.
const KEY_BYTES_MAX: usize = 128;

/// What a key says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyClass {
    /// Whether the value stays whatever it is.
    pub(super) is_kept: bool,
    /// The label of a value for which the condition holds.
    pub(super) named: Option<(u16, Condition)>,
    /// What its words say about numbers in the value.
    pub(super) context: Context,
    /// Whether the value is an id, a time or a size, in which numbers mean nobody.
    pub(super) is_number: bool,
}

/// What a value must be for its key to name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Anything.
    Any,
    /// With an `@`.
    At,
    /// So many digits at least.
    Digits(u8),
    /// So many bytes at least.
    Bytes(u8),
}

impl Condition {
    pub(super) fn holds(self, value: &str) -> bool {
        match self {
            Self::Any => !value.is_empty(),
            Self::At => value.contains('@') || value.contains("%40"),
            Self::Digits(least) => {
                let digits = value.bytes().filter(u8::is_ascii_digit);
                digits.count() >= usize::from(least)
            }
            Self::Bytes(least) => value.len() >= usize::from(least),
        }
    }
}

/// Classifies keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Labels of the rules of the configuration, with the keys that they name.
    rules: Vec<(u16, WildMatch)>,
    allowed: Vec<WildMatch>,
    remembered: RwLock<HashMap<Box<str>, KeyClass>>,
}

impl Keys {
    pub(super) fn new(config: &Config) -> Self {
        let rules = (Kind::ALL.len()..).zip(&config.rules);
        let rules = rules.flat_map(|(at, rule)| {
            let label = u16::try_from(at).unwrap_or(u16::MAX);
            let keys = rule.keys.iter();
            keys.map(move |pattern| (label, WildMatch::new(pattern)))
        });
        let allowed = config.allow.keys.iter();
        Self {
            rules: rules.collect(),
            allowed: allowed.map(|pattern| WildMatch::new(pattern)).collect(),
            remembered: RwLock::default(),
        }
    }

    /// What a key says.
    pub(super) fn class(&self, key: &str) -> KeyClass {
        let remembered = self
            .remembered
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(class) = remembered.get(key) {
            return *class;
        }
        let has_room = remembered.len() < KEYS_REMEMBERED && key.len() <= KEY_BYTES_MAX;
        drop(remembered);
        let class = self.classify(key);
        if has_room {
            let mut remembered = self
                .remembered
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            remembered.insert(key.into(), class);
        }
        class
    }

    fn classify(&self, key: &str) -> KeyClass {
        let by_rule = self.rules.iter().find(|(_, pattern)| pattern.matches(key));
        let words = words_of(key);
        let is_allowed = self.allowed.iter().any(|pattern| pattern.matches(key));
        let is_structural = KEPT.iter().any(|kept| match kept.strip_suffix('.') {
            Some(_) => key.starts_with(kept),
            None => key == *kept,
        });
        let mut rows = NAMED.iter();
        let row = rows.find(|(_, _, names)| names.iter().any(|name| ends_with(&words, name)));
        let named = by_rule.map_or_else(
            || row.map(|(kind, condition, _)| (kind.at(), *condition)),
            |(label, _)| Some((*label, Condition::Any)),
        );
        let last = words.rsplit('.').next().unwrap_or_default();
        let is_number = NUMBERS.contains(&last);
        KeyClass {
            is_kept: is_allowed || (is_structural && by_rule.is_none()),
            named,
            context: if is_number {
                Context::of_words(&words).only_version()
            } else {
                Context::of_words(&words)
            },
            is_number,
        }
    }
}

/// Whether words end in other words.
fn ends_with(words: &str, last: &str) -> bool {
    let before = words.strip_suffix(last);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The words of a key, in lower case, with dots between.
fn words_of(key: &str) -> String {
    let mut words = String::with_capacity(key.len() + 8);
    let mut was_lower = false;
    for character in key.chars() {
        if character.is_alphanumeric() {
            let is_upper = character.is_uppercase();
            if is_upper && was_lower {
                words.push('.');
            }
            words.extend(character.to_lowercase());
            was_lower = !is_upper;
        } else {
            if !words.is_empty() && !words.ends_with('.') {
                words.push('.');
            }
            was_lower = false;
        }
    }
    let whole = words.trim_end_matches('.').len();
    words.truncate(whole);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_words() {
        for (key, words) in [
            ("user.email", "user.email"),
            ("userEmail", "user.email"),
            ("User-Email", "user.email"),
            ("HTTP_X_FORWARDED_FOR", "http.x.forwarded.for"),
            ("traceID", "trace.id"),
            ("", ""),
            ("__", ""),
        ] {
            assert_eq!(words_of(key), words, "{key}");
        }
    }

    #[test]
    fn a_key_names_its_value_by_its_last_words() {
        let keys = Keys::new(&Config::default());
        let kind = |key: &str| {
            keys.class(key)
                .named
                .map(|(at, _)| Kind::ALL[usize::from(at)])
        };
        for (key, wanted) in [
            ("user.email", Some(Kind::Email)),
            (
                "http.request.header.authorization",
                Some(Kind::Authorization),
            ),
            (
                "rpc.grpc.request.metadata.authorization",
                Some(Kind::Authorization),
            ),
            ("http.request.header.x-forwarded-for", Some(Kind::IpAddress)),
            ("http.request.header.set-cookie", Some(Kind::Credential)),
            ("db.password", Some(Kind::Credential)),
            ("payment.cardNumber", Some(Kind::Card)),
            ("enduser.id", Some(Kind::Person)),
            ("customer_ssn", Some(Kind::NationalId)),
            ("client.address", Some(Kind::IpAddress)),
            ("span", None),
            ("token.count", None),
            ("card.type", None),
            ("company", None),
        ] {
            assert_eq!(kind(key), wanted, "{key}");
        }
        for key in [
            "server.address",
            "net.peer.name",
            "service.name",
            "k8s.pod.ip",
            "host.mac",
            "traceId",
        ] {
            assert!(keys.class(key).is_kept, "{key}");
        }
        assert!(!keys.class("serverless.note").is_kept);
        assert!(keys.class("order.id").is_number && !keys.class("order.idle").is_number);
    }
}
