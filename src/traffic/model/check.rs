//! Whether a model makes sense: every name is there, every share is one, and nothing calls itself without end.

use std::collections::BTreeSet;

use crate::model::distribution::Distribution;
use crate::traffic::model::{Branch, ErrorKind, Model, ModelError, Operation, OperationRef, Step};

/// Steps stand in each other at most so deep.
const DEPTH_MAX: usize = 32;

/// What is wrong, and where.
type Wrong = (String, String);

impl Model {
    /// Checks that the model makes sense. `name` stands in messages.
    pub fn check(&self, name: &str) -> Result<(), ModelError> {
        let checked = self.check_services().and_then(|()| self.check_load());
        checked.map_err(|(place, text)| ModelError::Meaning {
            name: name.to_owned(),
            place,
            text,
        })
    }

    /// The operation that a reference means.
    pub fn operation(&self, target: &OperationRef) -> Option<&Operation> {
        self.services
            .get(&target.service)?
            .operations
            .get(&target.operation)
    }

    fn check_services(&self) -> Result<(), Wrong> {
        for (what, distribution) in [
            ("network", &self.defaults.network),
            ("send", &self.defaults.send),
            ("queue", &self.defaults.queue),
        ] {
            time(&format!("defaults.{what}"), Some(distribution))?;
        }
        for (name, service) in &self.services {
            let at = format!("services.{name}");
            for (version, share) in &service.versions {
                let place = format!("{at}.versions.{version}");
                share_is(&place, *share, f64::MAX)?;
            }
            for (operation_name, operation) in &service.operations {
                let at = format!("{at}.operations.{operation_name}");
                self.check_operation(&at, operation)?;
                let target = OperationRef {
                    service: name.clone(),
                    operation: operation_name.clone(),
                };
                self.check_endless(&at, &target)?;
            }
        }
        Ok(())
    }

    fn check_operation(&self, at: &str, operation: &Operation) -> Result<(), Wrong> {
        let ways = [
            operation.http.is_some(),
            operation.grpc.is_some(),
            operation.consumer.is_some(),
            operation.span.is_some(),
        ];
        exactly_one(at, &ways, "http, grpc, consumer and span")?;
        time(at, operation.time.as_ref())?;
        errors(at, &operation.errors)?;
        if !operation.steps.is_empty() && !operation.one_of.is_empty() {
            return wrong(
                at,
                "has both steps and one_of; put the steps into each branch",
            );
        }
        gaps(
            at,
            &operation.gaps,
            operation.steps.len(),
            operation.one_of.is_empty(),
        )?;
        self.check_steps(at, &operation.steps, 0)?;
        for (number, branch) in operation.one_of.iter().enumerate() {
            let at = format!("{at}.one_of[{number}]");
            share_is(&format!("{at}.share"), branch.share, f64::MAX)?;
            time(&at, branch.time.as_ref())?;
            gaps(&at, &branch.gaps, branch.steps.len(), true)?;
            self.check_steps(&at, &branch.steps, 0)?;
        }
        Ok(())
    }

    fn check_steps(&self, at: &str, steps: &[Step], depth: usize) -> Result<(), Wrong> {
        if depth > DEPTH_MAX {
            return wrong(
                at,
                &format!("steps stand in each other more than {DEPTH_MAX} deep"),
            );
        }
        for (number, step) in steps.iter().enumerate() {
            self.check_step(&format!("{at}.steps[{number}]"), step, depth)?;
        }
        Ok(())
    }

    fn check_step(&self, at: &str, step: &Step, depth: usize) -> Result<(), Wrong> {
        let ways = [
            step.call.is_some(),
            step.publish.is_some(),
            step.query.is_some(),
            step.work.is_some(),
            step.parallel.is_some(),
            step.sequence.is_some(),
        ];
        exactly_one(
            at,
            &ways,
            "call, publish, query, work, parallel and sequence",
        )?;
        if let Some(target) = step.call.as_ref().or(step.publish.as_ref()) {
            self.check_target(at, target)?;
        }
        share_is(&format!("{at}.probability"), step.probability, 1.0)?;
        share_is(&format!("{at}.propagation"), step.propagation, 1.0)?;
        let counts = || step.count.values();
        if !step.count.is_empty()
            && (counts().any(|share| !share.is_finite() || *share < 0.0)
                || counts().sum::<f64>() <= 0.0)
        {
            return wrong(
                &format!("{at}.count"),
                "needs shares of at least 0 that are not all 0",
            );
        }
        if step
            .retries
            .is_some_and(|retries| !(1..=20).contains(&retries.attempts))
        {
            return wrong(&format!("{at}.retries.attempts"), "is not from 1 to 20");
        }
        for distribution in [&step.time, &step.there, &step.back] {
            time(at, distribution.as_ref())?;
        }
        errors(at, &step.errors)?;
        gaps(at, &step.gaps, step.steps.len(), true)?;
        for inner in [
            Some(&step.steps),
            step.parallel.as_ref(),
            step.sequence.as_ref(),
        ] {
            self.check_steps(at, inner.map_or(&[], Vec::as_slice), depth + 1)?;
        }
        Ok(())
    }

    fn check_target(&self, at: &str, target: &OperationRef) -> Result<(), Wrong> {
        let OperationRef { service, operation } = target;
        let Some(found) = self.services.get(service) else {
            let known: Vec<&str> = self.services.keys().map(String::as_str).collect();
            return wrong(
                at,
                &format!("no service {service:?}; there are {}", known.join(", ")),
            );
        };
        if !found.operations.contains_key(operation) {
            let known: Vec<&str> = found.operations.keys().map(String::as_str).collect();
            let text = format!(
                "service {service:?} has no operation {operation:?}; there are {}",
                known.join(", ")
            );
            return wrong(at, &text);
        }
        Ok(())
    }

    /// Steps that are always made must not come back to where they began; others end by chance, and by
    /// `max_spans_per_trace`.
    fn check_endless(&self, at: &str, start: &OperationRef) -> Result<(), Wrong> {
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(target) = open.pop() {
            let Some(operation) = self.operation(target) else {
                continue;
            };
            let mut certain = Vec::new();
            always_made(&operation.steps, &mut certain);
            if let [Branch { steps, .. }] = operation.one_of.as_slice() {
                always_made(steps, &mut certain);
            }
            for next in certain {
                if next == start {
                    return wrong(
                        at,
                        "calls itself in the end, without a step that may be left out",
                    );
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        Ok(())
    }

    fn check_load(&self) -> Result<(), Wrong> {
        for (number, load) in self.load.iter().enumerate() {
            let at = format!("load[{number}]");
            self.check_target(&at, &load.target())?;
            share_is(&format!("{at}.per_minute"), load.per_minute, f64::MAX)?;
        }
        let shape = &self.shape;
        for (name, factors, wanted) in [("daily", &shape.daily, 24), ("weekly", &shape.weekly, 7)] {
            let at = format!("shape.{name}");
            if !factors.is_empty() && factors.len() != wanted {
                return wrong(&at, &format!("has {} factors, not {wanted}", factors.len()));
            }
            factors
                .iter()
                .try_for_each(|factor| share_is(&at, *factor, f64::MAX))?;
        }
        for (number, burst) in shape.bursts.iter().enumerate() {
            let at = format!("shape.bursts[{number}]");
            share_is(&format!("{at}.factor"), burst.factor, f64::MAX)?;
            if burst.every.is_some_and(|every| every.is_zero()) {
                return wrong(&format!("{at}.every"), "is no time at all");
            }
        }
        for (number, fault) in self.faults.iter().enumerate() {
            let at = format!("faults[{number}]");
            fault
                .fault
                .check()
                .or_else(|text| wrong(&format!("{at}.fault"), &text))?;
            if fault.fault.is_none() {
                return wrong(
                    &format!("{at}.fault"),
                    "nothing is wrong; say what, for example error: 0.05",
                );
            }
            if let Some(service) = &fault.target.service
                && !self
                    .services
                    .iter()
                    .any(|(name, own)| own.name.as_ref().unwrap_or(name) == service)
            {
                return wrong(&format!("{at}.target"), &format!("no service {service:?}"));
            }
        }
        for (number, rollout) in self.rollouts.iter().enumerate() {
            let at = format!("rollouts[{number}]");
            if !self.services.contains_key(&rollout.service) {
                return wrong(&at, &format!("no service {:?}", rollout.service));
            }
            share_is(&format!("{at}.from"), rollout.from, 1.0)?;
            share_is(&format!("{at}.to"), rollout.to, 1.0)?;
        }
        Ok(())
    }
}

fn always_made<'a>(steps: &'a [Step], found: &mut Vec<&'a OperationRef>) {
    for step in steps.iter().filter(|step| step.probability >= 1.0) {
        if step.count.contains_key(&0) {
            continue;
        }
        found.extend(step.call.iter().chain(&step.publish));
        for inner in [
            Some(&step.steps),
            step.parallel.as_ref(),
            step.sequence.as_ref(),
        ] {
            always_made(inner.map_or(&[], Vec::as_slice), found);
        }
    }
}

fn exactly_one(at: &str, ways: &[bool], names: &str) -> Result<(), Wrong> {
    let given = ways.iter().filter(|is_given| **is_given).count();
    if given == 1 {
        return Ok(());
    }
    wrong(
        at,
        &format!("needs exactly one of {names}; {given} are given"),
    )
}

fn errors(at: &str, errors: &[ErrorKind]) -> Result<(), Wrong> {
    for (number, error) in errors.iter().enumerate() {
        share_is(&format!("{at}.errors[{number}].ratio"), error.ratio, 1.0)?;
    }
    let all: f64 = errors.iter().map(|error| error.ratio).sum();
    if all > 1.0 {
        return wrong(
            &format!("{at}.errors"),
            &format!("the ratios add up to {all}, more than 1"),
        );
    }
    Ok(())
}

fn gaps(at: &str, gaps: &[f64], steps: usize, is_allowed: bool) -> Result<(), Wrong> {
    let at = format!("{at}.gaps");
    if gaps.is_empty() {
        return Ok(());
    }
    if !is_allowed {
        return wrong(&at, "stand in the branches of one_of");
    }
    if gaps.len() != steps + 1 {
        let text = format!(
            "{} shares for {steps} steps; one more than there are steps is right",
            gaps.len()
        );
        return wrong(&at, &text);
    }
    gaps.iter()
        .try_for_each(|share| share_is(&at, *share, f64::MAX))
}

fn time(at: &str, distribution: Option<&Distribution>) -> Result<(), Wrong> {
    let checked = distribution.map_or(Ok(()), Distribution::check);
    checked.or_else(|text| wrong(at, &text))
}

fn share_is(at: &str, share: f64, most: f64) -> Result<(), Wrong> {
    if share.is_finite() && (0.0..=most).contains(&share) {
        return Ok(());
    }
    let range = if most <= 1.0 {
        "from 0 to 1"
    } else {
        "0 or more"
    };
    wrong(at, &format!("is {share}, not a number {range}"))
}

fn wrong<T>(at: &str, text: &str) -> Result<T, Wrong> {
    Err((at.to_owned(), text.to_owned()))
}
