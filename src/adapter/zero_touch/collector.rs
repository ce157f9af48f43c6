//! The Collector: its configuration, and the objects that run it.

use serde_json::{Value, json};

use super::model::Mode;
use super::settings::{COLLECTOR, COLLECTOR_IMAGE, Settings};

/// Exporter of the spans to slo-copilot.
const TO_SLO_COPILOT: &str = "otlp_grpc/slo-copilot";

/// Exporter of the sample to the backend, and the connector before it.
const TO_BACKEND: &str = "otlp_grpc/backend";
const SAMPLED: &str = "forward/backend";

/// Traces as slow as this are all kept, in milliseconds.
const SLOW_MS: u64 = 1_000;

/// The Collector's memory.
const MEMORY: &str = "512Mi";

/// What Go's garbage collector aims at: four fifths of the memory.
const GO_MEMORY: &str = "410MiB";

/// How the sample of the backend is taken, in words.
pub(super) fn sampling(settings: &Settings, mode: Mode) -> Option<String> {
    settings.backend.as_ref()?;
    let percent = percentage(settings);
    Some(if settings.backend_share >= 1.0 {
        "all traces".to_owned()
    } else if mode == Mode::Gateway {
        format!(
            "whole traces: those with errors, those of {SLOW_MS} ms and more, and {percent} % of the others"
        )
    } else {
        format!(
            "{percent} % of the traces by their id, the same ones on every Collector: none of them sees whole traces here"
        )
    })
}

fn percentage(settings: &Settings) -> f64 {
    // Without the digits that binary fractions add.
    (settings.backend_share * 1e8).round() / 1e6
}

/// The configuration. slo-copilot gets every span, since it counts; samplers stand before the backend only.
pub(super) fn configuration(settings: &Settings, mode: Mode) -> Value {
    let host = if mode == Mode::Sidecar {
        "127.0.0.1"
    } else {
        "0.0.0.0"
    };
    let mut processors = json!({
        "memory_limiter": {
            "check_interval": "1s",
            "limit_percentage": 80,
            "spike_limit_percentage": 20,
        },
    });
    let mut intake = vec!["memory_limiter"];
    if mode != Mode::Sidecar {
        // In sidecars the Operator's environment says the same, and service accounts of applications may not ask.
        put(&mut processors, "k8s_attributes", attributes(mode));
        intake.push("k8s_attributes");
    }
    let mut exporters = json!({TO_SLO_COPILOT: exporter(&settings.slo_copilot_address())});
    let mut intake_exporters = vec![TO_SLO_COPILOT];
    let mut pipelines = json!({});
    let mut connectors = Value::Null;
    if let Some(backend) = &settings.backend {
        put(&mut exporters, TO_BACKEND, exporter(backend));
        if let Some((name, sampler)) = sampler(settings, mode) {
            put(&mut processors, name, sampler);
            connectors = json!({SAMPLED: {}});
            let pipeline =
                json!({"receivers": [SAMPLED], "processors": [name], "exporters": [TO_BACKEND]});
            put(&mut pipelines, "traces/backend", pipeline);
            intake_exporters.push(SAMPLED);
        } else {
            intake_exporters.push(TO_BACKEND);
        }
    }
    let pipeline =
        json!({"receivers": ["otlp"], "processors": intake, "exporters": intake_exporters});
    put(&mut pipelines, "traces/intake", pipeline);
    let mut configuration = json!({
        "extensions": {"health_check": {"endpoint": "0.0.0.0:13133"}},
        "receivers": {"otlp": {"protocols": {
            "grpc": {"endpoint": format!("{host}:4317")},
            "http": {"endpoint": format!("{host}:4318")},
        }}},
        "processors": processors,
        "exporters": exporters,
        "service": {"extensions": ["health_check"], "pipelines": pipelines},
    });
    if !connectors.is_null() {
        put(&mut configuration, "connectors", connectors);
    }
    configuration
}

fn put(map: &mut Value, key: &str, value: Value) {
    if let Some(map) = map.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

fn exporter(address: &str) -> Value {
    json!({
        "endpoint": address,
        // Inside of the cluster; across networks, take this out and name a certificate authority.
        "tls": {"insecure": true},
        "sending_queue": {"batch": {"flush_timeout": "1s", "min_size": 512, "max_size": 8192}},
        "retry_on_failure": {"max_elapsed_time": "5m"},
    })
}

fn attributes(mode: Mode) -> Value {
    let mut attributes = json!({
        "extract": {"metadata": [
            "k8s.namespace.name", "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.cronjob.name",
            "k8s.job.name", "k8s.node.name", "k8s.pod.name", "k8s.pod.uid",
        ]},
        "pod_association": [
            {"sources": [{"from": "resource_attribute", "name": "k8s.pod.uid"}]},
            {"sources": [{"from": "connection"}]},
        ],
    });
    if mode == Mode::Daemonset {
        put(
            &mut attributes,
            "filter",
            json!({"node_from_env_var": "K8S_NODE_NAME"}),
        );
    }
    attributes
}

/// The sampler before the backend. Whole traces are judged where all their spans meet.
fn sampler(settings: &Settings, mode: Mode) -> Option<(&'static str, Value)> {
    let percentage = percentage(settings);
    if settings.backend_share >= 1.0 {
        return None;
    }
    Some(if mode == Mode::Gateway {
        let policies = json!([
            {"name": "errors", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}},
            {"name": "slow", "type": "latency", "latency": {"threshold_ms": SLOW_MS}},
            {"name": "others", "type": "probabilistic", "probabilistic": {"sampling_percentage": percentage}},
        ]);
        let sampler = json!({"decision_wait": "30s", "num_traces": 50_000, "policies": policies});
        ("tail_sampling", sampler)
    } else {
        // Writes its threshold to the tracestate, by which a reader weighs what is left.
        let sampler = json!({"sampling_percentage": percentage, "mode": "proportional"});
        ("probabilistic_sampler", sampler)
    })
}

/// The objects that run it, the namespace before them.
pub(super) fn manifests(settings: &Settings, mode: Mode, configuration_yaml: &str) -> Vec<Value> {
    let metadata = || {
        json!({
            "name": COLLECTOR,
            "namespace": settings.namespace,
            "labels": {"app.kubernetes.io/name": COLLECTOR, "app.kubernetes.io/managed-by": "slo-copilot"},
        })
    };
    if mode == Mode::Sidecar {
        return vec![json!({
            "apiVersion": "opentelemetry.io/v1beta1",
            "kind": "OpenTelemetryCollector",
            "metadata": metadata(),
            "spec": {
                "mode": "sidecar",
                "image": COLLECTOR_IMAGE,
                "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "env": [{"name": "GOMEMLIMIT", "value": "100MiB"}],
                "config": configuration(settings, mode),
            },
        })];
    }
    let service_account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata()});
    let config_map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(),
        "data": {"config.yaml": configuration_yaml},
    });
    let mut manifests = vec![service_account];
    manifests.extend(permissions(settings));
    manifests.push(config_map);
    manifests.push(workload(settings, mode, &metadata(), configuration_yaml));
    if mode == Mode::Gateway {
        manifests.push(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(),
            "spec": {
                "selector": {"app.kubernetes.io/name": COLLECTOR},
                "ports": [
                    {"name": "otlp-grpc", "port": 4317, "targetPort": "otlp-grpc", "appProtocol": "grpc"},
                    {"name": "otlp-http", "port": 4318, "targetPort": "otlp-http", "appProtocol": "http"},
                ],
            },
        }));
    }
    manifests
}

/// What the processor `k8s_attributes` asks the API for.
fn permissions(settings: &Settings) -> [Value; 2] {
    let group = "rbac.authorization.k8s.io";
    // Objects of the whole cluster: their name holds the namespace, so that two plans do not share them.
    let name = format!("{COLLECTOR}-{}", settings.namespace);
    let read = ["get", "list", "watch"];
    [
        json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [
                {"apiGroups": [""], "resources": ["pods", "namespaces", "nodes"], "verbs": read},
                {"apiGroups": ["apps"], "resources": ["replicasets", "deployments", "statefulsets", "daemonsets"], "verbs": read},
                {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": read},
            ],
        }),
        json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": COLLECTOR, "namespace": settings.namespace}],
        }),
    ]
}

fn workload(settings: &Settings, mode: Mode, metadata: &Value, configuration: &str) -> Value {
    let is_gateway = mode == Mode::Gateway;
    let port = |name: &str, number: u16| {
        if is_gateway {
            json!({"name": name, "containerPort": number})
        } else {
            // Applications reach it by the address of their node.
            json!({"name": name, "containerPort": number, "hostPort": number})
        }
    };
    let mut env = vec![json!({"name": "GOMEMLIMIT", "value": GO_MEMORY})];
    if !is_gateway {
        let node = json!({"fieldRef": {"fieldPath": "spec.nodeName"}});
        env.push(json!({"name": "K8S_NODE_NAME", "valueFrom": node}));
    }
    let probe = json!({"httpGet": {"path": "/", "port": 13133}});
    let container = json!({
        "name": "collector",
        "image": COLLECTOR_IMAGE,
        "args": ["--config=/etc/otelcol/config.yaml"],
        "env": env,
        "ports": [port("otlp-grpc", 4317), port("otlp-http", 4318)],
        "livenessProbe": probe,
        "readinessProbe": probe,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": MEMORY}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/otelcol", "readOnly": true}],
    });
    // Another configuration is another template, so that pods are replaced when it changes.
    let hash = xxhash_rust::xxh3::xxh3_64(configuration.as_bytes());
    let template = json!({
        "metadata": {
            "labels": {"app.kubernetes.io/name": COLLECTOR},
            "annotations": {"slo-copilot.dev/config-hash": format!("{hash:016x}")},
        },
        "spec": {
            "serviceAccountName": COLLECTOR,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": COLLECTOR}}],
        },
    });
    let mut spec = json!({
        "selector": {"matchLabels": {"app.kubernetes.io/name": COLLECTOR}},
        "template": template,
    });
    if is_gateway {
        // Whole traces meet in one process; more of them need a load-balancing exporter before them.
        let sampled = settings.backend.is_some() && settings.backend_share < 1.0;
        put(&mut spec, "replicas", json!(if sampled { 1 } else { 2 }));
    }
    let kind = if is_gateway {
        "Deployment"
    } else {
        "DaemonSet"
    };
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec})
}
