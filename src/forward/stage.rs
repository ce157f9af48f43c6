//! From what came to what is sent: the same bytes, or what translation, scrubbing and sampling make of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::forward::deliver::{Outgoing, Receipt};
use crate::forward::json;
use crate::forward::queue::Request;
use crate::forward::sampler::{Batch, Counts, Plan, Sampler};
use crate::forward::settings::{SamplingConfig, Share};
use crate::model::advice::Advice;
use crate::otlp::client::{Encoding, Protocol};
use crate::otlp::scrub;
use crate::pii::{self, Scrubber};
use crate::telemetry::{ForwardMetrics, count_pii_findings};

/// What becomes of requests on their way.
pub(super) struct Stage {
    scrubber: Option<Scrubber>,
    sampler: Option<Sampler>,
    advice: watch::Receiver<Advice>,
    /// Whether the backend reads JSON.
    takes_json: bool,
    /// Spans that were let through.
    kept: Arc<AtomicU64>,
    metrics: ForwardMetrics,
}

impl Stage {
    pub(super) fn new(
        sampling: &SamplingConfig,
        protocol: Protocol,
        scrubber: Option<Scrubber>,
        advice: watch::Receiver<Advice>,
        metrics: ForwardMetrics,
    ) -> Self {
        let is_on = sampling.share != Share::Off;
        Self {
            // One that changes nothing need not read anything.
            scrubber: scrubber.filter(Scrubber::is_enabled),
            sampler: is_on.then(|| Sampler::new(sampling.clone())),
            advice,
            takes_json: protocol == Protocol::Http,
            kept: Arc::default(),
            metrics,
        }
    }

    /// The number of spans that were let through, which goes on growing.
    pub(super) fn kept(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.kept)
    }

    /// Whether requests go on as they came, which costs nothing.
    pub(super) fn passes(&self, encoding: Encoding) -> bool {
        let is_read = self.sampler.is_some() || self.scrubber.is_some();
        !is_read && (encoding == Encoding::Protobuf || self.takes_json)
    }

    /// Whether spans wait in it.
    pub(super) fn holds(&self) -> bool {
        self.sampler.is_some()
    }

    /// Takes a request and returns what is to be sent now.
    pub(super) fn take(
        &mut self,
        request: &Request,
        receipt: Arc<Receipt>,
        now: Instant,
    ) -> Vec<Outgoing> {
        if self.passes(request.encoding) {
            return vec![Outgoing {
                body: request.body.clone(),
                encoding: request.encoding,
                spans: request.spans,
                receipts: vec![receipt],
            }];
        }
        let decoded = match decode(request) {
            Ok(decoded) => decoded,
            Err(error) => {
                tracing::warn!(
                    error,
                    "A request cannot be translated; it is not forwarded."
                );
                self.metrics.dropped.unreadable.increment(request.spans);
                return Vec::new();
            }
        };
        let plan = self.plan();
        let Some(sampler) = &mut self.sampler else {
            let whole = Batch {
                request: decoded,
                spans: request.spans,
                receipts: vec![receipt],
            };
            return self.finish(vec![whole]);
        };
        let batches = sampler.take(decoded, &receipt, &plan, now);
        self.finish(batches)
    }

    /// What is to be sent since its time has come; at the end, with no time, all that is held.
    pub(super) fn due(&mut self, now: Option<Instant>) -> Vec<Outgoing> {
        let plan = self.plan();
        let Some(sampler) = &mut self.sampler else {
            return Vec::new();
        };
        let batches = sampler.decide_due(now, &plan);
        self.finish(batches)
    }

    fn plan(&self) -> Plan {
        self.advice.borrow().sampling.clone()
    }

    /// Scrubs what goes on, after it was decided by the names that it came with.
    fn finish(&mut self, mut batches: Vec<Batch>) -> Vec<Outgoing> {
        if let Some(scrubber) = &self.scrubber {
            let mut found = pii::Counts::default();
            for batch in &mut batches {
                scrub::request(&mut batch.request, scrubber, &mut found);
            }
            for finding in found.findings() {
                count_pii_findings(finding.kind, finding.action.label(), finding.count);
            }
        }
        if let Some(sampler) = &mut self.sampler {
            let Counts {
                sampled_out,
                early,
                forgotten,
            } = std::mem::take(&mut sampler.counts);
            let kept = batches.iter().map(|batch| batch.spans).sum();
            self.kept.fetch_add(kept, Ordering::Relaxed);
            self.metrics.sampled_out_spans.increment(sampled_out);
            self.metrics.early_decisions.increment(early);
            self.metrics.forgotten_traces.increment(forgotten);
        }
        let outgoing = batches.into_iter().map(|batch| Outgoing {
            body: batch.request.encode_to_vec().into(),
            encoding: Encoding::Protobuf,
            spans: batch.spans,
            receipts: batch.receipts,
        });
        outgoing.collect()
    }
}

fn decode(request: &Request) -> Result<ExportTraceServiceRequest, String> {
    match request.encoding {
        Encoding::Protobuf => ExportTraceServiceRequest::decode(request.body.clone())
            .map_err(|error| error.to_string()),
        Encoding::Json => json::decode(&request.body).map_err(|error| error.to_string()),
    }
}
