//! Workloads of manifests against the services that report spans.

use crate::adapter::coverage::tally::{ServiceTally, Tally};
use crate::adapter::kubernetes::{Inventory, Workload, WorkloadKind};
use crate::model::coverage::WorkloadName;
use crate::model::series::ServiceKey;

/// Images and commands by the language that they run, as whole words: `mongo` is no Go.
const LANGUAGES: [(&str, &str); 18] = [
    ("python", "python"),
    ("python3", "python"),
    ("gunicorn", "python"),
    ("uvicorn", "python"),
    ("node", "nodejs"),
    ("nodejs", "nodejs"),
    ("npm", "nodejs"),
    ("java", "java"),
    ("openjdk", "java"),
    ("temurin", "java"),
    ("corretto", "java"),
    ("dotnet", "dotnet"),
    ("aspnet", "dotnet"),
    ("golang", "go"),
    ("go", "go"),
    ("ruby", "ruby"),
    ("php", "php"),
    ("rust", "rust"),
];

/// Pods of the OpenTelemetry Operator say the language in the name of an annotation.
const INJECTED: [&str; 5] = ["java", "nodejs", "python", "dotnet", "go"];

/// Images of data stores and brokers, which are seen by their callers.
const STORES: [&str; 17] = [
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "mongo",
    "mongodb",
    "redis",
    "valkey",
    "memcached",
    "kafka",
    "zookeeper",
    "rabbitmq",
    "nats",
    "elasticsearch",
    "opensearch",
    "cassandra",
    "etcd",
];

/// Whether a workload should report spans: a data store, or what runs once and is gone, need not.
pub(super) fn is_expected(workload: &Workload) -> bool {
    let is_job = matches!(workload.kind, WorkloadKind::Job | WorkloadKind::CronJob);
    let images = workload.containers.iter().map(|container| &container.image);
    let mut images = images.map(|image| name_of_image(image));
    let is_store = !workload.containers.is_empty() && images.all(is_store);
    !is_job && !is_store && workload.replicas != Some(0)
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
    annotated.or_else(|| {
        let containers = workload.containers.iter();
        let mut texts = containers.flat_map(|container| {
            let command = container.command.first().or(container.args.first());
            let program = command.and_then(|text| text.rsplit('/').next());
            program.into_iter().chain([name_of_image(&container.image)])
        });
        texts.find_map(language_of)
    })
}

/// The language that a program or an image runs. `node-exporter` is about nodes.
pub(super) fn language_of(name: &str) -> Option<&'static str> {
    if words(name).any(|word| word == "exporter") {
        return None;
    }
    words(name).find_map(|word| {
        let known = LANGUAGES.iter().find(|(known, _)| *known == word);
        known.map(|(_, language)| *language)
    })
}

/// Whether a program or an image is a data store or a broker.
pub(super) fn is_store(name: &str) -> bool {
    words(name).any(|word| STORES.contains(&word))
}

/// `registry:5000/library/python:3.12-slim` has `python`.
fn name_of_image(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric())
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
    fn languages_are_whole_words() {
        for (name, language) in [
            ("python", Some("python")),
            ("eclipse-temurin", Some("java")),
            ("mongo", None),
            ("cargo-runner", None),
            ("javascript-app", None),
            ("node-exporter", None),
        ] {
            assert_eq!(language_of(name), language, "{name}");
        }
        assert_eq!(name_of_image("host:5000/a/python:3.12-slim"), "python");
        assert_eq!(name_of_image("php@sha256:12"), "php");
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
