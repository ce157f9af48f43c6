//! Workloads of manifests against the services that report spans.

use crate::adapter::coverage::tally::{ServiceTally, Tally};
use crate::adapter::kubernetes::{Inventory, Workload, WorkloadKind};
use crate::adapter::zero_touch::{self, Language};
use crate::model::coverage::WorkloadName;
use crate::model::series::ServiceKey;

/// Pods of the OpenTelemetry Operator say the language in the name of an annotation.
const INJECTED: [&str; 5] = ["java", "nodejs", "python", "dotnet", "go"];

/// Whether a workload should report spans: a database or infrastructure, and what runs once and is gone, need not.
pub(super) fn is_expected(workload: &Workload) -> bool {
    let is_job = matches!(workload.kind, WorkloadKind::Job | WorkloadKind::CronJob);
    let mut images = workload.containers.iter().map(|container| &container.image);
    let is_of_others =
        !workload.containers.is_empty() && images.all(|image| zero_touch::is_of_others(image));
    !is_job && !is_of_others && workload.replicas != Some(0)
}

/// Whether a service is the one that a workload runs.
pub(super) fn runs(workload: &Workload, key: &ServiceKey, tally: &ServiceTally) -> bool {
    let by_resource = tally.workloads.iter().any(|(namespace, name)| {
        **name == *workload.name && (namespace.is_empty() || **namespace == *workload.namespace)
    });
    let by_name = workload
        .service_names()
        .iter()
        .any(|name| **name == *key.name);
    let elsewhere = !tally.workloads.is_empty()
        || (!key.namespace.is_empty()
            && *key.namespace != *workload.namespace
            && *key.namespace != *workload.service_namespace());
    by_resource || (by_name && !elsewhere)
}

/// The workloads that should report spans, each with whether it does.
pub(super) fn seen<'a>(inventory: &'a Inventory, tally: &Tally) -> Vec<(&'a Workload, bool)> {
    let expected = inventory
        .workloads
        .iter()
        .filter(|workload| is_expected(workload));
    let with_answer = expected.map(|workload| {
        let mut services = tally.services.iter();
        let is_seen = services.any(|(key, service)| runs(workload, key, service));
        (workload, is_seen)
    });
    with_answer.collect()
}

/// The workload that a peer's name leads to: by a Service, else by its own name.
pub(super) fn of_peer<'a>(
    inventory: &'a Inventory,
    peer: &str,
    namespace: Option<&str>,
) -> Option<&'a Workload> {
    let service = inventory
        .service_of_host(peer, namespace)
        .or_else(|| inventory.service_of_host(peer, None));
    service
        .and_then(|service| inventory.workload_of_service(service))
        .or_else(|| inventory.workload_of_telemetry(peer, None))
}

/// Its name.
pub(super) fn name(workload: &Workload) -> WorkloadName {
    WorkloadName {
        namespace: workload.namespace.clone(),
        kind: workload.kind.label().to_owned(),
        name: workload.name.clone(),
    }
}

/// The port of its first container that has one.
pub(super) fn port(workload: &Workload) -> Option<u16> {
    let mut ports = workload
        .containers
        .iter()
        .flat_map(|container| &container.ports);
    ports.find_map(|port| u16::try_from(*port).ok())
}

/// The language that it is written in, if the manifest tells it: the annotation of the Operator, the command, the image.
pub(super) fn language(workload: &Workload) -> Option<&'static str> {
    let annotated = INJECTED.into_iter().find(|language| {
        let key = format!("instrumentation.opentelemetry.io/inject-{language}");
        let value = workload.pod_annotations.get(&key);
        value.is_some_and(|value| value != "false")
    });
    annotated.or_else(|| zero_touch::language_of(workload).map(Language::sdk_language))
}

/// The language that a program of this host runs.
pub(super) fn language_of_program(program: &str) -> Option<&'static str> {
    zero_touch::language_of_program(program).map(Language::sdk_language)
}

/// Whether a program is a database, a broker or infrastructure; daemons have a `d` at their end.
pub(super) fn is_program_of_others(program: &str) -> bool {
    let bare = program.strip_suffix('d');
    zero_touch::is_of_others(program) || bare.is_some_and(zero_touch::is_of_others)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::adapter::kubernetes::read_manifests;
    use crate::openslo::read::SourceFile;

    const SHOP: &str = include_str!("tests/shop.yaml");

    fn inventory() -> Inventory {
        let file = SourceFile {
            name: "shop.yaml".to_owned(),
            text: SHOP.to_owned(),
        };
        let (inventory, findings) = read_manifests(&[file], "default");
        assert!(findings.is_empty(), "{findings:?}");
        inventory
    }

    fn with(services: &[(&str, &[(&str, &str)])]) -> Tally {
        let mut tally = Tally::default();
        for (name, workloads) in services {
            let workloads = workloads.iter();
            let service = ServiceTally {
                workloads: workloads
                    .map(|(namespace, name)| ((*namespace).into(), (*name).into()))
                    .collect(),
                ..ServiceTally::default()
            };
            tally.services.insert(ServiceKey::named(name), service);
        }
        tally
    }

    fn check(services: &[(&str, &[(&str, &str)])], expected: &[(&str, bool)]) {
        let inventory = inventory();
        let seen = seen(&inventory, &with(services));
        let seen: BTreeMap<&str, bool> = seen
            .iter()
            .map(|(workload, is_seen)| (workload.name.as_str(), *is_seen))
            .collect();
        assert_eq!(seen, expected.iter().copied().collect());
    }

    #[test]
    fn a_workload_is_seen_by_its_resource_attributes_or_by_its_service_name() {
        check(
            &[],
            &[("checkout", false), ("pricing", false), ("web", false)],
        );
        // OTEL_SERVICE_NAME of `web` is `frontend`; the database and the job need no spans.
        check(
            &[
                ("frontend", &[]),
                ("shop-checkout", &[("shop", "checkout")]),
            ],
            &[("checkout", true), ("pricing", false), ("web", true)],
        );
        // The same name in another namespace is another workload.
        check(
            &[("checkout", &[("staging", "checkout")])],
            &[("checkout", false), ("pricing", false), ("web", false)],
        );
    }

    #[test]
    fn a_program_is_known_by_its_name() {
        for (program, language, is_of_others) in [
            ("python3", Some("python"), false),
            ("node", Some("nodejs"), false),
            ("mongod", None, true),
            ("redis-server", None, true),
            ("postgres", None, true),
            ("pricing", None, false),
        ] {
            assert_eq!(language_of_program(program), language, "{program}");
            assert_eq!(is_program_of_others(program), is_of_others, "{program}");
        }
    }

    #[test]
    fn a_manifest_tells_language_port_and_the_peer_behind_a_service() {
        let inventory = inventory();
        let of = |name: &str| of_peer(&inventory, name, Some("shop")).unwrap();
        let pricing = of("pricing.shop.svc.cluster.local:80");
        assert_eq!(pricing.name, "pricing");
        assert_eq!(language(pricing), Some("python"));
        assert_eq!(port(pricing), Some(8000));
        assert_eq!(language(of("web")), Some("nodejs"));
        assert_eq!(language(of("checkout")), Some("java"));
        assert!(of_peer(&inventory, "nobody", None).is_none());
    }
}
