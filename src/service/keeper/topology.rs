//! The edges of the service graph in the store.

use crate::model::incident::MemoryError;
use crate::model::topology::{EdgeMemory, KnownEdges};
use crate::service::keeper::Keeper;

impl EdgeMemory for Keeper {
    fn edges(&self) -> Result<KnownEdges, MemoryError> {
        self.store.edges().map_err(Into::into)
    }

    fn keep_edges(&self, edges: &KnownEdges) -> Result<(), MemoryError> {
        self.store.keep_edges(edges).map_err(Into::into)
    }
}
