//! Sampling that is learnt: tabular Q-learning with the seed's three actions.
//!
//! The state is how much of the budget is being spent (ten bins up to twice the budget) and whether something is wrong. An
//! action halves the share that is kept, leaves it, or doubles it. The reward is what was really kept of errors and slow
//! traces, less the distance from the budget. It is judged against the fixed rule of [`super::controller`] in the study
//! (`cargo bench --bench sampling_study`) and nowhere used otherwise.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::model::recommendation::SamplingAction;

/// Bins of the spending, each a fifth of the budget wide.
const BINS: usize = 10;

const ACTIONS: [SamplingAction; 3] = [
    SamplingAction::DecreaseSampling,
    SamplingAction::MaintainSampling,
    SamplingAction::IncreaseSampling,
];

/// The seed's: learning rate, discount, and exploration from all to a tenth.
const ALPHA: f64 = 0.1;
const GAMMA: f64 = 0.95;
const EXPLORE_MIN: f64 = 0.1;

/// How much being off the budget by all of it costs against losing every anomaly.
const BUDGET_COST: f64 = 5.0;

/// What a policy sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Situation {
    /// What is being spent over what should be.
    pub spending: f64,
    /// Whether something is wrong.
    pub is_anomalous: bool,
}

/// A table of what each action is worth in each state.
#[derive(Debug)]
pub struct Policy {
    worth: [[f64; 3]; 2 * BINS],
    explore: f64,
    rng: StdRng,
}

impl Policy {
    /// One that knows nothing and tries everything.
    pub fn new(seed: u64) -> Self {
        Self {
            worth: [[0.0; 3]; 2 * BINS],
            explore: 1.0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Stops to try what is not known to be best.
    pub fn settle(&mut self) {
        self.explore = 0.0;
    }

    /// The action in a situation: the best one, or while it learns, any.
    pub fn act(&mut self, situation: Situation) -> SamplingAction {
        if self.rng.random::<f64>() < self.explore {
            let at = self.rng.random_range(0..ACTIONS.len());
            return ACTIONS.get(at).copied().unwrap_or_default();
        }
        let worth = self.worth_of(situation);
        // Where nothing is known, nothing is changed: the first of equals would always be a decrease.
        let order = [1, 2, 0].into_iter().rev();
        let best = order.max_by(|a, b| at(&worth, *a).total_cmp(&at(&worth, *b)));
        best.and_then(|best| ACTIONS.get(best).copied())
            .unwrap_or_default()
    }

    /// Learns from what an action came to.
    pub fn learn(
        &mut self,
        before: Situation,
        action: SamplingAction,
        reward: f64,
        after: Situation,
    ) {
        let next = self.worth_of(after).into_iter().fold(f64::MIN, f64::max);
        let place = ACTIONS.iter().position(|own| *own == action);
        let row = self.worth.get_mut(state(before));
        if let Some(worth) = row.zip(place).and_then(|(row, place)| row.get_mut(place)) {
            *worth += ALPHA * (reward + GAMMA * next - *worth);
        }
        self.explore = (self.explore * 0.999).max(EXPLORE_MIN);
    }

    fn worth_of(&self, situation: Situation) -> [f64; 3] {
        self.worth
            .get(state(situation))
            .copied()
            .unwrap_or_default()
    }
}

/// The reward of a time in which this share of the errors and slow traces was kept.
pub fn reward(situation: Situation, anomalies_kept: f64) -> f64 {
    anomalies_kept - BUDGET_COST * (situation.spending - 1.0).abs()
}

/// What an action does to the share that is kept.
pub fn factor(action: SamplingAction) -> f64 {
    match action {
        SamplingAction::DecreaseSampling => 0.5,
        SamplingAction::MaintainSampling => 1.0,
        SamplingAction::IncreaseSampling => 2.0,
    }
}

fn at(worth: &[f64; 3], place: usize) -> f64 {
    worth.get(place).copied().unwrap_or(f64::MIN)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the number of bins"
)]
fn state(situation: Situation) -> usize {
    let bins = BINS as f64;
    let bin = (situation.spending * bins / 2.0).clamp(0.0, bins - 1.0) as usize;
    bin + if situation.is_anomalous { BINS } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spending(spending: f64) -> Situation {
        Situation {
            spending,
            is_anomalous: false,
        }
    }

    /// The seed's, untrained, always said decrease.
    #[test]
    fn who_knows_nothing_changes_nothing() {
        let mut policy = Policy::new(1);
        policy.settle();
        for share in [0.1, 1.0, 5.0] {
            assert_eq!(
                policy.act(spending(share)),
                SamplingAction::MaintainSampling
            );
        }
    }

    #[test]
    fn it_learns_to_go_where_the_budget_is() {
        let mut policy = Policy::new(7);
        let mut share: f64 = 1.0;
        for _ in 0..20_000 {
            let before = spending(share);
            let action = policy.act(before);
            share = (share * factor(action)).clamp(0.05, 4.0);
            let after = spending(share);
            policy.learn(before, action, reward(after, 1.0), after);
        }
        policy.settle();
        assert_eq!(policy.act(spending(1.9)), SamplingAction::DecreaseSampling);
        assert_eq!(policy.act(spending(0.5)), SamplingAction::IncreaseSampling);
        assert_eq!(policy.act(spending(1.0)), SamplingAction::MaintainSampling);
    }
}
