//! The schema of OpenSLO v1 documents: what the types say, and those rules of the validator that a schema can hold.

mod constraints;

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{assert_file, assert_refused, full_report, tidy, validator, violations, with_head};
use crate::exporter::openslo::documents_by_name;
use crate::model::finding::Level;
use crate::openslo::rules;
use crate::openslo::v1::{
    API_VERSION, AlertConditionSpec, AlertNotificationTargetSpec, AlertPolicySpec, DataSourceSpec,
    Document, Kind, Metadata, ServiceSpec, SliSpec, SloSpec,
};

impl JsonSchema for Document {
    fn schema_name() -> Cow<'static, str> {
        "Document".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kinds: Vec<Schema> = Kind::ALL
            .into_iter()
            .map(|kind| document_of(kind, generator))
            .collect();
        json_schema!({ "description": "One document: its kind decides its spec.", "oneOf": kinds })
    }
}

fn document_of(kind: Kind, generator: &mut SchemaGenerator) -> Schema {
    let spec = match kind {
        Kind::DataSource => generator.subschema_for::<DataSourceSpec>(),
        Kind::Slo => generator.subschema_for::<SloSpec>(),
        Kind::Sli => generator.subschema_for::<SliSpec>(),
        Kind::AlertPolicy => generator.subschema_for::<AlertPolicySpec>(),
        Kind::AlertCondition => generator.subschema_for::<AlertConditionSpec>(),
        Kind::AlertNotificationTarget => generator.subschema_for::<AlertNotificationTargetSpec>(),
        Kind::Service => generator.subschema_for::<ServiceSpec>(),
    };
    json_schema!({
        "title": kind.name(),
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "const": kind.name() },
            "metadata": generator.subschema_for::<Metadata>(),
            "spec": spec,
        },
    })
}

/// The schema of `openslo/bundle.json`.
pub(super) fn bundle_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    let settings = settings.with_transform(RecursiveTransform(|schema: &mut Schema| {
        tidy(schema);
        refuse_null(schema);
    }));
    let schema = settings
        .into_generator()
        .into_root_schema_for::<Vec<Document>>();
    let description = "OpenSLO v1 documents: `openslo/bundle.json`, and what `analyze --export-openslo` writes. An \
                       extra beside `slo-copilot validate`, which says more: whether references, time zones and days \
                       exist, and what is allowed but unwise.";
    let title = "OpenSLO v1 bundle of slo-copilot";
    let mut schema = with_head(schema, "openslo_bundle", title, description);
    let definitions = schema["$defs"].as_object_mut().unwrap();
    for (place, rules) in constraints::all() {
        add(definitions, place, rules);
    }
    schema
}

/// A key may be left out; null stands for nothing in OpenSLO.
fn refuse_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = &choices[..] {
            let only = only.clone();
            schema.remove("anyOf");
            only.into_iter()
                .for_each(|(key, value)| drop(schema.insert(key, value)));
        }
    }
}

/// Adds keywords to a definition, `Metadata`, or to a property of one, `Metadata.name`.
fn add(definitions: &mut Map<String, Value>, place: &str, rules: Value) {
    let schema = match place.split_once('.') {
        None => definitions.get_mut(place),
        Some((definition, property)) => definitions
            .get_mut(definition)
            .and_then(|schema| schema.get_mut("properties")?.get_mut(property)),
    };
    let schema = schema.unwrap_or_else(|| panic!("{place} is no place in the schema"));
    let Value::Object(rules) = rules else {
        panic!("{place}: {rules} is no schema");
    };
    if schema == &Value::Bool(true) {
        *schema = json!({});
    }
    let schema = schema.as_object_mut().unwrap();
    for (key, rule) in rules {
        assert_eq!(schema.insert(key, rule), None, "{place}");
    }
}

/// The documents of a file; none where it is no YAML.
fn documents(text: &str) -> Option<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).ok()?;
    Some(Value::Array(documents))
}

#[test]
fn the_schema_of_the_bundle_is_what_its_types_say() {
    assert_file("openslo_bundle", &bundle_schema());
}

#[test]
fn the_schema_takes_what_the_validator_takes() {
    let schema = bundle_schema();
    for rule in rules::validation() {
        let valid = documents(rule.valid).unwrap();
        assert_eq!(
            violations(&schema, &valid),
            Vec::<String>::new(),
            "{}",
            rule.id
        );
    }
}

#[test]
fn the_schema_refuses_every_error_but_those_that_it_cannot_see() {
    let validator = validator(&bundle_schema());
    let unseen: BTreeSet<&str> = rules::validation()
        .filter(|rule| rule.level == Level::Error)
        .filter(|rule| documents(rule.invalid).is_some_and(|found| validator.is_valid(&found)))
        .map(|rule| rule.id)
        .collect();
    let expected = BTreeSet::from([
        // Two places at once.
        "duplicate-name",
        "reference-unresolved",
        "time-slice-window-length",
        // The calendar.
        "start-time",
        "time-zone",
    ]);
    assert_eq!(unseen, expected);
}

#[test]
fn a_bundle_that_is_not_one_is_refused() {
    let documents = documents_by_name(&full_report());
    let documents: Vec<&Document> = documents.values().flatten().collect();
    let kinds: BTreeSet<Kind> = documents
        .iter()
        .map(|document| document.spec.kind())
        .collect();
    assert_eq!(kinds, BTreeSet::from([Kind::Service, Kind::Slo]));
    assert_refused(
        &bundle_schema(),
        &serde_json::to_value(&documents).unwrap(),
        &[
            ("/0/apiVersion", json!(null)),
            ("/0/kind", json!("SLO")),
            ("/0/metadata/name", json!("Checkout")),
            ("/0/metadata/annotations", json!({ "a": 1 })),
            ("/1/spec/service", json!(null)),
            ("/1/spec/timeWindow/0/duration", json!("30 days")),
            ("/1/spec/objectives/0/target", json!(99)),
            ("/1/spec/objectives/0/target", json!(null)),
            ("/1/spec/budgetingMethod", json!("occurrences")),
        ],
    );
    let validator = validator(&bundle_schema());
    assert!(!validator.is_valid(&json!({ "apiVersion": API_VERSION })));
    let null = json!([{ "apiVersion": API_VERSION, "kind": "Service", "metadata": { "name": "a" }, "spec": null }]);
    assert!(!validator.is_valid(&null));
}
