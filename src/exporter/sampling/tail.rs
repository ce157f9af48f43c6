//! `sampling/collector-tail.yaml`: a Collector that keeps whole traces, all with errors and slow ones, the rest by the plan.

use std::fmt;
use std::time::Duration;

use super::{percent, quoted, setting};
use crate::model::report::Report;
use crate::model::sampling::{SamplingPlan, ServiceSampling};
use crate::model::window::{Window, ladder_edge_micros};

/// Fewer requests do not tell what is slow.
const MIN_EVENTS: u64 = 100;

const HEAD: &str = "\
# Sampling of whole traces in an OpenTelemetry Collector (contrib, 0.161 or newer).
#
# Give it to the Collector as a further --config, and name the processor in the pipeline of traces:
#   service:
#     pipelines:
#       traces: {receivers: [otlp], processors: [tail_sampling], exporters: [otlp]}
#
# Kept are traces with an error, those whose root took longer than the 99th percentile of its service (the next edge of the
# latency ladder), and of the others the share of the plan, by the service and the name of the root span. What no plan names
# is kept, and so is a trace whose root does not come. All spans of a trace must reach the same Collector.
#
# Start it with --feature-gates=processor.tailsamplingprocessor.usetracestate: what is kept then carries its share
# (tracestate ot=th), without which nothing behind it can count. SLIs belong before it: let slo-copilot see all spans.
processors:
  tail_sampling:
    decision_wait: 30s
    policies:
      - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
";

/// The file; what is slow comes from the report.
pub(super) struct Tail<'a>(pub(super) &'a SamplingPlan, pub(super) &'a Report);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan, report) = self;
        text.write_str(HEAD)?;
        write_policies(text, plan, report)
    }
}

fn write_policies(
    text: &mut fmt::Formatter<'_>,
    plan: &SamplingPlan,
    report: &Report,
) -> fmt::Result {
    let no_root = r#"{name: root, type: ottl_condition, ottl_condition: {error_mode: ignore, span: ["IsRootSpan()"]}}"#;
    writeln!(text, "      - name: rootless\n        type: not")?;
    writeln!(text, "        not:\n          not_sub_policy: {no_root}")?;
    for service in &plan.services {
        let name = &service.service;
        if let Some(micros) = slow_micros(report, name) {
            let slow = format!(
                "{} and span.end_time_unix_nano - span.start_time_unix_nano > {}",
                begins_in(name),
                micros * 1_000
            );
            writeln!(text, "      - name: {}", setting(&format!("slow: {name}")))?;
            write_condition(text, "        ", &slow)?;
        }
        write_service(text, service)?;
    }
    let planned = plan.services.iter();
    let others: Vec<String> = std::iter::once("IsRootSpan()".to_owned())
        .chain(planned.map(|own| format!("{SERVICE} != {}", quoted(&own.service))))
        .collect();
    writeln!(text, "      - name: unplanned")?;
    write_condition(text, "        ", &others.join(" and "))
}

/// The operations with a share of their own, then all others.
fn write_service(text: &mut fmt::Formatter<'_>, service: &ServiceSampling) -> fmt::Result {
    let ServiceSampling {
        service: name,
        default_ratio,
        operations,
    } = service;
    let mut rest = begins_in(name);
    for (number, known) in (1..).zip(operations) {
        let operation = quoted(&known.operation);
        let condition = format!("{} and span.name == {operation}", begins_in(name));
        rest = format!("{rest} and span.name != {operation}");
        // Two operations of two services may read alike; the number tells them apart.
        let policy = format!("{name}: {number}: {}", known.operation);
        write_share(text, &policy, &condition, known.ratio)?;
    }
    write_share(text, &format!("{name}: others"), &rest, *default_ratio)
}

fn write_share(
    text: &mut fmt::Formatter<'_>,
    name: &str,
    condition: &str,
    ratio: f64,
) -> fmt::Result {
    writeln!(text, "      - name: {}", setting(name))?;
    writeln!(text, "        type: and")?;
    writeln!(text, "        and:\n          and_sub_policy:")?;
    writeln!(text, "            - name: begins")?;
    write_condition(text, "              ", condition)?;
    let percent = percent(ratio);
    writeln!(
        text,
        "            - {{name: share, type: probabilistic, probabilistic: {{sampling_percentage: {percent}}}}}"
    )
}

fn write_condition(text: &mut fmt::Formatter<'_>, indent: &str, condition: &str) -> fmt::Result {
    let condition = setting(condition);
    writeln!(text, "{indent}type: ottl_condition")?;
    writeln!(
        text,
        "{indent}ottl_condition: {{error_mode: ignore, span: [{condition}]}}"
    )
}

const SERVICE: &str = r#"resource.attributes["service.name"]"#;

fn begins_in(service: &str) -> String {
    format!("IsRootSpan() and {SERVICE} == {}", quoted(service))
}

/// What is slow for a service of this name: the edge above its 99th percentile over a day.
fn slow_micros(report: &Report, name: &str) -> Option<u64> {
    let services = report.services.iter();
    let own = services.filter(|service| *service.service.name == *name);
    let days = own.flat_map(|service| &service.latency);
    let known = days.filter(|latency| latency.window == Window::D1 && latency.events >= MIN_EVENTS);
    let slowest = known.map(|latency| latency.p99).reduce(f64::max)?;
    let micros = Duration::try_from_secs_f64(slowest).ok()?;
    ladder_edge_micros(u64::try_from(micros.as_micros()).ok()?)
}
