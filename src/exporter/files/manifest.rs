//! Which files of single services are ours, across restarts: `.slo-copilot-manifest.json` in the output directory.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use tracing::warn;
use xxhash_rust::xxh3::xxh3_64;

use crate::exporter::ExportError;
use crate::exporter::files::disk::{read_if_there, write_atomically};
use crate::exporter::files::to_json;

pub(super) const MANIFEST_FILE: &str = ".slo-copilot-manifest.json";

/// The files that we wrote, by their path relative to the output directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    files: BTreeMap<String, Entry>,
    is_saved: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    exporter: String,
    /// Of the content as we wrote it.
    xxh3: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    files: BTreeMap<String, Entry>,
}

impl Manifest {
    /// Reads the manifest of an earlier run. One that is not readable as such owns nothing, so nothing is removed.
    pub(super) fn load(root: &Path) -> Result<Self, ExportError> {
        let path = root.join(MANIFEST_FILE);
        let Some(content) = read_if_there(&path)? else {
            return Ok(Self {
                is_saved: true,
                ..Self::default()
            });
        };
        let stored: Stored = match serde_json::from_slice(&content) {
            Ok(stored) => stored,
            Err(cause) => {
                let path = path.display();
                warn!(message = "Manifest not readable; earlier files stay.", %path, %cause);
                return Ok(Self::default());
            }
        };
        // Whoever can write the manifest must not make us remove files elsewhere.
        let mut files = stored.files;
        files.retain(|path, _| is_inside(path));
        Ok(Self {
            files,
            is_saved: true,
        })
    }

    /// Writes the manifest if it changed.
    pub(super) fn save(&mut self, root: &Path) -> Result<(), ExportError> {
        if !self.is_saved {
            let stored = Stored {
                files: self.files.clone(),
            };
            let json = to_json(MANIFEST_FILE, &stored)?;
            write_atomically(&root.join(MANIFEST_FILE), json.as_bytes())?;
            self.is_saved = true;
        }
        Ok(())
    }

    /// Whether this exporter wrote a file.
    pub(super) fn owns(&self, exporter: &str, path: &str) -> bool {
        self.files
            .get(path)
            .is_some_and(|entry| entry.exporter == exporter)
    }

    /// How many files are not this exporter's.
    pub(super) fn files_of_others(&self, exporter: &str) -> usize {
        self.files
            .values()
            .filter(|entry| entry.exporter != exporter)
            .count()
    }

    /// The files of this exporter that are not among `kept`, with the hash of their content.
    pub(super) fn vanished(
        &self,
        exporter: &str,
        is_kept: impl Fn(&str) -> bool,
    ) -> Vec<(String, String)> {
        self.files
            .iter()
            .filter(|(path, entry)| entry.exporter == exporter && !is_kept(path))
            .map(|(path, entry)| (path.clone(), entry.xxh3.clone()))
            .collect()
    }

    /// Takes note that a file is this exporter's and has this content.
    pub(super) fn own(&mut self, exporter: &str, path: &str, content: &[u8]) {
        let entry = Entry {
            exporter: exporter.to_owned(),
            xxh3: content_hash(content),
        };
        if self.files.get(path) != Some(&entry) {
            self.files.insert(path.to_owned(), entry);
            self.is_saved = false;
        }
    }

    /// Takes note that a file is no longer ours.
    pub(super) fn disown(&mut self, path: &str) {
        self.is_saved &= self.files.remove(path).is_none();
    }
}

/// The hash by which the manifest knows a content.
pub(super) fn content_hash(content: &[u8]) -> String {
    format!("{:016x}", xxh3_64(content))
}

fn is_inside(path: &str) -> bool {
    let mut components = Path::new(path).components().peekable();
    components.peek().is_some()
        && components.all(|component| matches!(component, Component::Normal(_)))
}
