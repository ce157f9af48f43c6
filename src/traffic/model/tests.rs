//! Models that are read, written and refused.

use super::*;
use crate::traffic::shop;

const GOOD: &str = "services:
  a:
    operations:
      a:
        http: {method: GET, route: /}
        steps:
          - call: {service: b, operation: b}
  b:
    operations:
      b:
        consumer: {destination: q}
load:
  - {service: a, operation: a, per_minute: 60}
";

#[test]
fn a_model_is_read_as_it_was_written() {
    for model in [shop::model(), Model::from_yaml("good", GOOD).unwrap()] {
        let yaml = model.to_yaml().unwrap();
        assert_eq!(Model::from_yaml("again", &yaml).unwrap(), model, "{yaml}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_its_remedy() {
    for (was, is, said) in [
        (
            "operation: b}",
            "operation: c}",
            "services.a.operations.a.steps[0]: service \"b\" has no operation \"c\"; there are b",
        ),
        (
            "call: {service: b",
            "call: {service: d",
            "no service \"d\"; there are a, b",
        ),
        (
            "per_minute: 60",
            "per_minute: -1",
            "load[0].per_minute: is -1",
        ),
        (
            "        consumer: {destination: q}",
            "        time: {constant_ms: 1}",
            "services.b.operations.b: needs exactly one of http",
        ),
        (
            "route: /}",
            "route: /}\n        gaps: [1]",
            "services.a.operations.a.gaps: 1 shares for 1 steps",
        ),
        (
            "route: /}",
            "route: /}\n        errors: [{ratio: 0.7}, {ratio: 0.7}]",
            "add up to 1.4",
        ),
        (
            "route: /}",
            "route: /}\n        time: {lognormal: {median_ms: -2, sigma: 1}}",
            "median_ms is -2",
        ),
        (
            "service: b, operation: b}",
            "service: a, operation: a}",
            "services.a.operations.a: calls itself",
        ),
        (
            "load:",
            "faults: [{at: 1m, target: {service: z}, fault: {error: 1}}]\nload:",
            "faults[0].target: no service \"z\"",
        ),
        (
            "load:",
            "faults: [{at: 1m}]\nload:",
            "faults[0].fault: nothing is wrong",
        ),
        (
            "load:",
            "shape: {daily: [1, 2]}\nload:",
            "shape.daily: has 2 factors, not 24",
        ),
    ] {
        assert!(GOOD.contains(was), "{was}");
        let error = Model::from_yaml("m.yaml", &GOOD.replace(was, is)).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("m.yaml: ") && error.contains(said),
            "{error}"
        );
    }
}

#[test]
fn an_unknown_field_is_an_error_with_its_line() {
    let error = Model::from_yaml("m.yaml", &GOOD.replace("route: /}", "rout: /}")).unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("m.yaml: line 5 column") && error.contains("--> m.yaml:5:"),
        "{error}"
    );
    assert!(error.contains("unknown field `rout`"), "{error}");
}

#[test]
fn days_and_weeks_have_their_factors() {
    let mut daily = vec![1.0; 24];
    daily[12] = 3.0;
    let shape = LoadShape {
        daily,
        weekly: vec![1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.25],
        bursts: Vec::new(),
    };
    // 4 January 1970 was a Sunday.
    let at = |day: f64, hour: f64| shape.factor((day * 24.0 + hour) * 3_600.0, 0.0);
    assert!((at(0.0, 12.5) - 3.0).abs() < 1e-9);
    assert!(
        (at(0.0, 12.0) - 2.0).abs() < 1e-9,
        "half way between the middles of two hours"
    );
    assert!((at(2.0, 3.0) - 0.5).abs() < 1e-9);
    assert!((at(3.0, 3.0) - 0.25).abs() < 1e-9);
    assert!((shape.max_factor() - 3.0).abs() < 1e-9);
}
