//! Checkpoints of the windows while they count on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::service::keeper::Keeper;
use crate::store::StoreError;
use crate::store::journal::Journal;
use crate::window::checkpoint::Beside;

/// A checkpoint that was made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::service) struct Made {
    /// Its number.
    pub(in crate::service) number: u64,
    /// Bytes of its file.
    pub(in crate::service) bytes: u64,
    /// How long requests waited.
    pub(in crate::service) pause: Duration,
    /// How long it took.
    pub(in crate::service) took: Duration,
}

impl Keeper {
    /// What requests are logged in and held up by for a cut; none with `storage.durability: none`.
    pub(in crate::service) fn journal(&self) -> Option<&Arc<Journal>> {
        self.journal.get()
    }

    /// Makes a checkpoint, if so configured.
    pub(in crate::service) fn checkpoint(&self) -> Result<Option<Made>, StoreError> {
        let Some(journal) = self.journal() else {
            return Ok(None);
        };
        let _checkpointing = self
            .checkpointing
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let began = Instant::now();
        // No minute is on its way to the store, and no slice on its way to its account, while the cut is made.
        let passage = self.passage();
        let saved = self.store.last_write()?;
        let upkeep = self.windows.pause_upkeep();
        let cut = journal.cut(|| self.windows.begin_checkpoint(&upkeep));
        drop(upkeep);
        let beside = Beside {
            segment: cut.number,
            is_logged: journal.is_logged(),
            saved,
            minutes: passage.minutes.clone(),
            days: passage.days.clone(),
        };
        drop(passage);
        let draft = cut.taken;
        let bytes = journal.keep(cut.number, |write| draft.write(beside, write))?;
        self.store.forget_writes(saved)?;
        Ok(Some(Made {
            number: cut.number,
            bytes,
            pause: cut.pause,
            took: began.elapsed(),
        }))
    }

    /// The last checkpoint of an orderly stop: nothing comes after it.
    pub(super) fn stop(&self) -> Result<(), StoreError> {
        match self.checkpoint()? {
            Some(made) => self.store.note_stop(made.number),
            None => Ok(()),
        }
    }
}
