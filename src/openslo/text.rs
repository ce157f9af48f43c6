//! Numbers and words as OpenSLO documents hold them: exact, escaped and within their limits.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::candidate::{Evidence, Replay};
use crate::model::slo::{EVENTS_METRIC, Sli};

pub(super) use crate::model::slo::exact_ratio;

/// A latency threshold as in annotations and texts: an integer and `us`, `ms` or `s`.
pub fn threshold_label(micros: u64) -> String {
    match (micros % 1_000, micros % 1_000_000) {
        (_, 0) => format!("{}s", micros / 1_000_000),
        (0, _) => format!("{}ms", micros / 1_000),
        _ => format!("{micros}us"),
    }
}

/// The number of microseconds that [`threshold_label`] writes.
pub(super) fn threshold_micros(label: &str) -> Option<u64> {
    let units = [("us", 1), ("ms", 1_000), ("s", 1_000_000)];
    units.into_iter().find_map(|(unit, micros)| {
        let digits = label.strip_suffix(unit)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .parse::<u64>()
            .ok()
            .filter(|_| plain)?
            .checked_mul(micros)
    })
}

/// How the start of a calendar window is written.
const CALENDAR_START: &str = "%Y-%m-%d %H:%M:%S";

/// The start of a calendar window, if it is written as it must be and exists.
pub(super) fn calendar_start(text: &str) -> Option<DateTime> {
    let start = DateTime::strptime(CALENDAR_START, text).ok()?;
    (calendar_start_text(start) == text).then_some(start)
}

/// The start of a calendar window as documents hold it.
pub(super) fn calendar_start_text(start: DateTime) -> String {
    start.strftime(CALENDAR_START).to_string()
}

/// What a text is as the name of a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TimeZoneName {
    /// A name of the IANA database.
    Known,
    /// Such a name but for the case of its letters.
    Miswritten(String),
    /// No name.
    Unknown,
}

/// Looks a name up, letter by letter: file systems, where many readers look, tell cases apart.
pub(super) fn time_zone_name(text: &str) -> TimeZoneName {
    match TimeZone::get(text)
        .ok()
        .as_ref()
        .and_then(TimeZone::iana_name)
    {
        Some(name) if name == text => TimeZoneName::Known,
        Some(name) if name.eq_ignore_ascii_case(text) => TimeZoneName::Miswritten(name.to_owned()),
        Some(_) | None => TimeZoneName::Unknown,
    }
}

/// Why a candidate may be believed, in one line.
pub(super) fn evidence_text(evidence: &Evidence, sli: Sli) -> String {
    let unit = match sli {
        Sli::Availability | Sli::ErrorRate => "",
        Sli::Latency { .. } => " s",
    };
    let mut parts = vec![format!(
        "{} events ({:.0} effective) over {:.1} days, {:.0}% of its slices with traffic; {}: \
         measured {:.6}{unit}, bound {:.6}{unit} at {}; sampling {}",
        evidence.events,
        evidence.effective_events,
        evidence.history_secs as f64 / 86_400.0,
        evidence.coverage_ratio * 100.0,
        evidence.method,
        evidence.measured,
        evidence.bound,
        percent(evidence.confidence),
        evidence.sampling,
    )];
    if let (Some(since), Some(change)) = (&evidence.regime_since, &evidence.regime_change) {
        parts.push(format!("since {since}, when {change}"));
    }
    if let Some(Replay { outcome, .. }) = &evidence.replay {
        parts.push(format!(
            "replay of the last {:.1} days: attained {}, {:.0}% of the budget used, {} pages \
             (at most {:.1} in 30 days)",
            outcome.secs as f64 / 86_400.0,
            percent(round_to(outcome.attained_ratio, 1e6)),
            100.0 * outcome.budget_consumed_ratio,
            outcome.pages,
            outcome.pages_per_30d_upper,
        ));
    }
    parts.join("; ")
}

/// A double-quoted PromQL string, which escapes as Go does.
pub fn promql_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A range of PromQL, in its largest whole unit up to days: `90m`, `6h`, `30d`.
pub fn promql_range(secs: u64) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let fitting = units
        .into_iter()
        .find(|(unit, _)| secs.is_multiple_of(*unit));
    let (unit, letter) = fitting.unwrap_or((1, 's'));
    format!("{}{letter}", secs / unit)
}

/// A subquery's range and step that hold exactly the newest points: `59m59s999ms:5m` holds twelve.
pub fn promql_newest(points: u64, step_secs: u64) -> String {
    let secs = (points * step_secs).saturating_sub(1);
    let units = [
        (secs / 86_400, 'd'),
        (secs / 3_600 % 24, 'h'),
        (secs / 60 % 60, 'm'),
        (secs % 60, 's'),
    ];
    let said = units.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = said.map(|(count, unit)| format!("{count}{unit}")).collect();
    let range = parts.concat();
    format!("{range}999ms:{}", promql_range(step_secs))
}

/// The counter of an objective's events as PromQL selects it: of one result, `good` or `bad`, or of both.
pub fn events_selector(slo: &str, service: &str, result: Option<&str>) -> String {
    let (slo, service) = (promql_string(slo), promql_string(service));
    let result = result.map_or(String::new(), |result| format!(",result=\"{result}\""));
    format!("{EVENTS_METRIC}{{slo={slo},service={service}{result}}}")
}

/// A ratio in percent, for people: `99.9%`.
pub fn percent(ratio: f64) -> String {
    format!("{}%", round_to(ratio * 100.0, 1e10))
}

fn round_to(value: f64, steps_per_unit: f64) -> f64 {
    (value * steps_per_unit).round() / steps_per_unit
}

/// At most `limit` characters; what was cut shows as `…`.
pub fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::candidate::Outcome;

    #[test]
    fn a_threshold_is_an_integer_with_its_largest_unit() {
        let labels = [500, 300_000, 1_000_000, 1_500_000, 60_000_000].map(threshold_label);
        assert_eq!(labels, ["500us", "300ms", "1s", "1500ms", "60s"]);
    }

    #[test]
    fn a_threshold_is_read_as_it_was_written() {
        for micros in [1, 500, 300_000, 1_500_000, 60_000_000] {
            assert_eq!(threshold_micros(&threshold_label(micros)), Some(micros));
        }
        for label in [
            "",
            "ms",
            "300",
            "0.3s",
            "+3s",
            "3 s",
            "3m",
            "99999999999999999999s",
        ] {
            assert_eq!(threshold_micros(label), None, "{label}");
        }
    }

    #[test]
    fn calendar_starts_are_days_and_times_that_exist() {
        for text in ["2026-01-01 00:00:00", "2028-02-29 23:59:59"] {
            assert_eq!(calendar_start_text(calendar_start(text).unwrap()), text);
        }
        for text in [
            "2026-02-30 00:00:00",
            "2026-02-29 00:00:00",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-1-1 00:00:00",
            "2026-01-01 24:00:00",
            "2026-01-01 00:00:60",
            "2026-01-01 00:00:00Z",
            " 2026-01-01 00:00:00",
        ] {
            assert_eq!(calendar_start(text), None, "{text}");
        }
    }

    #[test]
    fn time_zones_are_names_of_the_database_in_their_own_case() {
        for name in [
            "Europe/Berlin",
            "UTC",
            "America/Argentina/Buenos_Aires",
            "Etc/UTC",
            "GMT",
            "US/Pacific",
        ] {
            assert_eq!(time_zone_name(name), TimeZoneName::Known, "{name}");
        }
        let berlin = TimeZoneName::Miswritten("Europe/Berlin".to_owned());
        assert_eq!(time_zone_name("europe/berlin"), berlin);
        for name in ["", "Local", "Europe/Munich", "+02:00", "../../etc/passwd"] {
            assert_eq!(time_zone_name(name), TimeZoneName::Unknown, "{name}");
        }
    }

    #[test]
    fn a_label_value_cannot_end_its_promql_string() {
        assert_eq!(promql_string(r#"a"} or b{c="\"#), r#""a\"} or b{c=\"\\""#);
        assert_eq!(promql_string("two\nlines"), r#""two\nlines""#);
    }

    #[test]
    fn a_range_has_its_largest_whole_unit() {
        let ranges = [45, 300, 5_400, 21_600, 86_400, 30 * 86_400].map(promql_range);
        assert_eq!(ranges, ["45s", "5m", "90m", "6h", "1d", "30d"]);
    }

    #[test]
    fn a_range_of_whole_steps_ends_a_millisecond_early() {
        assert_eq!(promql_newest(12, 300), "59m59s999ms:5m");
        assert_eq!(promql_newest(1, 60), "59s999ms:1m");
        assert_eq!(promql_newest(720, 3_600), "29d23h59m59s999ms:1h");
    }

    #[test]
    fn a_percentage_has_no_noise() {
        let printed = [0.9, 0.999, 0.9995, 1.0 - 0.0001].map(percent);
        assert_eq!(printed, ["90%", "99.9%", "99.95%", "99.99%"]);
    }

    #[test]
    fn evidence_tells_of_the_change_and_the_replay_where_there_are_any() {
        let mut evidence = Evidence {
            method: "clopper-pearson".to_owned(),
            confidence: 0.95,
            sampling: "full".to_owned(),
            ..Evidence::default()
        };
        let plain = evidence_text(&evidence, Sli::Availability);
        assert!(plain.ends_with("sampling full"), "{plain}");

        evidence.regime_since = Some(jiff::Timestamp::UNIX_EPOCH);
        evidence.regime_change = Some("the error ratio fell from 1% to 0.1%".to_owned());
        let outcome = Outcome {
            sli: Sli::Availability,
            target: 0.999,
            from: jiff::Timestamp::UNIX_EPOCH,
            secs: 10 * 86_400,
            events: 1_000,
            bad_events: 0,
            attained_ratio: 0.999_4,
            attained: true,
            budget_consumed_ratio: 0.6,
            pages: 1,
            pages_per_30d_upper: 14.2,
            tickets: 0,
            tickets_per_30d_upper: 9.0,
        };
        evidence.replay = Some(Replay {
            fitted_secs: 0,
            fitted: None,
            outcome,
            tighter: None,
            looser: None,
            faults: Vec::new(),
            weeks: Vec::new(),
        });
        let text = evidence_text(&evidence, Sli::Availability);
        let added = "; since 1970-01-01T00:00:00Z, when the error ratio fell from 1% to 0.1%; \
                     replay of the last 10.0 days: attained 99.94%, 60% of the budget used, 1 pages \
                     (at most 14.2 in 30 days)";
        assert_eq!(text, format!("{plain}{added}"));
    }

    #[test]
    fn what_is_cut_ends_in_an_ellipsis_within_the_limit() {
        assert_eq!(cut("größe", 5), "größe");
        assert_eq!(cut("größer", 5), "größ…");
    }
}
