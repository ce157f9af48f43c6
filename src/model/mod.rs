//! The nouns of slo-copilot: data that the parts hand to each other, without behaviour of a part.
//!
//! Invariant: nothing here reads a clock, does I/O or imports another module of the crate.

pub mod advice;
pub mod batch;
pub mod budget_policy;
pub mod canary;
pub mod candidate;
pub mod coverage;
pub mod distribution;
pub mod fault;
pub mod finding;
pub mod history;
pub mod incident;
pub mod input;
pub mod period;
pub mod rca;
pub mod recommendation;
pub mod record;
pub mod report;
pub mod sampling;
pub mod series;
pub mod simulation;
pub mod slo;
pub mod slug;
pub mod span;
pub mod test_result;
pub mod topology;
pub mod trace;
pub mod trace_state;
pub mod window;

/// Nanoseconds since the Unix epoch, the unit of every time stamp in OTLP.
pub type UnixNanos = u64;

/// Nanoseconds in a second.
pub const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A text on one line, which no part of it leaves: spans say what they like, and no terminal obeys them.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}
