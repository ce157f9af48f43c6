//! The addresses of the service: bound before anything starts, said in the log and in `endpoints.json`.

use std::net::SocketAddr;

use serde::Serialize;
use tokio::net::TcpListener;

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
}

impl Endpoints {
    pub(super) fn log(self) {
        tracing::info!(
            otlp_grpc = %self.otlp_grpc,
            otlp_http = %self.otlp_http,
            admin = %self.admin,
            "Ready."
        );
    }
}

/// Where spans come in over gRPC and HTTP, and the admin endpoint.
pub(super) type Listeners = (TcpListener, TcpListener, TcpListener);

pub(super) async fn bind_all(config: &Config) -> Result<(Listeners, Endpoints), ServiceError> {
    let otlp = &config.receivers.otlp;
    let grpc = bind("receivers.otlp.grpc.endpoint", otlp.grpc.endpoint).await?;
    let http = bind("receivers.otlp.http.endpoint", otlp.http.endpoint).await?;
    let admin = bind("admin.endpoint", config.admin.endpoint).await?;
    let endpoints = Endpoints {
        otlp_grpc: grpc.local_addr()?,
        otlp_http: http.local_addr()?,
        admin: admin.local_addr()?,
    };
    Ok(((grpc, http, admin), endpoints))
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
