//! A cut through state that goes on changing: what a checkpoint has not copied yet is copied before it changes.
//!
//! Everything that can change carries the number of the last cut that has it. A cut raises the number; from then on whoever
//! is about to change something with an older number encodes it first, and so does the walk of the checkpoint. Each thing is
//! encoded once, as it was at the cut, and nobody waits for the whole walk. Between checkpoints it is one comparison.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// What a frame of a checkpoint holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::window) enum Tag {
    /// What belongs to no single series.
    Core = 1,
    Series = 2,
    Recording = 3,
}

impl Tag {
    pub(in crate::window) fn of(byte: u8) -> Option<Self> {
        let all = [Self::Core, Self::Series, Self::Recording];
        all.into_iter().find(|tag| *tag as u8 == byte)
    }
}

/// Bytes of a frame before its content: the tag and the length.
pub(in crate::window) const FRAME_HEADER: usize = 5;

/// Where the copies go.
#[derive(Debug, Default)]
struct Copies {
    /// Whether a checkpoint wants them.
    is_open: bool,
    bytes: Vec<u8>,
    failure: Option<postcard::Error>,
}

/// The number of the last cut, and the copies that its checkpoint has not taken yet.
#[derive(Debug, Default)]
pub(in crate::window) struct Cut {
    number: AtomicU32,
    copies: Mutex<Copies>,
}

impl Cut {
    /// The number of the last cut. Cuts are ordered by the locks of those who change something, not by this.
    #[inline]
    pub(in crate::window) fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// Copies something that is about to change, unless the last cut has it.
    #[inline]
    pub(in crate::window) fn before_change<T: Cuttable>(&self, held: &mut T) {
        if held.copied() != self.number() {
            self.copy(held);
        }
    }

    #[cold]
    fn copy<T: Cuttable>(&self, held: &mut T) {
        held.set_copied(self.number());
        let mut copies = self.copies();
        if copies.is_open
            && let Err(error) = write_frame(&mut copies.bytes, T::TAG, held)
        {
            copies.failure = Some(error);
        }
    }

    /// Begins a checkpoint. Nothing may be changing.
    pub(in crate::window) fn begin(&self) {
        let mut copies = self.copies();
        copies.is_open = true;
        copies.bytes.clear();
        copies.failure = None;
        self.number.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the copies if there are so many bytes of them.
    pub(in crate::window) fn take(&self, at_least: usize) -> Result<Vec<u8>, postcard::Error> {
        let mut copies = self.copies();
        if let Some(failure) = copies.failure.take() {
            return Err(failure);
        }
        if copies.bytes.len() < at_least {
            return Ok(Vec::new());
        }
        Ok(std::mem::take(&mut copies.bytes))
    }

    /// Ends a checkpoint, whatever became of it.
    pub(in crate::window) fn end(&self) {
        *self.copies() = Copies::default();
    }

    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a checkpoint copies one by one.
pub(in crate::window) trait Cuttable: Serialize {
    /// What its frames are.
    const TAG: Tag;
    /// The last cut that has it.
    fn copied(&self) -> u32;
    /// Notes that a cut has it.
    fn set_copied(&mut self, cut: u32);
}

/// Appends a frame: the tag, the length, the value.
pub(in crate::window) fn write_frame<T: Serialize>(
    out: &mut Vec<u8>,
    tag: Tag,
    value: &T,
) -> Result<(), postcard::Error> {
    let start = out.len();
    out.push(tag as u8);
    out.extend_from_slice(&[0; 4]);
    let written = postcard::to_io(value, &mut *out).map(|_| ());
    let length = u32::try_from(out.len() - start - FRAME_HEADER);
    match (written, length) {
        (Ok(()), Ok(length)) => {
            if let Some(mut place) = out.get_mut(start + 1..start + FRAME_HEADER) {
                // Four bytes into a place of four.
                drop(place.write_all(&length.to_le_bytes()));
            }
            Ok(())
        }
        (failed, _) => {
            out.truncate(start);
            failed.and(Err(postcard::Error::SerializeBufferFull))
        }
    }
}
