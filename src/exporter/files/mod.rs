//! The output directory: files that appear whole, change only when they say something new, and go with their service.
//!
//! Invariants: a reader never sees half a file. Only files that we wrote are ever removed: a manifest in the directory
//! lists those of single services with a hash of their content, and where that differs the file stays.

pub mod names;

mod disk;
mod manifest;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Mutex;
use tracing::warn;

use crate::exporter::ExportError;
use crate::exporter::files::disk::{read_if_there, remove, remove_leftovers};
use crate::exporter::files::manifest::{Manifest, content_hash};

pub use crate::exporter::files::disk::write_atomically;

const WRITTEN_METRIC: &str = "slo_copilot_exporter_written_files_total";
const REFUSED_METRIC: &str = "slo_copilot_exporter_refused_files_total";

/// One file, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    /// Relative to the output directory, with `/` between folders.
    path: String,
    content: String,
    /// Counts against the limit and is removed once it is no longer published.
    of_service: bool,
}

impl OutputFile {
    /// A file that is always there.
    pub fn fixed(path: impl Into<String>, content: String) -> Self {
        Self {
            path: path.into(),
            content,
            of_service: false,
        }
    }

    /// A file that comes and goes with a service, its name from [`names::service_names`], or with an objective.
    pub fn of_service(path: impl Into<String>, content: String) -> Self {
        Self {
            path: path.into(),
            content,
            of_service: true,
        }
    }
}

/// What a publication did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Files written since they were missing or said something else.
    pub written: usize,
    /// Files removed since their service is gone.
    pub removed: usize,
    /// Files not written since the directory is full.
    pub refused: usize,
}

/// The directory that all exporters of files share.
#[derive(Clone, Debug)]
pub struct OutputDirectory {
    // Held by the thread that writes, also after its caller gave up waiting: at most one thread is ever stuck on a
    // slow disk, and an older publication never overtakes a newer one.
    state: Arc<Mutex<State>>,
}

impl OutputDirectory {
    /// Touches nothing yet. `limit` is the most files of single services.
    pub fn new(root: PathBuf, limit: usize) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                root,
                limit,
                manifest: None,
                cleaned: BTreeSet::new(),
                full_for: BTreeSet::new(),
            })),
        }
    }

    /// Makes the files of this exporter these and no others; files of other exporters stay.
    ///
    /// Files are compared with what is on disk, without the lines of `generated_at`. One that fails does not hold up the
    /// others; the first error is returned.
    pub async fn publish(
        &self,
        exporter: &'static str,
        files: Vec<OutputFile>,
    ) -> Result<Published, ExportError> {
        self.render_and_publish(exporter, || Ok(files)).await
    }

    /// As [`Self::publish`], with files that take long to render: that is done on the writing thread too.
    pub async fn render_and_publish<Render>(
        &self,
        exporter: &'static str,
        render: Render,
    ) -> Result<Published, ExportError>
    where
        Render: FnOnce() -> Result<Vec<OutputFile>, ExportError> + Send + 'static,
    {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        tokio::task::spawn_blocking(move || state.publish(exporter, render()?))
            .await
            .map_err(ExportError::Interrupted)?
    }
}

/// Help texts of this module's metrics.
pub(super) fn describe() {
    metrics::describe_counter!(
        WRITTEN_METRIC,
        "Output files written because they were missing or said something else."
    );
    metrics::describe_counter!(
        REFUSED_METRIC,
        "Output files of services and objectives not written because limits.output_files was reached."
    );
}

/// A value as pretty JSON; `what` names it in errors.
pub(super) fn to_json(what: &str, value: &impl Serialize) -> Result<String, ExportError> {
    serde_json::to_string_pretty(value)
        .map(|json| json + "\n")
        .map_err(|cause| ExportError::Render {
            what: what.to_owned(),
            source: Box::new(cause),
        })
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    limit: usize,
    /// Read with the first publication.
    manifest: Option<Manifest>,
    /// Folders that were freed of what a crash left behind.
    cleaned: BTreeSet<PathBuf>,
    /// Exporters that had files refused the last time, so that it is logged once.
    full_for: BTreeSet<&'static str>,
}

impl State {
    fn publish(
        &mut self,
        exporter: &'static str,
        files: Vec<OutputFile>,
    ) -> Result<Published, ExportError> {
        self.clean(self.root.clone())?;
        let mut manifest = match self.manifest.take() {
            Some(manifest) => manifest,
            None => Manifest::load(&self.root)?,
        };
        let (files, refused) = self.admit(exporter, files, &manifest);
        let (removed, removal) = self.remove_vanished(exporter, &files, &mut manifest);
        let changed = self.note_changes(exporter, files, &mut manifest);
        // Before the files: a crash in between leaves a listed file that is not there, never one that is not listed.
        let saved = manifest.save(&self.root);
        self.manifest = Some(manifest);
        saved?;

        let (written, writing) = self.write(exporter, &changed);
        writing.and(removal)?;
        Ok(Published {
            written,
            removed,
            refused,
        })
    }

    /// The files that there is room for, and the number of the others. Those that are there already keep their place.
    fn admit(
        &mut self,
        exporter: &'static str,
        files: Vec<OutputFile>,
        manifest: &Manifest,
    ) -> (Vec<OutputFile>, usize) {
        let (of_services, mut admitted): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| file.of_service);
        let (held, new): (Vec<_>, Vec<_>) = of_services
            .into_iter()
            .partition(|file| manifest.owns(exporter, &file.path));
        let room = self
            .limit
            .saturating_sub(manifest.files_of_others(exporter));
        let refused = (held.len() + new.len()).saturating_sub(room);
        admitted.extend(held.into_iter().chain(new).take(room));

        if refused == 0 {
            self.full_for.remove(exporter);
        } else if self.full_for.insert(exporter) {
            warn!(
                message = "Too many output files; those of some services or objectives are not written. \
                           limits.output_files is the limit.",
                exporter,
                limit = self.limit,
                refused,
            );
        }
        metrics::counter!(REFUSED_METRIC, "exporter" => exporter).increment(refused as u64);
        (admitted, refused)
    }

    /// Removes the files that this exporter wrote and no longer publishes, unless somebody changed them.
    fn remove_vanished(
        &self,
        exporter: &'static str,
        files: &[OutputFile],
        manifest: &mut Manifest,
    ) -> (usize, Result<(), ExportError>) {
        let kept: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let mut removed = 0;
        let mut outcome = Ok(());
        for (path, hash) in manifest.vanished(exporter, |path| kept.contains(path)) {
            match remove_if_unchanged(&self.root.join(&path), &hash) {
                Ok(true) => {
                    removed += 1;
                    manifest.disown(&path);
                }
                Ok(false) => manifest.disown(&path),
                Err(cause) => outcome = outcome.and(Err(cause)),
            }
        }
        (removed, outcome)
    }

    /// The files that are missing or say something else than they should.
    fn note_changes(
        &self,
        exporter: &'static str,
        files: Vec<OutputFile>,
        manifest: &mut Manifest,
    ) -> Vec<OutputFile> {
        let mut changed = Vec::new();
        for file in files {
            // What cannot be read cannot be kept either; writing it says why.
            let found = read_if_there(&self.root.join(&file.path)).ok().flatten();
            let kept = found.filter(|found| differ_in_time_only(found, file.content.as_bytes()));
            if file.of_service {
                let content = kept.as_deref().unwrap_or(file.content.as_bytes());
                manifest.own(exporter, &file.path, content);
            }
            if kept.is_none() {
                changed.push(file);
            }
        }
        changed
    }

    fn write(
        &mut self,
        exporter: &'static str,
        files: &[OutputFile],
    ) -> (usize, Result<(), ExportError>) {
        let mut written = 0;
        let mut outcome = Ok(());
        for file in files {
            let path = self.root.join(&file.path);
            let folder = path.parent().unwrap_or(&self.root).to_owned();
            let wrote = self
                .clean(folder)
                .and_then(|()| write_atomically(&path, file.content.as_bytes()));
            match wrote {
                Ok(()) => written += 1,
                Err(cause) => outcome = outcome.and(Err(cause)),
            }
        }
        metrics::counter!(WRITTEN_METRIC, "exporter" => exporter).increment(written as u64);
        (written, outcome)
    }

    /// Frees a folder of what a crash left behind, once.
    fn clean(&mut self, folder: PathBuf) -> Result<(), ExportError> {
        if !self.cleaned.contains(&folder) {
            remove_leftovers(&folder)?;
            self.cleaned.insert(folder);
        }
        Ok(())
    }
}

/// Whether the file was removed; one that is gone already or that somebody changed is not.
fn remove_if_unchanged(path: &Path, hash: &str) -> Result<bool, ExportError> {
    let Some(found) = read_if_there(path)? else {
        return Ok(false);
    };
    if content_hash(&found) != hash {
        let path = path.display();
        warn!(message = "File of a vanished service stays, since somebody changed it.", %path);
        return Ok(false);
    }
    remove(path).map(|()| true)
}

/// Whether two contents are the same but for the lines of `generated_at`, of which pretty JSON has one a value.
fn differ_in_time_only(found: &[u8], wanted: &[u8]) -> bool {
    let says_something = |line: &&[u8]| !line.trim_ascii_start().starts_with(b"\"generated_at\":");
    let lines = |content| <[u8]>::split(content, |byte| *byte == b'\n').filter(says_something);
    lines(found).eq(lines(wanted))
}

#[cfg(test)]
mod tests;
