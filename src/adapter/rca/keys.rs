//! Names of operations and links, and the hashes that stand for them in summaries.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::model::series::{SeriesId, ServiceKey};
use crate::model::span::SpanKind;

/// An operation of a service: spans of one name and kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationKey {
    /// Whose.
    pub service: ServiceKey,
    /// Templated name.
    pub operation: Arc<str>,
    /// Kind of its spans.
    pub kind: SpanKind,
}

impl OperationKey {
    /// The hash that stands for it.
    pub fn id(&self) -> SeriesId {
        let mut buffer = Vec::with_capacity(64);
        let service = self.service.hash();
        SeriesId::of_operation(&mut buffer, service, self.kind, self.operation.as_bytes())
    }
}

/// Calls of one service to one operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkKey {
    /// Who calls.
    pub caller: ServiceKey,
    /// What is called.
    pub callee: OperationKey,
}

/// The hash that stands for a [`LinkKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkId(pub u128);

impl LinkId {
    /// From the caller and the called operation.
    pub fn of(caller: &ServiceKey, callee: SeriesId) -> Self {
        Self(xxh3_128(
            &[caller.hash().to_le_bytes(), callee.0.to_le_bytes()].concat(),
        ))
    }
}
