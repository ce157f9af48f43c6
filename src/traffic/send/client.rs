//! One connection to a server, over gRPC or over HTTP.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use reqwest::header::HeaderMap;

use crate::clock::Clock;
use crate::otlp::answer::Answer;
use crate::otlp::client::{self, ClientError, Encoding};
use crate::traffic::send::Target;

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
pub(super) struct Client {
    connection: client::Client,
    encoding: Encoding,
}

impl Client {
    pub(super) async fn connect(target: &Target) -> Result<Self, ClientError> {
        let (protocol, encoding) = match target.protocol {
            Protocol::Grpc => (client::Protocol::Grpc, Encoding::Protobuf),
            Protocol::Http => (client::Protocol::Http, Encoding::Protobuf),
            Protocol::HttpJson => (client::Protocol::Http, Encoding::Json),
        };
        let target = client::Target {
            endpoint: target.endpoint.clone(),
            protocol,
            compression: target.compression,
            headers: HeaderMap::new(),
            ca_file: None,
            timeout: target.timeout,
        };
        let connection = client::Client::connect(&target, Clock::system()).await?;
        Ok(Self {
            connection,
            encoding,
        })
    }

    pub(super) async fn export(&self, body: Bytes) -> Answer {
        let body = match self.encoding {
            Encoding::Protobuf => body,
            Encoding::Json => match json(&body) {
                Ok(body) => body,
                Err(text) => return Answer::Failed(text),
            },
        };
        self.connection.export(body, self.encoding).await
    }
}

fn json(body: &Bytes) -> Result<Bytes, String> {
    let request =
        ExportTraceServiceRequest::decode(body.as_ref()).map_err(|error| error.to_string())?;
    serde_json::to_vec(&request)
        .map(Bytes::from)
        .map_err(|error| error.to_string())
}
