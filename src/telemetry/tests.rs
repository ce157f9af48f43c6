//! What the metrics page says about our own work.

use super::*;

/// A page of metrics that no other test touches.
fn page_of(record: impl FnOnce()) -> String {
    let recorder = prometheus_builder().unwrap().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        describe();
        record();
    });
    render(&recorder.handle())
}

#[test]
fn a_receiver_shows_every_reason_from_the_start() {
    let page = page_of(|| {
        ReceiverCounters::new(Transport::Grpc);
    });
    for line in [
        "slo_copilot_receiver_accepted_spans_total{transport=\"grpc\"} 0",
        "slo_copilot_receiver_excluded_spans_total{transport=\"grpc\"} 0",
        "slo_copilot_receiver_refused_spans_total{transport=\"grpc\",reason=\"overload\"} 0",
        "slo_copilot_receiver_refused_requests_total{transport=\"grpc\",reason=\"too_large\"} 0",
        "slo_copilot_receiver_rejected_spans_total{transport=\"grpc\",reason=\"invalid_id\"} 0",
        "slo_copilot_receiver_late_spans_total{transport=\"grpc\",reason=\"future\"} 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn a_refused_request_counts_once_and_its_spans_apart() {
    let page = page_of(|| {
        let counters = ReceiverCounters::new(Transport::Http);
        counters.refused.overload.increment(0);
        counters.refused.malformed.increment(500);
    });
    for line in [
        "slo_copilot_receiver_refused_requests_total{transport=\"http\",reason=\"overload\"} 1",
        "slo_copilot_receiver_refused_spans_total{transport=\"http\",reason=\"overload\"} 0",
        "slo_copilot_receiver_refused_requests_total{transport=\"http\",reason=\"malformed\"} 1",
        "slo_copilot_receiver_refused_spans_total{transport=\"http\",reason=\"malformed\"} 500",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn every_family_has_help_and_type_and_the_order_never_changes() {
    let record = || {
        ReceiverCounters::new(Transport::Http);
        ReceiverCounters::new(Transport::Grpc);
        EvaluatorMetrics::new().tick_duration.record(0.003);
        ExporterCounters::new("report").ok.increment(1);
        observe_memory();
    };
    let page = page_of(record);
    let helps: Vec<&str> = page.lines().filter(|l| l.starts_with("# HELP")).collect();
    let types = page.lines().filter(|l| l.starts_with("# TYPE")).count();
    assert_eq!((helps.len(), types), (15, 15), "{page}");
    assert!(helps.is_sorted(), "{helps:?}");
    let without_memory = |page: &str| -> Vec<String> {
        let lines = page.lines().filter(|line| !line.starts_with(MEMORY));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(without_memory(&page), without_memory(&page_of(record)));
}

#[test]
fn ticks_fall_into_buckets_with_the_target_as_an_edge() {
    let page = page_of(|| EvaluatorMetrics::new().tick_duration.record(0.019));
    for line in [
        "slo_copilot_tick_duration_seconds_bucket{le=\"0.01\"} 0",
        "slo_copilot_tick_duration_seconds_bucket{le=\"0.02\"} 1",
        "slo_copilot_tick_duration_seconds_count 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn the_recorder_can_be_installed_twice() {
    install_metrics().unwrap();
    let handle = install_metrics().unwrap();
    assert!(render(&handle).contains(BUILD_INFO));
}

#[test]
fn a_filter_that_cannot_be_read_is_named() {
    let error = env_filter(None, "slo_copilot=loudest").unwrap_err();
    assert!(error.to_string().contains("slo_copilot=loudest"), "{error}");
}

#[test]
fn the_environment_wins_over_the_configured_filter_unless_it_is_blank() {
    let chosen = |rust_log: &str| {
        let filter = env_filter(Some(rust_log.to_owned()), "info").unwrap();
        filter.to_string()
    };
    assert_eq!(chosen("debug"), "debug");
    assert_eq!(chosen(" "), "info");
}
