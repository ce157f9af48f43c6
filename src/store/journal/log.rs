//! The log: one file at a time that only grows. A new one begins at each cut.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use crate::window::logged::FORMAT;

const PREFIX: &str = "wal-";
const SUFFIX: &str = ".log";

/// What a part begins with, before its format.
const MAGIC: &[u8; 12] = b"slo-copilotW";
const HEAD_BYTES: u64 = MAGIC.len() as u64 + 4;

/// Length and hash of an entry.
const ENTRY_HEAD: usize = 12;

/// The longest entry that is believed; requests are not allowed to be that long.
const ENTRY_MAX: u32 = 1 << 30;

/// A checkpoint is due when the log has used this part of its bound, one over it, so that there is room while it is made.
const DUE_SHARE: u64 = 2;

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    max_bytes: u64,
    part: Mutex<Part>,
    /// Whether a request was not logged since the last cut.
    misses_since: AtomicBool,
    /// Likewise between the last checkpoint and the last cut.
    misses_before: AtomicBool,
    requests: AtomicU64,
    unlogged: AtomicU64,
}

/// The newest part.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    /// `None` if it cannot be written.
    file: Option<File>,
    /// Bytes of whole entries, and of the head.
    bytes: u64,
    /// Bytes of the parts before it.
    before: u64,
    /// Whether anything was written since it was last brought to the disk.
    is_dirty: bool,
    was_due: bool,
}

/// How full the log is, and what it misses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStatus {
    /// Bytes of all parts.
    pub bytes: u64,
    /// Requests that were logged.
    pub requests: u64,
    /// Requests that could not be.
    pub unlogged: u64,
}

impl Log {
    pub(super) fn open(dir: &Path, number: u64, max_bytes: u64) -> Self {
        let log = Self {
            dir: dir.to_owned(),
            max_bytes,
            part: Mutex::new(Part::unusable(PathBuf::new())),
            misses_since: AtomicBool::new(false),
            misses_before: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            unlogged: AtomicU64::new(0),
        };
        let mut part = log.prepare(number);
        part.before = bytes_before(dir, number);
        *log.part() = part;
        log
    }

    /// A new part. One that cannot be made takes no entries.
    pub(super) fn prepare(&self, number: u64) -> Part {
        let path = self.dir.join(format!("{PREFIX}{number:020}{SUFFIX}"));
        match begin_part(&path) {
            Ok(file) => Part {
                path,
                file: Some(file),
                bytes: HEAD_BYTES,
                before: 0,
                is_dirty: true,
                was_due: false,
            },
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "Cannot begin a part of the log.");
                Part::unusable(path)
            }
        }
    }

    /// Goes on in another part. Nobody may be appending.
    pub(super) fn go_on_in(&self, next: Part) {
        let mut part = self.part();
        let before = part.before + part.bytes;
        *part = Part { before, ..next };
        // The checkpoint of this cut will have what the parts before it miss.
        let misses = self.misses_since.swap(false, Ordering::SeqCst);
        self.misses_before.fetch_or(misses, Ordering::SeqCst);
    }

    /// A checkpoint stands for the parts before the newest one, and they are gone.
    pub(super) fn removed_before(&self) {
        self.part().before = 0;
        self.misses_before.store(false, Ordering::SeqCst);
    }

    /// Whether a request since the last checkpoint was not logged.
    pub(super) fn misses_some(&self) -> bool {
        self.misses_since.load(Ordering::SeqCst) || self.misses_before.load(Ordering::SeqCst)
    }

    /// Appends an entry that [`begin_entry`] began; whether a checkpoint is due now.
    pub(super) fn append(&self, entry: &mut [u8]) -> bool {
        let is_sealed = seal(entry);
        let mut part = self.part();
        let appended = is_sealed
            .then_some(())
            .ok_or_else(|| io::Error::other("the request is too long"))
            .and_then(|()| part.append(entry, self.max_bytes));
        match appended {
            Ok(()) => {
                self.requests.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.unlogged.fetch_add(1, Ordering::Relaxed);
                // Said once a part: the counter says how many.
                if !self.misses_since.swap(true, Ordering::SeqCst) {
                    tracing::error!(
                        path = %part.path.display(),
                        %error,
                        "Cannot log requests. They are counted, but a crash before the next checkpoint loses them."
                    );
                }
            }
        }
        let is_due = part.before + part.bytes >= self.max_bytes / DUE_SHARE;
        is_due && !std::mem::replace(&mut part.was_due, true)
    }

    pub(super) fn sync(&self) {
        let file = {
            let mut part = self.part();
            if !std::mem::take(&mut part.is_dirty) {
                return;
            }
            part.file.as_ref().map(File::try_clone)
        };
        // Nobody waits for the disk with us.
        let synced = file.map(|file| file.and_then(|file| file.sync_data()));
        if let Some(Err(error)) = synced {
            let part = self.part();
            tracing::error!(path = %part.path.display(), %error, "Cannot bring the log to the disk.");
        }
    }

    pub(super) fn status(&self) -> LogStatus {
        let part = self.part();
        LogStatus {
            bytes: part.before + part.bytes,
            requests: self.requests.load(Ordering::Relaxed),
            unlogged: self.unlogged.load(Ordering::Relaxed),
        }
    }

    fn part(&self) -> MutexGuard<'_, Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a file in place of the newest part's.
    #[cfg(test)]
    pub(super) fn break_by(&self, file: File) {
        self.part().file = Some(file);
    }
}

impl Part {
    fn unusable(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            bytes: 0,
            before: 0,
            is_dirty: false,
            was_due: false,
        }
    }

    fn append(&mut self, entry: &[u8], max_bytes: u64) -> io::Result<()> {
        let file = self
            .file
            .as_mut()
            .ok_or_else(|| io::Error::other("this part of the log is broken"))?;
        if self.before + self.bytes + entry.len() as u64 > max_bytes {
            return Err(io::Error::other("storage.wal_max_bytes is reached"));
        }
        if let Err(error) = file.write_all(entry) {
            // Half an entry hides all that comes after it.
            if file.set_len(self.bytes).is_err() {
                self.file = None;
            }
            return Err(error);
        }
        self.bytes += entry.len() as u64;
        self.is_dirty = true;
        Ok(())
    }
}

fn begin_part(path: &Path) -> io::Result<File> {
    // What stands there was never a part of the log that anybody goes on from. Appending, so that what is cut off at the
    // end leaves no hole.
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.set_len(0)?;
    file.write_all(MAGIC)?;
    file.write_all(&FORMAT.to_le_bytes())?;
    Ok(file)
}

/// Empties the buffer and leaves room for the head of an entry.
pub(super) fn begin_entry(entry: &mut Vec<u8>) {
    entry.clear();
    entry.resize(ENTRY_HEAD, 0);
}

/// Writes the head of an entry; false if it is too long.
fn seal(entry: &mut [u8]) -> bool {
    let Some((head, content)) = entry.split_first_chunk_mut::<ENTRY_HEAD>() else {
        return false;
    };
    let Some(length) = u32::try_from(content.len())
        .ok()
        .filter(|length| *length <= ENTRY_MAX)
    else {
        return false;
    };
    let (first, second) = head.split_at_mut(4);
    first.copy_from_slice(&length.to_le_bytes());
    second.copy_from_slice(&xxh3_64(content).to_le_bytes());
    true
}

/// The parts with their numbers, in order.
pub(super) fn parts(dir: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut parts = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX))
            .and_then(|number| number.parse().ok());
        if let Some(number) = number {
            parts.insert(number, entry.path());
        }
    }
    Ok(parts)
}

fn bytes_before(dir: &Path, number: u64) -> u64 {
    let parts = parts(dir).unwrap_or_default();
    let before = parts.range(..number).map(|(_, path)| path);
    before
        .filter_map(|path| fs::metadata(path).ok())
        .map(|found| found.len())
        .sum()
}

/// What a part of the log held.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All of it was read; so many bytes at its end were torn, and are cut off.
    Entries { torn: u64 },
    /// It does not begin like one of ours.
    Foreign,
}

/// Hands on the entries of a part, in order. `take` says whether it understands an entry.
pub(super) fn read_part(path: &Path, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<Found> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let wanted = [&MAGIC[..], &FORMAT.to_le_bytes()].concat();
    if head != wanted {
        // A crash may come before the head is whole.
        let is_begun = wanted.starts_with(&head);
        return Ok(if is_begun {
            Found::Entries { torn: 0 }
        } else {
            Found::Foreign
        });
    }
    let mut whole = HEAD_BYTES;
    let mut content = Vec::new();
    while let Some(bytes) = read_entry(&mut reader, &mut content, length - whole)? {
        if !take(&content) {
            break;
        }
        whole += bytes;
    }
    if whole < length {
        reader.get_ref().set_len(whole)?;
    }
    Ok(Found::Entries {
        torn: length - whole,
    })
}

/// Reads an entry; `None` where none stands whole in the bytes that are left.
fn read_entry(reader: &mut impl Read, content: &mut Vec<u8>, left: u64) -> io::Result<Option<u64>> {
    if left < ENTRY_HEAD as u64 {
        return Ok(None);
    }
    let (mut length, mut hash) = ([0; 4], [0; 8]);
    reader.read_exact(&mut length)?;
    reader.read_exact(&mut hash)?;
    let length = u64::from(u32::from_le_bytes(length));
    let bytes = ENTRY_HEAD as u64 + length;
    if length > u64::from(ENTRY_MAX) || bytes > left {
        return Ok(None);
    }
    content.clear();
    reader.take(length).read_to_end(content)?;
    let is_whole = content.len() as u64 == length && xxh3_64(content) == u64::from_le_bytes(hash);
    Ok(is_whole.then_some(bytes))
}
