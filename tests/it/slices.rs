//! Slices of time and composites in PromQL: rules and policies as Prometheus' own promtool evaluates them, against our
//! evaluator.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use slo_copilot::evaluator::burn_rate::Limits;
use slo_copilot::evaluator::composite::{composite_statuses, gating};
use slo_copilot::evaluator::objective::status_of;
use slo_copilot::evaluator::policy::policies;
use slo_copilot::model::report::{ObjectiveStatus, Severity, Verdict};
use slo_copilot::model::slo::{Budgeting, CompositeMember, EmptySlices, Objective, Sli};
use slo_copilot::model::window::{Window, WindowSums};
use slo_copilot::window::measure::{CompositeView, ObjectiveView, PeriodSums};
use slo_copilot::window::slices::{JudgedSlice, SliceAccount, combine};
use slo_copilot::window::snapshot::Snapshot;

use crate::rules::{folder, promtool, ratio, rules};
use crate::support::peers::peer;
use crate::support::process::stderr;

const EMPTY: [(EmptySlices, &str); 3] = [
    (EmptySlices::Good, "good"),
    (EmptySlices::Bad, "bad"),
    (EmptySlices::Excluded, "excluded"),
];

/// An SLO that counts slices of `shop_bad_total` and `shop_all_total`.
fn slo(name: &str, period: &str, objective: &str, empty: &str) -> String {
    let method = if objective.contains("timeSliceTarget") {
        "Timeslices"
    } else {
        "RatioTimeslices"
    };
    format!(
        "---\napiVersion: openslo/v1\nkind: SLO\n\
         metadata: {{name: {name}, annotations: {{slo-copilot.dev/empty-slices: {empty}}}}}\nspec:\n  \
         service: checkout\n  budgetingMethod: {method}\n  timeWindow: [{{duration: {period}, isRolling: true}}]\n  \
         objectives: [{objective}]\n  indicator:\n    metadata: {{name: {name}}}\n    spec:\n      ratioMetric: {}\n",
        ratio("bad", "shop_bad_total", "shop_all_total")
    )
}

#[test]
fn promtool_sees_alerts_of_slices_fire_and_end_when_the_tests_say() {
    let Some(program) = peer("promtool") else {
        return;
    };
    let hours = "{target: 0.9, timeSliceTarget: 0.99, timeSliceWindow: 1h}";
    let minutes = "{target: 0.95, timeSliceWindow: 1m}";
    for (name, period, objective, empty, steps) in [
        ("hours", "28d", hours, "bad", "checkout.5m.test.yaml"),
        (
            "minutes",
            "7d",
            minutes,
            "excluded",
            "checkout.20s.test.yaml",
        ),
    ] {
        let folder = folder(&slo(name, period, objective, empty));
        let output = rules(&folder, &["slos.yaml", "--output", "out", "--tests"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(!said.contains("not every alert"), "{said}");
        let out = folder.path().join("out");
        let check = [
            "check",
            "rules",
            "--lint=all",
            "--lint-fatal",
            "checkout.rules.yaml",
        ];
        promtool(&program, &out, &check);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
        promtool(&program, &out, &["test", "rules", steps]);
    }
}

/// A test that could not fail would prove nothing.
#[test]
fn promtool_refuses_slices_that_are_judged_cut_or_summed_otherwise() {
    let Some(program) = peer("promtool") else {
        return;
    };
    let objective = "{target: 0.9, timeSliceTarget: 0.9, timeSliceWindow: 1h}";
    let folder = folder(&slo("hours", "28d", objective, "bad"));
    let output = rules(&folder, &["slos.yaml", "--output", ".", "--tests"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let path = folder.path().join("checkout.rules.yaml");
    let sound = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("> bool 0.100000001", "> bool 0.12"),
        ("[5h59m59s999ms:1h]", "[4h59m59s999ms:1h]"),
        ("or group(", "or 0 * group("),
    ] {
        let broken = sound.replace(from, to);
        assert_ne!(broken, sound, "{from} does not stand there");
        fs::write(&path, broken).unwrap();
        let tested = Command::new(&program)
            .args(["test", "rules", "checkout.5m.test.yaml"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(!tested.status.success(), "{to} is not seen");
    }
}

/// Slices of five minutes: events a minute, and the bad ones of them. Some are silent, some bad, some half so.
fn courses() -> impl Iterator<Item = (u64, u64)> {
    let mut state = 7_u64;
    (0..12 * 7).map(move |slice| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let dice = (state >> 33) % 10;
        match dice {
            // It begins without events, which no policy counts.
            _ if slice < 7 => (0, 0),
            0..3 => (0, 0),
            3..5 => (20, 5 + dice),
            // At the target of a slice, which is good.
            5 => (20, 2),
            _ => (10 + dice, 0),
        }
    })
}

/// A counter that grows by so much in each minute of a slice.
fn counter(name: &str, each: impl Iterator<Item = u64>) -> String {
    let mut value = 1_000_000;
    let mut values = value.to_string();
    for each in each {
        for _ in 0..5 {
            value += each;
            write!(values, " {value}").unwrap();
        }
    }
    format!("      - {{series: '{name}', values: '{values}'}}\n")
}

fn event_sums((total, bad): (u64, u64)) -> WindowSums {
    WindowSums {
        total: total as f64,
        bad: bad as f64,
        squared: total as f64,
        observed_total: total,
        observed_bad: bad,
    }
}

fn judged_until(budgeting: Budgeting, until_secs: u64) -> (SliceAccount, Vec<JudgedSlice>) {
    let objective = Objective {
        budgeting,
        ..Objective::new("o", "checkout", Sli::Availability, 0.95)
    };
    let mut account = SliceAccount::new(objective.account(), &objective).unwrap();
    let slices = (0_u32..).zip(courses());
    let measured: BTreeMap<u32, WindowSums> = slices
        .filter(|(_, (total, _))| *total > 0)
        .map(|(number, (total, bad))| (number, event_sums((5 * total, 5 * bad))))
        .filter(|(number, _)| u64::from(number + 1) * 300 <= until_secs)
        .collect();
    let judged = account.judge(measured, until_secs);
    account.record(judged.clone(), until_secs);
    (account, judged)
}

#[test]
fn promtool_counts_the_slices_that_the_evaluator_counts() {
    let Some(program) = peer("promtool") else {
        return;
    };
    let slice = "5m".parse().unwrap();
    let mut documents = String::new();
    let mut expected = String::new();
    for (empty, word) in EMPTY {
        let timeslices = Budgeting::Timeslices {
            slice_target: 0.9,
            slice,
            empty,
        };
        let ratios = Budgeting::RatioTimeslices { slice, empty };
        for (method, budgeting, objective) in [
            (
                "t",
                timeslices,
                "{target: 0.95, timeSliceTarget: 0.9, timeSliceWindow: 5m}",
            ),
            ("r", ratios, "{target: 0.95, timeSliceWindow: 5m}"),
        ] {
            let name = format!("{method}-{word}");
            documents.push_str(&slo(&name, "7d", objective, word));
            for hour in [1_u64, 4, 7] {
                let (account, _) = judged_until(budgeting, hour * 3_600);
                let (windows, _) = account.windows();
                for window in [Window::M5, Window::M30, Window::H1, Window::H6] {
                    let at = Window::ALL.iter().position(|held| *held == window).unwrap();
                    let label = window.label();
                    let close = |metric: &str, wanted: Option<f64>| {
                        let series = format!("{metric}{label}{{sloth_slo=\"{name}\"}}");
                        let (wanted, samples) = match wanted {
                            Some(wanted) => (wanted, "[{labels: '{}', value: 1}]"),
                            None => (0.0, "[]"),
                        };
                        format!(
                            "      - expr: count(abs({series} - {wanted}) < 1e-9)\n        eval_time: {hour}h\n        \
                             exp_samples: {samples}\n"
                        )
                    };
                    let ratio = windows[at].error_ratio();
                    let total = ratio.map(|_| windows[at].total);
                    expected.push_str(&close("slo:sli_error:ratio_rate", ratio));
                    expected.push_str(&close("slo:slices_total:sum", total));
                }
            }
        }
    }
    let folder = folder(&documents);
    let output = rules(&folder, &["slos.yaml", "--output", "."]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let test = format!(
        "rule_files: [checkout.rules.yaml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{}{}    \
         promql_expr_test:\n{expected}",
        counter("shop_all_total", courses().map(|(total, _)| total)),
        counter("shop_bad_total", courses().map(|(_, bad)| bad)),
    );
    fs::write(folder.path().join("mine.yaml"), test).unwrap();
    promtool(&program, folder.path(), &["test", "rules", "mine.yaml"]);
}

/// A service that is in trouble alike all the time: events a minute, all and bad.
type Steady = (u64, u64);

fn member(name: &str, target: f64, weight: f64, budgeting: Budgeting) -> Objective {
    Objective {
        budgeting,
        composite: Some(CompositeMember {
            name: "shop".to_owned(),
            weight,
        }),
        ..Objective::new(name, name, Sli::Availability, target)
    }
}

/// What `hours` of steady events leave in every window: the events, or the slices of five minutes.
fn windows_of(
    objective: &Objective,
    (total, bad): Steady,
    hours: u64,
) -> ([WindowSums; 10], Vec<JudgedSlice>) {
    let until_secs = hours * 3_600;
    let events = Window::ALL.map(|window| {
        let minutes = window.secs().min(until_secs) / 60;
        event_sums((minutes * total, minutes * bad))
    });
    let Some(mut account) = SliceAccount::new(objective.account(), objective) else {
        return (events, Vec::new());
    };
    let slices = 0..u32::try_from(until_secs / 300).unwrap();
    let measured = slices.filter(|_| total > 0);
    let measured = measured.map(|number| (number, event_sums((5 * total, 5 * bad))));
    let judged = account.judge(measured.collect(), until_secs);
    account.record(judged.clone(), until_secs);
    (account.windows().0, judged)
}

fn snapshot_of(members: &[(Objective, Steady)], hours: u64) -> Snapshot {
    let mut whole = BTreeMap::new();
    let mut objectives = Vec::new();
    for (objective, events) in members {
        let (windows, judged) = windows_of(objective, *events, hours);
        let weight = objective.composite.as_ref().unwrap().weight;
        combine(&mut whole, &judged, weight, objective.budgeting);
        objectives.push(ObjectiveView {
            objective: Arc::new(objective.clone()),
            windows,
            period: PeriodSums {
                sums: windows[9],
                ..PeriodSums::default()
            },
            since_start: windows[9],
        });
    }
    let first = &members[0].0;
    let key = first.composite_account().unwrap_or_default();
    let composites = SliceAccount::new(key, first).map(|mut account| {
        account.record(whole.into_values(), hours * 3_600);
        let windows = account.windows().0;
        CompositeView {
            name: "shop".to_owned(),
            windows,
            period: PeriodSums {
                sums: windows[9],
                ..PeriodSums::default()
            },
        }
    });
    Snapshot {
        objectives,
        composites: composites.into_iter().collect(),
        ..Snapshot::default()
    }
}

/// Steady services, and whether they page: the budget itself is not asked of slices, so it is let alone.
#[test]
fn promtool_denies_by_the_policy_of_a_composite_where_the_composite_pages() {
    let Some(program) = peer("promtool") else {
        return;
    };
    let slice = "5m".parse().unwrap();
    let empty = EmptySlices::Good;
    let timeslices = Budgeting::Timeslices {
        slice_target: 0.9,
        slice,
        empty,
    };
    let ratios = Budgeting::RatioTimeslices { slice, empty };
    let excluded = Budgeting::RatioTimeslices {
        slice,
        empty: EmptySlices::Excluded,
    };
    let cases: [(Budgeting, [Steady; 2]); 10] = [
        // (3·0.6 + 0)/4 and (3·2 + 0)/4 times the budget of 5 %.
        (Budgeting::Occurrences, [(100, 3), (100, 0)]),
        (Budgeting::Occurrences, [(100, 10), (100, 0)]),
        // One without events burns nothing: (3·1.2 + 0)/4, and (3·16 + 0)/4.
        (Budgeting::Occurrences, [(100, 6), (0, 0)]),
        (Budgeting::Occurrences, [(100, 80), (0, 0)]),
        (timeslices, [(100, 10), (100, 10)]),
        (timeslices, [(100, 0), (100, 11)]),
        // 0.75·8 % + 0.25·4 %, then 0.75·40 % + 0.25·10 %.
        (ratios, [(100, 8), (100, 4)]),
        (ratios, [(100, 40), (100, 10)]),
        (excluded, [(100, 45), (0, 0)]),
        (excluded, [(0, 0), (0, 0)]),
    ];
    let found: Vec<bool> = cases
        .into_iter()
        .map(|(budgeting, events)| denies(&program, budgeting, events))
        .collect();
    assert_eq!(
        found,
        [
            false, true, false, true, false, true, false, true, true, false
        ]
    );
}

/// A composite as a document: its members count `a_…_total` and `b_…_total`.
fn composite_document(members: &[(Objective, Steady)]) -> String {
    let (method, slice) = match members[0].0.budgeting {
        Budgeting::Occurrences => ("Occurrences", ""),
        Budgeting::Timeslices { .. } => {
            ("Timeslices", ", timeSliceTarget: 0.9, timeSliceWindow: 5m")
        }
        Budgeting::RatioTimeslices { .. } => ("RatioTimeslices", ", timeSliceWindow: 5m"),
    };
    let mut document = format!(
        "---\napiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: shop}}\nspec:\n  service: checkout\n  \
         budgetingMethod: {method}\n  timeWindow: [{{duration: 30d, isRolling: true}}]\n  objectives:\n"
    );
    for (objective, _) in members {
        let name = &objective.name;
        let weight = objective.composite.as_ref().unwrap().weight;
        let ratio = ratio(
            "bad",
            &format!("{name}_bad_total"),
            &format!("{name}_all_total"),
        );
        writeln!(
            document,
            "    - {{displayName: {name}, target: {}, compositeWeight: {weight}{slice}, indicator: {{metadata: {{name: {name}}}, \
             spec: {{ratioMetric: {ratio}}}}}}}",
            objective.target
        )
        .unwrap();
    }
    document
}

/// Ratios, counts and pages of a composite as rules record them.
#[test]
fn promtool_records_of_a_composite_what_the_evaluator_measures() {
    let Some(program) = peer("promtool") else {
        return;
    };
    let slice = "5m".parse().unwrap();
    let empty = EmptySlices::Good;
    let timeslices = Budgeting::Timeslices {
        slice_target: 0.9,
        slice,
        empty,
    };
    let ratios = Budgeting::RatioTimeslices { slice, empty };
    let mut pages = Vec::new();
    for (budgeting, targets, events) in [
        (Budgeting::Occurrences, [0.95, 0.99], [(100, 24), (0, 0)]),
        (Budgeting::Occurrences, [0.95, 0.99], [(100, 90), (100, 10)]),
        (timeslices, [0.95, 0.95], [(100, 10), (100, 11)]),
        (ratios, [0.95, 0.95], [(100, 40), (100, 10)]),
    ] {
        let members = [
            (member("a", targets[0], 0.75, budgeting), events[0]),
            (member("b", targets[1], 0.25, budgeting), events[1]),
        ];
        pages.push(recorded_pages(&program, &members));
    }
    assert_eq!(pages, [0, 2, 2, 1]);
}

/// The pages of a composite by the evaluator, which promtool must see as well, with the same ratios.
fn recorded_pages(program: &Path, members: &[(Objective, Steady)]) -> usize {
    let hours = 7;
    let limits = Limits::default();
    let snapshot = snapshot_of(members, hours);
    let views = snapshot.objectives.iter();
    let statuses: Vec<ObjectiveStatus> = views.map(|view| status_of(view, limits)).collect();
    let composite = composite_statuses(&snapshot, &statuses, limits).remove(0);
    let mut series = String::new();
    for (objective, (total, bad)) in members {
        for (metric, each) in [("all", total), ("bad", bad)] {
            writeln!(
                series,
                "      - {{series: {}_{metric}_total, values: '1000000+{each}x{}'}}",
                objective.name,
                hours * 60
            )
            .unwrap();
        }
    }
    let mut expected = String::new();
    for sli in &composite.windows {
        if ![Window::M5, Window::M30, Window::H1, Window::H6].contains(&sli.window) {
            continue;
        }
        let (label, wanted) = (sli.window.label(), sli.error_ratio.unwrap());
        writeln!(
            expected,
            "      - expr: count(abs(slo:sli_error:ratio_rate{label}{{sloth_slo=\"shop\"}} - {wanted}) < 1e-9)\n        \
             eval_time: {hours}h\n        exp_samples: [{{labels: '{{}}', value: 1}}]"
        )
        .unwrap();
    }
    let checks = composite.burn_rates.iter();
    let pages = checks
        .filter(|check| check.firing && check.severity == Severity::Page)
        .count();
    let samples = if pages > 0 {
        format!("[{{labels: '{{}}', value: {pages}}}]")
    } else {
        "[]".to_owned()
    };
    let folder = folder(&composite_document(members));
    let output = rules(&folder, &["slos.yaml", "--output", "."]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let check = [
        "check",
        "rules",
        "--lint=all",
        "--lint-fatal",
        "checkout.rules.yaml",
    ];
    promtool(program, folder.path(), &check);
    let test = format!(
        "rule_files: [checkout.rules.yaml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{series}    \
         promql_expr_test:\n{expected}      - expr: count(ALERTS{{alertname=\"SLOErrorBudgetBurn\",severity=\"page\"}})\n        \
         eval_time: {hours}h\n        exp_samples: {samples}\n"
    );
    fs::write(folder.path().join("mine.yaml"), test).unwrap();
    promtool(program, folder.path(), &["test", "rules", "mine.yaml"]);
    pages
}

/// Whether the evaluator denies a composite of two steady members; promtool must say the same by its policy.
fn denies(program: &Path, budgeting: Budgeting, events: [Steady; 2]) -> bool {
    let hours = 7;
    let limits = Limits::default();
    let weights = if budgeting == Budgeting::Occurrences {
        [3.0, 1.0]
    } else {
        [0.75, 0.25]
    };
    let [a, b] = ["a", "b"];
    let members = [
        (member(a, 0.95, weights[0], budgeting), events[0]),
        (member(b, 0.95, weights[1], budgeting), events[1]),
    ];
    let snapshot = snapshot_of(&members, hours);
    let views = snapshot.objectives.iter();
    let statuses: Vec<ObjectiveStatus> = views.map(|view| status_of(view, limits)).collect();
    let composites = composite_statuses(&snapshot, &statuses, limits);
    let all: Vec<&ObjectiveStatus> = statuses.iter().collect();
    let policy = policies(gating(&all, &composites), &statuses, limits).next();
    let composite = &composites[0];
    let mut checks = composite.burn_rates.iter();
    // Events are held to their budget as well.
    let denies = if budgeting == Budgeting::Occurrences {
        composite.state == Verdict::Fail
    } else {
        checks.any(|check| check.firing && check.severity == Severity::Page)
    };
    let mut series = String::new();
    for (objective, (total, bad)) in &members {
        for (result, each) in [("good", total - bad), ("bad", *bad)] {
            writeln!(
                series,
                "      - series: 'slo_copilot_slo_events_total{{slo=\"{0}\",service=\"{0}\",result=\"{result}\"}}'\n        \
                 values: '1000000+{each}x{1}'",
                objective.name,
                hours * 60
            )
            .unwrap();
        }
    }
    let query = policy.unwrap().promql.replace('\n', "\n            ");
    let samples = if denies {
        "[{labels: '{}', value: 1}]"
    } else {
        "[]"
    };
    let test = format!(
        "evaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{series}    promql_expr_test:\n      \
         - expr: |\n          count(\n            {query}\n          )\n        eval_time: {hours}h\n        \
         exp_samples: {samples}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("case.yaml"), test).unwrap();
    promtool(program, folder.path(), &["test", "rules", "case.yaml"]);
    denies
}
