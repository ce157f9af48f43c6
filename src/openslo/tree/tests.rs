//! What is read where, whatever is broken beside it.

use proptest::prelude::*;

use super::*;

fn lines(tree: &Tree) -> Vec<(u32, u32)> {
    let documents = tree.documents.iter();
    documents
        .map(|(index, node)| (*index, node.mark.line))
        .collect()
}

fn problems(tree: &Tree) -> Vec<(u32, u32)> {
    let problems = tree.problems.iter();
    problems
        .map(|problem| (problem.document, problem.mark.line))
        .collect()
}

fn only(text: &str) -> Node {
    let tree = Tree::read("a.yaml", text);
    assert_eq!(tree.problems, []);
    assert_eq!(tree.documents.len(), 1, "{tree:?}");
    tree.documents[0].1.clone()
}

#[test]
fn nodes_know_their_lines_and_keys_keep_their_duplicates() {
    let node = only("# first\na: 1\nb:\n  - c\n  - d: no\na: 2\n");
    let NodeValue::Map(entries) = &node.value else {
        panic!("{node:?}");
    };
    let keys: Vec<(&str, u32)> = entries
        .iter()
        .map(|entry| (entry.key.as_str(), entry.mark.line))
        .collect();
    assert_eq!(keys, [("a", 2), ("b", 3), ("a", 6)]);
    let path = Path::default().key("b").index(1).key("d");
    assert_eq!(node.line_at(&path), 5);
    assert_eq!(path.to_string(), "$.b[1].d");
    assert_eq!(Path::default().key("a.b/c'd").to_string(), r"$['a.b/c\'d']");
}

#[test]
fn documents_before_and_behind_a_broken_one_are_read() {
    let text = "---\na: 1\n---\nb: [1, 2\n---\nc: 3\n...\n---\n\td: x: y\n--- # last\ne: 5\n";
    let tree = Tree::read("a.yaml", text);
    assert_eq!(lines(&tree), [(0, 2), (2, 6), (4, 11)]);
    let broken: Vec<u32> = problems(&tree).iter().map(|(index, _)| *index).collect();
    assert_eq!(broken, [1, 3]);
}

#[test]
fn what_follows_the_root_breaks_its_own_document() {
    let tree = Tree::read("a.yaml", "a: 1\n]\n---\nb: 2\n");
    assert_eq!(lines(&tree), [(1, 4)]);
    assert_eq!(problems(&tree), [(0, 2)]);
}

#[test]
fn empty_documents_are_no_documents_but_count() {
    let tree = Tree::read("a.yaml", "---\n---\n# nothing\n---\na: 1\n---\n");
    assert_eq!(lines(&tree), [(2, 5)]);
    assert_eq!(tree.problems, []);
    assert_eq!(Tree::read("a.yaml", "# nothing\n"), Tree::default());
}

#[test]
fn json_keeps_lines_duplicates_and_surrogate_pairs() {
    let text = "[\n  {\"a\": 1,\n   \"a\": \"\\ud83d\\ude00\"}\n]\n";
    for name in ["a.json", "a.yaml", "-"] {
        let tree = Tree::read(name, text);
        let root = &tree.documents[0].1;
        let NodeValue::List(items) = &root.value else {
            panic!("{root:?}");
        };
        assert_eq!(items[0].mark, Mark { line: 2, column: 3 });
        let NodeValue::Map(entries) = &items[0].value else {
            panic!("{items:?}");
        };
        let lines: Vec<u32> = entries.iter().map(|entry| entry.mark.line).collect();
        assert_eq!(lines, [2, 3]);
        assert_eq!(entries[1].node.text(), Some("😀"));
    }
}

#[test]
fn a_json_file_is_held_to_json() {
    let text = "{\"a\": 1,\n}\n";
    let tree = Tree::read("a.json", text);
    assert_eq!(problems(&tree), [(0, 2)]);
    assert_eq!(Tree::read("a.yaml", text).problems, []);
}

#[test]
fn plain_scalars_follow_yaml_1_2_and_quoted_ones_are_texts() {
    let json = |text: &str| only(&format!("a: {text}")).get("a").unwrap().to_json();
    for (text, number) in [
        ("12", 12.0),
        ("-0.5", -0.5),
        (".5", 0.5),
        ("1e3", 1_000.0),
        ("0x1F", 31.0),
    ] {
        assert_eq!(json(text).as_f64(), Some(number), "{text}");
    }
    assert_eq!(json("true"), Value::Bool(true));
    assert_eq!(json("~"), Value::Null);
    for text in [
        "no", "1.2.3", ".nan", "'1'", "\"true\"", "!!str 5", "! 5", "12:30:45", "--1", "1e",
    ] {
        assert!(json(text).is_string(), "{text}");
    }
}

#[test]
fn traps_of_yaml_1_1_are_known_unless_they_are_quoted() {
    let is_trap = |text: &str| match only(&format!("a: {text}")).get("a").unwrap().value {
        NodeValue::Scalar(ref scalar) => scalar.is_trap(),
        NodeValue::List(_) | NodeValue::Map(_) => panic!("{text}"),
    };
    for text in [
        "no",
        "On",
        "y",
        "12:30:45",
        "2026-11-22",
        "2026-01-01 00:00:00",
        "1_000",
        "0b11",
        ".inf",
    ] {
        assert!(is_trap(text), "{text}");
        assert!(!is_trap(&format!("'{text}'")), "{text}");
    }
    for text in [
        "none",
        "checkout",
        "12",
        "true",
        "a:b",
        "1.2.3",
        "v2026-11-22",
    ] {
        assert!(!is_trap(text), "{text}");
    }
}

#[test]
fn aliases_and_merges_are_followed() {
    let node = only("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}\nc: *x\nd: {<<: [{m: 4}, *x]}\n");
    assert_eq!(
        node.to_json(),
        serde_json::json!({
            "a": {"k": 1, "l": 2}, "b": {"l": 3, "k": 1}, "c": {"k": 1, "l": 2}, "d": {"m": 4, "k": 1, "l": 2},
        })
    );
}

#[test]
fn aliases_that_grow_exponentially_and_depth_are_refused() {
    let laugh = |level: usize| {
        let below = level - 1;
        format!("a{level}: &a{level} [*a{below}, *a{below}]\n")
    };
    let laughs: String = (1..40).map(laugh).collect();
    let laughs = format!("a0: &a0 [x, x]\n{laughs}");
    let deep_alias = format!(
        "a: &a {}{}\nb: {}*a{}\n",
        "[".repeat(40),
        "]".repeat(40),
        "[".repeat(40),
        "]".repeat(40)
    );
    for text in [&laughs, &deep_alias, &"[".repeat(100), &"- ".repeat(100)] {
        let tree = Tree::read("a.yaml", &format!("{text}\n---\nb: 1\n"));
        assert!(tree.problems[0].excessive, "{:?}", tree.problems);
        assert_eq!(tree.documents.len(), 1);
    }
    let brackets = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Tree::read("a.json", &brackets).problems[0].excessive);
    let own = Tree::read("a.yaml", "a: &a [*a]\n");
    assert_eq!(problems(&own), [(0, 1)]);
}

proptest! {
    #[test]
    fn property_no_text_panics_and_every_document_is_counted_once(
        text in "(---\n|a: |- |\\[|\\{|\\}|\\]|\n|  |\"|'|&a |\\*a|\\||<<: |\t|: |#|x|,|\\?|%|!|\\.\\.\\.\n){0,40}",
    ) {
        let tree = Tree::read("a.yaml", &text);
        let mut indices: Vec<u32> = tree.documents.iter().map(|(index, _)| *index).collect();
        indices.extend(tree.problems.iter().map(|problem| problem.document));
        let count = indices.len();
        indices.sort_unstable();
        indices.dedup();
        prop_assert_eq!(indices.len(), count);
        let last_line = u32::try_from(text.lines().count()).unwrap() + 1;
        prop_assert!(tree.problems.iter().all(|problem| problem.mark.line <= last_line));
    }

    #[test]
    fn property_json_means_the_same_in_both_readers(text in "\\PC{0,20}", number in any::<i32>()) {
        let value = serde_json::json!({"a": [text, number, null, true], "b": {"c": f64::from(number) / 8.0}});
        let json = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(json::read(&json).documents[0].1.to_json(), value.clone());
        prop_assert_eq!(yaml::read(&json).documents[0].1.to_json(), value);
    }
}
