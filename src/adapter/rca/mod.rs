//! Root causes: which service changed between a time before and an incident, why we think so, and whether anything did.
//!
//! ```text
//! whole traces ─ observe ─ Summary (before)   ┐
//!                                             ├─ signals ─ findings ─┬─ explain (who explains whom) ─ ranking ─ report
//! whole traces ─ observe ─ Summary (incident) ┘     │                │
//!                                                   └─ calibrate ────┘  what the same signals see between halves of the time before
//! ```
//!
//! 1. A [`Summary`] counts whole traces in bounded memory; it can be merged and kept. Every trace belongs to one of a few
//!    [`cells`], so that the time before can be dealt into halves of whole traces afterwards.
//! 2. Each of the [`signals`] compares two sides and names what changed for the worse: self times and the time that calls
//!    spend between caller and callee, where errors begin, what spans call, what they log.
//! 3. [`calibrate`] runs the same signals on many deals of the time before. What is larger than nearly all that was seen
//!    there, and more than chance makes of so few spans, is significant; without such a finding the conclusion is that
//!    nothing was found.
//! 4. [`topology`] asks who explains the delays: a slow link has two ends. [`fuse`] ranks services, and [`report`] writes
//!    it down with numbers, traces and sentences.
//!
//! Everything here is pure: no clock, no I/O, and the same traces give the same report in any order.

pub mod calibrate;
pub mod cells;
pub mod evaluate;
pub mod fuse;
pub mod keys;
mod observe;
pub mod report;
mod sentence;
pub mod settings;
pub mod shapes;
pub mod signals;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod times;
pub mod topology;

use crate::model::rca::RcaReport;

pub use crate::adapter::rca::fuse::Suspect;
pub use crate::adapter::rca::settings::Settings;
pub use crate::adapter::rca::signals::{Finding, Signal};
pub use crate::adapter::rca::summary::Summary;

/// All that an analysis knows; the report is what people read of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// The report.
    pub report: RcaReport,
    /// Every service with anything that changed for the worse, the likeliest cause first, whether or not it is more than
    /// what is seen when nothing is wrong.
    pub suspects: Vec<Suspect>,
    /// Everything that changed for the worse, by service: what an incident memory compares.
    pub findings: Vec<Finding>,
}

/// Compares an incident with the time before.
pub fn analyse(baseline: &Summary, incident: &Summary, settings: &Settings) -> RcaReport {
    examine(baseline, incident, settings).report
}

/// The same with all suspects and findings.
pub fn examine(baseline: &Summary, incident: &Summary, settings: &Settings) -> Analysis {
    let sides = signals::Sides::of(baseline, incident, settings);
    let mut findings = signals::all(&sides);
    let calibration = calibrate::calibrate(baseline, settings);
    let numbers = sides.numbers();
    for finding in &mut findings {
        calibration.judge(finding, &sides, numbers);
    }
    findings.retain(|finding| finding.strength > 0.0 || finding.is_significant);
    let suspects = fuse::rank(&findings, &sides);
    let report = report::write(&sides, &suspects, &findings, settings);
    Analysis {
        report,
        suspects,
        findings,
    }
}
