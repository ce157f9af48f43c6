//! A page of `/metrics`, as far as the tests read it.

use std::collections::BTreeSet;

/// One sample of a page.
#[derive(Debug)]
struct Sample {
    name: String,
    /// Everything between the braces, with a comma at either end.
    labels: String,
    value: f64,
}

/// A page in the Prometheus text format.
#[derive(Debug)]
pub(crate) struct Page {
    samples: Vec<Sample>,
}

impl Page {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            Sample {
                name: name.to_owned(),
                labels: format!(",{},", labels.trim_end_matches('}')),
                value: value.parse().unwrap(),
            }
        });
        Self {
            samples: samples.collect(),
        }
    }

    /// The sum over all series of `name` that have these labels; `None` if there is no such series.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &Sample| {
            labels
                .iter()
                .all(|(key, value)| sample.labels.contains(&format!(",{key}=\"{value}\",")))
        };
        let found = self.samples.iter().filter(|sample| sample.name == name);
        let values: Vec<f64> = found
            .filter(|sample| has(sample))
            .map(|sample| sample.value)
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Names of the labels of a metric; none where it has no series.
    pub(crate) fn labels(&self, name: &str) -> BTreeSet<String> {
        let found = self.samples.iter().filter(|sample| sample.name == name);
        let pairs = found.flat_map(|sample| sample.labels.split("\","));
        let names = pairs.filter_map(|pair| pair.trim_start_matches(',').split_once('='));
        names.map(|(label, _)| label.to_owned()).collect()
    }

    /// A count that must be there.
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let sum = self.sum(name, labels);
        let sum = sum.unwrap_or_else(|| panic!("no series {name} {labels:?}"));
        format!("{sum:.0}").parse().unwrap()
    }

    /// Entry spans of a service; 0 before it is known.
    pub(crate) fn requests(&self, service: &str) -> u64 {
        let name = "slo_copilot_requests_total";
        match self.sum(name, &[("service", service)]) {
            Some(_) => self.count(name, &[("service", service)]),
            None => 0,
        }
    }

    /// Entry spans of a service with this outcome.
    pub(crate) fn outcome(&self, service: &str, outcome: &str) -> u64 {
        let labels = [("service", service), ("outcome", outcome)];
        self.count("slo_copilot_requests_total", &labels)
    }
}
