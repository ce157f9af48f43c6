//! The messages and services of `slo_copilot.v1`, and the way from reports to them.

use crate::model;
use crate::model::budget_policy::{self, StepMeasure};
use crate::model::record;
use crate::model::report;

#[expect(clippy::pedantic, reason = "generated code")]
#[expect(
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    reason = "generated code"
)]
mod generated {
    tonic::include_proto!("slo_copilot.v1");
}

pub use generated::*;

/// Encoded descriptors of the API, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("guardrail_descriptor");

/// A time stamp as protobuf has it.
pub fn timestamp(time: jiff::Timestamp) -> prost_types::Timestamp {
    // Protobuf counts the nanoseconds up from the second before, jiff away from zero.
    let nanos = time.subsec_nanosecond();
    let borrow = nanos < 0;
    prost_types::Timestamp {
        seconds: time.as_second() - i64::from(borrow),
        nanos: if borrow { nanos + 1_000_000_000 } else { nanos },
    }
}

impl From<report::Verdict> for Verdict {
    fn from(verdict: report::Verdict) -> Self {
        match verdict {
            report::Verdict::Inconclusive => Self::Inconclusive,
            report::Verdict::Pass => Self::Pass,
            report::Verdict::Warn => Self::Warn,
            report::Verdict::Fail => Self::Fail,
        }
    }
}

impl From<&report::VerdictReport> for VerdictReport {
    fn from(verdict: &report::VerdictReport) -> Self {
        let report::VerdictReport {
            verdict,
            ok,
            score,
            service,
            version,
            window,
            reasons,
            undecided,
            evidence,
            action,
            generated_at,
        } = verdict;
        Self {
            verdict: Verdict::from(*verdict).into(),
            ok: *ok,
            score: *score,
            service: service.as_ref().map(ServiceKey::from),
            version: version.clone().unwrap_or_default(),
            window: window.clone().unwrap_or_default(),
            reasons: reasons.iter().map(Reason::from).collect(),
            undecided: undecided.iter().map(Reason::from).collect(),
            evidence: Some(Evidence {
                spans: evidence.spans,
                traces: evidence.traces,
                n_eff: evidence.n_eff,
            }),
            action: action.clone().unwrap_or_default(),
            generated_at: Some(timestamp(*generated_at)),
        }
    }
}

impl From<&model::series::ServiceKey> for ServiceKey {
    fn from(service: &model::series::ServiceKey) -> Self {
        Self {
            namespace: service.namespace.as_ref().to_owned(),
            environment: service.environment.as_ref().to_owned(),
            name: service.name.as_ref().to_owned(),
        }
    }
}

impl From<&report::Reason> for Reason {
    fn from(reason: &report::Reason) -> Self {
        let report::Reason {
            source,
            name,
            window,
            observed,
            limit,
            text,
        } = reason;
        Self {
            source: source.clone(),
            name: name.clone(),
            window: window.clone().unwrap_or_default(),
            observed: *observed,
            limit: *limit,
            text: text.clone(),
        }
    }
}

impl From<&report::ObjectiveStatus> for ObjectiveStatus {
    fn from(status: &report::ObjectiveStatus) -> Self {
        let report::ObjectiveStatus {
            objective,
            state,
            text,
            windows,
            burn_rates,
            budget,
            slices,
            policy,
            good_events,
            bad_events,
        } = status;
        let (sli, latency_threshold_seconds) = match objective.sli {
            model::slo::Sli::Availability => (Sli::Availability, None),
            model::slo::Sli::ErrorRate => (Sli::ErrorRate, None),
            model::slo::Sli::Latency { threshold_micros } => {
                (Sli::Latency, Some(threshold_micros as f64 / 1e6))
            }
        };
        let source = match objective.source {
            model::slo::ObjectiveSource::Config => ObjectiveSource::Config,
            model::slo::ObjectiveSource::Accepted => ObjectiveSource::Accepted,
            model::slo::ObjectiveSource::Auto => ObjectiveSource::Auto,
            model::slo::ObjectiveSource::File => ObjectiveSource::File,
            model::slo::ObjectiveSource::Fitted => ObjectiveSource::Fitted,
        };
        Self {
            name: objective.name.clone(),
            service: objective.service.clone(),
            namespace: objective.namespace.clone(),
            environment: objective.environment.clone(),
            operation: objective.operation.clone(),
            sli: sli.into(),
            latency_threshold_seconds,
            target: objective.target,
            window: objective.window.label(),
            required: objective.required,
            weight: objective.weight,
            source: source.into(),
            state: Verdict::from(*state).into(),
            text: text.clone(),
            windows: windows.iter().map(SliWindow::from).collect(),
            burn_rates: burn_rates.iter().map(BurnRate::from).collect(),
            budget: Some(budget.into()),
            good_events: *good_events,
            bad_events: *bad_events,
            budgeting_method: BudgetingMethod::from(objective.budgeting).into(),
            slices: slice_coverage(slices.as_ref(), objective.budgeting),
            policy: policy.as_ref().map(PolicyStatus::from),
            composite: objective
                .composite
                .as_ref()
                .map(|composite| composite.name.clone())
                .unwrap_or_default(),
        }
    }
}

impl From<&report::CompositeStatus> for CompositeStatus {
    fn from(status: &report::CompositeStatus) -> Self {
        let report::CompositeStatus {
            name,
            services,
            members,
            budgeting,
            window,
            target,
            required,
            weight,
            state,
            text,
            windows,
            burn_rates,
            budget,
            slices,
            policy,
        } = status;
        Self {
            name: name.clone(),
            services: services.clone(),
            members: members.iter().map(CompositeMember::from).collect(),
            budgeting_method: BudgetingMethod::from(*budgeting).into(),
            window: window.label(),
            target: *target,
            state: Verdict::from(*state).into(),
            text: text.clone(),
            windows: windows.iter().map(SliWindow::from).collect(),
            burn_rates: burn_rates.iter().map(BurnRate::from).collect(),
            budget: Some(budget.into()),
            slices: slice_coverage(slices.as_ref(), *budgeting),
            policy: policy.as_ref().map(PolicyStatus::from),
            required: *required,
            weight: *weight,
        }
    }
}

impl From<&report::MemberStatus> for CompositeMember {
    fn from(member: &report::MemberStatus) -> Self {
        Self {
            name: member.name.clone(),
            weight: member.weight,
            state: Verdict::from(member.state).into(),
            remaining_ratio: member.remaining_ratio,
        }
    }
}

impl From<model::slo::Budgeting> for BudgetingMethod {
    fn from(budgeting: model::slo::Budgeting) -> Self {
        match budgeting {
            model::slo::Budgeting::Occurrences => Self::Occurrences,
            model::slo::Budgeting::Timeslices { .. } => Self::Timeslices,
            model::slo::Budgeting::RatioTimeslices { .. } => Self::RatioTimeslices,
        }
    }
}

impl From<&budget_policy::PolicyStatus> for PolicyStatus {
    fn from(policy: &budget_policy::PolicyStatus) -> Self {
        let budget_policy::PolicyStatus {
            name,
            steps,
            action,
        } = policy;
        Self {
            name: name.clone(),
            steps: steps.iter().map(PolicyStep::from).collect(),
            action: action.clone().unwrap_or_default(),
        }
    }
}

impl From<&budget_policy::PolicyStepStatus> for PolicyStep {
    fn from(step: &budget_policy::PolicyStepStatus) -> Self {
        let measure = match step.measure {
            StepMeasure::BurnRate => PolicyMeasure::BurnRate,
            StepMeasure::Remaining => PolicyMeasure::Remaining,
        };
        Self {
            action: step.action.clone(),
            message: step.message.clone(),
            window: step.window.clone(),
            measure: measure.into(),
            observed: step.observed,
            limit: step.limit,
            applies: step.applies,
        }
    }
}

impl From<record::Transition> for Transition {
    fn from(transition: record::Transition) -> Self {
        let record::Transition {
            sequence,
            at,
            kind,
            subject: _,
            service,
            from,
            to,
            text,
        } = transition;
        let at = jiff::Timestamp::from_nanosecond(i128::from(at)).unwrap_or_default();
        Self {
            sequence,
            at: Some(timestamp(at)),
            kind,
            service: service.as_ref().map(ServiceKey::from),
            from,
            to,
            text,
        }
    }
}

impl From<&report::ErrorBudget> for ErrorBudget {
    fn from(budget: &report::ErrorBudget) -> Self {
        let report::ErrorBudget {
            remaining_ratio,
            projected_remaining_ratio,
            allowed_bad,
            bad,
            total,
            observed_bad: _,
            period_start,
            period_end,
        } = budget;
        Self {
            remaining_ratio: *remaining_ratio,
            allowed_bad: *allowed_bad,
            bad: *bad,
            total: *total,
            projected_remaining_ratio: *projected_remaining_ratio,
            period_start: period_start.map(timestamp),
            period_end: period_end.map(timestamp),
        }
    }
}

fn slice_coverage(
    slices: Option<&report::SliceCoverage>,
    budgeting: model::slo::Budgeting,
) -> Option<SliceCoverage> {
    let (slices, slice) = slices.zip(budgeting.slice())?;
    Some(SliceCoverage {
        slice: slice.to_string(),
        expected: slices.expected,
        empty: slices.empty,
        measured_ratio: slices.measured_ratio,
        late_events: slices.late_events,
    })
}

impl From<&report::WindowSli> for SliWindow {
    fn from(sli: &report::WindowSli) -> Self {
        Self {
            window: sli.window.label().to_owned(),
            total: sli.sums.total,
            bad: sli.sums.bad,
            good_ratio: sli.error_ratio.map(|bad| 1.0 - bad),
        }
    }
}

impl From<&report::BurnRateCheck> for BurnRate {
    fn from(check: &report::BurnRateCheck) -> Self {
        let severity = match check.severity {
            report::Severity::Page => Severity::Page,
            report::Severity::Ticket => Severity::Ticket,
        };
        Self {
            severity: severity.into(),
            factor: check.factor,
            long_window: check.long_window.label().to_owned(),
            short_window: check.short_window.label().to_owned(),
            error_ratio_limit: check.error_ratio_limit,
            capped: check.capped,
            long_burn_rate: check.long_burn_rate,
            short_burn_rate: check.short_burn_rate,
            firing: check.firing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_count_up_even_before_the_epoch() {
        let check = |second, nanosecond, expected: (i64, i32)| {
            let time = jiff::Timestamp::new(second, nanosecond).unwrap();
            let time = timestamp(time);
            assert_eq!((time.seconds, time.nanos), expected);
        };
        check(1_790_000_000, 5, (1_790_000_000, 5));
        check(-1, -250_000_000, (-2, 750_000_000));
        check(-1, 0, (-1, 0));
    }
}
