//! Requests to others over http and https: one crypto provider, the system's roots, and a certificate file of one's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};

/// Why nothing can be asked.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The file of certificates is not there or not readable.
    #[error("cannot read the certificates of {path}: {source}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds none.
    #[error("{path} holds no certificate in PEM form")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// TLS cannot be set up.
    #[error(
        "TLS cannot be set up: {0}; install the system's root certificates (Debian: ca-certificates), or name a file of them"
    )]
    Tls(#[source] reqwest::Error),
}

/// Chooses the crypto provider of this process, unless an embedder did so already. [`client`] does this itself.
pub fn install_crypto_provider() {
    // Who came first has the word.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// A client that follows no redirects. For https it trusts the system's roots and those of `ca_file`; where no URL is
/// https, it looks for none, so that a machine without roots can ask over http.
pub fn client<'a>(
    urls: impl IntoIterator<Item = &'a Url>,
    ca_file: Option<&Path>,
    timeout: Duration,
) -> Result<Client, OutgoingError> {
    install_crypto_provider();
    let builder = Client::builder().timeout(timeout).redirect(Policy::none());
    let is_secure = urls.into_iter().any(|url| url.scheme() == "https");
    let builder = match ca_file {
        _ if !is_secure => builder.tls_certs_only([]),
        None => builder,
        Some(path) => builder.tls_certs_merge(certificates(path)?),
    };
    builder.build().map_err(OutgoingError::Tls)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, OutgoingError> {
    let pem = std::fs::read(path).map_err(|source| OutgoingError::CaFile {
        path: path.to_owned(),
        source,
    })?;
    let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if found.is_empty() {
        let path = path.to_owned();
        return Err(OutgoingError::NoCertificate { path });
    }
    Ok(found)
}

/// What went wrong, without the URL, which may hold a secret, and down to the last cause.
pub fn said(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        let text = next.to_string();
        if !said.contains(&text) {
            said.push_str(": ");
            said.push_str(&text);
        }
        cause = next.source();
    }
    said
}
