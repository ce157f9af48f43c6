//! Waits for the trace of a request, by the completeness rule of its test.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cli::test::drive::request::Prepared;
use crate::cli::test::remote::Remote;
use crate::model::trace::{Completeness, Trace};
use crate::trace::assemble::assemble;
use crate::trace::tree::TraceTree;
use crate::tracetest::language::Variables;
use crate::tracetest::suite::CompletenessRule;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// The trace, when no span has come for the quiet time and the expected ones are there, or when its time is over; nothing
/// if no span ever came.
pub(super) async fn settled(
    remote: &Remote,
    rule: &CompletenessRule,
    prepared: &Prepared,
    began: Instant,
) -> anyhow::Result<Option<Trace>> {
    let (quiet, timeout) = (
        Duration::from_nanos(rule.quiet),
        Duration::from_nanos(rule.timeout),
    );
    let mut seen = 0;
    let mut changed = Instant::now();
    loop {
        let trace = remote.trace(&prepared.trace_id).await?;
        let trace = trace.map(|trace| rooted(trace, &prepared.span_id));
        let spans = trace.as_ref().map_or(0, |trace| trace.spans.len());
        if spans != seen {
            seen = spans;
            changed = Instant::now();
        }
        if began.elapsed() >= timeout {
            return Ok(trace);
        }
        let is_expected = |trace: &Trace| {
            rule.expect.as_ref().is_none_or(|expect| {
                let found = expect.select(&TraceTree::new(trace), &Variables::default());
                !found.is_empty()
            })
        };
        // Earlier looks may have been at other traces, so the quiet time counts from the first look at this one.
        let is_settled = spans > 0 && changed.elapsed() >= quiet;
        if let Some(trace) = trace.filter(|trace| is_settled && is_expected(trace)) {
            return Ok(Some(trace));
        }
        sleep(LOOK.min(quiet.max(Duration::from_millis(1)))).await;
    }
}

/// The trace without the span that nobody reports: what it began are roots.
fn rooted(trace: Trace, span_id: &str) -> Trace {
    let missing = match &trace.completeness {
        // That the buffer had no room cannot be seen from the spans.
        Completeness::Incomplete(reason) if reason.contains("memory") => Some(reason.clone()),
        Completeness::Incomplete(_) | Completeness::Complete => None,
    };
    let mut spans = trace.spans;
    for span in &mut spans {
        if span.parent_span_id.as_deref() == Some(span_id) {
            span.parent_span_id = None;
        }
    }
    assemble(trace.trace_id, spans, missing).0
}
