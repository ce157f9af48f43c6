//! When to try again: exponential, with jitter, and as the receiver asks.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// The wait before a retry, the first one being 0: twice as long each time up to `max`, of which `jitter` (0 to 1) takes
/// up to a half, so that those who failed together do not come again together.
pub fn delay(retry: u32, min: Duration, max: Duration, jitter: f64) -> Duration {
    let factor = 2_u32.saturating_pow(retry);
    let longest = min.saturating_mul(factor).min(max);
    longest.mul_f64(1.0 - 0.5 * jitter.clamp(0.0, 1.0))
}

/// What `Retry-After` asks for: seconds, or a date.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(value.trim()).ok()?.timestamp();
    // A date that is over means now.
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_mins(5);

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits = [0, 1, 2, 8, 9, 40].map(|retry| delay(retry, MIN, MAX, 0.0).as_secs());
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
    }

    proptest! {
        #[test]
        fn jitter_takes_at_most_a_half(retry in 0_u32..100, jitter in 0.0_f64..1.0) {
            let whole = delay(retry, MIN, MAX, 0.0);
            let less = delay(retry, MIN, MAX, jitter);
            prop_assert!(less <= whole && less >= whole / 2);
        }
    }

    #[test]
    fn a_receiver_may_say_seconds_or_a_date() {
        // The example of RFC 9110, a minute before.
        let now: Timestamp = "1999-12-31T23:58:59Z".parse().unwrap();
        let after = |value| retry_after(value, now);
        assert_eq!(after("120"), Some(Duration::from_mins(2)));
        let date = "Fri, 31 Dec 1999 23:59:59 GMT";
        assert_eq!(after(date), Some(Duration::from_mins(1)));
        assert_eq!(after("Fri, 31 Dec 1999 23:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }
}
