//! `GET /api/openapi.json`: the HTTP interface as OpenAPI 3.1.
//!
//! Routes come from one table, schemas of the report, the service graph and the store from the published ones; what only this interface has
//! is in `schemas.json`.

mod route;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use self::route::Answer;
pub(super) use self::route::Route;
pub(super) use self::routes::ROUTES;

const REPORT: &str = include_str!("../../../schema/report.schema.json");
const TOPOLOGY: &str = include_str!("../../../schema/topology.schema.json");
const STORE: &str = include_str!("../../../schema/slo_store.schema.json");
const OWN: &str = include_str!("schemas.json");

/// Where schemas refer to.
const COMPONENTS: &str = "#/components/schemas/";

/// `GET /api/openapi.json`.
pub(super) async fn show() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, DOCUMENT.as_str()).into_response()
}

/// The whole description.
fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(operations) = path.as_object_mut() {
            operations.insert(route.method.to_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "slo-copilot",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The admin endpoint. There is no authentication: whoever reaches it may ask everything, and accept \
                            and reject candidates. Answers may get further keys.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas()},
    })
}

fn operation(route: &Route) -> Value {
    let parameters = route.parameters.iter().map(|parameter| {
        let place = if parameter.is_in(route.path) {
            "path"
        } else {
            "query"
        };
        json!({
            "name": parameter.name,
            "in": place,
            "description": parameter.description,
            "required": parameter.is_required,
            "schema": read(parameter.schema),
        })
    });
    let answers = route.answers.iter().map(answer);
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "parameters": parameters.collect::<Vec<_>>(),
        "responses": answers.collect::<Map<_, _>>(),
    });
    if let (Some(body), Some(fields)) = (&route.body, operation.as_object_mut()) {
        let content = json!({body.content_type: {"schema": reference(body.schema)}});
        let body = json!({"required": body.is_required, "content": content});
        fields.insert("requestBody".to_owned(), body);
    }
    operation
}

/// `get_api_v1_store_name`.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    words.fold(route.method.to_lowercase(), |id, word| {
        format!("{id}_{word}")
    })
}

fn answer(answer: &Answer) -> (String, Value) {
    let (content_type, schema) = answer.content.parts();
    let schema = schema.map_or_else(|| json!({"type": "string"}), reference);
    let value = json!({
        "description": answer.description,
        "content": {content_type: {"schema": schema}},
    });
    (answer.status.to_owned(), value)
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("{COMPONENTS}{schema}") })
}

/// JSON of this program's own files; a test reads each of them.
fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    take(&mut schemas, "Report", REPORT, str::to_owned);
    take(&mut schemas, "ServiceGraph", TOPOLOGY, str::to_owned);
    take(&mut schemas, "SloStore", STORE, |name| {
        let mut letters = name.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        format!("Store{}{}", first.unwrap_or_default(), letters.as_str())
    });
    if let Value::Object(own) = read(OWN) {
        schemas.extend(own);
    }
    schemas
}

/// Takes a published schema apart: its definitions become components of their own.
fn take(schemas: &mut Map<String, Value>, name: &str, text: &str, rename: impl Fn(&str) -> String) {
    let Value::Object(mut root) = read(text) else {
        return;
    };
    let definitions = root.remove("$defs");
    // They are about a document of its own.
    root.remove("$schema");
    root.remove("$id");
    let mut all = vec![(name.to_owned(), Value::Object(root))];
    if let Some(Value::Object(definitions)) = definitions {
        let renamed = definitions.into_iter();
        all.extend(renamed.map(|(name, schema)| (rename(&name), schema)));
    }
    for (name, mut schema) in all {
        point(&mut schema, &rename);
        schemas.insert(name, schema);
    }
}

/// Lets references point to components.
fn point(schema: &mut Value, rename: &impl Fn(&str) -> String) {
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let Value::String(target) = value
                    && key == "$ref"
                {
                    if let Some(name) = target.strip_prefix("#/$defs/") {
                        *target = format!("{COMPONENTS}{}", rename(name));
                    }
                } else {
                    point(value, rename);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                point(item, rename);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
