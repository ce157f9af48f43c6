//! Section `sli`, ready to be applied to spans.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::span::SpanKind;
use crate::window::cohort::watch::Watch;
use crate::window::event::{OperationScratch, ResourceAttributes, Sampling};
use crate::window::settings::SliConfig;

/// Which kinds of spans are entry spans, by `sli.span_kinds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryKinds([bool; 6]);

impl EntryKinds {
    /// From the list of the configuration.
    pub fn new(kinds: &[SpanKind]) -> Self {
        Self(SpanKind::ALL.map(|kind| kinds.contains(&kind)))
    }

    /// Whether such a span is an event. Internal spans are only without a parent.
    #[inline]
    pub fn is_entry(self, kind: SpanKind, has_parent: bool) -> bool {
        let listed = self
            .0
            .get(usize::from(kind.number()))
            .copied()
            .unwrap_or(false);
        listed && !(has_parent && kind == SpanKind::Internal)
    }
}

/// The rules of section `sli`, ready to be applied.
#[derive(Clone, Debug)]
pub struct EventRules {
    /// Which kinds are entry spans.
    pub entry_kinds: EntryKinds,
    sampling: Sampling,
    sampling_by_service: BTreeMap<Vec<u8>, Sampling>,
    version_key: Vec<u8>,
    watch: Arc<Watch>,
}

impl EventRules {
    /// From the configuration.
    pub fn new(config: &SliConfig) -> Self {
        let by_service = config.sampling_by_service.iter();
        Self {
            entry_kinds: EntryKinds::new(&config.span_kinds),
            sampling: config.sampling,
            sampling_by_service: by_service
                .map(|(service, sampling)| (service.as_bytes().to_vec(), *sampling))
                .collect(),
            version_key: config.version_attribute.as_bytes().to_vec(),
            watch: Arc::default(),
        }
    }

    /// Reads what went wrong and who was called in the spans of these services, too.
    #[must_use]
    pub fn watching(self, watch: Arc<Watch>) -> Self {
        Self { watch, ..self }
    }

    /// The attribute of resources that tells versions of a service apart.
    pub fn version_key(&self) -> &[u8] {
        &self.version_key
    }

    /// Whether the spans of this resource are looked at more closely.
    #[inline]
    pub fn is_watched(
        &self,
        resource: &ResourceAttributes<'_>,
        scratch: &mut OperationScratch,
    ) -> bool {
        self.watch.is_on() && self.watch.includes(resource, &mut scratch.buffer)
    }

    /// What is configured for a service.
    pub fn sampling_of(&self, service: &[u8]) -> Sampling {
        self.sampling_by_service
            .get(service)
            .copied()
            .unwrap_or(self.sampling)
    }
}
