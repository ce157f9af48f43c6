//! Requests to others over http and https: one crypto provider, the system's roots, and a certificate file of one's own.

pub mod backoff;
pub mod text;

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};

use crate::outgoing::text::Text;

/// A key of the configuration that says nothing that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration key {key}: {message}")]
pub struct SettingError {
    /// Configuration key.
    pub key: String,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// The URL of a key; an error does not quote it, since it may hold a secret.
pub fn url(key: &str, text: &Text) -> Result<Url, SettingError> {
    let url = Url::parse(&text.resolve(key)?).ok();
    let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    url.ok_or_else(|| SettingError {
        key: key.to_owned(),
        message: "must be a URL that begins with http:// or https://".to_owned(),
    })
}

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

/// A file of certificates, unread.
pub fn read_certificates(path: &Path) -> Result<Vec<u8>, OutgoingError> {
    std::fs::read(path).map_err(|source| OutgoingError::CaFile {
        path: path.to_owned(),
        source,
    })
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, OutgoingError> {
    let pem = read_certificates(path)?;
    let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if found.is_empty() {
        let path = path.to_owned();
        return Err(OutgoingError::NoCertificate { path });
    }
    Ok(found)
}

/// What went wrong, without the URL, which may hold a secret, and down to the last cause.
pub fn said(error: reqwest::Error) -> String {
    causes(&error.without_url())
}

/// An error with its causes, each said once.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
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
