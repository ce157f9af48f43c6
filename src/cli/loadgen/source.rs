//! Which model the traffic is made of, and what goes wrong in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use humantime_serde::re::humantime::parse_duration;
use jiff::Timestamp;
use serde::Deserialize;

use crate::cli::Usage;
use crate::model::finding::yaml_fault;
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::traffic::generate::{Generator, Plan};
use crate::traffic::model::{Model, ScheduledFault};
use crate::traffic::shop;

/// Event time that a file covers unless it is said.
const DEFAULT_FILE_TIME: Duration = Duration::from_hours(1);

/// The traffic of a model.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ModelArgs {
    /// Traffic of this model (YAML; see examples/traffic/shop.yaml), at the rates that it names unless --rate is given
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,

    /// More faults for the model or the shop: a YAML file with a list `faults` as a model has it
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,

    /// Let a service of the model run this version alone; may be repeated
    #[arg(long = "service-version", value_name = "SERVICE=VERSION")]
    pub versions: Vec<String>,

    /// Multiply the rates of the model
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_factor)]
    pub scale: f64,

    /// Write the traffic of the model (the shop without --model) into a file instead of sending it: .jsonl for OTLP/JSON
    /// lines, .pb for protobuf with lengths, and .gz or .zst after it
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Event time at which the traffic of a file begins, RFC 3339 [default: --for before now]
    #[arg(long, value_name = "TIME", requires = "output")]
    pub from: Option<Timestamp>,

    /// Event time that a file covers [default: 1h]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration, requires = "output")]
    pub lasts: Option<Duration>,

    /// Learn a model from trace files, directories or globs, and write it
    #[arg(long, value_name = "TRACE", num_args = 1.., conflicts_with_all = ["model", "output"])]
    pub learn: Vec<String>,

    /// Where a learnt model goes [default: standard output]
    #[arg(
        short = 'o',
        long = "model-out",
        value_name = "FILE",
        requires = "learn"
    )]
    pub model_out: Option<PathBuf>,
}

fn parse_factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        Ok(_) | Err(_) => Err("a number above 0".to_owned()),
    }
}

/// A file of faults.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultFile {
    faults: Vec<ScheduledFault>,
}

impl ModelArgs {
    /// A generator of the model, or of the shop.
    pub(super) fn generator(&self, seed: u64) -> anyhow::Result<Generator> {
        let (mut model, name) = match &self.model {
            Some(path) => (Model::read(path)?, path.display().to_string()),
            None => (shop::model(), "the shop".to_owned()),
        };
        if let Some(path) = &self.faults {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let file: FaultFile = serde_saphyr::from_str(&text).map_err(|error| {
                let file = path.display().to_string();
                Usage(format!("{file}: {}", yaml_fault(&file, &error.to_string())))
            })?;
            model.faults.extend(file.faults);
        }
        for argument in &self.versions {
            let wanted = || {
                Usage(format!(
                    "--service-version {argument}: expected SERVICE=VERSION"
                ))
            };
            let (service, version) = argument.split_once('=').ok_or_else(wanted)?;
            let known: Vec<String> = model.services.keys().cloned().collect();
            let own = model.services.get_mut(service).ok_or_else(|| {
                let known = known.join(", ");
                Usage(format!(
                    "--service-version {argument}: {name} has no such service; there are {known}"
                ))
            })?;
            own.versions = [(version.to_owned(), 1.0)].into();
        }
        model.check(&name)?;
        if model.load.is_empty() {
            return Err(Usage(format!(
                "{name} has no load: say under `load` what is asked and how often"
            ))
            .into());
        }
        Ok(Generator::new(Arc::new(Plan::new(&model)), seed))
    }

    /// An option that says something about a model, if one is given.
    pub(super) fn given_for_a_model(&self) -> Option<&'static str> {
        let given = [
            ("--faults", self.faults.is_some()),
            ("--service-version", !self.versions.is_empty()),
            ("--scale", self.scale.to_bits() != 1_f64.to_bits()),
        ];
        let first = given.into_iter().find(|(_, is_given)| *is_given);
        first.map(|(option, _)| option)
    }

    /// Event time that a file covers.
    pub(super) fn lasts(&self) -> Duration {
        self.lasts.unwrap_or(DEFAULT_FILE_TIME)
    }

    /// When the traffic of a file begins.
    pub(super) fn starts_at(&self, now: UnixNanos) -> anyhow::Result<UnixNanos> {
        if let Some(from) = self.from {
            return u64::try_from(from.as_nanosecond())
                .context("--from lies before 1970 or after 2554");
        }
        let lasts = u64::try_from(self.lasts().as_nanos()).unwrap_or(u64::MAX);
        // Whole seconds, so that the command line that is shown tells the same story again.
        Ok(now.saturating_sub(lasts) / NANOS_PER_SEC * NANOS_PER_SEC)
    }
}
