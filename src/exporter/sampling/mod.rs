//! The plan of sampling for those who cannot ask for it: `sampling/plan.json`, `sampling/sdk.env` for SDKs, and
//! `sampling/collector-probabilistic.yaml` and `sampling/collector-tail.yaml` for Collectors.
//!
//! Names of services and operations come from whoever sends spans. They are written in quotes, in which neither YAML nor the
//! languages within it can be left.

mod probabilistic;
mod sdk;
mod tail;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use self::probabilistic::Probabilistic;
use self::sdk::Environment;
use self::tail::Tail;
use crate::exporter::files::{OutputDirectory, OutputFile, to_json};
use crate::exporter::{ExportError, Exporter};
use crate::model::report::Report;
use crate::model::sampling::SamplingPlan;

/// Section `exporters.sampling`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// Whether its files are written; default true. When false, files of an earlier run stay as they are.
    pub enabled: bool,
    /// Where SDKs reach `sampling_server.http`, as it stands in `sdk.env`. Default `http://localhost:5778`.
    pub http_url: String,
    /// Where SDKs reach `sampling_server.grpc`, as it stands in `sdk.env`. Default `http://localhost:14250`.
    pub grpc_url: String,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            http_url: "http://localhost:5778".to_owned(),
            grpc_url: "http://localhost:14250".to_owned(),
        }
    }
}

impl SamplingConfig {
    /// The key that is wrong, and why.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        // Neither a comma nor a space has a place in the variable that holds it.
        let is_url = |text: &str| {
            let rest = text.strip_prefix("http://");
            let rest = rest.or_else(|| text.strip_prefix("https://"));
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]".contains(&byte);
            rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(allowed))
        };
        let wrong = [
            ("exporters.sampling.http_url", &self.http_url),
            ("exporters.sampling.grpc_url", &self.grpc_url),
        ]
        .into_iter()
        .find(|(_, url)| !is_url(url));
        match wrong {
            None => Ok(()),
            Some((key, _)) => Err((key, "must be a URL such as http://slo-copilot:5778")),
        }
    }
}

/// Writes the plan.
pub(super) struct SamplingExporter {
    directory: OutputDirectory,
    config: SamplingConfig,
}

impl SamplingExporter {
    /// Writes to this directory.
    pub(super) fn new(directory: OutputDirectory, config: &SamplingConfig) -> Self {
        Self {
            directory,
            config: config.clone(),
        }
    }
}

#[async_trait]
impl Exporter for SamplingExporter {
    fn name(&self) -> &'static str {
        "sampling"
    }

    async fn export(&mut self, report: &Report) -> Result<(), ExportError> {
        if let Some(plan) = &report.sampling {
            let files = files(plan, report, &self.config)?;
            self.directory.publish(self.name(), files).await?;
        }
        Ok(())
    }
}

fn files(
    plan: &SamplingPlan,
    report: &Report,
    config: &SamplingConfig,
) -> Result<Vec<OutputFile>, ExportError> {
    let path = "sampling/plan.json";
    Ok(vec![
        OutputFile::fixed(path, to_json(path, plan)?),
        OutputFile::fixed("sampling/sdk.env", Environment(plan, config).to_string()),
        OutputFile::fixed(
            "sampling/collector-probabilistic.yaml",
            Probabilistic(plan).to_string(),
        ),
        OutputFile::fixed(
            "sampling/collector-tail.yaml",
            Tail(plan, report).to_string(),
        ),
    ])
}

/// A text in double quotes, as YAML, JSON and OTTL read it alike. What YAML calls unprintable is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                escape(&mut quoted, character);
            }
            control if control.is_control() => escape(&mut quoted, control),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

fn escape(quoted: &mut String, character: char) {
    quoted.extend(format!("\\u{:04x}", u32::from(character)).chars());
}

/// A text in the configuration of a Collector, which puts environment variables in the place of `${…}`.
fn setting(text: &str) -> String {
    quoted(&text.replace('$', "$$"))
}

/// A share in percent, without the digits that only binary fractions have.
fn percent(ratio: f64) -> f64 {
    const DIGITS: f64 = 1e9;
    (ratio * 100.0 * DIGITS).round() / DIGITS
}
