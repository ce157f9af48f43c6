//! What is recorded of one service, as a checkpoint copies it.

use serde::{Deserialize, Serialize};

use crate::model::series::ServiceKey;
use crate::window::cohort::arm::Arm;
use crate::window::cut::{Cuttable, Tag};

/// The versions of one service.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::window) struct Recording {
    pub(super) service: ServiceKey,
    pub(super) arms: Vec<Arm>,
    /// The last cut that has it.
    #[serde(skip)]
    copied: u32,
}

impl Recording {
    /// Nothing yet; `cut` is the last one.
    pub(super) fn new(service: ServiceKey, cut: u32) -> Self {
        Self {
            service,
            arms: Vec::new(),
            copied: cut,
        }
    }
}

impl Cuttable for Recording {
    const TAG: Tag = Tag::Recording;

    fn copied(&self) -> u32 {
        self.copied
    }

    fn set_copied(&mut self, cut: u32) {
        self.copied = cut;
    }
}
