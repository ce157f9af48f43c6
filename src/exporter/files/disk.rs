//! The file system, as far as whole files need it.

use std::fs;
use std::io;
use std::path::Path;

use crate::disk::{self, TEMPORARY_PREFIX};
use crate::exporter::ExportError;

/// Replaces a file so that readers see the old content or the new one, also after a crash. Makes missing folders.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), ExportError> {
    disk::replace(path, content).map_err(failed("write", path))
}

/// The content of a file, `None` if there is none.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, ExportError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(failed("read", path)(cause)),
    }
}

/// Removes a file.
pub(super) fn remove(path: &Path) -> Result<(), ExportError> {
    fs::remove_file(path).map_err(failed("remove", path))
}

/// Removes the temporary files that a crash left in this folder, not in those below it.
pub(super) fn remove_leftovers(folder: &Path) -> Result<(), ExportError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(failed("list", folder)(cause)),
    };
    for entry in entries {
        let entry = entry.map_err(failed("list", folder))?;
        let ours = entry
            .file_name()
            .to_string_lossy()
            .starts_with(TEMPORARY_PREFIX);
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if ours && is_file {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::File {
        action,
        path,
        source,
    }
}
