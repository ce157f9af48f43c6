//! When an incident began: the slot of time from which on more entry spans are bad than before.
//!
//! Burn rates look back over minutes and hours, so that a verdict fails after its cause; and what came after the cause must
//! not count as the time before it. The onset is the split of the slots that makes the counts the likeliest, if bad spans come
//! at one rate before it and at a greater one after it.

/// Entry spans of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    /// All.
    pub(super) total: u64,
    /// Failed ones, and those slower than promised.
    pub(super) bad: u64,
}

impl Outcomes {
    pub(super) fn add(&mut self, other: Self) {
        self.total += other.total;
        self.bad += other.bad;
    }

    fn ratio(self) -> f64 {
        self.bad as f64 / self.total.max(1) as f64
    }

    /// Log-likelihood of the counts at their own rate.
    fn log_likelihood(self) -> f64 {
        let term = |count: u64| {
            let count = count as f64;
            if count > 0.0 {
                count * (count / self.total as f64).ln()
            } else {
                0.0
            }
        };
        term(self.bad) + term(self.total - self.bad.min(self.total))
    }
}

/// Twice the gain in log-likelihood that a split must bring: χ² with one degree of freedom, 0.999.
const MIN_GAIN: f64 = 10.83;

/// Whether bad spans come at a greater rate after than before, by more than chance makes it.
pub(super) fn is_worse(before: Outcomes, after: Outcomes) -> bool {
    after.ratio() > before.ratio() && 2.0 * gain(before, after) >= MIN_GAIN
}

/// Log-likelihood that two rates have over one for both.
fn gain(before: Outcomes, after: Outcomes) -> f64 {
    let mut all = before;
    all.add(after);
    before.log_likelihood() + after.log_likelihood() - all.log_likelihood()
}

/// Index of the first slot of the incident; at least 1. `None` where no split is better than none by far.
pub(super) fn onset(slots: &[Outcomes]) -> Option<usize> {
    let mut all = Outcomes::default();
    for slot in slots {
        all.add(*slot);
    }
    let mut before = Outcomes::default();
    let mut best: Option<(f64, usize)> = None;
    for (at, slot) in (1..).zip(slots) {
        before.add(*slot);
        let after = Outcomes {
            total: all.total - before.total,
            bad: all.bad - before.bad,
        };
        let gain = gain(before, after);
        if is_worse(before, after) && best.is_none_or(|(most, _)| gain > most) {
            best = Some((gain, at));
        }
    }
    best.map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slots(counts: &[(u64, u64)]) -> Vec<Outcomes> {
        let outcomes = counts.iter().map(|(total, bad)| Outcomes {
            total: *total,
            bad: *bad,
        });
        outcomes.collect()
    }

    #[test]
    fn the_onset_is_where_bad_spans_become_more() {
        let counts = [(100, 1), (90, 0), (110, 2), (100, 20), (95, 25), (100, 18)];
        assert_eq!(onset(&slots(&counts)), Some(3));
    }

    #[test]
    fn a_recovered_blip_does_not_hide_the_incident() {
        let counts = [(100, 5), (100, 0), (100, 0), (100, 1), (100, 40)];
        assert_eq!(onset(&slots(&counts)), Some(4));
    }

    #[test]
    fn where_nothing_changed_there_is_none() {
        assert_eq!(onset(&slots(&[(100, 5), (100, 6), (100, 5)])), None);
        assert_eq!(onset(&slots(&[(100, 50)])), None);
        assert_eq!(onset(&[]), None);
        // It gets better.
        assert_eq!(onset(&slots(&[(100, 50), (100, 0)])), None);
    }

    proptest! {
        #[test]
        fn a_change_that_is_large_is_found_where_it_is(
            before in 1_usize..30,
            after in 1_usize..30,
            total in 50_u64..500,
        ) {
            let mut counts = vec![(total, total / 100); before];
            counts.extend(vec![(total, total / 2); after]);
            prop_assert_eq!(onset(&slots(&counts)), Some(before));
        }
    }
}
