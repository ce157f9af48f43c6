//! The schemas of `schema/`, made from the types: the test of a file that says anything else fails.
//!
//! `UPDATE_SCHEMAS=1 cargo test --lib schema` writes the files. The schema of the store is written by hand: it says
//! what is read, which is more than what is written.

mod openslo;

use std::path::Path;
use std::{env, fs};

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::exporter::slo_export::SloExport;
use crate::model::candidate::CandidateState;
use crate::model::report::Report;
use crate::model::slo::{Budgeting, EmptySlices, Sli};
use crate::model::topology::ServiceGraph;
use crate::openslo::fixture::{availability, latency_candidate, report, service, status};

/// The only format in use that the specification of JSON Schema names; validators may refuse others.
const STANDARD_FORMAT: &str = "date-time";

fn report_schema() -> Value {
    let schema = written::<Report>();
    let description = "Everything that one evaluation found: what `analyze` prints, `report.json` and GET \
                       /api/v1/report. Later versions may add keys.";
    with_head(schema, "report", "Report of slo-copilot", description)
}

fn topology_schema() -> Value {
    let schema = written::<ServiceGraph>();
    let description = "The service graph: what the command `topology` and GET /api/v1/topology answer. Later versions may \
                       add keys.";
    with_head(
        schema,
        "topology",
        "Service graph of slo-copilot",
        description,
    )
}

fn slo_export_schema() -> Value {
    let schema = written::<SloExport<'_>>();
    let description = "What `analyze --export-json` writes: the adopted objectives, then the candidates. Later \
                       versions may add keys.";
    with_head(
        schema,
        "slo_export",
        "SLO export of slo-copilot",
        description,
    )
}

/// The schema of what is written, where no field is left out unless it says so.
pub(crate) fn written<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with_transform(RecursiveTransform(|schema: &mut Schema| {
        tidy(schema);
        // What is closed to those who write configuration is open to those who read reports of later versions.
        if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
            schema.remove("additionalProperties");
        }
    }));
    settings.into_generator().into_root_schema_for::<T>()
}

/// Takes out what is about Rust: line ends of comments, widths of numbers, defaults of readers.
pub(crate) fn tidy(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        let paragraphs = description.split("\n\n");
        let lines: Vec<String> = paragraphs.map(|text| text.replace('\n', " ")).collect();
        *description = lines.join("\n\n");
    }
    if schema
        .get("format")
        .is_some_and(|format| format != STANDARD_FORMAT)
    {
        schema.remove("format");
    }
    schema.remove("default");
}

pub(crate) fn with_head(mut schema: Schema, name: &str, title: &str, description: &str) -> Value {
    let id = format!("https://slo-copilot.dev/schema/{name}.schema.json");
    for (key, text) in [
        ("$id", id.as_str()),
        ("title", title),
        ("description", description),
    ] {
        schema.insert(key.to_owned(), text.into());
    }
    schema.to_value()
}

/// Compares a schema with its file, or writes the file if that is asked for.
pub(crate) fn assert_file(name: &str, schema: &Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let path = folder.join(format!("{name}.schema.json"));
    let rendered = serde_json::to_string_pretty(schema).unwrap() + "\n";
    if env::var_os("UPDATE_SCHEMAS").is_some() {
        fs::write(&path, &rendered).unwrap();
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    let place = held
        .lines()
        .zip(rendered.lines())
        .position(|(held, new)| held != new);
    let remedy = "see the difference after UPDATE_SCHEMAS=1 cargo test --lib schema";
    let (file, line) = (path.display(), place.map(|line| line + 1));
    assert!(
        held == rendered,
        "{file} is not what its types say, from line {line:?}: {remedy}"
    );
}

fn validator(schema: &Value) -> jsonschema::Validator {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(schema).unwrap()
}

/// What a document breaks.
pub(crate) fn violations(schema: &Value, document: &Value) -> Vec<String> {
    let validator = validator(schema);
    let errors = validator.iter_errors(document);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// A report with objectives that count in several ways, and candidates.
fn full_report() -> Report {
    let shop = service("shop", "prod", "checkout");
    let mut report = report(1_000, std::slice::from_ref(&shop));
    let latency = Sli::Latency {
        threshold_micros: 300_000,
    };
    let calendar = json!({"duration": "1M", "start_time": "2026-01-01T00:00:00", "time_zone": "Europe/Berlin"});
    for (name, sli, window, budgeting) in [
        (
            "by-events",
            Sli::Availability,
            json!("30d"),
            Budgeting::Occurrences,
        ),
        (
            "of-errors",
            Sli::ErrorRate,
            calendar,
            Budgeting::Occurrences,
        ),
        (
            "by-slices",
            latency,
            json!("4w"),
            Budgeting::Timeslices {
                slice_target: 0.95,
                slice: "5m".parse().unwrap(),
                empty: EmptySlices::Excluded,
            },
        ),
    ] {
        let mut objective = availability(name, "checkout", 0.99);
        objective.sli = sli;
        objective.window = serde_json::from_value(window).unwrap();
        objective.budgeting = budgeting;
        report.baseline_evaluations.push(status(objective));
    }
    for (name, state) in [
        ("ready", CandidateState::Ready),
        ("early", CandidateState::Provisional),
    ] {
        report
            .slo_candidates
            .push(latency_candidate(name, &shop, state));
    }
    report
}

/// Each pointer with a value that must not stand there; null takes the key away.
pub(crate) fn assert_refused(schema: &Value, good: &Value, wrong: &[(&str, Value)]) {
    assert_eq!(violations(schema, good), Vec::<String>::new());
    let validator = validator(schema);
    for (pointer, value) in wrong {
        let mut document = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = document
            .pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap();
        if value.is_null() {
            parent.remove(key).unwrap();
        } else {
            *parent.get_mut(key).unwrap() = value.clone();
        }
        assert!(!validator.is_valid(&document), "{pointer}: {value}");
    }
}

#[test]
fn the_schema_of_the_report_is_what_its_types_say() {
    assert_file("report", &report_schema());
}

#[test]
fn the_schema_of_the_service_graph_is_what_its_types_say() {
    assert_file("topology", &topology_schema());
}

#[test]
fn the_schema_of_the_slo_export_is_what_its_types_say() {
    assert_file("slo_export", &slo_export_schema());
}

#[test]
fn every_key_of_a_report_is_described_and_always_there() {
    let (schema, report) = (
        report_schema(),
        serde_json::to_value(full_report()).unwrap(),
    );
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    let described: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(described, keys);
    let mut required: Vec<&str> = schema["required"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    required.sort_unstable();
    assert_eq!(required, keys);
}

#[test]
fn a_report_that_is_not_one_is_refused() {
    let report = serde_json::to_value(full_report()).unwrap();
    assert_refused(
        &report_schema(),
        &report,
        &[
            ("/schema_version", json!("slo-copilot/report/v2")),
            ("/generated_at", json!(1_000)),
            ("/generated_at", json!("yesterday")),
            ("/rca", json!(null)),
            ("/verdict", json!("pass")),
            ("/verdict/verdict", json!("passed")),
            ("/verdict/evidence/spans", json!(-1)),
            ("/services/0/service/name", json!(null)),
            ("/baseline_evaluations/0/objective/window", json!("30 days")),
            (
                "/baseline_evaluations/1/objective/window/time_zone",
                json!(null),
            ),
            (
                "/baseline_evaluations/1/objective/window/start_time",
                json!("2026-01-01"),
            ),
            (
                "/baseline_evaluations/2/objective/sli/threshold_micros",
                json!(null),
            ),
            (
                "/baseline_evaluations/2/objective/budgeting/slice",
                json!("0m"),
            ),
            (
                "/baseline_evaluations/2/objective/budgeting/method",
                json!("occurrence"),
            ),
            ("/slo_candidates/0/window", json!("31d")),
            ("/slo_candidates/0/evidence/events", json!("many")),
        ],
    );
}

#[test]
fn an_slo_export_that_is_not_one_is_refused() {
    let report = full_report();
    let export = serde_json::to_value(SloExport::of(&report)).unwrap();
    assert_refused(
        &slo_export_schema(),
        &export,
        &[
            ("/schema_version", json!("slo-copilot/v2")),
            ("/generated_at", json!(null)),
            ("/slos", json!({})),
            ("/slos/0/missing", json!(null)),
            ("/slos/0/target/metric", json!("saturation")),
            ("/slos/0/target/comparator", json!(">")),
            ("/slos/0/target/threshold", json!("99%")),
            ("/slos/3/state", json!("perhaps")),
            ("/slos/3/evidence/bound", json!(null)),
        ],
    );
}

#[test]
fn descriptions_speak_of_json_and_not_of_rust() {
    for schema in [
        report_schema(),
        slo_export_schema(),
        openslo::bundle_schema(),
    ] {
        let text = schema.to_string();
        for word in ["[`", "`]", "::", "`None`", "`Some"] {
            assert!(!text.contains(word), "{word} in {}", schema["$id"]);
        }
    }
}
