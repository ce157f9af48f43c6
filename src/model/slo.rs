//! Service level indicators and objectives.

use serde::{Deserialize, Serialize};

use crate::model::budget_policy::PolicyChoice;
use crate::model::period::{Period, Shorthand};
use crate::model::series::ServiceKey;

/// Name of the counter of the good and bad events of each adopted objective.
pub const EVENTS_METRIC: &str = "slo_copilot_slo_events_total";
const SECS_PER_DAY: u64 = 86_400;

/// Longest slice of time: with longer ones no short burn-rate window would hold two of them.
const SLICE_SECS_MAX: u64 = 3_600;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Sli {
    /// Events without an error over all events.
    Availability,
    /// The complement of availability; reported, never counted a second time.
    ErrorRate,
    /// Events without an error and at most this slow, over all events without an error.
    Latency {
        /// Threshold in microseconds, an edge of the latency ladder when we chose it.
        threshold_micros: u64,
    },
}

impl Sli {
    /// As in names and annotations: `availability`, `error-rate`, `latency`.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Availability => "availability",
            Self::ErrorRate => "error-rate",
            Self::Latency { .. } => "latency",
        }
    }
}

/// Who adopted an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveSource {
    /// Written in the configuration.
    Config,
    /// A candidate that a person accepted.
    Accepted,
    /// A ready candidate that `objectives.adopt: auto` adopted.
    Auto,
    /// An OpenSLO document of `objectives.files` or `--objectives`.
    File,
    /// A candidate that trace files are judged by for want of an objective; nobody adopted it.
    Fitted,
}

/// How good and bad are counted against the target (OpenSLO's `budgetingMethod`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "method", deny_unknown_fields)]
pub enum Budgeting {
    /// Good events over all events.
    #[default]
    Occurrences,
    /// Good slices of time over the slices that were expected.
    Timeslices {
        /// Ratio of good events that makes a slice good, above 0 and at most 1.
        slice_target: f64,
        /// Length of a slice.
        slice: Shorthand,
        /// What slices without events count as.
        #[serde(default)]
        empty: EmptySlices,
    },
    /// Mean of the slices' ratios of good events.
    RatioTimeslices {
        /// Length of a slice.
        slice: Shorthand,
        /// What slices without events count as.
        #[serde(default)]
        empty: EmptySlices,
    },
}

impl Budgeting {
    /// Length of a slice, if time is judged rather than events.
    pub fn slice(self) -> Option<Shorthand> {
        match self {
            Self::Occurrences => None,
            Self::Timeslices { slice, .. } | Self::RatioTimeslices { slice, .. } => Some(slice),
        }
    }

    /// What slices without events count as; nothing of events.
    pub fn empty_slices(self) -> EmptySlices {
        match self {
            Self::Occurrences => EmptySlices::Excluded,
            Self::Timeslices { empty, .. } | Self::RatioTimeslices { empty, .. } => empty,
        }
    }

    /// In PromQL a slice is bad with a higher error ratio than this; nothing where the ratio itself is what it spends.
    pub fn slice_bad_above(self) -> Option<f64> {
        // Events of increases are no whole numbers, so that equal ratios may differ by a hair.
        const TOLERANCE: f64 = 1e-9;
        match self {
            Self::Timeslices { slice_target, .. } => {
                let allowed = (slice_target < 1.0).then(|| exact_ratio(1.0 - slice_target));
                Some(allowed.unwrap_or_default() + TOLERANCE)
            }
            Self::Occurrences | Self::RatioTimeslices { .. } => None,
        }
    }

    /// What is counted against the budget, in the plural.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Occurrences => "events",
            Self::Timeslices { .. } | Self::RatioTimeslices { .. } => "slices",
        }
    }

    /// Whether a budget can be kept so; if not, the field that is wrong, and what to write instead.
    pub fn check(self) -> Result<(), (&'static str, &'static str)> {
        let slice_secs = self.slice().map_or(SLICE_SECS_MAX, Shorthand::secs);
        if slice_secs > SLICE_SECS_MAX || !SECS_PER_DAY.is_multiple_of(slice_secs) {
            let remedy =
                "must be whole minutes up to 1h that divide a day, for example 1m, 5m or 1h";
            return Err(("slice", remedy));
        }
        match self {
            Self::Timeslices { slice_target, .. }
                if !(slice_target > 0.0 && slice_target <= 1.0) =>
            {
                Err((
                    "slice_target",
                    "must be a ratio above 0 and at most 1, for example 0.99",
                ))
            }
            Self::Occurrences | Self::Timeslices { .. } | Self::RatioTimeslices { .. } => Ok(()),
        }
    }

    /// The same method with the same slices, whatever makes one good.
    pub fn agrees_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Occurrences, Self::Occurrences) => true,
            (
                Self::Timeslices { slice, empty, .. },
                Self::Timeslices {
                    slice: other_slice,
                    empty: other_empty,
                    ..
                },
            )
            | (
                Self::RatioTimeslices { slice, empty },
                Self::RatioTimeslices {
                    slice: other_slice,
                    empty: other_empty,
                },
            ) => slice.secs() == other_slice.secs() && empty == other_empty,
            (Self::Occurrences | Self::Timeslices { .. } | Self::RatioTimeslices { .. }, _) => {
                false
            }
        }
    }
}

/// What a slice without events counts as; the specification leaves it open, so it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum EmptySlices {
    /// As good: nobody was let down.
    #[default]
    Good,
    /// As bad: traffic that stays away is an outage.
    Bad,
    /// As not expected; the report says how much was measured.
    Excluded,
}

/// Membership in a composite, which is judged in place of its members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CompositeMember {
    /// Name of the composite.
    pub name: String,
    /// OpenSLO's `compositeWeight`, above 0.
    pub weight: f64,
}

/// An adopted objective. It never moves by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Objective {
    /// RFC 1123 label, unique.
    pub name: String,
    /// The service's name.
    pub service: String,
    /// `service.namespace`; null means any.
    pub namespace: Option<String>,
    /// `deployment.environment.name`; null means any.
    pub environment: Option<String>,
    /// One operation; null means the whole service.
    pub operation: Option<String>,
    /// What is measured.
    pub sli: Sli,
    /// Wanted ratio of good events, 0 < target < 1.
    pub target: f64,
    /// Period of the budget.
    pub window: Period,
    /// How good and bad are counted.
    #[serde(default)]
    pub budgeting: Budgeting,
    /// The composite that it is part of.
    #[serde(default)]
    pub composite: Option<CompositeMember>,
    /// The verdict is inconclusive while this objective is.
    pub required: bool,
    /// Weight in the score.
    pub weight: f64,
    /// The error budget policy; null means the one that holds for all.
    #[serde(default)]
    pub policy: Option<PolicyChoice>,
    /// Who adopted it.
    pub source: ObjectiveSource,
}

impl Objective {
    /// An objective of a whole service in any namespace and environment: 30 days, by occurrences, weight 1, from the
    /// configuration.
    pub fn new(name: &str, service: &str, sli: Sli, target: f64) -> Self {
        Self {
            name: name.to_owned(),
            service: service.to_owned(),
            namespace: None,
            environment: None,
            operation: None,
            sli,
            target,
            window: Period::DEFAULT,
            budgeting: Budgeting::Occurrences,
            composite: None,
            required: false,
            weight: 1.0,
            policy: None,
            source: ObjectiveSource::Config,
        }
    }

    /// The error budget as a ratio: 1 − target.
    pub fn budget(&self) -> f64 {
        exact_ratio(1.0 - self.target)
    }

    /// Whether the objective speaks of this service.
    pub fn selects(&self, service: &ServiceKey) -> bool {
        *self.service == *service.name
            && self
                .namespace
                .as_deref()
                .is_none_or(|wanted| *wanted == *service.namespace)
            && self
                .environment
                .as_deref()
                .is_none_or(|wanted| *wanted == *service.environment)
    }

    /// Key of what is kept of this objective on the disk: its name and what its sums depend on. With another threshold,
    /// slice or time zone the sums of before would mean something else, so a new account begins.
    pub fn account(&self) -> String {
        let counted = (
            (&self.service, &self.namespace, &self.environment),
            (&self.operation, self.sli, self.budgeting),
            self.window.day_grid(),
        );
        account_key(&self.name, &counted)
    }

    /// Key of what is kept of its composite, if it has one that counts slices.
    pub fn composite_account(&self) -> Option<String> {
        let composite = self.composite.as_ref()?;
        let slice = self.budgeting.slice()?;
        let counted = (slice.secs(), self.window.day_grid());
        // No objective's name holds a slash.
        Some(account_key(
            &format!("composite/{}", composite.name),
            &counted,
        ))
    }

    /// Whether both can be members of one composite; if not, what they must share.
    pub fn agrees_with(&self, other: &Self) -> Result<(), &'static str> {
        if !self.budgeting.agrees_with(other.budgeting) {
            return Err("budgeting method, slice and policy for empty slices");
        }
        if self.window != other.window {
            return Err("window");
        }
        #[expect(clippy::float_cmp, reason = "the same number was written")]
        if self.budgeting != Budgeting::Occurrences && self.target != other.target {
            return Err("target, since their slices share one budget");
        }
        Ok(())
    }
}

fn account_key(name: &str, counted: &impl Serialize) -> String {
    // Plain data always encodes.
    let counted = serde_json::to_vec(counted).unwrap_or_default();
    format!("{name}@{:016x}", xxhash_rust::xxh3::xxh3_64(&counted))
}

/// A ratio as people write it, without the noise of binary arithmetic: 0.001 for 1 − 0.999. Still above 0 and below 1.
pub fn exact_ratio(ratio: f64) -> f64 {
    let rounded = (ratio * 1e12).round() / 1e12;
    if rounded > 0.0 && rounded < 1.0 {
        rounded
    } else {
        ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeslices(slice: &str, slice_target: f64) -> Budgeting {
        Budgeting::Timeslices {
            slice_target,
            slice: slice.parse().unwrap(),
            empty: EmptySlices::Good,
        }
    }

    #[test]
    fn slices_are_whole_minutes_that_divide_a_day() {
        for slice in ["1m", "5m", "45m", "60m", "1h"] {
            assert_eq!(timeslices(slice, 0.99).check(), Ok(()), "{slice}");
        }
        for slice in ["7m", "2h", "1d"] {
            assert_eq!(timeslices(slice, 0.99).check().unwrap_err().0, "slice");
        }
        for target in [0.0, 1.1, f64::NAN] {
            let field = timeslices("5m", target).check().unwrap_err().0;
            assert_eq!(field, "slice_target");
        }
    }

    #[test]
    fn a_slice_at_its_target_is_good_to_promql() {
        for (slice_target, limit) in [
            (0.95, "0.050000001"),
            (0.9, "0.100000001"),
            (1.0, "0.000000001"),
        ] {
            let above = timeslices("5m", slice_target).slice_bad_above();
            assert_eq!(above.unwrap().to_string(), limit);
        }
        assert_eq!(Budgeting::Occurrences.slice_bad_above(), None);
    }

    #[test]
    fn another_definition_begins_another_account_and_another_target_does_not() {
        let base = Objective::new("o", "s", Sli::Availability, 0.99);
        let with = |change: &dyn Fn(&mut Objective)| {
            let mut other = base.clone();
            change(&mut other);
            other.account()
        };
        assert_eq!(with(&|other| other.target = 0.9), base.account());
        assert_eq!(
            with(&|other| other.window = Period::Rolling("90d".parse().unwrap())),
            base.account()
        );
        for changed in [
            with(&|other| other.service = "t".to_owned()),
            with(&|other| {
                other.sli = Sli::Latency {
                    threshold_micros: 1,
                }
            }),
            with(&|other| other.budgeting = timeslices("5m", 0.99)),
        ] {
            assert_ne!(changed, base.account());
        }
    }
}
