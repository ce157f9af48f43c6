//! Consistent sampling: whether a trace is kept depends on its id alone, so that every replica keeps the same ones, and
//! whoever keeps fewer keeps a part of what the others keep (OpenTelemetry specification, probability sampling: a trace
//! is kept if its randomness R, 56 bits, is at least the threshold T).

use xxhash_rust::xxh3::xxh3_64;

use crate::model::trace_state;

/// Bits of randomness and threshold.
const BITS: u32 = 56;
const ALL: u64 = 1 << BITS;

/// R of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Randomness(u64);

impl Randomness {
    /// From [`Self::number`].
    pub fn from_number(number: u64) -> Self {
        Self(number & (ALL - 1))
    }

    /// R, below 2⁵⁶.
    #[inline]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The last seven of the sixteen bytes of a trace id, as W3C Trace Context level 2 has it; of other ids, a hash.
    #[inline]
    pub fn of_trace_id(id: &[u8]) -> Self {
        match id.last_chunk::<8>() {
            Some(last) if id.len() == 16 => Self(u64::from_be_bytes(*last) & (ALL - 1)),
            Some(_) | None => Self(xxh3_64(id) >> (64 - BITS)),
        }
    }

    /// A second randomness of the same trace, which says nothing about the first.
    #[must_use]
    pub fn other(self) -> Self {
        // The golden ratio in 64 bits spreads what is left of its upper bits.
        Self(self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS))
    }

    /// That of an id as text: of 32 hexadecimal digits the last 14, of others a hash.
    pub fn of_text(id: &str) -> Self {
        let digits = id.get(18..).filter(|_| id.len() == 32);
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        number.map_or_else(|| Self(xxh3_64(id.as_bytes()) >> (64 - BITS)), Self)
    }

    /// `ot=rv:…` of a W3C tracestate, which holds in place of the trace id.
    pub fn of_trace_state(trace_state: &[u8]) -> Option<Self> {
        trace_state::randomness(trace_state).map(Self)
    }
}

/// T: which traces are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u64);

impl Threshold {
    /// Keeps all.
    pub const ALL: Self = Self(0);

    /// From [`Self::number`].
    pub fn from_number(number: u64) -> Self {
        Self(number.min(ALL))
    }

    /// `ot=th:…` of a W3C tracestate: what the span was sampled by before.
    pub fn of_trace_state(trace_state: &[u8]) -> Option<Self> {
        trace_state::threshold(trace_state).map(Self)
    }

    /// T, 2⁵⁶ at most.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Whether a trace is kept.
    #[inline]
    pub fn keeps(self, randomness: Randomness) -> bool {
        randomness.0 >= self.0
    }

    /// The share of the traces that is kept.
    pub fn ratio(self) -> f64 {
        (ALL - self.0.min(ALL)) as f64 / ALL as f64
    }

    /// Keeps this share of what is kept now, within 0 and 1 of all.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 2⁵⁶"
    )]
    #[must_use]
    pub fn scaled(self, share: f64) -> Self {
        let kept = (ALL - self.0.min(ALL)) as f64 * share;
        Self(ALL - (kept.clamp(0.0, ALL as f64) as u64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn randomness_is_the_last_56_bits_however_the_id_is_written() {
        let id = [
            0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80,
            0x31, 0x9c,
        ];
        let wanted = Randomness(0x48_eb21_1c80_319c);
        assert_eq!(Randomness::of_trace_id(&id), wanted);
        assert_eq!(
            Randomness::of_text("0af7651916cd43dd8448eb211c80319c"),
            wanted
        );
        assert_ne!(
            Randomness::of_text("trace-1"),
            Randomness::of_text("trace-2")
        );
        let state = b"vendor=x, ot=th:c;rv:48eb211c80319c";
        assert_eq!(Randomness::of_trace_state(state), Some(wanted));
        for state in [&b""[..], b"ot=th:c", b"ot=rv:12", b"ot=rv:zzzzzzzzzzzzzz"] {
            assert_eq!(Randomness::of_trace_state(state), None);
        }
    }

    /// The specification's examples: 50 % is `8`, 25 % is `c`, 100 % is `0`.
    #[test]
    fn thresholds_are_those_of_the_specification() {
        assert_eq!(Threshold::ALL.scaled(0.5).number(), 0x80_0000_0000_0000);
        assert_eq!(Threshold::ALL.scaled(0.25).number(), 0xc0_0000_0000_0000);
        assert_eq!(Threshold::ALL.scaled(1.0), Threshold::ALL);
        let none = Threshold::ALL.scaled(0.0);
        assert!(!none.keeps(Randomness(ALL - 1)));
        assert!(Threshold::ALL.keeps(Randomness(0)));
        assert_eq!(none.scaled(2.0), none);
    }

    proptest! {
        #[test]
        fn property_who_keeps_fewer_keeps_a_part(id: [u8; 16], share in 0.0..1.0_f64, again in 0.0..1.0_f64) {
            let many = Threshold::ALL.scaled(share);
            let few = many.scaled(again);
            let randomness = Randomness::of_trace_id(&id);
            prop_assert!(!few.keeps(randomness) || many.keeps(randomness));
            prop_assert!((many.ratio() - share).abs() < 1e-9);
        }
    }
}
