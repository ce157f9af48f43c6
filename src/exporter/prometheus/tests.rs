//! The page is read back by a parser that accepts nothing beyond the text format.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::fixture::{composite, counters, objective_status, report, verdict, with_durations};
use super::*;

/// A sample's labels by name.
type LabelMap = BTreeMap<String, String>;

/// One family as a strict reader sees it.
#[derive(Debug, Default)]
struct Read {
    kind: String,
    /// (name with suffix, labels) → value.
    samples: BTreeMap<(String, LabelMap), f64>,
}

/// Panics at anything the text format does not allow: a family that comes twice, samples outside
/// their family, duplicates, unknown escapes, different label names in one family, values that are
/// no finite number.
fn parse(page: &str) -> BTreeMap<String, Read> {
    let mut families: BTreeMap<String, Read> = BTreeMap::new();
    let mut current = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("help has a text");
            assert!(!text.is_empty() && !families.contains_key(name), "{line}");
            let kind = lines.next().expect("a type follows the help");
            let kind = kind.strip_prefix(&format!("# TYPE {name} ")).expect(kind);
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
            let read = Read {
                kind: kind.to_owned(),
                ..Read::default()
            };
            families.insert(name.to_owned(), read);
            name.clone_into(&mut current);
        } else {
            let read = families.get_mut(&current).expect("a family begins first");
            let (name, labels, value) = parse_sample(line);
            let suffix = name.strip_prefix(&current).expect(line);
            let allowed: &[&str] = match read.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line}");
            assert!(value.is_finite(), "{line}");
            let duplicate = read.samples.insert((name, labels), value);
            assert_eq!(duplicate, None, "{line}");
        }
    }
    for (name, read) in &families {
        let label_names: BTreeSet<Vec<&str>> = read
            .samples
            .keys()
            .map(|(_, labels)| {
                let names = labels.keys().map(String::as_str);
                names.filter(|label| *label != "le").collect()
            })
            .collect();
        assert!(label_names.len() <= 1, "{name}: {label_names:?}");
    }
    families
}

fn parse_sample(line: &str) -> (String, LabelMap, f64) {
    let (name, rest) = line.split_once('{').expect(line);
    let mut labels = LabelMap::new();
    let mut characters = rest.chars();
    loop {
        let label: String = characters.by_ref().take_while(|c| *c != '=').collect();
        assert!(
            label.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{line}"
        );
        assert_eq!(characters.next(), Some('"'), "{line}");
        let mut value = String::new();
        loop {
            match characters.next().expect(line) {
                '"' => break,
                '\\' => value.push(match characters.next().expect(line) {
                    '\\' => '\\',
                    '"' => '"',
                    'n' => '\n',
                    other => panic!("unknown escape {other:?} in {line}"),
                }),
                other => value.push(other),
            }
        }
        assert_eq!(labels.insert(label, value), None, "{line}");
        match characters.next().expect(line) {
            ',' => {}
            '}' => break,
            other => panic!("{other:?} after a label in {line}"),
        }
    }
    let value = characters.as_str().strip_prefix(' ').expect(line);
    (name.to_owned(), labels, value.parse().expect(line))
}

fn value(families: &BTreeMap<String, Read>, family: &str, labels: &[(&str, &str)]) -> Option<f64> {
    suffixed(families, family, "", labels)
}

fn suffixed(
    families: &BTreeMap<String, Read>,
    family: &str,
    suffix: &str,
    labels: &[(&str, &str)],
) -> Option<f64> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let labels = labels.iter().map(own).collect();
    let key = (format!("{family}{suffix}"), labels);
    families[family].samples.get(&key).copied()
}

/// Labels of a request series; the first value is its service, then operation, kind and outcome.
fn request(values: [&str; 4]) -> Vec<(&str, &str)> {
    let mut labels = vec![("service_namespace", ""), ("environment", "")];
    labels.extend(
        ["service", "operation", "kind", "outcome"]
            .into_iter()
            .zip(values),
    );
    labels
}

#[test]
fn families_stand_in_one_order_whether_or_not_they_have_samples() {
    let order = |page: &str| -> Vec<String> {
        page.lines()
            .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split_once(' ')?.0.to_owned()))
            .collect()
    };
    let expected = [
        REQUESTS,
        REQUEST_DURATION,
        SLO_EVENTS,
        SLO_OBJECTIVE,
        SLI,
        BURN_RATE,
        BUDGET_REMAINING,
        BUDGET_PROJECTED,
        VERDICT,
        CANARY_VERDICT,
        CANARY_SCORE,
    ];
    let mut empty = report();
    empty.operation_counters.clear();
    empty.service_counters.clear();
    empty.baseline_evaluations.clear();
    empty.verdicts.clear();
    for report in [report(), empty] {
        let page = render(&report);
        parse(&page);
        assert_eq!(order(&page), expected);
    }
}

#[test]
fn requests_show_both_outcomes_of_every_operation_from_zero() {
    let families = parse(&render(&report()));
    let of = |labels| value(&families, REQUESTS, &request(labels));
    assert_eq!(
        of(["checkout", "POST /orders", "server", "ok"]),
        Some(900.0)
    );
    assert_eq!(
        of(["checkout", "POST /orders", "server", "error"]),
        Some(100.0)
    );
    assert_eq!(of(["search", "GET /search", "server", "ok"]), Some(12.5));
    assert_eq!(of(["search", "GET /search", "server", "error"]), Some(0.0));
    assert_eq!(families[REQUESTS].samples.len(), 4);
}

#[test]
fn whole_numbers_have_no_fraction() {
    let page = render(&report());
    assert!(page.contains("outcome=\"ok\"} 900\n"), "{page}");
    assert!(page.contains("outcome=\"ok\"} 12.5\n"), "{page}");
}

#[test]
fn a_histogram_is_cumulative_and_its_last_bucket_is_its_count() {
    let families = parse(&render(&report()));
    let bucket = |le| {
        let mut labels = request(["checkout", "", "", "ok"]);
        labels.push(("le", le));
        suffixed(&families, REQUEST_DURATION, "_bucket", &labels)
    };
    assert_eq!(bucket("0.0005"), Some(1.0));
    assert_eq!(bucket("0.001"), Some(2.0));
    assert_eq!(bucket("0.1"), Some(10.0));
    assert_eq!(bucket("2.5"), Some(21.0));
    assert_eq!(bucket("60"), Some(30.0));
    assert_eq!(bucket("+Inf"), Some(31.0));
    let of = |suffix| {
        let labels = request(["checkout", "", "", "ok"]);
        suffixed(&families, REQUEST_DURATION, suffix, &labels)
    };
    assert_eq!(of("_count"), Some(31.0));
    assert_eq!(of("_sum"), Some(201.25));
}

#[test]
fn edges_are_exact_decimal_seconds() {
    for (micros, text) in [
        (500, "0.0005"),
        (1, "0.000001"),
        (100_000, "0.1"),
        (2_500_000, "2.5"),
        (10_000_000, "10"),
    ] {
        assert_eq!(seconds(micros), text);
    }
}

#[test]
fn durations_of_a_service_come_at_one_level_so_that_sums_count_no_request_twice() {
    let mut report = report();
    for series in &mut report.operation_counters {
        *series = with_durations(series.clone());
    }
    // A second operation of `search` without a histogram: its operations do not cover it.
    let search = report.operation_counters[1].service.clone();
    let more = counters(&search, "GET /more", (1.0, 0.0));
    report.operation_counters.push(more);
    let families = parse(&render(&report));
    let count = |labels| suffixed(&families, REQUEST_DURATION, "_count", &request(labels));
    assert_eq!(
        count(["checkout", "POST /orders", "server", "ok"]),
        Some(31.0)
    );
    assert_eq!(count(["checkout", "", "", "ok"]), None);
    assert_eq!(count(["search", "GET /search", "server", "ok"]), None);
    assert_eq!(count(["search", "", "", "ok"]), Some(31.0));
}

#[test]
fn objectives_show_events_target_ratio_burn_rate_and_budget() {
    let families = parse(&render(&report()));
    let with = |more: &[(&'static str, &'static str)]| {
        let mut labels = vec![("slo", "availability-checkout"), ("service", "checkout")];
        labels.extend_from_slice(more);
        labels
    };
    let of = |family, more: &[(&'static str, &'static str)]| value(&families, family, &with(more));
    assert_eq!(of(SLO_EVENTS, &[("result", "good")]), Some(900.0));
    assert_eq!(of(SLO_EVENTS, &[("result", "bad")]), Some(100.0));
    assert_eq!(of(SLO_OBJECTIVE, &[]), Some(0.999));
    assert_eq!(of(SLI, &[("window", "1h")]), Some(0.9));
    assert_eq!(of(BURN_RATE, &[("window", "1h")]), Some(100.0));
    assert_eq!(of(BUDGET_REMAINING, &[]), Some(-99.0));
}

#[test]
fn a_value_that_does_not_exist_has_no_line() {
    let mut report = report();
    let status = &mut report.baseline_evaluations[0];
    status.budget.remaining_ratio = None;
    status.burn_rates[0].long_burn_rate = Some(f64::NAN);
    let page = render(&report);
    let families = parse(&page);
    let labels = [("slo", "availability-checkout"), ("service", "checkout")];
    let mut quiet = labels.to_vec();
    quiet.push(("window", "5m"));
    assert_eq!(value(&families, SLI, &quiet), None);
    assert_eq!(families[BURN_RATE].samples.len(), 0);
    assert_eq!(value(&families, BUDGET_REMAINING, &labels), None);
    assert!(!page.contains("NaN"), "{page}");
}

#[test]
fn a_composite_has_the_gauges_of_an_objective_and_no_events() {
    let mut report = report();
    let mut composite = composite("shop", &["checkout"]);
    composite.budget.projected_remaining_ratio = Some(0.5);
    report.composites = vec![composite];
    let families = parse(&render(&report));
    let labels = [("slo", "shop"), ("service", "checkout")];
    assert_eq!(value(&families, BUDGET_REMAINING, &labels), Some(-99.0));
    assert_eq!(value(&families, BUDGET_PROJECTED, &labels), Some(0.5));
    assert_eq!(value(&families, SLO_OBJECTIVE, &labels), Some(0.999));
    let mut hour = labels.to_vec();
    hour.push(("window", "1h"));
    assert_eq!(value(&families, BURN_RATE, &hour), Some(100.0));
    assert_eq!(families[SLO_EVENTS].samples.len(), 2, "of the objective");

    report.composites[0].services.push("search".to_owned());
    let families = parse(&render(&report));
    let labels = [("slo", "shop"), ("service", "")];
    assert_eq!(value(&families, BUDGET_REMAINING, &labels), Some(-99.0));
}

#[test]
fn exactly_one_verdict_of_each_service_is_1() {
    let mut report = report();
    let doubled = report.verdicts[0].service.clone();
    report.verdicts.push(verdict(doubled, Verdict::Pass));
    report.verdicts.push(verdict(None, Verdict::Pass));
    let families = parse(&render(&report));
    let holds = |service: &str, name: &str| {
        let mut labels = vec![("service_namespace", ""), ("environment", "")];
        labels.extend([("service", service), ("verdict", name)]);
        value(&families, VERDICT, &labels)
    };
    for (service, verdict) in [
        ("", "fail"),
        ("checkout", "fail"),
        ("search", "inconclusive"),
    ] {
        for name in ["pass", "warn", "fail", "inconclusive"] {
            let expected = if name == verdict { 1.0 } else { 0.0 };
            assert_eq!(holds(service, name), Some(expected), "{service} {name}");
        }
    }
}

#[test]
fn services_of_one_name_in_two_environments_do_not_collide() {
    let mut report = report();
    for environment in ["staging", "production"] {
        let mut key = ServiceKey::named("cart");
        key.environment = environment.into();
        report
            .verdicts
            .push(verdict(Some(key.clone()), Verdict::Pass));
        let series = counters(&key, "GET /cart", (1.0, 0.0));
        report.operation_counters.push(series);
    }
    let families = parse(&render(&report));
    assert_eq!(families[VERDICT].samples.len(), 4 * 5);
    assert_eq!(families[REQUESTS].samples.len(), 2 * 4);
}

#[test]
fn the_page_does_not_depend_on_the_order_in_the_report() {
    let mut shuffled = report();
    shuffled
        .baseline_evaluations
        .push(objective_status("a", "checkout"));
    let page = render(&shuffled);
    shuffled.operation_counters.reverse();
    shuffled.service_counters.reverse();
    shuffled.baseline_evaluations.reverse();
    shuffled.verdicts.reverse();
    assert_eq!(render(&shuffled), page);
}

proptest! {
    #[test]
    fn property_any_name_is_read_back_as_it_was(
        operation in "(?s).{1,24}",
        service in r#"[a\\"\n{},= ]{0,12}"#,
    ) {
        let mut report = report();
        let service_key = ServiceKey::named(&service);
        report.operation_counters = vec![counters(&service_key, &operation, (3.0, 0.0))];
        let page = render(&report);
        // A carriage return or another separator of lines may stand in a label; only \n ends a
        // line.
        let lines = page.split('\n').filter(|line| line.starts_with("slo_copilot_requests_total{"));
        let samples: Vec<_> = lines.map(parse_sample).collect();
        prop_assert_eq!(samples.len(), 2);
        prop_assert_eq!(&samples[0].1["operation"], &operation);
        prop_assert_eq!(&samples[0].1["service"], &service);
    }
}
