//! Hours of the week: which one does worse than the whole, week after week.

use crate::evaluator::statistics::clopper_pearson_upper;
use crate::model::candidate::WorstHour;
use crate::model::history::MinuteRow;
use crate::model::slo::Sli;
use crate::model::window::WindowSums;

use super::replay::sums_of;

const MINUTES_PER_HOUR: u32 = 60;
const HOURS_PER_DAY: u32 = 24;
const HOURS_PER_WEEK: u32 = 7 * HOURS_PER_DAY;

/// The Unix epoch was on a Thursday.
const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];

/// Weeks in which an hour must have done worse: one incident is no season.
const WEEKS_MIN: usize = 2;

/// One hour of the week over the history.
#[derive(Clone, Copy, Debug, Default)]
struct Stratum {
    sums: WindowSums,
    /// Weeks in which it had events.
    weeks: usize,
    /// Weeks in which its ratio of bad events was above that of the history.
    worse: usize,
}

/// The hour of the week with the lowest ratio of good events, if it differs from the whole: worse in each of at least
/// two weeks, and with a Clopper–Pearson bound, at a level shared among all 168 hours, that excludes the whole history's
/// ratio. `rows` are sorted by minute.
pub(super) fn worst_hour(rows: &[MinuteRow], sli: Sli, confidence: f64) -> Option<WorstHour> {
    let add = |sums: WindowSums, row: &MinuteRow| sums.plus(sums_of(row, sli));
    let all_ratio = rows.iter().fold(WindowSums::default(), add).error_ratio()?;
    let mut strata = [Stratum::default(); HOURS_PER_WEEK as usize];
    for rows in rows.chunk_by(|a, b| a.minute / MINUTES_PER_HOUR == b.minute / MINUTES_PER_HOUR) {
        let hour = rows.first()?.minute / MINUTES_PER_HOUR % HOURS_PER_WEEK;
        let sums = rows.iter().fold(WindowSums::default(), add);
        let Some((ratio, stratum)) = sums.error_ratio().zip(strata.get_mut(hour as usize)) else {
            continue;
        };
        stratum.sums = stratum.sums.plus(sums);
        stratum.weeks += 1;
        stratum.worse += usize::from(ratio > all_ratio);
    }
    let significance = (1.0 - confidence) / f64::from(HOURS_PER_WEEK);
    let differs = |stratum: &Stratum| {
        stratum.worse >= WEEKS_MIN
            && stratum.worse == stratum.weeks
            && error_ratio_lower(&stratum.sums, 1.0 - significance) > all_ratio
    };
    let (hour, worst) = (0..)
        .zip(&strata)
        .filter(|(_, stratum)| differs(stratum))
        .max_by(|(_, a), (_, b)| {
            a.sums
                .error_ratio()
                .partial_cmp(&b.sums.error_ratio())
                .unwrap_or(std::cmp::Ordering::Equal)
        })?;
    let effective = worst.sums.effective_events();
    let error_ratio = worst.sums.error_ratio()?;
    Some(WorstHour {
        hour: name_of(hour),
        events: worst.sums.observed_total,
        attained_ratio: 1.0 - error_ratio,
        bound: 1.0 - clopper_pearson_upper(error_ratio * effective, effective, confidence),
    })
}

fn error_ratio_lower(sums: &WindowSums, confidence: f64) -> f64 {
    let effective = sums.effective_events();
    let good_ratio = 1.0 - sums.error_ratio().unwrap_or(0.0);
    1.0 - clopper_pearson_upper(good_ratio * effective, effective, confidence)
}

fn name_of(hour_of_week: u32) -> String {
    let day = DAYS
        .get((hour_of_week / HOURS_PER_DAY) as usize)
        .unwrap_or(&"");
    format!("{day} {:02}:00 UTC", hour_of_week % HOURS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::sketch::bucket_of;

    /// Monday 2026-01-05 00:00 UTC.
    const MONDAY: u32 = 29_459_520;

    /// Hours of `weeks` weeks with 1 000 events each; `bad` of the hour since the start.
    fn rows(weeks: u32, bad: impl Fn(u32) -> u64) -> Vec<MinuteRow> {
        (0..weeks * HOURS_PER_WEEK)
            .map(|hour| MinuteRow {
                minute: MONDAY + hour * MINUTES_PER_HOUR,
                sums: WindowSums {
                    total: 1_000.0,
                    bad: bad(hour) as f64,
                    squared: 1_000.0,
                    observed_total: 1_000,
                    observed_bad: bad(hour),
                },
                latency: vec![(bucket_of(20_000), 1_000 - bad(hour))],
            })
            .collect()
    }

    #[test]
    fn an_hour_that_is_worse_week_after_week_is_named_with_its_bound() {
        // Sundays at 03:00, a maintenance job.
        let sunday = rows(3, |hour| if hour % 168 == 6 * 24 + 3 { 50 } else { 1 });
        let worst = worst_hour(&sunday, Sli::Availability, 0.95).unwrap();
        assert_eq!(worst.hour, "Sunday 03:00 UTC");
        assert_eq!(worst.events, 3_000);
        assert!((worst.attained_ratio - 0.95).abs() < 1e-12);
        // 1 − beta.ppf(0.95, 151, 2850)
        assert!(
            (worst.bound - 0.942_954_873).abs() < 1e-9,
            "{}",
            worst.bound
        );
    }

    #[test]
    fn one_incident_is_no_season() {
        let once = rows(3, |hour| if hour == 100 { 800 } else { 1 });
        assert_eq!(worst_hour(&once, Sli::Availability, 0.95), None);
    }

    #[test]
    fn hours_that_are_all_alike_have_no_worst() {
        assert_eq!(worst_hour(&rows(3, |_| 1), Sli::Availability, 0.95), None);
        assert_eq!(
            worst_hour(
                &rows(3, |hour| u64::from(hour % 7 == 0)),
                Sli::Availability,
                0.95
            ),
            None
        );
        assert_eq!(worst_hour(&[], Sli::Availability, 0.95), None);
    }
}
