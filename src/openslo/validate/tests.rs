//! Whole documents: all findings with their places, references between files, and verdicts of the reference validator.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::model::finding::{Finding, Level};
use crate::openslo::read::{Reading, SourceFile, read};
use crate::openslo::rules;

fn reading(files: &[(&str, &str)]) -> Reading {
    let files: Vec<SourceFile> = files
        .iter()
        .map(|(name, text)| SourceFile {
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        })
        .collect();
    read(&files)
}

fn findings(text: &str) -> Vec<Finding> {
    reading(&[("a.yaml", text)]).findings
}

/// Rule, line and path of each finding.
fn places(findings: &[Finding]) -> Vec<(&str, u32, &str)> {
    findings
        .iter()
        .map(|finding| {
            let location = finding.location.as_ref().unwrap();
            let path = location.path.as_deref().unwrap();
            (finding.rule.as_str(), location.line.unwrap(), path)
        })
        .collect()
}

fn rules_of(findings: &[Finding]) -> Vec<&str> {
    findings
        .iter()
        .map(|finding| finding.rule.as_str())
        .collect()
}

const SERVICE: &str =
    "{apiVersion: openslo/v1, kind: Service, metadata: {name: checkout}, spec: {}}\n---\n";

/// A service and an SLO of it with this method and these objectives.
fn slo(method: &str, indicator: &str, objectives: &str) -> String {
    format!(
        "{SERVICE}apiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: a}}\nspec:\n  service: checkout\n  \
         timeWindow: [{{duration: 30d, isRolling: true}}]\n  budgetingMethod: {method}\n  {indicator}\n  \
         objectives: {objectives}\n"
    )
}

const RAW: &str = "indicator: {metadata: {name: a}, spec: {ratioMetric: {rawType: success, raw: {metricSource: {type: a, spec: {b: c}}}}}}";

const WRECK: &str = "\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: Check_Out
  labels: {team: [shop, 5], -x: a}
  annotations:
    a b: c
spec:
  service: Checkout
  budgetingMethod: timeslices
  timeWindow:
  - duration: 1 month
    isRolling: yes
    calendar:
      startTime: 2026-13-01 00:00:00
      timeZone: europe/berlin
  indicator:
    metadata: {name: a, namespace: b}
    spec:
      ratioMetric:
        good: {metricSource: {spec: {}}}
  objectives:
  - target: 99.9
    op: eq
    value: '5'
  alertPolicies:
  - alertPolicyRef: missing
";

#[test]
fn all_findings_of_a_document_are_reported_in_the_order_of_its_lines() {
    let found = findings(WRECK);
    let wanted = [
        ("name", 4, "$.metadata.name"),
        ("label-key", 5, "$.metadata.labels.-x"),
        ("wrong-type", 5, "$.metadata.labels.team[1]"),
        ("annotation-key", 7, "$.metadata.annotations['a b']"),
        ("reference-name", 9, "$.spec.service"),
        ("budgeting-method", 10, "$.spec.budgetingMethod"),
        ("duration", 12, "$.spec.timeWindow[0].duration"),
        ("wrong-type", 13, "$.spec.timeWindow[0].isRolling"),
        ("start-time", 15, "$.spec.timeWindow[0].calendar.startTime"),
        ("time-zone", 16, "$.spec.timeWindow[0].calendar.timeZone"),
        ("unknown-key", 18, "$.spec.indicator.metadata.namespace"),
        ("ratio-choice", 20, "$.spec.indicator.spec.ratioMetric"),
        (
            "metric-source-type",
            21,
            "$.spec.indicator.spec.ratioMetric.good.metricSource",
        ),
        (
            "metric-source-spec",
            21,
            "$.spec.indicator.spec.ratioMetric.good.metricSource.spec",
        ),
        ("target-range", 23, "$.spec.objectives[0].target"),
        ("operator", 24, "$.spec.objectives[0].op"),
        ("ratio-limit", 24, "$.spec.objectives[0].op"),
        ("wrong-type", 25, "$.spec.objectives[0].value"),
        ("ratio-limit", 25, "$.spec.objectives[0].value"),
        (
            "reference-unresolved",
            27,
            "$.spec.alertPolicies[0].alertPolicyRef",
        ),
    ];
    let mut found_places = places(&found);
    let mut wanted = wanted.map(|(rule, line, path)| (rule, line, path.replace(".-x", "['-x']")));
    found_places.sort_by_key(|(rule, line, _)| (*line, *rule));
    wanted.sort_by_key(|(rule, line, _)| (*line, *rule));
    let wanted: Vec<(&str, u32, &str)> = wanted
        .iter()
        .map(|(rule, line, path)| (*rule, *line, path.as_str()))
        .collect();
    assert_eq!(found_places, wanted);
    let message = |rule: &str| {
        let found = found.iter().find(|finding| finding.rule == rule);
        found.unwrap().message.clone()
    };
    assert!(message("name").contains("`check-out`"));
    assert!(message("budgeting-method").contains("did you mean `Timeslices`?"));
    assert!(message("time-zone").contains("Europe/Berlin"));
    assert!(message("target-range").contains("targetPercent"));
}

/// Verdicts that the tests of the Go SDK (v0.9) publish for these values.
#[test]
fn bounds_of_numbers_are_those_of_the_reference_validator() {
    let composite = |weight: &str| format!("[{{target: 0.9, compositeWeight: {weight}, {RAW}}}]");
    let slices =
        |target: &str| format!("[{{target: 0.9, timeSliceTarget: {target}, timeSliceWindow: 5m}}]");
    let cases = [
        ("target: 0.0", None),
        ("target: 0.9999", None),
        ("target: 1.0", Some("target-range")),
        ("target: -0.1", Some("target-range")),
        ("targetPercent: 0.0", None),
        ("targetPercent: 0.9999", None),
        ("targetPercent: 99.9999", None),
        ("targetPercent: 100.0", Some("target-range")),
        ("targetPercent: -0.1", Some("target-range")),
        ("displayName: neither", Some("target-choice")),
        ("target: 0.1, targetPercent: 10.0", Some("target-choice")),
    ];
    let cases = cases
        .map(|(objective, rule)| (slo("Occurrences", RAW, &format!("[{{{objective}}}]")), rule));
    let weights = [
        ("20.0", None),
        ("999999999999.9999", None),
        ("0.0", Some(())),
        ("-2.0", Some(())),
    ];
    let weights = weights.map(|(weight, wrong)| {
        let text = slo("Occurrences", "", &composite(weight));
        (text, wrong.map(|()| "composite-weight"))
    });
    let targets = [
        ("0.1", None),
        ("1.0", None),
        ("0", Some(())),
        ("1.1", Some(())),
    ];
    let targets = targets.map(|(target, wrong)| {
        let text = slo("Timeslices", RAW, &slices(target));
        (text, wrong.map(|()| "time-slice-target-range"))
    });
    for (text, rule) in cases.into_iter().chain(weights).chain(targets) {
        assert_eq!(rules_of(&findings(&text)), Vec::from_iter(rule), "{text}");
    }
}

#[test]
fn other_versions_are_told_what_to_change_and_nothing_else() {
    for (version, words) in [
        ("openslo/v1alpha", ["timeWindows", "ratioMetrics"]),
        ("openslo.com/v2alpha", ["sliRef", "dataSourceRef"]),
    ] {
        let text = format!("apiVersion: {version}\nkind: SLO\nwhatever: 5\n");
        let found = findings(&text);
        assert_eq!(places(&found), [("unsupported-version", 1, "$.apiVersion")]);
        for word in words {
            assert!(found[0].message.contains(word), "{}", found[0].message);
        }
    }
}

#[test]
fn an_sli_of_another_file_decides_what_objectives_need() {
    let sli = |metric: &str| {
        format!(
            "{{apiVersion: openslo/v1, kind: SLI, metadata: {{name: shared}}, spec: {{{metric}}}}}"
        )
    };
    let source = "metricSource: {type: a, spec: {b: c}}";
    let threshold = sli(&format!("thresholdMetric: {{{source}}}"));
    let ratio = sli(&format!(
        "ratioMetric: {{rawType: failure, raw: {{{source}}}}}"
    ));
    let reference = "indicatorRef: shared";
    for (sli, objectives, wanted) in [
        (&ratio, "[{target: 0.9}]", &[][..]),
        (
            &ratio,
            "[{target: 0.9, op: gt, value: 1}]",
            &["ratio-limit", "ratio-limit"],
        ),
        (&threshold, "[{target: 0.9, op: gt, value: 1}]", &[]),
        (&threshold, "[{target: 0.9}]", &["threshold-limit"]),
        (
            &threshold,
            "[{target: 0.9, op: gt, value: 1}, {target: 0.8, op: gt, value: 2}]",
            &["threshold-objectives"],
        ),
    ] {
        let slo = slo("Occurrences", reference, objectives);
        let reading = reading(&[("slo.yaml", &slo), ("sli.yaml", sli)]);
        assert_eq!(rules_of(&reading.findings), wanted, "{objectives}");
    }
}

#[test]
fn a_document_with_an_error_is_still_the_one_that_others_mean() {
    let service = SERVICE.replace("spec: {}", "spec: {owner: me}");
    let text = slo("Occurrences", RAW, "[{target: 0.9}]").replace(SERVICE, &service);
    let reading = reading(&[("a.yaml", &text)]);
    assert_eq!(rules_of(&reading.findings), ["unknown-key"]);
    assert_eq!((reading.documents.len(), reading.document_count), (1, 2));
}

#[test]
fn a_name_that_is_taken_names_the_other_file_and_line() {
    let found = reading(&[("a.yaml", SERVICE), ("b.yaml", &format!("\n{SERVICE}"))]).findings;
    assert_eq!(places(&found), [("duplicate-name", 2, "$")]);
    assert!(
        found[0].message.contains("a.yaml, line 1"),
        "{}",
        found[0].message
    );
    assert_eq!(found[0].location.as_ref().unwrap().file, "b.yaml");
}

#[test]
fn a_name_that_stands_twice_on_one_line_is_found() {
    let service = SERVICE.replace("\n---\n", "");
    let found = findings(&format!("[{service}, {service}]\n"));
    assert_eq!(places(&found), [("duplicate-name", 1, "$[1]")]);
}

#[test]
fn an_unresolved_service_is_a_warning_until_services_are_given() {
    let slo = slo("Occurrences", RAW, "[{target: 0.9}]");
    let alone = slo.replace(SERVICE, "");
    let level = |text: &str| {
        findings(text)
            .iter()
            .map(|found| found.level)
            .collect::<Vec<_>>()
    };
    assert_eq!(level(&slo), []);
    assert_eq!(level(&alone), [Level::Warning]);
    assert_eq!(
        level(&slo.replace("name: checkout", "name: cart")),
        [Level::Error]
    );
}

#[test]
fn items_of_a_list_are_documents_with_paths_of_their_own() {
    let text = format!(
        "- {}- 5\n",
        SERVICE
            .replace("\n---\n", "\n")
            .replace("checkout", "Checkout")
    );
    let found = findings(&text);
    assert_eq!(
        places(&found),
        [("name", 1, "$[0].metadata.name"), ("wrong-type", 2, "$[1]")]
    );
}

/// The documents of all examples, for mutations.
fn examples() -> Vec<Value> {
    let texts = rules::validation().flat_map(|rule| [rule.valid, rule.invalid]);
    let parsed = texts.filter_map(|text| serde_saphyr::from_multiple::<Value>(text).ok());
    parsed.flatten().collect()
}

/// Puts a value at the n-th place of a tree, counted as they are met; nothing removes it.
fn mutate(node: &mut Value, place: &mut usize, with: Option<&Value>) {
    let is_here = |place: &mut usize| {
        let here = *place == 0;
        *place = place.wrapping_sub(1);
        here
    };
    match node {
        Value::Array(items) => {
            for item in items {
                if is_here(place) {
                    *item = with.cloned().unwrap_or_default();
                    return;
                }
                mutate(item, place, with);
            }
        }
        Value::Object(fields) => {
            for key in fields.keys().cloned().collect::<Vec<_>>() {
                if is_here(place) {
                    match with {
                        Some(value) => drop(fields.insert(key, value.clone())),
                        None => drop(fields.remove(&key)),
                    }
                    return;
                }
                mutate(&mut fields[&key], place, with);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is published for editors, which must not refuse what passes here.
static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema = include_str!("../../../schema/openslo_bundle.schema.json");
    jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap()
});

proptest! {
    #[test]
    fn property_what_passes_can_be_read_and_nothing_panics(
        mut document in prop::sample::select(examples()),
        places in prop::collection::vec(0_usize..40, 0..4),
        with in prop::option::of(prop::sample::select(vec![
            json!(null), json!(1), json!(-0.5), json!(true), json!("30d"), json!("x"), json!("Occurrences"),
            json!("burnrate"), json!([]), json!({}), json!([{}]), json!({"name": "a"}), json!(["a"]),
        ])),
    ) {
        for place in places {
            mutate(&mut document, &mut place.clone(), with.as_ref());
        }
        let reading = reading(&[("a.json", &document.to_string())]);
        let defect = reading.findings.iter().find(|found| found.message.contains("cannot be read"));
        prop_assert_eq!(defect, None);
        let errors = reading.findings.iter().any(|found| found.level == Level::Error);
        prop_assert!(errors || reading.documents.len() == reading.document_count);
        let broken = SCHEMA.iter_errors(&json!([document])).next().map(|error| error.to_string());
        prop_assert!(errors || broken.is_none(), "{}: {:?}", document, broken);
        for read in &reading.documents {
            let written = serde_json::to_value(&read.value).unwrap();
            let again = self::reading(&[("a.json", &written.to_string())]);
            prop_assert_eq!(again.documents.first().map(|again| &again.value), Some(&read.value));
        }
    }
}
