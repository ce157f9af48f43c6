//! Replay study of the telemetry budget: weeks of shop traffic with a shape by day and week, sampled by the plans of the adapter.
//!
//! `cargo bench --bench sampling_study [-- SEEDS]` prints the tables of `src/adapter/sampling/study.md`: of each scenario as many
//! weeks as there are seeds, 2 by default. It fails if on average a day is more than a tenth off its budget, or 15 % in one of the
//! scenarios, if an error was lost to those who see whole traces, or if the intervals of the indicators of a scenario hold less
//! than 93 % of the truth.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a study may panic and measures real time; its numbers are small"
)]

mod replay;
mod samplers;
mod week;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::replay::{Off, Outcomes, replay};
use crate::samplers::{Fixed, Learned, Uniform};
use crate::week::{DAY, START, Scenario, Week};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DAYS: u64 = 7;

/// What is asked of the fixed rule.
const DAY_OFF_MAX: f64 = 10.0;
const DAY_OFF_OF_SCENARIO_MAX: f64 = 15.0;
const HELD_MIN: f64 = 93.0;

const COLUMNS: &str = "budget, the week | a day | worst day | errors kept | slow kept | error SLI held | p95 SLI held | width, points";
const RULE: &str = "--:|--:|--:|--:|--:|--:|--:|--:|";

fn share((part, all): (u64, u64)) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

/// Sums of several weeks.
#[derive(Default)]
struct Sum {
    weeks: f64,
    day_off: f64,
    outcomes: Outcomes,
}

impl Sum {
    fn add(&mut self, off: &Off, own: &Outcomes) {
        self.weeks += 1.0;
        self.day_off += off.day;
        for (sum, own) in [
            (&mut self.outcomes.errors, own.errors),
            (&mut self.outcomes.error_sli, own.error_sli),
            (&mut self.outcomes.latency_sli, own.latency_sli),
        ] {
            sum.0 += own.0;
            sum.1 += own.1;
        }
    }

    fn is_good(&self, has_tail: bool) -> bool {
        let errors = self.outcomes.errors;
        self.day_off / self.weeks <= DAY_OFF_OF_SCENARIO_MAX
            && share(self.outcomes.error_sli) >= HELD_MIN
            && share(self.outcomes.latency_sli) >= HELD_MIN
            && (!has_tail || errors.0 == errors.1)
    }
}

fn row(out: &mut impl Write, name: &str, off: &Off, outcomes: &Outcomes) -> io::Result<()> {
    writeln!(
        out,
        "| {name} | {:+.1} % | {:.1} % | {:+.1} % | {:.1} % | {:.1} % | {:.1} % | {:.1} % | {:.2} |",
        off.week,
        off.day,
        off.worst,
        share(outcomes.errors),
        share(outcomes.slow),
        share(outcomes.error_sli),
        share(outcomes.latency_sli),
        100.0 * outcomes.width.0 / outcomes.width.1.max(1) as f64,
    )
}

fn mode(has_tail: bool) -> &'static str {
    if has_tail {
        "whole traces"
    } else {
        "SDKs alone"
    }
}

/// The fixed rule in every scenario. Whether it is good enough, and the slowest report.
fn scenarios(out: &mut impl Write, seeds: u64) -> io::Result<(bool, Duration)> {
    writeln!(out, "| Scenario | seed | {COLUMNS} |\n|---|---|{RULE}")?;
    let (mut is_good, mut slowest) = (true, Duration::ZERO);
    let mut all = [(0.0, 0.0); 2];
    for scenario in Scenario::ALL {
        let mut sums = [Sum::default(), Sum::default()];
        for seed in 1..=seeds {
            let week = Week::new(scenario, DAYS, seed);
            for (has_tail, sum) in [true, false].into_iter().zip(&mut sums) {
                let mut fixed = Fixed::new(&week, has_tail);
                let outcomes = replay(&week, &mut fixed, has_tail);
                let off = Off::new(&week, &outcomes);
                sum.add(&off, &outcomes);
                let name = format!("{}, {} | {seed}", scenario.name(), mode(has_tail));
                row(out, &name, &off, &outcomes)?;
                out.flush()?;
                slowest = slowest.max(fixed.slowest);
                let days = outcomes.kept_by_day.iter();
                let days = days.map(|kept| format!("{:+.1}", 100.0 * (kept / week.budget() - 1.0)));
                let days = days.collect::<Vec<_>>().join(" ");
                writeln!(io::stderr(), "{name}, each day: {days}")?;
            }
        }
        for ((has_tail, sum), all) in [true, false].into_iter().zip(&sums).zip(&mut all) {
            is_good &= sum.is_good(has_tail);
            *all = (all.0 + sum.day_off, all.1 + sum.weeks);
        }
    }
    for (has_tail, (off, weeks)) in [true, false].into_iter().zip(all) {
        let (mode, mean) = (mode(has_tail), off / weeks);
        writeln!(io::stderr(), "{mode}: on average a day is {mean:.1} % off")?;
        is_good &= mean <= DAY_OFF_MAX;
    }
    Ok((is_good, slowest))
}

/// The fixed rule beside others, in the first week.
fn others(out: &mut impl Write) -> io::Result<()> {
    let week = Week::new(Scenario::Busy, DAYS, 1);
    let training = Week::new(Scenario::Busy, DAYS, 2);
    writeln!(out, "\n| Sampling | {COLUMNS} |\n|---|{RULE}")?;
    for has_tail in [true, false] {
        let mut fixed = Fixed::new(&week, has_tail);
        let outcomes = replay(&week, &mut fixed, has_tail);
        let off = Off::new(&week, &outcomes);
        row(
            out,
            &format!("fixed rule, {}", mode(has_tail)),
            &off,
            &outcomes,
        )?;
        if has_tail {
            let by_day = outcomes.kept_by_day.iter().enumerate().map(|(day, kept)| {
                let digests = week.digests.iter();
                let of_day = digests.filter(|own| (own.start - START) / DAY == day as u64);
                kept / of_day.map(|own| f64::from(own.spans)).sum::<f64>()
            });
            let mut uniform = Uniform {
                by_day: by_day.collect(),
                day: 0,
            };
            let outcomes = replay(&week, &mut uniform, false);
            let off = Off::new(&week, &outcomes);
            row(out, "uniform, as many spans a day", &off, &outcomes)?;
        }
        let mut learned = Learned::new();
        for _ in 0..30 {
            replay(&training, &mut learned, has_tail);
        }
        learned.policy.settle();
        let outcomes = replay(&week, &mut learned, has_tail);
        let off = Off::new(&week, &outcomes);
        row(
            out,
            &format!("learnt policy, {}", mode(has_tail)),
            &off,
            &outcomes,
        )?;
    }
    Ok(())
}

fn main() -> io::Result<ExitCode> {
    let seeds = std::env::args().find_map(|argument| argument.parse().ok());
    let mut out = io::stdout();
    let (is_good, slowest) = scenarios(&mut out, seeds.unwrap_or(2))?;
    if seeds.is_none() {
        others(&mut out)?;
    }
    writeln!(io::stderr(), "the slowest report took {slowest:?}")?;
    Ok(ExitCode::from(u8::from(!is_good)))
}
