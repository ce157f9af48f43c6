//! SLOs as a JSON file beside the code: `{"schema_version": …, "slos": [record…]}`, see `schema/slo_store.schema.json`.
//!
//! Whoever changes the file holds a lock on `.NAME.lock` beside it from reading to writing, so that no writer loses
//! what another one wrote. A file that is not understood is never overwritten.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Deserialize;

use crate::disk;
use crate::model::record::{Edit, STORE_SCHEMA_VERSION, SloList, SloRecord};
use crate::model::slo::Sli;
use crate::model::slug::is_rfc1123_label;
use crate::store::MAX_HISTORY_DEFAULT;
use crate::store::book::{Book, StoreUpdate};
use crate::store::seed;

/// Bytes of the largest file that is read.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// What becomes of the SLOs that the file holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreMode {
    /// They stay; where both sides speak of one SLO, a decision prevails over a suggestion, else the later change
    Merge,
    /// They go; those that are told of anew keep their history
    Replace,
}

/// What went wrong with a store's file.
#[derive(Debug, thiserror::Error)]
pub enum StoreFileError {
    /// The file, its folder or its lock cannot be used.
    #[error("cannot {action} {path}: {source}")]
    Disk {
        /// `read`, `write` or `lock`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is no JSON, or other JSON than that of a store. The cause names line and column.
    #[error(
        "{path} is not an SLO store, which is JSON, and is left as it is: {source}; mend it or name another file (objectives.files \
         reads OpenSLO documents)"
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// What was expected where.
        source: serde_json::Error,
    },
    /// The JSON is that of a store, but says what cannot be.
    #[error("{path} is left as it is: {place}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where, for example `slos[3].objective.target`.
        place: String,
        /// What is wrong and what would be right.
        message: String,
    },
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// Its records.
    pub records: Vec<SloRecord>,
    /// SLOs of the older format that measure what we do not, each with the reason.
    pub skipped: Vec<String>,
    /// Whether it has another format than we write.
    is_older: bool,
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Loaded, StoreFileError> {
    let text = read_text(path).map_err(failed("read", path))?;
    parse(path, &text)
}

/// Reads a file, changes it, and writes it if that changed anything; makes it if it is missing. Waits for others who do
/// the same. `edit` says who brings the records, and when.
pub fn update(
    path: &Path,
    mode: StoreMode,
    records: &[SloRecord],
    edit: &Edit,
) -> Result<StoreUpdate, StoreFileError> {
    // Through a link, the file that it names is replaced and not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let lock = lock(path).map_err(failed("lock", path))?;
    let held = match read_text(path) {
        Ok(text) => Some(parse(path, &text)?),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => return Err(failed("read", path)(cause)),
    };
    let must_write = held.as_ref().is_none_or(|held| held.is_older);
    let held = held.unwrap_or_default();
    let mut book = Book::new(held.records, MAX_HISTORY_DEFAULT);
    let mut update = match mode {
        StoreMode::Merge => book.merge(records.to_vec(), edit),
        StoreMode::Replace => book.replace(records.to_vec(), edit),
    };
    update.skipped = held.skipped;
    if must_write || book.is_changed() {
        if !update.skipped.is_empty() {
            let kept = path.with_added_extension("bak");
            fs::copy(path, &kept).map_err(failed("keep a copy of", path))?;
        }
        write(path, book.into_records())?;
    }
    drop(lock);
    Ok(update)
}

/// Writes records as a file, in place of one that is there.
pub fn write(path: &Path, records: Vec<SloRecord>) -> Result<(), StoreFileError> {
    let text = render(records).map_err(|error| failed("write", path)(error.into()))?;
    disk::replace(path, text.as_bytes()).map_err(failed("write", path))
}

/// Records as the text of a file.
pub fn render(records: Vec<SloRecord>) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&SloList::new(records)).map(|text| text + "\n")
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreFileError {
    let path = path.to_owned();
    move |source| StoreFileError::Disk {
        action,
        path,
        source,
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE_BYTES {
        let message = format!("it is larger than {MAX_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

/// A lock that ends when it is dropped, or with the process. It is not on the file, which each writer replaces.
fn lock(path: &Path) -> io::Result<File> {
    let folder = disk::folder_of(path);
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(format!(".{name}.lock")))?;
    file.lock()?;
    Ok(file)
}

/// Which format an object has.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    schema_version: Option<String>,
}

fn parse(path: &Path, text: &str) -> Result<Loaded, StoreFileError> {
    // Editors of Windows write one.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let foreign = |source| StoreFileError::Json {
        path: path.to_owned(),
        source,
    };
    let older = |list| {
        let seed::Converted { records, skipped } = seed::convert(list, path);
        Loaded {
            records,
            skipped,
            is_older: true,
        }
    };
    let loaded = if text.trim_start().starts_with('[') {
        let slos = serde_json::from_str(text).map_err(foreign)?;
        older(seed::SeedStore::of_list(slos))
    } else {
        let head: Head = serde_json::from_str(text).map_err(foreign)?;
        match head.schema_version.as_deref() {
            Some(STORE_SCHEMA_VERSION) => {
                let list: SloList = serde_json::from_str(text).map_err(foreign)?;
                Loaded {
                    records: list.slos,
                    ..Loaded::default()
                }
            }
            Some(version) if seed::SCHEMA_VERSIONS.contains(&version) => {
                older(serde_json::from_str(text).map_err(foreign)?)
            }
            other => {
                let said = other.map_or("is missing".to_owned(), |said| format!("is `{said}`"));
                return Err(StoreFileError::Invalid {
                    path: path.to_owned(),
                    place: "schema_version".to_owned(),
                    message: format!(
                        "{said}, and an SLO store has `{STORE_SCHEMA_VERSION}`; name another file"
                    ),
                });
            }
        }
    };
    check(&loaded.records).map_err(|(place, message)| StoreFileError::Invalid {
        path: path.to_owned(),
        place,
        message,
    })?;
    Ok(loaded)
}

/// What the types do not say. The place of the first offence and what would be right.
fn check(records: &[SloRecord]) -> Result<(), (String, String)> {
    let mut names = BTreeSet::new();
    for (at, record) in records.iter().enumerate() {
        let objective = &record.objective;
        let wrong = |field: &str, message: &str| {
            let place = format!("slos[{at}].objective.{field}");
            Err((place, format!("{message}; mend it or name another file")))
        };
        if !is_rfc1123_label(&objective.name) {
            return wrong(
                "name",
                "must be lower-case letters, digits and `-`, at most 63",
            );
        }
        if !names.insert(&objective.name) {
            return wrong("name", "is used twice");
        }
        if objective.service.is_empty() {
            return wrong("service", "must not be empty");
        }
        if !(objective.target > 0.0 && objective.target < 1.0) {
            return wrong("target", "must be a ratio above 0 and below 1");
        }
        if !(objective.weight > 0.0 && objective.weight.is_finite()) {
            return wrong("weight", "must be above 0");
        }
        if matches!(objective.sli, Sli::Latency { threshold_micros } if threshold_micros == 0) {
            return wrong("sli.threshold_micros", "must be above 0");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
