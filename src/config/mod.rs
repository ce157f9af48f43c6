//! The configuration: one file, environment variables, `--set`; each overrides the one before.
//!
//! `SLO_COPILOT__EVALUATOR__INTERVAL=5s` and `--set evaluator.interval=5s` are the key `interval` of section `evaluator`.
//! Values that look like YAML lists or maps are read as such. Unknown keys are errors that name the allowed ones.

mod objectives;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::evaluator::{canary, candidate};
use crate::model::slo::Objective;
use crate::model::window::Window;
use crate::outgoing::SettingError;
use crate::telemetry::LogFormat;
use crate::window::cohort::settings::RolloutsConfig;
use crate::window::settings::{SliConfig, WindowsConfig};
use crate::{adapter, api, evaluator, exporter, notify, pii, receiver, store, trace, tracetest};

pub(crate) use self::objectives::unknown_policy;
pub use self::objectives::{Adopt, ObjectiveConfig, ObjectivesConfig, SliKind};

const ENV_PREFIX: &str = "SLO_COPILOT__";

/// The whole configuration. Every key has a default: an empty file works.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where spans come in.
    pub receivers: receiver::Config,
    /// Where people and machines look.
    pub admin: api::Config,
    /// Where senders ask for their shares.
    pub sampling_server: api::sampling::Config,
    /// Bounds of what is held.
    pub windows: WindowsConfig,
    /// What counts as an event.
    pub sli: SliConfig,
    /// Objectives and candidates.
    pub objectives: ObjectivesConfig,
    /// Burn rates and verdicts.
    pub evaluator: evaluator::Config,
    /// What is recorded of rollouts.
    pub rollouts: RolloutsConfig,
    /// How a new version is compared with the old one.
    pub canary: canary::Settings,
    /// Trace-based tests.
    pub tests: tracetest::Config,
    /// What is taken out of traces, names and reports.
    pub pii: pii::Config,
    /// Whole traces.
    pub trace_buffer: trace::buffer::Config,
    /// The neighbours.
    pub adapters: adapter::Config,
    /// The embedded store.
    pub storage: store::Config,
    /// The output directory.
    pub output: exporter::OutputConfig,
    /// What is written to it.
    pub exporters: exporter::Config,
    /// Bounds of what is written.
    pub limits: exporter::LimitsConfig,
    /// Who is told what changed and what burns.
    pub notifiers: notify::Config,
    /// Logs on standard error.
    pub logs: LogsConfig,
    /// How the service stops.
    pub shutdown: ShutdownConfig,
}

/// Section `logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogsConfig {
    /// `text` for people, `json` for machines. Default text.
    pub format: LogFormat,
    /// Which lines, for example `info,slo_copilot=debug`. `RUST_LOG` wins. Default info.
    pub filter: String,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// Section `shutdown`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// Requests under way, the last evaluation and the last files have this long, requests at most half of it. Default
    /// 20s, less than the 30s that Kubernetes grants.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(20),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read the configuration {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A `--set` without `=`.
    #[error("--set {argument}: expected KEY=VALUE, for example --set evaluator.interval=5s")]
    Set {
        /// As typed.
        argument: String,
    },
    /// A key or value is wrong.
    #[error("the configuration{origin} is wrong: {message}")]
    Invalid {
        /// ` FILE`, or nothing.
        origin: String,
        /// What is wrong, with the allowed keys where a key is unknown.
        message: String,
    },
    /// A value is outside of what is allowed.
    #[error("configuration key {key}: {message}")]
    Value {
        /// The key.
        key: String,
        /// What is allowed.
        message: String,
    },
}

impl Config {
    /// Reads the file, then the environment, then `--set` arguments.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
                path: path.to_owned(),
                source,
            })?;
            builder = builder.add_source(config::File::from_str(&text, config::FileFormat::Yaml));
        }
        let variables = environment.into_iter().filter_map(|(name, value)| {
            Some((
                name.strip_prefix(ENV_PREFIX)?
                    .to_lowercase()
                    .replace("__", "."),
                value,
            ))
        });
        let mut overrides: Vec<(String, String)> = variables.collect();
        overrides.sort_unstable();
        for argument in sets {
            let pair = argument.split_once('=').filter(|(key, _)| !key.is_empty());
            let (key, value) = pair.ok_or_else(|| ConfigError::Set {
                argument: argument.clone(),
            })?;
            overrides.push((key.to_owned(), value.to_owned()));
        }
        let invalid = |error: config::ConfigError| ConfigError::Invalid {
            origin: file
                .map(|path| format!(" {}", path.display()))
                .unwrap_or_default(),
            message: with_remedy(error.to_string()),
        };
        for (key, text) in overrides {
            builder = builder
                .set_override(&key, value_of(&text))
                .map_err(invalid)?;
        }
        let loaded: Self = builder
            .build()
            .map_err(invalid)?
            .try_deserialize()
            .map_err(invalid)?;
        loaded.check()?;
        Ok(loaded)
    }

    /// The objectives of `objectives.list`.
    pub fn objectives(&self) -> Vec<Objective> {
        self.objectives
            .list
            .iter()
            .map(ObjectiveConfig::objective)
            .collect()
    }

    /// How candidates are fitted, with the bounds of the rules that they are replayed by.
    pub fn candidate_settings(&self) -> candidate::Settings {
        candidate::Settings {
            limits: self.evaluator.limits(),
            ..self.objectives.candidates.clone()
        }
    }

    /// What takes personal data and secrets out. Settings that cannot be used are refused when they are loaded; those
    /// that are made otherwise give way to the default ones here, so that nothing goes out unseen.
    pub fn scrubber(&self) -> pii::Scrubber {
        pii::Scrubber::new(&self.pii).unwrap_or_default()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.check_idle_timeouts()?;
        let ratio = self.evaluator.error_ratio_max;
        let tolerance = self.windows.future_tolerance;
        require(
            tolerance <= Duration::from_mins(5),
            "windows.future_tolerance",
            "must be at most 5m, since the finest slots hold no more",
        )?;
        require(
            self.evaluator.interval >= Duration::from_millis(100),
            "evaluator.interval",
            "must be at least 100ms",
        )?;
        require(
            ratio > 0.0 && ratio <= 1.0,
            "evaluator.error_ratio_max",
            "must be above 0 and at most 1",
        )?;
        self.check_counts()?;
        self.check_storage()?;
        self.check_rollouts()?;
        self.objectives.check_policies()?;
        let outgoing = self.notifiers.check();
        outgoing
            .and_then(|()| self.exporters.forward.check())
            .map_err(|SettingError { key, message }| ConfigError::Value { key, message })?;
        let scrubber = pii::Scrubber::new(&self.pii);
        scrubber
            .map_err(|pii::ConfigProblem { key, message }| ConfigError::Value { key, message })?;
        let (key, message) = self.tests.check().err().unwrap_or_default();
        require(key.is_empty(), key, message)?;
        let (key, message) = self.sampling_server.check().err().unwrap_or_default();
        require(key.is_empty(), key, message)?;
        let (key, message) = self.exporters.sampling.check().err().unwrap_or_default();
        require(key.is_empty(), key, message)?;
        let trace_buffer = self.trace_buffer.check();
        let (key, message) = trace_buffer.err().unwrap_or_default();
        require(trace_buffer.is_ok(), key, message)?;
        let adapters = self.adapters.check();
        let (key, message) = adapters.err().unwrap_or_default();
        require(adapters.is_ok(), key, message)?;
        let largest = 1..=u64::from(u32::MAX);
        require(
            largest.contains(&self.receivers.otlp.max_request_bytes),
            "receivers.otlp.max_request_bytes",
            "must be between 1 and 4294967295",
        )?;
        require(
            is_period(self.objectives.candidates.period),
            "objectives.candidates.period",
            PERIODS,
        )?;
        let mut names = BTreeSet::new();
        for (at, objective) in self.objectives.list.iter().enumerate() {
            let key = format!("objectives.list[{at}]");
            objective.check(&key)?;
            require(
                names.insert(&objective.name),
                &key,
                "its name is used twice",
            )?;
        }
        self.check_composites()
    }

    fn check_idle_timeouts(&self) -> Result<(), ConfigError> {
        for (key, idle) in [
            (
                "receivers.otlp.idle_timeout",
                self.receivers.otlp.idle_timeout,
            ),
            ("admin.idle_timeout", self.admin.idle_timeout),
        ] {
            require(idle >= Duration::from_secs(1), key, "must be at least 1s")?;
        }
        Ok(())
    }

    /// Members of one composite must be measured alike, and no objective may have its name.
    fn check_composites(&self) -> Result<(), ConfigError> {
        let objectives = self.objectives();
        for (at, objective) in objectives.iter().enumerate() {
            let Some(composite) = &objective.composite else {
                continue;
            };
            let name = &composite.name;
            let is_member = |other: &&Objective| {
                let theirs = other.composite.as_ref();
                theirs.is_some_and(|theirs| theirs.name == *name)
            };
            let message = if objectives.iter().any(|other| other.name == *name) {
                format!("`{name}` is the name of an objective; use another one")
            } else if let Some(first) = objectives.iter().find(is_member)
                && let Err(shared) = first.agrees_with(objective)
            {
                format!(
                    "the members `{}` and `{}` of `{name}` must have the same {shared}",
                    first.name, objective.name
                )
            } else {
                continue;
            };
            let key = format!("objectives.list[{at}].composite");
            return Err(ConfigError::Value { key, message });
        }
        Ok(())
    }

    fn check_rollouts(&self) -> Result<(), ConfigError> {
        let rollouts = &self.rollouts;
        let bounds = Duration::from_mins(10)..=Duration::from_hours(24);
        require(
            bounds.contains(&rollouts.window),
            "rollouts.window",
            "must be from 10m to 24h",
        )?;
        require(
            rollouts.silent_after >= Duration::from_mins(1),
            "rollouts.silent_after",
            "must be at least 1m",
        )?;
        require(
            !self.sli.version_attribute.is_empty(),
            "sli.version_attribute",
            "must name an attribute, for example service.version",
        )?;
        self.canary
            .check()
            .map_err(|(key, message)| ConfigError::Value {
                key: format!("canary.{key}"),
                message: message.to_owned(),
            })
    }

    fn check_storage(&self) -> Result<(), ConfigError> {
        let storage = &self.storage;
        require(
            storage.checkpoint_interval >= Duration::from_secs(1),
            "storage.checkpoint_interval",
            "must be at least 1s",
        )?;
        require(
            storage.wal_max_bytes >= 1 << 20,
            "storage.wal_max_bytes",
            "must be at least 1048576",
        )
    }

    /// What must not be 0.
    fn check_counts(&self) -> Result<(), ConfigError> {
        let streams = self.receivers.otlp.grpc.max_concurrent_streams;
        let counts = [
            ("windows.max_series", self.windows.max_series == 0),
            ("windows.max_services", self.windows.max_services == 0),
            ("receivers.otlp.grpc.max_concurrent_streams", streams == 0),
            (
                "limits.canary_executions",
                self.limits.canary_executions == 0,
            ),
            ("storage.history_days", self.storage.history_days == 0),
            ("storage.max_incidents", self.storage.max_incidents == 0),
            (
                "storage.max_history_per_slo",
                self.storage.max_history_per_slo == 0,
            ),
        ];
        match counts.into_iter().find(|(_, is_zero)| *is_zero) {
            None => Ok(()),
            Some((key, _)) => Err(ConfigError::Value {
                key: key.to_owned(),
                message: "must be at least 1".to_owned(),
            }),
        }
    }
}

/// What is wrong with a value, with what to write instead where the reader of the value does not say it.
fn with_remedy(mut message: String) -> String {
    let remedies = [
        (
            "expected a duration",
            "write a number with its unit, for example 500ms, 5s, 10m or 7d",
        ),
        (
            "invalid socket address syntax",
            "write an IP address and a port, for example 127.0.0.1:9464, 0.0.0.0:9464 or \"[::1]:9464\"; names such as localhost are not looked up",
        ),
        (
            "expected an integer",
            "write digits alone; sizes are in bytes, so that 20 MiB are 20971520",
        ),
        (
            "expected a floating point",
            "write a number, for example 0.9",
        ),
    ];
    for (problem, remedy) in remedies {
        if message.contains(problem) {
            message.push_str("; ");
            message.push_str(remedy);
            break;
        }
    }
    message
}

const PERIODS: &str = "must be 7d, 28d or 30d";

/// Shorter periods would need burn-rate windows shorter than those that are held.
fn is_period(window: Window) -> bool {
    matches!(window, Window::D7 | Window::D28 | Window::D30)
}

/// Lists and maps in YAML's flow style are read as such, everything else is text, which the fields read as what they are.
fn value_of(text: &str) -> config::Value {
    let structured = text.starts_with('[') || text.starts_with('{');
    let parsed = structured
        .then(|| serde_saphyr::from_str::<serde_json::Value>(text).ok())
        .flatten();
    parsed.map_or_else(|| text.into(), |value| json_value(&value))
}

fn json_value(value: &serde_json::Value) -> config::Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => config::Value::new(None, config::ValueKind::Nil),
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => number
            .as_i64()
            .map_or_else(|| number.as_f64().unwrap_or(f64::NAN).into(), Into::into),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => items.iter().map(json_value).collect::<Vec<_>>().into(),
        Json::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| (key.clone(), json_value(value)));
            fields.collect::<config::Map<_, _>>().into()
        }
    }
}

/// Refuses the value of a key unless it holds.
fn require(holds: bool, key: &str, message: &str) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError::Value {
            key: key.to_owned(),
            message: message.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::slo::EmptySlices;
    use crate::model::slo::{Budgeting, Sli};

    fn load(sets: &[&str]) -> Result<Config, ConfigError> {
        Config::load(
            None,
            [],
            &sets.iter().map(|set| (*set).to_owned()).collect::<Vec<_>>(),
        )
    }

    fn check_error(set: &str, words: &[&str]) {
        let error = load(&[set]).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{set}: `{word}` is not in: {error}");
        }
    }

    #[test]
    fn nothing_said_gives_the_defaults() {
        assert_eq!(load(&[]).unwrap(), Config::default());
    }

    #[test]
    fn a_set_overrides_the_environment_and_that_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yaml");
        std::fs::write(
            &path,
            "evaluator: {interval: 1s, recovery: 1s, min_bad_events: 1}",
        )
        .unwrap();
        let environment = [
            (
                "SLO_COPILOT__EVALUATOR__INTERVAL".to_owned(),
                "2s".to_owned(),
            ),
            (
                "SLO_COPILOT__EVALUATOR__RECOVERY".to_owned(),
                "2s".to_owned(),
            ),
            ("OTHER__EVALUATOR__INTERVAL".to_owned(), "9s".to_owned()),
        ];
        let config =
            Config::load(Some(&path), environment, &["evaluator.interval=3s".into()]).unwrap();
        let evaluator = config.evaluator;
        assert_eq!(evaluator.interval, Duration::from_secs(3));
        assert_eq!(evaluator.recovery, Duration::from_secs(2));
        assert_eq!(evaluator.min_bad_events, 1);
    }

    #[test]
    fn lists_can_be_set() {
        let config = load(&[r#"sli.exclude=["/a", "/b*"]"#, "sli.span_kinds=[server]"]).unwrap();
        assert_eq!(config.sli.exclude, ["/a", "/b*"]);
        let objective =
            "objectives.list=[{name: a, service: s, sli: latency, threshold: 300ms, target: 0.99}]";
        let sli = load(&[objective]).unwrap().objectives()[0].sli;
        assert_eq!(
            sli,
            Sli::Latency {
                threshold_micros: 300_000
            }
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_the_allowed_ones() {
        check_error(
            "evaluator.intervall=5s",
            &["intervall", "interval", "recovery"],
        );
        check_error(
            "evaluater.interval=5s",
            &["evaluater", "evaluator", "receivers"],
        );
        check_error("receivers.otlp.grpc.port=1", &["port", "endpoint"]);
    }

    #[test]
    fn a_value_of_the_wrong_shape_is_told_with_what_to_write() {
        for (set, words) in [
            ("evaluator.interval=5", ["evaluator.interval", "5s"]),
            (
                "admin.endpoint=localhost:9464",
                ["admin.endpoint", "127.0.0.1:9464"],
            ),
            (
                "trace_buffer.max_bytes=20MiB",
                ["trace_buffer.max_bytes", "20971520"],
            ),
            (
                "adapters.coverage.target=90%",
                ["adapters.coverage.target", "0.9"],
            ),
            (
                "admin.idle_timeout=10ms",
                ["admin.idle_timeout", "at least 1s"],
            ),
            ("=x", ["--set =x", "KEY=VALUE"]),
        ] {
            check_error(set, &words);
        }
    }

    #[test]
    fn a_wrong_bound_of_rollouts_is_named_with_its_remedy() {
        for (set, words) in [
            ("rollouts.window=1m", ["rollouts.window", "10m to 24h"]),
            ("rollouts.silent_after=1s", ["silent_after", "at least 1m"]),
            (
                "sli.version_attribute=",
                ["version_attribute", "service.version"],
            ),
        ] {
            check_error(set, &words);
        }
    }

    #[test]
    fn a_wrong_value_is_named_with_its_remedy() {
        check_error("nonsense", &["KEY=VALUE"]);
        check_error("evaluator.interval=soon", &["interval"]);
        check_error("evaluator.interval=1ms", &["evaluator.interval", "100ms"]);
        check_error(
            "windows.future_tolerance=1h",
            &["windows.future_tolerance", "5m"],
        );
        for key in [
            "storage.history_days",
            "storage.max_history_per_slo",
            "limits.canary_executions",
        ] {
            check_error(&format!("{key}=0"), &[key, "at least 1"]);
        }
        check_error(
            "storage.checkpoint_interval=10ms",
            &["storage.checkpoint_interval", "at least 1s"],
        );
        check_error(
            "storage.wal_max_bytes=1000",
            &["storage.wal_max_bytes", "at least 1048576"],
        );
        check_error("storage.durability=raid", &["storage.durability", "raid"]);
        check_error(
            "objectives.candidates.period=5m",
            &["candidates.period", "7d, 28d or 30d"],
        );
        check_error("sli.sampling=2", &["sampling", "ratio"]);
        let list = |fields: &str| format!("objectives.list=[{{name: a, service: s, {fields}}}]");
        check_error(
            &list("sli: availability, target: 99.9"),
            &["objectives.list[0].target", "0.999"],
        );
        check_error(
            &list("sli: latency, target: 0.9"),
            &["objectives.list[0].threshold", "300ms"],
        );
        check_error(
            &list("sli: availability, target: 0.9, window: 5m"),
            &["objectives.list[0].window", "7d to 400d"],
        );
        check_error(
            "objectives.list=[{name: My API, service: s, sli: availability, target: 0.9}]",
            &["objectives.list[0].name", "my-api"],
        );
    }

    #[test]
    fn a_wrong_value_about_versions_is_named_with_its_remedy() {
        for (set, words) in [
            (
                "canary.confidence=1",
                ["canary.confidence", "0.9 to 0.9999"],
            ),
            (
                "canary.error_tolerance=0",
                ["canary.error_tolerance", "above 0"],
            ),
            (
                "canary.latency_tolerance=0",
                ["canary.latency_tolerance", "above 0"],
            ),
            (
                "canary.tail_tolerance=-1",
                ["canary.tail_tolerance", "above 0"],
            ),
            (
                "canary.min_shift_share=1",
                ["canary.min_shift_share", "0 to 0.9"],
            ),
            (
                "canary.tail_quantiles=[0.4]",
                ["canary.tail_quantiles", "0.5 to 0.999"],
            ),
            ("canary.new_error_kinds=panic", ["panic", "new_error_kinds"]),
            ("canary.tolerance=1", ["tolerance", "error_tolerance"]),
        ] {
            check_error(set, &words);
        }
        for (set, words) in [
            ("rollouts.window=1m", ["rollouts.window", "10m to 24h"]),
            ("rollouts.silent_after=1s", ["silent_after", "at least 1m"]),
            (
                "sli.version_attribute=",
                ["version_attribute", "service.version"],
            ),
        ] {
            check_error(set, &words);
        }
    }

    #[test]
    fn every_budgeting_method_and_period_can_be_set() {
        let list = "objectives.list=[{name: a, service: s, sli: availability, target: 0.99, \
            window: {duration: 1M, start_time: '2026-01-01 00:00:00', time_zone: Europe/Berlin}, \
            budgeting: {method: timeslices, slice: 5m, slice_target: 0.95, empty: excluded}, \
            composite: {name: shop, weight: 2}}, \
            {name: b, service: t, sli: availability, target: 0.9, window: 90d, \
            budgeting: {method: ratio_timeslices, slice: 1h}}]";
        let objectives = load(&[list]).unwrap().objectives();
        let [calendar, rolling] = [&objectives[0], &objectives[1]];
        assert_eq!(calendar.window.label(), "1M calendar");
        let timeslices = Budgeting::Timeslices {
            slice_target: 0.95,
            slice: "5m".parse().unwrap(),
            empty: EmptySlices::Excluded,
        };
        assert_eq!(calendar.budgeting, timeslices);
        assert_eq!(calendar.composite.as_ref().unwrap().name, "shop");
        assert_eq!(rolling.window.label(), "90d");
        let by_hours = Budgeting::RatioTimeslices {
            slice: "1h".parse().unwrap(),
            empty: EmptySlices::Good,
        };
        assert_eq!(rolling.budgeting, by_hours);
    }

    #[test]
    fn a_wrong_budget_is_named_with_its_remedy() {
        let list = |fields: &str| {
            format!(
                "objectives.list=[{{name: a, service: s, sli: availability, target: 0.9, {fields}}}]"
            )
        };
        let zone =
            "window: {duration: 1M, start_time: '2026-01-01 00:00:00', time_zone: Mars/Base}";
        check_error(&list(zone), &["list[0].window", "Mars/Base", "IANA"]);
        check_error(&list("window: soon"), &["soon", "such as 30d"]);
        let incomplete = "window: {duration: 1M}";
        check_error(&list(incomplete), &["start_time"]);
        let slice = |slice: &str| {
            list(&format!(
                "budgeting: {{method: ratio_timeslices, slice: {slice}}}"
            ))
        };
        check_error(&slice("7m"), &["list[0].budgeting.slice", "divide a day"]);
        check_error(
            &list("budgeting: {method: timeslices, slice: 5m, slice_target: 99}"),
            &["list[0].budgeting.slice_target", "0.99"],
        );
        check_error(
            &list("composite: {name: My Shop, weight: 1}"),
            &["list[0].composite.name", "my-shop"],
        );
        check_error(
            &list("composite: {name: shop, weight: 0}"),
            &["list[0].composite.weight", "above 0"],
        );
        check_error(
            &list("composite: {name: a, weight: 1}"),
            &["list[0].composite", "name of an objective"],
        );
        let members = |second: &str| {
            format!(
                "objectives.list=[{{name: a, service: s, sli: availability, target: 0.9, \
                composite: {{name: shop, weight: 1}}}}, {{name: b, service: s, sli: availability, \
                composite: {{name: shop, weight: 1}}, {second}}}]"
            )
        };
        check_error(
            &members("target: 0.9, window: 7d"),
            &["list[1].composite", "`a` and `b`", "same window"],
        );
        check_error(
            &members("target: 0.9, budgeting: {method: ratio_timeslices, slice: 5m}"),
            &["list[1].composite", "budgeting method"],
        );
        assert!(load(&[&members("target: 0.99")]).is_ok());
    }
}
