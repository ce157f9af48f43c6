//! Kubernetes manifests from files.

use std::path::PathBuf;

use crate::adapter::kubernetes::{DEFAULT_NAMESPACE, Inventory, read_manifests};
use crate::model::finding::{Finding, Level};
use crate::service::objective_files::{ObjectiveFilesError, find, read_file};

/// Why manifests cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestsError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] ObjectiveFilesError),
    /// A manifest is broken.
    #[error("{0}")]
    Broken(Box<Finding>),
}

/// The inventory of a configuration; none where it names no manifests. What is broken is refused: workloads that were never
/// looked for would count as covered.
pub fn configured(paths: &[PathBuf]) -> Result<Option<Inventory>, ManifestsError> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut files = Vec::new();
    for path in paths {
        for path in find(path)? {
            files.push(read_file(&path)?);
        }
    }
    let (inventory, findings) = read_manifests(&files, DEFAULT_NAMESPACE);
    let mut findings = findings.into_iter();
    match findings.find(|found| found.level == Level::Error) {
        Some(broken) => Err(ManifestsError::Broken(Box::new(broken))),
        None => Ok(Some(inventory)),
    }
}
