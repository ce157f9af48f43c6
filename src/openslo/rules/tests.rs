//! Every rule has an example that keeps it and one that breaks it and no other.

use std::collections::BTreeSet;

use super::*;
use crate::openslo::adopt::objectives;
use crate::openslo::read::{Reading, SourceFile, read};

fn reading(text: &str) -> Reading {
    read(&[SourceFile {
        name: "example.yaml".to_owned(),
        text: text.to_owned(),
    }])
}

#[test]
fn the_valid_example_of_every_rule_has_no_finding_and_is_read() {
    for rule in validation() {
        let reading = reading(rule.valid);
        assert_eq!(reading.findings, [], "{}:\n{}", rule.id, rule.valid);
        assert_eq!(
            reading.documents.len(),
            reading.document_count,
            "{}",
            rule.id
        );
    }
}

#[test]
fn the_invalid_example_of_every_rule_breaks_that_rule_alone_and_says_where() {
    for rule in validation() {
        let reading = reading(rule.invalid);
        let [finding] = &reading.findings[..] else {
            panic!("{}: {:#?}\n{}", rule.id, reading.findings, rule.invalid);
        };
        assert_eq!(
            (finding.rule.as_str(), finding.level),
            (rule.id, rule.level),
            "{finding:?}"
        );
        let location = finding.location.as_ref().unwrap();
        let is_located = location.line.is_some() && location.document.is_some();
        assert!(is_located || rule.id == "empty-file", "{finding:?}");
    }
}

#[test]
fn the_examples_of_adoption_are_sound_documents_that_keep_or_break_that_rule_alone() {
    for rule in adoption::RULES {
        let valid = reading(rule.valid);
        let (adopted, findings) = objectives(&valid.documents);
        assert_eq!((valid.findings, findings), (vec![], vec![]), "{}", rule.id);
        assert!(!adopted.is_empty(), "{}", rule.id);

        let invalid = reading(rule.invalid);
        assert_eq!(invalid.findings, [], "{}", rule.id);
        let (adopted, findings) = objectives(&invalid.documents);
        let [finding] = &findings[..] else {
            panic!("{}: {findings:#?}", rule.id);
        };
        assert_eq!(
            (finding.rule.as_str(), finding.level),
            (rule.id, rule.level)
        );
        assert!(
            finding.location.as_ref().unwrap().line > Some(5),
            "{finding:?}"
        );
        assert_eq!(
            adopted.is_empty(),
            rule.level != Level::Warning,
            "{}",
            rule.id
        );
    }
}

#[test]
fn rules_have_stable_unique_names_and_say_what_they_demand() {
    let mut ids = BTreeSet::new();
    for rule in all() {
        let id = rule.id;
        assert!(ids.insert(id), "{id} stands twice");
        assert!(crate::model::slug::is_rfc1123_label(id), "{id}");
        assert!(
            rule.summary.ends_with('.') && !rule.basis.is_empty(),
            "{id}"
        );
    }
}
