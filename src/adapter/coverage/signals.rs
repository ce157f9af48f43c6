//! Expected signals against those that were seen, and how much traffic a missing one may hide.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use xxhash_rust::xxh3::xxh3_64;

use crate::model::coverage::{CoverageKind, CoveragePart, Probe, ProbeKind};
use crate::window::operation::template;

/// Observed signals that a report lists at most.
const LISTED_SIGNALS_MAX: usize = 200;

/// Shorter words say nothing about what a name means.
const WORD_MIN: usize = 3;

/// Words that many names share whatever they are about.
const COMMON_WORDS: [&str; 14] = [
    "get", "put", "post", "patch", "head", "delete", "options", "http", "https", "api", "svc",
    "service", "local", "cluster",
];

/// Names of operations and spans that were seen, with their unbounded parts (ids) templated.
#[derive(Clone, Debug)]
pub struct ObservedSignals {
    most: usize,
    names: BTreeMap<String, usize>,
    /// How often each was seen, in the newer half of the window and in the older one.
    counts: Vec<[u64; 2]>,
    omitted: u64,
    /// Where names stand by the hash of what was said: most spans repeat one.
    taken: HashMap<u64, usize>,
}

impl ObservedSignals {
    /// Holds so many distinct names at most; more are counted.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            names: BTreeMap::new(),
            counts: Vec::new(),
            omitted: 0,
            taken: HashMap::new(),
        }
    }

    /// Takes a name as a span or a person says it.
    pub fn add(&mut self, name: &[u8]) {
        if name.is_empty() {
            return;
        }
        let hash = xxh3_64(name);
        if let Some(place) = self.taken.get(&hash) {
            if let Some([newer, _]) = self.counts.get_mut(*place) {
                *newer += 1;
            }
            return;
        }
        let Some(place) = self.place(name) else {
            return;
        };
        if self.taken.len() < self.most {
            self.taken.insert(hash, place);
        }
        if let Some([newer, _]) = self.counts.get_mut(place) {
            *newer += 1;
        }
    }

    /// Takes a name that is known to be in use, without counting it.
    pub fn hold(&mut self, name: &[u8]) {
        let place = self.place(name);
        if let Some([newer, _]) = place.and_then(|place| self.counts.get_mut(place)) {
            *newer = (*newer).max(1);
        }
    }

    fn place(&mut self, name: &[u8]) -> Option<usize> {
        let name = template(name);
        if let Some(place) = self.names.get(&name) {
            return Some(*place);
        }
        if self.names.len() >= self.most {
            self.omitted += 1;
            return None;
        }
        self.names.insert(name, self.counts.len());
        self.counts.push([0, 0]);
        Some(self.counts.len() - 1)
    }

    /// Begins another half of the window; what was in neither of the last two is forgotten.
    pub fn turn(&mut self) {
        self.taken.clear();
        let names = std::mem::take(&mut self.names);
        let counts = std::mem::take(&mut self.counts);
        for (name, place) in names {
            let newer = counts.get(place).map_or(0, |[newer, _]| *newer);
            if newer > 0 {
                self.names.insert(name, self.counts.len());
                self.counts.push([0, newer]);
            }
        }
    }

    /// Names over the bound.
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    fn contains(&self, signal: &str) -> bool {
        self.names.contains_key(signal) || self.names.contains_key(&template(signal.as_bytes()))
    }

    fn counted(&self) -> impl Iterator<Item = (&str, u64)> {
        let count = |place: &usize| {
            self.counts
                .get(*place)
                .map_or(0, |halves| halves.iter().sum())
        };
        self.names
            .iter()
            .map(move |(name, place)| (name.as_str(), count(place)))
    }
}

/// Calls to something, by what it is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic<'a> {
    /// What it is called.
    pub name: &'a str,
    /// How often.
    pub calls: u64,
    /// What they stand for by their sampling.
    pub weight: f64,
    /// By how many.
    pub callers: u64,
}

/// Expected signals, compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    /// In the order in which they were named, each once.
    pub expected: Vec<String>,
    /// Whether each was seen.
    pub map: BTreeMap<String, bool>,
    /// Those that were not.
    pub missing: Vec<String>,
    /// Some of what was seen.
    pub listed: Vec<String>,
    /// How many more were seen.
    pub omitted: u64,
}

/// Compares what was expected with what was seen.
///
/// An expected signal is the name of an operation or a span, with or without its ids templated: `GET /users/{id}`,
/// `GET /users/7`.
pub(super) fn compare(expected: &[String], observed: &ObservedSignals) -> Signals {
    let mut signals = Signals::default();
    for signal in expected {
        let seen = observed.contains(signal);
        if signals.map.insert(signal.clone(), seen).is_some() {
            continue;
        }
        signals.expected.push(signal.clone());
        if !seen {
            signals.missing.push(signal.clone());
        }
    }
    let listed = observed.names.keys().take(LISTED_SIGNALS_MAX);
    signals.listed = listed.cloned().collect();
    let held = observed.names.len() - signals.listed.len();
    signals.omitted = held as u64 + observed.omitted;
    signals
}

impl Signals {
    /// How many of them were seen.
    pub(super) fn part(&self) -> CoveragePart {
        let covered = self.expected.len() - self.missing.len();
        part(
            CoverageKind::Signals,
            covered as u64,
            self.expected.len() as u64,
        )
    }

    /// What to do about each missing one.
    pub(super) fn suggestions(&self) -> Vec<String> {
        let suggestions = self.missing.iter().map(|signal| {
            format!("`{signal}` was expected and never seen: instrument it, or look whether it is called differently")
        });
        suggestions.collect()
    }

    /// The missing ones as gaps. Nobody counts the calls of what is not seen: a gap is worth the traffic of the peer or the
    /// operation that resembles it most, times the share of words that both have.
    pub(super) fn probes(&self, observed: &ObservedSignals, peers: &[Traffic<'_>]) -> Vec<Probe> {
        let seen = observed.counted().map(|(name, calls)| Traffic {
            name,
            calls,
            weight: calls as f64,
            callers: 0,
        });
        let evidence: Vec<(BTreeSet<String>, Traffic<'_>, &str)> = seen
            .map(|traffic| (words(traffic.name), traffic, "seen"))
            .chain(peers.iter().map(|peer| (words(peer.name), *peer, "called")))
            .collect();
        let probe = |signal: &String| {
            let own = words(signal);
            let best = evidence
                .iter()
                .map(|(words, traffic, how)| (likeness(&own, words) * traffic.weight, traffic, how))
                .filter(|(value, ..)| *value > 0.0)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let (value, callers, reason) = match best {
                Some((value, traffic, how)) => (
                    value,
                    traffic.callers,
                    format!(
                        "it resembles `{}`, which was {how} {} times",
                        traffic.name, traffic.calls
                    ),
                ),
                None => (
                    0.0,
                    0,
                    "nothing that was seen tells how busy it is".to_owned(),
                ),
            };
            Probe {
                target: signal.clone(),
                kind: ProbeKind::Signal,
                value,
                callers,
                reason,
                port: None,
                protocol: None,
                pid: None,
                executable: None,
                workload: None,
            }
        };
        self.missing.iter().map(probe).collect()
    }
}

/// Things of a kind with their ratio.
pub(super) fn part(kind: CoverageKind, covered: u64, expected: u64) -> CoveragePart {
    CoveragePart {
        kind,
        covered,
        expected,
        ratio: (expected > 0).then(|| covered as f64 / expected as f64),
    }
}

/// The words of a name that mean something: `GET /users/{id}/orders` has `users` and `orders`.
fn words(name: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut in_template = false;
    let mut word = String::new();
    for character in name.chars().chain([' ']) {
        if character.is_alphanumeric() && !in_template {
            word.extend(character.to_lowercase());
            continue;
        }
        in_template = match character {
            '{' => true,
            '}' => false,
            _ => in_template,
        };
        let taken = std::mem::take(&mut word);
        let is_number = taken.chars().all(char::is_numeric);
        let is_common = COMMON_WORDS.contains(&taken.as_str());
        if taken.chars().count() >= WORD_MIN && !is_number && !is_common {
            words.insert(taken);
        }
    }
    words
}

/// Words that both have, over those that either has.
fn likeness(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    let either = a.union(b).count();
    if either == 0 {
        return 0.0;
    }
    a.intersection(b).count() as f64 / either as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(names: &[&str]) -> ObservedSignals {
        let mut signals = ObservedSignals::new(1_000);
        for name in names {
            signals.add(name.as_bytes());
        }
        signals
    }

    fn check(expected: &[&str], seen: &[&str]) -> Signals {
        let expected: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        compare(&expected, &observed(seen))
    }

    #[test]
    fn the_ratio_is_of_the_expected_signals() {
        let signals = check(
            &["a", "GET /users/{id}", "c", "a"],
            &["a", "GET /users/77", "d"],
        );
        assert!((signals.part().ratio.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(signals.missing, ["c"]);
        assert_eq!(signals.expected, ["a", "GET /users/{id}", "c"]);
        assert_eq!(signals.listed, ["GET /users/{id}", "a", "d"]);
    }

    #[test]
    fn an_expected_signal_may_name_an_example() {
        let signals = check(&["GET /users/12"], &["GET /users/77"]);
        assert_eq!(signals.missing, Vec::<String>::new());
    }

    #[test]
    fn without_expectations_there_is_no_ratio() {
        assert_eq!(check(&[], &["a"]).part().ratio, None);
    }

    #[test]
    fn what_is_not_listed_is_counted_and_so_is_what_is_over_the_bound() {
        // Digits would be templated away.
        let letter = |n: u32| char::from_u32(u32::from('a') + n).unwrap();
        let names: Vec<String> = (0..300)
            .map(|n| format!("{}{}", letter(n / 20), letter(n % 20)))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let signals = check(&["op"], &names);
        assert_eq!(signals.listed.len() as u64 + signals.omitted, 300);
        let mut few = ObservedSignals::new(2);
        for name in ["aa", "bb", "cc", "aa"] {
            few.add(name.as_bytes());
        }
        assert_eq!((few.omitted(), few.names.len()), (1, 2));
        let signals = compare(&["cc".to_owned()], &few);
        assert_eq!((signals.missing.len(), signals.omitted), (1, 1));
    }

    #[test]
    fn a_signal_is_forgotten_when_it_was_in_neither_half() {
        let mut seen = observed(&["a", "b"]);
        seen.turn();
        seen.add(b"b");
        seen.hold(b"c");
        assert_eq!(
            seen.counted().collect::<Vec<_>>(),
            [("a", 1), ("b", 2), ("c", 1)]
        );
        seen.turn();
        assert_eq!(seen.counted().collect::<Vec<_>>(), [("b", 1), ("c", 1)]);
        seen.turn();
        assert_eq!(seen.counted().count(), 0);
    }

    #[test]
    fn a_missing_signal_is_worth_the_traffic_of_what_resembles_it() {
        let seen = observed(&["GET /users/1"; 40]);
        let missing = ["GET /users/{id}/orders", "charge payment", "nightly"].map(str::to_owned);
        let peers = [Traffic {
            name: "payment:8080",
            calls: 900,
            weight: 900.0,
            callers: 2,
        }];
        let probes = compare(&missing, &seen).probes(&seen, &peers);
        // Half of {users, orders} is in {users}, half of {charge, payment} in {payment}: a port is no word.
        assert!((probes[0].value - 20.0).abs() < 1e-12, "{probes:?}");
        assert!((probes[1].value - 450.0).abs() < 1e-12, "{probes:?}");
        assert_eq!(probes[1].callers, 2);
        assert!(probes[2].value.abs() < 1e-12);
        assert!(probes[1].reason.contains("payment:8080"), "{probes:?}");
    }

    #[test]
    fn words_are_lower_case_and_without_templates_and_methods() {
        let said: Vec<String> = words("GET /Users/{user_id}/orders.v1.List")
            .into_iter()
            .collect();
        assert_eq!(said, ["list", "orders", "users"]);
    }
}
