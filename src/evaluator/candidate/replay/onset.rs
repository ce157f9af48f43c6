//! The start of a fault that lasts: when the alerts of an objective notice it.

use crate::evaluator::burn_rate::{Limits, rules_over};
use crate::model::window::WindowSums;

use super::minutes::{Minutes, minutes_of};
use super::{Alerts, Firing};

/// What the alerts of an objective do after the start of a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Onset {
    /// Seconds until the first page; `None` if there is none.
    pub page_secs: Option<u64>,
    /// Seconds until the first ticket.
    pub ticket_secs: Option<u64>,
    /// A page was firing before, from the healthy minutes alone.
    pub paged_before: bool,
    /// A ticket was.
    pub ticketed_before: bool,
}

/// Healthy minutes, repeated for as long as the longest window looks back, then faulty minutes, repeated for `lasts`
/// minutes: when the burn-rate rules fire, looked at every minute. What was firing before does not fire anew.
///
/// The minutes stand for a state that lasts; a recording of five minutes is taken for the traffic of days.
pub fn onset(
    healthy: &[WindowSums],
    faulty: &[WindowSums],
    (budget, period_secs): (f64, u64),
    limits: Limits,
    lasts: u32,
) -> Onset {
    if healthy.is_empty() || faulty.is_empty() {
        return Onset::default();
    }
    let alerts = Alerts::of_rules(rules_over(period_secs, None), limits);
    let longest = alerts
        .rules
        .iter()
        .map(|rule| minutes_of(rule.long))
        .max()
        .unwrap_or(0);
    let before = healthy.iter().cycle().take(longest as usize);
    let after = faulty.iter().cycle().take(lasts as usize);
    let minutes = Minutes::of_sums(before.chain(after).copied());
    let firing_at = |end| alerts.firing(budget, |window| minutes.window(end, window));
    let Firing {
        page: paged_before,
        ticket: ticketed_before,
    } = firing_at(longest);
    let mut onset = Onset {
        paged_before,
        ticketed_before,
        ..Onset::default()
    };
    for end in longest + 1..=longest + lasts {
        let is_open = |found: Option<u64>, before: bool| found.is_none() && !before;
        let (page, ticket) = (
            is_open(onset.page_secs, paged_before),
            is_open(onset.ticket_secs, ticketed_before),
        );
        if !page && !ticket {
            break;
        }
        let firing = firing_at(end);
        let secs = Some(u64::from(end - longest) * 60);
        if page && firing.page {
            onset.page_secs = secs;
        }
        if ticket && firing.ticket {
            onset.ticket_secs = secs;
        }
    }
    onset
}
