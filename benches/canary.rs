//! Power study of the canary judge: how often it fails good and bad releases, over all looks at each.
//!
//! `cargo bench --bench canary [-- [KIND] [RELEASES]]` prints the tables of `src/evaluator/canary/study.md`, and the time that one
//! comparison takes. It fails if a kind misses what is asked of it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "the simulated releases are shared with the tests; a study may panic and measures real time"
)]

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

#[path = "../src/evaluator/canary/tests/study/releases.rs"]
mod releases;
#[path = "../src/evaluator/canary/tests/study/tally.rs"]
mod tally;

use slo_copilot::evaluator::canary::{Settings, compare};
use slo_copilot::model::canary::{Cohort, OperationCohort, Pairing};
use slo_copilot::model::history::MinuteRow;
use slo_copilot::model::report::Verdict;
use slo_copilot::model::series::ServiceKey;
use slo_copilot::model::span::SpanKind;
use slo_copilot::model::window::WindowSums;
use slo_copilot::window::sketch::bucket_of;

use releases::{Arms, Durations, IDENTICAL, Release, Slowdown, Weights};
use tally::Tally;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RELEASES: u64 = 1_000;

/// What is asked of a kind.
#[derive(Clone, Copy)]
enum Asked {
    /// At least nine of ten fail within so many requests.
    Caught(u64),
    /// At most one of a hundred fails, at any look.
    Identical,
    /// Nothing; what is caught within so many requests is shown.
    Shown(u64),
}

/// Nine of ten, less the one standard deviation that chance may take.
fn caught_min(releases: u64) -> f64 {
    0.9 - (0.9 * 0.1 / releases as f64).sqrt()
}

/// Chance may make a share of `releases` releases differ so much from a hundredth: three standard deviations.
fn identical_max(releases: u64) -> f64 {
    0.01 + 3.0 * (0.01 * 0.99 / releases as f64).sqrt()
}

fn main() -> io::Result<ExitCode> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let kind = arguments.next().unwrap_or_default();
    let number = arguments.next().and_then(|number| number.parse().ok());
    let mut out = io::stdout();
    let threads = std::thread::available_parallelism()?.get() as u64;
    writeln!(
        out,
        "| Release | Failed | within | at any look | median | Passed | median |\n|---|--:|--:|--:|--:|--:|--:|"
    )?;
    let mut missed = 0;
    for (name, release, asked) in kinds() {
        if !name.contains(&kind) {
            continue;
        }
        // Errors alone are quick to simulate, many operations slow.
        let releases = number.unwrap_or(match (&release.durations, release.operations) {
            (None, 0) => 4 * RELEASES,
            (Some(_), 0) | (None, _) => RELEASES,
            (Some(_), _) => RELEASES / 2,
        });
        let (within, holds): (u64, fn(&Tally, u64) -> bool) = match asked {
            Asked::Caught(within) => (within, |tally, releases| {
                tally.failed_within >= caught_min(releases)
            }),
            Asked::Identical => (release.requests, |tally, releases| {
                tally.failed <= identical_max(releases)
            }),
            Asked::Shown(within) => (within, |_, _| true),
        };
        let tally = Tally::of(&release, releases, within, threads);
        let is_held = holds(&tally, releases);
        missed += u32::from(!is_held);
        let requests = |median: Option<u64>| {
            median.map_or_else(|| "–".to_owned(), |median| median.to_string())
        };
        writeln!(
            out,
            "| {name}{} | {:.1} % | {within} | {:.1} % | {} | {:.1} % | {} |",
            if is_held { "" } else { " **missed**" },
            tally.failed_within * 100.0,
            tally.failed * 100.0,
            requests(tally.requests_to_fail),
            tally.passed * 100.0,
            requests(tally.requests_to_pass),
        )?;
    }
    if kind.is_empty() || kind == "time" {
        writeln!(out, "\n{}", time())?;
    }
    writeln!(out, "\n{missed} kinds miss what is asked of them.")?;
    Ok(ExitCode::from(u8::from(missed > 0)))
}

/// Fifty operations and six hours, 120 requests of the new version a minute beside 1 200.
fn time() -> String {
    let release = Release {
        durations: Some((Durations::LogNormal(1.0), Slowdown::Whole(1.02))),
        operations: 50,
        requests: 43_200,
        ..IDENTICAL
    };
    let mut best = f64::INFINITY;
    let mut sum = 0.0;
    let mut looks = 0_u32;
    release.run(1, |old, new, requests| {
        if requests > 42_000 {
            let (service, settings) = (ServiceKey::named("time"), Settings::default());
            for _ in 0..20 {
                let start = Instant::now();
                let report = compare(&service, old, new, Pairing::Concurrent, &settings);
                let millis = start.elapsed().as_secs_f64() * 1e3;
                assert_eq!(report.comparisons.len(), 51 * 4);
                best = best.min(millis);
                sum += millis;
                looks += 1;
            }
        }
        false
    });
    format!(
        "One comparison of 50 operations over 6 h of minutes: {best:.1} ms, {:.1} ms on average.",
        sum / f64::from(looks.max(1))
    )
}

fn errors(old: f64, more: f64, arms: Arms) -> Release {
    Release {
        errors: (old, old + more),
        arms,
        requests: 2_000,
        ..IDENTICAL
    }
}

fn slower(durations: Durations, slowdown: Slowdown, arms: Arms) -> Release {
    Release {
        durations: Some((durations, slowdown)),
        arms,
        requests: 4_000,
        ..IDENTICAL
    }
}

fn same(durations: Durations) -> Release {
    Release {
        durations: Some((durations, Slowdown::Whole(1.0))),
        ..IDENTICAL
    }
}

#[rustfmt::skip]
fn kinds() -> Vec<(String, Release, Asked)> {
    use Asked::{Caught, Identical, Shown};
    use Durations::{Bimodal, LogNormal, Pareto};
    use Slowdown::{SlowestTenth, Whole};
    const TEN: Arms = Arms::Together(10.0);
    const ONE: Arms = Arms::Together(1.0);

    let mut kinds = Vec::new();
    let mut push = |name: &str, release: Release, asked: Asked| kinds.push((name.to_owned(), release, asked));
    for (percent, asked) in [(0.0, Caught(200)), (0.1, Caught(200)), (0.5, Caught(200)), (1.0, Caught(200)), (2.0, Shown(200)), (5.0, Shown(200))] {
        push(&format!("errors {percent} % + 5 points, 10:1"), errors(percent / 100.0, 0.05, TEN), asked);
    }
    for percent in [0.0, 0.1, 0.5, 1.0, 2.0, 5.0] {
        push(&format!("errors {percent} % + 5 points, 1:1"), errors(percent / 100.0, 0.05, ONE), Shown(200));
    }
    push("errors 1 % + 5 points, after 2 000 before", errors(0.01, 0.05, Arms::Before(2_000)), Shown(200));
    push("errors 1 % + 5 points, 10:1, 10 operations", Release { operations: 10, ..errors(0.01, 0.05, TEN) }, Caught(200));
    push("errors 1 % + 5 points, 10:1, blips", Release { blips: 0.05, ..errors(0.01, 0.05, TEN) }, Shown(200));
    push("errors 1 % + 5 points, 10:1, sampled 1/10", Release { weights: Weights::OneIn(10), ..errors(0.01, 0.05, TEN) }, Caught(200));
    push("errors 1 % + 1 point, 10:1", Release { requests: 20_000, ..errors(0.01, 0.01, TEN) }, Shown(2_000));
    push("errors 0.1 % + 1 point, 10:1", Release { requests: 20_000, ..errors(0.001, 0.01, TEN) }, Shown(2_000));
    push("errors 1 % + 0.5 points, 10:1", Release { requests: 20_000, ..errors(0.01, 0.005, TEN) }, Shown(2_000));
    for deviation in [0.5, 1.0] {
        push(&format!("latency ×1.3, log-sd {deviation}, 1:1"), slower(LogNormal(deviation), Whole(1.3), ONE), Caught(2_000));
    }
    push("latency ×1.3, log-sd 1, 10:1", slower(LogNormal(1.0), Whole(1.3), TEN), Caught(2_000));
    push("latency ×1.3, bimodal, 1:1", slower(Bimodal, Whole(1.3), ONE), Caught(2_000));
    push("latency ×1.3, Pareto 1.5, 1:1", slower(Pareto(1.5), Whole(1.3), ONE), Caught(2_000));
    push("latency ×1.3, log-sd 1, 10:1, blips", Release { blips: 0.05, ..slower(LogNormal(1.0), Whole(1.3), TEN) }, Caught(2_000));
    push("latency ×1.3 of the slowest tenth, log-sd 0.3, 1:1", slower(LogNormal(0.3), SlowestTenth(1.3), ONE), Caught(2_000));
    push("latency ×1.3 of the slowest tenth, log-sd 0.5, 1:1", slower(LogNormal(0.5), SlowestTenth(1.3), ONE), Caught(2_000));
    push("latency ×1.3 of the slowest tenth, log-sd 1, 1:1", slower(LogNormal(1.0), SlowestTenth(1.3), ONE), Shown(2_000));
    push("latency ×1.1, log-sd 1, 10:1", Release { requests: 20_000, ..slower(LogNormal(1.0), Whole(1.1), TEN) }, Shown(2_000));
    push("latency ×1.1, log-sd 0.5, 1:1", slower(LogNormal(0.5), Whole(1.1), ONE), Shown(2_000));

    for percent in [0.0, 0.1, 0.5, 1.0, 2.0, 5.0] {
        push(&format!("identical, errors {percent} %, 10:1"), Release { errors: (percent / 100.0, percent / 100.0), ..IDENTICAL }, Identical);
    }
    push("identical, errors 1 %, 1:1", Release { arms: ONE, ..IDENTICAL }, Identical);
    push("identical, errors 30 %, 1:1", Release { arms: ONE, errors: (0.3, 0.3), ..IDENTICAL }, Identical);
    push("identical, errors 1 %, after 2 000 before", Release { arms: Arms::Before(2_000), ..IDENTICAL }, Identical);
    push("identical, log-sd 1, errors 1 %, 10:1", same(LogNormal(1.0)), Identical);
    push("identical, log-sd 0.5, errors 0.1 %, 10:1", Release { errors: (0.001, 0.001), ..same(LogNormal(0.5)) }, Identical);
    push("identical, bimodal, errors 1 %, 10:1", same(Bimodal), Identical);
    push("identical, Pareto 1.5, errors 1 %, 10:1", same(Pareto(1.5)), Identical);
    push("identical, Pareto 1.5, errors 1 %, 1:1", Release { arms: ONE, ..same(Pareto(1.5)) }, Identical);
    push("identical, blips, log-sd 1, errors 1 %, 10:1", Release { blips: 0.05, ..same(LogNormal(1.0)) }, Identical);
    push("identical, blips, errors 1 %, 1:1", Release { blips: 0.05, arms: ONE, ..IDENTICAL }, Identical);
    push("identical, blips, log-sd 1, errors 1 %, ramp", Release { blips: 0.05, arms: Arms::Ramp, ..same(LogNormal(1.0)) }, Identical);
    push("identical, sampled 1/10, log-sd 1, errors 1 %, 10:1", Release { weights: Weights::OneIn(10), ..same(LogNormal(1.0)) }, Identical);
    push("identical, half sampled 1/10, log-sd 1, errors 1 %, 10:1", Release { weights: Weights::Mixed(10), ..same(LogNormal(1.0)) }, Identical);
    push("identical, 10 operations, log-sd 1, errors 1 %, 10:1", Release { operations: 10, ..same(LogNormal(1.0)) }, Identical);
    push("identical, groups of 3 errors, 1 %, 10:1", Release { cluster: 3, ..IDENTICAL }, Shown(20_000));
    push("identical, blips, errors 1 %, after 2 000 before", Release { blips: 0.05, arms: Arms::Before(2_000), ..IDENTICAL }, Shown(20_000));
    kinds
}
