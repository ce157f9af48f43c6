//! `GET /metrics`: self-telemetry as it is now, then the window families of the newest report.
//!
//! The window families are encoded once a report at most, however many scrapers there are, and on a
//! blocking thread.

use std::convert::Infallible;
use std::sync::{Arc, Weak};

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};

use super::Shared;
use super::http::error;
use crate::exporter::prometheus;
use crate::model::report::Report;
use crate::telemetry;

/// The window families of the newest report that was scraped.
#[derive(Default)]
pub(super) struct PageCache {
    // Held over the encoding on purpose: scrapers that come meanwhile wait for the same page.
    newest: Mutex<Option<Page>>,
}

/// The encoded families of one report. The weak reference keeps its address from being used again,
/// and nothing else of it.
struct Page {
    report: Weak<Report>,
    text: Bytes,
}

impl PageCache {
    /// The families of `report`, encoded now unless they are at hand.
    pub(super) async fn families(&self, report: Arc<Report>) -> Result<Bytes, JoinError> {
        let mut newest = self.newest.lock().await;
        if let Some(page) = newest.as_ref()
            && std::ptr::eq(page.report.as_ptr(), Arc::as_ptr(&report))
        {
            return Ok(page.text.clone());
        }
        // The old page is freed before the new one is made.
        *newest = None;
        let weak = Arc::downgrade(&report);
        let text = spawn_blocking(move || Bytes::from(prometheus::render(&report))).await?;
        *newest = Some(Page {
            report: weak,
            text: text.clone(),
        });
        Ok(text)
    }
}

/// The whole page.
pub(super) async fn page(State(shared): State<Arc<Shared>>) -> Response {
    match parts(&shared).await {
        Ok(parts) => {
            let parts = parts.into_iter().map(Ok::<_, Infallible>);
            let body = Body::from_stream(stream::iter(parts));
            ([(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)], body).into_response()
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

async fn parts(shared: &Shared) -> Result<[Bytes; 2], JoinError> {
    let handle = shared.state.metrics.clone();
    let own = spawn_blocking(move || {
        telemetry::observe_memory();
        Bytes::from(telemetry::render(&handle))
    })
    .await?;
    let families = match shared.report() {
        Some(report) => shared.page.families(report).await?,
        None => Bytes::new(),
    };
    Ok([own, families])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::prometheus::fixture;

    #[tokio::test]
    async fn a_report_is_encoded_once_and_the_next_one_again() {
        let cache = PageCache::default();
        let first = Arc::new(fixture::report());
        let page = cache.families(Arc::clone(&first)).await.unwrap();
        let again = cache.families(Arc::clone(&first)).await.unwrap();
        assert_eq!(page.as_ptr(), again.as_ptr());
        let next = cache.families(Arc::new(fixture::report())).await.unwrap();
        assert_ne!(page.as_ptr(), next.as_ptr());
        assert_eq!(page, next);
    }

    #[tokio::test]
    async fn the_page_does_not_keep_its_report_alive() {
        let cache = PageCache::default();
        let report = Arc::new(fixture::report());
        let weak = Arc::downgrade(&report);
        cache.families(report).await.unwrap();
        assert!(weak.upgrade().is_none());
    }
}
