//! An SLO as the store knows it: what it promises now, and who or what changed which of its terms when, and why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::period::Period;
use crate::model::series::ServiceKey;
use crate::model::slo::{Budgeting, Objective, ObjectiveSource, Sli};

/// What a list of records says that it is.
pub const STORE_SCHEMA_VERSION: &str = "slo-copilot/slo-store/v1";

/// Targets that differ by less are one target: readers of JSON may lose the last binary digit.
const TARGET_TOLERANCE: f64 = 1e-9;

/// How binding an SLO is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordState {
    /// Suggested; it neither gates nor pages.
    Proposed,
    /// Promised: measured, and judged.
    Adopted,
    /// Refused by a person; it is not suggested again.
    Rejected,
}

impl RecordState {
    /// As in JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Adopted => "adopted",
            Self::Rejected => "rejected",
        }
    }
}

/// Who or what changed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Actor {
    /// A person's word.
    Person {
        /// Who, as they said it.
        name: Option<String>,
    },
    /// `objectives.adopt: auto`.
    Auto,
    /// `objectives.list` of the configuration.
    Config,
    /// An OpenSLO document of `objectives.files`.
    File,
    /// Another store's file.
    Import {
        /// The file.
        file: String,
    },
    /// The fit of candidates to history.
    Fit,
}

/// What kind of change it was; [`Change::from`] and [`Change::to`] say it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The SLO is new.
    Created,
    /// It came here from another store.
    Imported,
    /// It was adopted, rejected, or withdrawn to a proposal.
    StateChanged,
    /// Target, threshold, period or budgeting.
    TargetChanged,
    /// The evidence became enough, or is enough no longer.
    ReadinessChanged,
    /// What is not part of the terms: weight, whether it is required, the composite, the services that it selects.
    SettingsChanged,
}

/// What an SLO says at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// How binding it is.
    pub state: RecordState,
    /// What is measured.
    pub sli: Sli,
    /// Ratio of good events; for [`Sli::ErrorRate`] the highest ratio of bad events.
    pub target: f64,
    /// Period of the budget.
    pub window: Period,
    /// How good and bad are counted.
    #[serde(default)]
    pub budgeting: Budgeting,
    /// Whether the evidence is enough; null where there is none.
    pub ready: Option<bool>,
}

impl Terms {
    /// Whether both say the same.
    pub fn same_as(&self, other: &Self) -> bool {
        self.state == other.state && self.ready == other.ready && self.same_promise(other)
    }

    /// Whether both promise the same, however binding and believable they are.
    pub fn same_promise(&self, other: &Self) -> bool {
        (self.target - other.target).abs() < TARGET_TOLERANCE
            && (self.sli, &self.window, self.budgeting)
                == (other.sli, &other.window, other.budgeting)
    }
}

/// One change of an SLO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Who or what.
    pub actor: Actor,
    /// What kind of change.
    pub what: ChangeKind,
    /// Before; null if it is new.
    pub from: Option<Terms>,
    /// After.
    pub to: Terms,
    /// Why, in words: a person's reason, or the evidence.
    pub text: String,
}

impl Change {
    /// Whether both tell of one event.
    pub fn same_as(&self, other: &Self) -> bool {
        (self.at, &self.actor, self.what) == (other.at, &other.actor, other.what)
            && self.to.same_as(&other.to)
    }
}

/// Who changes SLOs, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// When.
    pub at: Timestamp,
    /// Who or what.
    pub actor: Actor,
    /// Why, in words; where it is empty, the evidence stands for it.
    pub text: String,
}

impl Edit {
    /// A change by the program itself, which the evidence explains.
    pub fn new(at: Timestamp, actor: Actor) -> Self {
        let text = String::new();
        Self { at, actor, text }
    }
}

/// What an SLO measures, whatever it is called and promises. Two SLOs of one identity are rivals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Namespace, environment and name; what is not said is empty.
    pub service: ServiceKey,
    /// One operation; `None` means the whole service.
    pub operation: Option<String>,
    /// Kind of the indicator, [`Sli::slug`].
    pub indicator: &'static str,
    /// The quantile that a latency objective bounds, in millionths: a p95 and a p99 are no rivals.
    pub quantile_millionths: Option<u64>,
}

impl Identity {
    /// Of an objective. One of any namespace and one of the empty namespace are not told apart.
    pub fn of(objective: &Objective) -> Self {
        let said = |part: &Option<String>| part.as_deref().unwrap_or_default().into();
        Self {
            service: ServiceKey {
                namespace: said(&objective.namespace),
                environment: said(&objective.environment),
                name: objective.service.as_str().into(),
            },
            operation: objective.operation.clone(),
            indicator: objective.sli.slug(),
            quantile_millionths: quantile_millionths(objective.sli, objective.target),
        }
    }

    /// Of a candidate.
    pub fn of_candidate(candidate: &Candidate) -> Self {
        Self {
            service: candidate.service.clone(),
            operation: candidate.operation.clone(),
            indicator: candidate.sli.slug(),
            quantile_millionths: quantile_millionths(candidate.sli, candidate.target),
        }
    }

    /// Whether both speak of one indicator of one thing, whatever the quantile.
    pub fn same_subject(&self, other: &Self) -> bool {
        (&self.service, &self.operation, self.indicator)
            == (&other.service, &other.operation, other.indicator)
    }

    /// The identity as texts, to make names of.
    pub fn parts(&self) -> [&str; 5] {
        let ServiceKey {
            namespace,
            environment,
            name,
        } = &self.service;
        let operation = self.operation.as_deref().unwrap_or_default();
        [namespace, environment, name, operation, self.indicator]
    }
}

fn quantile_millionths(sli: Sli, target: f64) -> Option<u64> {
    match sli {
        Sli::Availability | Sli::ErrorRate => None,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a ratio in millionths; the cast saturates"
        )]
        Sli::Latency { .. } => Some((target * 1e6).round() as u64),
    }
}

/// An SLO with its history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloRecord {
    /// How binding it is.
    pub state: RecordState,
    /// What it promises, or would promise.
    pub objective: Objective,
    /// The candidate that it comes from, with its evidence at the last change; null where somebody just wrote it.
    pub candidate: Option<Candidate>,
    /// What changed, the oldest first.
    pub history: Vec<Change>,
    /// Changes before those, which went for want of room.
    #[serde(default)]
    pub history_dropped: u64,
}

impl SloRecord {
    /// What a fit suggests.
    pub fn proposed(candidate: &Candidate, edit: &Edit) -> Self {
        let objective = candidate.objective(ObjectiveSource::Accepted);
        let record = Self::without_history(RecordState::Proposed, objective);
        let candidate = Some(candidate.clone());
        Self {
            candidate,
            ..record
        }
        .created(edit)
    }

    /// What somebody wrote down.
    pub fn written(state: RecordState, objective: Objective, edit: &Edit) -> Self {
        Self::without_history(state, objective).created(edit)
    }

    fn without_history(state: RecordState, objective: Objective) -> Self {
        Self {
            state,
            objective,
            candidate: None,
            history: Vec::new(),
            history_dropped: 0,
        }
    }

    fn created(mut self, edit: &Edit) -> Self {
        self.push(ChangeKind::Created, None, edit, 1);
        self
    }

    /// RFC 1123 label, unique in a store.
    pub fn name(&self) -> &str {
        &self.objective.name
    }

    /// What it measures.
    pub fn identity(&self) -> Identity {
        Identity::of(&self.objective)
    }

    /// What it says now.
    pub fn terms(&self) -> Terms {
        let candidate = self.candidate.as_ref();
        Terms {
            state: self.state,
            sli: self.objective.sli,
            target: self.objective.target,
            window: self.objective.window.clone(),
            budgeting: self.objective.budgeting,
            ready: candidate.map(|candidate| candidate.state != CandidateState::Provisional),
        }
    }

    /// When its terms changed last.
    pub fn changed_at(&self) -> Option<Timestamp> {
        self.history.last().map(|change| change.at)
    }

    /// The candidate with the state that the record gives it; `None` where it comes from no candidate.
    pub fn as_candidate(&self) -> Option<Candidate> {
        let candidate = self.candidate.as_ref()?;
        Some(Candidate {
            state: match self.state {
                RecordState::Proposed => candidate.state,
                RecordState::Adopted => CandidateState::Adopted,
                RecordState::Rejected => CandidateState::Rejected,
            },
            ..candidate.clone()
        })
    }

    /// Appends what changed since `before`, unless nothing did. At most `limit` changes stay, the oldest go.
    pub fn note(&mut self, before: &Terms, edit: &Edit, limit: usize) -> Option<&Change> {
        let to = self.terms();
        let what = if before.state != to.state {
            ChangeKind::StateChanged
        } else if !before.same_promise(&to) {
            ChangeKind::TargetChanged
        } else if before.ready != to.ready {
            ChangeKind::ReadinessChanged
        } else {
            return None;
        };
        self.push(what, Some(before.clone()), edit, limit)
    }

    /// Appends a change of this kind, whatever the terms say. At most `limit` changes stay.
    pub fn push(
        &mut self,
        what: ChangeKind,
        from: Option<Terms>,
        edit: &Edit,
        limit: usize,
    ) -> Option<&Change> {
        self.history.push(Change {
            at: edit.at,
            actor: edit.actor.clone(),
            what,
            from,
            to: self.terms(),
            text: self.reason(edit),
        });
        self.bound_history(limit);
        self.history.last()
    }

    /// Drops the oldest changes over `limit`, and counts them. The last one always stays.
    pub fn bound_history(&mut self, limit: usize) {
        let excess = self.history.len().saturating_sub(limit.max(1));
        self.history.drain(..excess);
        self.history_dropped += excess as u64;
    }

    fn reason(&self, edit: &Edit) -> String {
        match &self.candidate {
            _ if !edit.text.is_empty() => edit.text.clone(),
            Some(candidate) => evidence_text(candidate),
            None => String::new(),
        }
    }
}

/// Why a candidate's target may be believed, in a sentence.
fn evidence_text(candidate: &Candidate) -> String {
    let evidence = &candidate.evidence;
    let missing = match candidate.missing.as_slice() {
        [] => String::new(),
        missing => format!("; missing: {}", missing.join("; ")),
    };
    format!(
        "{}: measured {:.6}, bound {:.6} at confidence {}, from {} events ({:.0} effective) over {:.1} days{missing}",
        evidence.method,
        evidence.measured,
        evidence.bound,
        evidence.confidence,
        evidence.events,
        evidence.effective_events,
        evidence.history_secs as f64 / 86_400.0,
    )
}

/// A candidate that became an objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The adopted objective.
    pub objective: Objective,
    /// What the person should know, for example that the candidate is provisional.
    pub warning: Option<String>,
}

/// A list of records, as files hold it and the API answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SloList {
    /// [`STORE_SCHEMA_VERSION`].
    pub schema_version: String,
    /// The records by name.
    pub slos: Vec<SloRecord>,
}

impl SloList {
    /// Sorts the records by name.
    pub fn new(mut slos: Vec<SloRecord>) -> Self {
        slos.sort_by(|a, b| a.name().cmp(b.name()));
        let schema_version = STORE_SCHEMA_VERSION.to_owned();
        Self {
            schema_version,
            slos,
        }
    }
}

/// What transitions are about: a verdict, the action that an error budget policy asks for, the comparison of a new version
/// with the old one, a trace test, a suggestion, an adopted objective.
pub const TRANSITION_KINDS: [&str; 6] = [
    "verdict",
    "action",
    "canary",
    "test",
    "candidate",
    "objective",
];

/// Something that changed, for people and for those who were not watching.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Its place among all of them, from 1; the store gives it.
    #[serde(skip)]
    pub sequence: u64,
    /// When.
    pub at: UnixNanos,
    /// One of [`TRANSITION_KINDS`].
    pub kind: String,
    /// The service or the name; `*` is all services, `service@version` the new version of a rollout.
    pub subject: String,
    /// The service that it is about; null for all services together.
    #[serde(default)]
    pub service: Option<ServiceKey>,
    /// Before; empty if it is new.
    pub from: String,
    /// After; `ended` where a rollout is over.
    pub to: String,
    /// Why.
    pub text: String,
}

/// What a reader gets who has come to some transition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransitionPage {
    /// The next ones, the oldest first.
    pub transitions: Vec<Transition>,
    /// Number of the last one that was kept ever.
    pub last: u64,
    /// Those before the first one here that went for want of room, unseen by this reader.
    pub dropped: u64,
}
