//! Edits the text of a manifest, so that its comments and its order stay; and shows what changes.
//!
//! A change is put in as lines of its own, before the first key of the map that it belongs to. Then the text is read again: if it
//! does not say what the patch says (a map in braces, an alias that others share), the object is shown as a whole instead.

use serde_json::Value;
use similar::TextDiff;

use super::model::{EnvSetting, WorkloadPlan};
use super::patch::merge;
use crate::adapter::kubernetes::Workload;
use crate::openslo::read::SourceFile;
use crate::openslo::tree::{Entry, Node, NodeValue, Path, Step, Tree};

/// Lines around a change.
const CONTEXT_LINES: usize = 3;

/// What changes in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The file.
    pub name: String,
    /// The new text, comments and all; none if only [`Self::diff`] shows the change.
    pub text: Option<String>,
    /// A unified diff. It can be applied if there is a new text; else it is of the objects as kubectl prints them.
    pub diff: String,
}

/// The changes of all files, in their order. Each workload comes with its patch.
pub(super) fn changes(
    files: &[SourceFile],
    patches: &[(&Workload, &WorkloadPlan, &Value)],
) -> Vec<FileChange> {
    let mut changes = Vec::new();
    for file in files {
        let mut text = file.text.clone();
        let mut shown = Vec::new();
        let of_file = |(workload, ..): &&(&Workload, &WorkloadPlan, &Value)| {
            workload.source.file == file.name
        };
        for (workload, plan, patch) in patches.iter().filter(of_file) {
            match edited(&file.name, &text, workload, plan, patch) {
                Some(new) => text = new,
                None => shown.push(rendered(workload, patch)),
            }
        }
        if text != file.text {
            let name = file.name.trim_start_matches('/');
            changes.push(FileChange {
                name: file.name.clone(),
                diff: diff(
                    &file.text,
                    &text,
                    &format!("a/{name}"),
                    &format!("b/{name}"),
                ),
                text: Some(text),
            });
        }
        changes.extend(shown.into_iter().map(|diff| FileChange {
            name: file.name.clone(),
            text: None,
            diff,
        }));
    }
    changes
}

fn diff(old: &str, new: &str, from: &str, to: &str) -> String {
    TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(CONTEXT_LINES)
        .header(from, to)
        .to_string()
}

/// The object before and after, as kubectl prints it.
fn rendered(workload: &Workload, patch: &Value) -> String {
    let mut after = workload.manifest.clone();
    merge(&mut after, patch);
    let before = serde_saphyr::to_string(&workload.manifest).unwrap_or_default();
    let after = serde_saphyr::to_string(&after).unwrap_or_default();
    let name = format!("{} ({workload})", workload.source.file);
    diff(&before, &after, &name, &format!("{name}, planned"))
}

/// The text with the change of a workload in it; nothing if it cannot be put in as lines.
fn edited(
    name: &str,
    text: &str,
    workload: &Workload,
    plan: &WorkloadPlan,
    patch: &Value,
) -> Option<String> {
    let mut insertions = Vec::new();
    let tree = Tree::read(name, text);
    let object = object(&tree, workload)?;
    let mut keys = workload.kind.template_path().iter();
    let template = keys.try_fold(object, |node, key| node.get(key))?;
    if !plan.annotations.is_empty() {
        let lines = plan
            .annotations
            .iter()
            .map(|(key, value)| Some(format!("{key}: {}", quoted(value)?)))
            .collect::<Option<Vec<String>>>()?;
        insertions.push(annotations(text, template, lines)?);
    }
    for container in plan.containers.iter().filter(|found| !found.env.is_empty()) {
        let node = template.get("spec")?.get("containers")?;
        let NodeValue::List(items) = &node.value else {
            return None;
        };
        let named = |item: &&Node| item.get("name").and_then(Node::text) == Some(&container.name);
        insertions.push(environment(
            text,
            items.iter().find(named)?,
            &container.env,
        )?);
    }
    let new = insert(text, insertions);
    let mut wanted = workload.manifest.clone();
    merge(&mut wanted, patch);
    let after = Tree::read(name, &new);
    let is_right = after.problems == tree.problems
        && after.documents.len() == tree.documents.len()
        && in_order(self::object(&after, workload)?.to_json()) == in_order(wanted);
    is_right.then_some(new)
}

/// With variables in the order of their names: a merged list has the new ones at its end, an edited text at its beginning.
fn in_order(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (key, field) in fields {
                *field = in_order(field.take());
                if let ("env", Value::Array(items)) = (key.as_str(), field) {
                    items.sort_by_key(|item| item.get("name").map(Value::to_string));
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| *item = in_order(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

/// The node of a workload's object.
fn object<'a>(tree: &'a Tree, workload: &Workload) -> Option<&'a Node> {
    let mut documents = tree.documents.iter();
    let (_, root) = documents.find(|(index, _)| *index == workload.source.document)?;
    let path: &Path = &workload.source.path;
    path.steps()
        .iter()
        .try_fold(root, |node, step| match (step, &node.value) {
            (Step::Key(key), _) => node.get(key),
            (Step::Index(index), NodeValue::List(items)) => items.get(*index),
            (Step::Index(_), _) => None,
        })
}

/// Lines that go before a line of a text, from 1.
struct Insertion {
    line: usize,
    lines: Vec<String>,
}

/// Where annotations go: among those that are there, else into the metadata that is there, else with metadata of their own.
fn annotations(text: &str, template: &Node, lines: Vec<String>) -> Option<Insertion> {
    let wrapped = |key: &str, lines: Vec<String>| {
        let indented = lines.into_iter().map(|line| format!("  {line}"));
        std::iter::once(format!("{key}:")).chain(indented).collect()
    };
    let metadata = template.get("metadata");
    let there = metadata.and_then(|metadata| metadata.get("annotations"));
    match (metadata, there) {
        (_, Some(annotations)) => before_first(text, annotations, lines),
        (Some(metadata), None) => before_first(text, metadata, wrapped("annotations", lines)),
        (None, None) => before_first(
            text,
            template,
            wrapped("metadata", wrapped("annotations", lines)),
        ),
    }
}

fn before_first(text: &str, map: &Node, lines: Vec<String>) -> Option<Insertion> {
    let NodeValue::Map(entries) = &map.value else {
        return None;
    };
    before_entry(text, entries.first()?, lines)
}

/// Before a key that stands on a line of its own.
fn before_entry(text: &str, entry: &Entry, lines: Vec<String>) -> Option<Insertion> {
    let line = entry.mark.line as usize;
    let indent = entry.mark.column.checked_sub(1)? as usize;
    let before: String = text
        .lines()
        .nth(line.checked_sub(1)?)?
        .chars()
        .take(indent)
        .collect();
    if !before.chars().all(|character| character == ' ') {
        return None;
    }
    let lines = lines
        .into_iter()
        .map(|line| format!("{before}{line}"))
        .collect();
    Some(Insertion { line, lines })
}

/// Where variables go: before those that are there, else behind the first key of the container.
fn environment(text: &str, container: &Node, env: &[EnvSetting]) -> Option<Insertion> {
    let mut items = Vec::new();
    for setting in env {
        items.push(format!("- name: {}", setting.name));
        match (&setting.value, &setting.field) {
            (Some(value), _) => items.push(format!("  value: {}", quoted(value)?)),
            (None, Some(field)) => {
                items.push("  valueFrom:".to_owned());
                items.push("    fieldRef:".to_owned());
                items.push(format!("      fieldPath: {field}"));
            }
            (None, None) => return None,
        }
    }
    if let Some(there) = container.get("env") {
        let NodeValue::List(list) = &there.value else {
            return None;
        };
        let line = list.first()?.mark.line as usize;
        let content = text.lines().nth(line.checked_sub(1)?)?;
        let indent = content.strip_suffix(content.trim_start())?;
        if !content.trim_start().starts_with("- ") {
            return None;
        }
        let lines = items
            .into_iter()
            .map(|item| format!("{indent}{item}"))
            .collect();
        return Some(Insertion { line, lines });
    }
    let NodeValue::Map(entries) = &container.value else {
        return None;
    };
    let indented = items.into_iter().map(|item| format!("  {item}"));
    let lines = std::iter::once("env:".to_owned()).chain(indented).collect();
    before_entry(text, entries.get(1)?, lines)
}

fn insert(text: &str, mut insertions: Vec<Insertion>) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for insertion in &mut insertions {
        // Comments before a key belong to it.
        let is_comment = |line: usize| {
            let above = line.checked_sub(2).and_then(|at| lines.get(at));
            above.is_some_and(|above| above.trim_start().starts_with('#'))
        };
        while is_comment(insertion.line) {
            insertion.line -= 1;
        }
    }
    insertions.sort_by_key(|insertion| insertion.line);
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut new = String::with_capacity(text.len() + 1_024);
    let mut waiting = insertions.into_iter().peekable();
    for (line, number) in lines.into_iter().zip(1..) {
        while let Some(insertion) = waiting.next_if(|next| next.line == number) {
            for added in insertion.lines {
                new.push_str(&added);
                new.push_str(line_end);
            }
        }
        new.push_str(line);
    }
    new
}

/// A text as YAML on one line, in quotes that JSON knows, too.
fn quoted(text: &str) -> Option<String> {
    serde_json::to_string(text).ok()
}
