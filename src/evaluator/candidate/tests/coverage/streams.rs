//! Streams of events whose truth is known.
//!
//! The study in `benches/candidates.rs` and the tests of candidates share this file. It takes the crate's names from
//! its parent module, since the one sees the crate from outside and the other from inside.

use std::f64::consts::TAU;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1, Poisson};
use statrs::distribution::{ContinuousCDF, Normal};

use super::{MinuteRow, Sli, WindowSums, bucket_bounds_micros, bucket_of};

const MINUTES_PER_HOUR: u32 = 60;
const MINUTES_PER_DAY: u32 = 24 * MINUTES_PER_HOUR;
const MINUTES_PER_SLICE: u32 = 5;

/// A Monday at midnight.
const START_MINUTE: u32 = 29_450_880;

/// The quantile that latency candidates bound by default.
const QUANTILE: f64 = 0.95;

/// Share of the fastest events that all lie in one bucket, far below the quantile, to save draws.
const LUMPED: f64 = 0.88;

/// Share of the slowest events that all lie in one bucket, far above the quantile.
const LUMPED_SLOWEST: f64 = 1e-5;

/// Slices without an incident that do not part one: the same number as the evidence uses.
const QUIET_SLICES_MAX: usize = 2;

/// A kind of stream. Events arrive independently at the rate of their minute and fail independently at its ratio;
/// what depends on time is stated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// Days of history.
    pub(super) days: u32,
    /// Events a second on average, all of them, sampled or not.
    pub(super) events_per_sec: f64,
    /// Ratio of bad events outside incidents, averaged over the events of a week.
    pub(super) error_ratio: f64,
    /// Seasons of the week, if any.
    pub(super) week: Option<Week>,
    /// Incidents, if any.
    pub(super) incidents: Option<Incidents>,
    /// Which events arrive, and what they weigh.
    pub(super) weights: Weights,
    /// From this day on, counted from 0, the error ratio is so many times as high.
    pub(super) step: Option<(u32, f64)>,
    /// Durations, if they are studied.
    pub(super) durations: Option<Durations>,
}

/// Two shapes of the week, each with nights and weekends; both are factors of an average.
#[derive(Clone, Copy, Debug)]
pub(super) struct Week {
    /// How far the traffic of day and night lies from its average; above 0 and below 1.
    pub(super) traffic_swing: f64,
    /// How far the error ratio does, most errors when there is most traffic.
    pub(super) error_swing: f64,
    /// Traffic of the weekend's days, as a factor.
    pub(super) weekend_traffic: f64,
}

/// Incidents begin independently of each other and of everything else. While one lasts, a share of the events that
/// would be good is bad (or slow, where durations are studied).
#[derive(Clone, Copy, Debug)]
pub(super) struct Incidents {
    /// Beginnings a day.
    pub(super) per_day: f64,
    /// How long they last.
    pub(super) length: Length,
    /// The share, between these two alike.
    pub(super) share: (f64, f64),
}

/// The length of an incident in minutes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// Always the same.
    Fixed(f64),
    /// Exponential with this mean: many short ones, few long ones.
    Exponential(f64),
}

/// Which events arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Weights {
    /// All, with weight 1.
    Full,
    /// One in so many, with that weight.
    OneIn(u64),
    /// Half of the services sample one in so many, the others nothing.
    Mixed(u64),
}

/// Durations: lognormal, a mixture of two of them, and other ones during incidents.
#[derive(Clone, Copy, Debug)]
pub(super) struct Durations {
    /// The usual events.
    pub(super) usual: LogNormal,
    /// Other events with their share of all.
    pub(super) other: Option<(f64, LogNormal)>,
    /// Events that an incident made slow.
    pub(super) slow: LogNormal,
}

/// A lognormal distribution.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogNormal {
    /// Median in seconds.
    pub(super) median_secs: f64,
    /// Standard deviation of the logarithm.
    pub(super) sigma: f64,
}

/// One history.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// Its minutes with traffic.
    pub(super) rows: Vec<MinuteRow>,
    /// The share of the events of each five minutes that incidents spared.
    pub(super) spared: Vec<f64>,
}

impl Stream {
    /// The history of a seed: always the same for the same seed.
    pub(super) fn history(&self, seed: u64) -> History {
        let mut random = StdRng::seed_from_u64(seed);
        let minutes = self.days * MINUTES_PER_DAY;
        let spared = self.incidents.map_or_else(
            || vec![1.0; minutes as usize],
            |incidents| incidents.spared(minutes, &mut random),
        );
        let shape = Shape::of(self.week);
        let kinds = self.durations.map(|durations| {
            let floor_secs = durations.quantile_secs(self.share_in_incidents(), LUMPED);
            [
                Categories::of(|secs| durations.usual_below(secs), floor_secs),
                Categories::of(|secs| durations.slow.below(secs), floor_secs),
            ]
        });
        let rows = (0..minutes).zip(&spared).map(|(minute, spared)| {
            let (traffic, errors) = shape.factors(minute);
            let events = self.events_per_sec * 60.0 * traffic;
            let ratio = self.error_ratio * errors * self.step_factor(minute);
            let mut row = MinuteRow {
                minute: START_MINUTE + minute,
                sums: WindowSums::default(),
                latency: Vec::new(),
            };
            for (share, weight) in self.weights.parts() {
                let arriving = events * share;
                let usual = arriving * (1.0 - ratio) * spared;
                let (good, bad) = if let Some([usual_kind, slow_kind]) = &kinds {
                    let slow = arriving * (1.0 - ratio) * (1.0 - spared);
                    let good = usual_kind.draw_into(&mut row, usual, weight, &mut random)
                        + slow_kind.draw_into(&mut row, slow, weight, &mut random);
                    (good, draw(arriving * ratio, &mut random))
                } else {
                    let good = draw(usual, &mut random);
                    (good, draw(arriving - usual, &mut random))
                };
                add(&mut row.sums, good, bad, weight);
            }
            row
        });
        History {
            rows: rows.filter(|row| row.sums.total > 0.0).collect(),
            spared: spared
                .chunks(MINUTES_PER_SLICE as usize)
                .map(|slice| slice.iter().sum::<f64>() / slice.len() as f64)
                .collect(),
        }
    }

    /// Incidents as an objective sees them: runs of five minutes whose events are expected to be bad in a higher ratio
    /// than the budget allows. A few quiet slices do not part a run.
    pub(super) fn incidents(&self, spared: &[f64], sli: Sli, target: f64) -> u64 {
        let (mut runs, mut quiet) = (0, usize::MAX);
        for spared in spared {
            if self.bad_ratio(*spared, sli) > 1.0 - target {
                runs += u64::from(quiet > QUIET_SLICES_MAX);
                quiet = 0;
            } else {
                quiet = quiet.saturating_add(1);
            }
        }
        runs
    }

    /// The bad ratio that is expected where incidents spare this share.
    fn bad_ratio(&self, spared: f64, sli: Sli) -> f64 {
        match (sli, self.durations) {
            (Sli::Latency { threshold_micros }, Some(durations)) => {
                let secs = threshold_micros as f64 / 1e6;
                let fast = spared * durations.usual_below(secs)
                    + (1.0 - spared) * durations.slow.below(secs);
                1.0 - fast
            }
            _ => 1.0 - (1.0 - self.error_ratio) * spared,
        }
    }

    /// The error ratio of an endless history; after the step, where there is one.
    pub(super) fn true_error_ratio(&self) -> f64 {
        let usual = self.error_ratio * self.step.map_or(1.0, |(_, factor)| factor);
        let in_incidents = match self.durations {
            Some(_) => 0.0,
            None => self.share_in_incidents(),
        };
        1.0 - (1.0 - usual) * (1.0 - in_incidents)
    }

    /// The latency quantile of an endless history in seconds; `None` where durations are not studied.
    pub(super) fn true_quantile_secs(&self) -> Option<f64> {
        let durations = self.durations?;
        Some(durations.quantile_secs(self.share_in_incidents(), QUANTILE))
    }

    /// The share of all events that incidents make bad, or slow. Incidents that overlap each hit what the others
    /// spared, so that for beginnings of a Poisson process it is 1 − exp(−rate · mean length · mean share).
    fn share_in_incidents(&self) -> f64 {
        self.incidents.map_or(0.0, |kind| {
            let share = f64::midpoint(kind.share.0, kind.share.1);
            let minutes_a_day = kind.per_day * kind.length.mean_minutes();
            -(-minutes_a_day / f64::from(MINUTES_PER_DAY) * share).exp_m1()
        })
    }

    fn step_factor(&self, minute: u32) -> f64 {
        match self.step {
            Some((day, factor)) if minute >= day * MINUTES_PER_DAY => factor,
            _ => 1.0,
        }
    }
}

impl Incidents {
    /// The share of the events that incidents spare, minute by minute.
    fn spared(&self, minutes: u32, random: &mut StdRng) -> Vec<f64> {
        let mut spared = vec![1.0; minutes as usize];
        let minutes_between = f64::from(MINUTES_PER_DAY) / self.per_day;
        // Early enough that those which began before the history are among its incidents.
        let mut start = -20.0 * self.length.mean_minutes();
        loop {
            let gaps: f64 = Exp1.sample(random);
            start += gaps * minutes_between;
            if start >= f64::from(minutes) {
                return spared;
            }
            let end = start + self.length.draw(random);
            let share = random.random_range(self.share.0..=self.share.1);
            for minute in whole(start)..whole(end.ceil()).min(minutes) {
                let from = f64::from(minute);
                let overlap = end.min(from + 1.0) - start.max(from);
                if let Some(spared) = spared.get_mut(minute as usize) {
                    *spared *= 1.0 - share * overlap.max(0.0);
                }
            }
        }
    }
}

impl Length {
    fn mean_minutes(self) -> f64 {
        match self {
            Self::Fixed(minutes) | Self::Exponential(minutes) => minutes,
        }
    }

    fn draw(self, random: &mut StdRng) -> f64 {
        match self {
            Self::Fixed(minutes) => minutes,
            Self::Exponential(mean) => {
                let factor: f64 = Exp1.sample(random);
                mean * factor
            }
        }
    }
}

impl Weights {
    /// The share of all events that arrives, with their weight.
    fn parts(self) -> Vec<(f64, u64)> {
        match self {
            Self::Full => vec![(1.0, 1)],
            Self::OneIn(weight) => vec![(1.0 / weight as f64, weight)],
            Self::Mixed(weight) => vec![(0.5, 1), (0.5 / weight as f64, weight)],
        }
    }
}

/// The factors of traffic and errors in each hour of the week.
struct Shape(Vec<(f64, f64)>);

impl Shape {
    fn of(week: Option<Week>) -> Self {
        let Some(week) = week else {
            return Self(vec![(1.0, 1.0)]);
        };
        let hours: Vec<_> = (0..7 * 24).map(|hour| week.factors(hour)).collect();
        let traffic: f64 = hours.iter().map(|(traffic, _)| traffic).sum();
        let errors: f64 = hours.iter().map(|(traffic, errors)| traffic * errors).sum();
        let scaled = hours.iter().map(|(hour_traffic, hour_errors)| {
            (
                hour_traffic * hours.len() as f64 / traffic,
                hour_errors * traffic / errors,
            )
        });
        Self(scaled.collect())
    }

    fn factors(&self, minute: u32) -> (f64, f64) {
        let hour = (minute / MINUTES_PER_HOUR) as usize % self.0.len();
        self.0.get(hour).copied().unwrap_or((1.0, 1.0))
    }
}

impl Week {
    /// Traffic and error ratio of an hour of the week, in proportion to those of others.
    fn factors(self, hour: u32) -> (f64, f64) {
        let wave = (f64::from(hour % 24) / 24.0 * TAU).sin();
        let is_weekend = hour / 24 >= 5;
        let day = if is_weekend {
            self.weekend_traffic
        } else {
            1.0
        };
        (
            day * (1.0 + self.traffic_swing * wave),
            1.0 + self.error_swing * wave,
        )
    }
}

impl Durations {
    /// The share of the usual events that takes at most so long.
    fn usual_below(&self, secs: f64) -> f64 {
        let usual = self.usual.below(secs);
        self.other.map_or(usual, |(share, other)| {
            (1.0 - share) * usual + share * other.below(secs)
        })
    }

    /// The quantile of all events, of which a share is slow.
    fn quantile_secs(&self, slow_share: f64, quantile: f64) -> f64 {
        let below = |secs: f64| {
            (1.0 - slow_share) * self.usual_below(secs) + slow_share * self.slow.below(secs)
        };
        let (mut low, mut high) = (1e-6_f64, 3_600.0_f64);
        for _ in 0..100 {
            let middle = (low * high).sqrt();
            if below(middle) < quantile {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

impl LogNormal {
    fn below(self, secs: f64) -> f64 {
        Normal::standard().cdf((secs / self.median_secs).ln() / self.sigma)
    }
}

/// A distribution of durations over the buckets from a floor on: each bucket with the share of the events up to its
/// end. All faster events lie in the first one.
struct Categories(Vec<(u16, f64)>);

impl Categories {
    fn of(below: impl Fn(f64) -> f64, floor_secs: f64) -> Self {
        let floor = bucket_of(u64::from(whole(floor_secs * 1e6)));
        let mut buckets = Vec::new();
        for bucket in floor.. {
            let end_micros = bucket_bounds_micros(bucket).1 + 1;
            let share = below(end_micros as f64 / 1e6);
            if share > 1.0 - LUMPED_SLOWEST {
                buckets.push((bucket, 1.0));
                break;
            }
            buckets.push((bucket, share));
        }
        Self(buckets)
    }

    /// Adds the durations of a Poisson number of events, each for its weight; returns the number.
    fn draw_into(&self, row: &mut MinuteRow, events: f64, weight: u64, random: &mut StdRng) -> u64 {
        let Some(&(floor, lumped)) = self.0.first() else {
            return 0;
        };
        let fast = draw(events * lumped, random);
        push(row, floor, fast * weight);
        let rest = draw(events * (1.0 - lumped), random);
        for _ in 0..rest {
            let place = random.random_range(lumped..1.0);
            let index = self.0.partition_point(|(_, share)| *share <= place);
            if let Some((bucket, _)) = self.0.get(index) {
                push(row, *bucket, weight);
            }
        }
        fast + rest
    }
}

fn push(row: &mut MinuteRow, bucket: u16, count: u64) {
    if count > 0 {
        row.latency.push((bucket, count));
    }
}

fn add(sums: &mut WindowSums, good: u64, bad: u64, weight: u64) {
    sums.total += ((good + bad) * weight) as f64;
    sums.bad += (bad * weight) as f64;
    sums.squared += ((good + bad) * weight * weight) as f64;
    sums.observed_total += good + bad;
    sums.observed_bad += bad;
}

/// A Poisson number; 0 where the mean is 0.
fn draw(mean: f64, random: &mut StdRng) -> u64 {
    Poisson::new(mean).map_or(0, |poisson| {
        let count: f64 = poisson.sample(random);
        u64::from(whole(count))
    })
}

/// The whole part of a number, 0 where it is negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates"
)]
fn whole(number: f64) -> u32 {
    number as u32
}
