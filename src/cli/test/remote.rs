//! The traces of a running server.

use std::collections::BTreeSet;

use anyhow::Context;
use serde::Deserialize;

use crate::cli::endpoint::{AdminEndpoint, EndpointError};
use crate::config::Config;
use crate::model::trace::{Completeness, Trace};
use crate::receiver::file::TraceInput;
use crate::service::whole_traces::WholeTraces;

/// Traces that are asked for at once; the server gives no more.
const TRACES_MAX: &str = "1000";

/// A running server that is asked for traces.
#[derive(Debug)]
pub(super) struct Remote {
    server: AdminEndpoint,
    config: Config,
}

/// As the server lists traces; of each one, more than this.
#[derive(Deserialize)]
struct List {
    traces: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    trace_id: String,
    incomplete: Option<String>,
}

impl Remote {
    /// Nothing is sent yet.
    pub(super) fn new(endpoint: &str, config: &Config) -> Result<Self, EndpointError> {
        Ok(Self {
            server: AdminEndpoint::new(endpoint, None)?,
            config: config.clone(),
        })
    }

    /// A trace, if the server has it, as complete as its spans say.
    pub(super) async fn trace(&self, id: &str) -> anyhow::Result<Option<Trace>> {
        let document = self.server.document(&["api", "v1", "traces", id]).await?;
        document.map_or(Ok(None), |document| self.read(&document))
    }

    /// The answer is a trace file as any other one.
    fn read(&self, document: &[u8]) -> anyhow::Result<Option<Trace>> {
        let folder = tempfile::tempdir().context("cannot make a directory for a trace")?;
        let path = folder.path().join("trace.json");
        std::fs::write(&path, document).context("cannot keep a trace")?;
        let mut whole = WholeTraces::new(&self.config);
        whole.read(&TraceInput::file(&path), |_| {})?;
        Ok(whole.finish().traces.pop())
    }

    /// The traces that are over and whose ids are not `known` yet; their ids are then. The newest thousand are seen.
    pub(super) async fn new_traces(
        &self,
        known: &mut BTreeSet<String>,
    ) -> anyhow::Result<Vec<Trace>> {
        let limit = [("limit", TRACES_MAX)];
        let list: List = self.server.ask(&["api", "v1", "traces"], &limit).await?;
        let mut traces = Vec::new();
        for listed in list.traces {
            if known.contains(&listed.trace_id) {
                continue;
            }
            if let Some(mut trace) = self.trace(&listed.trace_id).await? {
                if let Some(reason) = listed.incomplete {
                    trace.completeness = Completeness::Incomplete(reason);
                }
                known.insert(listed.trace_id);
                traces.push(trace);
            }
        }
        Ok(traces)
    }
}
