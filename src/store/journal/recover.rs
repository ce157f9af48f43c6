//! What an earlier run left: the checkpoint and the parts of the log after it.
//!
//! What cannot be used is set aside under its name with `.broken`, and said.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::model::batch::EventBatch;
use crate::store::StoreError;
use crate::store::journal::log::{Found, parts, read_part};
use crate::store::journal::{CHECKPOINT_NAME, checkpoint, remove_temporary, unreadable};
use crate::window::Windows;
use crate::window::checkpoint::{Beside, Checkpoint};
use crate::window::logged::{Logged, read_logged};

/// What was there.
#[derive(Debug)]
pub struct Recovered {
    /// The windows at the cut.
    pub checkpoint: Option<Checkpoint>,
    /// What went with them; as if nothing had been saved where there is no checkpoint.
    pub beside: Beside,
    parts: BTreeMap<u64, PathBuf>,
    last: u64,
    broken: u64,
}

/// What became of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Requests that it held.
    pub requests: u64,
    /// Bytes at its end that were no whole request; they were cut off.
    pub torn: u64,
    /// Files that could not be used, the checkpoint among them.
    pub broken: u64,
}

impl Recovered {
    /// Looks at the files in `storage.dir`.
    pub fn find(dir: &Path) -> Result<Self, StoreError> {
        remove_temporary(dir).map_err(unreadable(dir))?;
        let path = dir.join(CHECKPOINT_NAME);
        let mut broken = 0;
        let checkpoint = match checkpoint::read(&path) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                broken += 1;
                let aside = set_aside(&path)?;
                tracing::warn!(
                    path = %path.display(),
                    aside = %aside.display(),
                    %error,
                    "The checkpoint of the windows cannot be used; they are rebuilt from the history."
                );
                None
            }
        };
        let beside = checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.beside().clone())
            .unwrap_or_default();
        let mut parts = parts(dir).map_err(unreadable(dir))?;
        let last = parts.keys().next_back().copied().unwrap_or(0);
        let last = last.max(beside.segment);
        let after = parts.split_off(&beside.segment);
        // A stop between the end of a checkpoint and their removal left these.
        for path in parts.values() {
            fs::remove_file(path).map_err(unreadable(path))?;
        }
        Ok(Self {
            checkpoint,
            beside,
            parts: after,
            last,
            broken,
        })
    }

    /// The number of the newest checkpoint or part of the log.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether there is neither a checkpoint nor a log.
    pub fn is_empty(&self) -> bool {
        self.checkpoint.is_none() && self.parts.is_empty()
    }

    /// Whether requests were logged that no checkpoint has.
    pub fn has_log(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Does again what the log says, in order.
    pub fn replay(&self, windows: &Windows) -> Result<Replayed, StoreError> {
        let mut replayed = Replayed {
            broken: self.broken,
            ..Replayed::default()
        };
        let mut batch = EventBatch::default();
        for path in self.parts.values() {
            let found = read_part(path, |entry| {
                let logged = read_logged(entry, &mut batch);
                if let Some(logged) = logged {
                    windows.replay_logged(logged, &mut batch);
                    replayed.requests += u64::from(matches!(logged, Logged::Batch(_)));
                }
                logged.is_some()
            });
            match found.map_err(unreadable(path))? {
                Found::Entries { torn: 0 } => {}
                Found::Entries { torn } => {
                    replayed.torn += torn;
                    tracing::warn!(
                        path = %path.display(),
                        bytes = torn,
                        "The end of the log was torn and is cut off: a request that was not acknowledged, or what a \
                         power failure kept from the disk."
                    );
                }
                Found::Foreign => {
                    replayed.broken += 1;
                    let aside = set_aside(path)?;
                    tracing::warn!(
                        path = %path.display(),
                        aside = %aside.display(),
                        "A part of the log is not one that this slo-copilot reads; its requests are missing where the \
                         history does not have them."
                    );
                }
            }
        }
        Ok(replayed)
    }
}

fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let mut aside = path.to_owned().into_os_string();
    aside.push(".broken");
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside).map_err(unreadable(path))?;
    Ok(aside)
}
