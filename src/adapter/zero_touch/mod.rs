//! Zero-touch telemetry: from Kubernetes manifests to a plan by which applications are traced without a change of their code.
//!
//! ```text
//! manifests ─ inventory ─┬─ mode ──────────── Collector: gateway, daemonset or sidecar ─┐
//!                        └─ decide ─┬─ language of each container, with its evidence     ├─ Plan: plan.json, files, commands
//!                                   └─ annotations and variables ─ patch ─ edit (diff) ──┘
//! ```
//!
//! The OpenTelemetry Operator does the injecting: it reads annotations of pod templates, which patches add. What it cannot inject into
//! is said plainly. Pure: the command `plan` writes the files and runs kubectl.

mod collector;
mod command;
mod decide;
mod edit;
mod image;
mod instrumentation;
mod language;
mod mode;
mod model;
mod patch;
mod settings;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::adapter::kubernetes::{Inventory, Workload, WorkloadKind};
use crate::openslo::read::SourceFile;

pub use edit::FileChange;
pub use language::{
    Evidence, EvidenceSource, Language, is_of_others, language_of, language_of_program,
};
pub use model::{
    ContainerPlan, EnvSetting, Mode, Outcome, Plan, PlannedFile, Route, SCHEMA_VERSION, Step,
    WorkloadPlan,
};
pub use settings::{Settings, SettingsError};

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// What was chosen does not go together.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file cannot be written as YAML.
    #[error("a file of the plan cannot be written: {0}")]
    Write(#[from] serde_saphyr::ser::Error),
}

/// A plan with all that it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// `plan.json`.
    pub plan: Plan,
    /// The texts of [`Plan::files`], by their paths.
    pub files: BTreeMap<String, String>,
    /// What changes in the manifests.
    pub changes: Vec<FileChange>,
}

/// Plans for an inventory that was read from these files.
pub fn plan(
    inventory: &Inventory,
    sources: &[SourceFile],
    settings: &Settings,
) -> Result<Planned, PlanError> {
    settings.check()?;
    let (mode, mode_reasons) = mode::choose(inventory, settings);
    if mode == Mode::Sidecar && !settings.uses_operator {
        return Err(SettingsError::SidecarWithoutOperator.into());
    }
    let mut planned: Vec<(&Workload, WorkloadPlan)> = Vec::new();
    for workload in &inventory.workloads {
        let mut namespaces = inventory.namespaces.iter();
        let namespace = namespaces.find(|namespace| namespace.name == workload.namespace);
        planned.push((
            workload,
            decide::decide(workload, namespace, mode, settings),
        ));
    }
    let mut patches: Vec<(&Workload, usize, Value)> = Vec::new();
    for (at, (workload, plan)) in planned.iter_mut().enumerate() {
        if plan.changes() {
            plan.patch = Some(write::patch_path(workload));
            patches.push((workload, at, patch::patch(workload, plan)));
        }
    }
    let changed: Vec<(&Workload, &WorkloadPlan, &Value)> = patches
        .iter()
        .filter_map(|(workload, at, patch)| Some((*workload, &planned.get(*at)?.1, patch)))
        .collect();
    let changes = edit::changes(sources, &changed);
    let written = write::files(inventory, settings, mode, &changed)?;
    let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
    for (_, plan) in &planned {
        *outcomes.entry(plan.outcome).or_default() += 1;
    }
    let mut notes = notes(&planned, settings, mode);
    notes.extend(not_read(inventory));
    let plan = Plan {
        schema_version: SCHEMA_VERSION.to_owned(),
        mode,
        mode_reasons,
        uses_operator: settings.uses_operator,
        route: Route {
            namespace: settings.namespace.clone(),
            application_endpoint: settings.application_endpoint(mode),
            slo_copilot: settings.slo_copilot_address(),
            deploys_slo_copilot: settings.slo_copilot.is_none(),
            backend: settings.backend.clone(),
            backend_sampling: collector::sampling(settings, mode),
            remote_sampler: settings.remote_sampler.clone(),
        },
        outcomes,
        steps: written.steps,
        files: written
            .texts
            .iter()
            .map(|(path, holds, _)| PlannedFile {
                path: path.clone(),
                holds: holds.clone(),
            })
            .collect(),
        workloads: planned.into_iter().map(|(_, plan)| plan).collect(),
        notes,
    };
    let texts = written.texts.into_iter();
    Ok(Planned {
        plan,
        files: texts.map(|(path, _, text)| (path, text)).collect(),
        changes,
    })
}

/// What runs pods in a way of its own: operators and platforms make them from objects of their kinds.
fn not_read(inventory: &Inventory) -> Option<String> {
    let others = inventory.others.iter();
    let names: Vec<String> = others
        .filter(|other| other.runs_containers)
        .map(|other| {
            let (kind, version) = (&other.kind, &other.api_version);
            format!("{kind} {}/{} ({version})", other.namespace, other.name)
        })
        .collect();
    let list = names.join(", ");
    (!names.is_empty()).then(|| {
        format!(
            "Not planned, since these kinds run their containers in ways of their own: {list}. Put the annotations or variables of a like workload into their pod templates."
        )
    })
}

/// What one should know before it is applied.
fn notes(planned: &[(&Workload, WorkloadPlan)], settings: &Settings, mode: Mode) -> Vec<String> {
    let mut notes = Vec::new();
    let injected = |language: Language| {
        planned.iter().any(|(_, plan)| {
            plan.containers.iter().any(|found| {
                found.outcome == Outcome::Instrument && found.language == Some(language)
            })
        })
    };
    let mut note = |applies: bool, text: &str| {
        if applies {
            notes.push(text.to_owned());
        }
    };
    note(
        settings.uses_operator,
        "The OpenTelemetry Operator and cert-manager must run in the cluster; without them annotations do nothing. For plans without it: --no-operator.",
    );
    note(
        planned.iter().any(|(_, plan)| plan.changes()),
        "A patch of a pod template rolls the workload out anew. Where manifests are applied from a repository, change them there (manifests.diff), else the next apply takes the patch back.",
    );
    note(
        injected(Language::Go),
        "The Operator injects into Go only if it runs with --enable-go-instrumentation; the agent is a privileged container in the pod, which namespaces with the Pod Security Standards baseline or restricted refuse.",
    );
    note(
        planned
            .iter()
            .any(|(_, plan)| plan.changes() && write::is_fixed(plan.kind)),
        "The pod template of a Pod or a Job cannot be changed: change its manifest (manifests.diff) and create it anew.",
    );
    note(
        planned
            .iter()
            .any(|(workload, plan)| plan.changes() && workload.kind == WorkloadKind::ReplicaSet),
        "A ReplicaSet takes its new template for new pods only: delete the pods that run.",
    );
    note(
        mode == Mode::Daemonset,
        "The Collector takes the ports 4317 and 4318 of every node.",
    );
    note(
        settings.remote_sampler.is_some(),
        "Of the injected agents that of Java asks a remote sampler (gRPC); applications in other languages send everything.",
    );
    note(
        settings.slo_copilot.is_none()
            && settings.slo_copilot_image == Settings::default().slo_copilot_image,
        "slo-copilot.yaml names an image of example.com: build your own (Dockerfile of one binary) and give it with --image.",
    );
    note(
        settings.backend.is_none(),
        "Spans go to slo-copilot only; name a tracing backend with --backend to look at traces.",
    );
    notes
}
