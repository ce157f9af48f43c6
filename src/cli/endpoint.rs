//! The admin endpoint of a running server, as commands with `--endpoint` ask it.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::outgoing::{self, OutgoingError};

/// A server that does not answer for so long is given up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("--endpoint {given}: expected the admin endpoint, for example http://127.0.0.1:9464")]
    Url { given: String },
    #[error(
        "cannot ask {url}: {source}; is slo-copilot serving there? Its log and endpoints.json name its admin endpoint"
    )]
    Unreachable { url: Url, source: reqwest::Error },
    #[error("{url} refused: {message}")]
    Refused {
        url: Url,
        status: StatusCode,
        message: String,
    },
    #[error(transparent)]
    Tls(#[from] OutgoingError),
    #[error(
        "{url} answered something else than expected: {source}; is it an slo-copilot of this version?"
    )]
    Answer { url: Url, source: reqwest::Error },
}

impl EndpointError {
    /// Whether the same question may be answered later: the server starts, stops, or is behind a proxy that misses it.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            // The connection broke in the middle of an answer.
            Self::Answer { source, .. } => !source.is_decode(),
            Self::Url { .. } | Self::Tls(_) => false,
        }
    }
}

/// How the server tells an error.
#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

/// Where to ask.
#[derive(Debug)]
pub(super) struct AdminEndpoint {
    base: Url,
    client: Client,
}

impl AdminEndpoint {
    /// From an address such as `127.0.0.1:9464`, with or without `http://`. For https the certificates of `ca_file` are
    /// trusted beside the system's. Nothing is sent yet.
    pub(super) fn new(given: &str, ca_file: Option<&Path>) -> Result<Self, EndpointError> {
        let with_scheme = if given.contains("://") {
            given.to_owned()
        } else {
            format!("http://{given}")
        };
        let base = Url::parse(&with_scheme).ok();
        let base = base.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        let base = base.ok_or_else(|| EndpointError::Url {
            given: given.to_owned(),
        })?;
        let client = outgoing::client([&base], ca_file, TIMEOUT)?;
        Ok(Self { base, client })
    }

    /// Asks for what stands below these segments of a path.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
    ) -> Result<T, EndpointError> {
        self.ask(segments, &[]).await
    }

    /// The same with a question.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        question: &[(&str, &str)],
    ) -> Result<T, EndpointError> {
        let mut url = self.url(segments);
        if !question.is_empty() {
            url.query_pairs_mut().extend_pairs(question);
        }
        answer(self.client.get(url.clone()), url).await
    }

    /// Asks for a document that may not be there.
    pub(super) async fn document(
        &self,
        segments: &[&str],
    ) -> Result<Option<Vec<u8>>, EndpointError> {
        let url = self.url(segments);
        let unreachable = |source| EndpointError::Unreachable {
            url: url.clone(),
            source,
        };
        let response = self.client.get(url.clone()).send().await;
        let response = response.map_err(unreachable)?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let body = response.bytes().await.map_err(unreachable)?;
                Ok(Some(body.into()))
            }
            _ => Err(refused(response, url).await),
        }
    }

    /// Posts JSON.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, EndpointError> {
        let url = self.url(segments);
        answer(self.client.post(url.clone()).json(body), url).await
    }

    /// Escapes what a segment may not hold.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

async fn answer<T: DeserializeOwned>(
    request: RequestBuilder,
    url: Url,
) -> Result<T, EndpointError> {
    let response = match request.send().await {
        Ok(response) => response,
        Err(source) => return Err(EndpointError::Unreachable { url, source }),
    };
    if response.status().is_success() {
        let answer = response.json().await;
        return answer.map_err(|source| EndpointError::Answer { url, source });
    }
    Err(refused(response, url).await)
}

async fn refused(response: Response, url: Url) -> EndpointError {
    let status = response.status();
    let told = response.json::<ErrorAnswer>().await;
    let message = told.map_or_else(|_| status.to_string(), |told| told.error);
    EndpointError::Refused {
        url,
        status,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_scheme_and_a_segment_no_escaping() {
        for given in [
            "127.0.0.1:9464",
            "http://127.0.0.1:9464",
            "http://127.0.0.1:9464/",
        ] {
            let endpoint = AdminEndpoint::new(given, None).unwrap();
            let url = endpoint.url(&["api", "v1", "store", "a/b?c"]);
            assert_eq!(url.as_str(), "http://127.0.0.1:9464/api/v1/store/a%2Fb%3Fc");
        }
        // Behind a proxy that serves several things.
        let endpoint = AdminEndpoint::new("http://gateway/slo/", None).unwrap();
        assert_eq!(endpoint.url(&["api"]).as_str(), "http://gateway/slo/api");
    }

    #[test]
    fn what_is_no_http_address_is_refused_with_an_example() {
        for given in ["", "http://", "ftp://a", "a b"] {
            let error = AdminEndpoint::new(given, None).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:9464"), "{error}");
        }
    }
}
