//! What an image is by its name: a database, infrastructure, or words that may name a language.

/// The parts of an image's name that say what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ImageName {
    /// The last part of the repository: `redis` of `docker.io/library/redis:7`.
    pub(super) last: String,
    /// The words of all parts of the repository besides the registry.
    pub(super) words: Vec<String>,
    /// The words of the tag.
    pub(super) tag_words: Vec<String>,
}

/// A database, a queue, or another store: its clients tell about it.
const DATABASES: &[&str] = &[
    "activemq",
    "arangodb",
    "cassandra",
    "clickhouse",
    "cockroach",
    "cockroachdb",
    "couchbase",
    "couchdb",
    "dragonfly",
    "dynamodb",
    "elasticsearch",
    "emqx",
    "etcd",
    "influxdb",
    "kafka",
    "keydb",
    "mariadb",
    "memcached",
    "milvus",
    "minio",
    "mongo",
    "mongodb",
    "mosquitto",
    "mssql",
    "mysql",
    "nats",
    "neo4j",
    "opensearch",
    "percona",
    "pgvector",
    "postgis",
    "postgres",
    "postgresql",
    "pulsar",
    "qdrant",
    "questdb",
    "rabbitmq",
    "redis",
    "redpanda",
    "rethinkdb",
    "rqlite",
    "scylla",
    "scylladb",
    "solr",
    "timescaledb",
    "valkey",
    "weaviate",
    "zookeeper",
];

/// Proxies, agents, and the parts of a cluster itself.
const INFRASTRUCTURE: &[&str] = &[
    "adminer",
    "alertmanager",
    "alloy",
    "argocd",
    "autoscaler",
    "aws-cli",
    "beyla",
    "cadvisor",
    "caddy",
    "calico",
    "cert-manager",
    "chaos-mesh",
    "cilium",
    "cloudflared",
    "cluster-autoscaler",
    "configmap-reload",
    "consul",
    "coredns",
    "curl",
    "csi-node-driver-registrar",
    "datadog",
    "envoy",
    "external-dns",
    "external-secrets",
    "falco",
    "filebeat",
    "flannel",
    "fluent-bit",
    "fluentbit",
    "fluentd",
    "fluxcd",
    "git-sync",
    "grafana",
    "grafana-agent",
    "haproxy",
    "httpd",
    "ingress-nginx",
    "istio-pilot",
    "istio-proxyv2",
    "jaeger",
    "k8s-sidecar",
    "keycloak",
    "kibana",
    "kong",
    "kube-proxy",
    "kube-state-metrics",
    "kubectl",
    "linkerd-proxy",
    "local-path-provisioner",
    "logstash",
    "loki",
    "metallb",
    "metricbeat",
    "metrics-server",
    "mimir",
    "newrelic",
    "nginx",
    "nginx-ingress-controller",
    "nginx-unprivileged",
    "node-driver-registrar",
    "node-exporter",
    "node-feature-discovery",
    "node-local-dns",
    "node-problem-detector",
    "node-termination-handler",
    "oauth2-proxy",
    "obi",
    "openresty",
    "opentelemetry-collector",
    "opentelemetry-ebpf-instrumentation",
    "opentelemetry-operator",
    "otelcol",
    "pause",
    "pgadmin4",
    "pgbouncer",
    "phpmyadmin",
    "prometheus",
    "prometheus-config-reloader",
    "promtail",
    "proxyv2",
    "reloader",
    "slo-copilot",
    "squid",
    "statsd",
    "tempo",
    "telegraf",
    "thanos",
    "traefik",
    "varnish",
    "vault",
    "vector",
    "velero",
    "victoria-metrics",
    "zipkin",
];

/// Agents that run on every node and take logs or telemetry there.
const NODE_AGENTS: &[&str] = &[
    "alloy",
    "beyla",
    "datadog",
    "filebeat",
    "fluent-bit",
    "fluentbit",
    "fluentd",
    "grafana-agent",
    "metricbeat",
    "newrelic",
    "node-exporter",
    "obi",
    "opentelemetry-collector",
    "opentelemetry-ebpf-instrumentation",
    "otelcol",
    "promtail",
    "telegraf",
    "vector",
];

/// What may stand behind such a name without making it another thing: `redis-stack-server`, `postgres-exporter`.
const QUALIFIERS: &[&str] = &[
    "agent",
    "all",
    "alpine",
    "ce",
    "cluster",
    "community",
    "contrib",
    "controller",
    "core",
    "daemon",
    "dashboard",
    "db",
    "debian",
    "distroless",
    "ee",
    "enterprise",
    "exporter",
    "gateway",
    "ha",
    "in",
    "init",
    "ingress",
    "io",
    "k8s",
    "local",
    "management",
    "master",
    "metrics",
    "node",
    "one",
    "operator",
    "oss",
    "proxy",
    "replica",
    "router",
    "sentinel",
    "server",
    "shell",
    "slim",
    "stack",
    "ubi",
    "ubi8",
    "ubi9",
    "unprivileged",
    "ui",
];

impl ImageName {
    /// The parts of `registry:port/path/name:tag@digest`.
    pub(super) fn of(image: &str) -> Self {
        let without_digest = image.split('@').next().unwrap_or_default();
        // A colon before the last slash belongs to the registry's port.
        let (repository, tag) = match without_digest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            Some(_) | None => (without_digest, ""),
        };
        let mut parts: Vec<&str> = repository.split('/').collect();
        let names_registry = parts.len() > 1
            && parts
                .first()
                .is_some_and(|first| first.contains(['.', ':']) || *first == "localhost");
        if names_registry {
            parts.remove(0);
        }
        Self {
            last: parts.last().copied().unwrap_or_default().to_lowercase(),
            words: parts.iter().flat_map(|part| words(part)).collect(),
            tag_words: words(tag),
        }
    }

    /// The database that it is.
    pub(super) fn database(&self) -> Option<&'static str> {
        known(&self.last, DATABASES).or_else(|| {
            // Microsoft calls all its images `server`, `agent` and so on, in a folder of the product.
            let is_mssql = self.last == "server" && self.words.iter().any(|word| word == "mssql");
            is_mssql.then_some("mssql")
        })
    }

    /// The part of the infrastructure that it is.
    pub(super) fn infrastructure(&self) -> Option<&'static str> {
        let vendor = self.words.iter().find_map(|word| match word.as_str() {
            "datadog" | "datadoghq" => Some("datadog"),
            "newrelic" => Some("newrelic"),
            _ => None,
        });
        known(&self.last, INFRASTRUCTURE).or(vendor)
    }

    /// The agent of nodes that it is.
    pub(super) fn node_agent(&self) -> Option<&'static str> {
        let found = self.infrastructure()?;
        NODE_AGENTS.contains(&found).then_some(found)
    }

    /// Whether it is built for Windows, as that of the .NET Framework always is.
    pub(super) fn is_windows(&self) -> bool {
        let mut all = self.words.iter().chain(&self.tag_words);
        let mut pairs = self.words.windows(2);
        all.any(|word| WINDOWS.contains(&word.as_str()))
            || pairs.any(|pair| pair == ["dotnet", "framework"])
    }

    /// Whether the C library is musl, as in Alpine.
    pub(super) fn is_musl(&self) -> bool {
        let is_alpine = |word: &String| matches!(word.as_str(), "alpine" | "musl");
        self.words.iter().chain(&self.tag_words).any(is_alpine)
    }
}

/// Words that the images of Microsoft for Windows have.
const WINDOWS: [&str; 3] = ["nanoserver", "servercore", "windowsservercore"];

/// The longest of these names that a name is, alone or with qualifiers behind it.
fn known(name: &str, names: &[&'static str]) -> Option<&'static str> {
    let is = |known: &&&'static str| {
        let Some(rest) = name.strip_prefix(**known) else {
            return false;
        };
        rest.is_empty()
            || (rest.starts_with(['-', '_', '.'])
                && words(rest).iter().all(|word| {
                    QUALIFIERS.contains(&word.as_str())
                        || word.bytes().all(|byte| byte.is_ascii_digit())
                }))
    };
    let found = names.iter().filter(is);
    found.max_by_key(|known| known.len()).copied()
}

/// The words of a name, in lower case and without the numbers at their ends: `java17` is `java`.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let bare = word.trim_end_matches(|character: char| character.is_ascii_digit());
            let kept = if bare.is_empty() { word } else { bare };
            kept.to_lowercase()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_and_infrastructure_are_known_by_their_whole_name() {
        for (image, database, infrastructure) in [
            ("redis", Some("redis"), None),
            ("docker.io/library/redis:7-alpine", Some("redis"), None),
            ("bitnami/redis-cluster:7", Some("redis"), None),
            (
                "localhost:5000/redis/redis-stack-server@sha256:00",
                Some("redis"),
                None,
            ),
            ("postgres:16", Some("postgres"), None),
            (
                "quay.io/prometheuscommunity/postgres-exporter:v0.15",
                Some("postgres"),
                None,
            ),
            (
                "mcr.microsoft.com/mssql/server:2022-latest",
                Some("mssql"),
                None,
            ),
            ("mongo", Some("mongo"), None),
            ("prom/node-exporter:v1", None, Some("node-exporter")),
            (
                "otel/opentelemetry-collector-contrib:0.165.0",
                None,
                Some("opentelemetry-collector"),
            ),
            ("gcr.io/datadoghq/agent:7", None, Some("datadog")),
            ("nginx:1.27-alpine", None, Some("nginx")),
            // Services about a database are none.
            ("shop/kafka-consumer:1", None, None),
            ("shop/redis-cache-warmer", None, None),
            ("shop/mongo-api", None, None),
            ("shop/nginx-config-service", None, None),
            ("registry.example.com:5000/shop/cart:1.0", None, None),
            ("", None, None),
        ] {
            let name = ImageName::of(image);
            assert_eq!(name.database(), database, "{image}");
            assert_eq!(name.infrastructure(), infrastructure, "{image}");
        }
    }

    #[test]
    fn a_name_is_taken_apart_into_words_without_versions() {
        let name =
            ImageName::of("registry.example.com:5000/team-a/java17-cart_v2:3.1-slim@sha256:ab");
        assert_eq!(name.last, "java17-cart_v2");
        assert_eq!(name.words, ["team", "a", "java", "cart", "v"]);
        assert_eq!(name.tag_words, ["3", "1", "slim"]);
        assert!(ImageName::of("python:3.12-alpine3.20").is_musl());
        assert!(!ImageName::of("alpinesoft/python:3").is_musl());
    }
}
