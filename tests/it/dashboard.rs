//! The Grafana dashboard and the alerts of the examples ask for metrics and labels that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use promql_parser::parser::{Expr, LabelModifier, parse};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use slo_copilot::clock::Clock;

use crate::support::eventually;
use crate::support::grpc::accepted;
use crate::support::process::Process;
use crate::support::spans::{attribute, request, span};

const DASHBOARD: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/examples/grafana/slo-copilot.json"
));

const ALERTS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/examples/prometheus/slo-copilot.rules.yml"
));

/// What a query asks for: metrics with the labels that it matches, and labels that it groups by.
#[derive(Default)]
struct Asked {
    metrics: BTreeMap<String, BTreeSet<String>>,
    grouped: BTreeSet<String>,
}

impl ExprVisitor for Asked {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
        let selector = if let Expr::VectorSelector(selector) = expr {
            Some(selector)
        } else if let Expr::MatrixSelector(matrix) = expr {
            Some(&matrix.vs)
        } else {
            None
        };
        if let Some(selector) = selector {
            let labels = self.metrics.entry(selector.name.clone().unwrap());
            let matched = selector.matchers.matchers.iter();
            labels
                .or_default()
                .extend(matched.map(|matcher| matcher.name.clone()));
        }
        if let Expr::Aggregate(aggregate) = expr
            && let Some(LabelModifier::Include(labels)) = &aggregate.modifier
        {
            self.grouped.extend(labels.labels.iter().cloned());
        }
        Ok(true)
    }
}

/// A query as Grafana sends it.
fn asked(query: &str) -> Asked {
    let query = query.replace("$__rate_interval", "1m");
    let expr = parse(&query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut asked = Asked::default();
    let Ok(_) = walk_expr(&mut asked, &expr);
    asked
}

fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap().to_owned());
    queries.collect()
}

/// The expressions of the alerts.
fn alerts() -> Vec<String> {
    let rules: Value = serde_saphyr::from_str(ALERTS).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap().iter();
    let alerts = rules.map(|rule| rule["expr"].as_str().unwrap().to_owned());
    alerts.collect()
}

#[test]
fn panels_of_the_dashboard_do_not_overlap_and_explain_themselves() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut taken = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert!(
            panel["type"] == "row" || !panel["description"].as_str().unwrap().is_empty(),
            "{title}"
        );
        let [x, y, width, height] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + width <= 24, "{title}");
        for place in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            let other = taken.insert(place, title);
            assert_eq!(other, None, "{title} at {place:?}");
        }
    }
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_metrics_and_labels_that_exist() {
    let process = Process::serve(&[
        "evaluator.interval=100ms",
        "trace_buffer.quiet=100ms",
        "storage.durability=wal",
        "exporters.forward.endpoint=http://127.0.0.1:9",
        "adapters.sampling.budget.spans_per_day=1000000",
        "objectives.list=[{name: quick, service: checkout, sli: latency, threshold: 300ms, target: 0.95}]",
    ])
    .await;
    let now = Clock::system().now();
    let entry = span(0, now);
    let call = Span {
        trace_id: entry.trace_id.clone(),
        parent_span_id: entry.span_id.clone(),
        kind: SpanKind::Client.into(),
        attributes: vec![attribute("db.system.name", "postgresql")],
        ..span(1, now)
    };
    let request = request("checkout", vec![entry, call]);
    accepted(&mut process.client().await, &request).await;
    let page = eventually("metrics of the edges", async || {
        let page = process.page().await;
        let calls = page.sum("slo_copilot_dependency_calls_per_second", &[]);
        calls.map(|_| page)
    })
    .await;
    let types: BTreeMap<&str, &str> = page
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();

    let queries = [queries(), alerts()].concat();
    assert!(queries.len() > 40);
    for query in &queries {
        let asked = asked(query);
        // `up` comes from Prometheus.
        for (metric, mut labels) in asked.metrics.into_iter().filter(|(name, _)| name != "up") {
            let family = metric.strip_suffix("_bucket").unwrap_or(&metric);
            let kind = types.get(family);
            let kind = kind.unwrap_or_else(|| panic!("no metric {family}: {query}"));
            assert_eq!(*kind == "histogram", family != metric, "{query}");
            labels.extend(asked.grouped.iter().cloned());
            for label in labels {
                let known = page.labels(&metric);
                assert!(
                    known.is_empty() || known.contains(&label),
                    "{metric} has no label {label}, only {known:?}: {query}"
                );
            }
        }
    }
}
