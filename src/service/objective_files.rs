//! OpenSLO files on the disk: finding them, reading them, and the objectives of `objectives.files`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::{Config, unknown_policy};
use crate::disk;
use crate::disk::find::{FindError, How, identity};
use crate::model::budget_policy::PolicyChoice;
use crate::model::finding::{Finding, Level};
use crate::model::slo::Objective;
use crate::openslo::adopt;
use crate::openslo::read::{SourceFile, read};

/// Largest file in bytes: hundreds of thousands of lines.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Names of the files that are taken from a directory.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Why OpenSLO files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ObjectiveFilesError {
    /// A file or directory is not there or not readable.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than any collection of objectives.
    #[error("{path} is larger than {FILE_BYTES_MAX} bytes; split it")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// No file is meant.
    #[error("{pattern} matches no file that ends in .yaml, .yml or .json")]
    NothingFound {
        /// As given.
        pattern: PathBuf,
    },
    /// A file or directory is not there, or a pattern cannot be understood.
    #[error("cannot read {0}")]
    Find(#[from] FindError),
    /// What the files say cannot be adopted.
    #[error("files of objectives.files or --objectives cannot be adopted; mend these, or take the files out:\n{}", list(.0))]
    Refused(Vec<Finding>),
    /// A name stands in both places.
    #[error(
        "objectives.list and objectives.files both have an objective named `{name}`; rename one of the two"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The error budget policy that one chooses is not known.
    #[error("the objective `{objective}`, annotation slo-copilot.dev/policy: {message}")]
    Policy {
        /// The objective.
        objective: String,
        /// What is wrong, with the policies that there are.
        message: String,
    },
}

fn list(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(|found| format!("  {found}")).collect();
    lines.join("\n")
}

/// The objectives of these files, directories and patterns, and every finding about them.
///
/// Documents with errors give no objectives; who must not go on without them looks for findings of level error.
pub fn load(paths: &[PathBuf]) -> Result<(Vec<Objective>, Vec<Finding>), ObjectiveFilesError> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for pattern in paths {
        for path in find(pattern)? {
            if seen.insert(identity(&path)) {
                files.push(read_file(&path)?);
            }
        }
    }
    let reading = read(&files);
    let (objectives, adoption) = adopt::objectives(&reading.documents);
    let mut findings = reading.findings;
    findings.extend(adoption);
    Ok((objectives, findings))
}

/// The objectives of `objectives.list` and `objectives.files`; errors in files are refused, other findings are logged.
pub fn configured(config: &Config) -> Result<Vec<Objective>, ObjectiveFilesError> {
    let mut objectives = config.objectives();
    let (adopted, findings) = adopted(&config.objectives.files)?;
    for finding in findings {
        match finding.level {
            Level::Note => tracing::info!(%finding, "Objective files."),
            Level::Warning | Level::Error => tracing::warn!(%finding, "Objective files."),
        }
    }
    let taken = adopted
        .iter()
        .find(|objective| objectives.iter().any(|own| own.name == objective.name));
    if let Some(taken) = taken {
        let name = taken.name.clone();
        return Err(ObjectiveFilesError::NameTaken { name });
    }
    objectives.extend(adopted);
    check_policies(&objectives, config)?;
    Ok(objectives)
}

/// The error budget policies that objectives choose by name must be in the configuration.
pub fn check_policies(
    objectives: &[Objective],
    config: &Config,
) -> Result<(), ObjectiveFilesError> {
    let policies = config.objectives.policies();
    for objective in objectives {
        if let Some(PolicyChoice::Named(name)) = &objective.policy
            && !policies.knows(name)
        {
            return Err(ObjectiveFilesError::Policy {
                objective: objective.name.clone(),
                message: unknown_policy(name, &policies.named),
            });
        }
    }
    Ok(())
}

/// The objectives of these files and what else was found there; errors in them are refused.
pub fn adopted(paths: &[PathBuf]) -> Result<(Vec<Objective>, Vec<Finding>), ObjectiveFilesError> {
    let (objectives, findings) = load(paths)?;
    let (errors, others): (Vec<Finding>, Vec<Finding>) = findings
        .into_iter()
        .partition(|finding| finding.level == Level::Error);
    if errors.is_empty() {
        Ok((objectives, others))
    } else {
        Err(ObjectiveFilesError::Refused(errors))
    }
}

/// The files that are meant by a file, a directory or a glob, in the order of their names. A file that is named is meant,
/// whatever it is called.
pub fn find(pattern: &Path) -> Result<Vec<PathBuf>, ObjectiveFilesError> {
    let found = disk::find::find(&pattern.to_string_lossy())?.into_iter();
    let meant: Vec<PathBuf> = found
        .filter(|found| found.how == How::Named || has_extension(&found.path))
        .map(|found| found.path)
        .collect();
    if meant.is_empty() {
        let pattern = pattern.to_owned();
        return Err(ObjectiveFilesError::NothingFound { pattern });
    }
    Ok(meant)
}

/// Reads a file of bounded size.
pub fn read_file(path: &Path) -> Result<SourceFile, ObjectiveFilesError> {
    let file = fs::File::open(path).map_err(|source| unreadable(path, source))?;
    let text = read_text(file).map_err(|source| unreadable(path, source))?;
    let path = path.to_owned();
    let text = text.ok_or_else(|| ObjectiveFilesError::TooLarge { path: path.clone() })?;
    let name = path.display().to_string();
    Ok(SourceFile { name, text })
}

/// Reads a text; nothing if it is too large.
pub fn read_text(source: impl Read) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    source.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Ok(None);
    }
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|error| {
        let message = format!("it must be saved as UTF-8: {}", error.utf8_error());
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

fn unreadable(path: &Path, source: io::Error) -> ObjectiveFilesError {
    let path = path.to_owned();
    ObjectiveFilesError::Unreadable { path, source }
}

fn has_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openslo::rules::adoption;

    fn names(root: &Path, pattern: &str) -> Result<Vec<String>, ObjectiveFilesError> {
        let found = find(&root.join(pattern))?.into_iter();
        let relative = |path: PathBuf| path.strip_prefix(root).unwrap().display().to_string();
        Ok(found.map(relative).collect())
    }

    #[test]
    fn files_directories_and_patterns_are_found_in_order() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("deep/er")).unwrap();
        for file in [
            "b.yaml",
            "a.yml",
            "notes.txt",
            "deep/c.JSON",
            "deep/er/d.yaml",
            "deep/.e.yaml",
        ] {
            fs::write(root.path().join(file), "").unwrap();
        }
        for (pattern, wanted) in [
            (
                "",
                &["a.yml", "b.yaml", "deep/c.JSON", "deep/er/d.yaml"][..],
            ),
            ("deep", &["deep/c.JSON", "deep/er/d.yaml"]),
            ("*.y*ml", &["a.yml", "b.yaml"]),
            ("**/*.yaml", &["b.yaml", "deep/er/d.yaml"]),
            // A directory that a pattern matches is read with all that is in it, as one that is named.
            ("d*/*", &["deep/c.JSON", "deep/er/d.yaml"]),
            ("notes.txt", &["notes.txt"]),
        ] {
            assert_eq!(names(root.path(), pattern).unwrap(), wanted, "{pattern}");
        }
        for (pattern, wanted) in [
            ("no.yaml", "cannot read"),
            ("*.zip", "matches no file"),
            ("*.tx*", "matches no file"),
            ("a[", "is no pattern"),
        ] {
            let error = names(root.path(), pattern).unwrap_err().to_string();
            assert!(error.contains(wanted), "{pattern}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_named_twice_is_read_once() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("slo.yaml");
        fs::write(&path, adoption::TARGET.valid).unwrap();
        let (objectives, findings) = load(&[path, root.path().to_owned()]).unwrap();
        assert_eq!(findings, []);
        assert_eq!(objectives.len(), 1);
    }

    #[test]
    fn a_file_that_is_too_large_or_no_text_is_named() {
        let endless = io::repeat(b' ');
        assert_eq!(read_text(endless).unwrap(), None);
        let error = read_text(&b"\xff"[..]).unwrap_err();
        assert!(error.to_string().contains("utf-8"), "{error}");
    }

    #[test]
    fn errors_are_refused_with_all_of_them_named_and_a_name_stands_once() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("slo.yaml");
        let mut config = Config::default();
        config.objectives.files = vec![path.clone()];
        let load = |text: &str, config: &Config| {
            fs::write(&path, text).unwrap();
            configured(config)
        };

        let wrong = adoption::TARGET
            .invalid
            .replace("target: 0", "target: 0, wieght: 1");
        let error = load(&wrong, &config).unwrap_err().to_string();
        assert!(error.contains("slo.yaml:15: error[unknown-key]"), "{error}");
        let error = load(adoption::TARGET.invalid, &config)
            .unwrap_err()
            .to_string();
        assert!(error.contains("error[adopt-target]"), "{error}");

        let adopted = load(adoption::TARGET.valid, &config).unwrap();
        assert_eq!(adopted[0].name, "checkout-requests");
        let list = "objectives.list=[{name: checkout-requests, service: a, sli: availability, target: 0.9}]";
        let listed = Config::load(None, [], &[list.to_owned()]).unwrap();
        config.objectives.list = listed.objectives.list;
        let error = load(adoption::TARGET.valid, &config)
            .unwrap_err()
            .to_string();
        assert!(error.contains("`checkout-requests`"), "{error}");
    }
}
