//! What a load run sends: one request after the other, from the templates or from a model.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::traffic::batch::{BatchShape, BatchTemplate, Variation};
use crate::traffic::generate::{Faults, Generator, Moment, Reporter, Trace, export_request};

/// Time for the slowest visit to end before it is sent.
const LAG_NANOS: u64 = 2 * NANOS_PER_SEC;

/// A request of a schedule stands for at least this time, and at most that.
const TICK_MIN: Duration = Duration::from_millis(1);
const TICK_MAX: Duration = Duration::from_millis(100);

/// A source of encoded requests, shared by everyone who sends.
#[derive(Debug)]
pub enum Workload {
    /// Patched templates: the cheapest for the client.
    Batch(BatchWorkload),
    /// Visits as a model has them, encoded one by one.
    Model(Box<ModelWorkload>),
    /// Visits as a model has them, when it has them.
    Scheduled(Box<ScheduledWorkload>),
}

impl Workload {
    /// Requests of this shape; `seed` determines ids, durations and outcomes.
    pub fn batch(shape: BatchShape, seed: u64) -> Self {
        Self::Batch(BatchWorkload::new(shape, seed))
    }

    /// Requests of whole visits from a generator, whatever its model says about load. Its faults and rollouts come at
    /// their times after `started`.
    pub fn model(generator: Generator, started: UnixNanos) -> Self {
        Self::Model(Box::new(ModelWorkload {
            started,
            visits: Mutex::new((generator, Moment::default(), Vec::new())),
        }))
    }

    /// Requests of the visits that a model has at its own rates, multiplied by `scale`, from `now` on. About
    /// `spans_per_request` of them go together, or those of a tenth of a second.
    pub fn scheduled(
        generator: Generator,
        now: UnixNanos,
        scale: f64,
        spans_per_request: usize,
    ) -> Self {
        // A visit has some ten spans; more or fewer make greater or smaller requests.
        let spans_per_sec = generator.plan().traces_per_minute() / 60.0 * scale * 10.0;
        let tick = Duration::try_from_secs_f64(spans_per_request as f64 / spans_per_sec)
            .unwrap_or(TICK_MAX);
        let started = now.saturating_sub(LAG_NANOS);
        Self::Scheduled(Box::new(ScheduledWorkload {
            tick: tick.clamp(TICK_MIN, TICK_MAX),
            started,
            scale,
            visits: Mutex::new((generator, started)),
        }))
    }

    /// The time that each request stands for, where the workload says how much is sent when.
    pub fn tick(&self) -> Option<Duration> {
        match self {
            Self::Scheduled(scheduled) => Some(scheduled.tick),
            Self::Batch(_) | Self::Model(_) => None,
        }
    }

    /// Request number `number` of the run, with exactly `spans` spans unless the workload says how many, which end
    /// before `now`.
    pub fn request(&self, number: u64, spans: usize, now: UnixNanos) -> Request {
        let (body, spans) = match self {
            Self::Batch(batch) => (batch.request(number, spans, now), spans),
            Self::Model(model) => (model.request(spans, now), spans),
            Self::Scheduled(scheduled) => scheduled.request(),
        };
        Request { body, spans }
    }

    /// Takes the bytes of a request that was answered back, for the next one.
    pub fn recycle(&self, number: u64, request: Bytes) {
        match self {
            Self::Batch(batch) => batch.recycle(number, request),
            Self::Model(_) | Self::Scheduled(_) => {}
        }
    }
}

/// An encoded request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its bytes.
    pub body: Bytes,
    /// How many spans it carries; with none it need not be sent.
    pub spans: usize,
}

/// A generator, and up to when its visits were sent.
#[derive(Debug)]
pub struct ScheduledWorkload {
    tick: Duration,
    started: UnixNanos,
    scale: f64,
    visits: Mutex<(Generator, UnixNanos)>,
}

impl ScheduledWorkload {
    /// The visits of the next tick.
    fn request(&self) -> (Bytes, usize) {
        let visits: Vec<_> = {
            let mut guard = lock(&self.visits);
            let (generator, from) = &mut *guard;
            let until =
                from.saturating_add(u64::try_from(self.tick.as_nanos()).unwrap_or(u64::MAX));
            let faults = Faults::none();
            let visits = generator.scheduled(*from..until, self.started, self.scale, &faults);
            let visits = visits.flat_map(Trace::into_spans).collect();
            *from = until;
            visits
        };
        let spans = visits.len();
        (export_request(visits).encode_to_vec().into(), spans)
    }
}

/// Templates, and the buffers that are not on their way.
#[derive(Debug)]
pub struct BatchWorkload {
    shape: BatchShape,
    seed: u64,
    variation: Variation,
    templates: Vec<(BatchTemplate, Mutex<Vec<BytesMut>>)>,
}

impl BatchWorkload {
    fn new(shape: BatchShape, seed: u64) -> Self {
        Self {
            shape,
            seed,
            variation: Variation::new(shape.error_ratio, seed),
            templates: BatchTemplate::covering(&shape)
                .into_iter()
                .map(|template| (template, Mutex::default()))
                .collect(),
        }
    }

    fn request(&self, number: u64, spans: usize, now: UnixNanos) -> Bytes {
        let Some((template, free)) = self.template(number) else {
            return Bytes::new();
        };
        let seed = self.seed.wrapping_add(number);
        if spans != template.span_count() {
            return self.odd_request(seed, spans, now);
        }
        let mut buffer = lock(free)
            .pop()
            .unwrap_or_else(|| BytesMut::from(template.encoded()));
        template.patch(&mut buffer, &self.variation, seed, now);
        buffer.freeze()
    }

    /// The last request of a run may be smaller than the others.
    fn odd_request(&self, seed: u64, spans: usize, now: UnixNanos) -> Bytes {
        let shape = BatchShape {
            spans_per_request: spans,
            ..self.shape
        };
        let template = BatchTemplate::new(&shape, 0);
        let mut buffer = template.encoded().to_vec();
        template.patch(&mut buffer, &self.variation, seed, now);
        buffer.into()
    }

    fn recycle(&self, number: u64, request: Bytes) {
        let Some((template, free)) = self.template(number) else {
            return;
        };
        // Fails while the transport still holds the bytes; then the next request copies the template anew.
        if let Ok(buffer) = request.try_into_mut()
            && buffer.len() == template.encoded().len()
        {
            lock(free).push(buffer);
        }
    }

    fn template(&self, number: u64) -> Option<&(BatchTemplate, Mutex<Vec<BytesMut>>)> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        self.templates.get(number % self.templates.len())
    }
}

/// A span and who reports it.
type ReportedSpan = (Arc<Reporter>, Span);

/// A generator, the faults of its last visit, and the spans of that visit that did not fit into the last request.
#[derive(Debug)]
pub struct ModelWorkload {
    started: UnixNanos,
    visits: Mutex<(Generator, Moment, Vec<ReportedSpan>)>,
}

impl ModelWorkload {
    fn request(&self, spans: usize, now: UnixNanos) -> Bytes {
        let start = now.saturating_sub(LAG_NANOS);
        let since = Duration::from_nanos(now.saturating_sub(self.started));
        let taken = {
            let mut guard = lock(&self.visits);
            let (generator, moment, waiting) = &mut *guard;
            while waiting.len() < spans {
                let visit = generator.visit_at(start, since, moment).into_spans();
                if visit.is_empty() {
                    break;
                }
                waiting.extend(visit);
            }
            let later = waiting.split_off(spans.min(waiting.len()));
            std::mem::replace(waiting, later)
        };
        export_request(taken).encode_to_vec().into()
    }
}

/// A panic elsewhere leaves buffers and random numbers as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

    use super::*;
    use crate::traffic::generate::{Plan, span_count};
    use crate::traffic::shop;

    const NOW: UnixNanos = 1_800_000_000 * NANOS_PER_SEC;

    fn decode(request: &Bytes) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(request.as_ref()).unwrap()
    }

    #[test]
    fn every_request_has_the_wanted_number_of_spans() {
        for workload in [
            Workload::batch(BatchShape::default(), 1),
            Workload::model(shop::generator(1), NOW),
        ] {
            for (number, spans) in [(0, 100), (1, 100), (2, 37), (3, 1)] {
                let request = workload.request(number, spans, NOW).body;
                assert_eq!(span_count(&decode(&request)), spans);
            }
        }
    }

    #[test]
    fn the_buffer_of_an_answered_request_is_used_again() {
        let shape = BatchShape {
            series: 10,
            ..BatchShape::default()
        };
        let workload = Workload::batch(shape, 1);
        let first = workload.request(0, 100, NOW).body;
        let (address, before) = (first.as_ptr(), decode(&first));
        workload.recycle(0, first);
        let second = workload.request(1, 100, NOW).body;
        assert_eq!(second.as_ptr(), address);
        assert_ne!(decode(&second), before);
    }

    #[test]
    fn a_buffer_that_the_transport_still_holds_is_not_overwritten() {
        let shape = BatchShape {
            series: 10,
            ..BatchShape::default()
        };
        let workload = Workload::batch(shape, 1);
        let first = workload.request(0, 100, NOW).body;
        let (held, before) = (first.clone(), decode(&first));
        workload.recycle(0, first);
        let second = workload.request(1, 100, NOW).body;
        assert_ne!(second.as_ptr(), held.as_ptr());
        assert_eq!(decode(&held), before);
    }

    #[test]
    fn faults_come_at_their_time_at_any_rate() {
        let mut model = shop::model();
        let fault =
            "{name: down, at: 10s, for: 10s, target: {service: frontend}, fault: {outage: true}}";
        model.faults = vec![serde_saphyr::from_str(fault).unwrap()];
        let generator = Generator::new(Arc::new(Plan::new(&model)), 1);
        let workload = Workload::model(generator, NOW);
        let failed = |secs: u64| {
            let at = NOW + secs * NANOS_PER_SEC;
            let request = decode(&workload.request(0, 500, at).body);
            let resources = request.resource_spans.iter();
            let spans = resources
                .flat_map(|resource| &resource.scope_spans)
                .flat_map(|scope| &scope.spans);
            let roots = spans.filter(|span| span.parent_span_id.is_empty());
            let failed = roots.filter(|span| span.status.as_ref().is_some_and(|own| own.code == 2));
            failed.count()
        };
        assert!(failed(5) <= 2 && failed(15) > 20 && failed(25) <= 22);
        assert!(failed(30) <= 2);
    }

    #[test]
    fn spans_of_a_model_have_ended_when_they_are_sent() {
        let request = decode(
            &Workload::model(shop::generator(1), NOW)
                .request(0, 500, NOW)
                .body,
        );
        let spans = request
            .resource_spans
            .iter()
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| &scope.spans);
        assert!(spans.into_iter().all(|span| span.end_time_unix_nano <= NOW));
    }
}
