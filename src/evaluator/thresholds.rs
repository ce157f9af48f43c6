//! A verdict as a score between two thresholds, for controllers that know nothing else: at `pass` and above it goes on,
//! below `marginal` it goes back, and between them nobody knows.

use crate::model::report::Verdict;

/// The two thresholds of a canary analysis as Kayenta has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    pass: f64,
    marginal: f64,
}

/// Why thresholds leave a verdict without a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// No score would mean that it failed.
    #[error("`marginal` must be 1 or more: no score is below it, so that nothing could fail")]
    NothingFails,
    /// No score would mean that nothing is known.
    #[error(
        "`pass` must be 1 or more above `marginal`: a score between them says that too little is known"
    )]
    NothingOpen,
    /// No score would mean that it passed.
    #[error("`pass` must be 100 or less: no score is above")]
    NothingPasses,
}

impl Thresholds {
    /// Thresholds that leave a whole number for every verdict.
    pub fn new(pass: f64, marginal: f64) -> Result<Self, ThresholdError> {
        let at_least = |value: f64, least: f64| value >= least;
        if !at_least(marginal, 1.0) {
            Err(ThresholdError::NothingFails)
        } else if !at_least(pass, marginal + 1.0) {
            Err(ThresholdError::NothingOpen)
        } else if !at_least(100.0, pass) {
            Err(ThresholdError::NothingPasses)
        } else {
            Ok(Self { pass, marginal })
        }
    }

    /// The score nearest to `score`, 0 to 100, that says what the verdict says; whole, since readers cut it.
    pub fn score(self, verdict: Verdict, score: Option<f64>) -> f64 {
        let (least, most) = match verdict {
            Verdict::Pass | Verdict::Warn => (self.pass.ceil(), 100.0),
            Verdict::Inconclusive => (self.marginal.ceil(), self.pass.ceil() - 1.0),
            Verdict::Fail => (0.0, self.marginal.ceil() - 1.0),
        };
        let usual = match verdict {
            Verdict::Pass | Verdict::Warn => most,
            Verdict::Inconclusive | Verdict::Fail => least,
        };
        // `clamp` would panic where the ends cross.
        score.unwrap_or(usual).floor().min(most).max(least)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thresholds_that_leave_a_verdict_without_a_score_are_refused() {
        for (pass, marginal, wanted) in [
            (95.0, 0.0, ThresholdError::NothingFails),
            (95.0, f64::NAN, ThresholdError::NothingFails),
            (75.0, 75.0, ThresholdError::NothingOpen),
            (60.0, 75.0, ThresholdError::NothingOpen),
            (101.0, 75.0, ThresholdError::NothingPasses),
        ] {
            assert_eq!(Thresholds::new(pass, marginal), Err(wanted));
        }
    }

    #[test]
    fn the_own_score_is_kept_where_it_says_the_same() {
        let thresholds = Thresholds::new(90.0, 75.0).unwrap();
        let score = |verdict, own| thresholds.score(verdict, own);
        for (verdict, own, wanted) in [
            (Verdict::Pass, Some(100.0), 100.0),
            (Verdict::Pass, Some(97.6), 97.0),
            (Verdict::Warn, Some(50.0), 90.0),
            (Verdict::Pass, None, 100.0),
            (Verdict::Inconclusive, None, 75.0),
            (Verdict::Inconclusive, Some(100.0), 89.0),
            (Verdict::Fail, Some(80.0), 74.0),
            (Verdict::Fail, Some(30.0), 30.0),
            (Verdict::Fail, None, 0.0),
        ] {
            let found = score(verdict, own);
            assert!((found - wanted).abs() < 1e-9, "{verdict:?} {own:?} {found}");
        }
    }

    proptest! {
        /// Argo Rollouts cuts the score to a whole number, then: `>= pass` successful, `>= marginal` inconclusive, else
        /// failed.
        #[test]
        fn every_reader_hears_the_verdict(
            marginal in 1.0_f64..99.0, width in 1.0_f64..99.0, own in proptest::option::of(-10.0_f64..110.0),
        ) {
            let pass = (marginal + width).min(100.0);
            if let Ok(thresholds) = Thresholds::new(pass, marginal) {
                for verdict in Verdict::ALL {
                    let score = thresholds.score(verdict, own).floor();
                    let heard = if score >= pass {
                        Verdict::Pass
                    } else if score >= marginal {
                        Verdict::Inconclusive
                    } else {
                        Verdict::Fail
                    };
                    let wanted = if verdict == Verdict::Warn { Verdict::Pass } else { verdict };
                    prop_assert_eq!(heard, wanted, "{} of {} and {}", score, pass, marginal);
                }
            }
        }
    }
}
