//! The addresses of the service: bound before anything starts, said in the log and in `endpoints.json`.

use std::net::SocketAddr;

use serde::Serialize;
use tokio::net::TcpListener;

use crate::api::sampling::ListenConfig;
use crate::config::Config;
use crate::exporter::files::write_atomically;
use crate::service::ServiceError;

/// The addresses that are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// OTLP/gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP/HTTP.
    pub otlp_http: SocketAddr,
    /// Admin HTTP and gRPC.
    pub admin: SocketAddr,
    /// Remote sampling over HTTP, where it is enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_http: Option<SocketAddr>,
    /// Remote sampling over gRPC, where it is enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_grpc: Option<SocketAddr>,
}

impl Endpoints {
    pub(super) fn log(self) {
        tracing::info!(
            otlp_grpc = %self.otlp_grpc,
            otlp_http = %self.otlp_http,
            admin = %self.admin,
            sampling_http = self.sampling_http.map(tracing::field::display),
            sampling_grpc = self.sampling_grpc.map(tracing::field::display),
            "Ready."
        );
    }
}

/// Where spans come in over gRPC and HTTP, and what answers questions.
pub(super) type Listeners = ((TcpListener, TcpListener), ServerListeners);

/// What answers questions.
pub(super) struct ServerListeners {
    pub(super) admin: TcpListener,
    pub(super) sampling_http: Option<TcpListener>,
    pub(super) sampling_grpc: Option<TcpListener>,
}

pub(super) async fn bind_all(config: &Config) -> Result<(Listeners, Endpoints), ServiceError> {
    let otlp = &config.receivers.otlp;
    let grpc = bind("receivers.otlp.grpc.endpoint", otlp.grpc.endpoint).await?;
    let http = bind("receivers.otlp.http.endpoint", otlp.http.endpoint).await?;
    let admin = bind("admin.endpoint", config.admin.endpoint).await?;
    let sampling = &config.sampling_server;
    let sampling_http = bind_enabled("sampling_server.http.endpoint", &sampling.http).await?;
    let sampling_grpc = bind_enabled("sampling_server.grpc.endpoint", &sampling.grpc).await?;
    let endpoints = Endpoints {
        otlp_grpc: grpc.local_addr()?,
        otlp_http: http.local_addr()?,
        admin: admin.local_addr()?,
        sampling_http: address(sampling_http.as_ref())?,
        sampling_grpc: address(sampling_grpc.as_ref())?,
    };
    let servers = ServerListeners {
        admin,
        sampling_http,
        sampling_grpc,
    };
    Ok((((grpc, http), servers), endpoints))
}

async fn bind_enabled(
    key: &'static str,
    config: &ListenConfig,
) -> Result<Option<TcpListener>, ServiceError> {
    if config.enabled {
        bind(key, config.endpoint).await.map(Some)
    } else {
        Ok(None)
    }
}

fn address(listener: Option<&TcpListener>) -> std::io::Result<Option<SocketAddr>> {
    listener.map(TcpListener::local_addr).transpose()
}

pub(super) async fn bind(
    key: &'static str,
    endpoint: SocketAddr,
) -> Result<TcpListener, ServiceError> {
    TcpListener::bind(endpoint)
        .await
        .map_err(|source| ServiceError::Bind {
            key,
            endpoint,
            source,
        })
}

pub(super) fn write_endpoints(config: &Config, endpoints: Endpoints) -> Result<(), ServiceError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| ServiceError::Endpoints(error);
    let mut text = serde_json::to_vec_pretty(&endpoints).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    let path = config.output.dir.join("endpoints.json");
    write_atomically(&path, &text).map_err(|error| failed(error.into()))
}
