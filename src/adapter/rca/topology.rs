//! Who explains the delays: a slow link has two ends.
//!
//! If one service is slow to be reached, all links to it are slow. If one service is slow to call (its machine is busy, its
//! network is bad), its links to several others are. For each service and each of these roles it is asked which share of
//! its links is slow (precision) and which share of all that is slow it explains (recall, by strength and by the time that
//! was lost). Their harmonic mean, times the strength of the largest delay it explains, is the score. A caller whose own
//! work is as quick as before is thus not blamed for waiting.

use std::collections::{BTreeMap, BTreeSet};

use crate::adapter::rca::signals::{Family, Finding, Sides};
use crate::model::series::ServiceKey;

/// How a service explains delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is slow itself, or slow to be reached.
    Callee,
    /// It is slow to call others.
    Caller,
    /// Both.
    Both,
}

/// What a service explains.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// How well.
    pub score: f64,
    /// In which role.
    pub role: Role,
    /// The findings that it explains, by their index.
    pub covers: Vec<usize>,
}

/// A pair of services.
type Ends<'a> = (&'a ServiceKey, &'a ServiceKey);

/// What was found about one link between services, or about the work of one service.
#[derive(Clone, Debug, Default)]
struct Delay {
    strength: f64,
    lost_seconds: f64,
    findings: Vec<usize>,
}

impl Delay {
    fn add(&mut self, index: usize, finding: &Finding) {
        self.strength = self.strength.max(finding.strength);
        self.lost_seconds += (finding.after - finding.before).max(0.0) * finding.spans.1;
        self.findings.push(index);
    }
}

/// The delays of all services.
#[derive(Default)]
struct Delays<'a> {
    links: BTreeMap<Ends<'a>, Delay>,
    work: BTreeMap<&'a ServiceKey, Delay>,
    strength: f64,
    lost_seconds: f64,
}

/// How each service explains the delays among the findings.
pub fn explain<'a>(
    findings: &'a [Finding],
    sides: &Sides<'a>,
) -> BTreeMap<&'a ServiceKey, Explanation> {
    let delays = Delays::of(findings, sides);
    let ends = delays.links.keys().flat_map(|(from, to)| [*from, *to]);
    let services: BTreeSet<&ServiceKey> = ends.chain(delays.work.keys().copied()).collect();
    let explanation = |service: &'a ServiceKey| {
        let roles = [Role::Callee, Role::Caller, Role::Both].into_iter();
        let by_role = roles.filter_map(|role| delays.explained_by(service, role));
        // Of equal ones the first: being called explains more simply than calling.
        let best = by_role.reduce(|best, other| {
            if other.score > best.score {
                other
            } else {
                best
            }
        });
        Some((service, best?))
    };
    services.into_iter().filter_map(explanation).collect()
}

impl<'a> Delays<'a> {
    fn of(findings: &'a [Finding], sides: &Sides<'a>) -> Self {
        let mut delays = Self::default();
        // Links that are as quick as before count too: they speak against blaming their ends.
        for (id, link) in &sides.before.summary.links {
            let after = sides.after.summary.links.get(id);
            let calls = after.map_or(0.0, |after| after.calls.sum(sides.after.half));
            let spans = (link.calls.sum(sides.before.half), calls);
            let ends = (&link.key.caller, &link.key.callee.service);
            if sides.are_enough(spans) && ends.0 != ends.1 {
                delays.links.entry(ends).or_default();
            }
        }
        for (index, finding) in findings.iter().enumerate() {
            let is_delay = finding.signal.family() == Family::Time;
            if !is_delay || finding.strength <= 0.0 {
                continue;
            }
            let delay = match finding.caller() {
                Some(caller) if *caller != finding.service => {
                    delays.links.entry((caller, &finding.service)).or_default()
                }
                Some(_) | None => delays.work.entry(&finding.service).or_default(),
            };
            delay.add(index, finding);
        }
        let all = delays.links.values().chain(delays.work.values());
        for delay in all {
            delays.strength += delay.strength;
            delays.lost_seconds += delay.lost_seconds;
        }
        delays
    }

    fn explained_by(&self, service: &ServiceKey, role: Role) -> Option<Explanation> {
        let calls = self.links.iter().filter(|((from, _), _)| *from == service);
        let called = self.links.iter().filter(|((_, to), _)| *to == service);
        let links: Vec<&Delay> = match role {
            Role::Callee => called.map(|(_, delay)| delay).collect(),
            // Of one slow link both ends are suspect, and who is called more so.
            Role::Caller | Role::Both if self.callees(service) < 2 => return None,
            Role::Caller => calls.map(|(_, delay)| delay).collect(),
            Role::Both => called.chain(calls).map(|(_, delay)| delay).collect(),
        };
        let work = self.work.get(service);
        let count = (links.len() + usize::from(work.is_some())) as f64;
        let explained: Vec<&Delay> = links
            .into_iter()
            .filter(|link| link.strength > 0.0)
            .chain(work)
            .collect();
        if explained.is_empty() {
            return None;
        }
        let sum =
            |value: fn(&Delay) -> f64| explained.iter().map(|delay| value(delay)).sum::<f64>();
        let precision = explained.len() as f64 / count;
        let by_strength = sum(|delay| delay.strength) / self.strength;
        let by_loss = sum(|delay| delay.lost_seconds) / self.lost_seconds.max(f64::MIN_POSITIVE);
        let recall = f64::midpoint(by_strength, by_loss);
        let most = explained.iter().map(|delay| delay.strength);
        let most = most.fold(0.0, f64::max);
        let covers = explained.iter().flat_map(|delay| &delay.findings);
        Some(Explanation {
            score: most * 2.0 * precision * recall / (precision + recall),
            role,
            covers: covers.copied().collect(),
        })
    }

    fn callees(&self, service: &ServiceKey) -> usize {
        self.links
            .keys()
            .filter(|(from, _)| *from == service)
            .count()
    }
}
