//! Requests of the spans that go on, put together from those that they came in.

use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::forward::deliver::Receipt;

/// A request that is made becomes about so large.
const REQUEST_BYTES: u64 = 1 << 20;

/// A span and where it came from.
pub(super) struct Fragment {
    pub(super) head: Arc<Head>,
    pub(super) span: Span,
    pub(super) receipt: Arc<Receipt>,
}

/// What stands above a span in its request.
pub(super) struct Head {
    /// Of the encoded resource and its schema.
    pub(super) resource_key: u128,
    pub(super) scope_key: u128,
    pub(super) service: String,
    pub(super) resource: Option<Resource>,
    pub(super) resource_schema: String,
    pub(super) scope: Option<InstrumentationScope>,
    pub(super) scope_schema: String,
}

/// A request of spans that go on.
#[derive(Debug)]
pub(in crate::forward) struct Batch {
    pub(in crate::forward) request: ExportTraceServiceRequest,
    pub(in crate::forward) spans: u64,
    pub(in crate::forward) receipts: Vec<Arc<Receipt>>,
}
/// Requests of what goes on, spans of one resource and scope together.
pub(super) fn batches(kept: Vec<Fragment>) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut building = Building::default();
    for fragment in kept {
        building.add(fragment);
        if building.bytes >= REQUEST_BYTES {
            batches.extend(std::mem::take(&mut building).finish());
        }
    }
    batches.extend(building.finish());
    batches
}

#[derive(Default)]
struct Building {
    request: ExportTraceServiceRequest,
    /// Where the spans of a head go.
    places: HashMap<(u128, u128), (usize, usize)>,
    resources: HashMap<u128, usize>,
    receipts: Vec<Arc<Receipt>>,
    spans: u64,
    bytes: u64,
}

impl Building {
    fn add(&mut self, fragment: Fragment) {
        let Fragment {
            head,
            span,
            receipt,
        } = fragment;
        self.spans += 1;
        self.bytes += span.encoded_len() as u64;
        let (at, scope_at) = self.place(&head);
        let scopes = self.request.resource_spans.get_mut(at);
        let scope = scopes.and_then(|own| own.scope_spans.get_mut(scope_at));
        if let Some(scope) = scope {
            scope.spans.push(span);
        }
        let is_last = self.receipts.last();
        if is_last.is_none_or(|last| !Arc::ptr_eq(last, &receipt)) {
            self.receipts.push(receipt);
        }
    }

    fn place(&mut self, head: &Head) -> (usize, usize) {
        let key = (head.resource_key, head.scope_key);
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let resources = &mut self.request.resource_spans;
        let at = *self.resources.entry(head.resource_key).or_insert_with(|| {
            resources.push(ResourceSpans {
                resource: head.resource.clone(),
                scope_spans: Vec::new(),
                schema_url: head.resource_schema.clone(),
            });
            resources.len() - 1
        });
        let mut scope_at = 0;
        if let Some(own) = resources.get_mut(at) {
            scope_at = own.scope_spans.len();
            own.scope_spans.push(ScopeSpans {
                scope: head.scope.clone(),
                spans: Vec::new(),
                schema_url: head.scope_schema.clone(),
            });
        }
        self.places.insert(key, (at, scope_at));
        (at, scope_at)
    }

    fn finish(self) -> Option<Batch> {
        (self.spans > 0).then_some(Batch {
            request: self.request,
            spans: self.spans,
            receipts: self.receipts,
        })
    }
}

pub(super) fn key_of(message: Option<&impl Message>, schema: &str) -> u128 {
    let mut bytes = message.map_or_else(Vec::new, Message::encode_to_vec);
    bytes.push(u8::from(message.is_some()));
    bytes.extend_from_slice(schema.as_bytes());
    xxhash_rust::xxh3::xxh3_128(&bytes)
}
