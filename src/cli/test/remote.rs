//! The traces of a running server.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::cli::endpoint::{AdminEndpoint, EndpointError};
use crate::model::trace::Trace;

/// A running server that is asked for traces.
#[derive(Debug)]
pub(super) struct Remote(AdminEndpoint);

/// As the server lists traces; of each one, more than its id.
#[derive(Deserialize)]
struct List {
    traces: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    trace_id: String,
}

impl Remote {
    /// Nothing is sent yet.
    pub(super) fn new(endpoint: &str) -> Result<Self, EndpointError> {
        Ok(Self(AdminEndpoint::new(endpoint)?))
    }

    /// A trace, if the server has it.
    pub(super) async fn trace(&self, id: &str) -> Result<Option<Trace>, EndpointError> {
        self.0.get_if_there(&["api", "v1", "traces", id]).await
    }

    /// The traces that are over and whose ids are not `known` yet; their ids are then.
    pub(super) async fn new_traces(
        &self,
        known: &mut BTreeSet<String>,
    ) -> Result<Vec<Trace>, EndpointError> {
        let list: List = self.0.get(&["api", "v1", "traces"]).await?;
        let mut traces = Vec::new();
        for listed in list.traces {
            if !known.contains(&listed.trace_id)
                && let Some(trace) = self.trace(&listed.trace_id).await?
            {
                known.insert(listed.trace_id);
                traces.push(trace);
            }
        }
        Ok(traces)
    }
}
