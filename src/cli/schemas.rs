//! The schemas of what people write, traffic models and fault cases, where unknown fields are errors; and of plans.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Value, json};

use crate::adapter::kubernetes::{DEFAULT_NAMESPACE, read_manifests};
use crate::adapter::zero_touch::{Plan, Settings, plan};
use crate::exporter::schema::{assert_file, assert_refused, tidy, violations, with_head, written};
use crate::openslo::read::SourceFile;
use crate::tracetest::fault::cases::FaultSuite;
use crate::traffic::model::Model;
use crate::traffic::shop;

const CASES: &str = include_str!("../../examples/traffic/faults.yaml");

fn traffic_model_schema() -> Value {
    let description =
        "A system of services whose traffic `loadgen --model` makes and `loadgen --learn` learns.";
    read::<Model>("traffic_model", "Traffic model of slo-copilot", description)
}

fn fault_cases_schema() -> Value {
    let description = "Fault cases that `test --faults` simulates on recorded traces.";
    read::<FaultSuite>("fault_cases", "Fault cases of slo-copilot", description)
}

fn plan_schema() -> Value {
    let description = "How a system comes to be traced: what `plan` prints with --format json and writes as plan.json. Later \
                       versions may add keys.";
    let title = "Zero-touch plan of slo-copilot";
    with_head(written::<Plan>(), "plan", title, description)
}

/// The schema of what is read.
fn read<T: JsonSchema>(name: &str, title: &str, description: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    let settings = settings.with_transform(RecursiveTransform(tidy));
    let schema = settings.into_generator().into_root_schema_for::<T>();
    with_head(schema, name, title, description)
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn the_schemas_of_models_and_cases_are_what_their_types_say() {
    assert_file("traffic_model", &traffic_model_schema());
    assert_file("fault_cases", &fault_cases_schema());
}

#[test]
fn the_shop_is_as_its_schema_says_and_what_is_not_is_refused() {
    let model = yaml(&shop::model().to_yaml().unwrap());
    assert_refused(
        &traffic_model_schema(),
        &model,
        &[
            (
                "/services/cart/operations/get/http",
                json!({"method": "GET", "route": "/", "verb": "GET"}),
            ),
            (
                "/services/cart/operations/get/time",
                json!({"lognormal": {"median": 3}}),
            ),
            ("/load/0/per_minute", json!("many")),
            ("/defaults/network", json!(3)),
        ],
    );
}

#[test]
fn the_example_of_fault_cases_is_as_its_schema_says() {
    FaultSuite::from_yaml("examples/traffic/faults.yaml", CASES).unwrap();
    assert_eq!(
        violations(&fault_cases_schema(), &yaml(CASES)),
        Vec::<String>::new()
    );
    let wrong = json!({"cases": [{"name": "a", "expect": "pages"}]});
    assert!(!violations(&fault_cases_schema(), &wrong).is_empty());
}

#[test]
fn the_schema_of_plans_is_what_their_types_say_and_the_plan_of_the_shop_is_as_it_says() {
    assert_file("plan", &plan_schema());
    let shop = SourceFile {
        name: "applications.yaml".to_owned(),
        text: include_str!("../../examples/kubernetes/shop/applications.yaml").to_owned(),
    };
    let files = [shop];
    let (inventory, _) = read_manifests(&files, DEFAULT_NAMESPACE);
    let planned = plan(&inventory, &files, &Settings::default()).unwrap();
    assert_refused(
        &plan_schema(),
        &serde_json::to_value(&planned.plan).unwrap(),
        &[
            ("/mode", json!("proxy")),
            ("/workloads/0/outcome", json!("perhaps")),
            ("/workloads/0/containers/0/language", json!("cobol")),
            ("/workloads/0/containers/0/confidence", json!(null)),
            ("/steps/0/command", json!("kubectl get pods")),
            ("/route/slo_copilot", json!(null)),
        ],
    );
}
