//! The edges of the service graph that were seen so far, as one record. JSON, since it outlives the program that wrote it.

use redb::{TableDefinition, WriteTransaction};

use crate::model::topology::KnownEdges;
use crate::store::{Store, StoreError, unreadable};

const TABLE: &str = "topology";

/// One record, under 0.
const EDGES: TableDefinition<'_, u8, &[u8]> = TableDefinition::new(TABLE);

impl Store {
    /// The edges that were kept last; none if none ever were.
    pub fn edges(&self) -> Result<KnownEdges, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(EDGES)?;
        match table.get(0)? {
            None => Ok(KnownEdges::default()),
            Some(bytes) => {
                serde_json::from_slice(bytes.value()).map_err(|source| unreadable(TABLE, source))
            }
        }
    }

    /// Keeps edges in place of those before.
    pub fn keep_edges(&self, edges: &KnownEdges) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(edges).map_err(|source| unreadable(TABLE, source))?;
        let transaction = self.database.begin_write()?;
        transaction.open_table(EDGES)?.insert(0, bytes.as_slice())?;
        transaction.commit()?;
        Ok(())
    }
}

/// Makes the table.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(EDGES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::ServiceKey;
    use crate::model::topology::{EdgeKind, KnownEdge, NodeKind, NodeRef};
    use crate::store::Config;

    #[test]
    fn edges_are_read_as_they_were_kept_last() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            dir: dir.path().to_owned(),
            ..Config::default()
        };
        let store = Store::open(config.clone()).unwrap();
        assert_eq!(store.edges().unwrap(), KnownEdges::default());
        let node = |kind, name| NodeRef {
            kind,
            key: ServiceKey::named(name),
        };
        let mut known = KnownEdges {
            since: 1,
            until: 9,
            edges: vec![KnownEdge {
                from: node(NodeKind::Service, "web"),
                to: node(NodeKind::Database, "users"),
                kind: EdgeKind::Database,
                first_seen: 1,
                last_seen: 8,
            }],
            names: vec![("".into(), "db".into(), node(NodeKind::Service, "users"))],
        };
        store.keep_edges(&known).unwrap();
        known.until = 10;
        store.keep_edges(&known).unwrap();
        drop(store);
        assert_eq!(Store::open(config).unwrap().edges().unwrap(), known);
    }
}
