//! Trace files as whole traces in bounded memory.

use crate::config::Config;
use crate::model::finding::Finding;
use crate::model::trace::TraceSpan;
use crate::pii::{Counts, Scrubber};
use crate::receiver::file::{FileError, FileSettings, TraceInput, TraceSink, read_whole_traces};
use crate::trace::assemble::{Assembled, TraceAssembler};
use crate::trace::scrub;
use crate::window::event::EventRules;

/// Files under way.
#[derive(Debug)]
pub struct WholeTraces {
    assembler: TraceAssembler,
    rules: EventRules,
    findings: Vec<Finding>,
    is_cut_off: bool,
    scrubber: Scrubber,
}

struct Sink<'a, P> {
    assembler: &'a mut TraceAssembler,
    progress: P,
}

impl<P: FnMut(u64)> TraceSink for Sink<'_, P> {
    fn span(&mut self, trace_id: Box<str>, span: TraceSpan) {
        self.assembler.add(trace_id, span);
    }

    fn progress(&mut self, bytes_read: u64) {
        (self.progress)(bytes_read);
    }
}

impl WholeTraces {
    /// Nothing read yet.
    pub fn new(config: &Config) -> Self {
        let most = usize::try_from(config.tests.max_trace_bytes).unwrap_or(usize::MAX);
        Self {
            assembler: TraceAssembler::new(most),
            rules: EventRules::new(&config.sli),
            findings: Vec::new(),
            is_cut_off: false,
            scrubber: config.scrubber(),
        }
    }

    /// Reads one input. `progress` is told the bytes read of it so far.
    pub fn read(&mut self, input: &TraceInput, progress: impl FnMut(u64)) -> Result<(), FileError> {
        let mut sink = Sink {
            assembler: &mut self.assembler,
            progress,
        };
        let settings = FileSettings::default();
        let summary = read_whole_traces(input, &self.rules, &settings, &mut sink)?;
        self.findings.extend(summary.findings);
        self.is_cut_off |= summary.is_truncated;
        Ok(())
    }

    /// What could not be read.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether an input ended before it should.
    pub fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    /// The traces, without personal data and secrets.
    pub fn finish(self) -> Assembled {
        let mut assembled = self.assembler.finish();
        let mut found = Counts::default();
        for trace in &mut assembled.traces {
            scrub::trace(trace, &self.scrubber, &mut found);
        }
        assembled
    }
}
