//! How good the ranking is on incidents whose cause is known, and how often it finds something where nothing is wrong.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::Serialize;

use crate::adapter::rca::settings::Settings;
use crate::adapter::rca::summary::Summary;
use crate::adapter::rca::{analyse, examine};
use crate::model::rca::Conclusion;
use crate::model::trace::Trace;

/// How deep a ranking is looked at.
const DEPTH: usize = 5;

/// An incident whose cause is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// Its name.
    pub case: String,
    /// The system that it happened in.
    pub system: String,
    /// The service that was the cause.
    pub cause: String,
    /// What was wrong with it.
    pub fault_kind: String,
    /// Place of the cause among the suspects, the first being 1; null if it is none.
    pub rank: Option<usize>,
    /// The services that were ranked first.
    pub suspects: Vec<String>,
    /// Whether the conclusion is that something was found.
    pub conclusion: Conclusion,
    /// Spans of both sides.
    pub spans: u64,
    /// Seconds that the analysis took, reading not counted.
    pub seconds: f64,
}

/// Accuracy over some cases.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Which cases: a system, and one fault kind or all (null).
    pub system: String,
    /// The fault kind.
    pub fault_kind: Option<String>,
    /// How many.
    pub cases: usize,
    /// Share of those whose cause is ranked first.
    pub ac1: f64,
    /// Share of those whose cause is among the first three.
    pub ac3: f64,
    /// Mean of the shares whose cause is among the first one, two … five.
    pub avg5: f64,
    /// Share of those where anything was found.
    pub found: f64,
    /// Share of those where something was found and the cause is first.
    pub found_first: f64,
    /// Mean seconds a case.
    pub seconds: f64,
}

/// How often something was found between two halves of a time in which nothing is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NullCheck {
    /// Cases that share the same normal traces.
    pub case: String,
    /// Traces.
    pub traces: usize,
    /// How often they were dealt.
    pub deals: u32,
    /// How often something was found.
    pub found: u32,
}

/// Judges the analysis of one case.
pub fn judge(
    (case, system, cause, fault_kind): (&str, &str, &str, &str),
    (normal, abnormal): (&[Trace], &[Trace]),
    settings: &Settings,
) -> Judged {
    let baseline = summary(normal.iter(), settings);
    let incident = summary(abnormal.iter(), settings);
    let analysis = examine(&baseline, &incident, settings);
    let names = analysis.suspects.iter();
    let names: Vec<String> = names
        .map(|suspect| suspect.service.name.to_string())
        .collect();
    let place = names.iter().position(|name| name == cause);
    Judged {
        case: case.to_owned(),
        system: system.to_owned(),
        cause: cause.to_owned(),
        fault_kind: fault_kind.to_owned(),
        rank: place.map(|place| place + 1),
        suspects: names.into_iter().take(DEPTH).collect(),
        conclusion: analysis.report.conclusion,
        spans: baseline.window.spans + incident.window.spans,
        seconds: 0.0,
    }
}

/// A summary of some traces.
pub fn summary<'a>(traces: impl Iterator<Item = &'a Trace>, settings: &Settings) -> Summary {
    let mut summary = Summary::default();
    for trace in traces {
        summary.observe(trace, settings);
    }
    summary
}

/// Deals normal traces into two halves, so many times, and compares them.
pub fn null_check(case: &str, normal: &[Trace], deals: u32, settings: &Settings) -> NullCheck {
    let mut found = 0;
    for seed in 0..deals {
        let mut order: Vec<&Trace> = normal.iter().collect();
        order.shuffle(&mut StdRng::seed_from_u64(u64::from(seed)));
        let middle = order.len() / 2;
        let (one, other) = order.split_at(middle);
        let one = summary(one.iter().copied(), settings);
        let other = summary(other.iter().copied(), settings);
        let conclusion = analyse(&one, &other, settings).conclusion;
        found += u32::from(conclusion == Conclusion::Found);
    }
    NullCheck {
        case: case.to_owned(),
        traces: normal.len(),
        deals,
        found,
    }
}

/// Accuracy by system and fault kind, and of each system as a whole (fault kind null), which stands first.
pub fn accuracy(judged: &[Judged]) -> Vec<Accuracy> {
    let mut groups: BTreeMap<(&str, Option<&str>), Vec<&Judged>> = BTreeMap::new();
    for case in judged {
        for kind in [None, Some(case.fault_kind.as_str())] {
            let group = groups.entry((case.system.as_str(), kind)).or_default();
            group.push(case);
        }
    }
    let of = |((system, fault_kind), cases): ((&str, Option<&str>), Vec<&Judged>)| {
        let count = cases.len() as f64;
        let share = |holds: &dyn Fn(&Judged) -> bool| {
            cases.iter().filter(|case| holds(case)).count() as f64 / count
        };
        let within = |depth: usize| share(&|case| case.rank.is_some_and(|rank| rank <= depth));
        let is_found = |case: &Judged| case.conclusion == Conclusion::Found;
        Accuracy {
            system: system.to_owned(),
            fault_kind: fault_kind.map(str::to_owned),
            cases: cases.len(),
            ac1: within(1),
            ac3: within(3),
            avg5: (1..=DEPTH).map(within).sum::<f64>() / DEPTH as f64,
            found: share(&is_found),
            found_first: share(&|case| is_found(case) && case.rank == Some(1)),
            seconds: cases.iter().map(|case| case.seconds).sum::<f64>() / count,
        }
    };
    groups.into_iter().map(of).collect()
}
