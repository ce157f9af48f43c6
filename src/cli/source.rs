//! Where commands find SLOs: the store of a stopped server, or a running one.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::api::{Decision, IncidentList, Said};
use crate::cli::endpoint::{AdminEndpoint, EndpointError};
use crate::config::Config;
use crate::model::candidate::Candidate;
use crate::model::incident::Incident;
use crate::model::record::{Accepted, Edit, SloList, SloRecord};
use crate::store::book::DecisionError;
use crate::store::{self, Store, StoreError};

/// Which store.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Configuration file whose storage.dir is meant.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Directory of the store; wins over the configuration.
    #[arg(long, value_name = "DIR")]
    pub storage_dir: Option<PathBuf>,
}

impl StoreArgs {
    /// The settings of the store that is meant.
    pub(super) fn settings(&self) -> anyhow::Result<store::Config> {
        let config = Config::load(self.config.as_deref(), std::env::vars(), &[])?;
        let dir = self.storage_dir.clone().unwrap_or(config.storage.dir);
        Ok(store::Config {
            dir,
            ..config.storage
        })
    }
}

/// Which store, or which server.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The store of a stopped server.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Admin endpoint of a running server, for example 127.0.0.1:9464. Its store is locked for others.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "storage_dir"])]
    pub endpoint: Option<String>,

    /// Certificates in PEM form that an https endpoint may show, beside the system's.
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub ca_file: Option<PathBuf>,
}

impl SourceArgs {
    /// Opens the store, or gets ready to ask the server.
    pub(super) fn open(&self) -> anyhow::Result<Source> {
        Ok(match &self.endpoint {
            Some(url) => Source::Server(AdminEndpoint::new(url, self.ca_file.as_deref())?),
            None => Source::Store(Box::new(Store::open_existing(self.store.settings()?)?)),
        })
    }
}

/// Why a source does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Server(#[from] EndpointError),
}

/// SLOs to read and to decide about.
pub(super) enum Source {
    Store(Box<Store>),
    Server(AdminEndpoint),
}

/// As the server lists candidates.
#[derive(Deserialize)]
struct Candidates {
    candidates: Vec<Candidate>,
}

impl Source {
    /// All SLOs by name.
    pub(super) async fn slos(&self) -> Result<Vec<SloRecord>, SourceError> {
        Ok(match self {
            Self::Store(store) => store.slos()?,
            Self::Server(server) => {
                let list: SloList = server.get(&["api", "v1", "store"]).await?;
                list.slos
            }
        })
    }

    /// One SLO.
    pub(super) async fn slo(&self, name: &str) -> Result<SloRecord, SourceError> {
        Ok(match self {
            Self::Store(store) => {
                let found = store.slo(name)?;
                let not_found = || DecisionError::NotFound {
                    name: name.to_owned(),
                };
                found.ok_or_else(not_found).map_err(StoreError::from)?
            }
            Self::Server(server) => server.get(&["api", "v1", "store", name]).await?,
        })
    }

    /// The candidates by name: a server's are as new as its last fit, a store's as the last change.
    pub(super) async fn candidates(&self) -> Result<Vec<Candidate>, SourceError> {
        let mut candidates: Vec<Candidate> = match self {
            Self::Store(store) => store
                .slos()?
                .iter()
                .filter_map(SloRecord::as_candidate)
                .collect(),
            Self::Server(server) => {
                let list: Candidates = server.get(&["api", "v1", "candidates"]).await?;
                list.candidates
            }
        };
        candidates.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(candidates)
    }

    /// The incidents that are remembered, the oldest first.
    pub(super) async fn incidents(&self) -> Result<Vec<Incident>, SourceError> {
        Ok(match self {
            Self::Store(store) => store.incidents()?,
            Self::Server(server) => {
                let list: IncidentList = server.get(&["api", "v1", "incidents"]).await?;
                list.incidents
            }
        })
    }

    /// One of them.
    pub(super) async fn incident(&self, id: u64) -> Result<Incident, SourceError> {
        Ok(match self {
            Self::Store(store) => store.incident(id)?,
            Self::Server(server) => {
                let path = ["api", "v1", "incidents", &id.to_string()];
                server.get(&path).await?
            }
        })
    }

    /// Remembers what a person says about an incident; a server takes its own time.
    pub(super) async fn confirm_incident(
        &self,
        id: u64,
        said: Said,
        at: Timestamp,
    ) -> Result<Incident, SourceError> {
        Ok(match self {
            Self::Store(store) => store.confirm_incident(id, said.at(at))?,
            Self::Server(server) => {
                let verb = format!("{id}:confirm");
                server
                    .post(&["api", "v1", "incidents", &verb], &said)
                    .await?
            }
        })
    }

    /// Accepts a candidate. `edit` says who, why and when; a server takes its own time.
    pub(super) async fn accept(&self, name: &str, edit: &Edit) -> Result<Accepted, SourceError> {
        Ok(match self {
            Self::Store(store) => {
                store.edit_slos(|book| Ok::<_, StoreError>(book.accept(name, edit)?))?
            }
            Self::Server(server) => {
                let verb = format!("{name}:accept");
                let path = ["api", "v1", "candidates", &verb];
                server.post(&path, &Decision::from(edit)).await?
            }
        })
    }

    /// Rejects a candidate.
    pub(super) async fn reject(&self, name: &str, edit: &Edit) -> Result<(), SourceError> {
        match self {
            Self::Store(store) => {
                store.edit_slos(|book| Ok::<_, StoreError>(book.reject(name, edit)?))?;
            }
            Self::Server(server) => {
                let verb = format!("{name}:reject");
                let path = ["api", "v1", "candidates", &verb];
                let _: Value = server.post(&path, &Decision::from(edit)).await?;
            }
        }
        Ok(())
    }
}
