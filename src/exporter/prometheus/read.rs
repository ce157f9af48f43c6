//! The page read back, one family at a time: a query sees what a scrape would.

use std::collections::BTreeMap;

/// The label that holds a sample's name.
pub const NAME_LABEL: &str = "__name__";

/// Labels by name. An empty label is none, as Prometheus has it.
pub type LabelSet = BTreeMap<String, String>;

/// One line of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels, the name among them.
    pub labels: LabelSet,
    /// Its value.
    pub value: f64,
}

/// The samples whose name is wanted, in the order of the page. `page` is what [`super::render`] wrote.
pub fn samples<'a>(
    page: &'a str,
    is_wanted: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = Sample> + 'a {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(move |line| {
        let (name, rest) = line.split_once('{')?;
        if !is_wanted(name) {
            return None;
        }
        let (labels, value) = rest.rsplit_once("} ")?;
        let mut labels = read_labels(labels);
        labels.insert(NAME_LABEL.to_owned(), name.to_owned());
        let value = value.parse().ok()?;
        Some(Sample { labels, value })
    })
}

/// Pairs as they stand between the braces.
fn read_labels(mut rest: &str) -> LabelSet {
    let mut labels = LabelSet::new();
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = quoted.chars();
        loop {
            match characters.next() {
                Some('\\') => match characters.next() {
                    Some('n') => value.push('\n'),
                    Some(escaped) => value.push(escaped),
                    None => break,
                },
                Some('"') | None => break,
                Some(plain) => value.push(plain),
            }
        }
        if !value.is_empty() {
            labels.insert(name.to_owned(), value);
        }
        let after = characters.as_str();
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    labels
}
