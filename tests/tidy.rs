//! The architecture as a test: who may import whom, what the core must not touch, and how files look.
//!
//! A failure lists every offence as `path:line: sentence`. The checks read lines as rustfmt leaves them; each
//! has a counter-example at the end of this file, which proves that it can fail.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

/// Each module of `src/` with those that it may import, from the bottom up: a row names earlier rows only, and
/// `*` stands for all of them. Modules that are still to come have their row already. `traffic` reads `trace` since a
/// model of traffic is learnt from whole traces, and `exporter` reads `forward` since its settings stand in section
/// `exporters`.
const LAYERS: &str = "
    model:
    telemetry:
    clock:
    disk:
    pii:
    incoming:
    outgoing:
    otlp: clock outgoing pii

    window: model pii
    trace: model pii
    openslo: model pii
    evaluator: model telemetry clock pii window trace openslo
    tracetest: model pii window trace openslo evaluator

    adapter: model telemetry clock outgoing pii window trace openslo evaluator tracetest
    forward: model telemetry clock disk pii outgoing otlp trace
    exporter: model telemetry clock disk pii window trace openslo evaluator forward
    store: model disk window
    notify: model telemetry clock outgoing window evaluator
    traffic: model telemetry clock outgoing otlp trace

    pipeline: model telemetry clock pii window trace adapter store forward
    receiver: model telemetry clock disk pii incoming otlp window trace pipeline forward
    api: model telemetry clock incoming window trace openslo evaluator exporter

    config: *
    service: *
    cli: *
    lib: *
    main: cli
";

/// Modules that take `now` as an argument, start no task and log nothing.
const PURE_MODULES: [&str; 6] = [
    "window",
    "trace",
    "openslo",
    "pii",
    "evaluator",
    "tracetest",
];

/// The files of pure modules that may hold the module's task; they alone use telemetry and the clock.
const SHELLS: [&str; 2] = ["evaluator/mod.rs", "evaluator/task.rs"];

/// Words that a pure file does not mention.
const IMPURE_WORDS: [&str; 5] = ["tokio", "tonic", "tracing", "SystemTime", "Instant"];

/// Modules that a pure file does not import, whatever its module's row says.
const IMPURE_IMPORTS: [&str; 2] = ["telemetry", "clock"];

/// Clippy's `disallowed_methods` resolves paths but knows no exception for a file; this test does.
const WALL_CLOCK_READS: [&str; 4] = [
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "UNIX_EPOCH.elapsed",
];

/// The longest file, its test modules not counted.
const MAX_LINES: usize = 500;

#[test]
fn a_module_imports_only_what_its_layer_allows() {
    assert_none(sources().unwrap().iter().flat_map(forbidden_imports));
}

#[test]
fn the_layers_are_listed_from_the_bottom_up() {
    let mut below = BTreeSet::from(["*"]);
    for (module, allowed) in layers() {
        for name in allowed.split_whitespace() {
            assert!(below.contains(name), "{module}: {name} is not below it");
        }
        assert!(below.insert(module), "{module} has two rows");
    }
}

#[test]
fn every_file_is_declared_by_a_mod_line() {
    assert_none(undeclared_files(&sources().unwrap()));
}

#[test]
fn every_file_begins_by_saying_what_it_is() {
    assert_none(sources().unwrap().iter().filter_map(missing_introduction));
}

#[test]
fn no_file_is_too_long_to_read() {
    assert_none(sources().unwrap().iter().filter_map(excessive_length));
}

#[test]
fn the_core_knows_no_runtime_no_log_and_no_clock() {
    assert_none(sources().unwrap().iter().flat_map(impure_mentions));
}

#[test]
fn only_the_clock_reads_the_wall_clock() {
    assert_none(sources().unwrap().iter().flat_map(wall_clock_reads));
}

#[test]
fn every_dependency_says_why() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert_none(unexplained_dependencies(&manifest));
}

fn assert_none(offences: impl IntoIterator<Item = String>) {
    let offences: Vec<String> = offences.into_iter().collect();
    let (count, list) = (offences.len(), offences.join("\n"));
    assert!(offences.is_empty(), "offences: {count}\n{list}");
}

// === The rules ===

fn forbidden_imports(source: &Source) -> Vec<String> {
    let module = source.module();
    let Some(allowed) = allowed_imports(module) else {
        return vec![source.offence(1, &format!("{module} has no row in LAYERS"))];
    };
    source
        .imports()
        .into_iter()
        .filter(|(_, import)| import != module && !allowed.contains(&import.as_str()))
        .map(|(line, import)| {
            let rule = format!("{module} may not import {import}, only {allowed:?}");
            source.offence(line, &rule)
        })
        .collect()
}

/// The modules that `module` may import; nothing if it has no row.
fn allowed_imports(module: &str) -> Option<Vec<&'static str>> {
    let (_, allowed) = layers().find(|(name, _)| *name == module)?;
    Some(if allowed == "*" {
        let below = layers().take_while(|(name, _)| *name != module);
        below.map(|(name, _)| name).collect()
    } else {
        allowed.split_whitespace().collect()
    })
}

fn layers() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = LAYERS.lines().filter_map(|line| line.split_once(':'));
    rows.map(|(module, allowed)| (module.trim(), allowed.trim()))
}

fn undeclared_files(sources: &[Source]) -> Vec<String> {
    let mut declared = BTreeSet::from(["lib.rs".to_owned(), "main.rs".to_owned()]);
    for source in sources {
        let folder = source.folder_of_children();
        for line in source.text.lines().map(without_comment) {
            let declaration = line.rsplit_once("mod ").filter(|(visibility, _)| {
                let visibility = visibility.trim();
                visibility.is_empty() || visibility.starts_with("pub")
            });
            if let Some(name) = declaration.and_then(|(_, name)| name.strip_suffix(';')) {
                declared.insert(format!("{folder}{name}.rs"));
                declared.insert(format!("{folder}{name}/mod.rs"));
            }
        }
    }
    sources
        .iter()
        .filter(|source| !declared.contains(&source.path))
        .map(|source| source.offence(1, "no `mod` line declares this file"))
        .collect()
}

fn missing_introduction(source: &Source) -> Option<String> {
    (!source.text.starts_with("//! ")).then(|| source.offence(1, "does not begin with `//! `"))
}

fn excessive_length(source: &Source) -> Option<String> {
    let lines = source.production_lines;
    let rule = format!("{lines} lines besides tests, at most {MAX_LINES}");
    (lines > MAX_LINES).then(|| source.offence(1, &rule))
}

fn impure_mentions(source: &Source) -> Vec<String> {
    if !PURE_MODULES.contains(&source.module()) || SHELLS.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let mut mentions = source.imports();
    mentions.retain(|(_, import)| IMPURE_IMPORTS.contains(&import.as_str()));
    for (line, number) in source.production.lines().zip(1..) {
        let words = line.split(|character| !is_part_of_word(character));
        let impure = words.filter(|word| IMPURE_WORDS.contains(word));
        mentions.extend(impure.map(|word| (number, word.to_owned())));
    }
    mentions
        .into_iter()
        .map(|(line, word)| source.offence(line, &format!("pure code mentions {word}")))
        .collect()
}

fn wall_clock_reads(source: &Source) -> Vec<String> {
    if source.module() == "clock" {
        return Vec::new();
    }
    let lines = source.text.lines().map(without_comment).zip(1..);
    lines
        .filter(|(line, _)| WALL_CLOCK_READS.iter().any(|read| line.contains(read)))
        .map(|(_, number)| source.offence(number, "only clock.rs reads the wall clock"))
        .collect()
}

fn unexplained_dependencies(manifest: &str) -> Vec<String> {
    let mut in_dependencies = false;
    let mut offences = Vec::new();
    for (line, number) in manifest.lines().zip(1..) {
        let is_header = line.starts_with('[');
        if is_header {
            in_dependencies = line.contains("dependencies");
        }
        // `[dependencies.name]` is a dependency, `[dependencies]` is none.
        let is_dependency = if is_header {
            line.contains("dependencies.")
        } else {
            line.starts_with(is_part_of_word)
        };
        let comment = line.split_once('#').map_or("", |(_, comment)| comment);
        if in_dependencies && is_dependency && comment.trim().is_empty() {
            offences.push(format!("Cargo.toml:{number}: no comment says why: {line}"));
        }
    }
    offences
}

// === The sources ===

/// A file of `src/`.
struct Source {
    /// Relative to `src/`, with `/` between folders.
    path: String,
    text: String,
    /// The text without comments and test modules, which leave empty lines behind.
    production: String,
    /// The lines of the text, comments included, that are in no test module.
    production_lines: usize,
}

/// Where a line of a file stands.
enum Region {
    Production,
    /// After `#[cfg(test)]`, where `mod … {` may follow.
    TestAttribute,
    /// In a test module, which this line closes.
    Tests(String),
}

impl Source {
    fn new(path: String, text: String) -> Self {
        let is_test_file = path.ends_with("/tests.rs") || path.contains("/tests/");
        let mut production = String::new();
        let mut production_lines = 0;
        let mut region = Region::Production;
        for line in text.lines() {
            let code = line.trim_start();
            let next = match &region {
                Region::Production => (code == "#[cfg(test)]").then_some(Region::TestAttribute),
                Region::TestAttribute if code.starts_with("mod ") && code.ends_with('{') => {
                    Some(Region::Tests(line.replace(code, "}")))
                }
                Region::TestAttribute => code
                    .ends_with([';', '{', '}'])
                    .then_some(Region::Production),
                Region::Tests(end) => (line == end).then_some(Region::Production),
            };
            region = next.unwrap_or(region);
            if !is_test_file && !matches!(region, Region::Tests(_)) {
                production.push_str(without_comment(line));
                production_lines += 1;
            }
            production.push('\n');
        }
        Self {
            path,
            text,
            production,
            production_lines,
        }
    }

    /// The module below the crate's root: `window` for `window/sketch.rs`, `lib` for `lib.rs`.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// Where the modules that this file declares are, as a prefix of their paths.
    fn folder_of_children(&self) -> String {
        let path = self.path.trim_end_matches(".rs");
        match path.rsplit_once('/') {
            Some((folder, "mod")) => format!("{folder}/"),
            None if matches!(path, "lib" | "main") => String::new(),
            _ => format!("{path}/"),
        }
    }

    /// The line and first segment of each path from the crate's root: `crate::a::B`, `crate::{a::B, c}`, and
    /// `super::a` where `super` is the root.
    fn imports(&self) -> Vec<(usize, String)> {
        let depth = self.folder_of_children().matches('/').count();
        let supers = "super::".repeat(depth.max(1));
        let mut imports = Vec::new();
        for root in ["crate::", "slo_copilot::", &supers] {
            for (position, _) in self.production.match_indices(root) {
                let (before, path) = self.production.split_at(position);
                if before.ends_with(is_part_of_word) {
                    continue;
                }
                let line = 1 + before.matches('\n').count();
                let path = path.trim_start_matches(root);
                let segments = first_segments(path).into_iter();
                // `super` of an inline module is this file: only the name of a module tells that it is the root.
                let segments = segments
                    .filter(|segment| root != supers || layers().any(|(name, _)| name == segment));
                imports.extend(segments.map(|segment| (line, segment)));
            }
        }
        imports
    }

    fn offence(&self, line: usize, rule: &str) -> String {
        format!("src/{}:{line}: {rule}", self.path)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> io::Result<Vec<Source>> {
    let src = root().join("src");
    let mut sources = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&src).unwrap_or(&path);
                let name = name.to_string_lossy().replace('\\', "/");
                sources.push(Source::new(name, fs::read_to_string(&path)?));
            }
        }
    }
    sources.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(sources)
}

/// `a` of `a::B`; `a` and `c` of `{a::B, c::{D, E}}`; `*` of `*`.
fn first_segments(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        let end = path.find(|character| !is_part_of_word(character));
        let name = end.and_then(|end| path.get(..end.max(1))).unwrap_or(path);
        return vec![name.to_owned()];
    };
    let mut depth = 1_usize;
    let top_level: String = group
        .chars()
        .map_while(|character| {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            let shown = if depth == 1 { character } else { ' ' };
            (depth > 0).then_some(shown)
        })
        .collect();
    let parts = top_level.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .flat_map(first_segments)
        .collect()
}

fn without_comment(line: &str) -> &str {
    let is_comment = line.trim_start().starts_with("//");
    let code = line.split(" // ").next().unwrap_or_default();
    if is_comment { "" } else { code.trim_end() }
}

fn is_part_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

// === Each rule can fail ===

fn source(path: &str, text: &str) -> Source {
    Source::new(path.to_owned(), text.to_owned())
}

#[test]
fn forbidden_imports_are_found_however_they_are_written() {
    for (path, code) in [
        ("window/mod.rs", "use crate::store::Store;"),
        (
            "window/mod.rs",
            "use crate::{\n    model::{Span, Kind},\n    store,\n};",
        ),
        ("window/mod.rs", "use super::store::Store;"),
        ("window/rolling.rs", "use super::super::store::Store;"),
        ("window/rolling.rs", "fn f() { crate::store::open(); }"),
        ("window/rolling.rs", "use crate::Store;"),
        ("window/rolling.rs", "use crate::*;"),
        ("model/span.rs", "use crate::clock::Clock;"),
        ("exporter/report.rs", "use crate::store::Store;"),
        ("service.rs", "use crate::cli::Arguments;"),
        ("main.rs", "use slo_copilot::service::Service;"),
        ("novelty.rs", ""),
    ] {
        let offences = forbidden_imports(&source(path, code));
        assert_eq!(offences.len(), 1, "{path}: {code}: {offences:?}");
    }
}

#[test]
fn allowed_imports_comments_and_tests_are_no_offence() {
    let text = "//! Not [`crate::store`].\n\
        use crate::model::{span::Span, series::{SeriesKey, ServiceKey}};\n\
        use crate::{model::slo, window::Window};\n\
        use super::sketch::Sketch; // not crate::store\n\
        #[cfg(test)]\n\
        #[expect(\n    clippy::float_cmp,\n    reason = \"exact\"\n)]\n\
        mod tests {\n    use crate::store::Store;\n}\n";
    let offences = forbidden_imports(&source("window/rolling.rs", text));
    assert_eq!(offences, Vec::<String>::new());

    let text = format!("{text}use crate::store::Store;\n");
    let offences = forbidden_imports(&source("window/rolling.rs", &text));
    let after_the_tests =
        "src/window/rolling.rs:13: window may not import store, only [\"model\", \"pii\"]";
    assert_eq!(offences, [after_the_tests]);
}

#[test]
fn a_file_that_no_mod_line_declares_is_found() {
    let sources = [
        source("lib.rs", "pub mod a;\n// mod b;\nuse c::mod b;"),
        source("a/mod.rs", "pub(crate) mod c;"),
        source("a/c.rs", "#[cfg(test)]\nmod tests;"),
        source("a/c/tests.rs", ""),
        source("a/d.rs", ""),
        source("b.rs", ""),
    ];
    let undeclared = ["src/a/d.rs:1", "src/b.rs:1"];
    let rule = "no `mod` line declares this file";
    assert_eq!(
        undeclared_files(&sources),
        undeclared.map(|place| format!("{place}: {rule}"))
    );
}

#[test]
fn a_file_without_introduction_is_found() {
    assert!(missing_introduction(&source("a.rs", "/// No.\nuse a;")).is_some());
    assert!(missing_introduction(&source("a.rs", "//! Yes.\n")).is_none());
}

#[test]
fn a_file_is_too_long_only_by_its_production_lines() {
    let code = "fn f() {}\n".repeat(MAX_LINES - 2);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
    let at_the_limit = format!("{code}{tests}");
    assert_eq!(excessive_length(&source("a.rs", &at_the_limit)), None);
    let above = source("a.rs", &format!("{at_the_limit}fn g() {{}}\n"));
    assert_eq!(
        excessive_length(&above).as_deref(),
        Some("src/a.rs:1: 501 lines besides tests, at most 500")
    );
}

#[test]
fn impure_words_are_found_in_the_core_only() {
    for text in [
        "async fn f() { tokio::task::yield_now().await }",
        "use tracing::info;",
        "use std::time::Instant;",
        "use crate::clock::Clock;",
    ] {
        for (path, count) in [
            ("evaluator/verdict.rs", 1),
            ("evaluator/mod.rs", 0),
            ("receiver/otlp_grpc.rs", 0),
        ] {
            let offences = impure_mentions(&source(path, text));
            assert_eq!(offences.len(), count, "{path}: {text}: {offences:?}");
        }
    }
}

#[test]
fn a_wall_clock_read_is_found_in_tests_too() {
    let text = "#[cfg(test)]\nmod tests {\n    fn f() { SystemTime::now(); }\n}\n";
    let offences = wall_clock_reads(&source("cli/mod.rs", text));
    let expected = "src/cli/mod.rs:3: only clock.rs reads the wall clock";
    assert_eq!(offences, [expected]);
    assert!(wall_clock_reads(&source("clock.rs", text)).is_empty());
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let manifest = "[package]\nname = \"a\"\n[dependencies]\nb = \"1\"\nc = \"1\" # because\n\
        [dev-dependencies.d]\n[target.'cfg(unix)'.dependencies]\ne = \"1\" #\n\
        [lints.rust]\nunsafe_code = \"forbid\"\n";
    let prefix = "no comment says why";
    assert_eq!(
        unexplained_dependencies(manifest),
        [
            format!("Cargo.toml:4: {prefix}: b = \"1\""),
            format!("Cargo.toml:6: {prefix}: [dev-dependencies.d]"),
            format!("Cargo.toml:8: {prefix}: e = \"1\" #"),
        ]
    );
}
