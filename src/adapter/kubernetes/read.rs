//! Reads manifests as `kubectl` does: files of several documents, and lists; and says which line is wrong.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::parse::{self, RawObject};
use super::{Inventory, ObjectName, Source};
use crate::model::finding::{Finding, Level, Location};
use crate::openslo::read::SourceFile;
use crate::openslo::tree::{Node, Path, Problem, Tree};

/// Reads files of manifests. Objects that name no namespace are in `default_namespace`.
///
/// What is broken gives a finding of level error and is left out; the rest is read. Files are YAML or JSON as the API server
/// takes them: of Helm and Kustomize, what `helm template` and `kustomize build` make of theirs.
pub fn read_manifests(files: &[SourceFile], default_namespace: &str) -> (Inventory, Vec<Finding>) {
    let mut reader = Reader {
        default_namespace,
        objects: Vec::new(),
        findings: Findings::default(),
    };
    for file in files {
        reader.file(file);
    }
    let mut findings = reader.findings;
    let inventory = parse::inventory(reader.objects, &mut findings);
    (inventory, findings.0)
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// Adds what was found about an object, or about a field of it: then with the line of the field.
    pub(super) fn add(
        &mut self,
        (rule, level): (&str, Level),
        message: String,
        source: &Source,
        field: Option<(&Node, &Path)>,
    ) {
        let path = field.map_or_else(|| source.path.clone(), |(_, path)| source.path.join(path));
        let line = field.map_or(source.line, |(root, _)| root.line_at(&path));
        self.0.push(Finding {
            rule: rule.to_owned(),
            level,
            message,
            location: Some(Location {
                file: source.file.clone(),
                line: (line > 0).then_some(line),
                document: Some(source.document),
                path: Some(path.to_string()),
            }),
        });
    }
}

struct Reader<'a> {
    default_namespace: &'a str,
    objects: Vec<RawObject>,
    findings: Findings,
}

impl Reader<'_> {
    fn file(&mut self, file: &SourceFile) {
        let source = |document, line| Source {
            file: file.name.clone(),
            document,
            path: Path::default(),
            line,
        };
        let tree = Tree::read(&file.name, &file.text);
        if tree.documents.is_empty() && tree.problems.is_empty() {
            let message = "the file holds no manifest".to_owned();
            let rule = ("manifest-empty", Level::Warning);
            self.findings.add(rule, message, &source(0, 0), None);
        }
        for problem in tree.problems {
            let rule = ("manifest-syntax", Level::Error);
            let source = source(problem.document, problem.mark.line);
            let message = unreadable(&problem, file);
            self.findings.add(rule, message, &source, None);
        }
        for (document, node) in tree.documents {
            let (value, source) = (node.to_json(), source(document, node.mark.line));
            self.object(source, &Rc::new(node), value);
        }
    }

    /// Takes an object, or the items of a list.
    fn object(&mut self, source: Source, root: &Rc<Node>, mut value: Value) {
        let refused = |findings: &mut Findings, rule, message: &str| {
            findings.add((rule, Level::Error), message.to_owned(), &source, None);
        };
        let Some(fields) = value.as_object_mut() else {
            let message = "a manifest is a map with `apiVersion`, `kind` and `metadata`";
            return refused(&mut self.findings, "manifest-kind", message);
        };
        let (Some(kind), Some(api_version)) = (text(fields, "kind"), text(fields, "apiVersion"))
        else {
            let message = "`apiVersion` or `kind` is missing: say what this is, or leave out what is no manifest";
            return refused(&mut self.findings, "manifest-kind", message);
        };
        if let Some(item_kind) = kind.strip_suffix("List")
            && let Some(Value::Array(items)) = fields.remove("items")
        {
            for (at, mut item) in items.into_iter().enumerate() {
                if let (Some(fields), false) = (item.as_object_mut(), item_kind.is_empty()) {
                    // The API leaves it out of the items of a list of one kind.
                    let said = [("kind", item_kind), ("apiVersion", &api_version)];
                    for (key, text) in said {
                        fields.entry(key).or_insert_with(|| text.into());
                    }
                }
                let path = source.path.key("items").index(at);
                let item_source = Source {
                    line: root.line_at(&path),
                    path,
                    ..source.clone()
                };
                self.object(item_source, root, item);
            }
            return;
        }
        let metadata = fields.get("metadata").and_then(Value::as_object);
        let named = |key| metadata.and_then(|metadata| text(metadata, key));
        let Some(name) = named("name").or_else(|| named("generateName")) else {
            let message = if kind == "Kustomization" {
                "this tells Kustomize what to build: give the output of `kustomize build` instead"
            } else {
                "`metadata.name` is missing: Kubernetes refuses what has no name"
            };
            return refused(&mut self.findings, "manifest-name", message);
        };
        let namespace = named("namespace");
        self.objects.push(RawObject {
            names_namespace: namespace.is_some(),
            name: ObjectName {
                namespace: namespace.unwrap_or_else(|| self.default_namespace.to_owned()),
                name,
            },
            root: Rc::clone(root),
            source,
            kind,
            api_version,
            value,
        });
    }
}

/// A text that is not empty.
fn text(fields: &Map<String, Value>, key: &str) -> Option<String> {
    let found = fields.get(key).and_then(Value::as_str);
    found.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn unreadable(problem: &Problem, file: &SourceFile) -> String {
    let template = if file.text.contains("{{") {
        "; a template of Helm is no YAML: give the output of `helm template`"
    } else {
        ""
    };
    let (message, column) = (&problem.message, problem.mark.column);
    format!("{message} (column {column}){template}")
}
