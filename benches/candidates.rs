//! Coverage study: how often the bounds of candidates cover the truth of streams whose truth is known.
//!
//! `cargo bench --bench candidates [-- [KIND] [HISTORIES]]` prints the table of `src/evaluator/candidate/study.md`. It
//! fails if a kind with ten incidents in its history or none at all is covered too seldom. No criterion: it does not
//! measure time.

use std::io::{self, Write};
use std::process::ExitCode;

#[path = "../src/evaluator/candidate/tests/coverage/streams.rs"]
mod streams;
#[path = "../src/evaluator/candidate/tests/coverage/tally.rs"]
mod tally;

use slo_copilot::evaluator::candidate::{Sampling, SeriesHistory, Settings, fit};
use slo_copilot::model::candidate::Candidate;
use slo_copilot::model::history::MinuteRow;
use slo_copilot::model::series::ServiceKey;
use slo_copilot::model::slo::Sli;
use slo_copilot::model::window::WindowSums;
use slo_copilot::window::sketch::{bucket_bounds_micros, bucket_of};

use streams::{Durations, Incidents, Length, LogNormal, Stream, Week, Weights};
use tally::Tally;

use Length::{Exponential, Fixed};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HISTORIES: u64 = 400;

/// Share of the bounds that must cover, of a nominal 95 %.
const COVERED_MIN: f64 = 0.93;

/// Incidents in a history from which its bound must cover; with fewer, the incident rate must.
const INCIDENTS_MIN: f64 = 10.0;

/// Traffic four times as high by day as by night, and quiet weekends.
const WEEK: Week = Week {
    traffic_swing: 0.6,
    error_swing: 0.0,
    weekend_traffic: 0.4,
};

/// The same, with most errors when there is most traffic.
const WEEK_OF_ERRORS: Week = Week {
    error_swing: 0.9,
    ..WEEK
};

fn main() -> io::Result<ExitCode> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let kind = arguments.next().unwrap_or_default();
    let histories = arguments
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(HISTORIES);
    let mut out = io::stdout();
    writeln!(
        out,
        "| Stream | Days | Events/s | Incidents | counted | Rate covered | Bound covers | Bound / truth |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    let mut failures = 0;
    for (name, stream) in availability().into_iter().chain(latency()) {
        if !name.contains(&kind) {
            continue;
        }
        let tally = Tally::of(&stream, histories);
        let Tally {
            covered,
            bound_median,
            incidents,
            incidents_counted,
            rate_covered,
        } = tally;
        writeln!(
            out,
            "| {name} | {} | {} | {incidents:.1} | {incidents_counted:.1} | {:.1} % | {:.1} % | {bound_median:.2} |",
            stream.days,
            stream.events_per_sec,
            rate_covered * 100.0,
            covered * 100.0,
        )?;
        let is_held = if stream.incidents.is_none() || incidents >= INCIDENTS_MIN {
            covered >= COVERED_MIN
        } else {
            rate_covered >= COVERED_MIN
        };
        failures += u32::from(!is_held && stream.step.is_none());
    }
    writeln!(out, "\n{failures} kinds are covered too seldom.")?;
    Ok(ExitCode::from(u8::from(failures > 0)))
}

/// Independent errors, and nothing else.
fn independent(days: u32, events_per_sec: f64, error_ratio: f64) -> Stream {
    Stream {
        days,
        events_per_sec,
        error_ratio,
        week: None,
        incidents: None,
        weights: Weights::Full,
        step: None,
        durations: None,
    }
}

/// With so many incidents a day, each between these two shares.
fn with(incidents: (f64, Length, f64, f64), stream: Stream) -> Stream {
    let (per_day, length, least, most) = incidents;
    Stream {
        incidents: Some(Incidents {
            per_day,
            length,
            share: (least, most),
        }),
        ..stream
    }
}

fn weekly(week: Week, stream: Stream) -> Stream {
    Stream {
        week: Some(week),
        ..stream
    }
}

fn weighted(weights: Weights, stream: Stream) -> Stream {
    Stream { weights, ..stream }
}

fn stepping(day: u32, factor: f64, stream: Stream) -> Stream {
    Stream {
        step: Some((day, factor)),
        ..stream
    }
}

#[rustfmt::skip]
fn availability() -> Vec<(&'static str, Stream)> {
    let even = independent;
    vec![
        ("independent, 0.1 %", even(14, 1.0, 0.001)),
        ("independent, 0.01 %", even(21, 10.0, 0.0001)),
        ("independent, 0.01 %", even(14, 100.0, 0.0001)),
        ("independent, low traffic, 1 %", even(14, 0.05, 0.01)),
        ("independent, low traffic, 0.1 %", even(28, 0.05, 0.001)),
        ("independent, sampled 1/10", weighted(Weights::OneIn(10), even(14, 1.0, 0.002))),
        ("independent, half sampled 1/20", weighted(Weights::Mixed(20), even(14, 1.0, 0.002))),
        ("independent, weekly traffic", weekly(WEEK, even(14, 1.0, 0.001))),
        ("independent, weekly traffic and errors", weekly(WEEK_OF_ERRORS, even(14, 10.0, 0.001))),
        ("independent, weekly traffic and errors", weekly(WEEK_OF_ERRORS, even(28, 100.0, 0.001))),
        ("blips, 12 a day, 1 min, all fail", with((12.0, Fixed(1.0), 1.0, 1.0), even(14, 1.0, 0.001))),
        ("blips, 6 a day, 5 min, 30 % fail", with((6.0, Fixed(5.0), 0.3, 0.3), even(14, 10.0, 0.0005))),
        ("blips, 3 a day, 20 min, 50 % fail", with((3.0, Exponential(20.0), 0.5, 0.5), even(14, 10.0, 0.0005))),
        ("blips, 3 a day, 20 min, 2–100 % fail", with((3.0, Exponential(20.0), 0.02, 1.0), even(28, 1.0, 0.0005))),
        ("blips, 2 a day, always 60 min, 10 % fail", with((2.0, Fixed(60.0), 0.1, 0.1), even(14, 10.0, 0.0005))),
        ("blips, 2 a day, 60 min, 2–30 % fail", with((2.0, Exponential(60.0), 0.02, 0.3), even(21, 100.0, 0.0002))),
        ("blips, 1 a day, 60 min, 2–30 % fail", with((1.0, Exponential(60.0), 0.02, 0.3), even(14, 100.0, 0.0002))),
        ("blips, 0.8 a day, 30 min, all fail", with((0.8, Exponential(30.0), 1.0, 1.0), even(14, 10.0, 0.0002))),
        ("blips, low traffic, 2 a day, 60 min, 50 % fail", with((2.0, Exponential(60.0), 0.5, 0.5), even(14, 0.05, 0.001))),
        ("blips, low traffic, 1 a day, always 30 min, all fail", with((1.0, Fixed(30.0), 1.0, 1.0), even(28, 0.1, 0.001))),
        ("blips, sampled 1/10, 3 a day, 20 min, 50 % fail",
            weighted(Weights::OneIn(10), with((3.0, Exponential(20.0), 0.5, 0.5), even(14, 10.0, 0.0005)))),
        ("blips, half sampled 1/20, 3 a day, 20 min, 50 % fail",
            weighted(Weights::Mixed(20), with((3.0, Exponential(20.0), 0.5, 0.5), even(14, 1.0, 0.0005)))),
        ("blips, weekly, 3 a day, 20 min, 50 % fail",
            weekly(WEEK_OF_ERRORS, with((3.0, Exponential(20.0), 0.5, 0.5), even(14, 10.0, 0.001)))),
        ("blips, weekly, 1 a day, 60 min, 20 % fail",
            weekly(WEEK_OF_ERRORS, with((1.0, Exponential(60.0), 0.2, 0.2), even(21, 1.0, 0.001)))),
        ("outages, 0.8 a day, always 3 h, 20 % fail", with((0.8, Fixed(180.0), 0.2, 0.2), even(14, 10.0, 0.0002))),
        ("outages, 0.8 a day, 3 h, 20 % fail", with((0.8, Exponential(180.0), 0.2, 0.2), even(14, 10.0, 0.0002))),
        ("outages, 1 a day, 3 h, 5–50 % fail", with((1.0, Exponential(180.0), 0.05, 0.5), even(14, 10.0, 0.0002))),
        ("outages, 0.5 a day, always 8 h, 20 % fail", with((0.5, Fixed(480.0), 0.2, 0.2), even(28, 10.0, 0.0002))),
        ("outages, 0.5 a day, 6 h, 20 % fail", with((0.5, Exponential(360.0), 0.2, 0.2), even(28, 10.0, 0.0002))),
        ("outages, 0.35 a day, 6 h, 5–50 % fail", with((0.35, Exponential(360.0), 0.05, 0.5), even(35, 10.0, 0.0002))),
        ("rare outages, 2 a week, 2 h, 50 % fail", with((2.0 / 7.0, Exponential(120.0), 0.5, 0.5), even(14, 10.0, 0.0002))),
        ("rare outages, 1 a week, 1 h, 50 % fail", with((1.0 / 7.0, Exponential(60.0), 0.5, 0.5), even(28, 10.0, 0.0002))),
        ("rare outages, 1 a week, always 10 min, all fail", with((1.0 / 7.0, Fixed(10.0), 1.0, 1.0), even(14, 1.0, 0.0002))),
        ("rare outages, 1 a month, 4 h, 50 % fail", with((1.0 / 30.0, Exponential(240.0), 0.5, 0.5), even(28, 10.0, 0.0002))),
        ("rare outages, 1 a quarter, 4 h, all fail", with((1.0 / 90.0, Exponential(240.0), 1.0, 1.0), even(35, 1.0, 0.0002))),
        ("step on day 13, 5 times as many errors", stepping(13, 5.0, even(28, 10.0, 0.0005))),
        ("step on day 13, a fifth of the errors", stepping(13, 0.2, even(28, 10.0, 0.002))),
    ]
}

/// Lognormal durations around 80 ms; those in incidents around `slow_secs`.
fn timed(sigma: f64, slow_secs: f64, stream: Stream) -> Stream {
    let durations = Durations {
        usual: around(0.08, sigma),
        other: None,
        slow: around(slow_secs, 0.4),
    };
    Stream {
        durations: Some(durations),
        ..stream
    }
}

/// Durations around 20 ms, and around 400 ms for a share.
fn bimodal(share: f64, stream: Stream) -> Stream {
    let durations = Durations {
        usual: around(0.02, 0.4),
        other: Some((share, around(0.4, 0.3))),
        slow: around(2.0, 0.4),
    };
    Stream {
        durations: Some(durations),
        ..stream
    }
}

fn around(median_secs: f64, sigma: f64) -> LogNormal {
    LogNormal { median_secs, sigma }
}

#[rustfmt::skip]
fn latency() -> Vec<(&'static str, Stream)> {
    let even = |events_per_sec| independent(14, events_per_sec, 0.001);
    vec![
        ("latency, lognormal", timed(0.5, 1.0, even(0.5))),
        ("latency, lognormal, low traffic", timed(1.0, 1.0, even(0.05))),
        ("latency, lognormal, busy", timed(0.8, 1.0, even(2.0))),
        ("latency, bimodal, 4 % slow", bimodal(0.04, even(0.5))),
        ("latency, bimodal, 10 % slow", bimodal(0.1, even(0.5))),
        ("latency, 3 a day, 20 min, 50 % slow", timed(0.5, 1.0, with((3.0, Exponential(20.0), 0.5, 0.5), even(0.5)))),
        ("latency, 2 a day, 60 min, all slow", timed(0.5, 1.0, with((2.0, Exponential(60.0), 1.0, 1.0), even(0.5)))),
        ("latency, 1 a day, 60 min, all slow", timed(0.5, 1.0, with((1.0, Exponential(60.0), 1.0, 1.0), even(0.5)))),
        ("latency, 0.8 a day, 3 h, 20–100 % slow", timed(0.5, 0.5, with((0.8, Exponential(180.0), 0.2, 1.0), even(0.5)))),
        ("latency, bimodal, 1 a day, 60 min, 50 % slow", bimodal(0.02, with((1.0, Exponential(60.0), 0.5, 0.5), even(0.5)))),
        ("latency, sampled 1/10, 3 a day, 20 min, 50 % slow",
            weighted(Weights::OneIn(10), timed(0.5, 1.0, with((3.0, Exponential(20.0), 0.5, 0.5), even(2.0))))),
        ("latency, weekly, 1 a day, 60 min, 50 % slow",
            weekly(WEEK, timed(0.5, 1.0, with((1.0, Exponential(60.0), 0.5, 0.5), even(0.5))))),
        ("latency, rare, 1 a week, 2 h, all slow", timed(0.5, 1.0, with((1.0 / 7.0, Exponential(120.0), 1.0, 1.0), even(0.5)))),
    ]
}
