//! From demand and budget to a plan: what is left of today's budget is divided among the root operations for the rest of the
//! day; rates move towards that in bounded steps.
//!
//! The budget is a day's. What an incident takes, the rest of the same day goes without, so it may take a part of what is
//! left and no more; what it takes beyond the day, within `incident_overdraft`, is paid back by the days after it. What a
//! day does not spend is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::adapter::sampling::allocate::{Division, RATIO_MIN, Stratum, allocate};
use crate::adapter::sampling::roots::RootName;
use crate::adapter::sampling::settings::Config;
use crate::model::recommendation::SamplingAction;
use crate::model::sampling::{OperationSampling, SamplingPlan, ServiceSampling};
use crate::model::{NANOS_PER_SEC, UnixNanos};

const DAY_NANOS: u64 = 86_400 * NANOS_PER_SEC;

/// So far is looked ahead at least, or the last minutes of a day would be sampled by what chance left of its budget.
const AHEAD_NANOS_MIN: u64 = 1_800 * NANOS_PER_SEC;

/// A day pays back this part of its budget at most.
const PAYBACK_MAX: f64 = 0.1;

/// The rest of a day has this part of its even share at least, whatever was spent before: with next to nothing of it, no
/// interval would hold.
const REST_MIN: f64 = 0.25;

/// An incident is expected to go on for so long: what it may take lasts that long at least.
const INCIDENT_NANOS: u64 = 1_800 * NANOS_PER_SEC;

/// A rate that would change by less stays, so that plans do not change all the time.
const CHANGE_MIN: f64 = 0.02;

/// A change of all that is kept by more is an action.
const ACTION_MIN: f64 = 0.05;

/// The traces that begin with one operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// The operation.
    pub name: RootName,
    /// Its traces; `traces` are those of a day at the present rate.
    pub stratum: Stratum,
    /// Whether an incident touches it: it is sampled in full, as far as the budget goes.
    pub is_incident: bool,
}

/// What was spent, in budgets of a day.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Account {
    /// Days since the Unix epoch.
    day: u64,
    spent: f64,
    /// What there would have been to spend on, were everything kept.
    offered: f64,
    /// The part of the day before the start, of which nothing is known.
    missed: f64,
    debt: f64,
}

impl Account {
    /// What today may spend.
    fn budget(&self) -> f64 {
        1.0 - self.debt.min(PAYBACK_MAX)
    }

    /// What today may still spend; below 0 if it spent more.
    fn left(&self) -> f64 {
        self.budget() - self.spent
    }

    /// What the rest of the day would have, were the whole day sampled evenly. `expected` is what the rest will offer.
    fn even(&self, expected: f64) -> f64 {
        let seen = 1.0 - self.missed;
        self.budget() * seen * share(expected, self.offered + expected)
    }

    /// Goes on to a day. A clock that was years ahead for a while begins anew; one that is set back by seconds at midnight does
    /// not.
    fn roll(&mut self, day: u64) {
        let days = day.saturating_sub(self.day);
        if self.day.saturating_sub(day) > 1 {
            (self.spent, self.offered, self.missed, self.debt) = (0.0, 0.0, 0.0, 0.0);
            self.day = day;
        } else if days > 0 {
            let skipped = (days - 1) as f64;
            self.debt = (self.debt + self.spent - 1.0 - skipped).max(0.0);
            self.spent = 0.0;
            self.offered = 0.0;
            self.missed = 0.0;
            self.day = day;
        }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// Which way all that is kept is moving.
    pub action: SamplingAction,
    /// The share of all spans that is kept now.
    pub kept_ratio: f64,
    /// The share that the budget allows, towards which it moves.
    pub wanted_ratio: f64,
}

/// Keeps the plan.
#[derive(Debug)]
pub struct Controller {
    config: Config,
    ratios: BTreeMap<RootName, f64>,
    plan: Arc<SamplingPlan>,
    account: Option<Account>,
}

impl Controller {
    /// All is sampled in full.
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            ratios: BTreeMap::new(),
            plan: Arc::default(),
            account: None,
        }
    }

    /// The plan in force.
    pub fn plan(&self) -> &Arc<SamplingPlan> {
        &self.plan
    }

    /// The ratio in force of an operation; that of its service if it is new.
    pub fn ratio(&self, name: &RootName) -> f64 {
        let own = self.ratios.get(name).copied();
        own.unwrap_or_else(|| self.plan.ratio(&name.0, &name.1))
    }

    /// Spans that are kept of these demands by the ratios in force.
    pub fn kept_spans<'a>(&self, demands: impl IntoIterator<Item = &'a Demand>) -> f64 {
        let each = demands.into_iter();
        each.map(|own| own.stratum.kept_spans(self.ratio(&own.name)))
            .sum()
    }

    /// Notes that so much was kept of so much, in budgets of a day. A start in the middle of a day supposes that what came
    /// before was spent evenly.
    pub fn spend(&mut self, now: UnixNanos, kept: f64, offered: f64) {
        let account = self.account_at(now);
        account.spent += kept;
        account.offered += offered;
    }

    /// What today spent of its budget, and what is owed from days before.
    pub fn spent(&self) -> (f64, f64) {
        self.account.map_or((0.0, 0.0), |own| (own.spent, own.debt))
    }

    fn account_at(&mut self, now: UnixNanos) -> &mut Account {
        let day = now / DAY_NANOS;
        let missed = (now % DAY_NANOS) as f64 / DAY_NANOS as f64;
        let account = self.account.get_or_insert(Account {
            day,
            spent: missed,
            offered: 0.0,
            missed,
            debt: 0.0,
        });
        account.roll(day);
        account
    }

    /// Moves the rates towards what the budget of `budget` spans a day allows. `outlook` says how many spans are expected
    /// between two instants, were everything kept.
    pub fn step(
        &mut self,
        now: UnixNanos,
        demands: &[Demand],
        budget: f64,
        outlook: impl Fn(UnixNanos, UnixNanos) -> f64,
    ) -> Step {
        let tomorrow = (now / DAY_NANOS + 1) * DAY_NANOS;
        let until = tomorrow.max(now + AHEAD_NANOS_MIN);
        let (today, beyond) = (outlook(now, tomorrow), outlook(tomorrow, until));
        let account = self.account_at(now);
        let even = account.even(today / budget);
        let left = account.left();
        let of_tomorrow = share(beyond, outlook(tomorrow, tomorrow + DAY_NANOS));
        let available = (left.max(REST_MIN * even) + of_tomorrow) * budget;
        let for_incidents =
            left + self.config.incident_overdraft - (1.0 - self.config.incident_share) * even;
        let expected = today + beyond;
        let per_day: f64 = demands.iter().map(|own| own.stratum.kept_spans(1.0)).sum();
        // The mix of the present, as often as is expected.
        let days = share(expected, per_day);
        let strata: Vec<Stratum> = demands
            .iter()
            .map(|own| Stratum {
                traces: own.stratum.traces * days,
                ..own.stratum
            })
            .collect();
        let division = Division {
            spans: available,
            min_traces: self.config.min_traces_per_operation * (until - now) as f64
                / DAY_NANOS as f64,
            latency_weight: self.config.latency_weight,
        };
        let wanted = allocate(&strata, &division);
        let wanted = in_incidents(demands, wanted, for_incidents * budget);
        let mut ratios = BTreeMap::new();
        let (mut kept, mut to_keep) = (0.0, 0.0);
        for (own, wanted) in demands.iter().zip(wanted) {
            let before = self.ratio(&own.name);
            kept += own.stratum.kept_spans(before);
            to_keep += own.stratum.kept_spans(wanted);
            let next = if own.is_incident && wanted > before {
                significant(wanted)
            } else {
                self.moved(before, wanted)
            };
            ratios.insert(own.name.clone(), next);
        }
        self.ratios = ratios;
        self.publish(now, demands);
        let change = share(to_keep - kept, kept);
        Step {
            action: if change > ACTION_MIN {
                SamplingAction::IncreaseSampling
            } else if change < -ACTION_MIN {
                SamplingAction::DecreaseSampling
            } else {
                SamplingAction::MaintainSampling
            },
            kept_ratio: share(self.kept_spans(demands), per_day),
            wanted_ratio: share(to_keep, per_day),
        }
    }

    /// All rates rise by one step: nobody knows any more what is right.
    pub fn drift(&mut self, now: UnixNanos, demands: &[Demand]) {
        for ratio in self.ratios.values_mut() {
            *ratio = significant((*ratio * self.config.max_rise).min(1.0));
        }
        self.publish(now, demands);
    }

    /// One bounded step.
    fn moved(&self, before: f64, wanted: f64) -> f64 {
        if wanted < 1.0 && (wanted / before - 1.0).abs() < CHANGE_MIN {
            return before;
        }
        let (lowest, highest) = (
            before / self.config.max_fall,
            (before * self.config.max_rise).min(1.0),
        );
        significant(wanted.clamp(lowest.min(highest), highest).max(RATIO_MIN))
    }

    /// Makes a plan of the ratios, if it is another one.
    fn publish(&mut self, now: UnixNanos, demands: &[Demand]) {
        let mut services: BTreeMap<&str, ServiceSampling> = BTreeMap::new();
        // Traces that are kept, and all, of each service: what is not listed is sampled as they are on average.
        let mut means: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for own in demands {
            let mean = means.entry(&own.name.0).or_default();
            mean.0 += own.stratum.traces * self.ratio(&own.name);
            mean.1 += own.stratum.traces;
        }
        for ((service, operation), ratio) in &self.ratios {
            let own = services.entry(service).or_insert_with(|| {
                let (kept, all) = means.get(&**service).copied().unwrap_or_default();
                let mean = if all > 0.0 { kept / all } else { *ratio };
                ServiceSampling {
                    service: service.to_string(),
                    default_ratio: significant(mean.clamp(RATIO_MIN, 1.0)),
                    operations: Vec::new(),
                }
            });
            own.operations.push(OperationSampling {
                operation: operation.to_string(),
                ratio: *ratio,
            });
        }
        let services: Vec<ServiceSampling> = services.into_values().collect();
        // A default that moves with the mix of traffic alone is no news.
        if is_same(&services, &self.plan.services) {
            return;
        }
        self.plan = Arc::new(SamplingPlan {
            revision: self.plan.revision + 1,
            made_at: now,
            services,
        });
    }
}

/// The ratios with those of incidents raised, to full where `spans` suffice for all of them for a while.
fn in_incidents(demands: &[Demand], mut ratios: Vec<f64>, spans: f64) -> Vec<f64> {
    let of_incidents = || {
        let own = demands.iter().zip(&ratios);
        own.filter(|(own, _)| own.is_incident)
    };
    let full: f64 = of_incidents()
        .map(|(own, ratio)| own.stratum.kept_spans(1.0) - own.stratum.kept_spans(*ratio))
        .sum();
    let meanwhile = full * INCIDENT_NANOS as f64 / DAY_NANOS as f64;
    let part = if spans >= meanwhile {
        1.0
    } else {
        share(spans.max(0.0), meanwhile)
    };
    for (own, ratio) in demands.iter().zip(&mut ratios) {
        if own.is_incident {
            *ratio += part * (1.0 - *ratio);
        }
    }
    ratios
}

fn is_same(new: &[ServiceSampling], old: &[ServiceSampling]) -> bool {
    let alike = |new: &ServiceSampling, old: &ServiceSampling| {
        new.service == old.service
            && new.operations == old.operations
            && (new.default_ratio / old.default_ratio - 1.0).abs() < CHANGE_MIN
    };
    new.len() == old.len() && new.iter().zip(old).all(|(new, old)| alike(new, old))
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Three significant digits: what people read, and what a threshold of four hexadecimal digits can say.
fn significant(ratio: f64) -> f64 {
    let step = 10_f64.powf(ratio.log10().floor() - 2.0);
    if step.is_finite() && step > 0.0 {
        // Divided rather than multiplied, 0.15 stays 0.15.
        (ratio / step).round() / (1.0 / step).round().max(1.0)
    } else {
        ratio
    }
}

#[cfg(test)]
mod tests;
