//! Section `sli`, ready to be applied to spans.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::span::SpanKind;
use crate::window::cohort::watch::Watch;
use crate::window::event::asked::Asked;
use crate::window::event::{OperationScratch, ResourceAttributes, Sampling, Weighing};
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
    asked: Arc<Asked>,
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
            asked: Arc::default(),
        }
    }

    /// Reads what went wrong and who was called in the spans of these services, too.
    #[must_use]
    pub fn watching(self, watch: Arc<Watch>) -> Self {
        Self { watch, ..self }
    }

    /// Weighs spans that say nothing by what their senders were asked.
    #[must_use]
    pub fn heeding(self, asked: Arc<Asked>) -> Self {
        Self { asked, ..self }
    }

    /// What senders were asked.
    pub fn asked(&self) -> &Arc<Asked> {
        &self.asked
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
        self.said(service).unwrap_or_default()
    }

    /// What somebody said of a service: `full` for all services is the default and says nothing.
    pub fn said(&self, service: &[u8]) -> Option<Sampling> {
        let own = self.sampling_by_service.get(service).copied();
        own.or_else(|| (self.sampling != Sampling::Full).then_some(self.sampling))
    }

    /// What spans of a service stand for that do not say it.
    #[inline]
    pub fn weighing(&self, service: &[u8]) -> Weighing {
        let said = self.said(service).map(Weighing::Said);
        said.or_else(|| self.asked.service(service).map(Weighing::Asked))
            .unwrap_or(Weighing::Said(Sampling::Full))
    }
}
