//! The annotations that speak of one objective, and their values.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::model::finding::{Finding, Location};
use crate::model::slo::{EmptySlices, Sli};
use crate::model::slug::{is_rfc1123_label, rfc1123_slug};
use crate::openslo::adopt::{finding, is_suggestion};
use crate::openslo::annotation;
use crate::openslo::read::Located;
use crate::openslo::rules::adoption::{ANNOTATION, ANNOTATION_UNKNOWN};
use crate::openslo::suggest::unknown;
use crate::openslo::text::threshold_micros;
use crate::openslo::tree::Path;
use crate::openslo::v1::{Document, Metadata};

/// What slices without events may count as.
const EMPTY_SLICES_WORDS: [(&str, EmptySlices); 3] = [
    ("good", EmptySlices::Good),
    ("bad", EmptySlices::Bad),
    ("excluded", EmptySlices::Excluded),
];

/// Annotations of our domain, by the name behind it; the nearest to the objective wins.
#[derive(Clone, Debug, Default)]
pub(super) struct Annotations<'d>(BTreeMap<&'d str, Annotation<'d>>);

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Annotation<'d> {
    pub(super) value: &'d str,
    location: Location,
}

/// Whether an SLO is agreed on.
pub(super) enum Standing<'d> {
    /// It is, or its state is no word of ours, which is another matter.
    Adopted,
    /// It is a suggestion of this state, which is said there.
    Suggested(&'d str, Location),
}

impl<'d> Annotations<'d> {
    /// Adds annotations that stand farther off than those added before.
    pub(super) fn add(
        &mut self,
        document: &'d Located<Document>,
        path: &Path,
        metadata: &'d Metadata,
    ) {
        let path = path.key("metadata").key("annotations");
        for (key, value) in &metadata.annotations {
            if let Some(name) = key.strip_prefix(annotation::PREFIX) {
                self.0.entry(name).or_insert_with(|| Annotation {
                    value,
                    location: document.location(&path.key(key)),
                });
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Annotation<'d>> {
        self.0.get(name)
    }

    pub(super) fn standing(&self) -> Standing<'d> {
        match self.get(annotation::STATE) {
            Some(state) if is_suggestion(state.value) => {
                Standing::Suggested(state.value, state.location.clone())
            }
            Some(_) | None => Standing::Adopted,
        }
    }

    /// Finds names that are not ours, states that are no words, and an empty service.
    pub(super) fn check_names(&self, wrong: &mut Vec<Finding>) {
        for (name, found) in &self.0 {
            if !annotation::ALL.contains(name) {
                let message = unknown("the annotation", name, &annotation::ALL);
                wrong.push(finding(
                    &ANNOTATION_UNKNOWN,
                    found.location.clone(),
                    message,
                ));
            }
        }
        self.one_of(annotation::STATE, &[("adopted", ())], (), wrong);
        if let Some(found) = self
            .get(annotation::SERVICE)
            .filter(|one| one.value.is_empty())
        {
            wrong.push(found.wrong("the service must be named as its traces name it"));
        }
    }

    /// What is measured.
    pub(super) fn sli(&self, wrong: &mut Vec<Finding>) -> Option<Sli> {
        let words = [("availability", false), ("latency", true)];
        let is_latency = self.one_of(annotation::SLI, &words, false, wrong)?;
        if !is_latency {
            return Some(Sli::Availability);
        }
        let Some(threshold) = self.get(annotation::THRESHOLD) else {
            let sli = self.get(annotation::SLI)?;
            let key = annotation::key(annotation::THRESHOLD);
            wrong.push(sli.wrong(&format!("a latency needs {key}, for example 300ms")));
            return None;
        };
        let micros = threshold_micros(threshold.value).filter(|micros| *micros > 0);
        if micros.is_none() {
            let message = format!(
                "the threshold `{}` is not understood: write an integer and us, ms or s, for example 300ms",
                threshold.value
            );
            wrong.push(threshold.wrong(&message));
        }
        Some(Sli::Latency {
            threshold_micros: micros?,
        })
    }

    /// Whether the verdict waits for the objective, and what it weighs.
    pub(super) fn judged(&self, wrong: &mut Vec<Finding>) -> Option<(bool, f64)> {
        let words = [("true", true), ("false", false)];
        let required = self.one_of(annotation::REQUIRED, &words, false, wrong);
        let weight = self.get(annotation::WEIGHT);
        let parsed = weight.map_or(Some(1.0), |weight| f64::from_str(weight.value).ok());
        let parsed = parsed.filter(|weight| *weight > 0.0 && weight.is_finite());
        if let (None, Some(weight)) = (parsed, weight) {
            let message = format!("the weight `{}` must be a number above 0", weight.value);
            wrong.push(weight.wrong(&message));
        }
        Some((required?, parsed?))
    }

    /// What slices without events count as.
    pub(super) fn empty_slices(&self, wrong: &mut Vec<Finding>) -> Option<EmptySlices> {
        self.one_of(
            annotation::EMPTY_SLICES,
            &EMPTY_SLICES_WORDS,
            EmptySlices::default(),
            wrong,
        )
    }

    /// The name that a member of a composite goes by.
    pub(super) fn member_name(&self, wrong: &mut Vec<Finding>) -> Option<String> {
        let found = self.get(annotation::OBJECTIVE)?;
        if is_rfc1123_label(found.value) {
            return Some(found.value.to_owned());
        }
        let message = format!(
            "`{}` is not an RFC 1123 label; use `{}`",
            found.value,
            rfc1123_slug(found.value)
        );
        wrong.push(found.wrong(&message));
        None
    }

    /// The meaning of a word, `unsaid` without one, and nothing where it is wrong.
    fn one_of<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
        unsaid: T,
        wrong: &mut Vec<Finding>,
    ) -> Option<T> {
        let Some(found) = self.get(name) else {
            return Some(unsaid);
        };
        let meant = words.iter().find(|(word, _)| *word == found.value);
        if meant.is_none() {
            let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            wrong.push(found.wrong(&unknown(&format!("the {name}"), found.value, &allowed)));
        }
        meant.map(|(_, meaning)| *meaning)
    }
}

/// What slices without events count as by these metadata alone, with the key that says so; or what is wrong with it.
pub fn empty_slices(metadata: &Metadata) -> Option<(String, Result<EmptySlices, String>)> {
    let key = annotation::key(annotation::EMPTY_SLICES);
    let value = metadata.annotations.get(&key)?;
    let meant = EMPTY_SLICES_WORDS.iter().find(|(word, _)| word == value);
    let meant = meant.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let allowed = EMPTY_SLICES_WORDS.map(|(word, _)| word);
        unknown("the empty-slices", value, &allowed)
    });
    Some((key, meant))
}

impl Annotation<'_> {
    fn wrong(&self, message: &str) -> Finding {
        finding(&ANNOTATION, self.location.clone(), message.to_owned())
    }
}
