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

/// After so long half of what the present is off the forecast is believed to be over: more than a burst lasts, less than
/// what stays, which the forecast of the next hours learns.
const OFF_HALF_LIFE_NANOS: u64 = 6 * HOUR_NANOS;

/// The present is believed to be off by this factor at most.
const OFF_MAX: f64 = 10.0;

/// Methods are compared anew once a day, and earlier while the past is short: after a tenth of it.
const CONTEST_SHARE: usize = 10;

/// The hours so far, and what they say about those to come.
#[derive(Debug, Default)]
pub struct Outlook {
    hours: BTreeMap<u32, f64>,
    /// The hour that is not over, and the forecast from it on.
    made: Option<(u32, Option<Forecasted>)>,
    /// From which hour on methods are compared anew.
    contest: u32,
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
        let known = self.made.take().and_then(|(_, made)| made);
        let again = known
            .filter(|_| (1..=HOURS_PER_DAY).contains(&(self.contest.saturating_sub(open) as usize)))
            .and_then(|known| known.again(&values, horizon));
        let made = again.or_else(|| {
            let lasts = (values.len() / CONTEST_SHARE).clamp(1, HOURS_PER_DAY);
            self.contest = open.saturating_add(u32::try_from(lasts).unwrap_or(1));
            forecast(&values, &SEASONS, horizon, "hour")
        });
        self.made = Some((open, made));
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

    /// Entry spans that are expected between two instants. How far the present rate is off the forecast tells how far the
    /// coming hours will be, less and less so; where nothing is forecast, the present rate goes on.
    pub fn expected(
        &self,
        (from, to): (UnixNanos, UnixNanos),
        present_per_second: f64,
        now: UnixNanos,
    ) -> f64 {
        let at_present = |from: UnixNanos, to: UnixNanos| {
            present_per_second * to.saturating_sub(from) as f64 / NANOS_PER_SEC as f64
        };
        let present = at_present(0, HOUR_NANOS);
        let forecast_now = self.per_hour(hour_of(now)).filter(|mean| *mean > 0.0);
        let off = forecast_now.map_or(1.0, |mean| (present / mean).clamp(1.0 / OFF_MAX, OFF_MAX));
        let (mut sum, mut at) = (0.0, from);
        while at < to {
            let hour = hour_of(at);
            let end = ((u64::from(hour) + 1) * HOUR_NANOS).min(to);
            sum += match self.per_hour(hour).filter(|_| forecast_now.is_some()) {
                Some(per_hour) => {
                    let ahead = at.saturating_sub(now) as f64 + (end - at) as f64 / 2.0;
                    let still = 0.5_f64.powf(ahead / OFF_HALF_LIFE_NANOS as f64);
                    let share = (end - at) as f64 / HOUR_NANOS as f64;
                    per_hour * share * (1.0 + (off - 1.0) * still)
                }
                None => at_present(at, end),
            };
            at = end;
        }
        sum
    }

    /// What is forecast of an hour.
    fn per_hour(&self, hour: u32) -> Option<f64> {
        let (first, made) = self.made.as_ref()?;
        let step = hour.checked_sub(*first)? as usize;
        let mean = made.as_ref()?.prediction.mean.get(step);
        mean.map(|mean| mean.max(0.0))
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
        let present = 1_000.0 / 3_600.0;
        let hours = |from: u64, to: u64| {
            let period = (midnight + from * HOUR_NANOS, midnight + to * HOUR_NANOS);
            outlook.expected(period, present, now)
        };
        let (quiet, busy) = (hours(1, 11), hours(12, 22));
        assert!((quiet / 10_000.0 - 1.0).abs() < 0.1, "{quiet}");
        assert!((busy / 30_000.0 - 1.0).abs() < 0.1, "{busy}");
    }

    /// Three times the traffic that was forecast: half of the excess is believed six hours from now, a sixteenth a day from now.
    #[test]
    fn what_the_present_is_off_the_forecast_fades_from_the_hours_ahead() {
        let (outlook, now) = outlook();
        let present = 3.0 * outlook.per_hour(hour_of(now)).unwrap() / 3_600.0;
        let hour = |ahead: u64| {
            let from = now + ahead * HOUR_NANOS;
            let expected = outlook.expected((from, from + 1_000_000_000), present, now);
            expected * 3_600.0 / outlook.per_hour(hour_of(from)).unwrap()
        };
        for (ahead, factor) in [(0, 3.0), (6, 2.0), (24, 1.125)] {
            assert!(
                (hour(ahead) - factor).abs() < 1e-3,
                "{ahead} {}",
                hour(ahead)
            );
        }
        assert!(outlook.expected((now, now), 5.0, now).abs() < 1e-12);
    }

    #[test]
    fn where_nothing_is_forecast_the_present_rate_goes_on() {
        let now = 480_240 * HOUR_NANOS;
        let day = Outlook::default().expected((now, now + 24 * HOUR_NANOS), 2.0, now);
        assert!((day - 172_800.0).abs() < 1e-6, "{day}");
    }

    /// The method is that of the last comparison; what it says comes from all hours that are over.
    #[test]
    fn between_comparisons_the_method_stays_and_learns_the_newest_hours() {
        let (mut outlook, now) = outlook();
        let method = outlook.forecasted().unwrap().method.clone();
        let before = outlook.per_hour(480_250).unwrap();
        for hour in 1..6 {
            outlook.add(480_240 + hour, 4_000.0);
            assert!(outlook.refresh(now + u64::from(hour) * HOUR_NANOS, 7));
        }
        let made = outlook.forecasted().unwrap();
        assert_eq!(made.method, method);
        assert!(!made.backtest.is_empty());
        assert!((outlook.per_hour(480_250).unwrap() - before).abs() > 1.0);
        assert_eq!(outlook.contest, 480_240 + 23);
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
