//! The inventory of manifests: every kind, what is broken, and what leads to what.

use proptest::prelude::*;

use super::*;
use crate::model::finding::{Finding, Level};
use crate::openslo::read::SourceFile;

fn read(text: &str) -> (Inventory, Vec<Finding>) {
    read_as("shop.yaml", text)
}

fn read_as(name: &str, text: &str) -> (Inventory, Vec<Finding>) {
    let file = SourceFile {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    read_manifests(&[file], DEFAULT_NAMESPACE)
}

fn clean(text: &str) -> Inventory {
    let (inventory, findings) = read(text);
    assert_eq!(findings, []);
    inventory
}

fn names(inventory: &Inventory) -> Vec<String> {
    let workloads = inventory.workloads.iter();
    workloads.map(ToString::to_string).collect()
}

/// A Deployment with one container, and whatever else belongs to it.
fn deployment(namespace: &str, name: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
        - name: {name}
          image: registry.example.com/{name}:1
{more}
---
"
    )
}

fn service(namespace: &str, name: &str, app: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{selector: {{app: {app}}}, ports: [{{port: 80, targetPort: http}}]}}
---
"
    )
}

/// One object of every kind that runs pods.
fn every_kind() -> String {
    let template = "{metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: i}]}}";
    let object = |version: &str, kind: &str, spec: &str| {
        let spec = spec
            .replace("TEMPLATE", &format!("template: {template}"))
            .replace("SELECTOR", "selector: {matchLabels: {app: a}}");
        format!(
            "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: a, labels: {{app: a}}}}\nspec: {spec}\n"
        )
    };
    let cron_job = "{schedule: '* * * * *', jobTemplate: {spec: {TEMPLATE}}}";
    let rollout = "{replicas: 2, SELECTOR, strategy: {canary: {}}, TEMPLATE}";
    [
        object("apps/v1", "Deployment", "{replicas: 3, SELECTOR, TEMPLATE}"),
        object(
            "apps/v1",
            "StatefulSet",
            "{serviceName: s, SELECTOR, TEMPLATE}",
        ),
        object("apps/v1", "DaemonSet", "{SELECTOR, TEMPLATE}"),
        object("apps/v1", "ReplicaSet", "{SELECTOR, TEMPLATE}"),
        object("batch/v1", "Job", "{TEMPLATE}"),
        object("batch/v1", "CronJob", cron_job),
        object("argoproj.io/v1alpha1", "Rollout", rollout),
        object("v1", "Pod", "{containers: [{name: c, image: i}]}"),
    ]
    .concat()
}

#[test]
fn every_kind_that_runs_pods_is_read_with_its_template() {
    let inventory = clean(&every_kind());
    assert_eq!(inventory.workloads.len(), WorkloadKind::ALL.len());
    let replicas = inventory.workloads.iter().map(|read| read.replicas);
    let wanted = [
        Some(3),
        Some(1),
        None,
        Some(1),
        None,
        None,
        Some(2),
        Some(1),
    ];
    assert_eq!(replicas.collect::<Vec<_>>(), wanted);
    for workload in &inventory.workloads {
        assert_eq!(workload.pod_labels["app"], "a", "{workload}");
        assert_eq!(workload.containers[0].image, "i", "{workload}");
        let mut at = &workload.manifest;
        for key in workload.kind.template_path() {
            at = &at[*key];
        }
        assert_eq!(at["spec"]["containers"][0]["name"], "c", "{workload}");
    }
}

#[test]
fn lists_are_their_items_and_what_a_deployment_made_is_no_workload_of_its_own() {
    let owned = |kind: &str, name: &str, by: &str| {
        format!(
            r#""kind": "{kind}", "metadata": {{"name": "{name}", "labels": {{"app": "a"}}, "ownerReferences": [
                {{"apiVersion": "apps/v1", "kind": "{by}", "name": "a", "uid": "1", "controller": true}}]}}"#
        )
    };
    let template = r#""template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c"}]}}"#;
    let spec = format!(r#""spec": {{"selector": {{"matchLabels": {{"app": "a"}}}}, {template}}}"#);
    let pod = r#""spec": {"containers": [{"name": "c"}]}"#;
    let text = format!(
        r#"{{"apiVersion": "v1", "kind": "List", "items": [
            {{"apiVersion": "v1", {}, {pod}}},
            {{"apiVersion": "apps/v1", {}, {spec}}},
            {{"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [{{"metadata": {{"name": "a"}}, {spec}}}]}},
            {{"apiVersion": "v1", {}, {pod}}}
        ]}}"#,
        owned("Pod", "a-x-1", "ReplicaSet"),
        owned("ReplicaSet", "a", "Deployment"),
        owned("Pod", "lone", "Gone"),
    );
    let (inventory, findings) = read_as("all.json", &text);
    assert_eq!(findings, []);
    assert_eq!(
        names(&inventory),
        ["Deployment default/a", "Pod default/lone"]
    );
    let source = &inventory.workloads[0].source;
    assert_eq!(source.path.to_string(), "$.items[2].items[0]");
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_the_rest_is_read() {
    let text = "apiVersion: apps/v1
kind: Deployment
metadata: {name: broken}
spec:
  template:
    spec:
      containers:
        - name: c
          env:
            - name: PORT
              value: 8080
---
kind: Deployment
---
apiVersion: v1
kind: Service
metadata: {}
---
just text
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
a: [1
---
apiVersion: extensions/v1beta1
kind: Deployment
metadata: {name: old}
spec:
  selector: {matchLabels: {app: old, tier: web}}
  template: {metadata: {labels: {app: old}}, spec: {}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {instrumentation.opentelemetry.io/inject-java: 'true'}}
";
    let (inventory, findings) = read(text);
    let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
    for wanted in [
        "shop.yaml:11: error[manifest-field] Deployment default/broken is left out: invalid type: integer `8080`, expected \
         a string; put the value in quotes ($.spec.template.spec.containers[0].env[0].value)",
        "shop.yaml:13: error[manifest-kind] `apiVersion` or `kind` is missing",
        "shop.yaml:15: error[manifest-name] `metadata.name` is missing",
        "shop.yaml:19: error[manifest-kind] a manifest is a map",
        "error[manifest-syntax] ",
        "shop.yaml:27: warning[manifest-version] Deployment default/old: Kubernetes serves Deployment as apps/v1, no more as \
         extensions/v1beta1: write apps/v1 ($.apiVersion)",
        "shop.yaml:32: warning[manifest-containers] Deployment default/old: it has no containers",
        "shop.yaml:31: warning[manifest-selector] Deployment default/old: its selector asks for the label tier: web",
        "shop.yaml:34: warning[manifest-duplicate] Namespace default/shop stands here twice",
    ] {
        assert!(
            said.iter().any(|line| line.contains(wanted)),
            "no {wanted}\nin {said:#?}"
        );
    }
    assert_eq!(said.len(), 9, "{said:#?}");
    assert_eq!(names(&inventory), ["Deployment default/old"]);
    assert_eq!(inventory.namespaces.len(), 1);
    assert_eq!(inventory.namespaces[0].annotations.len(), 1);
}

#[test]
fn templates_and_build_files_are_told_what_to_give_instead() {
    let (_, findings) = read("a: {{ .Values.name }}\nb: {{- if }}\n");
    assert!(
        findings[0].message.contains("`helm template`"),
        "{findings:?}"
    );
    let (_, findings) = read("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n");
    assert!(
        findings[0].message.contains("`kustomize build`"),
        "{findings:?}"
    );
    let (inventory, findings) = read("# nothing\n");
    assert_eq!(findings[0].level, Level::Warning);
    assert_eq!(inventory, Inventory::default());
}

#[test]
fn kinds_of_others_are_kept_by_name_and_not_mistaken_for_ours() {
    let inventory = clean(
        "apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {template: {}}
---
apiVersion: opentelemetry.io/v1alpha1
kind: Instrumentation
metadata: {name: mine}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
",
    );
    assert_eq!(inventory.services, []);
    let others: Vec<&str> = inventory
        .others
        .iter()
        .map(|other| other.kind.as_str())
        .collect();
    assert_eq!(others, ["Service", "Instrumentation"]);
    assert_eq!(inventory.config_maps[0].name, "settings");
}

#[test]
fn a_rollout_that_refers_to_a_deployment_counts_once() {
    let rollout = "apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: cart-rollout, namespace: shop}
spec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: cart}}
";
    let (inventory, findings) = read(&(deployment("shop", "cart", "") + rollout));
    assert_eq!(names(&inventory), ["Deployment shop/cart"]);
    assert_eq!(findings[0].level, Level::Note);
}

#[test]
fn a_service_leads_to_the_pods_of_its_namespace_that_have_all_its_labels() {
    let text = deployment("shop", "cart", "")
        + &deployment("staging", "cart", "")
        + &deployment("shop", "pay", "")
        + &service("shop", "cart", "cart")
        + &service("staging", "basket", "cart")
        + &service("shop", "payments", "pay")
        + &service("shop", "nobody", "none");
    let inventory = clean(&text);
    let led: Vec<Option<String>> = inventory
        .services
        .iter()
        .map(|service| {
            inventory
                .workload_of_service(service)
                .map(ToString::to_string)
        })
        .collect();
    let wanted = [
        Some("Deployment shop/cart"),
        Some("Deployment staging/cart"),
        Some("Deployment shop/pay"),
        None,
    ];
    assert_eq!(led, wanted.map(|name| name.map(str::to_owned)));
    let nodes = inventory.nodes();
    let named: Vec<(&str, &str, usize)> = nodes
        .iter()
        .map(|node| (node.namespace, node.name, node.services.len()))
        .collect();
    let wanted = [
        ("shop", "cart", 1),
        ("staging", "cart", 1),
        ("shop", "pay", 1),
        ("shop", "nobody", 1),
    ];
    assert_eq!(named, wanted);
    assert!(nodes[3].workload.is_none());
}

#[test]
fn selectors_are_compared_with_the_labels_of_pods_not_with_those_of_workloads() {
    let text = "apiVersion: apps/v1
kind: Deployment
metadata: {name: a, labels: {app: web}}
spec: {selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}, spec: {containers: [{name: c}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}}
---
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {clusterIP: None}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: db.example.com}
";
    let inventory = clean(text);
    let [web, headless, outside] = inventory.services.as_slice() else {
        panic!("three services");
    };
    assert_eq!(inventory.workload_of_service(web), None);
    // Without a selector the name decides.
    assert!(inventory.workload_of_service(headless).is_some());
    assert_eq!(inventory.workload_of_service(outside), None);
}

#[test]
fn host_names_are_resolved_as_the_dns_of_a_cluster_does() {
    let inventory = clean(
        &(service("shop", "cart", "cart")
            + &service("staging", "cart", "cart")
            + &service("shop", "pay", "pay")),
    );
    let found = |host: &str, namespace: Option<&str>| {
        let service = inventory.service_of_host(host, namespace)?;
        Some((service.namespace.as_str(), service.name.as_str()))
    };
    let shop_cart = Some(("shop", "cart"));
    for host in [
        "cart",
        "cart:8080",
        "cart.shop",
        "cart.shop.svc",
        "cart.shop.svc.cluster.local.",
        "cart-0.cart.shop.svc.cluster.local:6379",
    ] {
        assert_eq!(found(host, Some("shop")), shop_cart, "{host}");
    }
    assert_eq!(found("cart", Some("staging")), Some(("staging", "cart")));
    assert_eq!(found("cart", None), None, "two namespaces have it");
    assert_eq!(found("pay", None), Some(("shop", "pay")));
    assert_eq!(found("pay", Some("staging")), None);
    for host in ["", "example.com", "10.0.0.1", "[::1]:80"] {
        assert_eq!(found(host, Some("shop")), None, "{host}");
    }
}

#[test]
fn telemetry_is_named_by_the_environment_then_the_annotation_then_the_workload() {
    let container = |env: &str| format!("          env:\n{env}");
    let named = |more: &str| {
        let inventory = clean(&deployment("shop", "cart", more));
        inventory.workloads[0].service_names()
    };
    assert_eq!(named(""), ["cart"]);
    let own = "            - {name: OTEL_RESOURCE_ATTRIBUTES, value: 'team=a,service.name=by-attributes'}\n";
    assert_eq!(named(&container(own)), ["by-attributes", "cart"]);
    let both = own.to_owned() + "            - {name: OTEL_SERVICE_NAME, value: by-name}\n";
    assert_eq!(named(&container(&both)), ["by-name", "cart"]);
    // As the demo of OpenTelemetry has it.
    let label = "            - {name: OTEL_SERVICE_NAME, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}
            - {name: OTEL_RESOURCE_ATTRIBUTES, value: 'service.name=$(OTEL_SERVICE_NAME),service.namespace=demo'}\n";
    let inventory = clean(&deployment("shop", "cart", &container(label)));
    let workload = &inventory.workloads[0];
    assert_eq!(workload.service_name(), "cart");
    assert_eq!(workload.service_namespace(), "demo");
    let attributes = workload.containers[0].env("OTEL_RESOURCE_ATTRIBUTES");
    assert_eq!(attributes, Some("service.name=cart,service.namespace=demo"));
    assert!(
        inventory
            .workload_of_telemetry("cart", Some("demo"))
            .is_some()
    );
    assert!(
        inventory
            .workload_of_telemetry("cart", Some("shop"))
            .is_some()
    );
    assert!(
        inventory
            .workload_of_telemetry("cart", Some("staging"))
            .is_none()
    );
    assert!(inventory.workload_of_telemetry("basket", None).is_none());

    let annotated = "apiVersion: v1
kind: Pod
metadata:
  name: cart-1
  labels: {app.kubernetes.io/name: cart, app.kubernetes.io/instance: release}
  annotations: {resource.opentelemetry.io/service.name: annotated, resource.opentelemetry.io/service.namespace: eu}
spec: {containers: [{name: c}]}
";
    let workload = &clean(annotated).workloads[0];
    assert_eq!(
        workload.service_names(),
        ["annotated", "cart-1", "release", "cart"]
    );
    assert_eq!(workload.service_namespace(), "eu");
}

#[test]
fn variables_come_from_config_maps_and_from_earlier_variables() {
    let more = "          envFrom:
            - {prefix: APP_, configMapRef: {name: settings}}
            - {secretRef: {name: hidden}}
          env:
            - {name: HOST, valueFrom: {configMapKeyRef: {name: settings, key: HOST}}}
            - {name: SECRET, valueFrom: {secretKeyRef: {name: hidden, key: x}}}
            - {name: URL, value: 'http://$(HOST):$(PORT)/$$(HOST)$'}
            - {name: EMPTY}\n";
    let config = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {HOST: db, MODE: fast}
";
    // The order of the files does not matter.
    let inventory = clean(&(deployment("shop", "cart", more) + config));
    let container = &inventory.workloads[0].containers[0];
    assert_eq!(container.env("APP_MODE"), Some("fast"));
    assert_eq!(container.env("HOST"), Some("db"));
    assert_eq!(container.env("URL"), Some("http://db:$(PORT)/$(HOST)$"));
    assert_eq!(container.env("EMPTY"), Some(""));
    assert_eq!(container.env("SECRET"), None);
    assert!(container.has_env("SECRET"));
    assert!(!container.has_env("OTHER"));
}

#[test]
fn an_ingress_leads_to_its_services() {
    let text = "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  defaultBackend: {service: {name: other, port: {number: 80}}}
  rules:
    - host: shop.example.com
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: front, port: {name: http}}}}
          - {path: /a, pathType: Prefix, backend: {service: {name: front, port: {name: http}}}}
";
    let ingress = &clean(text).ingresses[0];
    assert_eq!(ingress.hosts, ["shop.example.com"]);
    assert_eq!(ingress.services, ["front", "other"]);
}

proptest! {
    /// Whatever stands in a file: no panic, and the same reading twice.
    #[test]
    fn any_text_is_read_or_refused(text in "(apiVersion: (v1|apps/v1)\n|kind: (Deployment|List|Pod|Service)\n|metadata: \\{name: a\\}\n|spec: (\\{\\}|\\[\\]|1|a)\n|items: (\\[\\{\\}\\]|a)\n|---\n|.{0,8}\n){0,12}") {
        prop_assert_eq!(read(&text), read(&text));
    }
}
