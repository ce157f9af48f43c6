//! SARIF 2.1.0, as GitHub's code scanning and other viewers of findings read it.

use serde_sarif::sarif::{
    ArtifactLocation, Location as SarifLocation, LogicalLocation, Message,
    MultiformatMessageString, PhysicalLocation, Region, ReportingDescriptor, Result as SarifResult,
    ResultLevel, Run, Sarif, Tool, ToolComponent, Version,
};

use super::visible;
use crate::model::finding::{Finding, Level, Location};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// Findings as a SARIF log of one run. `rules` are (id, description); every one is listed, whether it was broken or not.
///
/// A finding without a location has none in SARIF either, which the format allows and GitHub's code scanning refuses:
/// give it one by [`super::located`].
pub fn sarif(
    rules: &[(&'static str, String)],
    findings: &[Finding],
) -> Result<String, serde_json::Error> {
    let driver = ToolComponent::builder()
        .name(env!("CARGO_PKG_NAME"))
        .semantic_version(env!("CARGO_PKG_VERSION"))
        .rules(rules.iter().map(descriptor).collect::<Vec<_>>())
        .build();
    let results: Vec<SarifResult> = findings
        .iter()
        .map(|finding| result(rules, finding))
        .collect();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver).build())
        .results(results)
        .build();
    let log = Sarif::builder()
        .schema(SCHEMA)
        .version(serde_json::to_value(Version::V2_1_0)?)
        .runs(vec![run])
        .build();
    Ok(serde_json::to_string_pretty(&log)? + "\n")
}

fn descriptor((id, description): &(&'static str, String)) -> ReportingDescriptor {
    let text = || {
        MultiformatMessageString::builder()
            .text(visible(description))
            .build()
    };
    ReportingDescriptor::builder()
        .id(*id)
        .short_description(text())
        .full_description(text())
        .help(text())
        .build()
}

fn result(rules: &[(&'static str, String)], finding: &Finding) -> SarifResult {
    let message = Message::builder().text(visible(&finding.message)).build();
    let mut result = SarifResult::builder()
        .rule_id(&finding.rule)
        .level(level(finding.level))
        .message(message)
        .locations(finding.location.iter().map(location).collect::<Vec<_>>())
        .build();
    result.rule_index = rules
        .iter()
        .position(|(id, _)| *id == finding.rule)
        .and_then(|index| i64::try_from(index).ok());
    result
}

fn level(level: Level) -> ResultLevel {
    match level {
        Level::Note => ResultLevel::Note,
        Level::Warning => ResultLevel::Warning,
        Level::Error => ResultLevel::Error,
    }
}

fn location(location: &Location) -> SarifLocation {
    // Code scanning shows nothing without a line, so what is about the whole file stands at its first one.
    let line = i64::from(location.line.unwrap_or(1).max(1));
    let physical = PhysicalLocation::builder()
        .artifact_location(ArtifactLocation::builder().uri(uri(&location.file)).build())
        .region(Region::builder().start_line(line).build())
        .build();
    let mut placed = SarifLocation::builder().physical_location(physical).build();
    placed.logical_locations = location.path.as_deref().map(|path| {
        let place = LogicalLocation::builder().fully_qualified_name(visible(path));
        vec![place.kind("member").build()]
    });
    placed
}

/// A path as a URI reference (RFC 3986): absolute ones as `file:` URIs, all others relative to the repository.
fn uri(file: &str) -> String {
    let path = file.replace('\\', "/");
    let path = path.trim_start_matches("./");
    let scheme = if path.starts_with('/') { "file://" } else { "" };
    let encoded = path.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    std::iter::once(scheme.to_owned()).chain(encoded).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// As published by OASIS; this copy comes with serde-sarif.
    const PUBLISHED_SCHEMA: &str = include_str!("../../../tests/data/sarif-schema-2.1.0.json");

    fn finding(rule: &str, location: Option<Location>) -> Finding {
        Finding {
            rule: rule.to_owned(),
            level: Level::Error,
            message: "target 99.9 is a percentage; write 0.999".to_owned(),
            location,
        }
    }

    fn rules() -> Vec<(&'static str, String)> {
        vec![
            ("unique-name", "names are unique".to_owned()),
            (
                "slo-target-range",
                "a target is above 0 and below 1".to_owned(),
            ),
        ]
    }

    fn log(findings: &[Finding]) -> Value {
        serde_json::from_str(&sarif(&rules(), findings).unwrap()).unwrap()
    }

    fn everywhere() -> Vec<Finding> {
        let at = |file: &str, line| Location {
            file: file.to_owned(),
            line,
            document: Some(0),
            path: Some("$.spec.objectives[0].target".to_owned()),
        };
        vec![
            finding("slo-target-range", Some(at("slo/check out.yaml", Some(12)))),
            finding("slo-target-range", Some(at("/srv/slo.yaml", None))),
            finding("not-listed", Some(at("-", Some(0)))),
            finding("slo-target-range", None),
        ]
    }

    #[test]
    fn the_published_schema_accepts_what_is_written() {
        // As published, the pattern of `language` closes a bracket that it never opens, which strict engines refuse.
        let schema = PUBLISHED_SCHEMA.replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}$");
        let schema: Value = serde_json::from_str(&schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for findings in [everywhere(), Vec::new()] {
            let log = log(&findings);
            let errors: Vec<String> = validator
                .iter_errors(&log)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
        assert!(!validator.is_valid(&serde_json::json!({"version": "2.1.0"})));
    }

    #[test]
    fn a_result_names_rule_file_line_and_path() {
        let log = log(&everywhere());
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["name"], "slo-copilot");
        assert_eq!(run["tool"]["driver"]["rules"][1]["id"], "slo-target-range");
        let result = &run["results"][0];
        assert_eq!(result["ruleId"], "slo-target-range");
        assert_eq!(result["ruleIndex"], 1);
        assert_eq!(result["level"], "error");
        let location = &result["locations"][0];
        let physical = &location["physicalLocation"];
        assert_eq!(physical["artifactLocation"]["uri"], "slo/check%20out.yaml");
        assert_eq!(physical["region"]["startLine"], 12);
        assert_eq!(
            location["logicalLocations"][0]["fullyQualifiedName"],
            "$.spec.objectives[0].target"
        );
    }

    #[test]
    fn what_has_no_line_stands_at_the_first_and_what_has_no_file_nowhere() {
        let log = log(&everywhere());
        let results = &log["runs"][0]["results"];
        let line = |index: usize| &results[index]["locations"][0]["physicalLocation"]["region"]["startLine"];
        assert_eq!((line(1), line(2)), (&Value::from(1), &Value::from(1)));
        assert_eq!(results[2]["ruleIndex"], Value::Null);
        assert_eq!(results[3]["locations"], serde_json::json!([]));
    }

    #[test]
    fn paths_become_uri_references() {
        for (path, wanted) in [
            ("slo/a.yaml", "slo/a.yaml"),
            ("./slo/a.yaml", "slo/a.yaml"),
            (r"slo\a.yaml", "slo/a.yaml"),
            ("/srv/größe#1.yaml", "file:///srv/gr%C3%B6%C3%9Fe%231.yaml"),
            ("a:b?.yaml", "a%3Ab%3F.yaml"),
            ("100%.yaml", "100%25.yaml"),
        ] {
            assert_eq!(uri(path), wanted);
        }
    }
}
