//! The entry of OpenTelemetry in a W3C tracestate: `ot=th:…;rv:…` (OpenTelemetry specification, probability sampling).

/// Hexadecimal digits of 56 bits, of a randomness and of a threshold.
const DIGITS: usize = 14;

/// What `ot=` says, by its fields.
#[inline]
fn entry(trace_state: &[u8]) -> Option<&[u8]> {
    let mut entries = trace_state.split(|byte| *byte == b',');
    entries.find_map(|entry| entry.trim_ascii().strip_prefix(b"ot="))
}

fn field<'a>(trace_state: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut fields = entry(trace_state)?.split(|byte| *byte == b';');
    fields.find_map(|field| field.strip_prefix(key))
}

fn number(digits: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for digit in digits {
        number = number << 4 | u64::from(char::from(*digit).to_digit(16)?);
    }
    Some(number)
}

/// The threshold that the span was sampled by, below 2⁵⁶.
#[inline]
pub fn threshold(trace_state: &[u8]) -> Option<u64> {
    let digits = field(trace_state, b"th:")?;
    if digits.is_empty() || digits.len() > DIGITS {
        return None;
    }
    // Trailing zeros may be left out.
    Some(number(digits)? << (4 * (DIGITS - digits.len())))
}

/// The randomness that holds in place of the trace id's.
#[inline]
pub fn randomness(trace_state: &[u8]) -> Option<u64> {
    let digits = field(trace_state, b"rv:")?;
    if digits.len() != DIGITS {
        return None;
    }
    number(digits)
}

/// The same tracestate with this threshold, below 2⁵⁶. What others say in it stays; our entry comes first, as the
/// newest must.
pub fn with_threshold(trace_state: &str, threshold: u64) -> String {
    let digits = format!("{threshold:014x}");
    let digits = digits.trim_end_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    let mut written = format!("ot=th:{digits}");
    let entries = || {
        let entries = trace_state.split(',').map(str::trim);
        entries.filter(|entry| !entry.is_empty())
    };
    let ours = entries().find_map(|entry| entry.strip_prefix("ot="));
    let fields = ours.into_iter().flat_map(|entry| entry.split(';'));
    for field in fields.filter(|field| !field.is_empty() && !field.starts_with("th:")) {
        written.push(';');
        written.push_str(field);
    }
    for entry in entries().filter(|entry| !entry.starts_with("ot=")) {
        written.push(',');
        written.push_str(entry);
    }
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The specification: a tenth is `e666…`, a hundredth `fd70a…`, all of it `0`.
    #[test]
    fn a_threshold_is_written_without_the_zeros_at_its_end_beside_what_others_say() {
        for (before, threshold, after) in [
            ("", 0, "ot=th:0"),
            ("", 0xc0_0000_0000_0000, "ot=th:c"),
            ("ot=th:8", 0xfd_70a4_0000_0000, "ot=th:fd70a4"),
            (
                "ot=rv:6e6d1a75832a2f;th:8",
                0xe0_0000_0000_0000,
                "ot=th:e;rv:6e6d1a75832a2f",
            ),
            ("a=1, ot=x:y ,b=2", 1, "ot=th:00000000000001;x:y,a=1,b=2"),
        ] {
            assert_eq!(with_threshold(before, threshold), after, "{before}");
        }
    }

    proptest! {
        #[test]
        fn property_what_is_written_is_read(number in 0..1_u64 << 56, rv in 0..1_u64 << 56) {
            let state = format!("vendor=1,ot=rv:{rv:014x}");
            let written = with_threshold(&state, number);
            prop_assert_eq!(threshold(written.as_bytes()), Some(number));
            prop_assert_eq!(randomness(written.as_bytes()), Some(rv));
            prop_assert_eq!(with_threshold(&written, number), written);
        }
    }
}
