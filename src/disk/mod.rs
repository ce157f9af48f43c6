//! Whole files on the disk: readers see the old content or the new one, also after a crash.

pub mod find;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// How the names of our temporary files begin. A crash may leave one; it is never read.
pub const TEMPORARY_PREFIX: &str = ".slo-copilot-tmp-";

/// Replaces a file, or makes it. Makes missing folders.
///
/// Through a link, the file that it names is replaced. What is no file, a pipe or a device, is written to.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(content);
    }
    stage(path, content)?.commit()
}

/// Writes the content beside the file, down to the disk; the file itself is as it was until [`Staged::commit`].
pub fn stage(path: &Path, content: &[u8]) -> io::Result<Staged> {
    let (staged, ()) = stage_by(path, |error| error, |out| out.write_all(content))?;
    Ok(staged)
}

/// The same with content that `write` makes piece by piece. Failures of the file become errors by `not_written`.
pub fn stage_by<T, E>(
    path: &Path,
    not_written: impl Fn(io::Error) -> E,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<(Staged, T), E> {
    let folder = folder_of(path);
    let made = fs::create_dir_all(folder).and_then(|()| temporary_file(folder));
    let mut out = BufWriter::new(made.map_err(&not_written)?);
    let result = write(&mut out)?;
    let written = out.into_inner().map_err(io::IntoInnerError::into_error);
    let synced = written.and_then(|file| file.as_file().sync_all().map(|()| file));
    let staged = Staged {
        file: synced.map_err(&not_written)?,
        path: path.to_owned(),
    };
    Ok((staged, result))
}

/// Content that waits beside its file. Dropped, it is removed, and the file stays as it was.
#[derive(Debug)]
pub struct Staged {
    file: NamedTempFile,
    path: PathBuf,
}

impl Staged {
    /// Gives it the permissions of the file that it is to replace.
    pub fn with_permissions(self) -> io::Result<Self> {
        let permissions = fs::metadata(&self.path)?.permissions();
        self.file.as_file().set_permissions(permissions)?;
        Ok(self)
    }

    /// Puts the content in place of the file's.
    pub fn commit(self) -> io::Result<()> {
        self.file.persist(self.path)?;
        Ok(())
    }
}

/// The folder that holds a file; of a bare name, the working directory.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(unix)]
fn temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;

    // As any new file has them, less the umask: the default is for the owner only, and others read these.
    tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
}

#[cfg(not(unix))]
fn temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_is_interrupted_before_its_end_leaves_the_old_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file");
        replace(&path, b"old").unwrap();
        drop(stage(&path, b"new").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder_of(&path)).unwrap().count(), 1);
        stage(&path, b"new").unwrap().commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_bare_name_is_in_the_working_directory() {
        assert_eq!(folder_of(Path::new("file")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/file")), Path::new("a"));
    }
}
