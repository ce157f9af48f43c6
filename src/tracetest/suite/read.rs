//! From the text of a file to tests and suites.

use super::problem::{Problem, Source};
use super::reader::{Fields, Reader};
use super::trigger::trigger;
use super::{CompletenessRule, Incomplete, Output, Test};
use crate::openslo::tree::{Mark, Node, NodeValue, ScalarKind, Tree};
use crate::tracetest::suite::checks::checks;

/// A document of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// A test.
    Test(Box<Test>),
    /// Tests one after the other.
    Suite(SuiteDocument),
}

/// `type: TestSuite`.
#[derive(Clone, Debug, PartialEq)]
pub struct SuiteDocument {
    /// Its name.
    pub name: String,
    /// The file.
    pub file: String,
    /// Its tests, in order.
    pub steps: Vec<StepReference>,
}

/// How a suite names a test.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReference {
    /// The id or the name of a test, or a file.
    pub text: String,
    /// The file, seen from where the suite's file was named; nothing for ids and names.
    pub file: Option<String>,
    /// What to say if there is no such test.
    pub missing: Problem,
}

const TEST_FIELDS: [&str; 15] = [
    "id",
    "name",
    "description",
    "for",
    "complete",
    "trigger",
    "specs",
    "edges",
    "n_plus_one",
    "events",
    "order",
    "errors",
    "over",
    "outputs",
    "skipTraceCollection",
];

const SUITE_FIELDS: [&str; 4] = ["id", "name", "description", "steps"];

/// Reads the documents of a file; an error is everything that is wrong with it.
pub fn read(file: &str, text: &str) -> Result<Vec<Document>, Vec<Problem>> {
    let tree = Tree::read(file, text);
    let mut reader = Reader {
        source: Source::new(file, text),
        problems: Vec::new(),
    };
    for problem in &tree.problems {
        reader.report(problem.mark, problem.message.clone());
    }
    if tree.documents.is_empty() && tree.problems.is_empty() {
        let mark = Mark { line: 1, column: 1 };
        reader.report(
            mark,
            "the file holds no test; see `slo-copilot test --help`",
        );
    }
    let mut documents = Vec::new();
    for (_, node) in &tree.documents {
        documents.extend(document(&mut reader, node));
    }
    if reader.problems.is_empty() {
        Ok(documents)
    } else {
        reader
            .problems
            .sort_by_key(|problem| (problem.line, problem.column));
        Err(reader.problems)
    }
}

fn document(reader: &mut Reader<'_>, node: &Node) -> Option<Document> {
    let fields = reader.fields("a document", node, &["type", "spec"])?;
    let kind = reader.required_text(&fields, "a document", "type");
    let Some(spec) = fields.get("spec") else {
        reader.report(fields.mark, "a document needs the field `spec`");
        return None;
    };
    match kind.as_str() {
        "Test" => Some(Document::Test(Box::new(test(reader, spec)?))),
        // As older files call it.
        "TestSuite" | "Transaction" => Some(Document::Suite(suite(reader, spec)?)),
        // Said already.
        "" => None,
        other => {
            let mark = fields.get("type").map_or(fields.mark, |node| node.mark);
            reader.report(
                mark,
                format!("`{other}` is no type; allowed are Test, TestSuite"),
            );
            None
        }
    }
}

fn test(reader: &mut Reader<'_>, node: &Node) -> Option<Test> {
    let what = "a test";
    let fields = reader.fields(what, node, &TEST_FIELDS)?;
    let root = reader.optional_selector(&fields, "for");
    if let (Some(root), Some(node)) = (&root, fields.get("for"))
        && root.alternatives.iter().any(|steps| steps.len() > 1)
    {
        reader.report(
            node.mark,
            "`for` selects root spans, which have no ancestors: one `span[…]`, or several with commas",
        );
    }
    let complete = completeness(reader, &fields);
    let checks = checks(reader, &fields, &complete);
    let before = reader.problems.is_empty();
    if checks.is_empty() && before {
        reader.report(
            fields.mark,
            "the test checks nothing; give it specs, edges, n_plus_one, events, order or errors",
        );
    }
    Some(Test {
        id: reader.optional_text(&fields, "id"),
        name: reader.required_text(&fields, what, "name"),
        description: reader
            .optional_text(&fields, "description")
            .unwrap_or_default(),
        file: reader.source.file.to_owned(),
        line: fields.mark.line,
        root,
        complete,
        checks,
        outputs: outputs(reader, &fields),
        trigger: fields.get("trigger").and_then(|node| trigger(reader, node)),
    })
}

fn completeness(reader: &mut Reader<'_>, fields: &Fields<'_>) -> CompletenessRule {
    let default = CompletenessRule::default();
    let Some(node) = fields.get("complete") else {
        return default;
    };
    let allowed = ["quiet", "timeout", "expect", "incomplete"];
    let Some(fields) = reader.fields("`complete`", node, &allowed) else {
        return default;
    };
    let rule = CompletenessRule {
        quiet: reader.duration(&fields, "quiet").unwrap_or(default.quiet),
        timeout: reader
            .duration(&fields, "timeout")
            .unwrap_or(default.timeout),
        expect: reader.optional_selector(&fields, "expect"),
        incomplete: match reader.optional_text(&fields, "incomplete").as_deref() {
            None | Some("skip") => Incomplete::Skip,
            Some("judge") => Incomplete::Judge,
            Some("fail") => Incomplete::Fail,
            Some(other) => {
                let mark = fields
                    .get("incomplete")
                    .map_or(fields.mark, |node| node.mark);
                let message = format!("`{other}` is not known here; allowed are skip, judge, fail");
                reader.report(mark, message);
                Incomplete::Skip
            }
        },
    };
    if rule.quiet > rule.timeout {
        reader.report(
            fields.mark,
            "`quiet` is longer than `timeout`, so that every trace times out; make it shorter",
        );
    }
    rule
}

fn outputs(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<Output> {
    let mut outputs = Vec::new();
    for node in fields.items("outputs") {
        let what = "an output";
        let Some(fields) = reader.fields(what, node, &["name", "selector", "value"]) else {
            continue;
        };
        let name = reader.required_text(&fields, what, "name");
        let selector = reader.optional_selector(&fields, "selector");
        let Some(value) = fields.get("value") else {
            reader.report(
                fields.mark,
                "an output needs the field `value`, an expression",
            );
            continue;
        };
        if let Some(value) = reader.expression(value) {
            outputs.push(Output {
                name,
                selector,
                value,
            });
        }
    }
    outputs
}

fn suite(reader: &mut Reader<'_>, node: &Node) -> Option<SuiteDocument> {
    let what = "a test suite";
    let fields = reader.fields(what, node, &SUITE_FIELDS)?;
    let name = reader.required_text(&fields, what, "name");
    let file = reader.source.file.to_owned();
    let mut steps = Vec::new();
    for node in fields.items("steps") {
        let NodeValue::Scalar(scalar) = &node.value else {
            reader.report(
                node.mark,
                "a step is the id or the name of a test, or a file",
            );
            continue;
        };
        if scalar.kind == ScalarKind::Null {
            continue;
        }
        let text = scalar.text.clone();
        let is_file = [".yaml", ".yml", ".json"]
            .iter()
            .any(|extension| text.ends_with(extension));
        let folder = std::path::Path::new(&file).parent();
        let path = folder.map(|folder| folder.join(text.trim_start_matches("./")));
        let path = path.map(|path| path.display().to_string());
        let message = format!(
            "there is no test `{text}`; a step is the id or the name of a test of these files, or a file"
        );
        steps.push(StepReference {
            missing: reader.source.problem(node.mark, message),
            file: path.filter(|_| is_file),
            text,
        });
    }
    if steps.is_empty() {
        reader.report(fields.mark, "a test suite needs `steps`, a list of tests");
    }
    Some(SuiteDocument { name, file, steps })
}
