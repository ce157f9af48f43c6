//! OpenSLO documents as commands take them: files, directories, patterns and standard input; and findings as lines.

use std::collections::BTreeSet;
use std::io::stdin;
use std::path::Path;

use anyhow::Context;

use crate::disk::find::identity;
use crate::exporter::ci;
use crate::model::finding::Finding;
use crate::openslo::read::SourceFile;
use crate::service::objective_files::{find, read_file, read_text};

/// Standard input.
const STANDARD_INPUT: &str = "-";

/// The files that can be read, each once, and why others cannot.
pub(super) fn sources(patterns: &[String]) -> (Vec<SourceFile>, Vec<anyhow::Error>) {
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for pattern in patterns {
        if pattern == STANDARD_INPUT {
            if seen.insert(pattern.into()) {
                standard_input().map_or_else(|error| errors.push(error), |file| files.push(file));
            }
            continue;
        }
        let found = find(Path::new(pattern)).unwrap_or_else(|error| {
            errors.push(error.into());
            Vec::new()
        });
        for path in found {
            if seen.insert(identity(&path)) {
                match read_file(&path) {
                    Ok(file) => files.push(file),
                    Err(error) => errors.push(error.into()),
                }
            }
        }
    }
    (files, errors)
}

fn standard_input() -> anyhow::Result<SourceFile> {
    let text = read_text(stdin().lock()).context("cannot read standard input")?;
    Ok(SourceFile {
        name: STANDARD_INPUT.to_owned(),
        text: text.context("standard input is too large")?,
    })
}

/// A finding as one line. What files hold is quoted, and must neither reach a terminal as commands nor end the line.
pub(super) fn line(finding: &Finding) -> String {
    ci::visible(&finding.to_string()).replace(['\n', '\r', '\t'], " ")
}

/// By file as they were given, then by line.
pub(super) fn sort(findings: &mut [Finding], files: &[SourceFile]) {
    findings.sort_by_cached_key(|finding| {
        let location = finding.location.clone().unwrap_or_default();
        let file = files.iter().position(|file| file.name == location.file);
        (file, location.line)
    });
}

/// A number of things.
pub(super) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
