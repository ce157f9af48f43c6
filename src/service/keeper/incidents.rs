//! The incident memory of the store.

use crate::api::Said;
use crate::evaluator::verdict::timestamp;
use crate::model::incident::{Incident, IncidentMemory, MemoryError};
use crate::service::keeper::Keeper;
use crate::store::StoreError;

impl Keeper {
    /// All incidents, the oldest first.
    pub(in crate::service) fn incidents(&self) -> Result<Vec<Incident>, StoreError> {
        self.store.incidents()
    }

    /// One of them.
    pub(in crate::service) fn incident(&self, id: u64) -> Result<Incident, StoreError> {
        self.store.incident(id)
    }

    /// Remembers what a person says about one of them.
    pub(in crate::service) fn confirm_incident(
        &self,
        id: u64,
        said: Said,
    ) -> Result<Incident, StoreError> {
        let at = timestamp(self.clock.now());
        self.store.confirm_incident(id, said.at(at))
    }
}

impl IncidentMemory for Keeper {
    fn incidents(&self) -> Result<Vec<Incident>, MemoryError> {
        self.store.incidents().map_err(Into::into)
    }

    fn keep(&self, incident: &Incident) -> Result<u64, MemoryError> {
        self.store.keep_incident(incident).map_err(Into::into)
    }
}
