//! Counters that remember what they stood at on every slot boundary of six tiers.
//!
//! A window is the counter now less the counter at the boundary nearest to the window's start, so every window is
//! answered by one subtraction and an event in the newest slot costs one addition. A late event is added to the
//! boundaries after it: it lands in the slot that it belongs to. Time is event time in seconds since the Unix epoch.
//!
//! Invariant: each tier divides the next, so an event in the newest slot of the finest tier is in the newest slot
//! of all of them.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};

use serde::{Deserialize, Serialize};

use crate::model::window::{Window, WindowSums};
use crate::model::{NANOS_PER_SEC, UnixNanos};

/// Width of the finest slots.
pub const FINEST_SECS: u64 = 10;

/// Most that the newest slot may be ahead of the time of a question; the finer tiers hold that much more.
pub const AHEAD_SECS_MAX: u64 = 300;

/// The longest time that any window looks back.
pub const HELD_SECS: u64 = Window::D30.secs();

#[derive(Clone, Copy)]
struct Tier {
    width_secs: u64,
    slots: u64,
    offset: u64,
}

const fn tier(width_secs: u64, slots: u64, offset: u64) -> Tier {
    Tier {
        width_secs,
        slots,
        offset,
    }
}

/// A window that starts at the nearest boundary is off by at most half a slot, here 1/30 of it.
const TIERS: [Tier; 6] = [
    tier(FINEST_SECS, 61, 0),
    tier(60, 66, 61),
    tier(360, 62, 127),
    tier(3_600, 25, 189),
    tier(14_400, 43, 214),
    tier(86_400, 32, 257),
];
const CELLS: usize = 289;

/// Minutes that are told apart, the newest among them.
pub const MINUTES_HELD: u64 = TIERS[1].slots;

const fn tier_of(window: Window) -> Tier {
    match window {
        Window::M5 => TIERS[0],
        Window::M30 | Window::H1 => TIERS[1],
        Window::H2 | Window::H6 => TIERS[2],
        Window::D1 => TIERS[3],
        Window::D3 | Window::D7 => TIERS[4],
        Window::D28 | Window::D30 => TIERS[5],
    }
}

/// Where every window starts for a question at one instant: computed once, used for all series.
#[derive(Clone, Copy, Debug)]
pub struct WindowStarts([WindowStart; Window::ALL.len()]);

#[derive(Clone, Copy, Debug, Default)]
struct WindowStart {
    boundary: u64,
    cell: usize,
    /// The boundary in seconds.
    at_secs: u64,
    /// A ring whose newest slot is at or after this has dropped the boundary.
    dropped_secs: u64,
}

impl WindowStarts {
    /// The boundaries nearest to the start of each window that ends at `now`.
    pub fn at(now: UnixNanos) -> Self {
        Self(Window::ALL.map(|window| {
            let tier = tier_of(window);
            let start = (now / NANOS_PER_SEC).saturating_sub(window.secs());
            let boundary = (start + tier.width_secs / 2) / tier.width_secs;
            WindowStart {
                boundary,
                cell: cell_of(tier, boundary),
                at_secs: boundary * tier.width_secs,
                dropped_secs: (boundary + tier.slots) * tier.width_secs,
            }
        }))
    }
}

/// A monotonic counter on six tiers of slots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tiers<C> {
    /// Start of the newest finest slot, in seconds.
    newest_secs: u64,
    current: C,
    /// What the counter stood at when each slot began.
    cells: Box<[C]>,
}

impl<C: Copy + Default + AddAssign + Sub<Output = C>> Tiers<C> {
    /// A counter at zero whose past is empty.
    pub fn starting_at(secs: u64) -> Self {
        Self {
            newest_secs: secs - secs % FINEST_SECS,
            current: C::default(),
            cells: vec![C::default(); CELLS].into_boxed_slice(),
        }
    }

    /// Counts at an event time.
    #[inline]
    pub fn add(&mut self, secs: u64, amount: C) {
        if secs.wrapping_sub(self.newest_secs) >= FINEST_SECS {
            if secs > self.newest_secs {
                self.advance(secs);
            } else {
                self.shift_boundaries_after(secs, amount);
            }
        }
        self.current += amount;
    }

    /// The counter since the beginning.
    pub fn current(&self) -> C {
        self.current
    }

    /// What was counted between `window` ago and now.
    pub fn window(&self, now_secs: u64, window: Window) -> C {
        let tier = tier_of(window);
        let start = now_secs.saturating_sub(window.secs());
        self.current - self.at_boundary(tier, (start + tier.width_secs / 2) / tier.width_secs)
    }

    /// What was counted in each minute that is held, the oldest first.
    pub fn minutes(&self) -> impl Iterator<Item = (u64, C)> {
        let [_, tier, ..] = TIERS;
        let newest = self.newest_secs / tier.width_secs;
        let held = (newest + 1).saturating_sub(tier.slots)..=newest;
        held.map(move |minute| {
            let before = self.at_boundary(tier, minute);
            (minute, self.at_boundary(tier, minute + 1) - before)
        })
    }

    /// What was counted in every window, in the order of [`Window::ALL`].
    #[inline]
    pub fn windows(&self, starts: &WindowStarts) -> [C; Window::ALL.len()] {
        let mut counted = [C::default(); Window::ALL.len()];
        for ((counted, start), window) in counted.iter_mut().zip(&starts.0).zip(Window::ALL) {
            let before = if start.at_secs > self.newest_secs {
                self.current
            } else if self.newest_secs < start.dropped_secs {
                self.cells.get(start.cell).copied().unwrap_or_default()
            } else {
                self.at_boundary(tier_of(window), start.boundary)
            };
            *counted = self.current - before;
        }
        counted
    }

    /// Adds another counter, boundary by boundary.
    pub fn merge(&mut self, other: &Self) {
        self.advance(other.newest_secs.max(self.newest_secs));
        for tier in TIERS {
            let newest = self.newest_secs / tier.width_secs;
            for boundary in (newest + 1).saturating_sub(tier.slots)..=newest {
                let theirs = other.at_boundary(tier, boundary);
                if let Some(cell) = self.cells.get_mut(cell_of(tier, boundary)) {
                    *cell += theirs;
                }
            }
        }
        self.current += other.current;
    }

    /// The counter when slot number `boundary` of the tier began; the oldest held for older ones.
    fn at_boundary(&self, tier: Tier, boundary: u64) -> C {
        let newest = self.newest_secs / tier.width_secs;
        if boundary > newest {
            return self.current;
        }
        let held = boundary.max((newest + 1).saturating_sub(tier.slots));
        self.cells
            .get(cell_of(tier, held))
            .copied()
            .unwrap_or_default()
    }

    fn advance(&mut self, secs: u64) {
        for tier in TIERS {
            let from = self.newest_secs / tier.width_secs + 1;
            let to = secs / tier.width_secs;
            for boundary in from.max((to + 1).saturating_sub(tier.slots))..=to {
                if let Some(cell) = self.cells.get_mut(cell_of(tier, boundary)) {
                    *cell = self.current;
                }
            }
        }
        self.newest_secs = secs - secs % FINEST_SECS;
    }

    fn shift_boundaries_after(&mut self, secs: u64, amount: C) {
        for tier in TIERS {
            let newest = self.newest_secs / tier.width_secs;
            let oldest = (newest + 1).saturating_sub(tier.slots);
            for boundary in (secs / tier.width_secs + 1).max(oldest)..=newest {
                if let Some(cell) = self.cells.get_mut(cell_of(tier, boundary)) {
                    *cell += amount;
                }
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cell number is below CELLS"
)]
fn cell_of(tier: Tier, boundary: u64) -> usize {
    (tier.offset + boundary % tier.slots) as usize
}

/// Events seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub total: u64,
    /// The bad ones.
    pub bad: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.bad += other.bad;
    }
}

impl Sub for Counts {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            total: self.total - other.total,
            bad: self.bad - other.bad,
        }
    }
}

/// What weights add to the events seen: Σ(w−1), of the bad ones, and Σ(w²−1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Excess {
    total: f64,
    bad: f64,
    squared: f64,
}

impl AddAssign for Excess {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.bad += other.bad;
        self.squared += other.squared;
    }
}

impl Sub for Excess {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            total: self.total - other.total,
            bad: self.bad - other.bad,
            squared: self.squared - other.squared,
        }
    }
}

/// Events of one kind with the outcome and the weight they share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Occurrence {
    /// End of the event.
    pub at: UnixNanos,
    /// Whether it spends budget.
    pub bad: bool,
    /// Adjusted count; 1 unless the event was sampled.
    pub weight: f64,
    /// False for events outside of the held range, which only the monotonic counters see.
    pub windowed: bool,
}

/// Total and bad events in all windows, with weights only where they are not 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    observed: Tiers<Counts>,
    excess: Option<Box<Tiers<Excess>>>,
    unwindowed: WindowSums,
    /// Replayed from the history: in the windows, not in the counters, which [`Self::carry`] restores.
    replayed: WindowSums,
}

impl Tally {
    /// A tally without events.
    pub fn starting_at(at: UnixNanos) -> Self {
        Self {
            observed: Tiers::starting_at(at / NANOS_PER_SEC),
            excess: None,
            unwindowed: WindowSums::default(),
            replayed: WindowSums::default(),
        }
    }

    /// Counts one event.
    #[inline]
    pub fn record(&mut self, event: Occurrence) {
        let Occurrence {
            at,
            bad,
            weight,
            windowed,
        } = event;
        if !windowed {
            self.unwindowed = self.unwindowed.plus(sums_of_one(bad, weight));
            return;
        }
        let secs = at / NANOS_PER_SEC;
        self.observed.add(
            secs,
            Counts {
                total: 1,
                bad: u64::from(bad),
            },
        );
        #[expect(clippy::float_cmp, reason = "exactly 1 is what unsampled events carry")]
        if weight != 1.0 {
            self.add_excess(secs, sums_of_one(bad, weight));
        }
    }

    /// Counts the sums of one past minute, which is how history is replayed.
    pub fn record_sums(&mut self, at: UnixNanos, sums: WindowSums) {
        self.replayed = self.replayed.plus(sums);
        let secs = at / NANOS_PER_SEC;
        self.observed.add(
            secs,
            Counts {
                total: sums.observed_total,
                bad: sums.observed_bad,
            },
        );
        #[expect(clippy::float_cmp, reason = "equal unless weights were added")]
        if sums.total != sums.observed_total as f64 || sums.squared != sums.total {
            self.add_excess(secs, sums);
        }
    }

    fn add_excess(&mut self, secs: u64, sums: WindowSums) {
        let (total, bad) = (sums.observed_total as f64, sums.observed_bad as f64);
        let amount = Excess {
            total: sums.total - total,
            bad: sums.bad - bad,
            squared: sums.squared - total,
        };
        self.excess
            .get_or_insert_with(|| Box::new(Tiers::starting_at(secs)))
            .add(secs, amount);
    }

    /// The sums of a window that ends now.
    pub fn window(&self, now: UnixNanos, window: Window) -> WindowSums {
        let now_secs = now / NANOS_PER_SEC;
        let excess = self
            .excess
            .as_ref()
            .map(|excess| excess.window(now_secs, window));
        sums_of(self.observed.window(now_secs, window), excess)
    }

    /// The sums of every window, in the order of [`Window::ALL`].
    pub fn windows(&self, starts: &WindowStarts) -> [WindowSums; Window::ALL.len()] {
        let observed = self.observed.windows(starts);
        let Some(excess) = &self.excess else {
            return observed.map(|observed| sums_of(observed, None));
        };
        let mut sums = [WindowSums::default(); Window::ALL.len()];
        for ((sums, observed), excess) in sums.iter_mut().zip(observed).zip(excess.windows(starts))
        {
            *sums = sums_of(observed, Some(excess));
        }
        sums
    }

    /// The sums of each of the last [`MINUTES_HELD`] minutes up to the newest event, the oldest first.
    pub fn minutes(&self) -> impl Iterator<Item = (u64, WindowSums)> {
        let excess: BTreeMap<u64, Excess> = self
            .excess
            .iter()
            .flat_map(|excess| excess.minutes())
            .collect();
        let observed = self.observed.minutes();
        observed
            .map(move |(minute, counts)| (minute, sums_of(counts, excess.get(&minute).copied())))
    }

    /// Goes on from the counters of an earlier run; the windows stay as they are.
    pub fn carry(&mut self, sums: WindowSums) {
        self.unwindowed = self.unwindowed.plus(sums);
    }

    /// Begins the counters anew; the windows stay as they are.
    pub fn forget_counters(&mut self) {
        self.unwindowed = WindowSums::default();
        let excess = self.excess.as_ref().map(|excess| excess.current());
        self.replayed = sums_of(self.observed.current(), excess);
    }

    /// The sums since the beginning, with the events outside of every window, without the replayed ones.
    pub fn since_start(&self) -> WindowSums {
        sums_of(
            self.observed.current(),
            self.excess.as_ref().map(|excess| excess.current()),
        )
        .plus(self.unwindowed)
        .minus(self.replayed)
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: &Self) {
        self.observed.merge(&other.observed);
        match (&mut self.excess, &other.excess) {
            (_, None) => {}
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
        }
        self.unwindowed = self.unwindowed.plus(other.unwindowed);
        self.replayed = self.replayed.plus(other.replayed);
    }
}

/// The sums of a single event.
pub fn sums_of_one(bad: bool, weight: f64) -> WindowSums {
    WindowSums {
        total: weight,
        bad: if bad { weight } else { 0.0 },
        squared: weight * weight,
        observed_total: 1,
        observed_bad: u64::from(bad),
    }
}

fn sums_of(observed: Counts, excess: Option<Excess>) -> WindowSums {
    let excess = excess.unwrap_or_default();
    let (total, bad) = (observed.total as f64, observed.bad as f64);
    WindowSums {
        total: total + excess.total,
        bad: bad + excess.bad,
        squared: total + excess.squared,
        observed_total: observed.total,
        observed_bad: observed.bad,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START_SECS: u64 = 1_700_000_000;
    const DAY_SECS: u64 = 86_400;

    /// Events with the half that each belongs to.
    type Halves = Vec<((u64, bool, f64), bool)>;

    fn tally_of(events: &[(u64, bool, f64)]) -> Tally {
        let mut tally =
            Tally::starting_at(events.first().map_or(0, |event| event.0) * NANOS_PER_SEC);
        for (secs, bad, weight) in events {
            tally.record(Occurrence {
                at: secs * NANOS_PER_SEC,
                bad: *bad,
                weight: *weight,
                windowed: true,
            });
        }
        tally
    }

    /// Events after `from_secs`, by keeping every one of them.
    fn naive(events: &[(u64, bool, f64)], from_secs: u64) -> WindowSums {
        events
            .iter()
            .filter(|event| event.0 >= from_secs)
            .fold(WindowSums::default(), |sums, event| {
                sums.plus(sums_of_one(event.1, event.2))
            })
    }

    fn any_event() -> impl Strategy<Value = (u64, bool, f64)> {
        let age = prop_oneof![0..600_u64, 0..7_200_u64, 0..DAY_SECS, 0..32 * DAY_SECS];
        let weight = prop_oneof![4 => Just(1), 1 => 1..64_u32].prop_map(f64::from);
        (age, any::<bool>(), weight)
            .prop_map(|(age, bad, weight)| (START_SECS + 40 * DAY_SECS - age, bad, weight))
    }

    proptest! {
        /// The window lies between the naive windows whose start is 1/30 later and 1/30 earlier.
        #[test]
        fn property_every_window_equals_the_naive_model_up_to_a_thirtieth(
            events in proptest::collection::vec(any_event(), 1..200),
        ) {
            let now_secs = START_SECS + 40 * DAY_SECS;
            let tally = tally_of(&events);
            for window in Window::ALL {
                let slack = window.secs() / 30;
                let start = now_secs - window.secs();
                let least = naive(&events, start + slack);
                let most = naive(&events, start - slack);
                let seen = tally.window(now_secs * NANOS_PER_SEC, window);
                prop_assert!(seen.observed_total >= least.observed_total, "{window:?} {seen:?} {least:?}");
                prop_assert!(seen.observed_total <= most.observed_total, "{window:?} {seen:?} {most:?}");
                prop_assert!(seen.observed_bad >= least.observed_bad);
                prop_assert!(seen.observed_bad <= most.observed_bad);
                let all = tally.windows(&WindowStarts::at(now_secs * NANOS_PER_SEC));
                let at = Window::ALL.iter().position(|other| *other == window).unwrap();
                prop_assert_eq!(all[at], seen);
                prop_assert!(seen.total >= least.total - 1e-6 && seen.total <= most.total + 1e-6);
                prop_assert!(seen.squared >= least.squared - 1e-6 && seen.squared <= most.squared + 1e-6);
            }
            prop_assert_eq!(tally.since_start().observed_total, events.len() as u64);
        }

        /// Where the events of one stream are counted does not matter.
        #[test]
        fn property_merging_parts_equals_counting_the_whole(
            events in proptest::collection::vec((any_event(), any::<bool>()), 2..200),
        ) {
            let whole: Vec<_> = events.iter().map(|event| event.0).collect();
            let (left, right): (Halves, Halves) =
                events.iter().copied().partition(|event| event.1);
            let mut merged = tally_of(&left.iter().map(|event| event.0).collect::<Vec<_>>());
            merged.merge(&tally_of(&right.iter().map(|event| event.0).collect::<Vec<_>>()));
            let expected = tally_of(&whole);
            let now = (START_SECS + 40 * DAY_SECS) * NANOS_PER_SEC;
            for window in Window::ALL {
                let (seen, wanted) = (merged.window(now, window), expected.window(now, window));
                prop_assert_eq!(seen.observed_total, wanted.observed_total, "{:?}", window);
                prop_assert_eq!(seen.observed_bad, wanted.observed_bad);
                prop_assert!((seen.total - wanted.total).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn the_order_of_events_does_not_matter() {
        let mut events: Vec<_> = (0..5_000_u64)
            .map(|n| (START_SECS + (n * 7_919) % 40_000, n % 3 == 0, 1.0))
            .collect();
        let shuffled = tally_of(&events);
        events.sort_by_key(|event| event.0);
        let sorted = tally_of(&events);
        let now = (START_SECS + 40_000) * NANOS_PER_SEC;
        for window in Window::ALL {
            assert_eq!(
                shuffled.window(now, window),
                sorted.window(now, window),
                "{window:?}"
            );
        }
    }

    #[test]
    fn a_window_empties_when_its_length_has_passed_without_events() {
        let tally = tally_of(&[(START_SECS, true, 1.0)]);
        for window in Window::ALL {
            let slack = window.secs() / 30;
            let inside = (START_SECS + window.secs() - slack - FINEST_SECS) * NANOS_PER_SEC;
            let outside = (START_SECS + window.secs() + slack + FINEST_SECS) * NANOS_PER_SEC;
            assert_eq!(tally.window(inside, window).observed_bad, 1, "{window:?}");
            assert_eq!(tally.window(outside, window).observed_bad, 0, "{window:?}");
        }
    }

    #[test]
    fn events_outside_of_the_held_range_reach_only_the_monotonic_counters() {
        let mut tally = tally_of(&[(START_SECS, false, 1.0)]);
        tally.record(Occurrence {
            at: 5,
            bad: true,
            weight: 1.0,
            windowed: false,
        });
        assert_eq!(tally.since_start().observed_bad, 1);
        assert_eq!(
            tally
                .window(START_SECS * NANOS_PER_SEC, Window::D30)
                .observed_bad,
            0
        );
    }

    #[test]
    fn the_finer_tiers_hold_their_window_when_the_newest_slot_is_ahead() {
        let mut events: Vec<_> = (0..300_u64).map(|n| (START_SECS + n, false, 1.0)).collect();
        events.push((START_SECS + 299 + AHEAD_SECS_MAX, false, 1.0));
        let (tally, now) = (tally_of(&events), (START_SECS + 300) * NANOS_PER_SEC);
        assert_eq!(tally.window(now, Window::M5).observed_total, 301);
        assert_eq!(tally.windows(&WindowStarts::at(now))[0].observed_total, 301);
    }

    #[test]
    fn sampled_events_have_fewer_effective_events_than_their_weight() {
        let tally = tally_of(&[(START_SECS, false, 10.0), (START_SECS, false, 1.0)]);
        let sums = tally.window(START_SECS * NANOS_PER_SEC, Window::H1);
        assert!((sums.effective_events() - 121.0 / 101.0).abs() < 1e-9);
    }

    #[test]
    fn replayed_minutes_give_the_same_windows_as_the_events() {
        let events = [
            (START_SECS, false, 1.0),
            (START_SECS + 1, true, 4.0),
            (START_SECS + 2, false, 1.0),
        ];
        let mut replayed = Tally::starting_at(START_SECS * NANOS_PER_SEC);
        replayed.record_sums(START_SECS * NANOS_PER_SEC, naive(&events, 0));
        let now = (START_SECS + 5) * NANOS_PER_SEC;
        assert_eq!(
            replayed.window(now, Window::H1),
            tally_of(&events).window(now, Window::H1)
        );
    }
}
