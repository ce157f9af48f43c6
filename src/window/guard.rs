//! The PII guardrail of names that series are kept under.
//!
//! A name is looked at when it is new, never for an event of a series that is held.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use crate::pii::{Counts, Scrubber};

/// Takes personal data out of new names, and counts it.
#[derive(Debug)]
pub(in crate::window) struct Guard {
    scrubber: Scrubber,
    found: Mutex<Counts>,
}

impl Guard {
    pub(in crate::window) fn new(scrubber: Scrubber) -> Self {
        Self {
            scrubber,
            found: Mutex::default(),
        }
    }

    /// A name as it may be shown, and what was found in it; [`Self::note`] that once the name is kept.
    pub(in crate::window) fn plain<'n>(&self, name: &'n str) -> (Cow<'n, str>, Counts) {
        let mut found = Counts::default();
        let plain = self.scrubber.scrub_text(name, &mut found);
        (plain, found)
    }

    /// Counts what was found in a name.
    pub(in crate::window) fn note(&self, found: &Counts) {
        if !found.is_empty() {
            let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            all.merge(found);
        }
    }

    /// What was found since the last call.
    pub(in crate::window) fn take(&self) -> Counts {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
