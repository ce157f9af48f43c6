//! The identity of a series of events.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::model::span::SpanKind;

/// Name of the service whose resource does not say one, as the OpenTelemetry SDKs have it.
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// Reserved operation and service that take the events over a cap, with their outcome.
pub const OVERFLOW: &str = "_other";

/// A key that is the same on every machine and after every restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesId(pub u128);

/// Which service: `service.namespace`, `deployment.environment.name`, `service.name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServiceKey {
    /// `service.namespace`, empty if not said.
    pub namespace: Arc<str>,
    /// `deployment.environment.name` (or its old key), empty if not said.
    pub environment: Arc<str>,
    /// `service.name`, or `unknown_service`.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// A service by its name alone.
    pub fn named(name: &str) -> Self {
        Self {
            namespace: "".into(),
            environment: "".into(),
            name: name.into(),
        }
    }

    /// The service `_other`, which takes the events of services over the cap.
    pub fn overflow() -> Self {
        Self::named(OVERFLOW)
    }

    /// The hash that the series of this service are derived from.
    pub fn hash(&self) -> u128 {
        let mut buffer = Vec::with_capacity(64);
        Self::hash_parts(
            &mut buffer,
            self.namespace.as_bytes(),
            self.environment.as_bytes(),
            self.name.as_bytes(),
        )
    }

    /// The same hash from borrowed parts; `buffer` is overwritten.
    pub fn hash_parts(
        buffer: &mut Vec<u8>,
        namespace: &[u8],
        environment: &[u8],
        name: &[u8],
    ) -> u128 {
        buffer.clear();
        for part in [namespace, environment, name] {
            buffer.extend_from_slice(part);
            buffer.push(0);
        }
        xxh3_128(buffer)
    }
}

/// What a series counts within its service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeriesScope {
    /// All entry spans of the service.
    Service,
    /// The entry spans of one operation.
    Operation {
        /// Templated name, for example `GET /users/{id}`.
        operation: Arc<str>,
        /// Kind of the entry spans.
        kind: SpanKind,
    },
    /// All entry spans of one `service.version`.
    Version {
        /// The version as the resource says it.
        version: Arc<str>,
    },
}

/// The full identity of a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// The service.
    pub service: ServiceKey,
    /// What of it.
    pub scope: SeriesScope,
}

impl SeriesKey {
    /// The key of a service's own series.
    pub fn service(service: ServiceKey) -> Self {
        Self {
            service,
            scope: SeriesScope::Service,
        }
    }

    /// The key of an operation's series.
    pub fn operation(service: ServiceKey, operation: &str, kind: SpanKind) -> Self {
        Self {
            service,
            scope: SeriesScope::Operation {
                operation: operation.into(),
                kind,
            },
        }
    }

    /// The hash that stands for this key everywhere.
    pub fn id(&self) -> SeriesId {
        let service = self.service.hash();
        match &self.scope {
            SeriesScope::Service => SeriesId::of_service(service),
            SeriesScope::Operation { operation, kind } => {
                SeriesId::of_operation(&mut Vec::new(), service, *kind, operation.as_bytes())
            }
            SeriesScope::Version { version } => {
                SeriesId::of_version(&mut Vec::new(), service, version.as_bytes())
            }
        }
    }

    /// The operation's name, if this is the series of an operation.
    pub fn operation_name(&self) -> Option<&str> {
        match &self.scope {
            SeriesScope::Operation { operation, .. } => Some(operation),
            SeriesScope::Service | SeriesScope::Version { .. } => None,
        }
    }
}

impl SeriesId {
    /// The id of a service's own series, from [`ServiceKey::hash`].
    pub fn of_service(service: u128) -> Self {
        Self(service)
    }

    /// The id of an operation's series; `buffer` is overwritten.
    pub fn of_operation(
        buffer: &mut Vec<u8>,
        service: u128,
        kind: SpanKind,
        operation: &[u8],
    ) -> Self {
        buffer.clear();
        buffer.extend_from_slice(&service.to_le_bytes());
        buffer.extend_from_slice(&[b'O', kind.number()]);
        buffer.extend_from_slice(operation);
        Self(xxh3_128(buffer))
    }

    /// The id of a version's series; `buffer` is overwritten.
    pub fn of_version(buffer: &mut Vec<u8>, service: u128, version: &[u8]) -> Self {
        buffer.clear();
        buffer.extend_from_slice(&service.to_le_bytes());
        buffer.push(b'V');
        buffer.extend_from_slice(version);
        Self(xxh3_128(buffer))
    }
}
