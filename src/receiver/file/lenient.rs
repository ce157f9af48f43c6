//! What people's files say in place of what the formats ask for: times in other units, kinds and statuses as words.

use jiff::Timestamp;

use crate::model::UnixNanos;
use crate::model::span::SpanKind;
use crate::receiver::json::value::Number;
use crate::window::event::SpanStatus;

/// Times of events below these are in seconds, milliseconds, microseconds; above them in nanoseconds. Each is March 1973
/// in its unit and the year 5138 in the coarser one.
const UNIT_LIMITS: [(f64, u64); 3] = [(1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000)];

/// A time as a file says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Time {
    /// Not said.
    Missing,
    /// Since the Unix epoch, in a unit that its magnitude tells; a whole number and a fraction.
    Counted(u64, f64),
    /// Said with date and time.
    Absolute(UnixNanos),
}

/// What should have been a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{member}` is no time: expected a number of nanoseconds (or of s, ms, µs) since the Unix epoch, or an RFC 3339 text, found {found}"
)]
pub(super) struct NoTime {
    member: &'static str,
    found: String,
}

impl Time {
    /// A count, 0 if it is not said.
    pub(super) fn counted(number: u64) -> Self {
        match number {
            0 => Self::Missing,
            _ => Self::Counted(number, 0.0),
        }
    }

    /// Reads the member of a span that has this name.
    pub(super) fn read(member: &'static str, number: &Number<'_>) -> Result<Self, NoTime> {
        let no_time = |found: String| Err(NoTime { member, found });
        match number.numeric() {
            Number::Absent => Ok(Self::Missing),
            Number::Whole(number) => Ok(Self::counted(number)),
            Number::Fraction(number) if (0.0..u64::MAX as f64).contains(&number) => {
                Ok(Self::of_fraction(number))
            }
            Number::Text(text) if text.is_empty() => Ok(Self::Missing),
            Number::Text(text) => {
                let time = text.parse::<Timestamp>().ok();
                let nanos = time.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
                nanos.map_or_else(
                    || no_time(format!("`{text}`")),
                    |nanos| Ok(Self::Absolute(nanos)),
                )
            }
            Number::Negative(number) => no_time(format!("`{number}`")),
            Number::Fraction(number) => no_time(format!("`{number}`")),
            Number::Bool(value) => no_time(format!("`{value}`")),
            Number::Other => no_time("a list or an object".to_owned()),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the caller has checked the range"
    )]
    fn of_fraction(number: f64) -> Self {
        Self::Counted(number.trunc() as u64, number.fract())
    }

    /// Nanoseconds in the unit that the magnitude tells.
    fn unit_nanos(self) -> Option<u64> {
        let Self::Counted(whole, _) = self else {
            return None;
        };
        let below = |(limit, _): &&(f64, u64)| (whole as f64) < *limit;
        Some(
            UNIT_LIMITS
                .iter()
                .find(below)
                .map_or(1, |(_, nanos)| *nanos),
        )
    }

    /// In nanoseconds if it is counted in units of so many.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "less than one unit, at most 10⁹"
    )]
    fn nanos(self, unit_nanos: u64) -> Option<UnixNanos> {
        match self {
            Self::Missing => None,
            Self::Absolute(nanos) => Some(nanos),
            Self::Counted(whole, fraction) => {
                let part = (fraction * unit_nanos as f64).round() as u64;
                Some(whole.saturating_mul(unit_nanos).saturating_add(part))
            }
        }
    }
}

/// Start and end in nanoseconds; `None` if one is missing. Both are in one unit, which the end tells.
pub(super) fn start_and_end(start: Time, end: Time) -> Option<(UnixNanos, UnixNanos)> {
    let unit_nanos = end.unit_nanos().or(start.unit_nanos()).unwrap_or(1);
    Some((start.nanos(unit_nanos)?, end.nanos(unit_nanos)?))
}

/// Start and end in nanoseconds of a span whose duration is said, in microseconds or else in the unit of the start;
/// `None` if one of both is missing.
pub(super) fn start_and_duration(
    start: Time,
    duration: &Number<'_>,
) -> Result<Option<(UnixNanos, UnixNanos)>, NoTime> {
    let unit_nanos = start.unit_nanos().unwrap_or(1_000);
    // Unlike a time, a duration of 0 is one.
    let duration = if duration.numeric() == Number::Whole(0) {
        Some(0)
    } else {
        Time::read("duration", duration)?.nanos(unit_nanos)
    };
    let start = start.nanos(unit_nanos);
    Ok(start
        .zip(duration)
        .map(|(start, duration)| (start, start.saturating_add(duration))))
}

/// A kind by number or by name, with or without `SPAN_KIND_`, in any case; others are unspecified.
pub(super) fn span_kind(kind: &Number<'_>) -> SpanKind {
    match kind {
        Number::Whole(number) => SpanKind::from_otlp(*number),
        Number::Text(text) => {
            let name = without_prefix(text, "SPAN_KIND_");
            let named = SpanKind::ALL
                .into_iter()
                .find(|kind| kind.label().eq_ignore_ascii_case(name));
            named.unwrap_or_else(|| SpanKind::from_otlp(name.parse().unwrap_or(0)))
        }
        Number::Absent
        | Number::Negative(_)
        | Number::Fraction(_)
        | Number::Bool(_)
        | Number::Other => SpanKind::Unspecified,
    }
}

/// A status code by number or by name, with or without `STATUS_CODE_`, in any case; others are unset.
pub(super) fn span_status(code: &Number<'_>) -> SpanStatus {
    match code {
        Number::Whole(number) => SpanStatus::from_otlp(*number),
        Number::Text(text) => {
            let name = without_prefix(text, "STATUS_CODE_");
            if name.eq_ignore_ascii_case("ok") {
                SpanStatus::Ok
            } else if name.eq_ignore_ascii_case("error") {
                SpanStatus::Error
            } else {
                SpanStatus::from_otlp(name.parse().unwrap_or(0))
            }
        }
        Number::Absent
        | Number::Negative(_)
        | Number::Fraction(_)
        | Number::Bool(_)
        | Number::Other => SpanStatus::Unset,
    }
}

fn without_prefix<'a>(text: &'a str, prefix: &str) -> &'a str {
    match text.split_at_checked(prefix.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(prefix) => rest,
        Some(_) | None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Number<'_> {
        Number::Text(Cow::Borrowed(text))
    }

    fn times(start: &Number<'_>, end: &Number<'_>) -> Option<(u64, u64)> {
        start_and_end(
            Time::read("start", start).unwrap(),
            Time::read("end", end).unwrap(),
        )
    }

    #[test]
    fn the_magnitude_of_the_end_tells_the_unit_of_both() {
        let wanted = Some((1_710_000_000_000_000_000, 1_710_000_001_500_000_000));
        for (start, end) in [
            (
                Number::Whole(1_710_000_000),
                Number::Fraction(1_710_000_001.5),
            ),
            (
                Number::Whole(1_710_000_000_000),
                Number::Whole(1_710_000_001_500),
            ),
            (
                Number::Whole(1_710_000_000_000_000),
                Number::Whole(1_710_000_001_500_000),
            ),
            (text("1710000000000000000"), text("1710000001500000000")),
            (text("1710000000"), text("1710000001.5")),
            (
                text("2024-03-09T16:00:00Z"),
                text("2024-03-09T17:00:01.5+01:00"),
            ),
            (
                text("2024-03-09T16:00:00Z"),
                Number::Whole(1_710_000_001_500),
            ),
        ] {
            assert_eq!(times(&start, &end), wanted, "{start:?}");
        }
        // The start alone would be seconds.
        assert_eq!(
            times(
                &Number::Whole(99_999_999_999),
                &Number::Whole(100_000_000_500)
            ),
            Some((99_999_999_999_000_000, 100_000_000_500_000_000))
        );
    }

    #[test]
    fn a_missing_time_is_no_time() {
        for missing in [Number::Absent, Number::Whole(0), text(""), text("0")] {
            assert_eq!(times(&missing, &Number::Whole(1_710_000_000)), None);
            assert_eq!(times(&Number::Whole(1_710_000_000), &missing), None);
        }
    }

    #[test]
    fn what_is_no_time_is_named() {
        for (number, found) in [
            (text("NaN"), "`NaN`"),
            (text("yesterday"), "`yesterday`"),
            (text("1969-01-01T00:00:00Z"), "`1969-01-01T00:00:00Z`"),
            (Number::Negative(-1), "`-1`"),
            (Number::Other, "a list or an object"),
            (Number::Bool(true), "`true`"),
        ] {
            let error = Time::read("endTimeUnixNano", &number).unwrap_err();
            let wanted = format!("or an RFC 3339 text, found {found}");
            assert!(error.to_string().ends_with(&wanted), "{error}");
        }
    }

    #[test]
    fn a_duration_is_in_the_unit_of_the_start() {
        for (start, duration, nanos) in [
            (1_710_000_000_000_000, Number::Whole(450_000), 450_000_000),
            (1_710_000_000_000_000_000, text("450000000"), 450_000_000),
            (1_710_000_000_000, Number::Whole(450), 450_000_000),
            (1_710_000_000_000_000, Number::Whole(0), 0),
            (1_710_000_000_000_000, Number::Fraction(0.5), 500),
        ] {
            let start = Time::Counted(start, 0.0);
            let (start, end) = start_and_duration(start, &duration).unwrap().unwrap();
            assert_eq!((start, end - start), (1_710_000_000_000_000_000, nanos));
        }
        let start = Time::Counted(1_710_000_000_000_000, 0.0);
        assert_eq!(start_and_duration(start, &Number::Absent), Ok(None));
        assert_eq!(
            start_and_duration(Time::Missing, &Number::Whole(1)),
            Ok(None)
        );
    }

    #[test]
    fn kinds_and_statuses_are_numbers_or_words() {
        for kind in SpanKind::ALL {
            let number = u64::from(kind.number());
            assert_eq!(span_kind(&Number::Whole(number)), kind);
            assert_eq!(span_kind(&text(&number.to_string())), kind);
            assert_eq!(span_kind(&text(kind.label())), kind);
            assert_eq!(span_kind(&text(&kind.label().to_uppercase())), kind);
            assert_eq!(
                span_kind(&text(&format!("SPAN_KIND_{}", kind.label().to_uppercase()))),
                kind
            );
        }
        for (code, status) in [
            (text("OK"), SpanStatus::Ok),
            (text("Error"), SpanStatus::Error),
            (text("STATUS_CODE_ERROR"), SpanStatus::Error),
            (text("STATUS_CODE_UNSET"), SpanStatus::Unset),
            (text("2"), SpanStatus::Error),
            (Number::Whole(1), SpanStatus::Ok),
            (Number::Whole(2), SpanStatus::Error),
            (Number::Absent, SpanStatus::Unset),
            (text("fine"), SpanStatus::Unset),
            (Number::Other, SpanStatus::Unset),
        ] {
            assert_eq!(span_status(&code), status, "{code:?}");
        }
        assert_eq!(span_kind(&text("é")), SpanKind::Unspecified);
    }

    proptest! {
        #[test]
        fn property_every_unit_gives_the_same_time(secs in 100_000_000..4_000_000_000_u64) {
            let wanted = secs * 1_000_000_000;
            for unit in [1, 1_000, 1_000_000, 1_000_000_000] {
                // Before March 1973 a coarse count is not told from a finer one.
                let time = Number::Whole(secs * unit);
                prop_assert_eq!(times(&time, &time), Some((wanted, wanted)));
            }
        }

        #[test]
        fn property_no_number_overflows(whole: u64, fraction: f64) {
            for number in [Number::Whole(whole), Number::Fraction(fraction)] {
                if let Ok(time) = Time::read("start", &number) {
                    start_and_end(time, time);
                    start_and_duration(time, &number).ok();
                }
            }
        }
    }
}
