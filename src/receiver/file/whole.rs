//! Trace files as whole traces: the same walk through the same records, with all that the spans say.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::UnixNanos;
use crate::model::batch::EventBatch;
use crate::model::series::ServiceKey;
use crate::model::trace::{Attributes, TraceResource, TraceSpan};
use crate::receiver::file::lenient::{Time, start_and_end};
use crate::receiver::file::{
    FileError, FileSettings, FileSink, FileSummary, TraceInput, read_traces,
};
use crate::receiver::json::value::Number;
use crate::receiver::whole::{Details, trace_resource};
use crate::window::event::{EventRules, ResourceAttributes};

/// Takes whole spans.
pub trait TraceSink {
    /// A span of a trace, by the trace's id; empty where the file does not say it.
    fn span(&mut self, trace_id: Box<str>, span: TraceSpan);

    /// So many bytes of the file on the disk were read.
    fn progress(&mut self, _bytes_read: u64) {}
}

/// Reads a file into `sink` span by span, each with all that it says. What also wants the events of the windows
/// implements [`FileSink`] with [`FileSink::IS_WHOLE`] and reads the file once.
pub fn read_whole_traces(
    input: &TraceInput,
    rules: &EventRules,
    settings: &FileSettings,
    sink: &mut impl TraceSink,
) -> Result<FileSummary, FileError> {
    read_traces(input, rules, settings, &mut Whole(sink))
}

struct Whole<'s, S>(&'s mut S);

impl<S: TraceSink> FileSink for Whole<'_, S> {
    const IS_WHOLE: bool = true;

    fn batch(&mut self, _: &mut EventBatch) {}

    fn trace_span(&mut self, trace_id: Box<str>, span: TraceSpan) {
        self.0.span(trace_id, span);
    }

    fn progress(&mut self, bytes_read: u64) {
        self.0.progress(bytes_read);
    }
}

/// What a format says of a span beside what the windows read.
#[derive(Clone, Debug)]
pub(super) struct FileDetails {
    /// Attributes of its resource.
    pub resource: Arc<Attributes>,
    pub details: Details,
}

/// The resources of a file, each once.
#[derive(Debug, Default)]
pub(super) struct Resources(HashMap<(ServiceKey, Box<str>), Arc<TraceResource>>);

/// More are forgotten: they are made again for the next span.
const RESOURCES_MAX: usize = 1_024;

impl Resources {
    /// A resource with these attributes, of the service that the windows see.
    pub(super) fn intern(
        &mut self,
        service: &ResourceAttributes<'_>,
        attributes: &Attributes,
    ) -> Arc<TraceResource> {
        if self.0.len() >= RESOURCES_MAX {
            self.0.clear();
        }
        let held = self.0.entry(service.key());
        let held = held.or_insert_with(|| Arc::new(trace_resource(service, attributes.clone())));
        if held.attributes != *attributes {
            *held = Arc::new(trace_resource(service, attributes.clone()));
        }
        Arc::clone(held)
    }
}

/// A time of its own, as of an event.
pub(super) fn instant(number: &Number<'_>) -> Option<UnixNanos> {
    let time = Time::read("timeUnixNano", number).ok()?;
    start_and_end(time, time).map(|(at, _)| at)
}
