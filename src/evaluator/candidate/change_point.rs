//! The last lasting change of level in a history: data before it belong to another system.
//!
//! In the manner of E-divisive with significance tests (Hunter, arXiv 2301.03034), but of ranks, since the error
//! ratios of requests are no Gaussian noise: a history is split in two where two questions both say so, and then its
//! newer part is looked at again.
//!
//! 1. *Is it lasting?* The history is cut into blocks of six hours, and each block is ranked among the blocks of the
//!    same hours of the week, so that no season can look like a step. A day scores the ranks of its blocks. The
//!    statistic is the largest standardised sum of the scores before a split (Pettitt 1979, stratified); its
//!    distribution without a change comes from permutations of whole days among the same days of the week: good and bad
//!    days are no change. One incident, however deep, moves a few ranks; a level moves all.
//! 2. *Is it a level?* The typical ratios before and after differ by a factor.
//!
//! What is ranked is not a block's ratio, which is mostly 0 where events are few, but its place in the binomial
//! distribution around the typical ratio: traffic that grows changes ratios, not places. The typical ratio is the one
//! around which the places average a half, so that an outage weighs no more than a slightly bad block.
//!
//! Hence little is found in less than two weeks, in which few blocks have a second one of their hours.

use std::cmp::Ordering;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use statrs::function::beta::checked_beta_reg;

use crate::evaluator::statistics::Proportion;
use crate::model::history::MinuteRow;
use crate::model::window::WindowSums;

use super::Settings;
use super::fitting::latency_counts;
use super::slices::effective_without_error;
use crate::evaluator::figures::{milliseconds, percentage, percentile};

const MINUTES_PER_BLOCK: u32 = 6 * 60;
const BLOCKS_PER_WEEK: u32 = 7 * 24 * 60 / MINUTES_PER_BLOCK;

/// Length of the spans at whose start a change may be put.
const MINUTES_PER_SPAN: u32 = 5;

const SECS_PER_DAY: u64 = 86_400;
const BLOCKS_PER_DAY: u32 = 24 * 60 / MINUTES_PER_BLOCK;

/// Permutations drawn from the histories without a change; the smallest probability they can tell is 1/1000.
const PERMUTATIONS: u32 = 999;

/// More events of one block than these count as these: the incomplete beta function is exact up to here.
const EVENTS_MAX: f64 = 1e6;

/// The lowest typical ratio that is told from 0, and how exactly ratios are known, by the factor.
const RATIO_MIN: f64 = 1e-8;
const RATIO_PRECISION: f64 = 1e-3;

/// Start of the permutations, so that the same history always gives the same answer.
const SEED: u64 = 1_979;

/// What an indicator measures in a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Indicator {
    /// Errors over all events.
    Errors,
    /// A quantile of the latency of events without an error.
    Latency(f64),
}

/// A change of level.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// The first minute of the new level.
    pub(super) minute: u32,
    /// What changed, for example `the typical error ratio rose from 0.1% to 0.52%`.
    pub(super) text: String,
}

/// The last change of level; `rows` are sorted by minute.
pub(super) fn last_change(
    rows: &[MinuteRow],
    indicator: Indicator,
    settings: &Settings,
) -> Option<Change> {
    let blocks: Vec<Block<'_>> = rows
        .chunk_by(|a, b| a.minute / MINUTES_PER_BLOCK == b.minute / MINUTES_PER_BLOCK)
        .filter_map(Block::of)
        .collect();
    let search = Search {
        indicator,
        settings,
    };
    search.last_change(&blocks)
}

/// Six hours with traffic.
#[derive(Clone, Copy, Debug)]
struct Block<'a> {
    /// Blocks since the Unix epoch.
    number: u32,
    rows: &'a [MinuteRow],
}

impl<'a> Block<'a> {
    fn of(rows: &'a [MinuteRow]) -> Option<Self> {
        let number = rows.first()?.minute / MINUTES_PER_BLOCK;
        let has_events = rows.iter().any(|row| row.sums.total > 0.0);
        has_events.then_some(Self { number, rows })
    }
}

/// Which events are bad.
#[derive(Clone, Copy, Debug)]
enum Bad {
    Errors,
    /// Events without an error in this bucket of the latency or a slower one.
    SlowFrom(u16),
}

struct Search<'a> {
    indicator: Indicator,
    settings: &'a Settings,
}

impl Search<'_> {
    fn last_change(&self, blocks: &[Block<'_>]) -> Option<Change> {
        let bad = self.bad_in(blocks)?;
        let parts: Vec<Proportion> = blocks
            .iter()
            .map(|block| proportion(block.rows.iter(), bad))
            .collect();
        let split = self.lasting_split(&days_of(blocks, &parts))?;
        let (before, after) = blocks.split_at_checked(split)?;
        let levels = parts.split_at_checked(split)?;
        self.last_change(after)
            .or_else(|| {
                let text = self.change_of_level((before, after), levels)?;
                let minute = turning_minute((before, after), levels, bad)?;
                Some(Change { minute, text })
            })
            .or_else(|| self.last_change(before))
    }

    fn bad_in(&self, blocks: &[Block<'_>]) -> Option<Bad> {
        match self.indicator {
            Indicator::Errors => Some(Bad::Errors),
            Indicator::Latency(quantile) => {
                let counts = latency_counts(rows_of(blocks));
                counts.bucket_at_quantile(quantile).map(Bad::SlowFrom)
            }
        }
    }

    /// Where the scores say most clearly that something changed for long, if they do: the first block after it.
    fn lasting_split(&self, days: &[Day]) -> Option<usize> {
        let change = &self.settings.change;
        let (first, last) = (days.first()?.number, days.last()?.number);
        let wanted = change.min_duration.as_secs().div_ceil(SECS_PER_DAY);
        let is_long = |day: &Day| {
            let (before, after) = (day.number - first, last + 1 - day.number);
            u64::from(before.min(after)) >= wanted
        };
        let weekdays = weekdays_of(days);
        let deviations: Vec<Option<f64>> = days
            .iter()
            .zip(deviations(days, &weekdays))
            .map(|(day, deviation)| deviation.filter(|_| is_long(day)))
            .collect();
        let mut scores: Vec<f64> = days.iter().map(|day| day.score).collect();
        let (split, seen) = largest_deviation(&scores, &deviations);
        if seen == 0.0 {
            return None;
        }
        let mut random = StdRng::seed_from_u64(SEED);
        let mut as_large = 1.0;
        let allowed = change.significance * f64::from(PERMUTATIONS + 1);
        for _ in 0..PERMUTATIONS {
            if as_large > allowed {
                return None;
            }
            shuffle_within(&weekdays, &mut scores, &mut random);
            // Ties count against the change; rounding must not break them.
            if largest_deviation(&scores, &deviations).1 >= seen * (1.0 - 1e-9) {
                as_large += 1.0;
            }
        }
        let is_significant = as_large <= allowed;
        days.get(split)
            .filter(|_| is_significant)
            .map(|day| day.first_block)
    }

    /// In words, how the levels of both parts differ, if they do by enough.
    fn change_of_level(
        &self,
        (before, after): (&[Block<'_>], &[Block<'_>]),
        levels: (&[Proportion], &[Proportion]),
    ) -> Option<String> {
        let (name, from, to, shown): (_, _, _, fn(f64) -> String) = match self.indicator {
            Indicator::Errors => {
                let (from, to) = (typical_ratio(levels.0), typical_ratio(levels.1));
                ("typical error ratio".to_owned(), from, to, percentage)
            }
            Indicator::Latency(quantile) => {
                let secs = |blocks| latency_counts(rows_of(blocks)).quantile_secs(quantile);
                let name = format!("{} of the latency", percentile(quantile));
                (name, secs(before)?, secs(after)?, milliseconds)
            }
        };
        if from.max(to) < self.settings.change.min_ratio * from.min(to) {
            return None;
        }
        let verb = if to > from { "rose" } else { "fell" };
        Some(format!(
            "the {name} {verb} from {} to {}",
            shown(from),
            shown(to)
        ))
    }
}

/// A day with traffic, UTC.
struct Day {
    /// Days since the Unix epoch.
    number: u32,
    /// Position of its first block.
    first_block: usize,
    /// How many blocks of the same hours of the week its blocks exceed, less how many exceed them.
    score: f64,
}

fn days_of(blocks: &[Block<'_>], parts: &[Proportion]) -> Vec<Day> {
    let typical = typical_ratio(parts);
    let placed: Vec<(u32, f64)> = blocks
        .iter()
        .zip(parts)
        .map(|(block, part)| (block.number, place(*part, typical)))
        .collect();
    let mut days: Vec<Day> = Vec::new();
    for (first_block, (number, place)) in placed.iter().enumerate() {
        let peers = placed
            .iter()
            .filter(|(peer, _)| peer % BLOCKS_PER_WEEK == number % BLOCKS_PER_WEEK);
        let rank: f64 = peers
            .map(|(_, other)| match place.total_cmp(other) {
                Ordering::Greater => 1.0,
                Ordering::Equal => 0.0,
                Ordering::Less => -1.0,
            })
            .sum();
        match days.last_mut() {
            Some(day) if day.number == number / BLOCKS_PER_DAY => day.score += rank,
            Some(_) | None => days.push(Day {
                number: number / BLOCKS_PER_DAY,
                first_block,
                score: rank,
            }),
        }
    }
    days
}

/// The positions of the days of each day of the week, in order of time.
fn weekdays_of(days: &[Day]) -> [Vec<usize>; 7] {
    [0, 1, 2, 3, 4, 5, 6].map(|weekday| {
        let same = days.iter().enumerate();
        let same = same.filter(|(_, day)| day.number % 7 == weekday);
        same.map(|(position, _)| position).collect()
    })
}

/// The standard deviation, over all permutations, of the sum of the scores before each day: of n of the m scores of a
/// day of the week, which are 0 together, its square is n(m−n)/m(m−1)·Σ score². `None` where it cannot vary.
fn deviations(days: &[Day], weekdays: &[Vec<usize>]) -> Vec<Option<f64>> {
    let mut variances = vec![0.0; days.len()];
    for same in weekdays.iter().filter(|same| same.len() > 1) {
        let size = same.len() as f64;
        let squares: f64 = same
            .iter()
            .filter_map(|position| days.get(*position))
            .map(|day| day.score * day.score)
            .sum();
        let mut before = 0;
        for (position, variance) in variances.iter_mut().enumerate() {
            let drawn = before as f64;
            *variance += drawn * (size - drawn) / (size * (size - 1.0)) * squares;
            before += usize::from(same.get(before) == Some(&position));
        }
    }
    let deviation = |variance: f64| (variance > 0.0).then(|| variance.sqrt());
    variances.into_iter().map(deviation).collect()
}

/// Shuffles the scores of each day of the week among its days.
fn shuffle_within(weekdays: &[Vec<usize>], scores: &mut [f64], random: &mut StdRng) {
    for same in weekdays {
        let mut drawn: Vec<f64> = same
            .iter()
            .filter_map(|position| scores.get(*position).copied())
            .collect();
        drawn.shuffle(random);
        for (position, score) in same.iter().zip(drawn) {
            if let Some(place) = scores.get_mut(*position) {
                *place = score;
            }
        }
    }
}

/// The largest sum of the scores before a position, over its deviation, and that position.
fn largest_deviation(scores: &[f64], deviations: &[Option<f64>]) -> (usize, f64) {
    let (mut sum, mut largest) = (0.0_f64, (0, 0.0_f64));
    for (split, (score, deviation)) in scores.iter().zip(deviations).enumerate() {
        let standardised = deviation.map_or(0.0, |deviation| (sum / deviation).abs());
        if standardised > largest.1 {
            largest = (split, standardised);
        }
        sum += score;
    }
    largest
}

/// Where a proportion lies in the binomial distribution around a ratio, 0 to 1: the probability of fewer bad events plus
/// half that of as many. Its mean is a half, whatever the number of events.
fn place(part: Proportion, ratio: f64) -> f64 {
    let shrink = (EVENTS_MAX / part.total).min(1.0);
    let (bad, total) = (part.bad * shrink, part.total * shrink);
    // P(X < bad) and P(X ≤ bad), for real numbers too.
    let below = |bad: f64| {
        if bad <= 0.0 {
            0.0
        } else if bad >= total + 1.0 {
            1.0
        } else {
            1.0 - checked_beta_reg(bad, total - bad + 1.0, ratio).unwrap_or(0.5)
        }
    };
    f64::midpoint(below(bad), below(bad + 1.0))
}

/// The ratio around which the places of all parts average a half. It rests on every part alike, so that neither the
/// busiest one nor the worst one decides.
fn typical_ratio(parts: &[Proportion]) -> f64 {
    if parts.iter().all(|part| part.bad <= 0.0) {
        return 0.0;
    }
    if parts.iter().all(|part| part.bad >= part.total) {
        return 1.0;
    }
    let mean_place = |ratio: f64| {
        let sum: f64 = parts.iter().map(|part| place(*part, ratio)).sum();
        sum / parts.len() as f64
    };
    let (mut low, mut high) = (RATIO_MIN.ln(), 0.0_f64);
    while high - low > RATIO_PRECISION {
        let middle = f64::midpoint(low, high);
        if mean_place(middle.exp()) > 0.5 {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high).exp()
}

/// The minute in the days beside the split at which the sum of bad events, less those expected midway between both
/// levels, turns.
fn turning_minute(
    (before, after): (&[Block<'_>], &[Block<'_>]),
    levels: (&[Proportion], &[Proportion]),
    bad: Bad,
) -> Option<u32> {
    let (from, to) = (typical_ratio(levels.0), typical_ratio(levels.1));
    let middle = f64::midpoint(from, to);
    let sign = if to > from { 1.0 } else { -1.0 };
    let day = BLOCKS_PER_DAY as usize;
    let older = before.get(before.len().saturating_sub(day)..)?;
    let newer = after.get(..day.min(after.len()))?;
    let around: Vec<&MinuteRow> = rows_of(older).chain(rows_of(newer)).collect();
    let (mut sum, mut lowest, mut minute) = (0.0, 0.0, around.first()?.minute);
    for span in around.chunk_by(|a, b| a.minute / MINUTES_PER_SPAN == b.minute / MINUTES_PER_SPAN) {
        let part = proportion(span.iter().copied(), bad);
        sum += sign * (part.bad - middle * part.total);
        if sum < lowest {
            lowest = sum;
            minute = (span.last()?.minute / MINUTES_PER_SPAN + 1) * MINUTES_PER_SPAN;
        }
    }
    Some(minute)
}

/// Bad and all events by their effective number.
fn proportion<'a>(rows: impl Iterator<Item = &'a MinuteRow> + Clone, bad: Bad) -> Proportion {
    let add = |sums: WindowSums, row: &MinuteRow| sums.plus(row.sums);
    let sums = rows.clone().fold(WindowSums::default(), add);
    match bad {
        Bad::Errors => {
            let total = sums.effective_events();
            let bad = total * sums.error_ratio().unwrap_or(0.0);
            Proportion { bad, total }
        }
        Bad::SlowFrom(slowest) => {
            let (mut slow, mut all) = (0.0, 0.0);
            for (bucket, count) in rows.flat_map(|row| &row.latency) {
                all += *count as f64;
                if *bucket >= slowest {
                    slow += *count as f64;
                }
            }
            let total = effective_without_error(&sums);
            let bad = if all > 0.0 { total * slow / all } else { 0.0 };
            Proportion { bad, total }
        }
    }
}

fn rows_of<'a>(blocks: &[Block<'a>]) -> impl Iterator<Item = &'a MinuteRow> {
    blocks.iter().flat_map(|block| block.rows)
}
