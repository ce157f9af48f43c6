//! Reads OpenSLO v1 files: every finding of the validator, and the documents that have no errors.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::finding::{Finding, Level, Location};
use crate::openslo::rules::Rule;
use crate::openslo::rules::document::{DOCUMENT_BOUNDS, EMPTY_FILE, SYNTAX, WRONG_TYPE};
use crate::openslo::tree::{Node, NodeValue, Path, Problem, Tree};
use crate::openslo::v1::{Document, Kind, Spec};
use crate::openslo::validate::{RawDocument, validate};

/// A file in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As people named it; `-` for standard input.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// What files hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The documents without errors, in the order of the files.
    pub documents: Vec<Located<Document>>,
    /// Every finding, by file and line.
    pub findings: Vec<Finding>,
    /// Documents that were looked at, those with errors included.
    pub document_count: usize,
}

/// A value and where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    source: RawDocument,
}

impl<T> Located<T> {
    /// Where something below the value is: steps that lead nowhere give the nearest line above.
    pub fn location(&self, below: &Path) -> Location {
        self.source.location(below)
    }
}

/// Reads and validates files together: references hold between all of them.
pub fn read(files: &[SourceFile]) -> Reading {
    let mut reading = Reading::default();
    let mut documents = Vec::new();
    for file in files {
        let tree = Tree::read(&file.name, &file.text);
        if tree.documents.is_empty() && tree.problems.is_empty() {
            let message = "the file holds no document".to_owned();
            reading.findings.push(finding(&EMPTY_FILE, file, message));
        }
        reading.document_count += tree.problems.len();
        let problems = tree.problems.into_iter();
        reading
            .findings
            .extend(problems.map(|problem| unreadable(file, problem)));
        for (index, node) in tree.documents {
            objects(file, index, node, &mut documents);
        }
    }
    reading.document_count += documents.len();
    let findings = validate(&documents);
    for (document, found) in documents.into_iter().zip(findings) {
        let is_sound = found.iter().all(|finding| finding.level != Level::Error);
        reading.findings.extend(found);
        if is_sound {
            match typed(document) {
                Ok(read) => reading.documents.push(read),
                Err(finding) => reading.findings.push(finding),
            }
        }
    }
    sort(&mut reading.findings, files);
    reading
}

/// The objects of a document: itself, or the items of a list.
fn objects(file: &SourceFile, index: u32, node: Node, documents: &mut Vec<RawDocument>) {
    let raw = |path, node| RawDocument {
        file: file.name.clone(),
        index,
        path,
        node,
    };
    if let NodeValue::List(items) = node.value {
        let items = items.into_iter().enumerate();
        documents.extend(items.map(|(at, item)| raw(Path::default().index(at), item)));
    } else {
        documents.push(raw(Path::default(), node));
    }
}

fn finding(rule: &Rule, file: &SourceFile, message: String) -> Finding {
    Finding {
        rule: rule.id.to_owned(),
        level: rule.level,
        message,
        location: Some(Location {
            file: file.name.clone(),
            ..Location::default()
        }),
    }
}

fn unreadable(file: &SourceFile, problem: Problem) -> Finding {
    let (rule, message) = if problem.excessive {
        (&DOCUMENT_BOUNDS, problem.message)
    } else {
        let column = problem.mark.column;
        (&SYNTAX, format!("{} (column {column})", problem.message))
    };
    Finding {
        location: Some(Location {
            file: file.name.clone(),
            line: Some(problem.mark.line),
            document: Some(problem.document),
            path: None,
        }),
        ..finding(rule, file, message)
    }
}

/// By file as they were given, then by line.
fn sort(findings: &mut [Finding], files: &[SourceFile]) {
    findings.sort_by_cached_key(|finding| {
        let location = finding.location.as_ref();
        let file = location.map(|location| location.file.as_str());
        let position = files
            .iter()
            .position(|known| Some(known.name.as_str()) == file);
        (position, location.and_then(|location| location.line))
    });
}

fn typed(document: RawDocument) -> Result<Located<Document>, Finding> {
    match document_of(&document.node.to_json()) {
        Ok(value) => Ok(Located {
            value,
            source: document,
        }),
        // The validator has seen more than the types, so that this is a defect; it must not pass unseen.
        Err(error) => Err(Finding {
            rule: WRONG_TYPE.id.to_owned(),
            level: WRONG_TYPE.level,
            message: format!("the document cannot be read: {error}"),
            location: Some(document.location(&Path::default())),
        }),
    }
}

fn document_of(value: &Value) -> Result<Document, serde_json::Error> {
    let field = |key: &str| value.get(key).cloned().unwrap_or_default();
    let spec = field("spec");
    let kind = field("kind").as_str().and_then(Kind::named);
    let kind = kind.ok_or_else(|| serde::de::Error::custom("its kind is unknown"))?;
    Ok(Document {
        metadata: serde_json::from_value(field("metadata"))?,
        spec: match kind {
            Kind::DataSource => Spec::DataSource(serde_json::from_value(spec)?),
            Kind::Slo => Spec::Slo(boxed(spec)?),
            Kind::Sli => Spec::Sli(boxed(spec)?),
            Kind::AlertPolicy => Spec::AlertPolicy(boxed(spec)?),
            Kind::AlertCondition => Spec::AlertCondition(serde_json::from_value(spec)?),
            Kind::AlertNotificationTarget => {
                Spec::AlertNotificationTarget(serde_json::from_value(spec)?)
            }
            Kind::Service => Spec::Service(serde_json::from_value(spec)?),
        },
    })
}

fn boxed<T: DeserializeOwned>(spec: Value) -> Result<Box<T>, serde_json::Error> {
    serde_json::from_value(spec).map(Box::new)
}
