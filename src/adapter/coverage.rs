//! Coverage: which of the signals that people expect were seen in the traces.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use xxhash_rust::xxh3::xxh3_64;

use crate::model::coverage::CoverageReport;
use crate::window::operation::template;

/// Observed signals that a report lists at most.
const LISTED_SIGNALS_MAX: usize = 200;

/// Distinct names that are held at most; more are counted.
const SIGNALS_MAX: usize = 100_000;

/// Names of operations and spans that were seen, with their unbounded parts (ids) templated.
#[derive(Clone, Debug, Default)]
pub struct ObservedSignals {
    names: BTreeSet<String>,
    omitted: u64,
    /// Hashes of the names that were taken, as they were said: most spans repeat one.
    taken: HashSet<u64>,
}

impl ObservedSignals {
    /// Takes a name as a span or a person says it.
    pub fn add(&mut self, name: &[u8]) {
        let hash = xxh3_64(name);
        if name.is_empty() || self.taken.contains(&hash) {
            return;
        }
        if self.taken.len() < SIGNALS_MAX {
            self.taken.insert(hash);
        }
        let name = template(name);
        if self.names.contains(&name) {
            return;
        }
        if self.names.len() < SIGNALS_MAX {
            self.names.insert(name);
        } else {
            self.omitted += 1;
        }
    }

    fn contains(&self, signal: &str) -> bool {
        self.names.contains(signal) || self.names.contains(&template(signal.as_bytes()))
    }
}

/// Compares what was expected with what was seen. `None` where nothing was expected: a ratio of nothing is no ratio.
///
/// An expected signal is the name of an operation or a span, with or without its ids templated: `GET /users/{id}`,
/// `GET /users/7`.
pub fn coverage(expected: &[String], observed: &ObservedSignals) -> Option<CoverageReport> {
    let mut coverage_map = BTreeMap::new();
    let (mut expected_signals, mut missing_signals) = (Vec::new(), Vec::new());
    for signal in expected {
        let seen = observed.contains(signal);
        if coverage_map.insert(signal.clone(), seen).is_some() {
            continue;
        }
        expected_signals.push(signal.clone());
        if !seen {
            missing_signals.push(signal.clone());
        }
    }
    if expected_signals.is_empty() {
        return None;
    }
    let covered = expected_signals.len() - missing_signals.len();
    let suggestions = missing_signals.iter().map(|signal| {
        format!("`{signal}` was expected and never seen: instrument it, or look whether it is called differently")
    });
    let listed = observed.names.iter().take(LISTED_SIGNALS_MAX);
    let observed_signals: Vec<String> = listed.cloned().collect();
    let held = observed.names.len() - observed_signals.len();
    Some(CoverageReport {
        coverage_ratio: covered as f64 / expected_signals.len() as f64,
        next_probe: missing_signals.first().cloned(),
        suggestions: suggestions.collect(),
        observed_signals_omitted: held as u64 + observed.omitted,
        observed_signals,
        coverage_map,
        missing_signals,
        expected_signals,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &[&str], observed: &[&str]) -> Option<CoverageReport> {
        let expected: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        let mut signals = ObservedSignals::default();
        for name in observed {
            signals.add(name.as_bytes());
        }
        coverage(&expected, &signals)
    }

    #[test]
    fn the_ratio_is_of_the_expected_signals() {
        let report = check(
            &["a", "GET /users/{id}", "c", "a"],
            &["a", "GET /users/77", "d"],
        )
        .unwrap();
        assert!((report.coverage_ratio - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(report.missing_signals, ["c"]);
        assert_eq!(report.next_probe.as_deref(), Some("c"));
        assert_eq!(report.expected_signals, ["a", "GET /users/{id}", "c"]);
        assert_eq!(report.observed_signals, ["GET /users/{id}", "a", "d"]);
    }

    #[test]
    fn an_expected_signal_may_name_an_example() {
        assert!(
            check(&["GET /users/12"], &["GET /users/77"])
                .unwrap()
                .missing_signals
                .is_empty()
        );
    }

    #[test]
    fn without_expectations_there_is_no_ratio() {
        assert_eq!(check(&[], &["a"]), None);
    }

    #[test]
    fn what_is_not_listed_is_counted() {
        // Digits would be templated away.
        let letter = |n: u32| char::from_u32(u32::from('a') + n).unwrap();
        let names: Vec<String> = (0..300)
            .map(|n| format!("{}{}", letter(n / 20), letter(n % 20)))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let report = check(&["op"], &names).unwrap();
        assert_eq!(
            report.observed_signals.len() as u64 + report.observed_signals_omitted,
            300
        );
    }
}
