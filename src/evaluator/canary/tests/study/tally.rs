//! What the judge says of many releases of one kind, over all looks at each.

use std::thread;

use super::releases::Release;
use super::{ServiceKey, Settings, Verdict, compare};

/// What became of many releases of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Share that failed at a look, within so many requests as asked.
    pub(super) failed_within: f64,
    /// Share that failed at any look.
    pub(super) failed: f64,
    /// Median of the new version's requests until then.
    pub(super) requests_to_fail: Option<u64>,
    /// Share that passed at some look without having failed.
    pub(super) passed: f64,
    /// Median of the requests until then.
    pub(super) requests_to_pass: Option<u64>,
}

/// Requests at the first look with each answer.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    failed: Option<u64>,
    passed: Option<u64>,
}

impl Tally {
    /// Judges the releases of the seeds below `releases`.
    pub(super) fn of(release: &Release, releases: u64, within: u64, threads: u64) -> Self {
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|worker| {
                    scope.spawn(move || {
                        let seeds = (0..releases).filter(|seed| seed % threads == worker);
                        seeds.map(|seed| outcome(release, seed)).collect::<Vec<_>>()
                    })
                })
                .collect();
            let finished = workers.into_iter().map(|worker| worker.join().unwrap());
            finished.flatten().collect()
        });
        let share = |holds: &dyn Fn(&Outcome) -> bool| {
            outcomes.iter().filter(|one| holds(one)).count() as f64 / releases as f64
        };
        let median = |of: &dyn Fn(&Outcome) -> Option<u64>| {
            let mut requests: Vec<u64> = outcomes.iter().filter_map(of).collect();
            requests.sort_unstable();
            requests.get(requests.len() / 2).copied()
        };
        let passed = |one: &Outcome| {
            let passed = one.passed?;
            one.failed
                .is_none_or(|failed| passed < failed)
                .then_some(passed)
        };
        Self {
            failed_within: share(&|one| one.failed.is_some_and(|requests| requests <= within)),
            failed: share(&|one| one.failed.is_some()),
            requests_to_fail: median(&|one| one.failed),
            passed: share(&|one| passed(one).is_some()),
            requests_to_pass: median(&passed),
        }
    }
}

fn outcome(release: &Release, seed: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let settings = Settings::default();
    let service = ServiceKey::named("study");
    release.run(seed, |old, new, requests| {
        let report = compare(&service, old, new, release.pairing(), &settings);
        match report.verdict {
            Verdict::Fail => outcome.failed = Some(requests),
            Verdict::Pass | Verdict::Warn => {
                outcome.passed.get_or_insert(requests);
            }
            Verdict::Inconclusive => {}
        }
        outcome.failed.is_some()
    });
    outcome
}
