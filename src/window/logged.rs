//! A batch as the log of requests has it: small, and without personal data.
//!
//! An operation that the windows hold is said by its series alone: the batch that brought its name stands earlier in the log,
//! or in the checkpoint before it. Other names are logged as they would be shown. Event times stand as differences to the
//! time of arrival, since a log is written as often as requests come.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::model::UnixNanos;
use crate::model::batch::{BatchResource, Call, Event, EventBatch, Failure};
use crate::model::series::{SeriesId, ServiceKey};
use crate::model::span::{Outcome, SpanKind};
use crate::window::operation::template;
use crate::window::sketch::{push_varint, take_varint};
use crate::window::windows::{Details, IdHasher, Slot, Windows};

/// Changes whenever what follows does; an older log is not read then.
pub const FORMAT: u32 = 1;

/// Memory for writing, kept between batches.
#[derive(Debug, Default)]
pub struct LogScratch {
    /// Places of the operations of a resource.
    places: HashMap<SeriesId, u64, BuildHasherDefault<IdHasher>>,
    operations: Vec<u8>,
    events: Vec<u8>,
}

/// What an entry of the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// A batch arrived at this time.
    Batch(UnixNanos),
    /// [`Windows::maintain`] ran with this time: what was judged by then was not changed by what came later.
    Upkeep(UnixNanos),
}

const BATCH: u8 = 0;
const UPKEEP: u8 = 1;

/// Appends that the windows are about to be maintained.
pub fn log_upkeep(now: UnixNanos, out: &mut Vec<u8>) {
    out.push(UPKEEP);
    push_varint(out, now);
}

/// Whose events are written, and when they arrived.
#[derive(Clone, Copy)]
struct Of<'a> {
    batch: &'a EventBatch,
    resource: &'a BatchResource,
    now: UnixNanos,
    names_all: bool,
}

const IS_BAD: u64 = 1;
const IS_WEIGHTED: u64 = 2;
const FLAG_BITS: u32 = 2;

impl Windows {
    /// Appends a batch that is about to be recorded. `names_all` says every name, since the log may miss some.
    pub fn log(
        &self,
        batch: &EventBatch,
        now: UnixNanos,
        names_all: bool,
        (out, scratch): (&mut Vec<u8>, &mut LogScratch),
    ) {
        out.push(BATCH);
        push_varint(out, now);
        push_varint(out, batch.resources.len() as u64);
        let mut rest = batch.events.as_slice();
        let mut details = Details::of(batch);
        for resource in &batch.resources {
            let own = rest.split_off(..resource.events as usize);
            let own = own.unwrap_or_default();
            for text in [
                resource.namespace,
                resource.environment,
                resource.service,
                resource.version,
            ] {
                push_bytes(out, batch.bytes(text));
            }
            let of = Of {
                batch,
                resource,
                now,
                names_all,
            };
            self.log_events(of, own, out, scratch);
            let part = details.take(batch, resource, own);
            push_varint(out, part.failures.len() as u64);
            for failure in part.failures {
                push_varint(out, u64::from(failure.event));
                push_bytes(
                    out,
                    self.guard.plain(&batch.text(failure.kind)).0.as_bytes(),
                );
                push_bytes(out, batch.bytes(failure.trace_id));
            }
            push_varint(out, part.calls.len() as u64);
            for call in part.calls {
                push_bytes(out, self.guard.plain(&batch.text(call.to)).0.as_bytes());
                push_difference(out, call.end, now);
                push_varint(out, call.duration_nanos);
                push_float(out, call.weight);
                push_varint(out, u64::from(call.outcome == Outcome::Error));
            }
        }
    }

    fn log_events(
        &self,
        of: Of<'_>,
        events: &[Event],
        out: &mut Vec<u8>,
        scratch: &mut LogScratch,
    ) {
        let LogScratch {
            places,
            operations,
            events: coded,
        } = scratch;
        places.clear();
        operations.clear();
        coded.clear();
        for event in events {
            let next = places.len() as u64;
            let place = *places.entry(event.series).or_insert_with(|| {
                self.log_operation(of, event, operations);
                next
            });
            #[expect(clippy::float_cmp, reason = "exactly 1 is what unsampled events carry")]
            let is_weighted = event.weight != 1.0 || event.count != 1;
            let mut flags = if event.outcome == Outcome::Error {
                IS_BAD
            } else {
                0
            };
            flags |= if is_weighted { IS_WEIGHTED } else { 0 };
            push_varint(coded, place << FLAG_BITS | flags);
            push_difference(coded, event.end, of.now);
            push_varint(coded, event.duration_nanos);
            if is_weighted {
                push_float(coded, event.weight);
                push_varint(coded, u64::from(event.count));
            }
        }
        push_varint(out, places.len() as u64);
        out.extend_from_slice(operations);
        push_varint(out, events.len() as u64);
        out.extend_from_slice(coded);
    }

    fn log_operation(&self, of: Of<'_>, event: &Event, out: &mut Vec<u8>) {
        let is_held = || {
            matches!(
                self.map.get(&event.series).as_deref(),
                Some(Slot::Series(_))
            )
        };
        let (series, name) = if !of.names_all && is_held() {
            (event.series, Cow::Borrowed(""))
        } else {
            let name = template(of.batch.bytes(event.operation));
            let (plain, found) = self.guard.plain(&name);
            let series = if found.is_empty() {
                event.series
            } else {
                // As the windows count it.
                let buffer = &mut Vec::with_capacity(96);
                let service = of.resource.service_hash;
                SeriesId::of_operation(buffer, service, event.kind, plain.as_bytes())
            };
            (series, Cow::Owned(plain.into_owned()))
        };
        out.extend_from_slice(&series.0.to_le_bytes());
        out.push(event.kind.number());
        push_bytes(out, name.as_bytes());
    }
}

/// Reads an entry of the log, and fills the batch if it is one; `None` if it is not what [`Windows::log`] and
/// [`log_upkeep`] write.
pub fn read_logged(entry: &[u8], batch: &mut EventBatch) -> Option<Logged> {
    batch.clear();
    let (kind, mut rest) = entry.split_first()?;
    let rest = &mut rest;
    let now = take_varint(rest)?;
    let logged = match *kind {
        BATCH => {
            for _ in 0..take_varint(rest)? {
                let resource = read_resource(rest, batch, now)?;
                batch.resources.push(resource);
            }
            Logged::Batch(now)
        }
        UPKEEP => Logged::Upkeep(now),
        _ => return None,
    };
    rest.is_empty().then_some(logged)
}

impl Windows {
    /// Does again what the log says.
    pub fn replay_logged(&self, logged: Logged, batch: &mut EventBatch) {
        match logged {
            Logged::Batch(now) => {
                self.record(batch, now);
            }
            Logged::Upkeep(now) => self.maintain(now),
        }
    }
}

fn read_resource(
    rest: &mut &[u8],
    batch: &mut EventBatch,
    now: UnixNanos,
) -> Option<BatchResource> {
    let [namespace, environment, service, version] = take_texts(rest, batch)?;
    let mut resource = BatchResource {
        service_hash: ServiceKey::hash_parts(
            &mut Vec::with_capacity(64),
            batch.bytes(namespace),
            batch.bytes(environment),
            batch.bytes(service),
        ),
        namespace,
        environment,
        service,
        version,
        ..BatchResource::default()
    };
    resource.events = read_events(rest, batch, now)?;
    for _ in 0..take_varint(rest)? {
        let failure = Failure {
            event: u32::try_from(take_varint(rest)?).ok()?,
            kind: batch.push_text(take_bytes(rest)?),
            trace_id: batch.push_text(take_bytes(rest)?),
        };
        batch.failures.push(failure);
        resource.failures += 1;
    }
    for _ in 0..take_varint(rest)? {
        let call = Call {
            to: batch.push_text(take_bytes(rest)?),
            end: take_difference(rest, now)?,
            duration_nanos: take_varint(rest)?,
            weight: take_float(rest)?,
            outcome: outcome(take_varint(rest)?),
        };
        batch.calls.push(call);
        resource.calls += 1;
    }
    Some(resource)
}

/// Reads the operations of a resource, then its events; returns how many there were.
fn read_events(rest: &mut &[u8], batch: &mut EventBatch, now: UnixNanos) -> Option<u32> {
    let mut operations = Vec::new();
    for _ in 0..take_varint(rest)? {
        let (series, after) = rest.split_first_chunk()?;
        let (kind, after) = after.split_first()?;
        *rest = after;
        let series = SeriesId(u128::from_le_bytes(*series));
        let kind = SpanKind::from_otlp(u64::from(*kind));
        operations.push((series, kind, batch.push_text(take_bytes(rest)?)));
    }
    let events = take_varint(rest)?;
    for _ in 0..events {
        let coded = take_varint(rest)?;
        let place = usize::try_from(coded >> FLAG_BITS).ok()?;
        let (series, kind, operation) = *operations.get(place)?;
        let end = take_difference(rest, now)?;
        let duration_nanos = take_varint(rest)?;
        let (weight, count) = if coded & IS_WEIGHTED == 0 {
            (1.0, 1)
        } else {
            (take_float(rest)?, u32::try_from(take_varint(rest)?).ok()?)
        };
        batch.events.push(Event {
            series,
            operation,
            end,
            duration_nanos,
            weight,
            count,
            randomness: 0,
            kind,
            outcome: outcome(coded & IS_BAD),
            excluded: false,
        });
    }
    u32::try_from(events).ok()
}

fn outcome(is_bad: u64) -> Outcome {
    if is_bad == 0 {
        Outcome::Ok
    } else {
        Outcome::Error
    }
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn take_texts(rest: &mut &[u8], batch: &mut EventBatch) -> Option<[crate::model::batch::Text; 4]> {
    let mut next = || Some(batch.push_text(take_bytes(rest)?));
    Some([next()?, next()?, next()?, next()?])
}

/// Small differences of both signs are small numbers.
fn push_difference(out: &mut Vec<u8>, at: UnixNanos, now: UnixNanos) {
    let difference = at.wrapping_sub(now).cast_signed();
    let folded = (difference << 1) ^ (difference >> 63);
    push_varint(out, folded.cast_unsigned());
}

fn take_difference(rest: &mut &[u8], now: UnixNanos) -> Option<UnixNanos> {
    let folded = take_varint(rest)?;
    let difference = (folded >> 1) ^ (folded & 1).wrapping_neg();
    Some(now.wrapping_add(difference))
}

fn push_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn take_float(rest: &mut &[u8]) -> Option<f64> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(f64::from_le_bytes(*bytes))
}
