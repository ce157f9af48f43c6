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

/// What files, directories and patterns hold, and what is wrong with it.
pub fn read(paths: &[PathBuf]) -> Result<(Inventory, Vec<Finding>), ManifestsError> {
    let mut files = Vec::new();
    for path in paths {
        for path in find(path)? {
            files.push(read_file(&path)?);
        }
    }
    Ok(read_manifests(&files, DEFAULT_NAMESPACE))
}

/// The inventory of a server's configuration; none where it names no manifests. What is broken keeps the server from
/// starting: it would call workloads covered that it never looked for.
pub(super) fn configured(paths: &[PathBuf]) -> Result<Option<Inventory>, ManifestsError> {
    if paths.is_empty() {
        return Ok(None);
    }
    let (inventory, findings) = read(paths)?;
    match findings
        .into_iter()
        .find(|found| found.level == Level::Error)
    {
        Some(broken) => Err(ManifestsError::Broken(Box::new(broken))),
        None => Ok(Some(inventory)),
    }
}
