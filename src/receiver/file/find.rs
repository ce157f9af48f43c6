//! From what was named to the files to read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::find::{How, find, identity};
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
        if pattern == STANDARD_INPUT {
            if seen.insert(PathBuf::from(pattern)) {
                inputs.push(TraceInput::standard_input());
            }
            continue;
        }
        let found = find(pattern)?;
        if found.is_empty() {
            return Err(FileError::NothingFound {
                pattern: pattern.to_owned(),
            });
        }
        let fresh = found
            .iter()
            .filter(|found| seen.insert(identity(&found.path)));
        inputs.extend(fresh.map(|found| TraceInput::new(&found.path, found.how != How::Inside)));
    }
    Ok(inputs)
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
