//! One visit on its way through the services.

mod trouble;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::model::UnixNanos;
use crate::model::distribution::{Distribution, nanos, pick, scaled};
use crate::traffic::generate::Faults;
use crate::traffic::generate::conventions::{Template, exception};
use crate::traffic::generate::plan::{
    Body, Local, Plan, PlannedOperation, PlannedStep, Reporter, What,
};
use crate::traffic::generate::reply::{Blame, Failure, Reply};

type SpanId = [u8; 8];

/// Calls stand in each other at most so deep, for models in which an operation may call itself.
const DEPTH_MAX: usize = 100;

/// A visit on its way through the services.
pub(super) struct Visit<'a> {
    plan: &'a Plan,
    rng: &'a mut StdRng,
    faults: &'a Faults,
    since_start: Duration,
    trace_id: Vec<u8>,
    depth: usize,
    pub(super) spans: Vec<(Arc<Reporter>, Span)>,
    pub(super) left_out: u64,
}

/// Who makes a step.
#[derive(Clone)]
struct Caller {
    reporter: Arc<Reporter>,
    span_id: SpanId,
    /// Own times are multiplied by this.
    factor: f64,
}

/// When somebody is done, and how it went.
pub(super) struct Answer {
    end: UnixNanos,
    reply: Reply,
}

impl<'a> Visit<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        rng: &'a mut StdRng,
        faults: &'a Faults,
        since_start: Duration,
        trace_id: Vec<u8>,
    ) -> Self {
        Self {
            plan,
            rng,
            faults,
            since_start,
            trace_id,
            depth: 0,
            spans: Vec::with_capacity(16),
            left_out: 0,
        }
    }

    /// Handles one request: the entry span of an operation and everything below it.
    pub(super) fn serve(
        &mut self,
        operation: usize,
        parent: Option<SpanId>,
        start: UnixNanos,
    ) -> Answer {
        let plan = self.plan;
        let nothing = || Answer {
            end: start,
            reply: Reply::ok(),
        };
        let Some(operation) = plan.operations.get(operation) else {
            return nothing();
        };
        let Some(reporter) = self.reporter(operation.service) else {
            return nothing();
        };
        let effects = self.effects(operation, &reporter);
        let caller = Caller {
            reporter,
            span_id: self.rng.random(),
            factor: effects.factor,
        };
        if let Some(answer) = self.unserved(operation, &effects, &caller, (parent, start)) {
            return answer;
        }
        let bodies = &operation.bodies;
        let chosen = match bodies.as_slice() {
            [only] => Some(only),
            _ => pick(self.rng, bodies.iter().map(|body| body.share)).and_then(|at| bodies.get(at)),
        };
        let Some(body) = chosen else {
            return nothing();
        };
        let own = self
            .sample(&operation.time)
            .saturating_add(self.sample(&body.time));
        let own = scaled(own, effects.factor);
        let began = start.saturating_add(effects.added_nanos);
        let failure = self.fate(&operation.failures, effects.error_ratio);
        self.depth += 1;
        let (answer, thrown) = self.run((body, own), failure.as_ref(), &caller, began);
        self.depth -= 1;
        let took = scaled(answer.end.saturating_sub(start), effects.total_factor);
        let end = start.saturating_add(took);
        let span = self.span(caller.span_id, parent, start..end);
        self.finish(
            &operation.entry,
            span,
            &caller.reporter,
            (&answer.reply, thrown),
        );
        Answer { end, ..answer }
    }

    /// Who serves a request: a version of the service, by its share at this time.
    fn reporter(&mut self, service: usize) -> Option<Arc<Reporter>> {
        let service = self.plan.services.get(service)?;
        if let [(_, only)] = service.versions.as_slice() {
            return Some(Arc::clone(only));
        }
        for (version, rollout) in &service.rollouts {
            if let Some(share) = rollout.share(self.since_start)
                && self.rng.random_bool(share.clamp(0.0, 1.0))
            {
                return service
                    .versions
                    .get(*version)
                    .map(|(_, own)| Arc::clone(own));
            }
        }
        let shares = service.versions.iter().map(|(share, _)| *share);
        let chosen = pick(self.rng, shares)?;
        service.versions.get(chosen).map(|(_, own)| Arc::clone(own))
    }

    /// Does what a body says, with so many nanoseconds of own time.
    fn run(
        &mut self,
        (body, own): (&'a Body, u64),
        failure: Option<&Failure>,
        caller: &Caller,
        start: UnixNanos,
    ) -> (Answer, Option<Event>) {
        let mut gaps = body.gaps.iter().map(|gap| scaled(own, *gap));
        let first = gaps.next().unwrap_or(0);
        if let Some(failure) = failure
            && failure.blame == Blame::Callee
        {
            let end = start.saturating_add(own);
            let at = start.saturating_add(first);
            let thrown = failure.exception.as_ref();
            let thrown = thrown.map(|(kind, message)| exception(kind, message, at));
            return (
                Answer {
                    end,
                    reply: Reply::of(failure),
                },
                thrown,
            );
        }
        let mut reply = failure.map_or_else(Reply::ok, Reply::of);
        let mut now = start.saturating_add(first);
        for step in &body.steps {
            let gap = gaps.next().unwrap_or(0);
            if !reply.is_failed() {
                let answer = self.step(step, caller, now);
                now = answer.end.saturating_add(gap);
                reply = reply.worse(answer.reply);
                if reply.is_failed() {
                    now = answer.end;
                }
            }
        }
        if reply.is_failed() {
            // Who gives up does what comes after the last step.
            let last = body.gaps.last().filter(|_| body.gaps.len() > 1).copied();
            now = now.saturating_add(scaled(own, last.unwrap_or(0.0)));
        }
        (Answer { end: now, reply }, None)
    }

    /// A step, as often as it is made.
    fn step(&mut self, step: &'a PlannedStep, caller: &Caller, start: UnixNanos) -> Answer {
        let mut answer = Answer {
            end: start,
            reply: Reply::ok(),
        };
        if step.probability < 1.0 && !self.rng.random_bool(step.probability.clamp(0.0, 1.0)) {
            return answer;
        }
        let shares = step.count.iter().map(|(_, share)| *share);
        let count = match step.count.as_slice() {
            [] => 1,
            counts => pick(self.rng, shares)
                .and_then(|at| counts.get(at))
                .map_or(1, |(count, _)| *count),
        };
        for _ in 0..count {
            let begin = if step.fan_out { start } else { answer.end };
            let once = self.once(step, caller, begin);
            answer.end = answer.end.max(once.end);
            answer.reply = answer.reply.worse(once.reply);
            if answer.reply.is_failed() && !step.fan_out {
                break;
            }
        }
        if step.detached {
            return Answer {
                end: start,
                reply: Reply::ok(),
            };
        }
        let is_passed_on = step.propagation >= 1.0
            || answer.reply.blame > Blame::Nobody
                && self.rng.random_bool(step.propagation.clamp(0.0, 1.0));
        answer.reply = if is_passed_on {
            answer.reply.passed_on()
        } else {
            Reply::ok()
        };
        answer
    }

    /// A step once, tried again as often as its caller does.
    fn once(&mut self, step: &'a PlannedStep, caller: &Caller, start: UnixNanos) -> Answer {
        if self.spans.len() >= self.plan.max_spans || self.depth >= DEPTH_MAX {
            self.left_out += 1;
            return Answer {
                end: start,
                reply: Reply::ok(),
            };
        }
        match &step.what {
            What::Call { .. } => self.call(step, caller, start),
            What::Publish {
                operation,
                send,
                queue,
            } => self.publish(*operation, (send, queue), caller, start),
            What::Local(local) => self.local(local, caller, start),
            What::Parallel(steps) => {
                let mut answer = Answer {
                    end: start,
                    reply: Reply::ok(),
                };
                for step in steps {
                    let one = self.step(step, caller, start);
                    answer.end = answer.end.max(one.end);
                    answer.reply = answer.reply.worse(one.reply);
                }
                answer
            }
            What::Sequence(steps) => {
                let mut answer = Answer {
                    end: start,
                    reply: Reply::ok(),
                };
                for step in steps {
                    let one = self.step(step, caller, answer.end);
                    answer.end = one.end;
                    answer.reply = answer.reply.worse(one.reply);
                    if answer.reply.is_failed() {
                        break;
                    }
                }
                answer
            }
        }
    }

    /// A synchronous call: the caller's CLIENT span around the callee's SERVER span, for each attempt.
    fn call(&mut self, step: &'a PlannedStep, caller: &Caller, start: UnixNanos) -> Answer {
        let plan = self.plan;
        let What::Call {
            operation: index,
            there,
            back,
            has_client_span,
        } = &step.what
        else {
            return Answer {
                end: start,
                reply: Reply::ok(),
            };
        };
        let Some(operation) = plan.operations.get(*index) else {
            return Answer {
                end: start,
                reply: Reply::ok(),
            };
        };
        let (timeout, attempts, backoff) = self.patience(step, operation);
        let mut begin = start;
        let mut attempt = 1;
        loop {
            let span_id: SpanId = self.rng.random();
            let parent = if *has_client_span {
                span_id
            } else {
                caller.span_id
            };
            let arrival = begin.saturating_add(self.sample(there));
            let mut answer = self.serve(*index, Some(parent), arrival);
            answer.end = answer.end.saturating_add(self.sample(back));
            if let Some(timeout) = timeout
                && answer.end > begin.saturating_add(nanos(timeout))
            {
                answer.end = begin.saturating_add(nanos(timeout));
                answer.reply = Reply::of(&Failure::timeout(timeout));
            }
            if *has_client_span {
                let span = self.span(span_id, Some(caller.span_id), begin..answer.end);
                self.finish(
                    &operation.call,
                    span,
                    &caller.reporter,
                    (&answer.reply, None),
                );
            }
            if !answer.reply.is_failed() || attempt >= attempts {
                return answer;
            }
            attempt += 1;
            begin = answer.end.saturating_add(nanos(backoff));
        }
    }

    /// When a caller gives up, how often it tries, and how long it waits before it tries again.
    fn patience(
        &self,
        step: &PlannedStep,
        operation: &PlannedOperation,
    ) -> (Option<Duration>, u32, Duration) {
        let service = self
            .plan
            .services
            .get(operation.service)
            .map_or("", |own| own.name.as_str());
        let faults = self.faults.of(service, &operation.name, None);
        let mut timeout = step.timeout;
        let (mut attempts, mut backoff) = step
            .retries
            .map_or((1, Duration::ZERO), |own| (own.attempts, own.backoff));
        for fault in faults {
            if let Some(hang) = fault.timeout {
                timeout = Some(timeout.map_or(hang.after, |own| own.min(hang.after)));
            }
            if let Some(storm) = fault.retry_storm
                && storm.attempts > attempts
            {
                (attempts, backoff) = (storm.attempts, storm.backoff);
            }
        }
        (timeout, attempts, backoff)
    }

    /// A message: the caller goes on when the broker has it, whatever the consumer makes of it later.
    fn publish(
        &mut self,
        index: usize,
        (send, queue): (&Distribution, &Distribution),
        caller: &Caller,
        start: UnixNanos,
    ) -> Answer {
        let plan = self.plan;
        let span_id: SpanId = self.rng.random();
        let end = start.saturating_add(self.sample(send));
        let arrival = end.saturating_add(self.sample(queue));
        self.serve(index, Some(span_id), arrival);
        let reply = Reply::ok();
        if let Some(operation) = plan.operations.get(index) {
            let span = self.span(span_id, Some(caller.span_id), start..end);
            self.finish(&operation.call, span, &caller.reporter, (&reply, None));
        }
        Answer { end, reply }
    }

    /// A span of the caller itself.
    fn local(&mut self, local: &'a Local, caller: &Caller, start: UnixNanos) -> Answer {
        let Local {
            template,
            failures,
            body,
        } = local;
        let factor = if template.is_internal() {
            caller.factor
        } else {
            1.0
        };
        let own = scaled(self.sample(&body.time), factor);
        let own_caller = Caller {
            span_id: self.rng.random(),
            ..caller.clone()
        };
        let failure = if failures.is_empty() {
            None
        } else {
            self.fate(failures, 0.0)
        };
        self.depth += 1;
        let (answer, thrown) = self.run((body, own), failure.as_ref(), &own_caller, start);
        self.depth -= 1;
        let span = self.span(own_caller.span_id, Some(caller.span_id), start..answer.end);
        self.finish(template, span, &caller.reporter, (&answer.reply, thrown));
        answer
    }

    fn finish(
        &mut self,
        template: &Template,
        span: Span,
        reporter: &Arc<Reporter>,
        (reply, thrown): (&Reply, Option<Event>),
    ) {
        let subject = self.rng.random_range(1..10_000);
        let mut span = template.span(span, reply, subject);
        span.events.extend(thrown);
        self.spans.push((Arc::clone(reporter), span));
    }

    fn span(&self, id: SpanId, parent: Option<SpanId>, time: Range<UnixNanos>) -> Span {
        Span {
            trace_id: self.trace_id.clone(),
            span_id: id.to_vec(),
            parent_span_id: parent.map_or_else(Vec::new, |parent| parent.to_vec()),
            start_time_unix_nano: time.start,
            end_time_unix_nano: time.end,
            ..Span::default()
        }
    }

    fn sample(&mut self, distribution: &Distribution) -> u64 {
        distribution.sample_nanos(self.rng)
    }
}
