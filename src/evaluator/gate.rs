//! Which parts of a report decide a gate: objectives, trace tests, guardrail policies, two versions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::evaluator::burn_rate::Limits;
use crate::evaluator::composite::{Gating, gating, standings};
use crate::evaluator::error_budget_policy::POLICY_STEP_SOURCE;
use crate::evaluator::objective::Standing;
use crate::evaluator::policy::{self, Input, Language, PolicyError, Source};
use crate::evaluator::rollout::{self, CANARY_SOURCE};
use crate::evaluator::trace_tests;
use crate::evaluator::verdict::REQUEST_SOURCE;
use crate::model::canary::CanaryReport;
use crate::model::input::{JudgedAgainst, TraceInputReport};
use crate::model::report::{ObjectiveStatus, Reason, Report, Verdict, VerdictReport};
use crate::model::test_result::TEST_SOURCE;

/// `source` of a reason that is a policy's.
pub const POLICY_SOURCE: &str = "policy";

/// What a gate fails on (`--fail-on`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailOn {
    /// Any part.
    #[default]
    Any,
    /// Objectives alone.
    Baseline,
    /// Trace-based tests alone.
    Tests,
    /// Guardrail policies alone.
    Guardrail,
    /// The comparison of two versions alone.
    Canary,
}

/// One part of a report that may decide a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatePart {
    /// Objectives.
    Baseline,
    /// Trace-based tests.
    Tests,
    /// Guardrail policies, generated and those of `--policy`.
    Guardrail,
    /// The comparison of a new version with the old one.
    Canary,
}

impl GatePart {
    /// As in JSON and for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Tests => "tests",
            Self::Guardrail => "guardrail",
            Self::Canary => "canary",
        }
    }
}

impl FailOn {
    /// Whether a part decides.
    pub fn includes(self, part: GatePart) -> bool {
        match self {
            Self::Any => true,
            Self::Baseline => part == GatePart::Baseline,
            Self::Tests => part == GatePart::Tests,
            Self::Guardrail => part == GatePart::Guardrail,
            Self::Canary => part == GatePart::Canary,
        }
    }
}

/// What one part says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartVerdict {
    /// The part.
    pub part: GatePart,
    /// What it says.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub text: String,
    /// Whether `--fail-on` includes it.
    pub decides: bool,
}

/// A policy that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPolicy {
    /// As in reasons: the file.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// Its text.
    pub source: String,
}

/// A verdict with what decided it: the JSON that `gate` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// The verdict over the parts that decide.
    #[serde(flatten)]
    pub verdict: VerdictReport,
    /// What the gate fails on.
    pub fail_on: FailOn,
    /// What the objectives are; null for a live verdict.
    pub judged_against: Option<JudgedAgainst>,
    /// The traces; null for a live verdict.
    pub input: Option<TraceInputReport>,
    /// New versions against old ones.
    pub canaries: Vec<CanaryReport>,
    /// What each part says.
    pub parts: Vec<PartVerdict>,
    /// What decided, in a sentence.
    pub decided_by: String,
    /// The action of the error budget policy that made it fail; null if none did.
    #[serde(default)]
    pub failed_action: Option<String>,
}

/// Why a gate cannot decide.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A policy gives no decision.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The report has no JSON form.
    #[error("cannot show the report to the policies: {0}")]
    Document(#[from] serde_json::Error),
}

/// Decides about a report. An error is a policy of a person that cannot be evaluated.
pub fn gate(
    report: &Report,
    fail_on: FailOn,
    policies: &[UserPolicy],
    limits: Limits,
) -> Result<GateReport, GateError> {
    let guardrail = guardrail(report, policies, limits)?;
    let part = |part: GatePart, (verdict, text): (Verdict, String)| PartVerdict {
        part,
        verdict,
        text,
        decides: fail_on.includes(part),
    };
    let parts = vec![
        part(GatePart::Baseline, baseline(report)),
        part(GatePart::Tests, trace_tests::part(report)),
        part(GatePart::Guardrail, (guardrail.verdict, guardrail.text())),
        part(GatePart::Canary, canary(report)),
    ];
    let is_open = |one: &Standing<'_>| one.required && one.state == Verdict::Inconclusive;
    let required_is_open =
        fail_on.includes(GatePart::Baseline) && judged(report).iter().any(is_open);
    let open = Open::of(report, required_is_open);
    let verdict = decide(&parts, open.is_some());
    let (mut reasons, mut undecided) = (Vec::new(), Vec::new());
    if fail_on.includes(GatePart::Baseline) {
        let (said, open) = said_of_objectives(report);
        reasons.extend(said);
        undecided.extend(open);
    }
    if fail_on.includes(GatePart::Tests) {
        let (said, open) = trace_tests::reasons(report);
        reasons.extend(said);
        undecided.extend(open);
    }
    if fail_on.includes(GatePart::Canary) {
        let (said, open) = said_of_canaries(report);
        reasons.extend(said);
        undecided.extend(open);
    }
    if fail_on.includes(GatePart::Guardrail) {
        // Where objectives decide too, their own reasons say it already.
        let said = if fail_on.includes(GatePart::Baseline) {
            guardrail.generated_denials
        } else {
            0
        };
        reasons.extend(guardrail.denials.into_iter().skip(said));
    }
    Ok(GateReport {
        failed_action: None,
        decided_by: decided_by(&parts, verdict, open.as_ref()),
        verdict: VerdictReport {
            verdict,
            ok: verdict.is_ok(),
            score: score(report, fail_on).filter(|_| verdict != Verdict::Inconclusive),
            reasons,
            undecided,
            ..report.verdict.clone()
        },
        fail_on,
        judged_against: report.input.as_ref().map(|input| input.judged_against),
        input: report.input.clone(),
        canaries: report.canaries.clone(),
        parts,
    })
}

/// Reasons and undecided objectives, without what trace tests and the comparison of versions say for themselves.
fn said_of_objectives(report: &Report) -> (Vec<Reason>, Vec<Reason>) {
    let own = |reasons: &[Reason]| -> Vec<Reason> {
        let others = [CANARY_SOURCE, TEST_SOURCE];
        let own = reasons.iter().filter(|one| !others.contains(&&*one.source));
        own.cloned().collect()
    };
    let against = report.input.as_ref().map(|input| input.judged_against);
    // That no objective was adopted is no reason where the old version is the yardstick.
    let reasons = if against == Some(JudgedAgainst::OldVersion) {
        Vec::new()
    } else {
        own(&report.verdict.reasons)
    };
    (reasons, own(&report.verdict.undecided))
}

/// Reasons, the worst first and those that suffer from another change last, and what is not decided.
fn said_of_canaries(report: &Report) -> (Vec<Reason>, Vec<Reason>) {
    let mut worst_first: Vec<&CanaryReport> = report.canaries.iter().collect();
    worst_first.sort_by_key(|own| {
        let suffers = own.blame.as_ref().is_some_and(|blame| blame.rank.is_none());
        (std::cmp::Reverse(own.verdict), suffers)
    });
    let is_open = |own: &&CanaryReport| own.verdict == Verdict::Inconclusive;
    let (open, said): (Vec<&CanaryReport>, Vec<&CanaryReport>) =
        worst_first.into_iter().partition(is_open);
    let reasons = |own: Vec<&CanaryReport>| own.into_iter().filter_map(rollout::reason).collect();
    (reasons(said), reasons(open))
}

/// The score of the objectives, or the lowest one of the canaries where those alone decide.
fn score(report: &Report, fail_on: FailOn) -> Option<f64> {
    let objectives = report.verdict.score;
    let objectives = objectives.filter(|_| fail_on.includes(GatePart::Baseline));
    let canaries = report.canaries.iter().filter_map(|canary| canary.score);
    let canaries = canaries.filter(|_| fail_on.includes(GatePart::Canary));
    objectives.or_else(|| canaries.min_by(f64::total_cmp))
}

/// The worst of the canaries that know; inconclusive if none does.
fn canary(report: &Report) -> (Verdict, String) {
    let canaries = &report.canaries;
    let verdicts = canaries.iter().map(|own| own.verdict);
    let verdict = verdicts.max().unwrap_or(Verdict::Inconclusive);
    let count = |state| canaries.iter().filter(|own| own.verdict == state).count();
    let mut worst = canaries.iter().filter(|own| own.verdict == verdict);
    // One that suffers from another one is not what people should look at first.
    let first = worst
        .clone()
        .find(|own| own.blame.as_ref().is_none_or(|blame| blame.rank == Some(1)))
        .or_else(|| worst.next());
    let text = match first {
        None => "no two versions of a service were compared".to_owned(),
        Some(first) if canaries.len() == 1 => first.text.clone(),
        Some(first) => format!(
            "{} of {} services fail, {} warn, {} hold, {} cannot be decided; {}: {}",
            count(Verdict::Fail),
            canaries.len(),
            count(Verdict::Warn),
            count(Verdict::Pass),
            count(Verdict::Inconclusive),
            first.service.name,
            first.text
        ),
    };
    (verdict, text)
}

/// Fails whatever the parts say, where the verdict carries one of these actions.
pub fn fail_on_actions(decided: GateReport, actions: &[String]) -> GateReport {
    let Some(action) = decided.verdict.action.clone() else {
        return decided;
    };
    if !actions.contains(&action) {
        return decided;
    }
    let mut reasons = decided.verdict.reasons.iter();
    let step = reasons.find(|reason| {
        reason.source == POLICY_STEP_SOURCE && reason.text.starts_with(&format!("{action}: "))
    });
    let why = step.map_or_else(|| action.clone(), |reason| reason.text.clone());
    GateReport {
        decided_by: format!("action: {why}"),
        failed_action: Some(action),
        verdict: VerdictReport {
            verdict: Verdict::Fail,
            ok: false,
            ..decided.verdict
        },
        ..decided
    }
}

fn baseline(report: &Report) -> (Verdict, String) {
    let judged = judged(report);
    let count = |state| judged.iter().filter(|one| one.state == state).count();
    let worst = report.verdict.reasons.first();
    let text = match (judged.len(), worst) {
        (0, _) => "there are no objectives to judge by".to_owned(),
        (all, Some(worst)) if report.verdict.verdict >= Verdict::Warn => format!(
            "{} of {all} objectives fail and {} warn; {}",
            count(Verdict::Fail),
            count(Verdict::Warn),
            worst.text
        ),
        (all, _) => format!(
            "{} of {all} objectives hold, {} cannot be decided",
            count(Verdict::Pass),
            count(Verdict::Inconclusive)
        ),
    };
    (report.verdict.verdict, text)
}

/// What the verdict rests on: composites in place of their members.
pub fn judged(report: &Report) -> Vec<Standing<'_>> {
    let all: Vec<&ObjectiveStatus> = report.baseline_evaluations.iter().collect();
    standings(&all, &report.composites)
}

/// What the guardrail policies say.
struct Guardrail {
    verdict: Verdict,
    evaluated: usize,
    /// Those of generated policies, then those of people's.
    denials: Vec<Reason>,
    generated_denials: usize,
}

impl Guardrail {
    fn text(&self) -> String {
        match self.denials.as_slice() {
            [] if self.evaluated == 0 => "no policy has enough to decide on".to_owned(),
            [] => format!("all {} policies allow it", self.evaluated),
            [first, ..] => format!(
                "{} of {} policies deny it; {}",
                self.denials.len(),
                self.evaluated,
                first.text
            ),
        }
    }
}

/// Evaluates the generated policies of all objectives that can be decided, and those of people.
fn guardrail(
    report: &Report,
    policies: &[UserPolicy],
    limits: Limits,
) -> Result<Guardrail, GateError> {
    let input = Input::new(&policy::document(report)?);
    let mut denials = Vec::new();
    let mut evaluated = 0;
    // Candidates of the same traces are held back, which their policies know nothing of.
    let input_report = report.input.as_ref();
    let on_itself = input_report.is_some_and(|input| input.judged_against == JudgedAgainst::Itself);
    let is_decided = |gating: &Gating<'_>| {
        let state = match gating {
            Gating::Objective(status) => status.state,
            Gating::Composite(status) => status.state,
        };
        !on_itself && state != Verdict::Inconclusive
    };
    let statuses = &report.baseline_evaluations;
    let all: Vec<&ObjectiveStatus> = statuses.iter().collect();
    let decided = gating(&all, &report.composites).into_iter();
    for generated in policy::policies(decided.filter(is_decided), statuses, limits) {
        evaluated += 1;
        let mut messages = BTreeSet::new();
        let mut allow = true;
        for (language, extension, text) in [
            (Language::Cel, "cel", &generated.cel),
            (Language::Rego, "rego", &generated.rego),
        ] {
            let file = format!("{}.{extension}", generated.name);
            let source = Source {
                file: &file,
                language,
                text,
            };
            let decision = policy::evaluate(source, &input)?;
            allow &= decision.allow;
            // A CEL expression is true or false and says no more.
            if language == Language::Rego {
                messages.extend(decision.messages);
            }
        }
        if !allow {
            denials.push(denial(&generated.name, messages, "the objective fails"));
        }
    }
    let generated_denials = denials.len();
    for own in policies {
        evaluated += 1;
        let source = Source {
            file: &own.name,
            language: own.language,
            text: &own.source,
        };
        let decision = policy::evaluate(source, &input)?;
        if !decision.allow {
            let messages = decision.messages.into_iter().collect();
            denials.push(denial(&own.name, messages, "denied"));
        }
    }
    let is_empty = input_report.is_some_and(|input| input.events == 0);
    let verdict = match (denials.len(), evaluated) {
        (0, 0) => Verdict::Inconclusive,
        (0, _) if is_empty => Verdict::Inconclusive,
        (0, _) => Verdict::Pass,
        (_, _) => Verdict::Fail,
    };
    Ok(Guardrail {
        verdict,
        evaluated,
        denials,
        generated_denials,
    })
}

fn denial(name: &str, messages: BTreeSet<String>, otherwise: &str) -> Reason {
    let said = if messages.is_empty() {
        otherwise.to_owned()
    } else {
        messages.into_iter().collect::<Vec<_>>().join("; ")
    };
    Reason {
        source: POLICY_SOURCE.to_owned(),
        text: format!("policy {name} denies: {said}"),
        name: name.to_owned(),
        window: None,
        observed: None,
        limit: None,
    }
}

/// What keeps a gate from passing, whatever its parts say.
#[derive(Debug)]
enum Open {
    /// The verdict that was asked for is not there, or does not count yet, for this reason.
    Answer(String),
    /// A trace file ends before it should.
    Input,
    /// An objective that must be known is not.
    Requirement,
}

impl Open {
    fn of(report: &Report, required_is_open: bool) -> Option<Self> {
        let mut reasons = report.verdict.reasons.iter();
        if let Some(reason) = reasons.find(|reason| reason.source == REQUEST_SOURCE) {
            return Some(Self::Answer(reason.text.clone()));
        }
        let mut files = report.input.iter().flat_map(|input| &input.files);
        if files.any(|file| file.is_truncated) {
            return Some(Self::Input);
        }
        required_is_open.then_some(Self::Requirement)
    }

    fn text(&self) -> String {
        match self {
            Self::Answer(text) => format!("the answer: {text}"),
            Self::Input => {
                "the input: a trace file is cut off, and what is missing may be what fails"
                    .to_owned()
            }
            Self::Requirement => "baseline: a required objective cannot be decided".to_owned(),
        }
    }
}

fn decided_by(parts: &[PartVerdict], verdict: Verdict, open: Option<&Open>) -> String {
    let deciding = || parts.iter().filter(|part| part.decides);
    // The parts that hold do not make it inconclusive.
    let is_open = deciding().any(|part| part.verdict != Verdict::Inconclusive)
        || matches!(open, Some(Open::Answer(_)));
    if let Some(open) = open.filter(|_| is_open && verdict == Verdict::Inconclusive) {
        return open.text();
    }
    match deciding().find(|part| part.verdict == verdict) {
        Some(part) => format!("{}: {}", part.part.label(), part.text),
        None => String::new(),
    }
}

/// The worst of the parts that decide: fail, then warn, then pass; inconclusive if none of them knows.
///
/// Where something that must be known is not (the answer, a required objective, the end of a file), the gate does not
/// pass.
pub fn decide(parts: &[PartVerdict], is_incomplete: bool) -> Verdict {
    let deciding = parts.iter().filter(|part| part.decides);
    let worst = deciding
        .map(|part| part.verdict)
        .max()
        .unwrap_or(Verdict::Inconclusive);
    match worst {
        Verdict::Pass | Verdict::Warn if is_incomplete => Verdict::Inconclusive,
        Verdict::Inconclusive | Verdict::Pass | Verdict::Warn | Verdict::Fail => worst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Verdict::{Fail, Inconclusive, Pass, Warn};

    fn decided(fail_on: FailOn, [baseline, tests, guardrail]: [Verdict; 3]) -> Verdict {
        let parts = [
            part(fail_on, GatePart::Baseline, baseline),
            part(fail_on, GatePart::Tests, tests),
            part(fail_on, GatePart::Guardrail, guardrail),
        ];
        decide(&parts, false)
    }

    fn part(fail_on: FailOn, part: GatePart, verdict: Verdict) -> PartVerdict {
        PartVerdict {
            part,
            verdict,
            text: String::new(),
            decides: fail_on.includes(part),
        }
    }

    #[test]
    fn the_matrix_of_the_documentation_holds() {
        let cases = [
            ([Fail, Pass, Pass], [Fail, Fail, Pass, Pass]),
            ([Pass, Fail, Pass], [Fail, Pass, Fail, Pass]),
            ([Pass, Pass, Fail], [Fail, Pass, Pass, Fail]),
            ([Warn, Inconclusive, Pass], [Warn, Warn, Inconclusive, Pass]),
            ([Inconclusive; 3], [Inconclusive; 4]),
            (
                [Inconclusive, Pass, Inconclusive],
                [Pass, Inconclusive, Pass, Inconclusive],
            ),
        ];
        for (parts, [any, baseline, tests, guardrail]) in cases {
            assert_eq!(decided(FailOn::Any, parts), any, "{parts:?}");
            assert_eq!(decided(FailOn::Baseline, parts), baseline, "{parts:?}");
            assert_eq!(decided(FailOn::Tests, parts), tests, "{parts:?}");
            assert_eq!(decided(FailOn::Guardrail, parts), guardrail, "{parts:?}");
        }
    }

    #[test]
    fn the_comparison_of_two_versions_decides_alone_or_with_the_others() {
        let decided = |fail_on, baseline, canary| {
            let parts = [
                part(fail_on, GatePart::Baseline, baseline),
                part(fail_on, GatePart::Canary, canary),
            ];
            decide(&parts, false)
        };
        assert_eq!(decided(FailOn::Any, Pass, Fail), Fail);
        assert_eq!(decided(FailOn::Baseline, Pass, Fail), Pass);
        assert_eq!(decided(FailOn::Canary, Fail, Pass), Pass);
        assert_eq!(decided(FailOn::Canary, Pass, Inconclusive), Inconclusive);
        assert_eq!(decided(FailOn::Any, Pass, Inconclusive), Pass);
    }

    #[test]
    fn an_open_requirement_keeps_a_gate_from_passing_and_hides_no_failure() {
        let part = |verdict| part(FailOn::Any, GatePart::Baseline, verdict);
        assert_eq!(decide(&[part(Pass)], true), Inconclusive);
        assert_eq!(decide(&[part(Fail)], true), Fail);
    }
}
