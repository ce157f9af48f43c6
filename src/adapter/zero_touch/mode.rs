//! Where Collectors run, and why there.

use super::image::ImageName;
use super::model::Mode;
use super::settings::Settings;
use crate::adapter::kubernetes::{Inventory, Workload, WorkloadKind};

/// The mode, and its reasons in sentences.
///
/// A gateway unless people say something else, or run agents on every node already. Sidecars cost a Collector a pod, so they
/// are never chosen by themselves.
pub(super) fn choose(inventory: &Inventory, settings: &Settings) -> (Mode, Vec<String>) {
    let agents = node_agents(inventory);
    let (mode, first) = match (settings.mode, agents.first()) {
        (Some(mode), _) => (mode, format!("--mode {mode} was asked for")),
        (None, Some(agent)) => (
            Mode::Daemonset,
            format!("{agent} runs on every node already, so that this cluster is run by agents of nodes"),
        ),
        (None, None) => (
            Mode::Gateway,
            "nothing here asks for a Collector on every node or in every pod, and one Deployment is the least to run"
                .to_owned(),
        ),
    };
    let consequence = match mode {
        Mode::Gateway => {
            "all spans of a trace meet in one place, where whole traces can be sampled"
        }
        Mode::Daemonset => {
            "spans leave a pod without leaving its node; nodes without DaemonSets (Fargate, virtual nodes) are not served"
        }
        Mode::Sidecar => {
            "a Collector runs in every pod that is traced, which costs its memory each time"
        }
    };
    (mode, vec![first, consequence.to_owned()])
}

/// The agents that run on every node.
fn node_agents(inventory: &Inventory) -> Vec<String> {
    let daemon_sets = inventory
        .workloads
        .iter()
        .filter(|workload| workload.kind == WorkloadKind::DaemonSet);
    let agent = |workload: &Workload| {
        let mut images = workload
            .containers
            .iter()
            .map(|container| ImageName::of(&container.image));
        let name = images.find_map(|image| image.node_agent())?;
        Some(format!("{name} ({workload})"))
    };
    daemon_sets.filter_map(agent).collect()
}
