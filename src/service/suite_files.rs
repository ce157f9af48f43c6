//! Suites of trace tests on the disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::disk::find::identity;
use crate::service::objective_files::{ObjectiveFilesError, find, read_file};
use crate::tracetest::suite::{Document, Problem, Suite, arrange, read};

/// Why suites cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SuiteFilesError {
    /// A file cannot be found or read.
    #[error(transparent)]
    File(#[from] ObjectiveFilesError),
    /// What they say is wrong.
    #[error("the trace tests cannot be used; mend these:\n{}", list(.0))]
    Wrong(Vec<Problem>),
}

fn list(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("\n")
}

/// The suites of these files, directories and patterns, and of the files that they name as steps.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Suite>, SuiteFilesError> {
    let mut waiting = Vec::new();
    for pattern in paths {
        waiting.extend(find(pattern)?);
    }
    waiting.reverse();
    let (mut documents, mut problems, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    while let Some(path) = waiting.pop() {
        if !seen.insert(identity(&path)) {
            continue;
        }
        let file = read_file(&path)?;
        match read(&file.name, &file.text) {
            Ok(read) => {
                waiting.extend(steps(&read));
                documents.extend(read);
            }
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(SuiteFilesError::Wrong(problems));
    }
    arrange(&documents).map_err(|problem| SuiteFilesError::Wrong(vec![problem]))
}

/// The files that suites name and that are there; the others are said by [`arrange`], with their place.
fn steps(documents: &[Document]) -> Vec<PathBuf> {
    let suites = documents.iter().filter_map(|document| match document {
        Document::Suite(suite) => Some(suite),
        Document::Test(_) => None,
    });
    let files = suites.flat_map(|suite| &suite.steps);
    files
        .filter_map(|step| step.file.as_deref().map(PathBuf::from))
        .filter(|path: &PathBuf| Path::new(path).is_file())
        .collect()
}
