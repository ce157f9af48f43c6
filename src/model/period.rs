//! The period of an error budget: a rolling window, or one that the calendar starts.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Zoned};
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::window::Window;
use crate::model::{NANOS_PER_SEC, UnixNanos};

const SECS_PER_DAY: u64 = 86_400;

/// Days that the account of an objective keeps, and so the longest period of a budget.
pub const ACCOUNT_DAYS: u32 = 400;

/// Shorter periods would need burn-rate windows shorter than those that are held.
const SHORTEST_DAYS: u64 = 7;

const EPOCH: Date = Date::constant(1970, 1, 1);

/// A unit of OpenSLO's duration shorthand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DurationUnit {
    /// `m`.
    Minute,
    /// `h`.
    Hour,
    /// `d`.
    Day,
    /// `w`.
    Week,
    /// `M`: 30 days where no calendar says otherwise.
    Month,
    /// `Q`: 90 days where no calendar says otherwise.
    Quarter,
    /// `Y`: 365 days where no calendar says otherwise.
    Year,
}

impl DurationUnit {
    const ALL: [(Self, char, u64); 7] = [
        (Self::Minute, 'm', 60),
        (Self::Hour, 'h', 3_600),
        (Self::Day, 'd', SECS_PER_DAY),
        (Self::Week, 'w', 7 * SECS_PER_DAY),
        (Self::Month, 'M', 30 * SECS_PER_DAY),
        (Self::Quarter, 'Q', 90 * SECS_PER_DAY),
        (Self::Year, 'Y', 365 * SECS_PER_DAY),
    ];

    fn entry(self) -> (char, u64) {
        let found = Self::ALL.into_iter().find(|(unit, ..)| *unit == self);
        found.map_or(('d', SECS_PER_DAY), |(_, letter, secs)| (letter, secs))
    }
}

/// A duration in OpenSLO's shorthand, `^[1-9][0-9]*[mhdwMQY]$`: a positive whole number of one unit, for example `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("pattern" = "^[1-9][0-9]*[mhdwMQY]$")))]
#[serde(try_from = "String", into = "String")]
pub struct Shorthand {
    count: u32,
    unit: DurationUnit,
}

/// A text that is no duration shorthand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration such as 30d: a whole number from 1, then one of m (minutes), h, d, w, M (months), Q (quarters), Y"
)]
pub struct NoShorthand(String);

impl Shorthand {
    /// `count` units; at least one.
    pub const fn new(count: u32, unit: DurationUnit) -> Self {
        Self {
            count: if count == 0 { 1 } else { count },
            unit,
        }
    }

    /// How many.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// Of what.
    pub const fn unit(self) -> DurationUnit {
        self.unit
    }

    /// Nominal length: a month is 30 days, a quarter 90, a year 365.
    pub fn secs(self) -> u64 {
        u64::from(self.count) * self.unit.entry().1
    }

    /// As a span of the calendar, in which months differ.
    fn span(self) -> Span {
        let count = i64::from(self.count);
        let spanned = match self.unit {
            DurationUnit::Minute => Span::new().try_minutes(count),
            DurationUnit::Hour => Span::new().try_hours(count),
            DurationUnit::Day => Span::new().try_days(count),
            DurationUnit::Week => Span::new().try_weeks(count),
            DurationUnit::Month => Span::new().try_months(count),
            DurationUnit::Quarter => Span::new().try_months(3 * count),
            DurationUnit::Year => Span::new().try_years(count),
        };
        spanned.unwrap_or_default()
    }
}

impl fmt::Display for Shorthand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.count, self.unit.entry().0)
    }
}

impl FromStr for Shorthand {
    type Err = NoShorthand;

    fn from_str(text: &str) -> Result<Self, NoShorthand> {
        let wrong = || NoShorthand(text.to_owned());
        let letter = text.chars().next_back().ok_or_else(wrong)?;
        let (unit, ..) = DurationUnit::ALL
            .into_iter()
            .find(|(_, known, _)| *known == letter)
            .ok_or_else(wrong)?;
        let digits = text.strip_suffix(letter).unwrap_or_default();
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        match digits.parse() {
            Ok(count) if plain => Ok(Self { count, unit }),
            Ok(_) | Err(_) => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Shorthand {
    type Error = NoShorthand;

    fn try_from(text: String) -> Result<Self, NoShorthand> {
        text.parse()
    }
}

impl From<Shorthand> for String {
    fn from(shorthand: Shorthand) -> Self {
        shorthand.to_string()
    }
}

/// The period of an error budget. JSON: `"30d"`, or the three fields of a calendar period.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Period {
    /// Ends now.
    Rolling(Shorthand),
    /// One of the periods that follow each other from a start.
    Calendar(CalendarPeriod),
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PeriodVisitor)
    }
}

/// Tells text from fields by itself, so that errors speak of what is wrong inside.
struct PeriodVisitor;

impl<'de> Visitor<'de> for PeriodVisitor {
    type Value = Period;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a duration such as 30d, or duration, start_time and time_zone")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
        text.parse().map(Period::Rolling).map_err(E::custom)
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Period, M::Error> {
        CalendarPeriod::deserialize(MapAccessDeserializer::new(map)).map(Period::Calendar)
    }
}

/// Periods of one length that follow each other in a time zone, as OpenSLO's `timeWindow.calendar` has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CalendarPeriod {
    /// Length of each: `1M` is a month of the calendar.
    pub duration: Shorthand,
    /// When the first one began, local time.
    #[cfg_attr(
        test,
        schemars(
            with = "String",
            pattern(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?$")
        )
    )]
    pub start_time: DateTime,
    /// IANA name, for example `Europe/Berlin`.
    pub time_zone: String,
}

impl Period {
    /// Thirty days that end now.
    pub const DEFAULT: Self = Self::Rolling(Shorthand::new(30, DurationUnit::Day));

    /// Nominal length in seconds.
    pub fn secs(&self) -> u64 {
        match self {
            Self::Rolling(duration) => duration.secs(),
            Self::Calendar(calendar) => calendar.duration.secs(),
        }
    }

    /// The held window that is exactly this period.
    pub fn window(&self) -> Option<Window> {
        match self {
            Self::Rolling(duration) => Window::ALL
                .into_iter()
                .find(|window| window.secs() == duration.secs()),
            Self::Calendar(_) => None,
        }
    }

    /// Whether a budget can be kept over this period; if not, what to write instead.
    pub fn check(&self) -> Result<(), String> {
        let days = self.secs() / SECS_PER_DAY;
        let whole = self.secs().is_multiple_of(SECS_PER_DAY);
        if !whole || !(SHORTEST_DAYS..=u64::from(ACCOUNT_DAYS)).contains(&days) {
            return Err(format!(
                "must be whole days from {SHORTEST_DAYS}d to {ACCOUNT_DAYS}d, for example 30d, 4w or 1Q"
            ));
        }
        let Self::Calendar(calendar) = self else {
            return Ok(());
        };
        if calendar.duration.unit() < DurationUnit::Day {
            return Err(
                "of the calendar must be counted in d, w, M, Q or Y, for example 1M".to_owned(),
            );
        }
        match TimeZone::get(&calendar.time_zone) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!(
                "has the unknown time zone `{}`; use an IANA name such as Europe/Berlin, or UTC",
                calendar.time_zone
            )),
        }
    }

    /// How days are cut, so that the period is made of whole ones.
    pub fn day_grid(&self) -> DayGrid {
        match self {
            Self::Rolling(_) => DayGrid::Utc,
            Self::Calendar(calendar) => DayGrid::Local {
                start: calendar.start_time.time(),
                time_zone: calendar.time_zone.clone(),
            },
        }
    }

    /// Start and end of the calendar period that holds `now`; `None` for rolling ones.
    pub fn bounds(&self, now: UnixNanos) -> Option<(UnixNanos, UnixNanos)> {
        match self {
            Self::Rolling(_) => None,
            Self::Calendar(calendar) => calendar.bounds(now),
        }
    }

    /// Number of the first day of the period that ends at `now` or holds it.
    ///
    /// A rolling period begins at the midnight nearest to its start: its edge is off by half a day at most.
    pub fn first_day(&self, now: UnixNanos) -> u32 {
        let start_secs = match self.bounds(now) {
            Some((start, _)) => start / NANOS_PER_SEC,
            None => (now / NANOS_PER_SEC).saturating_sub(self.secs()) + SECS_PER_DAY / 2,
        };
        self.day_grid().day(start_secs).number
    }

    /// For people and labels: `30d`; `1M calendar`.
    pub fn label(&self) -> String {
        match self {
            Self::Rolling(duration) => duration.to_string(),
            Self::Calendar(calendar) => format!("{} calendar", calendar.duration),
        }
    }
}

impl From<Window> for Period {
    fn from(window: Window) -> Self {
        let days = u32::try_from(window.secs() / SECS_PER_DAY).unwrap_or(0);
        let minutes = u32::try_from(window.secs() / 60).unwrap_or(0);
        Self::Rolling(if days > 0 {
            Shorthand::new(days, DurationUnit::Day)
        } else if minutes.is_multiple_of(60) {
            Shorthand::new(minutes / 60, DurationUnit::Hour)
        } else {
            Shorthand::new(minutes, DurationUnit::Minute)
        })
    }
}

/// One day of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Days since 1970-01-01 by the clock that cuts them.
    pub number: u32,
    /// Its first second since the Unix epoch.
    pub from_secs: u64,
    /// The first second of the day after it.
    pub until_secs: u64,
}

/// How time is cut into days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DayGrid {
    /// At midnight UTC.
    Utc,
    /// At a time of day on the clock of a time zone: such days have 23 to 25 hours.
    Local {
        /// When a day begins.
        start: Time,
        /// IANA name; UTC stands in for an unknown one.
        time_zone: String,
    },
}

impl DayGrid {
    /// The day that holds a second since the Unix epoch.
    pub fn day(&self, secs: u64) -> Day {
        self.local_day(secs).unwrap_or_else(|| {
            let number = secs / SECS_PER_DAY;
            Day {
                number: u32::try_from(number).unwrap_or(u32::MAX),
                from_secs: number * SECS_PER_DAY,
                until_secs: (number + 1).saturating_mul(SECS_PER_DAY),
            }
        })
    }

    /// The first second of a day.
    pub fn start_secs(&self, number: u32) -> u64 {
        let date = EPOCH.checked_add(Span::new().days(i64::from(number)));
        let local = date.ok().and_then(|date| self.local_start(date));
        local.unwrap_or(u64::from(number) * SECS_PER_DAY)
    }

    fn local_day(&self, secs: u64) -> Option<Day> {
        let Self::Local { time_zone, .. } = self else {
            return None;
        };
        let instant = jiff::Timestamp::from_second(i64::try_from(secs).ok()?).ok()?;
        let mut date = instant.to_zoned(TimeZone::get(time_zone).ok()?).date();
        let mut from_secs = self.local_start(date)?;
        while from_secs > secs {
            date = date.yesterday().ok()?;
            from_secs = self.local_start(date)?;
        }
        let mut until_secs = self.local_start(date.tomorrow().ok()?)?;
        while until_secs <= secs {
            date = date.tomorrow().ok()?;
            from_secs = until_secs;
            until_secs = self.local_start(date.tomorrow().ok()?)?;
        }
        let days = date.duration_since(EPOCH).as_hours() / 24;
        Some(Day {
            number: u32::try_from(days).ok()?,
            from_secs,
            until_secs,
        })
    }

    fn local_start(&self, date: Date) -> Option<u64> {
        let Self::Local { start, time_zone } = self else {
            return None;
        };
        let zone = TimeZone::get(time_zone).ok()?;
        let start = date.to_datetime(*start).to_zoned(zone).ok()?;
        u64::try_from(start.timestamp().as_second()).ok()
    }
}

impl CalendarPeriod {
    /// The start of the period that holds `now` and the start of the one after it, in nanoseconds since the Unix epoch.
    ///
    /// `None` where the time zone is unknown or a time leaves the calendar. Before the first start, the first period.
    pub fn bounds(&self, now: UnixNanos) -> Option<(UnixNanos, UnixNanos)> {
        let zone = TimeZone::get(&self.time_zone).ok()?;
        let now = jiff::Timestamp::from_nanosecond(i128::from(now)).ok()?;
        let local = now.to_zoned(zone.clone()).datetime();
        let mut periods = self.periods_before(local);
        // The estimate is off by at most one: months have 28 to 31 days.
        let mut start = self.start(periods, &zone)?;
        while periods > 0 && start.timestamp() > now {
            periods -= 1;
            start = self.start(periods, &zone)?;
        }
        let mut next = self.start(periods + 1, &zone)?;
        while next.timestamp() <= now {
            periods += 1;
            start = next;
            next = self.start(periods + 1, &zone)?;
        }
        let nanos = |time: &Zoned| UnixNanos::try_from(time.timestamp().as_nanosecond()).ok();
        Some((nanos(&start)?, nanos(&next)?))
    }

    fn periods_before(&self, local: DateTime) -> i64 {
        let elapsed = local.duration_since(self.start_time).as_secs().max(0);
        let length = i64::try_from(self.duration.secs()).unwrap_or(i64::MAX);
        elapsed / length
    }

    /// Start of the n-th period. Counted from the first start, so that the 31st of a month comes back after February.
    fn start(&self, n: i64, zone: &TimeZone) -> Option<Zoned> {
        let span = self.duration.span().checked_mul(n).ok()?;
        let local = self.start_time.checked_add(span).ok()?;
        local.to_zoned(zone.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> UnixNanos {
        let time: jiff::Timestamp = text.parse().unwrap();
        UnixNanos::try_from(time.as_nanosecond()).unwrap()
    }

    fn bounds(duration: &str, start: &str, zone: &str, now: &str) -> (String, String) {
        let period = CalendarPeriod {
            duration: duration.parse().unwrap(),
            start_time: start.parse().unwrap(),
            time_zone: zone.to_owned(),
        };
        let (from, to) = period.bounds(nanos(now)).unwrap();
        let text = |time: UnixNanos| {
            jiff::Timestamp::from_nanosecond(i128::from(time))
                .unwrap()
                .to_string()
        };
        (text(from), text(to))
    }

    #[test]
    fn shorthands_are_whole_numbers_of_a_unit() {
        for (text, secs) in [
            ("1m", 60),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("4w", 2_419_200),
            ("1M", 2_592_000),
            ("1Q", 7_776_000),
            ("1Y", 31_536_000),
        ] {
            let shorthand: Shorthand = text.parse().unwrap();
            assert_eq!(shorthand.secs(), secs, "{text}");
            assert_eq!(shorthand.to_string(), text);
        }
        for text in [
            "",
            "d",
            "0d",
            "007d",
            "1.5d",
            "-1d",
            "1 d",
            "1D",
            "1s",
            "+1d",
            "99999999999d",
        ] {
            assert!(text.parse::<Shorthand>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_period_of_a_held_window_is_found_whatever_its_unit() {
        let period = |text: &str| Period::Rolling(text.parse().unwrap());
        assert_eq!(period("4w").window(), Some(Window::D28));
        assert_eq!(period("1M").window(), Some(Window::D30));
        assert_eq!(period("90d").window(), None);
        for window in Window::ALL {
            assert_eq!(Period::from(window).window(), Some(window));
            assert_eq!(Period::from(window).label(), window.label());
        }
    }

    #[test]
    fn months_of_the_calendar_differ_and_follow_daylight_saving() {
        let month = |now| bounds("1M", "2026-01-01 00:00:00", "Europe/Berlin", now);
        let said = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(
            month("2026-02-28T22:59:59Z"),
            said("2026-01-31T23:00:00Z", "2026-02-28T23:00:00Z")
        );
        // Summer time begins on 29 March.
        assert_eq!(
            month("2026-03-31T12:00:00Z"),
            said("2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z")
        );
        assert_eq!(
            bounds("1M", "2026-01-31 09:00:00", "UTC", "2026-03-01T00:00:00Z"),
            said("2026-02-28T09:00:00Z", "2026-03-31T09:00:00Z")
        );
    }

    #[test]
    fn quarters_weeks_and_years_are_counted_from_their_start() {
        let said = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(
            bounds("1Q", "2025-01-01 00:00:00", "UTC", "2026-11-22T10:00:00Z"),
            said("2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z")
        );
        assert_eq!(
            bounds("1w", "2026-01-05 00:00:00", "UTC", "2026-11-22T23:59:59Z"),
            said("2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z")
        );
        assert_eq!(
            bounds("1Y", "2020-02-29 00:00:00", "UTC", "2026-02-28T00:00:00Z"),
            said("2026-02-28T00:00:00Z", "2027-02-28T00:00:00Z")
        );
    }

    #[test]
    fn before_the_first_start_the_first_period_stands() {
        assert_eq!(
            bounds("1d", "2030-01-01 00:00:00", "UTC", "2026-11-22T00:00:00Z").0,
            "2030-01-01T00:00:00Z"
        );
    }

    #[test]
    fn periods_are_a_text_or_the_fields_of_a_calendar() {
        let calendar =
            r#"{"duration":"1M","start_time":"2026-01-01T00:00:00","time_zone":"Europe/Berlin"}"#;
        for text in ["\"30d\"", calendar] {
            let period: Period = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&period).unwrap(), text);
        }
        let spaced = calendar.replace("01T00", "01 00");
        assert_eq!(
            serde_json::from_str::<Period>(&spaced).unwrap(),
            serde_json::from_str(calendar).unwrap()
        );
        let error = |text: &str| {
            serde_json::from_str::<Period>(text)
                .unwrap_err()
                .to_string()
        };
        assert!(error("\"30 days\"").contains("such as 30d"));
        assert!(error(r#"{"length":"1M"}"#).contains("duration"));
    }

    #[test]
    fn periods_that_no_account_can_keep_are_refused_with_a_remedy() {
        let rolling = |text: &str| Period::Rolling(text.parse().unwrap()).check();
        for text in ["7d", "168h", "2w", "30d", "1M", "1Q", "1Y", "400d"] {
            assert_eq!(rolling(text), Ok(()), "{text}");
        }
        for text in ["5m", "6d", "36h", "200h", "401d", "2Y"] {
            assert!(rolling(text).unwrap_err().contains("7d to 400d"), "{text}");
        }
        let calendar = |duration: &str, zone: &str| {
            let period = CalendarPeriod {
                duration: duration.parse().unwrap(),
                start_time: "2026-01-01 00:00:00".parse().unwrap(),
                time_zone: zone.to_owned(),
            };
            Period::Calendar(period).check()
        };
        assert_eq!(calendar("1M", "Europe/Berlin"), Ok(()));
        assert!(calendar("168h", "UTC").unwrap_err().contains("1M"));
        assert!(
            calendar("1M", "Europe/Atlantis")
                .unwrap_err()
                .contains("Europe/Atlantis")
        );
    }

    fn local(start: &str, zone: &str) -> DayGrid {
        DayGrid::Local {
            start: start.parse().unwrap(),
            time_zone: zone.to_owned(),
        }
    }

    #[test]
    fn days_of_a_time_zone_have_23_to_25_hours() {
        let berlin = local("00:00:00", "Europe/Berlin");
        let hours = |time: &str| {
            let day = berlin.day(nanos(time) / NANOS_PER_SEC);
            (day.until_secs - day.from_secs) / 3_600
        };
        assert_eq!(hours("2026-03-28T12:00:00Z"), 24);
        assert_eq!(hours("2026-03-29T12:00:00Z"), 23);
        assert_eq!(hours("2026-10-25T12:00:00Z"), 25);
        let midnight = nanos("2026-03-31T22:00:00Z") / NANOS_PER_SEC;
        assert_eq!(berlin.day(midnight).from_secs, midnight);
        assert_eq!(berlin.day(midnight - 1).until_secs, midnight);
    }

    #[test]
    fn a_rolling_period_begins_at_the_midnight_nearest_to_its_start() {
        let period = Period::Rolling("90d".parse().unwrap());
        let day = |time: &str| period.first_day(nanos(time));
        let noon = day("2026-11-22T12:00:00Z");
        assert_eq!(day("2026-11-22T11:59:59Z"), noon - 1);
        assert_eq!(day("2026-11-23T11:59:59Z"), noon);
        let first = DayGrid::Utc.start_secs(noon);
        assert_eq!(nanos("2026-08-25T00:00:00Z") / NANOS_PER_SEC, first);
    }

    proptest::proptest! {
        /// Every second is in exactly one day, and a calendar period is made of whole ones, whatever the clocks do.
        #[test]
        fn property_days_follow_each_other_and_make_up_the_period(
            secs in 1_000_000_000..2_500_000_000_u64,
            zone in proptest::sample::select(vec![
                "UTC", "Europe/Berlin", "America/Havana", "Asia/Beirut", "Asia/Kolkata",
                "Australia/Lord_Howe", "Pacific/Apia", "America/New_York",
            ]),
            start in proptest::sample::select(vec!["00:00:00", "02:30:00", "09:00:00", "23:30:00"]),
        ) {
            let grid = local(start, zone);
            let day = grid.day(secs);
            proptest::prop_assert!(day.from_secs <= secs && secs < day.until_secs);
            proptest::prop_assert_eq!(grid.day(day.from_secs), day);
            proptest::prop_assert_eq!(grid.day(day.until_secs - 1), day);
            proptest::prop_assert_eq!(grid.day(day.until_secs).from_secs, day.until_secs);
            proptest::prop_assert_eq!(grid.start_secs(day.number), day.from_secs);
            let period = Period::Calendar(CalendarPeriod {
                duration: "1M".parse().unwrap(),
                start_time: format!("2001-01-31 {start}").parse().unwrap(),
                time_zone: zone.to_owned(),
            });
            let now = secs * NANOS_PER_SEC;
            let (from, _) = period.bounds(now).unwrap();
            let first = period.first_day(now);
            proptest::prop_assert_eq!(grid.start_secs(first), from / NANOS_PER_SEC);
        }
    }
}
