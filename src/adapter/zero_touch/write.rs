//! The files of a plan, and the commands that apply them.

use serde::Serialize;
use serde_json::{Value, json};

use super::model::{Mode, Step, WorkloadPlan};
use super::settings::{COLLECTOR, Settings};
use super::{collector, instrumentation, patch};
use crate::adapter::kubernetes::{Inventory, Workload, WorkloadKind};

/// The slo-copilot that a plan brings, as `examples/kubernetes/gateway.yaml` has it.
const GATEWAY: &str = include_str!("../../../examples/kubernetes/gateway.yaml");

/// What stands in that example for what people choose.
const EXAMPLE_NAMESPACE: &str = "observability";
const EXAMPLE_IMAGE: &str = "registry.example.com/slo-copilot:0.1.0";

/// Files with what they hold, and commands, both in order.
pub(super) struct Written {
    pub(super) texts: Vec<(String, String, String)>,
    pub(super) steps: Vec<Step>,
}

/// The path of a workload's patch.
pub(super) fn patch_path(workload: &Workload) -> String {
    let kind = workload.kind.label().to_lowercase();
    format!(
        "patches/{}/{kind}-{}.yaml",
        workload.namespace, workload.name
    )
}

/// Whether the pod template of such an object cannot be changed.
pub(super) fn is_fixed(kind: WorkloadKind) -> bool {
    matches!(kind, WorkloadKind::Pod | WorkloadKind::Job)
}

/// All files and commands.
pub(super) fn files(
    inventory: &Inventory,
    settings: &Settings,
    mode: Mode,
    patches: &[(&Workload, &WorkloadPlan, &Value)],
) -> Result<Written, serde_saphyr::ser::Error> {
    let mut written = Written {
        texts: Vec::new(),
        steps: Vec::new(),
    };
    let namespace = &settings.namespace;
    if settings.uses_operator {
        let crds = ["instrumentations", "opentelemetrycollectors"];
        let crds = crds.map(|name| format!("crd/{name}.opentelemetry.io"));
        let mut command = vec!["get".to_owned()];
        command.extend(crds);
        written.step("sees that the OpenTelemetry Operator is there", command);
    }
    if !inventory
        .namespaces
        .iter()
        .any(|known| known.name == *namespace)
    {
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        written.apply(
            "namespace.yaml",
            "the namespace of the Collector and slo-copilot",
            &[object],
        )?;
    }
    if settings.slo_copilot.is_none() {
        let text = GATEWAY
            .replace(
                &format!("namespace: {EXAMPLE_NAMESPACE}"),
                &format!("namespace: {namespace}"),
            )
            .replace(EXAMPLE_IMAGE, &settings.slo_copilot_image);
        written.apply_text("slo-copilot.yaml", "slo-copilot as a gateway", text);
    }
    written.collector(settings, mode)?;
    if settings.uses_operator {
        let object = instrumentation::manifest(settings, mode);
        written.apply(
            "instrumentation.yaml",
            "what the Operator injects",
            &[object],
        )?;
    }
    for (workload, plan, change) in patches {
        let path = patch_path(workload);
        let text = yaml(&[patch::addressed(workload, change)])?;
        if !is_fixed(workload.kind) {
            written.patch(workload, plan, &path);
        }
        written
            .texts
            .push((path, format!("the patch of {workload}"), text));
    }
    Ok(written)
}

impl Written {
    fn step<T: AsRef<str>>(&mut self, does: &str, arguments: impl IntoIterator<Item = T>) {
        let arguments = arguments.into_iter().map(|word| word.as_ref().to_owned());
        self.steps.push(Step {
            does: does.to_owned(),
            command: std::iter::once("kubectl".to_owned())
                .chain(arguments)
                .collect(),
        });
    }

    fn apply(
        &mut self,
        path: &str,
        holds: &str,
        objects: &[Value],
    ) -> Result<(), serde_saphyr::ser::Error> {
        self.apply_text(path, holds, yaml(objects)?);
        Ok(())
    }

    fn collector(
        &mut self,
        settings: &Settings,
        mode: Mode,
    ) -> Result<(), serde_saphyr::ser::Error> {
        let configuration = yaml(&[collector::configuration(settings, mode)])?;
        let objects = collector::manifests(settings, mode, &configuration);
        self.apply(
            "collector.yaml",
            "the Collector and what it needs",
            &objects,
        )?;
        let holds = "the Collector's configuration by itself, for `otelcol validate`".to_owned();
        self.texts
            .push(("collector-config.yaml".to_owned(), holds, configuration));
        if mode != Mode::Sidecar {
            let kind = if mode == Mode::Gateway {
                "deployment"
            } else {
                "daemonset"
            };
            let command = [
                "-n",
                &settings.namespace,
                "rollout",
                "status",
                &format!("{kind}/{COLLECTOR}"),
                "--timeout=180s",
            ];
            self.step(
                "waits for the Collector, so that no application sends into nothing",
                command,
            );
        }
        Ok(())
    }

    fn apply_text(&mut self, path: &str, holds: &str, text: String) {
        let arguments = [
            "apply",
            "--server-side",
            "--field-manager=slo-copilot",
            "-f",
            path,
        ];
        self.step(&format!("applies {holds}"), arguments);
        self.texts.push((path.to_owned(), holds.to_owned(), text));
    }

    fn patch(&mut self, workload: &Workload, plan: &WorkloadPlan, path: &str) {
        // Custom resources know no strategic merge; annotations are a map, which a merge patch keeps as well.
        let (kind, merge) = match workload.kind {
            WorkloadKind::Rollout => ("rollouts.argoproj.io".to_owned(), "merge"),
            WorkloadKind::Deployment
            | WorkloadKind::StatefulSet
            | WorkloadKind::DaemonSet
            | WorkloadKind::ReplicaSet
            | WorkloadKind::CronJob
            | WorkloadKind::Job
            | WorkloadKind::Pod => (workload.kind.label().to_lowercase(), "strategic"),
        };
        let does = format!("patches {workload}: {}", plan.reason);
        let arguments = [
            "-n",
            &workload.namespace,
            "patch",
            &kind,
            &workload.name,
            "--type",
            merge,
            "--patch-file",
            path,
        ];
        self.step(&does, arguments);
    }
}

/// Objects as a stream of YAML.
fn yaml<T: Serialize>(objects: &[T]) -> Result<String, serde_saphyr::ser::Error> {
    let options = serde_saphyr::ser_options! { min_fold_chars: usize::MAX };
    serde_saphyr::to_string_multiple_with_options(objects, options)
}
