//! What fires, as Alertmanager wants it: which alerts there are, since when, and when they ended.
//!
//! Labels are those of the Prometheus rules of the same SLOs (`alertname`, `severity`, `long`, `short`, `sloth_*`), so
//! that one silence holds for both, and `slo` and `service` besides.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::evaluator::budget::is_spent;
use crate::evaluator::burn_rate::Limits;
use crate::model::report::{
    BurnRateCheck, CompositeStatus, ErrorBudget, ObjectiveStatus, Report, Severity,
};
use crate::model::slo::exact_ratio;

/// A burn-rate rule fires.
pub(super) const BURN: &str = "ErrorBudgetBurn";
/// Nothing is left of a budget.
pub(super) const SPENT: &str = "ErrorBudgetSpent";

/// An alert that is not renewed for so many resends ends by itself; one that ended is told for as many.
const LIFE: u32 = 4;

/// Labels or annotations.
pub(super) type Labels = BTreeMap<String, String>;

/// An alert as it is posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    pub(super) labels: Labels,
    pub(super) annotations: Labels,
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none", rename = "generatorURL")]
    pub(super) generator_url: Option<String>,
}

/// What all alerts have in common.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) labels: Labels,
    pub(super) generator_url: Option<String>,
    pub(super) resend: Duration,
    pub(super) limits: Limits,
}

/// The alerts that fire, and those that ended lately.
#[derive(Debug)]
pub(super) struct Alerts {
    frame: Frame,
    held: BTreeMap<Labels, Held>,
}

#[derive(Debug)]
struct Held {
    annotations: Labels,
    since: Timestamp,
    ended: Option<Timestamp>,
}

/// An objective, or a composite in place of its members.
struct Subject<'a> {
    slo: &'a str,
    service: String,
    namespace: Option<&'a str>,
    environment: Option<&'a str>,
    target: f64,
    period: String,
    checks: &'a [BurnRateCheck],
    budget: &'a ErrorBudget,
}

impl Alerts {
    pub(super) fn new(frame: Frame) -> Self {
        let held = BTreeMap::new();
        Self { frame, held }
    }

    /// Takes what a report says. Returns whether an alert began or ended.
    pub(super) fn update(&mut self, report: &Report, now: Timestamp) -> bool {
        let firing = self.firing(report);
        let mut is_news = false;
        for (labels, held) in &mut self.held {
            if held.ended.is_none() && !firing.contains_key(labels) {
                held.ended = Some(now);
                is_news = true;
            }
        }
        for (labels, annotations) in firing {
            let known = self.held.get_mut(&labels);
            match known.filter(|held| held.ended.is_none()) {
                Some(held) => held.annotations = annotations,
                None => {
                    let (since, ended) = (now, None);
                    let held = Held {
                        annotations,
                        since,
                        ended,
                    };
                    self.held.insert(labels, held);
                    is_news = true;
                }
            }
        }
        is_news
    }

    /// What is to be told now; alerts that ended long enough ago are forgotten.
    pub(super) fn payload(&mut self, now: Timestamp) -> Vec<Alert> {
        let life = self.frame.resend * LIFE;
        let later = |from: Timestamp| from.checked_add(life).unwrap_or(Timestamp::MAX);
        self.held
            .retain(|_, held| held.ended.is_none_or(|ended| now <= later(ended)));
        let alerts = self.held.iter().map(|(labels, held)| Alert {
            labels: labels.clone(),
            annotations: held.annotations.clone(),
            starts_at: held.since,
            ends_at: held.ended.unwrap_or_else(|| later(now)),
            generator_url: self.frame.generator_url.clone(),
        });
        alerts.collect()
    }

    fn firing(&self, report: &Report) -> BTreeMap<Labels, Labels> {
        let mut firing = BTreeMap::new();
        let is_member = |status: &&ObjectiveStatus| {
            let members = report.composites.iter().flat_map(|all| &all.members);
            let mut names = members.map(|member| &member.name);
            status.objective.composite.is_some() && names.any(|name| *name == status.objective.name)
        };
        let alone = report.baseline_evaluations.iter();
        let alone = alone.filter(|status| !is_member(status));
        let composites = report.composites.iter().map(Subject::from);
        for subject in alone.map(Subject::from).chain(composites) {
            for check in subject.checks.iter().filter(|check| check.firing) {
                let labels = self.labels(&subject, BURN, check.severity, Some(check));
                firing.insert(labels, subject.burning(check));
            }
            let budget_ratio = exact_ratio(1.0 - subject.target);
            if is_spent(subject.budget, budget_ratio, self.frame.limits) {
                // The budget of a month comes back over days: nobody needs to be woken for it.
                let labels = self.labels(&subject, SPENT, Severity::Ticket, None);
                firing.insert(labels, subject.spent());
            }
        }
        firing
    }

    fn labels(
        &self,
        subject: &Subject<'_>,
        name: &str,
        severity: Severity,
        check: Option<&BurnRateCheck>,
    ) -> Labels {
        let severity = match severity {
            Severity::Page => "page",
            Severity::Ticket => "ticket",
        };
        let id = format!("{}-{}", subject.service, subject.slo);
        let own = [
            ("alertname", Some(name)),
            ("severity", Some(severity)),
            ("slo", Some(subject.slo)),
            ("service", Some(&*subject.service)),
            ("namespace", subject.namespace),
            ("environment", subject.environment),
            ("long", check.map(|check| check.long_window.label())),
            ("short", check.map(|check| check.short_window.label())),
            ("sloth_id", Some(&*id)),
            ("sloth_service", Some(&*subject.service)),
            ("sloth_slo", Some(subject.slo)),
        ];
        let own = own.into_iter().filter_map(|(label, value)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some((label.to_owned(), value.to_owned()))
        });
        let mut labels = self.frame.labels.clone();
        labels.extend(own);
        labels
    }
}

impl<'a> From<&'a ObjectiveStatus> for Subject<'a> {
    fn from(status: &'a ObjectiveStatus) -> Self {
        let objective = &status.objective;
        Self {
            slo: &objective.name,
            service: objective.service.clone(),
            namespace: objective.namespace.as_deref(),
            environment: objective.environment.as_deref(),
            target: objective.target,
            period: objective.window.label(),
            checks: &status.burn_rates,
            budget: &status.budget,
        }
    }
}

impl<'a> From<&'a CompositeStatus> for Subject<'a> {
    fn from(status: &'a CompositeStatus) -> Self {
        Self {
            slo: &status.name,
            service: status.services.join(","),
            namespace: None,
            environment: None,
            target: status.target,
            period: status.window.label(),
            checks: &status.burn_rates,
            budget: &status.budget,
        }
    }
}

impl Subject<'_> {
    fn burning(&self, check: &BurnRateCheck) -> Labels {
        let rate = |rate: Option<f64>| rate.unwrap_or_default();
        let (long, short) = (check.long_window.label(), check.short_window.label());
        let summary = format!(
            "{} of {} burns its error budget {:.1} times too fast",
            self.slo,
            self.service,
            rate(check.long_burn_rate)
        );
        let description = format!(
            "Burn rate {:.1} over {long} and {:.1} over {short}, limit {}; {}.",
            rate(check.long_burn_rate),
            rate(check.short_burn_rate),
            check.factor,
            self.left()
        );
        annotations(summary, description)
    }

    fn spent(&self) -> Labels {
        let summary = format!(
            "the error budget of {} of {} is spent",
            self.slo, self.service
        );
        let description = format!(
            "{:.0} bad of {:.0} in {}, {:.1} are allowed; {}.",
            self.budget.bad,
            self.budget.total,
            self.period,
            self.budget.allowed_bad,
            self.left()
        );
        annotations(summary, description)
    }

    fn left(&self) -> String {
        let left = self.budget.remaining_ratio.unwrap_or_default();
        format!(
            "{:.1} % of the error budget of {} is left at a target of {} %",
            100.0 * left,
            self.period,
            exact_percent(self.target)
        )
    }
}

/// 99.9 rather than 99.90000000000001.
fn exact_percent(ratio: f64) -> f64 {
    (ratio * 1e8).round() / 1e6
}

fn annotations(summary: String, description: String) -> Labels {
    BTreeMap::from([
        ("summary".to_owned(), summary),
        ("description".to_owned(), description),
    ])
}
