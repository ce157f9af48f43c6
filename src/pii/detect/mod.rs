//! Finds candidates, and keeps those that pass the checks of their kind.

mod address;
mod card;
mod context;
mod identity;
mod secret;
mod text;
mod token;
mod words;

use std::sync::{Arc, OnceLock};

use regex::Regex;

pub(super) use crate::pii::detect::context::Context;
use crate::pii::detect::context::Marks;
use crate::pii::detect::words::Words;
use crate::pii::keys::KeyClass;
use crate::pii::settings::{ConfigProblem, regex};
use crate::pii::{Addresses, Config, Kind};

/// Something found, by the bytes of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Its place among the labels.
    pub(super) label: u16,
}

/// All detectors.
#[derive(Debug, Default)]
pub(super) struct Detectors {
    patterns: Option<Arc<Patterns>>,
    addresses: Addresses,
    regions: Vec<phonenumber::country::Id>,
    rules: Vec<(u16, Regex)>,
}

/// What is compiled once.
#[derive(Debug)]
struct Patterns {
    words: Words,
    email: Regex,
    ip4: Regex,
    ip6: Regex,
    mac: Regex,
    iban: Regex,
    small_iban: Regex,
    plus: Regex,
    phone: Regex,
    card: Regex,
    grouped: Regex,
    identities: Vec<(Regex, identity::Check)>,
}

/// What a walk over the bytes of a text counts.
#[derive(Clone, Copy, Debug, Default)]
struct Bytes {
    digits: u32,
    dots: u32,
    colons: u32,
    dashes: u32,
    upper: u32,
    has_at: bool,
    has_plus: bool,
}

impl Bytes {
    fn of(text: &str) -> Self {
        let mut bytes = Self::default();
        for byte in text.bytes() {
            bytes.digits += u32::from(byte.is_ascii_digit());
            bytes.dots += u32::from(byte == b'.');
            bytes.colons += u32::from(byte == b':');
            bytes.dashes += u32::from(byte == b'-');
            bytes.upper += u32::from(byte.is_ascii_uppercase());
            bytes.has_at |= byte == b'@';
            bytes.has_plus |= byte == b'+';
        }
        bytes
    }
}

impl Detectors {
    pub(super) fn new(config: &Config) -> Result<Self, ConfigProblem> {
        let first = Kind::ALL.len();
        let rules = config.rules.iter().enumerate();
        let rules = rules.filter(|(_, rule)| !rule.pattern.is_empty());
        let rules = rules.map(|(at, rule)| {
            let label = u16::try_from(first + at).unwrap_or(u16::MAX);
            let compiled = regex(&format!("pii.rules[{at}].pattern"), &rule.pattern)?;
            Ok((label, compiled))
        });
        let regions = config.phone_regions.iter();
        Ok(Self {
            patterns: Some(Patterns::shared()?),
            addresses: config.addresses,
            regions: regions.filter_map(|region| region.parse().ok()).collect(),
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// Everything that is found, in any order and perhaps over each other.
    pub(super) fn find(&self, text: &str, class: KeyClass) -> Vec<Hit> {
        let mut hits = Vec::new();
        for (label, pattern) in &self.rules {
            let found = pattern.find_iter(text).filter(|found| !found.is_empty());
            hits.extend(found.map(|found| Hit {
                start: found.start(),
                end: found.end(),
                label: *label,
            }));
        }
        let Some(patterns) = &self.patterns else {
            return hits;
        };
        let bytes = Bytes::of(text);
        let mut marks = Marks::new(class.context);
        patterns.words.find(text, &mut marks, &mut hits);
        let mut out = Found { text, hits };
        if bytes.has_at || marks.has_encoded_at() {
            address::emails(&patterns.email, &mut out);
        }
        if self.addresses != Addresses::None {
            let all = self.addresses == Addresses::All;
            if bytes.dots >= 3 && bytes.digits >= 4 {
                address::ip4(&patterns.ip4, all, &marks, &mut out);
            }
            if bytes.colons >= 2 && bytes.digits >= 1 {
                address::ip6(&patterns.ip6, all, &mut out);
            }
        }
        if (bytes.colons >= 5 || bytes.dashes >= 5) && bytes.digits >= 1 {
            address::macs(&patterns.mac, &mut out);
        }
        if bytes.digits >= 5 && bytes.upper >= 1 {
            identity::formatted(&patterns.identities, &mut out);
        }
        if bytes.digits >= 10 && bytes.upper >= 2 {
            identity::ibans(&patterns.iban, &mut out);
        }
        if bytes.digits >= 10 && marks.has(Context::IBAN) {
            identity::named_ibans(&patterns.small_iban, &marks, &mut out);
        }
        if bytes.digits >= 7 && !class.is_number {
            if bytes.has_plus {
                address::phones(&patterns.plus, &mut out);
            }
            if marks.has(Context::PHONE) {
                address::named_phones(&patterns.phone, &self.regions, &marks, &mut out);
            }
            if bytes.digits >= 9 {
                if bytes.upper == 0 {
                    identity::formatted(&patterns.identities, &mut out);
                }
                if bytes.digits >= 12 {
                    card::grouped(&patterns.card, &mut out);
                }
                if marks.has_numbers() {
                    identity::named(&patterns.grouped, &marks, &mut out);
                }
            }
        }
        out.hits
    }
}

impl Patterns {
    /// They are the same for all, and take milliseconds to compile.
    fn shared() -> Result<Arc<Self>, ConfigProblem> {
        static SHARED: OnceLock<Arc<Patterns>> = OnceLock::new();
        if let Some(shared) = SHARED.get() {
            return Ok(Arc::clone(shared));
        }
        let patterns = Arc::new(Self::new()?);
        Ok(Arc::clone(SHARED.get_or_init(|| patterns)))
    }

    fn new() -> Result<Self, ConfigProblem> {
        let own = |pattern: &str| regex("pii", pattern);
        Ok(Self {
            words: Words::new()?,
            email: own(address::EMAIL)?,
            ip4: own(address::IP4)?,
            ip6: own(address::IP6)?,
            mac: own(address::MAC)?,
            iban: own(identity::IBAN)?,
            small_iban: own(identity::SMALL_IBAN)?,
            plus: own(address::PLUS)?,
            phone: own(address::PHONE)?,
            card: own(card::GROUPED)?,
            grouped: own(identity::DIGITS)?,
            identities: identity::FORMATTED
                .iter()
                .map(|(pattern, check)| Ok((own(pattern)?, *check)))
                .collect::<Result<_, ConfigProblem>>()?,
        })
    }
}

/// A text with what is found in it.
struct Found<'t> {
    text: &'t str,
    hits: Vec<Hit>,
}

impl Found<'_> {
    fn push(&mut self, start: usize, end: usize, kind: Kind) {
        self.hits.push(Hit {
            start,
            end,
            label: kind.at(),
        });
    }

    /// Looks at each place where a pattern fits. What the check refuses may hide another fit that begins inside of it.
    fn each(
        &mut self,
        pattern: &Regex,
        kind: Kind,
        mut check: impl FnMut(&str, usize, usize) -> Option<usize>,
    ) {
        let mut at = 0;
        while let Some(found) = pattern.find_at(self.text, at) {
            let (start, end) = (found.start(), found.end());
            if let Some(end) = check(self.text, start, end) {
                self.push(start, end, kind);
                at = end.max(start + 1);
            } else {
                let first = self.text.get(start..).and_then(|rest| rest.chars().next());
                at = start + first.map_or(1, char::len_utf8);
            }
            if at > self.text.len() {
                return;
            }
        }
    }
}

/// One hit for all that overlap: over all of them, with the label of the one that begins first, of those the longest.
pub(super) fn merge(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (hit.start, usize::MAX - hit.end, hit.label));
    let mut merged: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        match merged.last_mut() {
            Some(last) if hit.start < last.end => last.end = last.end.max(hit.end),
            _ => merged.push(hit),
        }
    }
    merged
}
