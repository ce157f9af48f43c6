//! One connection to a server, over gRPC or over HTTP.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use crate::otlp::trace_service_client::TraceServiceClient;
use crate::outgoing;
use crate::traffic::send::totals::{Answer, DEFAULT_PAUSE};
use crate::traffic::send::{SendError, Target};

/// How requests are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf.
    Http,
    /// OTLP/HTTP with JSON: each request is translated before it is sent.
    HttpJson,
}

/// A connection.
#[derive(Clone, Debug)]
pub(super) enum Client {
    Grpc(TraceServiceClient<Channel>),
    Http(HttpClient),
}

/// A connection over HTTP.
#[derive(Clone, Debug)]
pub(super) struct HttpClient {
    client: reqwest::Client,
    url: reqwest::Url,
    is_json: bool,
    is_gzip: bool,
}

impl Client {
    pub(super) async fn connect(target: &Target) -> Result<Self, SendError> {
        match target.protocol {
            Protocol::Grpc => Self::connect_grpc(target).await,
            Protocol::Http => HttpClient::connect(target, false).await.map(Self::Http),
            Protocol::HttpJson => HttpClient::connect(target, true).await.map(Self::Http),
        }
    }

    async fn connect_grpc(target: &Target) -> Result<Self, SendError> {
        let endpoint = Endpoint::from_shared(target.endpoint.clone())
            .map_err(|source| SendError::Endpoint {
                endpoint: target.endpoint.clone(),
                source,
            })?
            .timeout(target.timeout)
            .tcp_nodelay(true);
        let channel = endpoint
            .connect()
            .await
            .map_err(|source| SendError::Connect {
                endpoint: target.endpoint.clone(),
                source,
            })?;
        let client = TraceServiceClient::new(channel);
        Ok(Self::Grpc(match target.compression {
            Some(encoding) => client.send_compressed(encoding),
            None => client,
        }))
    }

    pub(super) async fn export(&mut self, body: Bytes) -> Answer {
        match self {
            Self::Grpc(client) => {
                let result = client.export(body).await;
                Answer::from_result(result.map(tonic::Response::into_inner))
            }
            Self::Http(client) => client.export(body).await,
        }
    }
}

impl HttpClient {
    async fn connect(target: &Target, is_json: bool) -> Result<Self, SendError> {
        let failed = |text: String| SendError::Http {
            endpoint: target.endpoint.clone(),
            text,
        };
        let base = format!("{}/v1/traces", target.endpoint.trim_end_matches('/'));
        let url = reqwest::Url::parse(&base).map_err(|error| failed(error.to_string()))?;
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(failed("names no host".to_owned()));
        };
        // Nobody listening is told at once, as over gRPC.
        TcpStream::connect((host, port))
            .await
            .map_err(|error| failed(error.to_string()))?;
        let client = outgoing::client([&url], None, target.timeout)
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            client,
            url,
            is_json,
            is_gzip: target.compression.is_some(),
        })
    }

    async fn export(&self, body: Bytes) -> Answer {
        let (mut body, kind) = if self.is_json {
            match json(&body) {
                Ok(json) => (json, "application/json"),
                Err(text) => return Answer::Failed(text),
            }
        } else {
            (body, "application/x-protobuf")
        };
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, kind);
        if self.is_gzip {
            match gzip(&body) {
                Ok(packed) => body = packed,
                Err(error) => return Answer::Failed(error.to_string()),
            }
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        match request.body(body).send().await {
            Ok(response) => self.answer(response).await,
            Err(error) => Answer::Lost(error.to_string()),
        }
    }

    /// OTLP's rule: 429, 502, 503 and 504 may be tried again, the others not.
    async fn answer(&self, response: reqwest::Response) -> Answer {
        let status = response.status();
        let asked = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let asked = asked
            .and_then(|secs| secs.parse().ok())
            .map(Duration::from_secs);
        match status {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let retry_after = asked.unwrap_or(DEFAULT_PAUSE);
                return Answer::Refused { retry_after };
            }
            _ => return Answer::Failed(format!("HTTP {status}")),
        }
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return Answer::Lost(error.to_string()),
        };
        if self.is_json {
            return match serde_json::from_slice::<ExportTraceServiceResponse>(&body) {
                Ok(response) => Answer::from_response(&response),
                Err(error) => Answer::Failed(format!("the answer is no OTLP response: {error}")),
            };
        }
        Answer::from_result(Ok(body))
    }
}

fn json(body: &Bytes) -> Result<Bytes, String> {
    let request =
        ExportTraceServiceRequest::decode(body.as_ref()).map_err(|error| error.to_string())?;
    serde_json::to_vec(&request)
        .map(Bytes::from)
        .map_err(|error| error.to_string())
}

fn gzip(body: &Bytes) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}
