//! What becomes of each container and each workload.

use std::collections::{BTreeMap, BTreeSet};

use super::command::CommandLine;
use super::image::ImageName;
use super::language::{self, Evidence, Guess, Language, OWN_KEY};
use super::model::{ContainerPlan, EnvSetting, Mode, Outcome, WorkloadPlan};
use super::settings::{
    COLLECTOR, INSTRUMENTATION, PROPAGATORS, Settings, common_environment,
    remote_sampler_environment,
};
use crate::adapter::kubernetes::{Container, EnvValue, KubeNamespace, Workload, WorkloadKind};

/// How the Operator's annotations begin.
const OPERATOR: &str = "instrumentation.opentelemetry.io/";

/// The annotation by which the Operator puts a Collector into a pod.
const SIDECAR: &str = "sidecar.opentelemetry.io/inject";

/// The Operator's words for what it injects: languages, and `sdk` for the environment of an SDK that is there.
const INJECTED: [&str; 6] = ["java", "nodejs", "python", "dotnet", "go", "sdk"];

/// Variables that agents of the Operator extend; it cannot extend one that is taken from elsewhere.
const EXTENDED: [(&str, Language); 3] = [
    ("JAVA_TOOL_OPTIONS", Language::Java),
    ("NODE_OPTIONS", Language::Nodejs),
    ("PYTHONPATH", Language::Python),
];

/// Agents of others, by words of the options that load them.
const OTHER_AGENTS: [(&str, &str); 6] = [
    ("dd-java-agent", "Datadog"),
    ("dd-trace", "Datadog"),
    ("newrelic", "New Relic"),
    ("elastic-apm", "Elastic APM"),
    ("applicationinsights", "Application Insights"),
    ("appdynamics", "AppDynamics"),
];

/// Why a second Go program of a pod is left out.
const ONE_GO_PROGRAM: &str = "the Operator watches one Go program in a pod, and another container is that one: put them into two workloads";

/// Decides about a workload.
pub(super) fn decide(
    workload: &Workload,
    namespace: Option<&KubeNamespace>,
    mode: Mode,
    settings: &Settings,
) -> WorkloadPlan {
    let surroundings = Surroundings {
        workload,
        namespace,
        mode,
        settings,
    };
    let mut has_main = false;
    let mut containers: Vec<ContainerPlan> = workload
        .containers
        .iter()
        .map(|container| {
            let image = ImageName::of(&container.image);
            let is_helper = image.database().is_some() || image.infrastructure().is_some();
            let is_main = !is_helper && !has_main;
            has_main |= is_main;
            surroundings.container(container, &image, is_main)
        })
        .collect();
    one_go_program(&mut containers);
    let annotations = surroundings.annotations(&containers);
    let best = containers.iter().min_by_key(|found| found.outcome);
    let (outcome, reason) = best.map_or_else(
        || (Outcome::Unknown, "it has no containers".to_owned()),
        |found| (found.outcome, found.reason.clone()),
    );
    WorkloadPlan {
        kind: workload.kind,
        namespace: workload.namespace.clone(),
        name: workload.name.clone(),
        service_name: workload.service_name(),
        outcome,
        reason,
        containers,
        annotations,
        patch: None,
        source: format!("{}:{}", workload.source.file, workload.source.line),
    }
}

/// The Operator watches one Go program of a pod.
fn one_go_program(containers: &mut [ContainerPlan]) {
    let is_go = |found: &&mut ContainerPlan| {
        found.outcome == Outcome::Instrument && found.language == Some(Language::Go)
    };
    for further in containers.iter_mut().filter(is_go).skip(1) {
        further.outcome = Outcome::Blocked;
        ONE_GO_PROGRAM.clone_into(&mut further.reason);
    }
}

struct Surroundings<'a> {
    workload: &'a Workload,
    namespace: Option<&'a KubeNamespace>,
    mode: Mode,
    settings: &'a Settings,
}

impl Surroundings<'_> {
    fn container(&self, container: &Container, image: &ImageName, is_main: bool) -> ContainerPlan {
        let line = CommandLine::of(&container.command, &container.args);
        let evidence = language::evidence(self.workload, container, &line, is_main);
        let mut plan = ContainerPlan {
            name: container.name.clone(),
            image: container.image.clone(),
            language: None,
            confidence: 0.0,
            evidence,
            outcome: Outcome::Unknown,
            reason: String::new(),
            env: Vec::new(),
        };
        if let Some(name) = image.database() {
            plan.outcome = Outcome::Database;
            plan.reason = format!("{name} is seen through the spans of its clients");
            plan.evidence.clear();
            return plan;
        }
        if let Some(name) = image.infrastructure() {
            plan.outcome = Outcome::Infrastructure;
            plan.reason = format!("{name} is no application");
            plan.evidence.clear();
            return plan;
        }
        let guess = language::guess(&plan.evidence);
        if let Guess::One(language, confidence) = guess {
            plan.language = Some(language);
            plan.confidence = (confidence * 100.0).round() / 100.0;
        }
        (plan.outcome, plan.reason) = self
            .present(container, &line, plan.language)
            .unwrap_or_else(|| self.wanted(container, &line, &guess, &plan.evidence));
        if plan.outcome == Outcome::Configure && !self.settings.uses_operator {
            plan.env = self.environment(container, plan.language);
        }
        plan
    }

    /// What is there already, if anything is.
    fn present(
        &self,
        container: &Container,
        line: &CommandLine,
        language: Option<Language>,
    ) -> Option<(Outcome, String)> {
        // What is injected into another language is about another container.
        let concerns = |word: &&str| {
            *word == "sdk" || language.is_none_or(|language| language.injected_as() == Some(word))
        };
        for word in INJECTED.into_iter().filter(concerns) {
            let key = format!("{OPERATOR}inject-{word}");
            match self.annotation(&key) {
                Some(value) if value.eq_ignore_ascii_case("false") => {
                    let reason = format!(
                        "{key} is \"false\" there, which stands: take it out to have it instrumented"
                    );
                    return Some((Outcome::Blocked, reason));
                }
                Some(value) => {
                    let reason = format!(
                        "{key}: {value} is there already: let that Instrumentation send to the Collector"
                    );
                    return Some((Outcome::Already, reason));
                }
                None => {}
            }
        }
        let loaded = loaded_agents(container, line);
        let is_open = |text: &String| text.to_lowercase().contains("opentelemetry");
        if let Some(agent) =
            foreign_agent(&loaded).or(line.agent.filter(|agent| *agent != "OpenTelemetry"))
        {
            let reason = format!(
                "the agent of {agent} runs in it, and two agents in one process disturb each other: take that one out first"
            );
            return Some((Outcome::Blocked, reason));
        }
        for name in [
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ] {
            if container.has_env(name) {
                let to = container
                    .env(name)
                    .unwrap_or("what the manifests do not tell");
                let reason = format!(
                    "its SDK sends to {to} already: let that pass the spans on to {}",
                    self.settings.slo_copilot_address()
                );
                return Some((Outcome::Already, reason));
            }
        }
        let has_sdk = line.agent.is_some()
            || loaded.iter().any(is_open)
            || container
                .env
                .iter()
                .any(|variable| variable.name.starts_with("OTEL_"));
        has_sdk.then(|| {
            self.configured("an SDK of OpenTelemetry is in it, which is told where to send")
        })
    }

    fn configured(&self, reason: &str) -> (Outcome, String) {
        if !self.settings.uses_operator && self.workload.kind == WorkloadKind::Rollout {
            let reason = "kubectl cannot merge lists of a Rollout: add the variables to its manifest, as those of the other workloads here";
            return (Outcome::Blocked, reason.to_owned());
        }
        (Outcome::Configure, reason.to_owned())
    }

    /// What can be done with a container that is not instrumented.
    fn wanted(
        &self,
        container: &Container,
        line: &CommandLine,
        guess: &Guess,
        evidence: &[Evidence],
    ) -> (Outcome, String) {
        let language = match guess {
            Guess::One(language, _) => *language,
            Guess::Several(one, other) => {
                let reason =
                    format!("{one} or {other}: say which with the label {OWN_KEY} on its pods");
                return (Outcome::Blocked, reason);
            }
            Guess::None => {
                let hints = if evidence.is_empty() {
                    "nothing tells"
                } else {
                    "too little tells"
                };
                let reason =
                    format!("{hints} its language: say it with the label {OWN_KEY} on its pods");
                return (Outcome::Unknown, reason);
            }
        };
        if !self.settings.uses_operator {
            return self.configured(&format!(
                "variables for {language}; they work once its SDK or agent is in the image"
            ));
        }
        let Some(word) = language.injected_as() else {
            return (Outcome::Unsupported, unsupported(language));
        };
        if self.workload.runs_windows || ImageName::of(&container.image).is_windows() {
            let reason = format!(
                "it runs on Windows, and what the Operator injects is built for Linux, so that the pod would not start: add the agent of {language} to the image, then plan again"
            );
            return (Outcome::Unsupported, reason);
        }
        let reference = EXTENDED.iter().find(|(name, of)| {
            let given = container
                .env
                .iter()
                .any(|variable| variable.name == *name && variable.value == EnvValue::Unknown);
            *of == language && given
        });
        if let Some((name, _)) = reference {
            let reason = format!(
                "{name} is taken from elsewhere, and the Operator cannot extend that: write its value into the manifest"
            );
            return (Outcome::Blocked, reason);
        }
        if language == Language::Go && self.go_executable(container, line).is_none() {
            let reason = format!(
                "the Operator needs the path of a Go program: give the container a `command`, or its pods the annotation {OPERATOR}otel-go-auto-target-exe"
            );
            return (Outcome::Blocked, reason);
        }
        let because = evidence.iter().filter(|hint| hint.language == language);
        let because: Vec<&str> = because.map(|hint| hint.detail.as_str()).collect();
        let reason = format!("{language} by {}; inject-{word}", because.join(", "));
        (Outcome::Instrument, reason)
    }

    fn go_executable(&self, container: &Container, line: &CommandLine) -> Option<String> {
        let key = format!("{OPERATOR}otel-go-auto-target-exe");
        let said = self.workload.pod_annotations.get(&key).cloned();
        let from_env = container.env("OTEL_GO_AUTO_TARGET_EXE").map(str::to_owned);
        let named = line.executable.clone().filter(|path| path.starts_with('/'));
        said.or(from_env).or(named)
    }

    /// An annotation of the Operator: of the pod, else of its namespace.
    fn annotation(&self, key: &str) -> Option<&str> {
        let of_pod = self.workload.pod_annotations.get(key);
        let of_namespace = self
            .namespace
            .and_then(|namespace| namespace.annotations.get(key));
        of_pod.or(of_namespace).map(String::as_str)
    }

    /// The environment of an SDK where no Operator sets it; what is there stays.
    fn environment(&self, container: &Container, language: Option<Language>) -> Vec<EnvSetting> {
        let mut settings = Vec::new();
        if self.mode == Mode::Daemonset {
            settings.push(EnvSetting::field("OTEL_NODE_IP", "status.hostIP"));
        }
        settings.push(EnvSetting::text(
            "OTEL_SERVICE_NAME",
            self.workload.service_name(),
        ));
        let endpoint = self.settings.application_endpoint(self.mode);
        settings.push(EnvSetting::text("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
        settings.extend(common_environment());
        settings.push(EnvSetting::text("OTEL_PROPAGATORS", PROPAGATORS.join(",")));
        if let (Some(address), Some(Language::Java)) = (&self.settings.remote_sampler, language) {
            settings.extend(remote_sampler_environment(address));
        }
        settings.retain(|setting| !container.has_env(&setting.name));
        settings
    }

    /// Annotations of the pod template; those that are there stay as they are.
    fn annotations(&self, containers: &[ContainerPlan]) -> BTreeMap<String, String> {
        let mut annotations = BTreeMap::new();
        if !self.settings.uses_operator {
            return annotations;
        }
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for container in containers {
            let word = match (container.outcome, container.language) {
                (Outcome::Instrument, Some(language)) => language.injected_as(),
                (Outcome::Configure, _) => Some("sdk"),
                _ => None,
            };
            if let Some(word) = word {
                names.entry(word).or_default().push(&container.name);
            }
        }
        if names.is_empty() {
            return annotations;
        }
        let namespace = &self.settings.namespace;
        let mut set = |key: String, value: String| annotations.insert(key, value);
        for (word, containers) in &names {
            let target = format!("{namespace}/{INSTRUMENTATION}");
            set(format!("{OPERATOR}inject-{word}"), target);
            if names.len() > 1 {
                // Each language its containers; the common annotation holds for one language only.
                set(
                    format!("{OPERATOR}{word}-container-names"),
                    containers.join(","),
                );
            } else if self.workload.containers.len() > 1 {
                set(format!("{OPERATOR}container-names"), containers.join(","));
            }
        }
        if self.mode == Mode::Sidecar {
            set(SIDECAR.to_owned(), format!("{namespace}/{COLLECTOR}"));
        }
        for (container, plan) in self.workload.containers.iter().zip(containers) {
            if plan.outcome != Outcome::Instrument {
                continue;
            }
            let is_musl = ImageName::of(&container.image).is_musl();
            match plan.language {
                Some(Language::Python) if is_musl => {
                    set(format!("{OPERATOR}otel-python-platform"), "musl".to_owned());
                }
                Some(Language::Dotnet) if is_musl => {
                    set(
                        format!("{OPERATOR}otel-dotnet-auto-runtime"),
                        "linux-musl-x64".to_owned(),
                    );
                }
                Some(Language::Go) => {
                    let line = CommandLine::of(&container.command, &container.args);
                    if let Some(path) = self.go_executable(container, &line) {
                        set(format!("{OPERATOR}otel-go-auto-target-exe"), path);
                    }
                }
                _ => {}
            }
        }
        let there: BTreeSet<&String> = self.workload.pod_annotations.keys().collect();
        annotations.retain(|key, _| !there.contains(key));
        annotations
    }
}

/// Options that load code into the process.
fn loaded_agents(container: &Container, line: &CommandLine) -> Vec<String> {
    let from_env = [
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "JAVA_OPTS",
        "NODE_OPTIONS",
    ]
    .iter()
    .filter_map(|name| container.env(name).map(str::to_owned));
    let is_loader = |word: &&String| {
        word.starts_with("-javaagent:")
            || word.contains("opentelemetry")
            || word.contains("dd-trace")
    };
    from_env
        .chain(line.arguments.iter().filter(is_loader).cloned())
        .collect()
}

fn foreign_agent(loaded: &[String]) -> Option<&'static str> {
    let mut known = OTHER_AGENTS.iter();
    let found =
        known.find(|(word, _)| loaded.iter().any(|text| text.to_lowercase().contains(word)));
    found.map(|(_, agent)| *agent)
}

/// What to do about a language that nothing is injected into.
fn unsupported(language: Language) -> String {
    let remedy = match language {
        Language::Ruby => "add the gem opentelemetry-instrumentation-all to it",
        Language::Php => {
            "add the extension opentelemetry and the packages of its frameworks to the image"
        }
        Language::Rust => "add the crates opentelemetry and tracing-opentelemetry to it",
        Language::Cpp => "add opentelemetry-cpp to it",
        Language::Elixir
        | Language::Java
        | Language::Nodejs
        | Language::Python
        | Language::Dotnet
        | Language::Go => "add its SDK of OpenTelemetry to it",
    };
    format!(
        "no released OpenTelemetry Operator injects anything into {language}: {remedy}, then plan again; or run OBI (eBPF) on the nodes, which sees its \
         HTTP, gRPC and SQL calls without code"
    )
}
