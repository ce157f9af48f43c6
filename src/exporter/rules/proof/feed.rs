//! Series that the selectors of an indicator find, so that tests can feed them.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::VectorSelector;

use crate::exporter::rules::slo::{Indicator, Slo};
use crate::openslo::text::promql_string;
use crate::openslo::v1::RawType;

/// Values that fit many patterns, tried after those that the patterns suggest. The empty one stands for no such label.
const USUAL_VALUES: [&str; 8] = ["other", "200", "500", "404", "GET", "x", "1", ""];

/// Two series that make up the events of an indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Feed {
    /// Of the events that the part counts.
    pub(super) part: String,
    pub(super) part_is: RawType,
    pub(super) other: Other,
}

/// The series beside the part's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// Of the events that the part does not count; both are selected as the whole.
    Rest(String),
    /// Of all events, a metric of its own.
    Total(String),
}

impl Feed {
    /// The series of an SLO, or why there are none.
    pub(super) fn of(slo: &Slo) -> Result<Self, String> {
        let Indicator::Events {
            part_is,
            part,
            total,
        } = &slo.indicator
        else {
            return Err(match slo.indicator {
                Indicator::Members(_) => "the members of a composite cannot be fed as one",
                Indicator::Ratio { .. } | Indicator::Events { .. } => {
                    "its ratio is computed elsewhere"
                }
            }
            .to_owned());
        };
        let (Some(part), Some(total)) = (part.selector(), total.selector()) else {
            return Err("only sums of the increase of one selector can be fed".to_owned());
        };
        let unmatched = || "no values were found that its matchers take".to_owned();
        if part.name != total.name {
            return Ok(Self {
                part: series(&part, &values(&matchers(&part)).ok_or_else(unmatched)?),
                part_is: *part_is,
                other: Other::Total(series(
                    &total,
                    &values(&matchers(&total)).ok_or_else(unmatched)?,
                )),
            });
        }
        let both = [matchers(&part), matchers(&total)].concat();
        let counted = values(&both).ok_or_else(unmatched)?;
        let rest = rest(&part, &total, &counted)
            .ok_or_else(|| "its part and its total select the same series".to_owned())?;
        Ok(Self {
            part: series(&part, &counted),
            part_is: *part_is,
            other: Other::Rest(series(&total, &rest)),
        })
    }
}

fn matchers(selector: &VectorSelector) -> Vec<&Matcher> {
    selector.matchers.matchers.iter().collect()
}

/// A value for each label that satisfies all matchers of it.
fn values<'m>(matchers: &[&'m Matcher]) -> Option<BTreeMap<&'m str, String>> {
    let labels: BTreeSet<&str> = matchers
        .iter()
        .map(|matcher| matcher.name.as_str())
        .collect();
    labels
        .into_iter()
        .map(|label| {
            let value =
                candidates(matchers, label).find(|value| satisfies(matchers, label, value))?;
            Some((label, value))
        })
        .collect()
}

/// The values with one changed, so that the whole is selected and the part is not.
fn rest<'m>(
    part: &'m VectorSelector,
    total: &'m VectorSelector,
    counted: &BTreeMap<&'m str, String>,
) -> Option<BTreeMap<&'m str, String>> {
    let (part, total) = (matchers(part), matchers(total));
    part.iter().find_map(|matcher| {
        let label = matcher.name.as_str();
        let is_other = |value: &String| satisfies(&total, label, value) && !matcher.is_match(value);
        let other = candidates(&part, label).find(is_other)?;
        let mut rest = counted.clone();
        rest.insert(label, other);
        Some(rest)
    })
}

fn satisfies(matchers: &[&Matcher], label: &str, value: &str) -> bool {
    let mut of_label = matchers.iter().filter(|matcher| matcher.name == label);
    of_label.all(|matcher| matcher.is_match(value))
}

/// What a label might be: what its matchers say, each alternative of a pattern with its wildcards filled in, and usual
/// values.
fn candidates<'m>(matchers: &[&'m Matcher], label: &str) -> impl Iterator<Item = String> + use<'m> {
    let of_label = matchers.iter().filter(|matcher| matcher.name == label);
    let said: Vec<&str> = of_label
        .flat_map(|matcher| match matcher.op {
            MatchOp::Re(_) | MatchOp::NotRe(_) => {
                let bare = matcher.value.trim_matches(['^', '$', '(', ')']);
                bare.split('|').collect()
            }
            MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value.as_str()],
        })
        .collect();
    let filled = said.into_iter().flat_map(|text| {
        let plain = text
            .replace("\\.", "\u{0}")
            .replace(".*", "x")
            .replace(".+", "x");
        let digits = plain
            .replace(['.'], "0")
            .replace("[0-9]", "0")
            .replace("\\d", "0");
        [digits.replace('\u{0}', "."), text.to_owned()]
    });
    filled.chain(USUAL_VALUES.map(str::to_owned))
}

fn series(selector: &VectorSelector, values: &BTreeMap<&str, String>) -> String {
    let name = selector.name.as_deref().unwrap_or_default();
    let labels = values.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<String> = labels
        .map(|(label, value)| format!("{label}={}", promql_string(value)))
        .collect();
    format!("{name}{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::rules::tests::slo;

    fn feed(good: &str, total: &str) -> Result<(String, Other), String> {
        let feed = Feed::of(&slo(good, total, 0.99, "30d"))?;
        Ok((feed.part, feed.other))
    }

    #[test]
    fn the_rest_is_selected_as_a_whole_and_not_as_the_part() {
        for (good, total, part, rest) in [
            (
                "a{code=\"200\",job=\"j\"}",
                "a{job=\"j\"}",
                "a{code=\"200\",job=\"j\"}",
                "a{code=\"other\",job=\"j\"}",
            ),
            (
                "a{code!~\"5..\"}",
                "a",
                "a{code=\"other\"}",
                "a{code=\"500\"}",
            ),
            (
                "a{code=~\"2..|3..\",p!=\"\"}",
                "a{p!=\"\"}",
                "a{code=\"200\",p=\"other\"}",
                "a{code=\"other\",p=\"other\"}",
            ),
        ] {
            let found = feed(good, total).unwrap();
            assert_eq!(
                found,
                (part.to_owned(), Other::Rest(rest.to_owned())),
                "{good}"
            );
        }
    }

    #[test]
    fn a_whole_of_its_own_is_fed_by_itself() {
        let found = feed("a_bucket{le=\"0.3\"}", "a_count{job=~\"shop-.+\"}").unwrap();
        let total = Other::Total("a_count{job=\"shop-x\"}".to_owned());
        assert_eq!(found, ("a_bucket{le=\"0.3\"}".to_owned(), total));
    }

    #[test]
    fn what_cannot_be_fed_says_why() {
        for (good, total, why) in [
            ("a", "a", "the same series"),
            ("a{b=~\"[k-m]{7}\"}", "a", "no values were found"),
            ("sum(increase(a[{{.window}}])) * 2", "b", "only sums"),
        ] {
            let error = feed(good, total).unwrap_err();
            assert!(error.contains(why), "{good}: {error}");
        }
    }
}
