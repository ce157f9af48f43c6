//! The part of the queue that is on the disk: files that only grow, and go when all of their requests are done with.
//!
//! ```text
//! 00000000000000000042.queue   the requests from number 42 on, one after the other
//! 00000000000000000042.done    the numbers of those that are done with, in the order they were
//! ```
//!
//! A crash tears at most the end of the newest file: it is cut off and counted. What is done with is noted without waiting
//! for the disk, so that a lost machine, not a lost process, may send a request twice.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::forward::queue::record::{Next, Request, read_next};

const QUEUE: &str = "queue";
const DONE: &str = "done";

/// Small requests are written together, large ones as they are.
const BUFFER_BYTES: usize = 256 << 10;

/// The smallest file that is closed.
const SEGMENT_MIN: u64 = 64 << 10;
const SEGMENT_MAX: u64 = 16 << 20;

/// Where a request stands: the number of its file.
pub(super) type Place = u64;

/// A directory of files.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    /// Held as long as the queue is open.
    _lock: File,
    segment_bytes: u64,
    segments: BTreeMap<Place, Segment>,
    writer: Option<(Place, BufWriter<File>)>,
    reader: Option<(Place, BufReader<File>)>,
    /// Requests that are on the disk alone.
    unread: u64,
}

/// One file.
#[derive(Debug, Default)]
struct Segment {
    bytes: u64,
    /// Requests that are not done with.
    left: u64,
    /// Those of them that are not in memory.
    unread: u64,
    /// Bytes of their bodies.
    unread_bytes: u64,
    /// Where the first one begins that was not read: all before it is in memory, or done with.
    read_at: u64,
    /// Numbers of an earlier run that are done with.
    done: HashSet<u64>,
    notes: Option<File>,
}

/// What was there when the queue was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::forward) struct Recovered {
    pub(in crate::forward) requests: u64,
    pub(in crate::forward) bytes: u64,
    /// Bytes that were cut off.
    pub(in crate::forward) truncated: u64,
    /// The number of the last request.
    pub(super) last: u64,
}

/// What the disk gives back.
#[derive(Debug)]
pub(super) enum Unread {
    Request(Request, Place),
    Nothing,
    /// The rest of a file cannot be read any more.
    Lost {
        /// That were in it.
        requests: u64,
        /// Of their bodies.
        bytes: u64,
    },
}

impl Disk {
    /// Makes and locks the directory. `max_bytes` of the queue say how large a file becomes.
    pub(super) fn open(dir: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let lock = File::create(dir.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::Error(error) => error,
            fs::TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::WouldBlock,
                "another slo-copilot uses it; give each its own exporters.forward.queue.dir",
            ),
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            _lock: lock,
            segment_bytes: (max_bytes / 16).clamp(SEGMENT_MIN, SEGMENT_MAX),
            segments: BTreeMap::new(),
            writer: None,
            reader: None,
            unread: 0,
        })
    }

    /// Reads what an earlier run left.
    pub(super) fn recover(&mut self) -> io::Result<Recovered> {
        let mut recovered = Recovered::default();
        for first in self.numbers(QUEUE)? {
            self.recover_segment(first, &mut recovered)?;
        }
        for first in self.numbers(DONE)? {
            if !self.segments.contains_key(&first) {
                fs::remove_file(self.path(first, DONE))?;
            }
        }
        Ok(recovered)
    }

    fn recover_segment(&mut self, first: Place, recovered: &mut Recovered) -> io::Result<()> {
        let path = self.path(first, QUEUE);
        let done = noted(&self.path(first, DONE))?;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let len = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut segment = Segment {
            done,
            ..Segment::default()
        };
        while let Next::Request(request) = read_next(&mut reader, len - segment.bytes)? {
            segment.bytes += request.record_bytes();
            recovered.last = recovered.last.max(request.sequence);
            if !segment.done.contains(&request.sequence) {
                segment.unread += 1;
                segment.unread_bytes += request.bytes();
                recovered.requests += 1;
                recovered.bytes += request.bytes();
            }
        }
        if segment.bytes < len {
            recovered.truncated += len - segment.bytes;
            reader.get_ref().set_len(segment.bytes)?;
        }
        segment.left = segment.unread;
        self.unread += segment.unread;
        if segment.left == 0 {
            return self.remove(first);
        }
        self.segments.insert(first, segment);
        Ok(())
    }

    /// The numbers of the files of one kind, in their order.
    fn numbers(&self, extension: &str) -> io::Result<BTreeSet<Place>> {
        let mut numbers = BTreeSet::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let number: Option<Place> = stem.and_then(|stem| stem.parse().ok());
            if path.extension().is_some_and(|found| found == extension) {
                numbers.extend(number);
            }
        }
        Ok(numbers)
    }

    fn path(&self, first: Place, extension: &str) -> PathBuf {
        self.dir.join(format!("{first:020}.{extension}"))
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// Requests that are on the disk alone.
    pub(super) fn unread(&self) -> u64 {
        self.unread
    }

    /// Writes requests, each with whether it stays in memory too, and says where they stand. Nothing of them is there if
    /// it fails. `is_safe` waits until they would survive the machine.
    pub(super) fn append(
        &mut self,
        requests: &[(&Request, bool)],
        is_safe: bool,
    ) -> io::Result<Vec<Place>> {
        let before: BTreeMap<Place, u64> = self
            .writer
            .iter()
            .filter_map(|(first, _)| Some((*first, self.segments.get(first)?.bytes)))
            .collect();
        let mut written = Vec::with_capacity(requests.len());
        let outcome = self.write(requests, is_safe, &mut written);
        if let Err(error) = outcome {
            self.take_back(&before, &written);
            return Err(error);
        }
        for ((request, in_memory), (place, end)) in requests.iter().zip(&written) {
            if let Some(segment) = self.segments.get_mut(place) {
                segment.left += 1;
                if *in_memory {
                    // All before it is in memory as well, or done with.
                    segment.read_at = *end;
                    self.reader.take_if(|(open, _)| open == place);
                } else {
                    segment.unread += 1;
                    segment.unread_bytes += request.bytes();
                    self.unread += 1;
                }
            }
        }
        Ok(written.into_iter().map(|(place, _)| place).collect())
    }

    fn write(
        &mut self,
        requests: &[(&Request, bool)],
        is_safe: bool,
        written: &mut Vec<(Place, u64)>,
    ) -> io::Result<()> {
        for (request, _) in requests {
            let too_long = || io::Error::other("the request is longer than a queue file can say");
            let header = request.header().ok_or_else(too_long)?;
            let is_full = self.writer.as_ref().is_some_and(|(first, _)| {
                let segment = self.segments.get(first);
                segment.is_none_or(|segment| segment.bytes >= self.segment_bytes)
            });
            if is_full && let Some((_, mut full)) = self.writer.take() {
                full.flush()?;
                if is_safe {
                    full.get_ref().sync_data()?;
                }
            }
            let (first, file) = match &mut self.writer {
                Some(open) => open,
                closed @ None => {
                    let first = request.sequence;
                    let path = self.dir.join(format!("{first:020}.{QUEUE}"));
                    let file = File::create(path)?;
                    self.segments.insert(first, Segment::default());
                    closed.insert((first, BufWriter::with_capacity(BUFFER_BYTES, file)))
                }
            };
            file.write_all(&header)?;
            file.write_all(&request.body)?;
            if let Some(segment) = self.segments.get_mut(first) {
                segment.bytes += request.record_bytes();
                written.push((*first, segment.bytes));
            }
        }
        if let Some((_, file)) = &mut self.writer {
            file.flush()?;
            if is_safe {
                file.get_ref().sync_data()?;
            }
        }
        Ok(())
    }

    /// After a failure: files are as long as before, new ones are gone. What cannot be mended now is cut off at the next
    /// start.
    fn take_back(&mut self, before: &BTreeMap<Place, u64>, written: &[(Place, u64)]) {
        if let Some((first, file)) = self.writer.take() {
            // What is still in the buffer must not be written.
            drop(file.into_parts());
            let mut touched: BTreeSet<Place> = written.iter().map(|(place, _)| *place).collect();
            touched.insert(first);
            for place in touched {
                if let Some(len) = before.get(&place) {
                    let file = OpenOptions::new().write(true).open(self.path(place, QUEUE));
                    drop(file.and_then(|file| file.set_len(*len)));
                    if let Some(segment) = self.segments.get_mut(&place) {
                        segment.bytes = *len;
                    }
                } else {
                    self.segments.remove(&place);
                    drop(fs::remove_file(self.path(place, QUEUE)));
                }
            }
        }
    }

    /// The next request that is on the disk alone.
    pub(super) fn read(&mut self) -> io::Result<Unread> {
        let waiting = self.segments.iter_mut();
        let mut waiting = waiting.filter(|(_, segment)| segment.unread > 0);
        let Some((&first, segment)) = waiting.next() else {
            return Ok(Unread::Nothing);
        };
        let is_open = self.reader.as_ref().is_some_and(|(open, _)| *open == first);
        if !is_open {
            let path = self.dir.join(format!("{first:020}.{QUEUE}"));
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(segment.read_at))?;
            self.reader = Some((first, BufReader::with_capacity(BUFFER_BYTES, file)));
        }
        let Some((_, reader)) = &mut self.reader else {
            return Ok(Unread::Nothing);
        };
        loop {
            match read_next(reader, segment.bytes.saturating_sub(segment.read_at))? {
                Next::Request(request) => {
                    segment.read_at += request.record_bytes();
                    if segment.done.contains(&request.sequence) {
                        continue;
                    }
                    segment.unread -= 1;
                    segment.unread_bytes -= request.bytes();
                    self.unread -= 1;
                    return Ok(Unread::Request(request, first));
                }
                Next::End | Next::Torn => {
                    let requests = std::mem::take(&mut segment.unread);
                    let bytes = std::mem::take(&mut segment.unread_bytes);
                    segment.left = segment.left.saturating_sub(requests);
                    self.unread -= requests;
                    self.reader = None;
                    return Ok(Unread::Lost { requests, bytes });
                }
            }
        }
    }

    /// Notes what is done with, and removes the files that nobody needs.
    pub(super) fn finish(&mut self, done: &[(u64, Place)]) -> io::Result<()> {
        let mut by_place: BTreeMap<Place, Vec<u8>> = BTreeMap::new();
        for (sequence, place) in done {
            let notes = by_place.entry(*place).or_default();
            notes.extend(sequence.to_le_bytes());
        }
        let mut outcome = Ok(());
        for (place, numbers) in by_place {
            let path = self.path(place, DONE);
            let Some(segment) = self.segments.get_mut(&place) else {
                continue;
            };
            segment.left = segment.left.saturating_sub(numbers.len() as u64 / 8);
            let is_written = self
                .writer
                .as_ref()
                .is_some_and(|(first, _)| *first == place);
            let is_over = segment.left == 0 && segment.unread == 0;
            if is_over && (!is_written || segment.bytes >= self.segment_bytes) {
                outcome = outcome.and(self.remove(place));
                continue;
            }
            let noted = note(&mut segment.notes, &path, &numbers);
            outcome = outcome.and(noted);
        }
        outcome
    }

    /// Removes a file, whose requests are all done with.
    fn remove(&mut self, place: Place) -> io::Result<()> {
        self.segments.remove(&place);
        self.writer.take_if(|(first, _)| *first == place);
        self.reader.take_if(|(first, _)| *first == place);
        // The requests first: numbers without requests say nothing.
        fs::remove_file(self.path(place, QUEUE))?;
        match fs::remove_file(self.path(place, DONE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Begins a new file with the next request.
    pub(super) fn close_file(&mut self) {
        // It was flushed after each write.
        self.writer = None;
    }

    /// Removes the files whose requests are all done with.
    pub(super) fn tidy(&mut self) -> io::Result<()> {
        let over = self.segments.iter();
        let over = over.filter(|(_, segment)| segment.left == 0 && segment.unread == 0);
        let over: Vec<Place> = over.map(|(place, _)| *place).collect();
        over.into_iter().try_for_each(|place| self.remove(place))
    }
}

fn note(notes: &mut Option<File>, path: &Path, numbers: &[u8]) -> io::Result<()> {
    let file = match notes {
        Some(file) => file,
        None => notes.insert(OpenOptions::new().create(true).append(true).open(path)?),
    };
    file.write_all(numbers)
}

/// The numbers that are done with; a torn one at the end is not.
fn noted(path: &Path) -> io::Result<HashSet<u64>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(error),
    };
    let (numbers, _torn) = bytes.as_chunks::<8>();
    Ok(numbers.iter().copied().map(u64::from_le_bytes).collect())
}
