//! From what was named to the files to read.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::receiver::file::FileError;

/// Standard input.
pub const STANDARD_INPUT: &str = "-";

/// A file of traces, not yet opened.
#[derive(Clone, Debug)]
pub struct TraceInput {
    name: String,
    bytes: Option<u64>,
    place: Where,
    is_named: bool,
}

/// Where a file's bytes come from.
#[derive(Clone, Debug)]
pub(super) enum Where {
    /// A file.
    File(PathBuf),
    /// Standard input.
    StandardInput,
}

impl TraceInput {
    /// One file, as if it had been named.
    pub fn file(path: &Path) -> Self {
        Self::new(path, true)
    }

    fn new(path: &Path, is_named: bool) -> Self {
        let regular = fs::metadata(path).ok().filter(fs::Metadata::is_file);
        Self {
            name: path.display().to_string(),
            bytes: regular.map(|metadata| metadata.len()),
            place: Where::File(path.to_owned()),
            is_named,
        }
    }

    fn standard_input() -> Self {
        Self {
            name: STANDARD_INPUT.to_owned(),
            bytes: None,
            place: Where::StandardInput,
            is_named: true,
        }
    }

    /// The file's path, or `-`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size on the disk, `None` for standard input and pipes.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Whether the file itself was named. One that was found in a directory may be something else than traces.
    pub fn is_named(&self) -> bool {
        self.is_named
    }

    pub(super) fn place(&self) -> &Where {
        &self.place
    }
}

/// Files, directories with all that is in them, globs (`*`, `**`, `?`, `[…]`, `{…}`) and `-`; what each pattern finds in
/// sorted order, and every file once. Hidden files are read only if they are named.
pub fn find_inputs(patterns: &[String]) -> Result<Vec<TraceInput>, FileError> {
    let mut inputs = Vec::new();
    let mut seen = BTreeSet::new();
    for pattern in patterns {
        for input in find(pattern)? {
            let identity = match &input.place {
                Where::File(path) => fs::canonicalize(path).unwrap_or_else(|_| path.clone()),
                Where::StandardInput => PathBuf::from(STANDARD_INPUT),
            };
            if seen.insert(identity) {
                inputs.push(input);
            }
        }
    }
    Ok(inputs)
}

fn find(pattern: &str) -> Result<Vec<TraceInput>, FileError> {
    if pattern == STANDARD_INPUT {
        return Ok(vec![TraceInput::standard_input()]);
    }
    let path = Path::new(pattern);
    let mut inputs = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let mut inputs = Vec::new();
            walk(path, &mut inputs)?;
            inputs
        }
        // Pipes and devices are read like files.
        Ok(_) => vec![TraceInput::file(path)],
        Err(_) if pattern.contains(is_meta) => expand(pattern)?,
        Err(source) => {
            return Err(FileError::Open {
                name: pattern.to_owned(),
                source,
            });
        }
    };
    if inputs.is_empty() {
        return Err(FileError::NothingFound {
            pattern: pattern.to_owned(),
        });
    }
    inputs.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(inputs)
}

fn is_meta(character: char) -> bool {
    matches!(character, '*' | '?' | '[' | '{')
}

/// What a glob finds; a directory that it finds is read with all that is in it.
fn expand(pattern: &str) -> Result<Vec<TraceInput>, FileError> {
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|source| FileError::Glob {
            pattern: pattern.to_owned(),
            source,
        })?;
    let literal = pattern.split(is_meta).next().unwrap_or_default();
    let base = literal.rfind('/').and_then(|end| literal.get(..=end));
    let below = pattern.get(base.map_or(0, str::len)..).unwrap_or_default();
    // Without `**`, nothing deeper than the pattern can match.
    let depth = if below.contains("**") {
        usize::MAX
    } else {
        1 + below.matches('/').count()
    };
    let mut inputs = Vec::new();
    let found = &mut inputs;
    search(
        Path::new(base.unwrap_or("")),
        &glob.compile_matcher(),
        depth,
        found,
    )?;
    Ok(inputs)
}

fn search(
    directory: &Path,
    glob: &GlobMatcher,
    depth: usize,
    found: &mut Vec<TraceInput>,
) -> Result<(), FileError> {
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
            (false, true) => found.push(TraceInput::file(&path)),
        }
    }
    Ok(())
}

/// All files in a directory. Links to directories are not followed, so that no circle is walked.
fn walk(directory: &Path, found: &mut Vec<TraceInput>) -> Result<(), FileError> {
    for entry in list(directory)? {
        let path = directory.join(entry.name);
        if entry.is_directory {
            walk(&path, found)?;
        } else {
            found.push(TraceInput::new(&path, false));
        }
    }
    Ok(())
}

struct Entry {
    name: PathBuf,
    is_directory: bool,
}

/// The directories and files in a directory, without hidden ones.
fn list(directory: &Path) -> Result<Vec<Entry>, FileError> {
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
    read().map_err(|source| FileError::Open {
        name: directory.display().to_string(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 6] = [
        "b.json",
        "a.json",
        "deep/er/d.json.gz",
        "deep/c.pb",
        ".hidden/x.json",
        "deep/.y.json",
    ];

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in FILES {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        root
    }

    /// What is found, without the root's path.
    fn names(root: &Path, patterns: &[&str]) -> Result<Vec<String>, FileError> {
        let patterns: Vec<String> = patterns
            .iter()
            .map(|pattern| match *pattern {
                STANDARD_INPUT => STANDARD_INPUT.to_owned(),
                pattern => format!("{}/{pattern}", root.display()),
            })
            .collect();
        let prefix = format!("{}/", root.display());
        let inputs = find_inputs(&patterns)?.into_iter();
        Ok(inputs
            .map(|input| input.name().trim_start_matches(&prefix).to_owned())
            .collect())
    }

    #[test]
    fn patterns_find_their_files_in_sorted_order_and_each_once() {
        let root = tree();
        let all = ["a.json", "b.json", "deep/c.pb", "deep/er/d.json.gz"];
        for (patterns, wanted) in [
            (&["b.json", "a.json"][..], &["b.json", "a.json"][..]),
            (
                &["."],
                &["./a.json", "./b.json", "./deep/c.pb", "./deep/er/d.json.gz"],
            ),
            (
                &["b.json", "", "-", "a.json", "-"],
                &["b.json", "a.json", "deep/c.pb", "deep/er/d.json.gz", "-"],
            ),
            (&["*.json"], &["a.json", "b.json"]),
            (
                &["**/*.{json,gz}"],
                &["a.json", "b.json", "deep/er/d.json.gz"],
            ),
            (&["*"], &all),
            (&["deep/*"], &["deep/c.pb", "deep/er/d.json.gz"]),
            (&["d*/[c-d]*"], &["deep/c.pb"]),
            (&["deep/.y.json"], &["deep/.y.json"]),
        ] {
            assert_eq!(
                names(root.path(), patterns).unwrap(),
                wanted,
                "{patterns:?}"
            );
        }
    }

    #[test]
    fn what_finds_nothing_is_named() {
        let root = tree();
        fs::create_dir(root.path().join("empty")).unwrap();
        for (pattern, wanted) in [
            ("no.json", "no.json: "),
            ("*.zip", "no file matches"),
            ("empty", "no file matches"),
            ("a[", "is no pattern"),
        ] {
            let error = names(root.path(), &[pattern]).unwrap_err().to_string();
            assert!(error.contains(wanted), "{pattern}: {error}");
        }
    }

    #[test]
    fn only_files_that_were_named_are_sure_to_be_meant() {
        let root = tree();
        let path = |name: &str| root.path().join(name).display().to_string();
        let named = find_inputs(&[path("a.json"), path("b*")]).unwrap();
        assert!(named.iter().all(TraceInput::is_named));
        assert_eq!(
            named.iter().map(TraceInput::bytes).collect::<Vec<_>>(),
            [Some(1); 2]
        );
        let found = find_inputs(&[path("deep")]).unwrap();
        assert!(!found.iter().any(TraceInput::is_named));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_directory_above_is_no_circle() {
        let root = tree();
        std::os::unix::fs::symlink(root.path(), root.path().join("deep/up")).unwrap();
        std::os::unix::fs::symlink(root.path().join("a.json"), root.path().join("deep/a2"))
            .unwrap();
        let found = names(root.path(), &["deep"]).unwrap();
        assert_eq!(found, ["deep/a2", "deep/c.pb", "deep/er/d.json.gz"]);
    }
}
