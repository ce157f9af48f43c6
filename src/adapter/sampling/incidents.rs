//! Which services are sampled in full since something is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::UnixNanos;
use crate::model::rca::Conclusion;
use crate::model::report::{Report, Verdict};

/// What was seen of a service.
#[derive(Clone, Copy, Debug)]
struct Seen {
    verdict: Verdict,
    /// When it last worsened to warn or fail, or was named as a cause; 0 for never.
    since: UnixNanos,
}

impl Seen {
    const FINE: Self = Self {
        verdict: Verdict::Pass,
        since: 0,
    };
}

/// The incidents that are under way.
#[derive(Debug)]
pub(super) struct Incidents {
    lasts_nanos: u64,
    services: BTreeMap<Arc<str>, Seen>,
    /// Start of the incident whose causes were taken last.
    analysed: Option<UnixNanos>,
}

impl Incidents {
    /// None yet; each lasts so long at most, since the budget has to last too.
    pub(super) fn new(lasts: Duration) -> Self {
        Self {
            lasts_nanos: u64::try_from(lasts.as_nanos()).unwrap_or(u64::MAX),
            services: BTreeMap::new(),
            analysed: None,
        }
    }

    /// Takes the verdicts and the causes of a report.
    pub(super) fn update(&mut self, report: &Report, now: UnixNanos) {
        let mut worst: BTreeMap<Arc<str>, Verdict> = BTreeMap::new();
        for verdict in report.service_verdicts() {
            if let Some(service) = &verdict.service {
                let own = worst
                    .entry(Arc::clone(&service.name))
                    .or_insert(verdict.verdict);
                *own = (*own).max(verdict.verdict);
            }
        }
        self.services
            .retain(|service, seen| worst.contains_key(service) || seen.since > 0);
        for (service, verdict) in worst {
            let seen = self.services.entry(service).or_insert(Seen::FINE);
            if verdict >= Verdict::Warn && verdict > seen.verdict {
                seen.since = now;
            }
            seen.verdict = verdict;
        }
        let found = report
            .rca
            .as_ref()
            .filter(|rca| rca.conclusion == Conclusion::Found);
        if let Some(rca) = found
            && self.analysed != Some(rca.incident.from)
        {
            self.analysed = Some(rca.incident.from);
            for cause in &rca.ranked {
                let service: Arc<str> = cause.service.as_str().into();
                let seen = self.services.entry(service).or_insert(Seen::FINE);
                seen.since = now;
            }
        }
        let lasts = self.lasts_nanos;
        for seen in self.services.values_mut() {
            let is_over = now.abs_diff(seen.since) >= lasts;
            if is_over {
                seen.since = 0;
            }
        }
    }

    /// The services that are sampled in full, sorted: those with a cause that is new, and those whose verdict is warn or fail and
    /// worsened lately.
    pub(super) fn services(&self) -> BTreeSet<Arc<str>> {
        let under_way = self.services.iter().filter(|(_, seen)| seen.since > 0);
        under_way.map(|(service, _)| Arc::clone(service)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::sampling::fixture::{cause, report, verdict};

    const HOUR: u64 = 3_600 * crate::model::NANOS_PER_SEC;

    fn in_full(incidents: &Incidents) -> Vec<String> {
        incidents
            .services()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_worse_verdict_is_an_incident_for_a_bounded_time() {
        let mut incidents = Incidents::new(Duration::from_hours(2));
        let bad = report(vec![
            verdict("cart", Verdict::Fail),
            verdict("shop", Verdict::Pass),
        ]);
        incidents.update(&bad, HOUR);
        assert_eq!(in_full(&incidents), ["cart"]);
        incidents.update(&bad, 2 * HOUR);
        assert_eq!(in_full(&incidents), ["cart"]);
        // A budget that is spent stays so for weeks; full sampling does not.
        incidents.update(&bad, 3 * HOUR);
        assert_eq!(in_full(&incidents), [""; 0]);
        let good = report(vec![verdict("cart", Verdict::Pass)]);
        incidents.update(&good, 4 * HOUR);
        incidents.update(&bad, 5 * HOUR);
        assert_eq!(in_full(&incidents), ["cart"]);
    }

    #[test]
    fn warn_is_one_and_getting_worse_is_another() {
        let mut incidents = Incidents::new(Duration::from_hours(2));
        let warn = report(vec![verdict("cart", Verdict::Warn)]);
        incidents.update(&warn, HOUR);
        assert_eq!(in_full(&incidents), ["cart"]);
        incidents.update(&report(vec![verdict("cart", Verdict::Fail)]), 2 * HOUR);
        incidents.update(&report(vec![verdict("cart", Verdict::Fail)]), 3 * HOUR);
        assert_eq!(in_full(&incidents), ["cart"]);
        incidents.update(&report(vec![verdict("cart", Verdict::Fail)]), 4 * HOUR);
        assert_eq!(in_full(&incidents), [""; 0]);
    }

    #[test]
    fn a_cause_that_was_found_is_an_incident_once() {
        let mut incidents = Incidents::new(Duration::from_hours(2));
        let mut found = report(Vec::new());
        found.rca = Some(cause("payment", 7));
        incidents.update(&found, HOUR);
        assert_eq!(in_full(&incidents), ["payment"]);
        incidents.update(&found, 3 * HOUR);
        assert_eq!(in_full(&incidents), [""; 0]);
        found.rca = Some(cause("payment", 8));
        incidents.update(&found, 4 * HOUR);
        assert_eq!(in_full(&incidents), ["payment"]);
    }
}
