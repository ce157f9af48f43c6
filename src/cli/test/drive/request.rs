//! One request with a trace of its own.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::tracetest::language::{Expression, Scope, Variables};
use crate::tracetest::suite::HttpRequest;

/// A service that does not answer for so long is given up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Makes ids of traces and spans.
#[derive(Debug)]
pub(super) struct Ids(StdRng);

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(
            seed ^ u64::from(std::process::id()).rotate_left(32),
        ))
    }

    /// A trace id that is not 0, and a span id that is not.
    fn next(&mut self) -> (String, String) {
        let trace: u128 = self.0.random();
        let span: u64 = self.0.random();
        (format!("{:032x}", trace | 1), format!("{:016x}", span | 1))
    }
}

/// A request that can be sent.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// Of the trace that it begins.
    pub(super) trace_id: String,
    /// Of the span that nobody reports: that of the request itself.
    pub(super) span_id: String,
    method: reqwest::Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

/// Sends requests.
#[derive(Clone, Debug)]
pub(super) struct Client(reqwest::Client);

impl Client {
    pub(super) fn new() -> anyhow::Result<Self> {
        // What is measured is the service, not where it sends one to.
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        Ok(Self(client.build()?))
    }

    /// The request with its variables filled in and a `traceparent` of its own.
    pub(super) fn prepare(
        request: &HttpRequest,
        variables: &Variables,
        ids: &mut Ids,
    ) -> Result<Prepared, String> {
        let scope = Scope {
            span: None,
            selected: 0,
            variables,
        };
        let filled = |template: &Expression| {
            let value = template.value(scope);
            value.map(|value| value.to_string())
        };
        let method = request.method.parse();
        let (trace_id, span_id) = ids.next();
        let mut headers = Vec::with_capacity(request.headers.len() + 1);
        for (name, value) in &request.headers {
            headers.push((name.clone(), filled(value)?));
        }
        headers.push((
            "traceparent".to_owned(),
            format!("00-{trace_id}-{span_id}-01"),
        ));
        Ok(Prepared {
            trace_id,
            span_id,
            method: method.map_err(|_| format!("{} is no method of HTTP", request.method))?,
            url: filled(&request.url)?,
            headers,
            body: request.body.as_ref().map(filled).transpose()?,
        })
    }

    /// Sends it and reads the answer to its end; the status, or why there is none.
    pub(super) async fn send(&self, prepared: &Prepared) -> Result<u16, String> {
        let mut request = self.0.request(prepared.method.clone(), &prepared.url);
        for (name, value) in &prepared.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &prepared.body {
            request = request.body(body.clone());
        }
        let answer = async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            response.bytes().await?;
            Ok::<_, reqwest::Error>(status)
        };
        answer.await.map_err(|error| {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                text = format!("{text}: {inner}");
                cause = inner.source();
            }
            text
        })
    }
}
