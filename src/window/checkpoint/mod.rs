//! All windows as they were at one instant, while they go on counting: made by [`Draft`], read back by [`Checkpoint`].
//!
//! A checkpoint is a row of frames: what belongs to no single series, then series and recordings of rollouts in whatever
//! order they were copied. Between two batches [`Windows::begin_checkpoint`] makes the cut; what each batch after it changes
//! is copied first, so the checkpoint holds all batches before the cut and none after it.

mod reconcile;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::{Arc, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::model::history::SeriesMinute;
use crate::model::series::{SeriesId, SeriesKey, SeriesScope};
use crate::model::slo::Objective;
use crate::window::cohort::Recording;
use crate::window::cut::{FRAME_HEADER, Tag, write_frame};
use crate::window::ledger::{LedgerDay, LedgerRow};
use crate::window::series::Series;
use crate::window::slices::SliceState;
use crate::window::windows::{Accounts, Slot, Windows};

/// Changes whenever a frame's content does; an older checkpoint is not read then.
pub const FORMAT: u32 = 1;

/// Copies are handed on in pieces of about this size.
const PIECE_BYTES: usize = 1 << 20;

/// The longest frame that is believed.
const FRAME_MAX: usize = 1 << 30;

/// What goes with the windows: where the log goes on, and what is on its way to the history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// The first part of the log that is not in the windows.
    pub segment: u64,
    /// Whether all that came after it is in the log.
    pub is_logged: bool,
    /// The last write of the history whose minutes have left the windows.
    pub saved: u64,
    /// Minutes that have left the windows and are not in the history.
    pub minutes: Vec<SeriesMinute>,
    /// Days of ledgers likewise.
    pub days: Vec<LedgerRow>,
}

/// Name, account and account of the composite of an objective.
type Attached = (String, String, Option<String>);

/// What belongs to no single series.
#[derive(Debug, Serialize, Deserialize)]
struct Core {
    beside: Beside,
    objectives: Vec<Attached>,
    slices: Vec<(Arc<str>, SliceState)>,
    composites: Vec<(String, SliceState)>,
    dormant: Vec<(Arc<str>, SeriesId, Vec<LedgerDay>)>,
    demand: Vec<u64>,
}

/// Nothing moves between series and accounts while it is held.
#[derive(Debug)]
pub struct Upkeep<'a>(#[expect(dead_code, reason = "held")] MutexGuard<'a, ()>);

/// A checkpoint after its cut.
#[derive(Debug)]
pub struct Draft<'a> {
    windows: &'a Windows,
    /// Held until they are encoded; a batch needs them for a new series that has an objective.
    accounts: Option<MutexGuard<'a, Accounts>>,
    objectives: Vec<Attached>,
    demand: Vec<u64>,
}

/// Why a checkpoint was not made.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError<E> {
    /// A value cannot be encoded.
    #[error("the windows cannot be encoded: {0}")]
    Encode(#[from] postcard::Error),
    /// What came of it cannot be written.
    #[error(transparent)]
    Write(E),
}

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes cannot be had.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A value is not what it should be.
    #[error("it cannot be decoded: {0}")]
    Decode(#[from] postcard::Error),
    /// Something is missing or is none of ours.
    #[error("{0}")]
    Broken(&'static str),
}

impl Windows {
    pub(in crate::window) fn upkeep(&self) -> Upkeep<'_> {
        Upkeep(self.upkeep.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until nothing moves between series and accounts. Taken before batches are held up for the cut.
    pub fn pause_upkeep(&self) -> Upkeep<'_> {
        self.upkeep()
    }

    /// The cut. No batch may be under way, and no history may be leaving the windows.
    pub fn begin_checkpoint(&self, _: &Upkeep<'_>) -> Draft<'_> {
        let objectives = self
            .objectives
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let objectives = objectives.iter().map(|held| attached(held)).collect();
        let accounts = Some(self.accounts());
        self.cut.begin();
        Draft {
            windows: self,
            accounts,
            objectives,
            demand: self.refused.words(),
        }
    }

    /// Goes on from a checkpoint; nothing may be here yet. Of the objectives adopted now, those that the checkpoint
    /// measured are; their names are returned.
    pub fn load(
        &self,
        checkpoint: Checkpoint,
        adopted: &[Objective],
        now: UnixNanos,
    ) -> BTreeSet<String> {
        let Checkpoint {
            core,
            series,
            recordings,
        } = checkpoint;
        let held: BTreeSet<Attached> = core.objectives.into_iter().collect();
        let mut known = BTreeMap::new();
        for objective in adopted {
            if held.contains(&attached(objective)) {
                self.adopt(&Arc::new(objective.clone()), now);
                known.insert(objective.name.clone(), objective.account());
            }
        }
        self.load_accounts(core.slices, core.composites, core.dormant, &known);
        self.refused.add_words(&core.demand);
        for mut theirs in series {
            theirs.retain_ledgers(|ledger| {
                known
                    .get(&**ledger.name())
                    .is_some_and(|account| **account == **ledger.account())
            });
            self.restore(theirs);
        }
        self.cohorts.load(recordings);
        known.into_keys().collect()
    }

    fn load_accounts(
        &self,
        slices: Vec<(Arc<str>, SliceState)>,
        composites: Vec<(String, SliceState)>,
        dormant: Vec<(Arc<str>, SeriesId, Vec<LedgerDay>)>,
        known: &BTreeMap<String, String>,
    ) {
        let mut accounts = self.accounts();
        for (name, state) in slices {
            if let Some(account) = accounts.slices.get_mut(&name) {
                account.load(state);
            }
        }
        for (name, state) in composites {
            if let Some(composite) = accounts.composites.get_mut(&name) {
                composite.slices.load(state);
            }
        }
        for (name, series, days) in dormant {
            if known.contains_key(&*name) {
                accounts.dormant.insert((name, series), days);
            }
        }
    }

    /// Whether a series is held.
    pub fn holds(&self, id: SeriesId) -> bool {
        matches!(self.map.get(&id).as_deref(), Some(Slot::Series(_)))
    }

    /// Whether operations are excluded that a checkpoint may have had as series.
    fn is_wanted(&self, key: &SeriesKey) -> bool {
        key.operation_name()
            .is_none_or(|name| !self.is_excluded(name))
    }
}

fn attached(objective: &Objective) -> Attached {
    (
        objective.name.clone(),
        objective.account(),
        objective.composite_account(),
    )
}

impl Draft<'_> {
    /// Writes all frames. Ends the checkpoint, whatever becomes of it.
    pub fn write<E>(
        mut self,
        beside: Beside,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), CheckpointError<E>> {
        let core = self.core(beside);
        let mut frame = Vec::new();
        write_frame(&mut frame, Tag::Core, &core)?;
        drop(core);
        write(&frame).map_err(CheckpointError::Write)?;
        drop(frame);
        let windows = self.windows;
        let mut hand_on = |at_least| -> Result<(), CheckpointError<E>> {
            let piece = windows.cut.take(at_least)?;
            if piece.is_empty() {
                return Ok(());
            }
            write(&piece).map_err(CheckpointError::Write)
        };
        // One series at a time, so that nobody waits for more than that.
        let ids: Vec<SeriesId> = windows.map.iter().map(|slot| *slot.key()).collect();
        for id in ids {
            if let Some(mut slot) = windows.map.get_mut(&id) {
                slot.series_mut(&windows.cut);
            }
            hand_on(PIECE_BYTES)?;
        }
        windows.cohorts.copy_rest();
        hand_on(0)
    }

    fn core(&mut self, beside: Beside) -> Core {
        let mut core = Core {
            beside,
            objectives: std::mem::take(&mut self.objectives),
            slices: Vec::new(),
            composites: Vec::new(),
            dormant: Vec::new(),
            demand: std::mem::take(&mut self.demand),
        };
        if let Some(accounts) = self.accounts.take() {
            let slices = accounts.slices.iter();
            core.slices = slices
                .map(|(name, account)| (Arc::clone(name), account.state()))
                .collect();
            let composites = accounts.composites.iter();
            core.composites = composites
                .map(|(name, composite)| (name.clone(), composite.slices.state()))
                .collect();
            let dormant = accounts.dormant.iter();
            core.dormant = dormant
                .map(|((name, series), days)| (Arc::clone(name), *series, days.clone()))
                .collect();
        }
        core
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        self.windows.cut.end();
    }
}

/// A checkpoint as it was read.
#[derive(Debug)]
pub struct Checkpoint {
    core: Core,
    series: Vec<Series>,
    recordings: Vec<Recording>,
}

impl Checkpoint {
    /// Reads frames to the end.
    pub fn read(from: &mut impl Read) -> Result<Self, ReadError> {
        let (mut core, mut series, mut recordings) = (None, Vec::new(), Vec::new());
        let mut content = Vec::new();
        while let Some(tag) = read_frame(from, &mut content)? {
            match tag {
                Tag::Core => core = Some(postcard::from_bytes(&content)?),
                Tag::Series => series.push(postcard::from_bytes::<Series>(&content)?),
                Tag::Recording => recordings.push(postcard::from_bytes(&content)?),
            }
        }
        // Services hold the places of the others.
        let place = |series: &Series| match series.key.scope {
            SeriesScope::Service => 0,
            SeriesScope::Operation { .. } => 1,
            SeriesScope::Version { .. } => 2,
        };
        series.sort_by_key(place);
        Ok(Self {
            core: core.ok_or(ReadError::Broken("it has no beginning"))?,
            series,
            recordings,
        })
    }

    /// What went with the windows.
    pub fn beside(&self) -> &Beside {
        &self.core.beside
    }

    /// How many series it holds.
    pub fn series(&self) -> usize {
        self.series.len()
    }

    /// Leaves out the operations that these windows exclude.
    pub fn without_excluded(&mut self, windows: &Windows) {
        self.series.retain(|series| windows.is_wanted(&series.key));
    }
}

fn read_frame(from: &mut impl Read, content: &mut Vec<u8>) -> Result<Option<Tag>, ReadError> {
    let mut header = [0; FRAME_HEADER];
    let [first, ..] = &mut header;
    if from.read(std::slice::from_mut(first))? == 0 {
        return Ok(None);
    }
    let (_, rest) = header.split_at_mut(1);
    from.read_exact(rest)?;
    let [tag, length @ ..] = header;
    let tag = Tag::of(tag).ok_or(ReadError::Broken("it holds something unknown"))?;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_MAX {
        return Err(ReadError::Broken("one of its frames is too long"));
    }
    content.clear();
    let read = from.take(length as u64).read_to_end(content)?;
    if read < length {
        return Err(ReadError::Broken("its end is missing"));
    }
    Ok(Some(tag))
}

#[cfg(test)]
mod tests;
