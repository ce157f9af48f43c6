//! What manifests add to a graph: what runs each node, and what runs and was never seen.
//!
//! A Service and the workload that it leads to are one node. Namespaces are kept apart where traces say theirs; where they do
//! not, and several namespaces have the name, the node names all that may run it.

use std::collections::BTreeSet;

use crate::adapter::kubernetes::{Inventory, Node};
use crate::model::series::ServiceKey;
use crate::model::topology::{BlastRadius, GraphNode, NodeKind, ServiceGraph, Traffic};

/// Joins a graph with what manifests hold.
pub(super) fn join(graph: &mut ServiceGraph, inventory: &Inventory) {
    let deployed = inventory.nodes();
    let namespaces: BTreeSet<String> = inventory
        .workloads
        .iter()
        .flat_map(|workload| [workload.namespace.clone(), workload.service_namespace()])
        .chain(
            inventory
                .services
                .iter()
                .map(|service| service.namespace.clone()),
        )
        .collect();
    let mut seen = vec![false; deployed.len()];
    for node in &mut graph.nodes {
        // What manifests do not know by name may still be in them under another one.
        let namespace = Some(&*node.key.namespace).filter(|own| namespaces.contains(*own));
        let mut runs = BTreeSet::new();
        for (own, is_seen) in deployed.iter().zip(&mut seen) {
            if may_run(own, &node.key.name, namespace) {
                *is_seen = true;
                runs.extend(labels(own));
            }
        }
        node.workloads.extend(runs);
        node.workloads.sort();
        node.workloads.dedup();
    }
    let unseen = deployed.iter().zip(seen).filter(|(_, is_seen)| !is_seen);
    graph.nodes.extend(unseen.map(|(own, _)| never_seen(own)));
    graph.nodes.sort_by(|one, other| one.id.cmp(&other.id));
    // Of two kinds with one name in one namespace, one box is enough.
    graph.nodes.dedup_by(|later, first| {
        let is_same = later.id == first.id;
        if is_same {
            first.workloads.append(&mut later.workloads);
        }
        is_same
    });
}

/// Whether a node of the graph may be what is deployed: by a name of its telemetry, or of a Service that leads to it.
fn may_run(deployed: &Node<'_>, name: &str, namespace: Option<&str>) -> bool {
    let workload = deployed.workload;
    let is_here = namespace.is_none_or(|namespace| {
        namespace == deployed.namespace
            || workload.is_some_and(|workload| workload.service_namespace() == namespace)
    });
    let is_named = deployed.name == name
        || deployed.services.iter().any(|service| service.name == name)
        || workload.is_some_and(|workload| workload.service_names().iter().any(|own| own == name));
    is_here && is_named
}

/// `Deployment shop/cart`, `Service shop/cart`.
fn labels(deployed: &Node<'_>) -> impl Iterator<Item = String> {
    let workload = deployed.workload.map(ToString::to_string);
    let services = deployed.services.iter();
    let services =
        services.map(|service| format!("Service {}/{}", service.namespace, service.name));
    workload.into_iter().chain(services)
}

fn never_seen(deployed: &Node<'_>) -> GraphNode {
    let key = ServiceKey {
        namespace: deployed.namespace.into(),
        environment: "".into(),
        name: deployed.name.into(),
    };
    GraphNode {
        id: NodeKind::Workload.id(&key),
        kind: NodeKind::Workload,
        key,
        technology: String::new(),
        is_observed: false,
        workloads: labels(deployed).collect(),
        traffic: Traffic::default(),
        in_degree: 0,
        out_degree: 0,
        page_rank: 0.0,
        depth: 0,
        blast_radius: BlastRadius::default(),
    }
}
