//! T-RAG: from a failed verdict to its cause, with the memory of what was alike before.
//!
//! The traces of the last hour stand in `slots` of time. When a verdict fails, `onset` says when it began, the root cause
//! analysis compares what came since with what was before, [`memory`] finds past incidents that looked alike, and, if
//! somebody turned it on, [`explain`] has a language model put it into words. The incident is kept when it begins, with each
//! new analysis and when it ends; a person confirms its cause later.

pub mod explain;
#[cfg(test)]
mod fixture;
pub mod memory;
mod onset;
mod slots;
mod wording;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::adapter::Adapter;
use crate::adapter::incident::explain::{ExplainError, Explainer, Question};
use crate::adapter::incident::memory::{features, nearest};
use crate::adapter::incident::slots::{Badness, Slots};
use crate::adapter::rca;
use crate::model::UnixNanos;
use crate::model::advice::Advice;
use crate::model::incident::{Incident, IncidentMemory};
use crate::model::rca::{Conclusion, Explanation, RcaReport};
use crate::model::report::{Report, Verdict};
use crate::model::slo::Sli;
use crate::model::topology::ServiceGraph;
use crate::model::trace::Trace;
use crate::telemetry::IncidentMetrics;

/// Name of this neighbour in the report's `integrations`.
const NEIGHBOUR: &str = "t-rag";

/// Reasons of verdicts that an incident keeps.
const MAX_REASONS: usize = 10;

/// Section `adapters.incident`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether root causes are looked for when verdicts fail. Default true.
    pub enabled: bool,
    /// Width of the slots of time; an incident begins with one. Default 10s.
    #[serde(with = "humantime_serde")]
    pub slot: Duration,
    /// How far back the time before an incident is looked at. Default 1h.
    #[serde(with = "humantime_serde")]
    pub baseline: Duration,
    /// The newest part of an incident that is looked at. Default 15m.
    #[serde(with = "humantime_serde")]
    pub recent: Duration,
    /// Time between two analyses of an incident that is under way. Default 10s.
    #[serde(with = "humantime_serde")]
    pub analyse_every: Duration,
    /// An incident is over when the failing services are as before for so long, even where their budget stays spent.
    /// Default 5m.
    #[serde(with = "humantime_serde")]
    pub recovery: Duration,
    /// Past incidents that are shown beside a new one. Default 3.
    pub similar: usize,
    /// Cosine of two incidents from which on they are alike. Default 0.5.
    pub min_similarity: f64,
    /// Edges of the service graph that the model is told, those with the most calls. Default 100.
    pub max_edges: usize,
    /// The language model.
    pub llm: explain::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            slot: Duration::from_secs(10),
            baseline: Duration::from_hours(1),
            recent: Duration::from_mins(15),
            analyse_every: Duration::from_secs(10),
            recovery: Duration::from_mins(5),
            similar: 3,
            min_similarity: 0.5,
            max_edges: 100,
            llm: explain::Config::default(),
        }
    }
}

impl Config {
    /// The key of the first value that is not allowed, and what is.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.slot < Duration::from_secs(1) {
            return Err(("adapters.incident.slot", "must be at least 1s"));
        }
        if self.baseline < self.slot * 2 {
            return Err(("adapters.incident.baseline", "must be at least two slots"));
        }
        if !(0.0..=1.0).contains(&self.min_similarity) {
            return Err((
                "adapters.incident.min_similarity",
                "must be between 0 and 1",
            ));
        }
        Ok(())
    }
}

/// What takes out of a text what must not leave.
pub type Scrub = Box<dyn Fn(&str) -> String + Send>;

/// The newest service graph, if there is one.
pub type Graph = Box<dyn Fn() -> Option<Arc<ServiceGraph>> + Send>;

/// An incident that is under way.
struct Open {
    incident: Incident,
    analysed_at: UnixNanos,
    /// Whether the model was asked.
    is_asked: bool,
}

/// What comes back from the model: for which incident, and what.
type Answer = (u64, Result<Explanation, ExplainError>);

/// Watches verdicts, and looks for causes when they fail.
pub struct IncidentAdapter {
    config: Config,
    settings: rca::Settings,
    memory: Arc<dyn IncidentMemory>,
    slots: Slots,
    open: Option<Open>,
    /// Since when traces are as before, while verdicts go on failing.
    calm_since: Option<UnixNanos>,
    /// Whether what the memory holds as under way was looked at.
    is_resumed: bool,
    newest: Option<Arc<RcaReport>>,
    explainer: Option<Explainer>,
    answer: Arc<Mutex<Option<Answer>>>,
    scrub: Scrub,
    graph: Graph,
    metrics: IncidentMetrics,
    state: String,
}

impl IncidentAdapter {
    /// An adapter that has seen nothing. `variable` reads the environment.
    pub fn new(
        config: &Config,
        settings: &rca::Settings,
        memory: Arc<dyn IncidentMemory>,
        (scrub, graph): (Scrub, Graph),
        variable: impl FnOnce(&str) -> Option<String>,
    ) -> Result<Self, ExplainError> {
        let explainer = config.llm.enabled;
        let explainer = explainer.then(|| Explainer::new(&config.llm, variable));
        let held = config.baseline + config.recent;
        Ok(Self {
            slots: Slots::new(config.slot, held, settings),
            config: config.clone(),
            settings: settings.clone(),
            memory,
            open: None,
            calm_since: None,
            is_resumed: false,
            newest: None,
            explainer: explainer.transpose()?,
            answer: Arc::default(),
            scrub,
            graph,
            metrics: IncidentMetrics::new(),
            state: wording::QUIET.to_owned(),
        })
    }

    fn take_answer(&mut self) {
        let answer = self
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some((id, answer)) = answer else {
            return;
        };
        match answer {
            Ok(explanation) => {
                self.metrics.explained.increment(1);
                let open = self.open.as_mut().filter(|open| open.incident.id == id);
                if let Some(open) = open {
                    open.incident.rca.explanation = Some(explanation);
                    self.newest = Some(Arc::new(open.incident.rca.clone()));
                    self.keep();
                }
            }
            Err(error) => {
                if matches!(error, ExplainError::Unfounded(_)) {
                    self.metrics.unfounded.increment(1);
                } else {
                    self.metrics.failed.increment(1);
                }
                tracing::warn!(incident = id, %error, "No explanation of the incident.");
            }
        }
    }

    /// Begins, analyses and ends incidents as verdicts and traces tell.
    fn follow(&mut self, report: &Report, badness: &[Badness], now: UnixNanos) {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(open) = &self.open {
            let since = now.saturating_sub(nanos(self.config.recovery));
            let began_at = open.incident.began_at;
            let is_due = now.saturating_sub(open.analysed_at) >= nanos(self.config.analyse_every);
            if badness.is_empty() {
                self.end(now);
            } else if self.slots.has_recovered(badness, began_at, since) {
                self.calm_since = Some(since);
                self.end(since);
            } else if is_due {
                self.analyse(report, badness, now);
            }
            return;
        }
        if badness.is_empty() {
            self.calm_since = None;
            return;
        }
        let onset = self.slots.onset(badness);
        let began_at = match self.calm_since {
            // The verdict has not recovered since the last incident; only the traces tell of a new one.
            Some(calm_since) => onset.filter(|onset| *onset > calm_since),
            None => Some(onset.unwrap_or_else(|| self.slots.lately()).min(now)),
        };
        if let Some(began_at) = began_at {
            self.begin(report, began_at);
            self.analyse(report, badness, now);
        }
    }

    /// Begins an incident.
    fn begin(&mut self, report: &Report, began_at: UnixNanos) {
        self.metrics.incidents.increment(1);
        self.open = Some(Open {
            incident: Incident {
                id: 0,
                began_at,
                ended_at: None,
                failing: failing(report),
                reasons: reasons(report),
                features: Vec::new(),
                rca: wording::not_yet(),
                confirmation: None,
            },
            analysed_at: 0,
            is_asked: false,
        });
    }

    /// Analyses the incident that is under way.
    fn analyse(&mut self, report: &Report, badness: &[Badness], now: UnixNanos) {
        let Some(open) = &mut self.open else {
            return;
        };
        open.analysed_at = now;
        for service in failing(report) {
            if !open.incident.failing.contains(&service) {
                open.incident.failing.push(service);
            }
        }
        if open.incident.rca.conclusion != Conclusion::Found {
            // A verdict may fail before the traces change: of what went wrong slowly, or long ago.
            let onset = self.slots.onset(badness);
            open.incident.began_at = onset.unwrap_or(open.incident.began_at);
        }
        let sides = self.slots.sides(open.incident.began_at, self.config.recent);
        let mut rca = rca::analyse(&sides.baseline, &sides.incident, &self.settings);
        // What was found stays, if the newest traces tell less.
        let is_worse = rca.conclusion != Conclusion::Found
            && open.incident.rca.conclusion == Conclusion::Found;
        if is_worse {
            return;
        }
        open.incident.features = features(&rca);
        let known = self.memory.incidents().unwrap_or_else(|error| {
            self.metrics.memory_failures.increment(1);
            tracing::error!(%error, "Past incidents cannot be read.");
            Vec::new()
        });
        rca.similar = nearest(
            &open.incident.features,
            open.incident.id,
            &known,
            (self.config.similar, self.config.min_similarity),
        );
        let first = |rca: &RcaReport| rca.ranked.first().map(|own| own.service.clone());
        if first(&rca) == first(&open.incident.rca) {
            rca.explanation = open.incident.rca.explanation.take();
        }
        open.incident.rca = rca;
        self.newest = Some(Arc::new(open.incident.rca.clone()));
        self.keep();
        self.ask(now);
    }

    /// Keeps the incident that is under way.
    fn keep(&mut self) {
        let Some(open) = &mut self.open else {
            return;
        };
        match self.memory.keep(&open.incident) {
            Ok(id) => open.incident.id = id,
            Err(error) => {
                self.metrics.memory_failures.increment(1);
                tracing::error!(%error, "The incident cannot be kept.");
            }
        }
    }

    /// Asks the model, once an incident.
    fn ask(&mut self, now: UnixNanos) {
        let (Some(open), Some(explainer)) = (&mut self.open, &mut self.explainer) else {
            return;
        };
        if open.is_asked {
            return;
        }
        let graph = (self.graph)();
        let graph = graph.map_or_else(String::new, |graph| graph.to_text(self.config.max_edges));
        let question = Question::new(
            &open.incident.rca,
            &open.incident.failing,
            &graph,
            explainer.max_question_tokens(),
            &self.scrub,
        );
        let Some(question) = question else {
            return;
        };
        open.is_asked = true;
        if let Err(error) = explainer.reserve(&question, now) {
            self.metrics.over_budget.increment(1);
            tracing::warn!(%error, "The language model is not asked.");
            return;
        }
        let (asking, place, id) = (
            explainer.ask(question),
            Arc::clone(&self.answer),
            open.incident.id,
        );
        match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    let answer = asking.await;
                    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, answer));
                });
            }
            Err(error) => tracing::error!(%error, "The language model cannot be asked."),
        }
    }

    fn end(&mut self, ended_at: UnixNanos) {
        if let Some(open) = &mut self.open {
            open.incident.ended_at = Some(ended_at);
            self.slots.mark_trouble(open.incident.began_at, ended_at);
        }
        self.keep();
        self.open = None;
    }

    /// What the memory holds as under way: the incident goes on if verdicts still fail, else it ended unseen.
    fn resume(&mut self, is_failing: bool, now: UnixNanos) {
        self.is_resumed = true;
        let known = self.memory.incidents().unwrap_or_default();
        let mut unended: Vec<Incident> = known
            .into_iter()
            .filter(|incident| incident.ended_at.is_none())
            .collect();
        if is_failing && let Some(incident) = unended.pop() {
            self.newest = Some(Arc::new(incident.rca.clone()));
            self.open = Some(Open {
                is_asked: incident.rca.explanation.is_some(),
                analysed_at: 0,
                incident,
            });
        }
        for incident in unended {
            let ended = Incident {
                ended_at: Some(now),
                ..incident
            };
            if let Err(error) = self.memory.keep(&ended) {
                self.metrics.memory_failures.increment(1);
                tracing::error!(%error, "The incident cannot be kept.");
            }
        }
    }
}

impl Adapter for IncidentAdapter {
    fn name(&self) -> &'static str {
        "incident"
    }

    fn on_traces(&mut self, traces: &[Arc<Trace>], now: UnixNanos) {
        for trace in traces {
            self.slots.observe(trace, now);
        }
    }

    fn on_report(&mut self, report: &Report, now: UnixNanos) {
        self.take_answer();
        let badness = badness(report);
        if !self.is_resumed {
            self.resume(!badness.is_empty(), now);
        }
        self.follow(report, &badness, now);
        self.state = wording::state(self.open.as_ref().map(|open| &open.incident));
    }

    fn advise(&self, advice: &mut Advice) {
        advice.rca.clone_from(&self.newest);
        advice.states.insert(NEIGHBOUR, self.state.clone());
    }
}
/// The services whose verdict failed.
fn failing(report: &Report) -> Vec<String> {
    let failed = report
        .service_verdicts()
        .filter(|own| own.verdict == Verdict::Fail);
    let names = failed.filter_map(|own| own.service.as_ref());
    let mut names: Vec<String> = names.map(|service| service.name.to_string()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn reasons(report: &Report) -> Vec<String> {
    let failed = report
        .service_verdicts()
        .filter(|own| own.verdict == Verdict::Fail);
    let reasons = failed.flat_map(|own| &own.reasons);
    reasons
        .take(MAX_REASONS)
        .map(|reason| reason.text.clone())
        .collect()
}

/// What makes entry spans of the failing services bad: errors, and what is slower than the strictest objective of latency
/// that failed.
fn badness(report: &Report) -> Vec<Badness> {
    let of = |service: String| {
        let failed = report
            .baseline_evaluations
            .iter()
            .filter(|status| status.state == Verdict::Fail && status.objective.service == service);
        let limits = failed.filter_map(|status| match status.objective.sli {
            Sli::Latency { threshold_micros } => Some(threshold_micros.saturating_mul(1_000)),
            Sli::Availability | Sli::ErrorRate => None,
        });
        Badness {
            slower_than_nanos: limits.min(),
            service,
        }
    };
    failing(report).into_iter().map(of).collect()
}
