//! `rules` as its users call it, and what Prometheus' own promtool says to its files.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::peers::peer;
use crate::support::process::{command, stderr};
use crate::support::server::{Server, availability, output_in};

/// An SLO whose indicator is this ratio metric.
fn slo(name: &str, target: &str, window: &str, ratio: &str) -> String {
    format!(
        "---\napiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: {name}, labels: {{team: shop}}}}\nspec:\n  \
         service: checkout\n  budgetingMethod: Occurrences\n  timeWindow: [{{duration: {window}, isRolling: true}}]\n  \
         objectives: [{{target: {target}}}]\n  indicator:\n    metadata: {{name: {name}}}\n    spec:\n      \
         ratioMetric: {ratio}\n"
    )
}

/// A ratio metric of two queries.
pub(crate) fn ratio(part: &str, part_query: &str, total_query: &str) -> String {
    let source =
        |query: &str| format!("{{metricSource: {{type: Prometheus, spec: {{query: '{query}'}}}}}}");
    format!(
        "{{counter: true, {part}: {}, total: {}}}",
        source(part_query),
        source(total_query)
    )
}

const SERVICE: &str =
    "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: checkout}\nspec: {}\n";

pub(crate) fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("slos.yaml"), format!("{SERVICE}{text}")).unwrap();
    folder
}

pub(crate) fn rules(folder: &TempDir, arguments: &[&str]) -> Output {
    command(&["rules"])
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// Every rule of a rule file.
fn all_rules(file: &Value) -> Vec<&Value> {
    let groups = file["groups"].as_array().unwrap().iter();
    groups
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect()
}

/// Runs promtool in a directory, which must be content.
pub(crate) fn promtool(program: &Path, directory: &Path, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert!(output.status.success(), "{arguments:?}: {said}");
}

fn own_counter(result: &str) -> String {
    format!("sum(slo_copilot_slo_events_total{{slo=\"orders\",service=\"checkout\"{result}}})")
}

#[test]
fn a_counter_becomes_the_series_and_groups_of_sloth_with_counts_beside_them() {
    let good = own_counter(",result=\"good\"");
    let folder = folder(&slo(
        "orders",
        "0.999",
        "30d",
        &ratio("good", &good, &own_counter("")),
    ));
    let output = rules(&folder, &["slos.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    insta::assert_snapshot!("orders", stdout(&output));
}

/// What the dashboards 14348 and 14643 of Sloth query.
#[test]
fn every_series_that_the_dashboards_of_sloth_query_is_recorded_with_their_labels() {
    let folder = folder(&slo(
        "orders",
        "0.999",
        "30d",
        &ratio("good", "good_total", "all_total"),
    ));
    let file = yaml(&stdout(&rules(&folder, &["slos.yaml"])));
    let recorded = |name: &str| {
        let found = all_rules(&file)
            .into_iter()
            .find(|rule| rule["record"] == name);
        found
            .unwrap_or_else(|| panic!("{name} is not recorded"))
            .clone()
    };
    let series = [
        "slo:sli_error:ratio_rate5m",
        "slo:sli_error:ratio_rate30m",
        "slo:sli_error:ratio_rate1h",
        "slo:sli_error:ratio_rate2h",
        "slo:sli_error:ratio_rate6h",
        "slo:sli_error:ratio_rate1d",
        "slo:sli_error:ratio_rate3d",
        "slo:sli_error:ratio_rate30d",
        "slo:objective:ratio",
        "slo:error_budget:ratio",
        "slo:time_period:days",
        "slo:current_burn_rate:ratio",
        "slo:period_burn_rate:ratio",
        "slo:period_error_budget_remaining:ratio",
        "sloth_slo_info",
    ];
    for name in series {
        let labels = &recorded(name)["labels"];
        assert_eq!(labels["sloth_id"], "checkout-orders", "{name}");
        assert_eq!(labels["sloth_service"], "checkout", "{name}");
        assert_eq!(labels["sloth_slo"], "orders", "{name}");
        assert_eq!(labels["team"], "shop", "{name}");
        assert_eq!(
            labels["sloth_window"].is_string(),
            name.contains("rate") && name.contains("sli"),
            "{name}"
        );
    }
    assert_eq!(recorded("slo:error_budget:ratio")["expr"], "vector(0.001)");
    let info = &recorded("sloth_slo_info")["labels"];
    assert_eq!(
        (&info["sloth_objective"], &info["sloth_spec"]),
        (&"99.9".into(), &"openslo/v1".into())
    );
    assert!(info["sloth_mode"].is_string() && info["sloth_version"].is_string());
    for alert in all_rules(&file)
        .into_iter()
        .filter(|rule| rule["alert"].is_string())
    {
        assert_eq!(
            alert["labels"]["severity"],
            alert["labels"]["sloth_severity"]
        );
    }
}

#[test]
fn one_alert_of_each_pair_says_which_windows_burn_and_an_unreachable_limit_is_capped() {
    let folder = folder(&slo(
        "orders",
        "0.9",
        "30d",
        &ratio("bad", "bad_total", "all_total"),
    ));
    let file = yaml(&stdout(&rules(&folder, &["slos.yaml"])));
    let alerts = all_rules(&file)
        .into_iter()
        .filter(|rule| rule["alert"] == "SLOErrorBudgetBurn");
    let said: Vec<String> = alerts
        .map(|alert| {
            let labels = &alert["labels"];
            let label = |name: &str| labels[name].as_str().unwrap().to_owned();
            let capped = alert["annotations"]["description"]
                .as_str()
                .unwrap()
                .contains("capped");
            format!(
                "{} {} {} {capped}",
                label("severity"),
                label("long"),
                label("short")
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            "page 1h 5m true",
            "page 6h 30m false",
            "ticket 1d 2h false",
            "ticket 3d 6h false"
        ]
    );
    let text = file.to_string();
    assert!(
        text.contains("> 0.9)") && text.contains("> 0.6)") && !text.contains("0.6000"),
        "{text}"
    );
}

#[test]
fn what_cannot_become_rules_is_said_with_its_place_and_hides_nothing_else() {
    let broken = slo("broken", "0.99", "30d", &ratio("good", "sum(", "all_total"));
    let sound = slo(
        "sound",
        "0.99",
        "30d",
        &ratio("good", "good_total", "all_total"),
    );
    let folder = folder(&format!("{broken}{sound}"));
    let output = rules(&folder, &["slos.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.starts_with("slos.yaml:17: error[rules-promql] `sum(` is no PromQL"),
        "{said}"
    );
    assert!(
        said.contains("$.spec.indicator.spec.ratioMetric.good.metricSource.spec.query"),
        "{said}"
    );
    let written = stdout(&output);
    assert!(
        written.contains("checkout-sound") && !written.contains("checkout-broken"),
        "{written}"
    );

    let missing = rules(&folder, &["slos.yaml", "gone.yaml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stdout(&missing).contains("checkout-sound"));
}

#[test]
fn an_operator_gets_an_object_with_its_namespace_and_labels() {
    let folder = folder(&slo(
        "orders",
        "0.99",
        "28d",
        &ratio("good", "good_total", "all_total"),
    ));
    let arguments = [
        "slos.yaml",
        "--format",
        "operator",
        "--namespace",
        "monitoring",
        "--label",
        "release=prometheus",
    ];
    let object = yaml(&stdout(&rules(&folder, &arguments)));
    assert_eq!(
        (&object["apiVersion"], &object["kind"]),
        (&"monitoring.coreos.com/v1".into(), &"PrometheusRule".into())
    );
    assert_eq!(object["metadata"]["name"], "slo-checkout");
    assert_eq!(object["metadata"]["namespace"], "monitoring");
    assert_eq!(object["metadata"]["labels"]["release"], "prometheus");
    let plain = yaml(&stdout(&rules(&folder, &["slos.yaml"])));
    assert_eq!(object["spec"], plain);
    for wrong in [
        &["slos.yaml", "--label", "a=b"][..],
        &[
            "slos.yaml",
            "--format",
            "operator",
            "--output",
            "o",
            "--tests",
        ],
    ] {
        assert_eq!(rules(&folder, wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// The minutes are calculated by the generator; promtool evaluates the rules with Prometheus' own engine.
#[test]
fn promtool_sees_every_alert_fire_and_end_at_the_minutes_that_the_tests_say() {
    let Some(program) = peer("promtool") else {
        return;
    };
    let good = own_counter(",result=\"good\"");
    let documents = [
        slo(
            "orders",
            "0.999",
            "7d",
            &ratio("good", &good, &own_counter("")),
        ),
        slo(
            "quick",
            "0.9",
            "7d",
            &ratio(
                "good",
                "d_bucket{le=\"0.3\"}",
                "sum(rate(d_count[{{.window}}]))",
            ),
        ),
    ];
    let folder = folder(&documents.concat());
    let output = rules(&folder, &["slos.yaml", "--output", "out", "--tests"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        !stderr(&output).contains("not every alert"),
        "{}",
        stderr(&output)
    );
    let out = folder.path().join("out");
    promtool(
        &program,
        &out,
        &[
            "check",
            "rules",
            "--lint=all",
            "--lint-fatal",
            "checkout.rules.yaml",
        ],
    );
    promtool(
        &program,
        &out,
        &[
            "test",
            "rules",
            "checkout.test.yaml",
            "checkout.5m.test.yaml",
        ],
    );
}

/// A test that could not fail would prove nothing.
#[test]
fn promtool_refuses_rules_with_another_limit_another_window_or_without_the_guard() {
    let Some(program) = peer("promtool") else {
        return;
    };
    let folder = folder(&slo(
        "orders",
        "0.99",
        "7d",
        &ratio("bad", "bad_total", "all_total"),
    ));
    let output = rules(&folder, &["slos.yaml", "--output", ".", "--tests"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let path = folder.path().join("checkout.rules.yaml");
    let sound = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("> 0.144", "> 0.155"),
        ("bad_total[30m]", "bad_total[25m]"),
        ("> 1.5", "> 0.5"),
        ("absent(", "count("),
        (">= 0.01)", ">= 0.02)"),
    ] {
        let broken = sound.replace(from, to);
        assert_ne!(broken, sound, "{from} does not stand there");
        fs::write(&path, broken).unwrap();
        let tested = Command::new(&program)
            .args(["test", "rules", "checkout.test.yaml"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(!tested.status.success(), "{to} is not seen");
    }
}

#[tokio::test]
async fn serve_writes_the_rules_of_its_objectives_as_the_command_makes_them_of_its_documents() {
    let server = Server::start(|config| {
        config.objectives.list = vec![availability("checkout", 0.99)];
    })
    .await;
    server.fresh_report().await;
    let (_, dir) = server.stop().await;
    let written = fs::read_to_string(output_in(&dir, "prometheus/checkout.rules.yaml")).unwrap();
    let documents = output_in(&dir, "openslo/checkout.yaml");
    let made = command(&["rules", documents.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    assert_eq!(yaml(&written), yaml(&stdout(&made)));
    if let Some(program) = peer("promtool") {
        let path = output_in(&dir, "prometheus");
        promtool(
            &program,
            &path,
            &[
                "check",
                "rules",
                "--lint=all",
                "--lint-fatal",
                "checkout.rules.yaml",
            ],
        );
    }
}
