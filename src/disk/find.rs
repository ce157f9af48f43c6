//! From what a person named to files: a file, a directory with all that is in it, or a glob.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// How it came to be found.
    pub how: How,
}

/// How a file came to be found: the further from its name, the less sure that it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It was named.
    Named,
    /// A glob matches it.
    Matched,
    /// It lies in a directory that was named or matched.
    Inside,
}

/// Why nothing can be looked for.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// A file or directory is not there or not readable.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A glob that is none.
    #[error("{pattern} is no pattern of files: {source}")]
    Pattern {
        /// As it was named.
        pattern: String,
        /// What is wrong with it.
        source: globset::Error,
    },
}

/// What a file, a directory or a glob (`*`, `**`, `?`, `[…]`, `{…}`) means, in the order of the paths; nothing where it
/// matches nothing. Hidden files are found only if they are named.
pub fn find(pattern: &str) -> Result<Vec<Found>, FindError> {
    let path = Path::new(pattern);
    let mut found = Vec::new();
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => walk(path, &mut found)?,
        // Pipes and devices are read like files.
        Ok(_) => found.push(Found {
            path: path.to_owned(),
            how: How::Named,
        }),
        Err(_) if pattern.contains(is_wildcard) => expand(pattern, &mut found)?,
        Err(source) => return Err(unreadable(path, source)),
    }
    found.sort_unstable();
    Ok(found)
}

/// One file under several names is one file.
pub fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn unreadable(path: &Path, source: io::Error) -> FindError {
    let path = path.to_owned();
    FindError::Unreadable { path, source }
}

fn is_wildcard(character: char) -> bool {
    matches!(character, '*' | '?' | '[' | '{')
}

/// What a glob matches; a directory that it matches is read with all that is in it.
fn expand(pattern: &str, found: &mut Vec<Found>) -> Result<(), FindError> {
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|source| FindError::Pattern {
            pattern: pattern.to_owned(),
            source,
        })?;
    let literal = pattern.split(is_wildcard).next().unwrap_or_default();
    let base = literal.rfind('/').and_then(|end| literal.get(..=end));
    let below = pattern.get(base.map_or(0, str::len)..).unwrap_or_default();
    // Without `**`, nothing deeper than the pattern can match.
    let depth = if below.contains("**") {
        usize::MAX
    } else {
        1 + below.matches('/').count()
    };
    let base = Path::new(base.unwrap_or(""));
    search(base, &glob.compile_matcher(), depth, found)
}

fn search(
    directory: &Path,
    glob: &GlobMatcher,
    depth: usize,
    found: &mut Vec<Found>,
) -> Result<(), FindError> {
    let listed = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    for entry in list(listed)? {
        let path = directory.join(entry.name);
        match (entry.is_directory, glob.is_match(&path)) {
            (true, true) => walk(&path, found)?,
            (true, false) if depth > 1 => search(&path, glob, depth - 1, found)?,
            (true | false, false) => {}
            (false, true) => found.push(Found {
                path,
                how: How::Matched,
            }),
        }
    }
    Ok(())
}

/// All files in a directory. Links to directories are not followed, so that no circle is walked.
fn walk(directory: &Path, found: &mut Vec<Found>) -> Result<(), FindError> {
    for entry in list(directory)? {
        let path = directory.join(entry.name);
        if entry.is_directory {
            walk(&path, found)?;
        } else {
            found.push(Found {
                path,
                how: How::Inside,
            });
        }
    }
    Ok(())
}

struct Entry {
    name: PathBuf,
    is_directory: bool,
}

/// The directories and files in a directory, without hidden ones.
fn list(directory: &Path) -> Result<Vec<Entry>, FindError> {
    let read = || -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_directory = entry.file_type()?.is_dir();
            let is_file = || fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file());
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            if !is_hidden && (is_directory || is_file()) {
                let name = PathBuf::from(name);
                entries.push(Entry { name, is_directory });
            }
        }
        Ok(entries)
    };
    read().map_err(|source| unreadable(directory, source))
}
