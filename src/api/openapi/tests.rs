//! The description against the router, against itself, and against what is really answered.

use std::collections::BTreeSet;

use super::*;

/// Every `$ref` of the document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let Value::String(target) = value
                    && key == "$ref"
                {
                    found.insert(target.clone());
                } else {
                    references(value, found);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                references(item, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_route_of_the_router_is_described_and_no_other() {
    let router = include_str!("../http.rs");
    let mut routed = BTreeSet::new();
    for call in router.split(".route(").skip(1) {
        let after = call.split_once('"').unwrap().1;
        routed.insert(after.split_once('"').unwrap().0);
    }
    let described: BTreeSet<&str> = ROUTES.iter().map(|route| route.path).collect();
    assert_eq!(described, routed);
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), described.len());
    for route in ROUTES {
        let operation = &paths[route.path][route.method.to_lowercase()];
        assert!(operation["responses"].is_object(), "{route}");
    }
}

#[test]
fn every_reference_has_its_schema_and_every_own_schema_is_used() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let known: BTreeSet<String> = schemas
        .keys()
        .map(|name| format!("{COMPONENTS}{name}"))
        .collect();
    assert_eq!(
        found.difference(&known).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
    for name in read(OWN).as_object().unwrap().keys() {
        assert!(found.contains(&format!("{COMPONENTS}{name}")), "{name}");
    }
}

#[test]
fn every_parameter_of_a_path_is_described_and_ids_are_unique() {
    let mut ids = BTreeSet::new();
    for route in ROUTES {
        assert!(ids.insert(operation_id(route)), "{route}");
        let in_path = route.parameters.iter().filter(|one| one.is_in(route.path));
        assert_eq!(in_path.count(), route.path.matches('{').count(), "{route}");
        for parameter in route.parameters {
            assert!(read(parameter.schema).is_object(), "{route}");
        }
    }
}

#[test]
fn hints_name_the_parameters_of_the_query() {
    let hints: Vec<String> = ROUTES.iter().map(Route::to_string).collect();
    for hint in [
        "GET /",
        "GET /api/v1/transitions?since=&after=&limit=",
        "GET /api/v1/verdict?service=&namespace=&environment=&version=&window=",
        "POST /api/v1/flagger/{hook}",
    ] {
        assert!(hints.iter().any(|known| known == hint), "{hint}: {hints:?}");
    }
}
