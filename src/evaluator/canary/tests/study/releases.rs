//! Simulated releases whose truth is known.
//!
//! The study in `benches/canary.rs` and the tests of the judge share this file. It takes the crate's names from its
//! parent module, since the one sees the crate from outside and the other from inside.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1, StandardNormal};

use super::{Cohort, MinuteRow, OperationCohort, Pairing, SpanKind, WindowSums, bucket_of};

/// Canary requests between two looks at first: ten seconds at two requests a second.
pub(super) const LOOK: u64 = 20;
const LOOKS_PER_MINUTE: u64 = 6;

/// A median of 100 ms.
const MEDIAN_MICROS: f64 = 1e5;

/// How long requests take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Durations {
    /// Lognormal with this standard deviation of the logarithm.
    LogNormal(f64),
    /// Nine of ten about 20 ms, one about 300 ms.
    Bimodal,
    /// Pareto with this exponent, from 50 ms.
    Pareto(f64),
}

/// What a release does to the durations.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slowdown {
    /// All take so many times as long.
    Whole(f64),
    /// The slowest tenth does.
    SlowestTenth(f64),
}

/// What requests weigh.
#[derive(Clone, Copy, Debug)]
pub(super) enum Weights {
    /// All arrive.
    Full,
    /// One of so many arrives.
    OneIn(u32),
    /// Half of those that arrive weigh 1, half so many.
    Mixed(u32),
}

/// How the arms stand to each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arms {
    /// So many requests of the old version for each of the new one, in the same minutes.
    Together(f64),
    /// The new version's share of the traffic doubles every 30 looks, from a fortieth to four fifths.
    Ramp,
    /// So many requests of the old version before the new one starts.
    Before(u64),
}

/// A kind of release.
#[derive(Clone, Copy, Debug)]
pub(super) struct Release {
    /// Error ratios of the old and of the new version.
    pub(super) errors: (f64, f64),
    /// Durations, if they are studied, and what the new version does to them.
    pub(super) durations: Option<(Durations, Slowdown)>,
    pub(super) arms: Arms,
    pub(super) weights: Weights,
    /// Operations, drawn by 1/rank; 0 has none.
    pub(super) operations: u64,
    /// Share of the minutes in which 30 % of both versions' requests fail, and all take twice as long.
    pub(super) blips: f64,
    /// Errors follow each other in groups of so many of one version.
    pub(super) cluster: u64,
    /// Canary requests until the last look.
    pub(super) requests: u64,
}

/// Of two identical versions.
pub(super) const IDENTICAL: Release = Release {
    errors: (0.01, 0.01),
    durations: None,
    arms: Arms::Together(10.0),
    weights: Weights::Full,
    operations: 0,
    blips: 0.0,
    cluster: 1,
    requests: 20_000,
};

impl Release {
    pub(super) fn pairing(&self) -> Pairing {
        match self.arms {
            Arms::Together(_) | Arms::Ramp => Pairing::Concurrent,
            Arms::Before(_) => Pairing::BeforeAfter,
        }
    }

    /// Lets requests come and shows both cohorts at each look, with the canary requests so far, until `look` has
    /// seen enough.
    pub(super) fn run(&self, seed: u64, mut look: impl FnMut(&Cohort, &Cohort, u64) -> bool) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut old = ArmStream::new(self, false);
        let mut new = ArmStream::new(self, true);
        let mut minute = 29_450_880;
        let mut owed = 0.0;
        if let Arms::Before(requests) = self.arms {
            for at in 0..requests {
                let of = minute + u32::try_from(at / 600).unwrap();
                old.request(of, self.is_blip(seed, of), &mut random);
            }
            minute += u32::try_from(requests / 600).unwrap() + 1;
        }
        let (mut step, mut requests, mut next_look) = (0, 0, LOOK);
        while requests < self.requests {
            let now = minute + u32::try_from(step / LOOKS_PER_MINUTE).unwrap();
            let is_blip = self.is_blip(seed, now);
            let (of_new, of_old) = match self.arms {
                Arms::Together(ratio) => (LOOK, LOOK as f64 * ratio),
                Arms::Ramp => {
                    let share =
                        (0.025 * 2.0_f64.powi(i32::try_from(step / 30).unwrap_or(9))).min(0.8);
                    let of_new = (400.0 * share).round();
                    (whole(of_new), 400.0 - of_new)
                }
                Arms::Before(_) => (LOOK, 0.0),
            };
            owed += of_old;
            while owed >= 1.0 {
                old.request(now, is_blip, &mut random);
                owed -= 1.0;
            }
            for _ in 0..of_new {
                new.request(now, is_blip, &mut random);
            }
            requests += of_new;
            step += 1;
            if requests >= next_look {
                if look(&old.cohort, &new.cohort, requests) {
                    return;
                }
                // Each adds a fortieth, later on: what is seen between two looks hardly differs.
                next_look = requests + LOOK.max(requests / 40);
            }
        }
    }

    /// Both versions see the same blips: drawn from the minute alone.
    fn is_blip(&self, seed: u64, minute: u32) -> bool {
        self.blips > 0.0
            && StdRng::seed_from_u64(seed << 32 | u64::from(minute)).random::<f64>() < self.blips
    }
}

/// Requests of one version.
struct ArmStream<'a> {
    release: &'a Release,
    is_new: bool,
    /// Failures still to come of the open group.
    failing: u64,
    cohort: Cohort,
}

impl<'a> ArmStream<'a> {
    fn new(release: &'a Release, is_new: bool) -> Self {
        let mut operations: Vec<OperationCohort> = (0..release.operations)
            .map(|number| OperationCohort {
                operation: format!("GET /{number:02}"),
                kind: SpanKind::Server,
                minutes: Vec::new(),
            })
            .collect();
        operations.sort_by(|a, b| a.operation.cmp(&b.operation));
        Self {
            release,
            is_new,
            failing: 0,
            cohort: Cohort {
                version: if is_new { "2" } else { "1" }.to_owned(),
                operations,
                ..Cohort::default()
            },
        }
    }

    fn request(&mut self, minute: u32, is_blip: bool, random: &mut StdRng) {
        let release = self.release;
        let (old, new) = release.errors;
        let ratio = if self.is_new { new } else { old };
        let is_bad = if self.failing > 0 {
            self.failing -= 1;
            true
        } else if random.random::<f64>() < ratio / release.cluster as f64 {
            self.failing = release.cluster - 1;
            true
        } else {
            is_blip && random.random::<f64>() < 0.3
        };
        let weight = match release.weights {
            Weights::Full => 1,
            Weights::OneIn(weight) => weight,
            Weights::Mixed(weight) => {
                if random.random::<bool>() {
                    weight
                } else {
                    1
                }
            }
        };
        let bucket = release
            .durations
            .filter(|_| !is_bad)
            .map(|(durations, slowdown)| {
                let mut micros = durations.draw(random);
                if self.is_new {
                    micros *= slowdown.factor(micros, durations);
                }
                if is_blip {
                    micros *= 2.0;
                }
                bucket_of(whole(micros))
            });
        add(&mut self.cohort.service, minute, is_bad, weight, bucket);
        if release.operations > 0 {
            // Log-uniform: the first operation has the most.
            let spread = (release.operations as f64 + 1.0).ln();
            let rank = whole((random.random::<f64>() * spread).exp()) - 1;
            let last = self.cohort.operations.len() - 1;
            let operation = &mut self.cohort.operations[usize::try_from(rank).unwrap().min(last)];
            add(&mut operation.minutes, minute, is_bad, weight, bucket);
        }
    }
}

fn add(rows: &mut Vec<MinuteRow>, minute: u32, is_bad: bool, weight: u32, bucket: Option<u16>) {
    if rows.last().is_none_or(|row| row.minute != minute) {
        rows.push(MinuteRow {
            minute,
            sums: WindowSums::default(),
            latency: Vec::new(),
        });
    }
    let row = rows.last_mut().unwrap();
    let weighs = f64::from(weight);
    row.sums.total += weighs;
    row.sums.squared += weighs * weighs;
    row.sums.observed_total += 1;
    if is_bad {
        row.sums.bad += weighs;
        row.sums.observed_bad += 1;
    }
    if let Some(bucket) = bucket {
        match row.latency.binary_search_by_key(&bucket, |held| held.0) {
            Ok(at) => row.latency[at].1 += u64::from(weight),
            Err(at) => row.latency.insert(at, (bucket, u64::from(weight))),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

impl Durations {
    fn draw(self, random: &mut StdRng) -> f64 {
        let normal = |random: &mut StdRng| -> f64 { StandardNormal.sample(random) };
        match self {
            Self::LogNormal(deviation) => MEDIAN_MICROS * (deviation * normal(random)).exp(),
            Self::Bimodal => {
                let median = if random.random::<f64>() < 0.9 {
                    2e4
                } else {
                    3e5
                };
                median * (0.3 * normal(random)).exp()
            }
            Self::Pareto(exponent) => {
                let draw: f64 = Exp1.sample(random);
                5e4 * (draw / exponent).exp()
            }
        }
    }

    /// The duration that a tenth exceeds.
    fn slow(self) -> f64 {
        match self {
            Self::LogNormal(deviation) => MEDIAN_MICROS * (deviation * 1.281_551_6).exp(),
            Self::Bimodal => 1e5,
            Self::Pareto(exponent) => 5e4 * 10.0_f64.powf(1.0 / exponent),
        }
    }
}

impl Slowdown {
    fn factor(self, micros: f64, durations: Durations) -> f64 {
        match self {
            Self::Whole(factor) => factor,
            Self::SlowestTenth(factor) if micros > durations.slow() => factor,
            Self::SlowestTenth(_) => 1.0,
        }
    }
}
