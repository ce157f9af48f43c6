//! What leads to what: Services to workloads by their selectors, and host names to Services.

use std::collections::BTreeMap;

use super::{Inventory, KubeService, Workload};

/// A node of the service graph: a workload with the Services that lead to it, or a Service that leads to nothing here.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The name of the workload, else of the Service.
    pub name: &'a str,
    /// The workload.
    pub workload: Option<&'a Workload>,
    /// The Services.
    pub services: Vec<&'a KubeService>,
}

impl Inventory {
    /// The workload that a Service leads to. Of several (a canary beside the stable one) the one of the Service's name, else
    /// the first.
    pub fn workload_of_service(&self, service: &KubeService) -> Option<&Workload> {
        let all = self.workloads_of_service(service);
        let same_name = all.iter().find(|workload| workload.name == service.name);
        same_name.or(all.first()).copied()
    }

    /// Every workload of the Service's namespace whose pods have all labels of its selector.
    ///
    /// A Service without a selector, or whose selector no pods have, is taken for that of the workload of its name.
    pub fn workloads_of_service(&self, service: &KubeService) -> Vec<&Workload> {
        let here = |workload: &&Workload| workload.namespace == service.namespace;
        let selected: Vec<&Workload> = self
            .workloads
            .iter()
            .filter(here)
            .filter(|workload| selects(&service.selector, &workload.pod_labels))
            .collect();
        if !selected.is_empty() || service.external_name.is_some() {
            return selected;
        }
        let mut of_same_name = self.workloads.iter().filter(here);
        of_same_name
            .find(|workload| workload.name == service.name)
            .into_iter()
            .collect()
    }

    /// The workload of a name: as its telemetry names it ([`Workload::service_names`], best matches first), in a namespace if
    /// one is known.
    pub fn workload_of_telemetry(
        &self,
        service_name: &str,
        namespace: Option<&str>,
    ) -> Option<&Workload> {
        let ranked = self.workloads.iter().filter_map(|workload| {
            let names = workload.service_names();
            let rank = names.iter().position(|name| name == service_name)?;
            let elsewhere = namespace.is_some_and(|namespace| {
                workload.namespace != namespace && workload.service_namespace() != namespace
            });
            (!elsewhere).then_some((rank, workload))
        });
        ranked
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, workload)| workload)
    }

    /// The Service that a caller of `namespace` means by a host name: `cart`, `cart.shop`, `cart.shop.svc`,
    /// `cart.shop.svc.cluster.local`, each with or without a port; also the name of one pod of a `StatefulSet` before these.
    pub fn service_of_host(&self, host: &str, namespace: Option<&str>) -> Option<&KubeService> {
        let host = host
            .split_once(':')
            .map_or(host, |(host, _)| host)
            .trim_end_matches('.');
        let labels: Vec<&str> = host.split('.').collect();
        let named = |name: &str, namespace: &str| {
            self.services
                .iter()
                .find(|service| service.name == name && service.namespace == namespace)
        };
        match labels.as_slice() {
            [name] => namespace.map_or_else(|| self.only_service(name), |known| named(name, known)),
            [name, there] | [name, there, "svc", ..] => named(name, there),
            [_pod, name, there, "svc", ..] => named(name, there),
            _ => None,
        }
    }

    /// The Service of a name that only one namespace has.
    fn only_service(&self, name: &str) -> Option<&KubeService> {
        let mut all = self.services.iter().filter(|service| service.name == name);
        all.next().filter(|_| all.next().is_none())
    }

    /// Each workload and each Service once: a Service and the workload that it leads to are one node.
    pub fn nodes(&self) -> Vec<Node<'_>> {
        let mut nodes: Vec<Node<'_>> = self
            .workloads
            .iter()
            .map(|workload| Node {
                namespace: &workload.namespace,
                name: &workload.name,
                workload: Some(workload),
                services: Vec::new(),
            })
            .collect();
        let positions: BTreeMap<(&str, &str, _), usize> = self
            .workloads
            .iter()
            .enumerate()
            .map(|(at, workload)| (key(workload), at))
            .collect();
        for service in &self.services {
            let led_to = self.workloads_of_service(service);
            if led_to.is_empty() {
                nodes.push(Node {
                    namespace: &service.namespace,
                    name: &service.name,
                    workload: None,
                    services: vec![service],
                });
            }
            for workload in led_to {
                let position = positions.get(&key(workload)).copied();
                if let Some(node) = position.and_then(|at| nodes.get_mut(at)) {
                    node.services.push(service);
                }
            }
        }
        nodes
    }
}

fn key(workload: &Workload) -> (&str, &str, super::WorkloadKind) {
    (&workload.namespace, &workload.name, workload.kind)
}

/// Whether labels have all that a selector asks for; one that asks for nothing selects nothing.
fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
}
