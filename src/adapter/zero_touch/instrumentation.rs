//! The `Instrumentation` of the OpenTelemetry Operator.

use serde_json::{Value, json};

use super::model::{EnvSetting, Mode};
use super::settings::{
    INSTRUMENTATION, PROPAGATORS, Settings, common_environment, remote_sampler_environment,
};

/// One for all languages and namespaces: pods name it as `namespace/name`.
///
/// All agents send OTLP over HTTP to port 4318 and are told so. Those of Python, .NET and Go speak nothing else; those of Java and
/// Node.js changed their default between versions.
pub(super) fn manifest(settings: &Settings, mode: Mode) -> Value {
    let env: Vec<Value> = common_environment()
        .iter()
        .map(EnvSetting::manifest)
        .collect();
    let mut spec = json!({
        "exporter": {"endpoint": settings.application_endpoint(mode)},
        "propagators": PROPAGATORS,
        // Everything: slo-copilot counts, and samplers stand behind it.
        "sampler": {"type": "parentbased_always_on"},
        "env": env,
    });
    if let (Some(address), Some(spec)) = (&settings.remote_sampler, spec.as_object_mut()) {
        // The Operator's validation does not know `parentbased_jaeger_remote` as a type of sampler, and of the injected agents
        // that of Java alone reads it. What a container or a language says comes before `sampler`.
        let env = remote_sampler_environment(address);
        let env: Vec<Value> = env.iter().map(EnvSetting::manifest).collect();
        spec.insert("java".to_owned(), json!({"env": env}));
    }
    json!({
        "apiVersion": "opentelemetry.io/v1alpha1",
        "kind": "Instrumentation",
        "metadata": {
            "name": INSTRUMENTATION,
            "namespace": settings.namespace,
            "labels": {"app.kubernetes.io/managed-by": "slo-copilot"},
        },
        "spec": spec,
    })
}
