//! Kubernetes manifests as commands take them.

use std::io::{Write as _, stderr};

use crate::adapter::kubernetes::{DEFAULT_NAMESPACE, Inventory, read_manifests};
use crate::cli::documents::{line, sort, sources};
use crate::cli::{Failure, Usage};
use crate::model::finding::{Finding, Level};
use crate::openslo::read::SourceFile;

/// Manifests beside what a command is about.
#[derive(Clone, Debug, clap::Args)]
pub struct ManifestArguments {
    /// Kubernetes manifests: files, directories (*.yaml, *.yml, *.json below them), patterns, or - for standard input.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub manifests: Vec<String>,

    /// Namespace of what names none.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
}

/// Manifests that were read.
#[derive(Debug)]
pub struct Manifests {
    /// What they hold.
    pub inventory: Inventory,
    /// The files.
    pub files: Vec<SourceFile>,
    /// What was found, by file and line.
    pub findings: Vec<Finding>,
}

impl ManifestArguments {
    /// The inventory; nothing if no manifests were given.
    pub fn read(&self) -> anyhow::Result<Option<Inventory>> {
        if self.manifests.is_empty() {
            return Ok(None);
        }
        read(&self.manifests, &self.namespace).map(|manifests| Some(manifests.inventory))
    }
}

/// Reads manifests; what was found is printed to standard error. Files that cannot be read, and manifests without any object
/// that can, are errors of usage.
pub fn read(patterns: &[String], namespace: &str) -> anyhow::Result<Manifests> {
    let (files, unreadable) = sources(patterns);
    if let Some(error) = unreadable.into_iter().next() {
        return Err(Usage(Failure::from(error).to_string()).into());
    }
    let (inventory, mut findings) = read_manifests(&files, namespace);
    sort(&mut findings, &files);
    for finding in &findings {
        writeln!(stderr(), "{}", line(finding))?;
    }
    let has_error = findings.iter().any(|found| found.level == Level::Error);
    if inventory == Inventory::default() && has_error {
        let message = "no manifest can be read; mend what is named above";
        return Err(Usage(message.to_owned()).into());
    }
    Ok(Manifests {
        inventory,
        files,
        findings,
    })
}
