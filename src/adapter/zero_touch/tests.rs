//! Plans: languages, outcomes, patches that keep what is there, and the files of a shop.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::adapter::kubernetes::{DEFAULT_NAMESPACE, read_manifests};

fn source(name: &str, text: &str) -> SourceFile {
    SourceFile {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn shop() -> Vec<SourceFile> {
    let applications = include_str!("../../../examples/kubernetes/shop/applications.yaml");
    let stores = include_str!("../../../examples/kubernetes/shop/stores.yaml");
    vec![
        source("shop/applications.yaml", applications),
        source("shop/stores.yaml", stores),
    ]
}

fn planned(files: &[SourceFile], settings: &Settings) -> Planned {
    let (inventory, findings) = read_manifests(files, DEFAULT_NAMESPACE);
    assert_eq!(findings, []);
    plan(&inventory, files, settings).unwrap()
}

/// The plan of one container in a Deployment.
fn container(image: &str, more: &str) -> WorkloadPlan {
    container_with(image, more, "{}", &Settings::default())
}

fn container_with(image: &str, more: &str, annotations: &str, settings: &Settings) -> WorkloadPlan {
    let text = format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}, annotations: {annotations}}}
    spec:
      containers:
        - name: web
          image: \"{image}\"
{more}"
    );
    let planned = planned(&[source("web.yaml", &text)], settings);
    planned.plan.workloads.into_iter().next().unwrap()
}

/// An init container built for Linux keeps such a pod from starting.
#[test]
fn nothing_is_injected_into_pods_of_windows() {
    let selects = "      nodeSelector: {kubernetes.io/os: windows}";
    let names = "      os: {name: windows}";
    let linux = "      nodeSelector: {kubernetes.io/os: linux}";
    for (image, more, outcome) in [
        (
            "mcr.microsoft.com/dotnet/aspnet:8.0",
            "",
            Outcome::Instrument,
        ),
        (
            "mcr.microsoft.com/dotnet/aspnet:8.0",
            linux,
            Outcome::Instrument,
        ),
        (
            "mcr.microsoft.com/dotnet/aspnet:8.0",
            selects,
            Outcome::Unsupported,
        ),
        (
            "mcr.microsoft.com/dotnet/aspnet:8.0",
            names,
            Outcome::Unsupported,
        ),
        (
            "mcr.microsoft.com/dotnet/aspnet:8.0-nanoserver-ltsc2022",
            "",
            Outcome::Unsupported,
        ),
        (
            "mcr.microsoft.com/dotnet/framework/aspnet:4.8",
            "",
            Outcome::Unsupported,
        ),
    ] {
        let plan = container(image, more);
        assert_eq!(plan.outcome, outcome, "{image} {more}: {plan:#?}");
        assert_eq!(plan.annotations.is_empty(), outcome != Outcome::Instrument);
    }
}

/// A Service of Knative was passed over without a word.
#[test]
fn what_runs_containers_in_a_way_of_its_own_is_named() {
    let text = "apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello, namespace: shop}
spec: {template: {spec: {containers: [{image: \"node:22\"}]}}}
---
apiVersion: example.com/v1
kind: Recipe
metadata: {name: soup}
spec: {containers: [{size: 2}]}
";
    let plan = planned(&[source("kn.yaml", text)], &Settings::default()).plan;
    let named: Vec<&String> = plan
        .notes
        .iter()
        .filter(|note| note.contains("shop/hello"))
        .collect();
    assert_eq!(named.len(), 1, "{:?}", plan.notes);
    assert!(named[0].contains("serving.knative.dev/v1") && !named[0].contains("soup"));
}

fn assert_languages(cases: &[(&str, &str, Option<Language>)]) {
    for (image, more, language) in cases {
        let plan = container(image, more);
        let found = plan.containers[0].language;
        assert_eq!(found, *language, "{image} {more}: {plan:#?}");
    }
}

#[test]
fn languages_are_told_by_whole_words_of_images() {
    use Language::{Dotnet, Go, Java, Nodejs, Python};
    assert_languages(&[
        // What a search for substrings takes for Go, Java or Python.
        ("shop/mongo-api", "", None),
        ("shop/cargo-tracker", "", None),
        ("shop/django-admin", "", Some(Python)),
        ("shop/javascript-widgets", "", Some(Nodejs)),
        ("shop/happy", "", None),
        ("shop/logo-google", "", None),
        ("shop/trust-anchor", "", None),
        ("shop/report", "", None),
        ("eclipse-temurin:21-jre", "", Some(Java)),
        ("gcr.io/distroless/java17-debian12", "", Some(Java)),
        ("gcr.io/distroless/nodejs20-debian12", "", Some(Nodejs)),
        ("mcr.microsoft.com/dotnet/aspnet:8.0", "", Some(Dotnet)),
        ("registry.example.com:5000/cart-go:1", "", Some(Go)),
        ("shop/web:1-jdk21", "", Some(Java)),
    ]);
}

#[test]
fn languages_are_told_by_commands_and_variables() {
    use Language::{Dotnet, Elixir, Go, Java, Php, Python, Ruby, Rust};
    assert_languages(&[
        (
            "shop/a",
            "          command: [\"/usr/bin/java\", \"-jar\", \"/app.jar\"]\n",
            Some(Java),
        ),
        (
            "shop/a",
            "          args: [\"python3.12\", \"main.py\"]\n",
            Some(Python),
        ),
        (
            "shop/a",
            "          command: [sh, -c, \"exec dotnet Shop.dll\"]\n",
            Some(Dotnet),
        ),
        (
            "shop/a",
            "          command: [bundle, exec, puma]\n",
            Some(Ruby),
        ),
        ("shop/a", "          command: [php-fpm8.3]\n", Some(Php)),
        (
            "shop/a",
            "          command: [mix, phx.server]\n",
            Some(Elixir),
        ),
        (
            "shop/a",
            "          env: [{name: RUST_LOG, value: info}]\n",
            Some(Rust),
        ),
        (
            "shop/a",
            "          env: [{name: GOMAXPROCS, value: '2'}]\n",
            Some(Go),
        ),
        (
            "shop/a",
            "          env: [{name: ASPNETCORE_URLS, value: x}]\n",
            Some(Dotnet),
        ),
        (
            "shop/a",
            "          env: [{name: GOODS_URL, value: x}, {name: JAVANESE, value: x}]\n",
            None,
        ),
        // The command is worth more than a word of a name.
        (
            "shop/node-gateway",
            "          command: [java, -jar, a.jar]\n",
            Some(Java),
        ),
    ]);
}

#[test]
fn languages_that_are_not_told_apart_are_asked_for_and_labels_answer() {
    let plan = container("shop/go-java-bridge", "");
    assert_eq!(plan.outcome, Outcome::Blocked);
    assert!(
        plan.reason.contains("slo-copilot.dev/language"),
        "{plan:#?}"
    );
    let annotated = "{slo-copilot.dev/language: java}";
    let plan = container_with("shop/go-java-bridge", "", annotated, &Settings::default());
    assert_eq!(plan.outcome, Outcome::Instrument);
    assert_eq!(
        plan.annotations["instrumentation.opentelemetry.io/inject-java"],
        "observability/slo-copilot"
    );
}

#[test]
fn what_is_instrumented_or_refuses_it_stays_as_it_is() {
    let inject = "instrumentation.opentelemetry.io/inject-java";
    let java = "          command: [java, -jar, a.jar]\n";
    let with = |more: &str, annotations: &str| {
        container_with(
            "shop/a",
            &format!("{java}{more}"),
            annotations,
            &Settings::default(),
        )
    };
    let env = |name: &str, value: &str| {
        format!("          env: [{{name: {name}, value: \"{value}\"}}]\n")
    };
    for (more, annotations, outcome, said) in [
        (String::new(), format!("{{{inject}: 'true'}}"), Outcome::Already, inject),
        (String::new(), format!("{{{inject}: 'false'}}"), Outcome::Blocked, "take it out"),
        (env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://old:4317"), "{}".to_owned(), Outcome::Already, "http://old:4317"),
        (env("JAVA_TOOL_OPTIONS", "-javaagent:/dd-java-agent.jar"), "{}".to_owned(), Outcome::Blocked, "Datadog"),
        (env("OTEL_SERVICE_NAME", "a"), "{}".to_owned(), Outcome::Configure, "SDK"),
        (
            "          env: [{name: JAVA_TOOL_OPTIONS, valueFrom: {secretKeyRef: {name: a, key: b}}}]\n".to_owned(),
            "{}".to_owned(),
            Outcome::Blocked,
            "JAVA_TOOL_OPTIONS",
        ),
    ] {
        let plan = with(&more, &annotations);
        assert_eq!(plan.outcome, outcome, "{plan:#?}");
        assert!(plan.reason.contains(said), "{plan:#?}");
        assert_eq!(plan.annotations.is_empty(), outcome != Outcome::Configure, "{plan:#?}");
    }
}

#[test]
fn the_annotation_of_a_namespace_holds_for_its_pods() {
    let mut files = shop();
    files[0].text = files[0].text.replacen(
        "metadata:\n  name: shop\n",
        "metadata:\n  name: shop\n  annotations: {instrumentation.opentelemetry.io/inject-java: 'true'}\n",
        1,
    );
    let planned = planned(&files, &Settings::default());
    let checkout = &planned.plan.workloads[0];
    assert_eq!(
        (checkout.name.as_str(), checkout.outcome),
        ("checkout", Outcome::Already)
    );
    // It is about Java.
    let frontend = &planned.plan.workloads[1];
    assert_eq!(
        (frontend.name.as_str(), frontend.outcome),
        ("frontend", Outcome::Instrument)
    );
}

#[test]
fn go_needs_the_path_of_its_program_and_is_watched_once_in_a_pod() {
    let go = "          env: [{name: GOGC, value: '50'}]\n";
    let plan = container("shop/a", go);
    assert_eq!(plan.outcome, Outcome::Blocked);
    assert!(plan.reason.contains("otel-go-auto-target-exe"), "{plan:#?}");
    let plan = container("shop/a", &format!("{go}          command: [/app/a]\n"));
    let target = "instrumentation.opentelemetry.io/otel-go-auto-target-exe";
    assert_eq!(plan.annotations[target], "/app/a");
    let second = "        - {name: two, image: shop/b-golang, command: [/app/b]}\n";
    let plan = container(
        "shop/a",
        &format!("{go}          command: [/app/a]\n{second}"),
    );
    let outcomes: Vec<Outcome> = plan.containers.iter().map(|found| found.outcome).collect();
    assert_eq!(outcomes, [Outcome::Instrument, Outcome::Blocked]);
    assert_eq!(
        plan.annotations["instrumentation.opentelemetry.io/container-names"],
        "web"
    );
}

#[test]
fn containers_of_two_languages_are_named_by_language() {
    let more = "          command: [java, -jar, a.jar]\n        - {name: side, image: shop/b, command: [node, b.js]}\n";
    let plan = container("shop/a", more);
    let names = |language: &str| {
        plan.annotations.get(&format!(
            "instrumentation.opentelemetry.io/{language}-container-names"
        ))
    };
    assert_eq!(names("java").map(String::as_str), Some("web"));
    assert_eq!(names("nodejs").map(String::as_str), Some("side"));
    assert!(
        !plan
            .annotations
            .contains_key("instrumentation.opentelemetry.io/container-names")
    );
}

#[test]
fn collectors_run_where_agents_of_nodes_run_already_else_as_a_gateway() {
    let mut files = shop();
    assert_eq!(
        planned(&files, &Settings::default()).plan.mode,
        Mode::Gateway
    );
    files.push(source(
        "agent.yaml",
        "apiVersion: apps/v1
kind: DaemonSet
metadata: {name: logs, namespace: kube-system}
spec:
  selector: {matchLabels: {app: logs}}
  template: {metadata: {labels: {app: logs}}, spec: {containers: [{name: logs, image: 'fluent/fluent-bit:3'}]}}
",
    ));
    let by_itself = planned(&files, &Settings::default()).plan;
    assert_eq!(by_itself.mode, Mode::Daemonset);
    assert!(by_itself.mode_reasons[0].contains("DaemonSet kube-system/logs"));
    let settings = Settings {
        mode: Some(Mode::Sidecar),
        ..Settings::default()
    };
    let asked = planned(&files, &settings);
    assert_eq!(asked.plan.mode, Mode::Sidecar);
    let annotations = &asked.plan.workloads[0].annotations;
    assert_eq!(
        annotations["sidecar.opentelemetry.io/inject"],
        "observability/slo-copilot-collector"
    );
    assert!(!asked.files["collector.yaml"].contains("k8s_attributes"));
}

#[test]
fn samplers_stand_before_the_backend_only() {
    for (mode, sampler) in [
        (Mode::Gateway, "tail_sampling"),
        (Mode::Daemonset, "probabilistic_sampler"),
    ] {
        let settings = Settings {
            mode: Some(mode),
            backend: Some("tempo.monitoring.svc:4317".to_owned()),
            backend_share: 0.1,
            ..Settings::default()
        };
        let configuration = collector::configuration(&settings, mode);
        let pipelines = configuration["service"]["pipelines"].as_object().unwrap();
        assert_eq!(pipelines.len(), 2);
        let intake = &pipelines["traces/intake"];
        assert_eq!(
            intake["processors"],
            json!(["memory_limiter", "k8s_attributes"])
        );
        assert_eq!(
            intake["exporters"],
            json!(["otlp_grpc/slo-copilot", "forward/backend"])
        );
        assert_eq!(pipelines["traces/backend"]["processors"], json!([sampler]));
        let text = configuration["processors"][sampler].to_string();
        assert!(text.contains("\"sampling_percentage\":10.0"), "{text}");
    }
}

/// A change of what people choose.
type Change = fn(&mut Settings);

#[test]
fn settings_that_do_not_go_together_are_refused_with_a_remedy() {
    let with = |change: Change| {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check()
    };
    assert_eq!(with(|_| {}), Ok(()));
    let cases: [(Change, &str); 7] = [
        (
            |settings| settings.namespace = "Über".into(),
            "no namespace",
        ),
        (
            |settings| settings.backend = Some("http://tempo:4317".into()),
            "without http://",
        ),
        (
            |settings| settings.slo_copilot = Some("tempo".into()),
            "host:port",
        ),
        (|settings| settings.backend_share = 0.0, "above 0"),
        (|settings| settings.backend_share = f64::NAN, "above 0"),
        (
            |settings| settings.slo_copilot_image = "a b".into(),
            "no image",
        ),
        (
            |settings| (settings.mode, settings.uses_operator) = (Some(Mode::Sidecar), false),
            "--no-operator",
        ),
    ];
    for (change, said) in cases {
        let error = with(change).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn the_slo_copilot_of_a_plan_is_in_its_namespace_with_its_image() {
    let settings = Settings {
        namespace: "slo".to_owned(),
        slo_copilot_image: "ghcr.io/me/slo-copilot:2".to_owned(),
        ..Settings::default()
    };
    let text = &planned(&shop(), &settings).files["slo-copilot.yaml"];
    let (inventory, findings) = read_manifests(&[source("a.yaml", text)], DEFAULT_NAMESPACE);
    assert_eq!(findings, []);
    let workload = &inventory.workloads[0];
    assert_eq!(workload.namespace, "slo");
    assert_eq!(workload.containers[0].image, "ghcr.io/me/slo-copilot:2");
    assert_eq!(
        inventory.workload_of_service(&inventory.services[0]),
        Some(workload)
    );
    assert!(!text.contains("observability"), "{text}");
}

#[test]
fn the_plan_of_the_shop() {
    let settings = Settings {
        backend: Some("tempo.monitoring.svc:4317".to_owned()),
        backend_share: 0.1,
        remote_sampler: Some("slo-copilot.observability.svc:14250".to_owned()),
        ..Settings::default()
    };
    let planned = planned(&shop(), &settings);
    insta::assert_snapshot!(
        "shop_plan",
        serde_json::to_string_pretty(&planned.plan).unwrap()
    );
    let diff: String = planned
        .changes
        .iter()
        .map(|change| change.diff.as_str())
        .collect();
    insta::assert_snapshot!("shop_diff", diff);
    let mut files = String::new();
    for (path, text) in &planned.files {
        // The example by itself is no result of a plan.
        if path != "slo-copilot.yaml" {
            files += &["=== ", path, "\n", text].concat();
        }
    }
    insta::assert_snapshot!("shop_files", files);
}

#[test]
fn without_the_operator_containers_get_variables_and_no_annotations() {
    let settings = Settings {
        mode: Some(Mode::Daemonset),
        uses_operator: false,
        ..Settings::default()
    };
    let planned = planned(&shop(), &settings);
    assert!(!planned.files.contains_key("instrumentation.yaml"));
    assert!(
        planned
            .plan
            .workloads
            .iter()
            .all(|workload| workload.annotations.is_empty())
    );
    let diff: String = planned
        .changes
        .iter()
        .map(|change| change.diff.as_str())
        .collect();
    insta::assert_snapshot!("shop_diff_without_operator", diff);
    for change in planned.changes {
        let after = source(&change.name, &change.text.unwrap());
        let (inventory, findings) = read_manifests(&[after], DEFAULT_NAMESPACE);
        assert_eq!(findings, []);
        let currency = inventory
            .workloads
            .iter()
            .find(|found| found.name == "currency")
            .unwrap();
        let container = &currency.containers[0];
        assert_eq!(
            container.env("OTEL_EXPORTER_OTLP_ENDPOINT"),
            Some("http://$(OTEL_NODE_IP):4318")
        );
        assert_eq!(container.env("OTEL_SERVICE_NAME"), Some("currency"));
        assert_eq!(
            container.image,
            "registry.example.com/shop/currency-rust:0.2.0"
        );
    }
}

#[test]
fn a_manifest_in_braces_is_shown_as_a_whole() {
    let text = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: {matchLabels: {a: b}},
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: 'shop/a-java:1'}]}}}}\n";
    let planned = planned(&[source("a.yaml", text)], &Settings::default());
    let [change] = planned.changes.as_slice() else {
        panic!("one change");
    };
    assert_eq!(change.text, None);
    assert!(
        change.diff.contains(
            "\n+        instrumentation.opentelemetry.io/inject-java: observability/slo-copilot"
        ),
        "{}",
        change.diff
    );
}

/// A container with whatever else may stand there.
fn any_container(name: String) -> impl Strategy<Value = Value> {
    let image = prop_oneof![
        Just("shop/a-java:1"),
        Just("python:3-alpine"),
        Just("redis"),
        Just("shop/x"),
        Just("shop/y-golang"),
        Just("shop/ruby-z")
    ];
    let command = prop_oneof![
        Just(json!(null)),
        Just(json!(["/app/run"])),
        Just(json!(["node", "a.js"]))
    ];
    let env = prop::collection::btree_set(
        prop_oneof![Just("PORT"), Just("OTEL_SERVICE_NAME"), Just("NODE_ENV")],
        0..3,
    );
    (image, command, env, any::<bool>()).prop_map(move |(image, command, env, has_ports)| {
        let env: Vec<Value> = env
            .iter()
            .map(|name| json!({"name": name, "value": "1"}))
            .collect();
        let mut container =
            json!({"name": name, "image": image, "resources": {"limits": {"memory": "1Gi"}}});
        if !command.is_null() {
            container["command"] = command;
        }
        if !env.is_empty() {
            container["env"] = json!(env);
        }
        if has_ports {
            container["ports"] = json!([{"containerPort": 80}]);
        }
        container
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A patch adds annotations and variables: whatever stood there stands there afterwards, and the edited text says the same.
    #[test]
    fn patches_keep_containers_whole(
        one in any_container("one".to_owned()),
        two in any_container("two".to_owned()),
        annotated in any::<bool>(),
        uses_operator in any::<bool>(),
        kind in prop_oneof![Just("Deployment"), Just("StatefulSet"), Just("DaemonSet")],
    ) {
        let mut metadata = json!({"labels": {"app": "a"}});
        if annotated {
            metadata["annotations"] = json!({"other": "stays", "instrumentation.opentelemetry.io/container-names": "two"});
        }
        let manifest = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "a"}, "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": metadata, "spec": {"containers": [one, two]}},
        }});
        let files = [source("a.yaml", &serde_saphyr::to_string(&manifest).unwrap())];
        let settings = Settings { uses_operator, ..Settings::default() };
        let planned = planned(&files, &settings);
        for change in planned.changes {
            let after: Value = serde_saphyr::from_str(&change.text.unwrap()).unwrap();
            let template = &after["spec"]["template"];
            prop_assert_eq!(&after["spec"]["selector"], &manifest["spec"]["selector"]);
            prop_assert_eq!(&template["metadata"]["labels"], &metadata["labels"]);
            let annotations = metadata["annotations"].as_object().into_iter().flatten();
            for (key, value) in annotations {
                prop_assert_eq!(&template["metadata"]["annotations"][key], value);
            }
            let containers = template["spec"]["containers"].as_array().unwrap();
            prop_assert_eq!(containers.len(), 2);
            for (new, old) in containers.iter().zip([&one, &two]) {
                for (key, value) in old.as_object().unwrap() {
                    if key == "env" {
                        let kept = value.as_array().unwrap().iter().all(|item| new["env"].as_array().unwrap().contains(item));
                        prop_assert!(kept, "{}", new);
                    } else {
                        prop_assert_eq!(&new[key], value);
                    }
                }
            }
        }
    }
}
