//! `sampling/collector-probabilistic.yaml`: a Collector that samples each span by its trace id, without holding anything.

use std::collections::BTreeMap;
use std::fmt;

use super::{percent, quoted, setting};
use crate::model::sampling::SamplingPlan;

const HEAD: &str = "\
# Sampling by trace id in an OpenTelemetry Collector (contrib), for services whose SDKs cannot ask for their share.
#
# Give it to the Collector as a further --config, and put its pipelines between yours:
#   service:
#     pipelines:
#       traces/in: {receivers: [otlp], exporters: [routing/sampling]}
#       traces/out: {receivers: [forward/sampled], exporters: [otlp]}
#
# Each span is kept by the share of its own service, that of operations which the plan does not list: children do not say
# with which operation their trace began. What is kept carries its share (tracestate ot=th), and slo-copilot weighs it by
# that. Spans that carry one already are sampled down to this share, not by it again. A trace over services with different
# shares may be kept in part; collector-tail.yaml keeps traces whole, and knows operations.
#
# SDKs that ask over remote sampling do not write ot=th: leave their services out here, or they are sampled twice.
";

/// The file.
pub(super) struct Probabilistic<'a>(pub(super) &'a SamplingPlan);

impl fmt::Display for Probabilistic<'_> {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str(HEAD)?;
        write_config(text, &groups(self.0))
    }
}

/// Services with the same share, which have one pipeline. Those that are sampled in full are in none.
fn groups(plan: &SamplingPlan) -> Vec<(f64, Vec<&str>)> {
    // The bits of positive numbers sort as the numbers do.
    let mut groups: BTreeMap<u64, (f64, Vec<&str>)> = BTreeMap::new();
    for service in &plan.services {
        let ratio = service.default_ratio;
        if ratio < 1.0 {
            let group = groups.entry(ratio.to_bits()).or_insert((ratio, Vec::new()));
            group.1.push(&service.service);
        }
    }
    groups.into_values().collect()
}

fn write_config(text: &mut fmt::Formatter<'_>, groups: &[(f64, Vec<&str>)]) -> fmt::Result {
    let numbered = || (1..).zip(groups);
    writeln!(text, "connectors:\n  forward/sampled:\n  routing/sampling:")?;
    writeln!(text, "    default_pipelines: [traces/sampling-all]")?;
    writeln!(text, "    error_mode: ignore")?;
    if groups.is_empty() {
        // The connector refuses an empty table.
        writeln!(text, "    table:\n      - context: resource")?;
        writeln!(text, "        condition: \"false\"")?;
        writeln!(text, "        pipelines: [traces/sampling-all]")?;
    } else {
        writeln!(text, "    table:")?;
    }
    for (number, (_, services)) in numbered() {
        let conditions: Vec<String> = services.iter().map(|service| is_service(service)).collect();
        let condition = conditions.join(" or ");
        writeln!(text, "      - context: resource")?;
        writeln!(text, "        condition: {}", setting(&condition))?;
        writeln!(text, "        pipelines: [traces/sampling-{number}]")?;
    }
    if !groups.is_empty() {
        writeln!(text, "processors:")?;
    }
    for (number, (ratio, _)) in numbered() {
        let percent = percent(*ratio);
        writeln!(text, "  probabilistic_sampler/{number}:")?;
        writeln!(text, "    mode: equalizing")?;
        writeln!(text, "    sampling_percentage: {percent}")?;
    }
    writeln!(text, "service:\n  pipelines:\n    traces/sampling-all:")?;
    writeln!(text, "      receivers: [routing/sampling]")?;
    writeln!(text, "      exporters: [forward/sampled]")?;
    for (number, _) in numbered() {
        writeln!(text, "    traces/sampling-{number}:")?;
        writeln!(text, "      receivers: [routing/sampling]")?;
        writeln!(text, "      processors: [probabilistic_sampler/{number}]")?;
        writeln!(text, "      exporters: [forward/sampled]")?;
    }
    Ok(())
}

fn is_service(name: &str) -> String {
    format!(r#"attributes["service.name"] == {}"#, quoted(name))
}
