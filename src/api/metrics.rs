//! `GET /metrics`: self-telemetry as it is now, then the window families of the newest report.
//!
//! The window families are encoded once a report at most, however many scrapers there are, and on a
//! blocking thread.

use std::convert::Infallible;
use std::sync::{Arc, Weak};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};

use super::Shared;
use super::http::error;
use crate::exporter::prometheus::negotiate::PageFormat;
use crate::exporter::prometheus::openmetrics::Exemplars;
use crate::exporter::prometheus::{self, openmetrics};
use crate::model::report::Report;
use crate::telemetry;
use crate::trace::buffer::TraceBuffer;

/// The window families of the newest report that was scraped, in both formats.
#[derive(Default)]
pub(super) struct PageCache {
    // Held over the encoding on purpose: scrapers that come meanwhile wait for the same page.
    text: Mutex<Option<Page>>,
    openmetrics: Mutex<Option<Page>>,
}

/// The encoded families of one report. The weak reference keeps its address from being used again,
/// and nothing else of it.
struct Page {
    report: Weak<Report>,
    text: Bytes,
}

impl PageCache {
    /// The families of `report`, encoded now unless they are at hand. Exemplars are those of the time of encoding.
    pub(super) async fn families(
        &self,
        report: Arc<Report>,
        format: PageFormat,
        traces: Option<Arc<TraceBuffer>>,
    ) -> Result<Bytes, JoinError> {
        let slot = match format {
            PageFormat::Text => &self.text,
            PageFormat::OpenMetrics => &self.openmetrics,
        };
        let mut newest = slot.lock().await;
        if let Some(page) = newest.as_ref()
            && std::ptr::eq(page.report.as_ptr(), Arc::as_ptr(&report))
        {
            return Ok(page.text.clone());
        }
        // The old page is freed before the new one is made.
        *newest = None;
        let weak = Arc::downgrade(&report);
        let text = spawn_blocking(move || Bytes::from(encoded(&report, format, traces.as_deref())))
            .await?;
        *newest = Some(Page {
            report: weak,
            text: text.clone(),
        });
        Ok(text)
    }
}

fn encoded(report: &Report, format: PageFormat, traces: Option<&TraceBuffer>) -> String {
    let text = prometheus::render(report);
    match format {
        PageFormat::Text => text,
        PageFormat::OpenMetrics => {
            let summaries = traces.map(TraceBuffer::summaries).unwrap_or_default();
            let summaries = summaries.iter().map(|summary| &**summary);
            openmetrics::translate(&text, &Exemplars::new(summaries, report))
        }
    }
}

/// The whole page.
pub(super) async fn page(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter();
    let accept: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
    let format = PageFormat::negotiate(&accept.join(","));
    match parts(&shared, format).await {
        Ok(parts) => {
            let parts = parts.into_iter().map(Ok::<_, Infallible>);
            let body = Body::from_stream(stream::iter(parts));
            let content_type = match format {
                PageFormat::Text => prometheus::CONTENT_TYPE,
                PageFormat::OpenMetrics => openmetrics::CONTENT_TYPE,
            };
            let headers = [
                (header::CONTENT_TYPE, content_type),
                (header::VARY, "Accept"),
            ];
            (headers, body).into_response()
        }
        Err(failure) => {
            tracing::error!(%failure, "the metrics page could not be encoded");
            error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the page could not be encoded",
            )
        }
    }
}

async fn parts(shared: &Shared, format: PageFormat) -> Result<[Bytes; 3], JoinError> {
    let handle = shared.state.metrics.clone();
    let own = spawn_blocking(move || {
        telemetry::observe_memory();
        let text = telemetry::render(&handle);
        Bytes::from(match format {
            PageFormat::Text => text,
            PageFormat::OpenMetrics => openmetrics::translate(&text, &Exemplars::default()),
        })
    })
    .await?;
    let families = match shared.report() {
        Some(report) => {
            let traces = shared.state.traces.clone();
            shared.page.families(report, format, traces).await?
        }
        None => Bytes::new(),
    };
    let end = match format {
        PageFormat::Text => "",
        PageFormat::OpenMetrics => openmetrics::EOF,
    };
    Ok([own, families, Bytes::from_static(end.as_bytes())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::prometheus::fixture;

    #[tokio::test]
    async fn a_report_is_encoded_once_and_the_next_one_again() {
        let cache = PageCache::default();
        let first = Arc::new(fixture::report());
        let page = cache
            .families(Arc::clone(&first), PageFormat::Text, None)
            .await
            .unwrap();
        let again = cache
            .families(Arc::clone(&first), PageFormat::Text, None)
            .await
            .unwrap();
        assert_eq!(page.as_ptr(), again.as_ptr());
        let next = cache
            .families(Arc::new(fixture::report()), PageFormat::Text, None)
            .await
            .unwrap();
        assert_ne!(page.as_ptr(), next.as_ptr());
        assert_eq!(page, next);
    }

    #[tokio::test]
    async fn the_page_does_not_keep_its_report_alive() {
        let cache = PageCache::default();
        let report = Arc::new(fixture::report());
        let weak = Arc::downgrade(&report);
        cache
            .families(report, PageFormat::Text, None)
            .await
            .unwrap();
        assert!(weak.upgrade().is_none());
    }
}
