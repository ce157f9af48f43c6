//! TLS before a plain server, with a certificate of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Ends TLS and hands the rest on, as an ingress does.
pub(crate) struct TlsProxy {
    pub(crate) address: SocketAddr,
    dir: TempDir,
}

impl TlsProxy {
    /// Before a server of HTTP/1.
    pub(crate) async fn before(target: SocketAddr) -> Self {
        Self::speaking(&[], target).await
    }

    /// Before a server of gRPC.
    pub(crate) async fn before_grpc(target: SocketAddr) -> Self {
        Self::speaking(&[b"h2"], target).await
    }

    async fn speaking(protocols: &[&[u8]], target: SocketAddr) -> Self {
        slo_copilot::outgoing::install_crypto_provider();
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), own.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|own| own.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate hangs up.
                    let mut stream = acceptor.accept(stream).await.ok()?;
                    let mut target = TcpStream::connect(target).await.ok()?;
                    copy_bidirectional(&mut stream, &mut target).await.ok()
                });
            }
        });
        Self { address, dir }
    }

    /// What trusts it.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}
