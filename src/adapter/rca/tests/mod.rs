//! Root causes of hand-made incidents, and of none.

mod fixture;
mod summaries;

use crate::adapter::rca::evaluate::{Judged, accuracy, null_check};
use crate::adapter::rca::settings::Settings;
use crate::adapter::rca::tests::fixture::{Wrong, summary, visits};
use crate::adapter::rca::{Signal, analyse, examine};
use crate::model::rca::{Conclusion, RcaReport};
use crate::model::span::SpanKind;
use crate::model::trace::TraceSpan;

fn report(wrong: &Wrong) -> RcaReport {
    let before = summary(&visits(1, 120, &Wrong::default()));
    let incident = summary(&visits(2, 120, wrong));
    analyse(&before, &incident, &Settings::default())
}

/// The services of a report, and the signals that speak against the first.
fn ranked(report: &RcaReport) -> (Vec<&str>, Vec<&str>) {
    let services = report.ranked.iter().map(|cause| cause.service.as_str());
    let evidence = report.ranked.first().map(|cause| cause.evidence.iter());
    let signals = evidence.into_iter().flatten();
    (
        services.collect(),
        signals.map(|one| one.signal.as_str()).collect(),
    )
}

#[test]
fn a_service_that_takes_longer_itself_is_the_cause_and_not_who_waits_for_it() {
    let report = report(&Wrong {
        payment_ms: 200,
        ..Wrong::default()
    });
    assert_eq!(ranked(&report), (vec!["payment"], vec!["self_time"]));
    let evidence = &report.ranked[0].evidence[0];
    let took = (evidence.baseline.unwrap(), evidence.incident.unwrap());
    assert!((0.018..0.023).contains(&took.0), "{took:?}");
    assert!((0.21..0.23).contains(&took.1), "{took:?}");
    assert_eq!(evidence.example_trace_ids.len(), 3);
    assert!(
        evidence.text.starts_with("Payment/Charge takes 2"),
        "{}",
        evidence.text
    );
    assert_eq!(report.ranked[0].operations, ["Payment/Charge"]);
}

#[test]
fn a_slow_way_to_one_service_speaks_against_that_service() {
    let report = report(&Wrong {
        cart_link_ms: 100,
        ..Wrong::default()
    });
    assert_eq!(ranked(&report), (vec!["cart"], vec!["link_time"]));
}

#[test]
fn slow_ways_to_all_that_a_service_calls_speak_against_the_caller() {
    let report = report(&Wrong {
        cart_link_ms: 100,
        payment_link_ms: 100,
        ..Wrong::default()
    });
    let (services, signals) = ranked(&report);
    assert_eq!(services, ["frontend"]);
    assert_eq!(signals, ["link_time"; 2]);
    let text = &report.ranked[0].evidence[0].text;
    assert!(text.ends_with("as do its calls to others"), "{text}");
}

#[test]
fn errors_speak_against_the_service_where_they_begin() {
    let report = report(&Wrong {
        errors: 0.3,
        ..Wrong::default()
    });
    let (services, signals) = ranked(&report);
    assert_eq!(services, ["payment"]);
    assert_eq!(signals[0], "error_origin");
}

#[test]
fn a_service_that_answers_nobody_is_the_cause_though_none_of_its_spans_says_so() {
    let report = report(&Wrong {
        gone: 0.5,
        ..Wrong::default()
    });
    let (services, signals) = ranked(&report);
    assert_eq!(services[0], "payment");
    assert!(signals.contains(&"missing_answers"), "{signals:?}");
    assert!(signals.contains(&"error_origin"), "{signals:?}");
}

#[test]
fn a_service_that_leaves_out_a_part_of_its_work_is_the_cause() {
    let report = report(&Wrong {
        forgets: 0.4,
        ..Wrong::default()
    });
    assert_eq!(ranked(&report), (vec!["payment"], vec!["missing_calls"]));
    let text = &report.ranked[0].evidence[0].text;
    assert!(text.contains("it does without store of payment"), "{text}");
}

#[test]
fn where_work_ends_after_an_answer_the_one_who_answered_is_the_cause() {
    let report = report(&Wrong {
        ends_early: 0.5,
        ..Wrong::default()
    });
    assert_eq!(ranked(&report), (vec!["cart"], vec!["missing_calls"]));
}

#[test]
fn an_exception_that_nobody_passes_on_is_found_in_the_events() {
    let report = report(&Wrong {
        exceptions: 0.3,
        ..Wrong::default()
    });
    let (services, signals) = ranked(&report);
    assert_eq!(services, ["payment"]);
    assert_eq!(signals[0], "error_events");
}

#[test]
fn events_in_another_order_are_found() {
    let report = report(&Wrong {
        disorder: 0.9,
        ..Wrong::default()
    });
    assert_eq!(ranked(&report), (vec!["payment"], vec!["event_order"]));
}

#[test]
fn calls_that_are_made_more_often_speak_against_the_caller() {
    let report = report(&Wrong {
        asks_again: 5,
        ..Wrong::default()
    });
    let (services, signals) = ranked(&report);
    assert_eq!((services[0], signals[0]), ("frontend", "repeated_calls"));
    let evidence = &report.ranked[0].evidence[0];
    assert_eq!(
        (evidence.baseline, evidence.incident),
        (Some(1.0), Some(6.0))
    );
    assert_eq!(
        evidence.text,
        "frontend calls Cart/Get of cart 6.0 times for a request instead of 1.0 (means of 120 requests, 120 before)"
    );
}

#[test]
fn calls_that_are_made_again_after_they_failed_speak_against_who_is_called() {
    let report = report(&Wrong {
        retries: 0.5,
        ..Wrong::default()
    });
    let (services, signals) = ranked(&report);
    assert_eq!(services, ["payment"]);
    assert!(signals.contains(&"repeated_calls"), "{signals:?}");
    let texts: Vec<&str> = report.ranked[0]
        .evidence
        .iter()
        .map(|one| one.text.as_str())
        .collect();
    let again = texts
        .iter()
        .any(|text| text.ends_with("again after calls that failed"));
    assert!(again, "{texts:?}");
}

#[test]
fn messages_that_nobody_takes_speak_against_who_used_to_take_them() {
    let report = report(&Wrong {
        untaken: 1.0,
        ..Wrong::default()
    });
    let (services, signals) = ranked(&report);
    assert_eq!((services[0], signals[0]), ("mailer", "missing_answers"));
}

/// Of a few spans any two halves differ by much: 3 of 9 are the slowest in one deal of 84.
#[test]
fn a_few_slow_spans_of_something_rare_are_no_cause() {
    let rare = |seed: u64, count: usize, slow: &[usize]| {
        let mut traces = visits(seed, 120, &Wrong::default());
        for (number, trace) in traces.iter_mut().step_by(13).take(count).enumerate() {
            let ms = if slow.contains(&number) { 18 } else { 5 } + number as u64 % 2;
            let root = trace.spans[0].clone();
            let rare = TraceSpan {
                operation: "rare".into(),
                end: root.start + ms * 1_000_000,
                ..root
            };
            trace.spans.push(TraceSpan {
                span_id: "rare".into(),
                parent_span_id: Some("root".into()),
                kind: SpanKind::Internal,
                ..rare
            });
        }
        summary(&traces)
    };
    let before = rare(1, 3, &[]);
    let incident = rare(2, 6, &[0, 1, 3, 4]);
    let analysis = examine(&before, &incident, &Settings::default());
    let slow = analysis.findings.iter();
    let mut slow = slow.filter(|finding| &*finding.operation.operation == "rare");
    assert!(slow.any(|finding| finding.signal == Signal::SelfTime && finding.strength > 0.0));
    assert_eq!(analysis.report.conclusion, Conclusion::NothingFound);
}

#[test]
fn one_slow_instance_of_three_is_named() {
    let report = report(&Wrong {
        payment_ms: 200,
        only_on: Some("payment-2"),
        ..Wrong::default()
    });
    assert_eq!(ranked(&report), (vec!["payment"], vec!["self_time"]));
    assert_eq!(report.ranked[0].instances, ["payment-2"]);
    let text = &report.ranked[0].evidence[0].text;
    assert!(text.contains("on payment-2 takes"), "{text}");
}

#[test]
fn no_instance_is_named_where_all_changed() {
    let report = report(&Wrong {
        payment_ms: 200,
        ..Wrong::default()
    });
    assert!(report.ranked[0].instances.is_empty());
}

#[test]
fn errors_count_by_the_requests_that_they_stand_for() {
    // Sampling keeps all that fails and a tenth of the rest: 48 of 120 spans are 6 % of the requests.
    let sampled = |errors| Wrong {
        errors,
        weight: Some(10.0),
        ..Wrong::default()
    };
    let report = report(&sampled(0.4));
    let evidence = &report.ranked[0].evidence[0];
    assert_eq!(evidence.signal, "error_origin");
    let share = evidence.incident.unwrap();
    assert!((0.04..0.09).contains(&share), "{share}");
}

#[test]
fn between_two_times_in_which_nothing_is_wrong_nothing_is_found() {
    let normal = visits(3, 120, &Wrong::default());
    let check = null_check("hand-made", &normal, 25, &Settings::default());
    assert_eq!((check.deals, check.found), (25, 0));
}

#[test]
fn errors_that_are_usual_are_no_cause() {
    let usual = Wrong {
        errors: 0.2,
        exceptions: 0.2,
        forgets: 0.2,
        ..Wrong::default()
    };
    let before = summary(&visits(4, 120, &usual));
    let incident = summary(&visits(5, 120, &usual));
    let report = analyse(&before, &incident, &Settings::default());
    assert_eq!(report.conclusion, Conclusion::NothingFound, "{report:#?}");
    assert!(report.ranked.is_empty());
}

#[test]
fn too_few_traces_are_inconclusive() {
    let before = summary(&visits(1, 120, &Wrong::default()));
    let slow = Wrong {
        payment_ms: 500,
        ..Wrong::default()
    };
    let incident = summary(&visits(2, 9, &slow));
    let report = analyse(&before, &incident, &Settings::default());
    assert_eq!(report.conclusion, Conclusion::Inconclusive);
    assert!(report.ranked.is_empty());
    assert!(
        report.text.contains("adapters.rca.min_traces"),
        "{}",
        report.text
    );
}

#[test]
fn what_else_is_new_or_gone_is_listed() {
    let before = summary(&visits(1, 30, &Wrong::default()));
    let later = Wrong {
        version: "2.0.0",
        forgets: 1.0,
        ..Wrong::default()
    };
    let report = analyse(
        &before,
        &summary(&visits(2, 30, &later)),
        &Settings::default(),
    );
    let changes = report.changes.iter();
    let changes: Vec<(&str, &str, &str)> = changes
        .map(|change| {
            (
                change.kind.as_str(),
                change.service.as_str(),
                change.subject.as_str(),
            )
        })
        .collect();
    assert_eq!(
        changes,
        [
            ("new_version", "payment", "2.0.0"),
            ("vanished_operation", "payment", "store")
        ]
    );
}

#[test]
fn the_same_traces_in_another_order_give_the_same_answer() {
    let settings = Settings::default();
    let slow = Wrong {
        payment_ms: 20,
        errors: 0.1,
        ..Wrong::default()
    };
    let (normal, mut incident) = (visits(1, 60, &Wrong::default()), visits(2, 60, &slow));
    let before = summary(&normal);
    let first = examine(&before, &summary(&incident), &settings);
    incident.reverse();
    assert_eq!(examine(&before, &summary(&incident), &settings), first);
}

#[test]
fn accuracy_is_the_share_of_cases_whose_cause_is_among_the_first() {
    let judged = |rank: Option<usize>, fault_kind: &str| Judged {
        case: "c".to_owned(),
        system: "s".to_owned(),
        cause: "payment".to_owned(),
        fault_kind: fault_kind.to_owned(),
        rank,
        suspects: Vec::new(),
        conclusion: if rank.is_some() {
            Conclusion::Found
        } else {
            Conclusion::NothingFound
        },
        spans: 1,
        seconds: 0.5,
    };
    let rows = accuracy(&[
        judged(Some(1), "slow"),
        judged(Some(2), "slow"),
        judged(Some(6), "broken"),
        judged(None, "broken"),
    ]);
    let kinds: Vec<Option<&str>> = rows.iter().map(|row| row.fault_kind.as_deref()).collect();
    assert_eq!(kinds, [None, Some("broken"), Some("slow")]);
    // Within 1: 1/4; within 2, 3, 4 and 5: 2/4.
    let all = &rows[0];
    assert_eq!((all.cases, all.ac1, all.ac3), (4, 0.25, 0.5));
    assert!((all.avg5 - 0.45).abs() < 1e-12);
    assert_eq!((all.found, all.found_first), (0.75, 0.25));
}
