//! From windows to verdicts: candidates, burn rates, budgets, the report.
//!
//! Invariant: pure. `now` comes with the snapshot; the tasks that call this live in `service`.

pub mod budget;
pub mod burn_rate;
pub mod canary;
pub mod candidate;
pub mod composite;
pub mod error_budget_policy;
pub(crate) mod figures;
pub mod gate;
pub mod lookback;
pub mod objective;
pub mod policy;
pub mod rollout;
pub mod statistics;
pub mod thresholds;
pub mod trace_tests;
pub mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::evaluator::burn_rate::Limits;
use crate::evaluator::composite::{composite_statuses, standings};
use crate::evaluator::error_budget_policy::{Policies, Spending};
use crate::evaluator::objective::{Standing, status_of, window_slis};
use crate::evaluator::verdict::{Recovery, judge_all, timestamp};
use crate::model::advice::Advice;
use crate::model::budget_policy::PolicyStatus;
use crate::model::canary::CanaryReport;
use crate::model::candidate::Candidate;
use crate::model::report::{
    CompositeStatus, ObjectiveStatus, OperationReport, OutputScope, REPORT_SCHEMA_VERSION, Report,
    SeriesCounters, ServiceReport, VerdictEvidence, VerdictReport, VersionReport, WindowSli,
};
use crate::model::series::{SeriesScope, ServiceKey};
use crate::model::slo::exact_ratio;
use crate::model::span::SpanKind;
use crate::model::test_result::TestReport;
use crate::model::window::{Window, WindowSums};
use crate::window::snapshot::{SeriesView, Snapshot};

/// Section `evaluator`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Time between evaluations. Default 10s; at least 100ms.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// How long things must be better before a verdict improves. Default 5m; 0s improves at once.
    #[serde(with = "humantime_serde")]
    pub recovery: Duration,
    /// Bad events that a burn-rate rule must have seen in its long window. Default 2; 1 lets a single failure page.
    pub min_bad_events: u64,
    /// Highest error ratio that a burn-rate rule asks for. Default 0.9; above 0 and at most 1.
    pub error_ratio_max: f64,
    /// Time between computations of the candidates. Default 1h.
    #[serde(with = "humantime_serde")]
    pub candidates_interval: Duration,
    /// Operations of each service, by traffic in the last hour, that the report lists. Default 20.
    pub report_operations_per_service: usize,
    /// Whether the comparison of a new version with the old one counts in the verdict of its service and in the overall
    /// one. Default true; false only reports it.
    pub canary_gates: bool,
}

impl Default for Config {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            interval: Duration::from_secs(10),
            recovery: Duration::from_mins(5),
            min_bad_events: limits.min_bad_events,
            error_ratio_max: limits.error_ratio_max,
            candidates_interval: Duration::from_hours(1),
            report_operations_per_service: 20,
            canary_gates: true,
        }
    }
}

impl Config {
    /// The bounds of burn-rate rules.
    pub fn limits(&self) -> Limits {
        Limits {
            error_ratio_max: self.error_ratio_max,
            min_bad_events: self.min_bad_events,
        }
    }
}

/// Makes reports; remembers the verdicts that it showed.
#[derive(Clone, Debug)]
pub struct Evaluator {
    config: Config,
    scope: OutputScope,
    canary: canary::Settings,
    recovery: Recovery,
    tests: Option<TestReport>,
    advice: Advice,
    policies: Policies,
}

impl Evaluator {
    /// An evaluator that has shown nothing yet.
    pub fn new(config: Config, scope: OutputScope) -> Self {
        Self {
            config,
            scope,
            canary: canary::Settings::default(),
            recovery: Recovery::default(),
            tests: None,
            advice: Advice::default(),
            policies: Policies::default(),
        }
    }

    /// Compares versions by these settings.
    #[must_use]
    pub fn comparing(self, canary: canary::Settings) -> Self {
        Self { canary, ..self }
    }

    /// The same with these error budget policies.
    #[must_use]
    pub fn with_policies(self, policies: Policies) -> Self {
        Self { policies, ..self }
    }

    /// The results of trace tests, which count in verdicts from here on.
    pub fn set_tests(&mut self, tests: Option<TestReport>) {
        self.tests = tests;
    }

    /// What the neighbours found last; it joins reports and counts in no verdict.
    pub fn set_advice(&mut self, advice: Advice) {
        self.advice = advice;
    }

    /// Measures every adopted objective: the hot part of a tick.
    pub fn statuses(&self, snapshot: &Snapshot) -> Vec<ObjectiveStatus> {
        let limits = self.config.limits();
        let measured = snapshot.objectives.iter().map(|view| {
            let mut status = status_of(view, limits);
            let objective = &status.objective;
            let spending = Spending {
                budget_ratio: objective.budget(),
                period: &objective.window,
                windows: &status.windows,
                budget: &status.budget,
                min_bad_events: limits.min_bad_events,
            };
            let policy = self.policies.apply(objective.policy.as_ref(), &spending);
            status.policy = Some(policy);
            status
        });
        measured.collect()
    }

    /// The report of a snapshot. `roots` are the root spans accepted so far.
    pub fn evaluate(
        &mut self,
        snapshot: Snapshot,
        candidates: Vec<Candidate>,
        roots: u64,
    ) -> Report {
        let statuses = self.statuses(&snapshot);
        self.report(snapshot, statuses, candidates, roots)
    }

    /// The report of a snapshot whose objectives were measured already.
    pub fn report(
        &mut self,
        snapshot: Snapshot,
        statuses: Vec<ObjectiveStatus>,
        candidates: Vec<Candidate>,
        roots: u64,
    ) -> Report {
        let now = snapshot.now;
        let mut composites = composite_statuses(&snapshot, &statuses, self.config.limits());
        for composite in &mut composites {
            composite.policy = Some(self.composite_policy(composite, &statuses));
        }
        let canaries = rollout::compare_all(&snapshot.rollouts, &snapshot.edges, &self.canary);
        let gating = if self.config.canary_gates {
            canaries.as_slice()
        } else {
            &[]
        };
        let mut verdicts = self.verdicts(&snapshot, &statuses, &composites, gating);
        let evidence = VerdictEvidence {
            spans: verdicts.iter().map(|verdict| verdict.evidence.spans).sum(),
            traces: Some(roots),
            n_eff: verdicts.iter().map(|verdict| verdict.evidence.n_eff).sum(),
        };
        let all: Vec<&ObjectiveStatus> = statuses.iter().collect();
        let mut all = standings(&all, &composites);
        all.extend(gating.iter().map(Standing::from));
        let tests = trace_tests::of_service(self.tests.as_ref(), None);
        let mut overall = judge_all(None, &all, trace_tests::opinions(tests), now);
        overall.evidence = evidence;
        let overall = self.policies.enforce(overall);
        let overall = self
            .recovery
            .apply(overall, now, self.config.recovery.as_secs());
        let of_versions = canaries.iter();
        verdicts.extend(of_versions.flat_map(|report| rollout::verdicts_of(report, now)));
        let Snapshot {
            services,
            operations,
            versions,
            usage,
            ..
        } = snapshot;
        let operation_counters = operations.iter().map(counters_of).collect();
        let service_counters = services.iter().map(counters_of).collect();
        Report {
            schema_version: REPORT_SCHEMA_VERSION.to_owned(),
            generated_at: timestamp(now),
            now,
            scope: self.scope,
            slo_candidates: candidates,
            policy_snippets: policy::snippets(&statuses, &composites, self.config.limits()),
            baseline_evaluations: statuses,
            composites,
            canaries,
            test_results: self.tests.clone(),
            fault_cases: None,
            coverage: self.advice.coverage.clone(),
            input: None,
            sampling: self.advice.sampling.clone(),
            assumed_sampling: self.advice.assumed_sampling.clone(),
            telemetry_recommendation: self.advice.telemetry.clone(),
            rca: self.advice.rca.clone(),
            integrations: integrations(self.tests.as_ref(), &self.advice),
            verdict: overall,
            verdicts,
            services: self.service_reports(&services, &operations, &versions),
            series: usage,
            operation_counters,
            service_counters,
        }
    }

    /// One verdict a service: those that were seen, and those that only objectives name.
    fn verdicts(
        &mut self,
        snapshot: &Snapshot,
        statuses: &[ObjectiveStatus],
        composites: &[CompositeStatus],
        canaries: &[CanaryReport],
    ) -> Vec<VerdictReport> {
        let mut services: Vec<ServiceKey> = snapshot
            .services
            .iter()
            .map(|view| view.key.service.clone())
            .collect();
        // By name first: a thousand services times ten thousand objectives would be a slow tick.
        let mut by_name: BTreeMap<&str, Vec<&ObjectiveStatus>> = BTreeMap::new();
        for status in statuses {
            by_name
                .entry(&status.objective.service)
                .or_default()
                .push(status);
        }
        for (name, own) in &by_name {
            let mut seen: Vec<ServiceKey> = services
                .iter()
                .filter(|service| *service.name == **name)
                .cloned()
                .collect();
            for status in own {
                if !seen.iter().any(|service| status.objective.selects(service)) {
                    seen.push(named_by(status));
                    services.push(named_by(status));
                }
            }
        }
        self.recovery.retain(&services);
        let now = snapshot.now;
        let recovery_secs = self.config.recovery.as_secs();
        let mut verdicts = Vec::with_capacity(services.len());
        for service in &services {
            let named = by_name.get(&*service.name).map_or(&[][..], Vec::as_slice);
            let own: Vec<&ObjectiveStatus> = named
                .iter()
                .copied()
                .filter(|status| status.objective.selects(service))
                .collect();
            let mut standings = standings(&own, composites);
            let canaries = canaries.iter().filter(|report| report.service == *service);
            standings.extend(canaries.map(Standing::from));
            let tests = trace_tests::of_service(self.tests.as_ref(), Some(&service.name));
            let tests = trace_tests::opinions(tests);
            let mut verdict = judge_all(Some(service), &standings, tests, now);
            verdict.evidence = evidence_of(snapshot, service, &own);
            let verdict = self.policies.enforce(verdict);
            verdicts.push(self.recovery.apply(verdict, now, recovery_secs));
        }
        verdicts
    }

    /// The first member with a policy of its own chooses for all of them.
    fn composite_policy(
        &self,
        composite: &CompositeStatus,
        statuses: &[ObjectiveStatus],
    ) -> PolicyStatus {
        let is_member = |status: &&ObjectiveStatus| {
            let mut members = composite.members.iter();
            members.any(|member| member.name == status.objective.name)
        };
        let mut members = statuses.iter().filter(is_member);
        let choice = members.find_map(|status| status.objective.policy.as_ref());
        let spending = Spending {
            budget_ratio: exact_ratio(1.0 - composite.target),
            period: &composite.window,
            windows: &composite.windows,
            budget: &composite.budget,
            min_bad_events: self.config.min_bad_events,
        };
        self.policies.apply(choice, &spending)
    }

    fn service_reports(
        &self,
        services: &[SeriesView],
        operations: &[SeriesView],
        versions: &[SeriesView],
    ) -> Vec<ServiceReport> {
        services
            .iter()
            .map(|view| {
                let service = &view.key.service;
                let mut own = of_service(operations, service).clone();
                own.sort_by(|a, b| {
                    let traffic = |view: &&SeriesView| view.window(Window::H1).observed_total;
                    traffic(b).cmp(&traffic(a)).then_with(|| a.key.cmp(&b.key))
                });
                let listed = own.len().min(self.config.report_operations_per_service);
                ServiceReport {
                    service: service.clone(),
                    versions: version_reports(of_service(versions, service)),
                    windows: window_slis(&view.windows),
                    latency: view.latency.clone(),
                    operations_omitted: own.len() - listed,
                    operations: own
                        .iter()
                        .take(listed)
                        .map(|view| operation_report(view))
                        .collect(),
                }
            })
            .collect()
    }
}

/// The views of one service, of a list sorted by key.
fn of_service<'a>(views: &'a [SeriesView], service: &ServiceKey) -> Vec<&'a SeriesView> {
    let from = views.partition_point(|view| view.key.service < *service);
    views
        .iter()
        .skip(from)
        .take_while(|view| view.key.service == *service)
        .collect()
}

fn operation_report(view: &SeriesView) -> OperationReport {
    let (operation, kind) = name_of(view);
    OperationReport {
        operation,
        kind,
        windows: window_slis(&view.windows),
        latency: view.latency.clone(),
    }
}

/// Versions, the one with the newest event first; windows up to six hours.
fn version_reports(mut views: Vec<&SeriesView>) -> Vec<VersionReport> {
    views.sort_by_key(|view| std::cmp::Reverse(view.last_event));
    let short = |windows: Vec<WindowSli>| -> Vec<WindowSli> {
        windows
            .into_iter()
            .filter(|sli| sli.window <= Window::H6)
            .collect()
    };
    views
        .into_iter()
        .filter_map(|view| match &view.key.scope {
            SeriesScope::Version { version } => Some(VersionReport {
                version: version.to_string(),
                windows: short(window_slis(&view.windows)),
                latency: view.latency.clone(),
            }),
            SeriesScope::Service | SeriesScope::Operation { .. } => None,
        })
        .collect()
}

fn name_of(view: &SeriesView) -> (String, SpanKind) {
    match &view.key.scope {
        SeriesScope::Operation { operation, kind } => (operation.to_string(), *kind),
        SeriesScope::Service | SeriesScope::Version { .. } => {
            (String::new(), SpanKind::Unspecified)
        }
    }
}

fn counters_of(view: &SeriesView) -> SeriesCounters {
    let (operation, kind) = name_of(view);
    SeriesCounters {
        service: view.key.service.clone(),
        operation,
        kind,
        ok: view.since_start.total - view.since_start.bad,
        error: view.since_start.bad,
        durations: view.durations.clone(),
    }
}

/// The service of an objective that no series has yet.
fn named_by(status: &ObjectiveStatus) -> ServiceKey {
    let text = |part: &Option<String>| part.as_deref().unwrap_or_default().into();
    ServiceKey {
        namespace: text(&status.objective.namespace),
        environment: text(&status.objective.environment),
        name: status.objective.service.as_str().into(),
    }
}

/// The entry spans of the held window nearest to the longest period that the service's objectives have.
fn evidence_of(
    snapshot: &Snapshot,
    service: &ServiceKey,
    own: &[&ObjectiveStatus],
) -> VerdictEvidence {
    let period = own
        .iter()
        .map(|status| status.objective.window.secs())
        .max()
        .map_or(Window::D30, |secs| Window::nearest(secs as f64));
    let sums: WindowSums = snapshot
        .services
        .binary_search_by(|view| view.key.service.cmp(service))
        .ok()
        .and_then(|at| snapshot.services.get(at))
        .map(|view| view.window(period))
        .unwrap_or_default();
    VerdictEvidence {
        spans: sums.observed_total,
        traces: None,
        n_eff: sums.effective_events(),
    }
}

/// State of zero-touch telemetry among the integrations: manifests are no part of what is evaluated.
const ZERO_TOUCH: &str = "a command: slo-copilot plan MANIFEST…";

/// State of the topology among the integrations where no adapter says its own.
const TOPOLOGY: &str = "off: `serve` has the graph where adapters.topology.enabled and trace_buffer.enabled are true, the \
                        command topology that of files";

/// What the neighbours give today, in words.
fn integrations(tests: Option<&TestReport>, advice: &Advice) -> BTreeMap<String, String> {
    let off = "not part of this build yet";
    let states = advice.states.iter();
    let states = states.map(|(name, state)| ((*name).to_owned(), state.clone()));
    ["caat", "ebpf-bot", "pii-guardrail", "t-rag"]
        .into_iter()
        .map(|name| (name.to_owned(), off.to_owned()))
        .chain([
            ("topology-rca".to_owned(), TOPOLOGY.to_owned()),
            ("zero-touch-telemetry".to_owned(), ZERO_TOUCH.to_owned()),
        ])
        .chain([(trace_tests::NEIGHBOUR.to_owned(), trace_tests::state(tests))])
        .chain(states)
        .collect()
}
