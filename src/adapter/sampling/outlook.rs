//! The hours of the past and those to come: entry spans of all services by the hour, as the history keeps them.

use std::collections::BTreeMap;

use crate::adapter::sampling::forecast::{Forecasted, forecast};
use crate::model::{NANOS_PER_SEC, UnixNanos};

/// Nanoseconds of an hour.
const HOUR_NANOS: u64 = 3_600 * NANOS_PER_SEC;

/// Hours of a day.
pub const HOURS_PER_DAY: usize = 24;

/// Day and week.
const SEASONS: [usize; 2] = [HOURS_PER_DAY, 7 * HOURS_PER_DAY];

/// Hours that are kept: five weeks, as many as the history has by default.
const HOURS_MAX: u32 = 35 * 24;

/// The hours so far, and what they say about those to come.
#[derive(Debug, Default)]
pub struct Outlook {
    hours: BTreeMap<u32, f64>,
    /// The hour that is not over, and the forecast from it on.
    made: Option<(u32, Option<Forecasted>)>,
}

/// The hour of an instant, since the Unix epoch.
pub fn hour_of(at: UnixNanos) -> u32 {
    u32::try_from(at / HOUR_NANOS).unwrap_or(u32::MAX)
}

impl Outlook {
    /// Adds entry spans to an hour.
    pub fn add(&mut self, hour: u32, entries: f64) {
        if entries > 0.0 {
            *self.hours.entry(hour).or_default() += entries;
        }
    }

    /// Forecasts anew when an hour is over. Says whether it did.
    pub fn refresh(&mut self, now: UnixNanos, horizon_days: u32) -> bool {
        let open = hour_of(now);
        if self.made.as_ref().is_some_and(|(hour, _)| *hour == open) {
            return false;
        }
        self.hours = self.hours.split_off(&open.saturating_sub(HOURS_MAX));
        let values = self.closed_hours(open);
        let horizon = (horizon_days as usize + 1) * HOURS_PER_DAY;
        self.made = Some((open, forecast(&values, &SEASONS, horizon, "hour")));
        true
    }

    /// From the first hour that was seen whole to the last one before `open`; hours without entries had none.
    fn closed_hours(&self, open: u32) -> Vec<f64> {
        let Some(first) = self.hours.keys().next().copied() else {
            return Vec::new();
        };
        let entries = |hour: u32| self.hours.get(&hour).copied().unwrap_or(0.0);
        // The first one may have begun before anybody counted.
        (first + 1..open).map(entries).collect()
    }

    /// The newest forecast, in entry spans an hour.
    pub fn forecasted(&self) -> Option<&Forecasted> {
        self.made.as_ref().and_then(|(_, made)| made.as_ref())
    }

    /// Entry spans that are expected between two instants. Until `present_until` the present rate holds, and beyond it
    /// where nothing is forecast.
    pub fn expected(
        &self,
        (from, to): (UnixNanos, UnixNanos),
        present_per_second: f64,
        present_until: UnixNanos,
    ) -> f64 {
        let at_present = |from: UnixNanos, to: UnixNanos| {
            present_per_second * to.saturating_sub(from) as f64 / NANOS_PER_SEC as f64
        };
        let Some((first, Some(made))) = &self.made else {
            return at_present(from, to);
        };
        let split = present_until.clamp(from, to.max(from));
        let mut sum = at_present(from, split);
        let mut at = split;
        while at < to {
            let hour = hour_of(at);
            let end = ((u64::from(hour) + 1) * HOUR_NANOS).min(to);
            let step = hour.saturating_sub(*first) as usize;
            let per_hour = made.prediction.mean.get(step).copied();
            sum += match per_hour {
                Some(per_hour) => per_hour.max(0.0) * (end - at) as f64 / HOUR_NANOS as f64,
                None => at_present(at, end),
            };
            at = end;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten days with busy days and quiet nights, then an hour that is not over.
    fn outlook() -> (Outlook, UnixNanos) {
        let mut outlook = Outlook::default();
        for hour in 0..240 {
            let entries = if hour % 24 < 12 { 1_000.0 } else { 3_000.0 };
            outlook.add(480_000 + hour, entries + f64::from(hour % 5));
        }
        outlook.add(480_240, 17.0);
        let now = 480_240 * HOUR_NANOS + HOUR_NANOS / 2;
        assert!(outlook.refresh(now, 7));
        assert!(!outlook.refresh(now + 1, 7));
        (outlook, now)
    }

    #[test]
    fn hours_of_the_day_come_again() {
        let (outlook, now) = outlook();
        let midnight = 480_240 * HOUR_NANOS;
        assert_eq!(480_240 % 24, 0);
        let quiet = outlook.expected(
            (midnight + HOUR_NANOS, midnight + 11 * HOUR_NANOS),
            0.0,
            now,
        );
        let busy = outlook.expected(
            (midnight + 12 * HOUR_NANOS, midnight + 22 * HOUR_NANOS),
            0.0,
            now,
        );
        assert!((quiet / 10_000.0 - 1.0).abs() < 0.1, "{quiet}");
        assert!((busy / 30_000.0 - 1.0).abs() < 0.1, "{busy}");
    }

    #[test]
    fn the_present_holds_for_a_while_and_where_nothing_is_forecast() {
        let (outlook, now) = outlook();
        let burst = outlook.expected((now, now + HOUR_NANOS), 5.0, now + HOUR_NANOS);
        assert!((burst - 18_000.0).abs() < 1e-6, "{burst}");
        let unknown = Outlook::default();
        let day = unknown.expected((now, now + 24 * HOUR_NANOS), 2.0, now);
        assert!((day - 172_800.0).abs() < 1e-6, "{day}");
        assert!(outlook.expected((now, now), 5.0, now).abs() < 1e-12);
    }

    #[test]
    fn the_hour_under_way_and_the_first_one_are_no_part_of_the_past() {
        let mut outlook = Outlook::default();
        let now = 480_003 * HOUR_NANOS + 5;
        for hour in 480_000..480_004 {
            outlook.add(hour, 100.0);
        }
        outlook.refresh(now, 7);
        let made = outlook.forecasted().unwrap();
        assert!(made.notes[0].contains("2 hours"), "{:?}", made.notes);
    }
}
