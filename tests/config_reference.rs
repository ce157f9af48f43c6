//! `config/slo-copilot.yaml` is the reference of the configuration: it names every key and says the defaults.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use slo_copilot::config::{Config, SliKind};

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/slo-copilot.yaml");

#[test]
fn the_reference_says_the_defaults() {
    let loaded = Config::load(Some(Path::new(REFERENCE)), [], &[]).unwrap();
    assert_eq!(loaded, Config::default());
}

#[test]
fn the_reference_names_every_key() {
    let text = fs::read_to_string(REFERENCE).unwrap();
    let defaults = serde_json::to_value(Config::default()).unwrap();
    assert_eq!(key_paths(&yaml(&text).unwrap()), key_paths(&defaults));
}

#[test]
fn every_key_has_a_comment() {
    let text = fs::read_to_string(REFERENCE).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let bare: Vec<&str> = lines
        .windows(2)
        .filter(|pair| is_value(pair[1]) && !pair[0].starts_with('#'))
        .map(|pair| pair[1])
        .collect();
    // The files of `guardrail` and `report` stand above their sections.
    assert_eq!(bare, ["enabled: true", "enabled: true"]);
}

/// What a reader gets who follows the instruction above the commented objectives.
#[test]
fn the_commented_objectives_load_and_show_every_key_of_an_objective() {
    let text = uncommented(&fs::read_to_string(REFERENCE).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slo-copilot.yaml");
    fs::write(&path, &text).unwrap();

    let list = Config::load(Some(&path), [], &[]).unwrap().objectives.list;
    let kinds: Vec<SliKind> = list.iter().map(|objective| objective.sli).collect();
    assert_eq!(kinds, [SliKind::Availability, SliKind::Latency]);
    let shown = yaml(&text).unwrap()["objectives"]["list"][1].take();
    let known = serde_json::to_value(&list[1]).unwrap();
    assert_eq!(key_paths(&shown), key_paths(&known));
}

fn yaml(text: &str) -> Result<Value, serde_saphyr::Error> {
    serde_saphyr::from_str(text)
}

/// Comments have a space behind their `#`; the example has none, or the two of its indentation.
fn uncommented(text: &str) -> String {
    let lines = text.lines().filter(|line| *line != "  list: []");
    let uncommented = lines.map(|line| match line.strip_prefix("  #") {
        Some(rest) if rest.starts_with("  ") || rest.starts_with("list:") => format!("  {rest}\n"),
        Some(_) | None => format!("{line}\n"),
    });
    uncommented.collect()
}

/// `key: value`, neither a comment nor a section.
fn is_value(line: &str) -> bool {
    !line.starts_with('#') && line.split_once(": ").is_some()
}

/// The dotted paths of all values. Lists and empty maps are values.
fn key_paths(value: &Value) -> BTreeSet<String> {
    match value.as_object() {
        None => BTreeSet::from([String::new()]),
        Some(fields) if fields.is_empty() => BTreeSet::from([String::new()]),
        Some(fields) => fields
            .iter()
            .flat_map(|(key, value)| {
                let below = key_paths(value).into_iter();
                below.map(move |path| format!(".{key}{path}"))
            })
            .collect(),
    }
}
