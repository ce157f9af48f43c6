//! What is really written, against the schemas that are published.

use std::path::Path;

use serde_json::Value;

use super::server::read_json;

fn schema(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    read_json(&folder.join(format!("{name}.schema.json")))
}

/// What a document breaks, formats of times included.
fn violations(schema: &Value, document: &Value) -> Vec<String> {
    let options = jsonschema::options().should_validate_formats(true);
    let validator = options.build(schema).unwrap();
    let errors = validator.iter_errors(document);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// The same schema without room for keys that it does not describe.
fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            for field in fields.values_mut() {
                *field = closed(field.take());
            }
            let is_object = fields.get("type").is_some_and(|name| name == "object");
            if is_object && fields.contains_key("properties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = closed(item.take());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    schema
}

/// Holds a document to `schema/<name>.schema.json`: it breaks nothing, and has no key that is not described.
pub(crate) fn assert_described(name: &str, document: &Value) {
    let schema = schema(name);
    assert_eq!(violations(&schema, document), Vec::<String>::new());
    let undescribed = violations(&closed(schema), document);
    assert_eq!(undescribed, Vec::<String>::new());
}

/// Holds the schema to its word: it refuses the document without these keys of a map, and with a number in place of
/// what is none.
pub(crate) fn assert_needed(name: &str, document: &Value, map: &str, keys: &[&str]) {
    let schema = schema(name);
    let refuses = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut changed = document.clone();
        change(changed.pointer_mut(map).unwrap().as_object_mut().unwrap());
        !violations(&schema, &changed).is_empty()
    };
    for key in keys {
        assert!(
            refuses(&|fields| drop(fields.remove(*key).unwrap())),
            "{name}: {map} may lack {key}"
        );
        assert!(
            refuses(&|fields| fields[*key] = 7.into()),
            "{name}: {map}/{key} may be a number"
        );
    }
}
