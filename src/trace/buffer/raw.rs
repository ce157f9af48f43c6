//! Spans as they came in, and traces of them: bytes that are read when somebody asks.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::trace::TraceSpan;
use crate::trace::sampling::Randomness;

/// How bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Messages of OTLP: `Resource`, `Span`.
    Protobuf,
    /// The same as OTLP/JSON.
    Json,
}

/// What spans share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// How all of it is to be read.
    pub encoding: Encoding,
    /// The resource.
    pub resource: &'a [u8],
    /// Name of the scope, as text.
    pub scope: &'a [u8],
}

/// A span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawSpan<'a> {
    /// Its trace.
    pub trace_id: [u8; 16],
    /// What decides whether the trace is kept.
    pub randomness: Randomness,
    /// All of it.
    pub bytes: &'a [u8],
}

/// What spans share, kept.
#[derive(Debug, PartialEq, Eq)]
pub struct RawOrigin {
    /// How all of it is to be read.
    pub encoding: Encoding,
    /// The resource.
    pub resource: Box<[u8]>,
    /// Name of the scope.
    pub scope: Box<[u8]>,
}

/// Memory of an origin beside its bytes, about.
const ORIGIN_BYTES: usize = 112;

impl RawOrigin {
    fn new(origin: &Origin<'_>) -> Self {
        Self {
            encoding: origin.encoding,
            resource: origin.resource.into(),
            scope: origin.scope.into(),
        }
    }

    fn is(&self, origin: &Origin<'_>) -> bool {
        self.encoding == origin.encoding
            && *self.resource == *origin.resource
            && *self.scope == *origin.scope
    }

    fn memory(&self) -> usize {
        ORIGIN_BYTES + self.resource.len() + self.scope.len()
    }
}

/// The origins of all kept spans, each once.
#[derive(Debug, Default)]
pub(super) struct Origins {
    by_hash: HashMap<u64, Arc<RawOrigin>>,
    bytes: usize,
}

impl Origins {
    pub(super) fn intern(&mut self, origin: &Origin<'_>) -> Arc<RawOrigin> {
        let hash = xxh3_64(origin.resource) ^ xxh3_64(origin.scope).rotate_left(1);
        if let Some(held) = self.by_hash.get(&hash)
            && held.is(origin)
        {
            return Arc::clone(held);
        }
        let made = Arc::new(RawOrigin::new(origin));
        self.bytes += made.memory();
        if let Some(before) = self.by_hash.insert(hash, Arc::clone(&made)) {
            self.bytes -= before.memory();
        }
        made
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets those that no span has any more.
    pub(super) fn sweep(&mut self) {
        self.by_hash
            .retain(|_, origin| Arc::strong_count(origin) > 1);
        self.bytes = self.by_hash.values().map(|origin| origin.memory()).sum();
    }
}

/// The spans of a trace in the order they came, one behind the other in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawSpans {
    bytes: Vec<u8>,
    /// End of each span, and its origin in `origins`.
    spans: Vec<(u32, u32)>,
    origins: Vec<Arc<RawOrigin>>,
}

impl RawSpans {
    /// Adds a span.
    pub fn push(&mut self, origin: &Arc<RawOrigin>, bytes: &[u8]) {
        let held = self
            .origins
            .iter()
            .rposition(|held| Arc::ptr_eq(held, origin));
        let place = held.unwrap_or_else(|| {
            self.origins.push(Arc::clone(origin));
            self.origins.len() - 1
        });
        self.bytes.extend_from_slice(bytes);
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.spans
            .push((end, u32::try_from(place).unwrap_or(u32::MAX)));
    }

    /// The spans with their origins.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<RawOrigin>, &[u8])> {
        let mut start = 0;
        self.spans.iter().filter_map(move |(end, origin)| {
            let range = start..*end as usize;
            start = range.end;
            let origin = self.origins.get(*origin as usize)?;
            Some((origin, self.bytes.get(range)?))
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Gives back memory that was taken for spans to come.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.spans.shrink_to_fit();
        self.origins.shrink_to_fit();
    }

    /// Memory, without the origins themselves.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
            + self.spans.capacity() * size_of::<(u32, u32)>()
            + self.origins.capacity() * size_of::<Arc<RawOrigin>>()
    }
}

/// Reads spans of the bytes that a receiver put in.
pub trait DecodeSpans: Send + Sync + std::fmt::Debug {
    /// The spans; those that cannot be read are left out.
    fn decode(&self, spans: &RawSpans) -> Vec<TraceSpan>;
}
