//! A client of OTLP/gRPC or OTLP/HTTP that sends requests as the bytes they are.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::write::GzEncoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::clock::Clock;
use crate::otlp::answer::Answer;
use crate::otlp::trace_service_client::TraceServiceClient;
use crate::outgoing::backoff::retry_after;
use crate::outgoing::{self, OutgoingError};

/// An answer of OTLP says how many spans were rejected, and why.
const MAX_ANSWER_BYTES: usize = 1 << 20;

const AGENT: &str = concat!("slo-copilot/", env!("CARGO_PKG_VERSION"));

/// How requests travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// OTLP/gRPC.
    #[default]
    Grpc,
    /// OTLP/HTTP.
    Http,
}

/// How a request is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// What every receiver knows.
    Gzip,
    /// Smaller and quicker, where the receiver knows it.
    Zstd,
}

/// How a request is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `ExportTraceServiceRequest` in protobuf.
    #[default]
    Protobuf,
    /// The same as OTLP/JSON; only over HTTP.
    Json,
}

/// Where to send and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// For example `http://127.0.0.1:4317`; over HTTP without `/v1/traces`.
    pub endpoint: String,
    /// How requests travel.
    pub protocol: Protocol,
    /// How they are packed.
    pub compression: Compression,
    /// Headers, or metadata, of each of them.
    pub headers: HeaderMap,
    /// Certificates in PEM form that https trusts beside the system's.
    pub ca_file: Option<PathBuf>,
    /// A request without an answer by then is lost.
    pub timeout: Duration,
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is no URI.
    #[error("{endpoint:?} is no endpoint such as http://127.0.0.1:4317")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What the URI parser or the transport says.
        source: tonic::transport::Error,
    },
    /// Nobody listens there.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// As it was given.
        endpoint: String,
        /// What the transport says.
        source: tonic::transport::Error,
    },
    /// The HTTP endpoint is no URL, or nobody listens there.
    #[error("cannot connect to {endpoint}: {text}")]
    Http {
        /// As it was given.
        endpoint: String,
        /// What is wrong.
        text: String,
    },
    /// Certificates or TLS.
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
}

/// A client. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    headers: HeaderMap,
    clock: Clock,
}

#[derive(Clone, Debug)]
enum Transport {
    Grpc(TraceServiceClient<Channel>),
    Http {
        client: reqwest::Client,
        url: reqwest::Url,
        compression: Compression,
    },
}

impl Client {
    /// Connects when there is something to send, and again when the connection breaks. Must be called in a runtime.
    pub fn new(target: &Target, clock: Clock) -> Result<Self, ClientError> {
        outgoing::install_crypto_provider();
        let transport = match target.protocol {
            Protocol::Grpc => Transport::grpc(endpoint(target)?.connect_lazy(), target.compression),
            Protocol::Http => Transport::http(target)?,
        };
        Ok(Self {
            transport,
            headers: target.headers.clone(),
            clock,
        })
    }

    /// Connects now: an error tells at once that nobody listens.
    pub async fn connect(target: &Target, clock: Clock) -> Result<Self, ClientError> {
        outgoing::install_crypto_provider();
        let transport = match target.protocol {
            Protocol::Grpc => {
                let connected = endpoint(target)?.connect().await;
                let channel = connected.map_err(|source| ClientError::Connect {
                    endpoint: target.endpoint.clone(),
                    source,
                })?;
                Transport::grpc(channel, target.compression)
            }
            Protocol::Http => {
                let transport = Transport::http(target)?;
                transport.knock(target).await?;
                transport
            }
        };
        Ok(Self {
            transport,
            headers: target.headers.clone(),
            clock,
        })
    }

    /// Sends one request.
    pub async fn export(&self, body: Bytes, encoding: Encoding) -> Answer {
        match &self.transport {
            Transport::Grpc(client) => {
                let mut request = tonic::Request::new(body);
                if !self.headers.is_empty() {
                    *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
                }
                let answer = client.clone().export(request).await;
                Answer::from_result(answer.map(tonic::Response::into_inner))
            }
            Transport::Http {
                client,
                url,
                compression,
            } => {
                let body = match packed(body, *compression) {
                    Ok(body) => body,
                    Err(error) => return Answer::Failed(error.to_string()),
                };
                let mut request = client
                    .post(url.clone())
                    .header(USER_AGENT, AGENT)
                    .header(CONTENT_TYPE, encoding.content_type())
                    .headers(self.headers.clone());
                if let Some(name) = compression.name() {
                    request = request.header(CONTENT_ENCODING, name);
                }
                match request.body(body).send().await {
                    Ok(response) => self.read(response).await,
                    Err(error) => Answer::Lost(outgoing::said(error)),
                }
            }
        }
    }

    async fn read(&self, mut response: reqwest::Response) -> Answer {
        let status = response.status();
        if !status.is_success() {
            let asked = response.headers().get(RETRY_AFTER);
            let asked = asked.and_then(|value| value.to_str().ok());
            let now = i64::try_from(self.clock.now() / 1_000_000_000).unwrap_or(i64::MAX);
            let now = jiff::Timestamp::from_second(now).unwrap_or(jiff::Timestamp::MAX);
            return Answer::from_http(status, asked.and_then(|value| retry_after(value, now)));
        }
        let kind = response.headers().get(CONTENT_TYPE);
        let is_json = kind.is_some_and(|kind| {
            kind.as_bytes()
                .starts_with(Encoding::Json.content_type().as_bytes())
        });
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Answer::Lost(outgoing::said(error)),
            }
            if body.len() > MAX_ANSWER_BYTES {
                let text = format!("the answer is longer than {MAX_ANSWER_BYTES} bytes");
                return Answer::Unreadable(text);
            }
        }
        if !is_json {
            return Answer::from_result(Ok(body.freeze()));
        }
        match serde_json::from_slice::<serde_json::Value>(&body) {
            Ok(response) => Answer::from_json(&response),
            Err(error) => Answer::Unreadable(format!("the answer is no OTLP response: {error}")),
        }
    }
}

impl Transport {
    fn grpc(channel: Channel, compression: Compression) -> Self {
        // Collectors answer as they were asked, packed, whether or not we said that we take it.
        let client = TraceServiceClient::new(channel)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        Self::Grpc(match compression {
            Compression::None => client,
            Compression::Gzip => client.send_compressed(CompressionEncoding::Gzip),
            Compression::Zstd => client.send_compressed(CompressionEncoding::Zstd),
        })
    }

    fn http(target: &Target) -> Result<Self, ClientError> {
        let url = format!("{}/v1/traces", target.endpoint.trim_end_matches('/'));
        let url = reqwest::Url::parse(&url).map_err(|error| wrong(target, &error))?;
        let client = outgoing::client([&url], target.ca_file.as_deref(), target.timeout)?;
        Ok(Self::Http {
            client,
            url,
            compression: target.compression,
        })
    }

    /// Whether anybody listens.
    async fn knock(&self, target: &Target) -> Result<(), ClientError> {
        let Self::Http { url, .. } = self else {
            return Ok(());
        };
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(wrong(target, &"names no host"));
        };
        let stream = TcpStream::connect((host, port)).await;
        stream.map(drop).map_err(|error| wrong(target, &error))
    }
}

fn wrong(target: &Target, text: &dyn std::fmt::Display) -> ClientError {
    ClientError::Http {
        endpoint: target.endpoint.clone(),
        text: text.to_string(),
    }
}

fn endpoint(target: &Target) -> Result<Endpoint, ClientError> {
    let wrong = |source| ClientError::Endpoint {
        endpoint: target.endpoint.clone(),
        source,
    };
    let endpoint = Endpoint::from_shared(target.endpoint.clone()).map_err(wrong)?;
    let is_secure = endpoint.uri().scheme_str() == Some("https");
    let endpoint = endpoint
        .user_agent(AGENT)
        .map_err(wrong)?
        .timeout(target.timeout)
        .connect_timeout(target.timeout)
        .tcp_nodelay(true);
    if !is_secure {
        return Ok(endpoint);
    }
    let mut tls = ClientTlsConfig::new().with_native_roots();
    if let Some(path) = &target.ca_file {
        let pem = outgoing::read_certificates(path)?;
        tls = tls.ca_certificate(Certificate::from_pem(pem));
    }
    endpoint.tls_config(tls).map_err(wrong)
}

impl Encoding {
    /// Its `Content-Type` over HTTP.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

impl Compression {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

fn packed(body: Bytes, compression: Compression) -> std::io::Result<Bytes> {
    match compression {
        Compression::None => Ok(body),
        Compression::Gzip => {
            let room = Vec::with_capacity(body.len() / 4);
            let mut encoder = GzEncoder::new(room, flate2::Compression::fast());
            encoder.write_all(&body)?;
            encoder.finish().map(Bytes::from)
        }
        Compression::Zstd => zstd::bulk::compress(&body, 1).map(Bytes::from),
    }
}
