//! Traffic as the model schedules it: rates that change over time, faults that come and go.

use std::ops::Range;
use std::time::Duration;

use rand::RngExt;

use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::traffic::generate::{Faults, Generator, Trace, duration};

impl Generator {
    /// The visits that begin within `period`, in order, with the rates, the shape and the faults of the model and
    /// `faults` beside them. The traffic of the model began at `started`; rates are multiplied by `scale`.
    pub fn scheduled(
        &mut self,
        period: Range<UnixNanos>,
        started: UnixNanos,
        scale: f64,
        faults: &Faults,
    ) -> impl Iterator<Item = Trace> {
        let most_per_minute = self.plan.traces_per_minute() * self.plan.shape.max_factor() * scale;
        let most_factor = self.plan.shape.max_factor();
        let mut at = period.start;
        let mut active = Moment::default();
        std::iter::from_fn(move || {
            loop {
                // A process of the highest rate, thinned to the rate of the moment.
                at = at.saturating_add(self.gap(60_000.0 / most_per_minute));
                if at >= period.end {
                    return None;
                }
                let since = duration(at.saturating_sub(started));
                let epoch_secs = at as f64 / NANOS_PER_SEC as f64;
                let factor = self.plan.shape.factor(epoch_secs, since.as_secs_f64());
                if factor < most_factor && self.rng.random::<f64>() * most_factor >= factor {
                    continue;
                }
                active.update(self, since, faults);
                return Some(self.visit(at, since, &active.faults));
            }
        })
    }

    /// One visit that begins at `start`, so long after the start of the traffic, with the faults that the model schedules
    /// for then.
    pub fn visit_at(&mut self, start: UnixNanos, since: Duration, moment: &mut Moment) -> Trace {
        moment.update(self, since, &Faults::none());
        self.visit(start, since, &moment.faults)
    }
}

/// The faults of the moment, put together anew only when they change.
#[derive(Debug, Default)]
pub struct Moment {
    on: Option<Vec<bool>>,
    faults: Faults,
}

impl Moment {
    fn update(&mut self, generator: &Generator, since: Duration, beside: &Faults) {
        let scheduled = &generator.plan.faults;
        let is_same = self.on.as_ref().is_some_and(|on| {
            on.iter()
                .zip(scheduled)
                .all(|(was_on, fault)| *was_on == fault.is_on(since))
        });
        if is_same {
            return;
        }
        let on: Vec<bool> = scheduled.iter().map(|fault| fault.is_on(since)).collect();
        let mut faults = beside.clone();
        for (fault, _) in scheduled.iter().zip(&on).filter(|(_, is_on)| **is_on) {
            faults.0.push((fault.target.clone(), fault.fault.clone()));
        }
        *self = Self {
            on: Some(on),
            faults,
        };
    }
}
