//! The incident memory: each incident under a number for good, with what a person said about it. JSON, since it outlives
//! the program that wrote it.

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use crate::model::incident::{Confirmation, Incident};
use crate::store::{Store, StoreError, unreadable};

const TABLE: &str = "incidents";

/// id → incident.
const INCIDENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new(TABLE);

impl Store {
    /// All incidents, the oldest first.
    pub fn incidents(&self) -> Result<Vec<Incident>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(INCIDENTS)?;
        let mut all = Vec::new();
        for entry in table.iter()? {
            all.push(read(entry?.1.value())?);
        }
        Ok(all)
    }

    /// One incident.
    pub fn incident(&self, id: u64) -> Result<Incident, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(INCIDENTS)?;
        let found = table.get(id)?.ok_or(StoreError::NoIncident { id })?;
        read(found.value())
    }

    /// Keeps an incident under its id, or under the next one if it is 0. Beyond `storage.max_incidents` the oldest goes,
    /// those first that nobody confirmed.
    pub fn keep_incident(&self, incident: &Incident) -> Result<u64, StoreError> {
        let transaction = self.database.begin_write()?;
        let id = {
            let mut table = transaction.open_table(INCIDENTS)?;
            let last = table.last()?.map_or(0, |(id, _)| id.value());
            let id = if incident.id == 0 {
                last + 1
            } else {
                incident.id
            };
            let mut kept = Incident {
                id,
                ..incident.clone()
            };
            let known = table
                .get(id)?
                .map(|known| read(known.value()))
                .transpose()?;
            if let Some(said) = known.and_then(|known| known.confirmation) {
                kept.confirmation = Some(said);
            }
            table.insert(id, written(&kept)?.as_slice())?;
            while table.len()? > self.config.max_incidents.max(1) {
                let mut others = Vec::new();
                for entry in table.iter()? {
                    let (other, bytes) = entry?;
                    if other.value() != id {
                        others.push((other.value(), read(bytes.value())?.confirmation.is_some()));
                    }
                }
                let unconfirmed = others.iter().find(|(_, is_confirmed)| !is_confirmed);
                let Some((oldest, _)) = unconfirmed.or(others.first()) else {
                    break;
                };
                table.remove(*oldest)?;
            }
            id
        };
        transaction.commit()?;
        Ok(id)
    }

    /// Notes what a person says about an incident, in place of what was said before.
    pub fn confirm_incident(&self, id: u64, said: Confirmation) -> Result<Incident, StoreError> {
        let transaction = self.database.begin_write()?;
        let incident = {
            let mut table = transaction.open_table(INCIDENTS)?;
            let known = table
                .get(id)?
                .map(|known| read(known.value()))
                .transpose()?;
            let known = known.ok_or(StoreError::NoIncident { id })?;
            let incident = Incident {
                confirmation: Some(said),
                ..known
            };
            table.insert(id, written(&incident)?.as_slice())?;
            incident
        };
        transaction.commit()?;
        Ok(incident)
    }
}

/// Makes the table.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(INCIDENTS)?;
    Ok(())
}

fn read(bytes: &[u8]) -> Result<Incident, StoreError> {
    serde_json::from_slice(bytes).map_err(|source| unreadable(TABLE, source))
}

fn written(incident: &Incident) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(incident).map_err(|source| unreadable(TABLE, source))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tempfile::TempDir;

    use super::*;
    use crate::model::rca::{Conclusion, RcaReport, TraceWindow};
    use crate::store::Config;

    fn incident(began_at: u64) -> Incident {
        Incident {
            id: 0,
            began_at,
            ended_at: None,
            failing: vec!["frontend".to_owned()],
            reasons: Vec::new(),
            features: Vec::new(),
            rca: RcaReport {
                conclusion: Conclusion::NothingFound,
                text: String::new(),
                ranked: Vec::new(),
                changes: Vec::new(),
                baseline: TraceWindow::default(),
                incident: TraceWindow::default(),
                similar: Vec::new(),
                explanation: None,
            },
            confirmation: None,
        }
    }

    fn said(cause: &str) -> Confirmation {
        Confirmation {
            cause: cause.to_owned(),
            resolution: "rolled back".to_owned(),
            by: None,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn store(max_incidents: u64) -> (TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            dir: dir.path().to_owned(),
            max_incidents,
            ..Config::default()
        };
        (dir, Store::open(config).unwrap())
    }

    #[test]
    fn an_incident_keeps_its_number_and_what_was_said_about_it() {
        let (_dir, store) = store(10);
        let first = store.keep_incident(&incident(1)).unwrap();
        assert_eq!((first, store.keep_incident(&incident(2)).unwrap()), (1, 2));
        store.confirm_incident(first, said("payment")).unwrap();
        // The server knows nothing of that, and keeps on writing.
        let ended = Incident {
            id: first,
            ended_at: Some(9),
            ..incident(1)
        };
        assert_eq!(store.keep_incident(&ended).unwrap(), first);
        let known = store.incident(first).unwrap();
        assert_eq!(known.ended_at, Some(9));
        assert_eq!(known.confirmation.unwrap().cause, "payment");
        let missing = store.confirm_incident(7, said("cart")).unwrap_err();
        assert!(missing.to_string().contains("incidents list"), "{missing}");
    }

    #[test]
    fn over_the_limit_the_oldest_goes_that_nobody_confirmed() {
        let (_dir, store) = store(3);
        for began_at in 1..=3 {
            store.keep_incident(&incident(began_at)).unwrap();
        }
        store.confirm_incident(1, said("payment")).unwrap();
        store.keep_incident(&incident(4)).unwrap();
        let ids = |store: &Store| -> Vec<u64> {
            let all = store.incidents().unwrap();
            all.iter().map(|incident| incident.id).collect()
        };
        assert_eq!(ids(&store), [1, 3, 4]);
        for id in [3, 4] {
            store.confirm_incident(id, said("cart")).unwrap();
        }
        store.keep_incident(&incident(5)).unwrap();
        assert_eq!(ids(&store), [3, 4, 5]);
    }
}
