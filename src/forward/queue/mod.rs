//! What waits for the backend: in memory, and on the disk what the memory has no room for.
//!
//! Requests leave in the order they came; those on the disk came after those in memory. A request that left stays here
//! until it is done with, so that whatever is under way at the end, or was at a crash, is there at the next start.

mod disk;
mod record;
mod room;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

pub(super) use crate::forward::queue::disk::Recovered;
use crate::forward::queue::disk::{Disk, Place, Unread};
pub(super) use crate::forward::queue::record::Request;
pub(super) use crate::forward::queue::room::{Permit, Room};
use crate::model::UnixNanos;
use crate::otlp::client::Encoding;
use crate::telemetry::ForwardMetrics;

/// Bytes that are read from the disk at once.
const READ_BYTES: u64 = 4 << 20;

/// A request that has just come.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) at: UnixNanos,
    pub(super) spans: u64,
    pub(super) encoding: Encoding,
    pub(super) body: Bytes,
    /// None where all is in memory, and the queue's own bound holds.
    pub(super) permit: Option<Permit>,
}

/// How a queue is bounded.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// Bytes of all that waits, from the moment it is let in.
    pub(super) held: Arc<AtomicU64>,
    /// The most of them.
    pub(super) max_bytes: u64,
    /// Whether the oldest give way.
    pub(super) drops_oldest: bool,
    /// Whether each request is on the disk before its sender hears of it.
    pub(super) is_durable: bool,
    /// Memory; none where there is no disk.
    pub(super) room: Option<Room>,
}

/// The queue. Its calls may wait for the disk.
pub(super) struct Queue {
    bounds: Bounds,
    disk: Option<Disk>,
    ready: VecDeque<Entry>,
    /// What left and is not done with, by its number.
    handed: BTreeMap<u64, Entry>,
    next: u64,
    metrics: ForwardMetrics,
}

#[derive(Debug)]
struct Entry {
    request: Request,
    /// Of its body, which may be on the disk alone.
    bytes: u64,
    place: Option<Place>,
    permit: Option<Permit>,
}

impl Queue {
    /// With a directory, makes and locks it.
    pub(super) fn open(
        dir: Option<&Path>,
        bounds: Bounds,
        metrics: ForwardMetrics,
    ) -> io::Result<Self> {
        let disk = dir.map(|dir| Disk::open(dir, bounds.max_bytes));
        Ok(Self {
            bounds,
            disk: disk.transpose()?,
            ready: VecDeque::new(),
            handed: BTreeMap::new(),
            next: 1,
            metrics,
        })
    }

    /// Takes up what an earlier run left.
    pub(super) fn recover(&mut self) -> io::Result<Recovered> {
        let Some(disk) = &mut self.disk else {
            return Ok(Recovered::default());
        };
        let recovered = disk.recover()?;
        self.next = recovered.last + 1;
        self.bounds
            .held
            .fetch_add(recovered.bytes, Ordering::Relaxed);
        self.metrics.truncated_bytes.increment(recovered.truncated);
        Ok(recovered)
    }

    /// Whether [`Self::push`] would wait for the disk now.
    pub(super) fn needs_disk(&self) -> bool {
        let is_full = self.bounds.drops_oldest && self.over_limit();
        self.disk.is_some() && (self.bounds.is_durable || !self.stays_in_memory() || is_full)
    }

    /// Whether what comes now may wait in memory: nothing on the disk was there before it, and there is room.
    fn stays_in_memory(&self) -> bool {
        let has_unread = self.disk.as_ref().is_some_and(|disk| disk.unread() > 0);
        let room = self.bounds.room.as_ref();
        !has_unread && room.is_none_or(Room::is_half_free)
    }

    fn over_limit(&self) -> bool {
        self.bounds.held.load(Ordering::Relaxed) > self.bounds.max_bytes
    }

    /// Takes requests in; on the disk they are written together.
    pub(super) fn push(&mut self, arrivals: Vec<Arrival>) {
        let mut to_disk = Vec::new();
        let mut stay = self.stays_in_memory();
        for arrival in arrivals {
            let request = Request {
                sequence: self.next,
                at: arrival.at,
                spans: arrival.spans,
                encoding: arrival.encoding,
                body: arrival.body,
            };
            self.next += 1;
            stay = stay && self.stays_in_memory();
            let entry = Entry {
                bytes: request.bytes(),
                request,
                place: None,
                permit: arrival.permit,
            };
            if self.disk.is_none() || stay && !self.bounds.is_durable {
                self.ready.push_back(entry);
            } else {
                to_disk.push((entry, stay));
            }
        }
        self.write(to_disk);
        self.make_room();
    }

    fn write(&mut self, entries: Vec<(Entry, bool)>) {
        let Some(disk) = self.disk.as_mut().filter(|_| !entries.is_empty()) else {
            return;
        };
        let requests = entries.iter().map(|(entry, stay)| (&entry.request, *stay));
        let requests: Vec<(&Request, bool)> = requests.collect();
        let written = disk.append(&requests, self.bounds.is_durable);
        let places = match written {
            Ok(places) => places.into_iter().map(Some).collect(),
            Err(error) => {
                self.metrics.disk_errors.increment(1);
                tracing::error!(%error, "Cannot write to exporters.forward.queue.dir.");
                vec![None; entries.len()]
            }
        };
        for ((entry, stay), place) in entries.into_iter().zip(places) {
            if stay {
                self.ready.push_back(Entry { place, ..entry });
            } else if place.is_none() {
                self.metrics.dropped.disk.increment(entry.request.spans);
                self.let_go(entry.bytes);
            }
        }
    }

    /// Drops the oldest while too much waits.
    fn make_room(&mut self) {
        while self.bounds.drops_oldest && self.over_limit() {
            if self.ready.is_empty() {
                self.load();
            }
            let Some(entry) = self.ready.pop_front() else {
                return;
            };
            self.metrics.dropped.full.increment(entry.request.spans);
            let sequence = entry.request.sequence;
            self.handed.insert(sequence, entry);
            self.finish(&[sequence]);
        }
    }

    fn let_go(&self, bytes: u64) {
        self.bounds.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether the next request must be read from the disk.
    pub(super) fn is_next_on_disk(&self) -> bool {
        self.ready.is_empty() && self.disk.as_ref().is_some_and(|disk| disk.unread() > 0)
    }

    /// Reads from the disk what the memory has room for, and one request if none is ready.
    pub(super) fn load(&mut self) {
        let mut bytes = 0;
        while bytes < READ_BYTES {
            let Some(disk) = &mut self.disk else {
                return;
            };
            let room = self.bounds.room.as_ref();
            // What is held for its trace must not keep the next request on the disk.
            if !self.ready.is_empty() && !room.is_none_or(Room::is_half_free) {
                return;
            }
            match disk.read() {
                Ok(Unread::Request(request, place)) => {
                    bytes += request.bytes();
                    let permit = room.and_then(|room| room.try_take(request.bytes()));
                    self.ready.push_back(Entry {
                        bytes: request.bytes(),
                        request,
                        place: Some(place),
                        permit,
                    });
                }
                Ok(Unread::Nothing) => return,
                Ok(Unread::Lost { requests, bytes }) => {
                    tracing::error!(requests, "A queue file is broken; its rest is lost.");
                    // How many spans they held stood in the file.
                    (0..requests).for_each(|_| self.metrics.dropped.disk.increment(0));
                    self.metrics.disk_errors.increment(1);
                    self.let_go(bytes);
                }
                Err(error) => {
                    self.metrics.disk_errors.increment(1);
                    tracing::error!(%error, "Cannot read from exporters.forward.queue.dir.");
                    return;
                }
            }
        }
    }

    /// The oldest request that is in memory. It is held until [`Self::finish`].
    pub(super) fn pop(&mut self) -> Option<Request> {
        let entry = self.ready.pop_front()?;
        let request = entry.request.clone();
        self.handed.insert(request.sequence, entry);
        Some(request)
    }

    /// Frees the memory of a request that was read and stands on the disk.
    pub(super) fn release(&mut self, sequence: u64) {
        let handed = self.handed.get_mut(&sequence);
        if let Some(entry) = handed.filter(|entry| entry.place.is_some()) {
            entry.request.body = Bytes::new();
            entry.permit = None;
        }
    }

    /// These are done with: taken by the backend, or given up.
    pub(super) fn finish(&mut self, sequences: &[u64]) {
        let mut on_disk = Vec::new();
        for sequence in sequences {
            if let Some(entry) = self.handed.remove(sequence) {
                self.let_go(entry.bytes);
                on_disk.extend(entry.place.map(|place| (*sequence, place)));
            }
        }
        let Some(disk) = self.disk.as_mut().filter(|_| !on_disk.is_empty()) else {
            return;
        };
        if let Err(error) = disk.finish(&on_disk) {
            self.metrics.disk_errors.increment(1);
            tracing::error!(%error, "Cannot note in exporters.forward.queue.dir what was sent.");
        }
    }

    /// Whether one of these stands on the disk, where it must be noted.
    pub(super) fn is_on_disk(&self, sequences: &[u64]) -> bool {
        let entries = sequences
            .iter()
            .filter_map(|number| self.handed.get(number));
        entries.into_iter().any(|entry| entry.place.is_some())
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.handed.is_empty() && !self.is_next_on_disk()
    }

    /// Whether what is left at the end will be there at the next start.
    pub(super) fn keeps(&self) -> bool {
        self.disk.is_some()
    }

    /// Shows what waits.
    pub(super) fn observe(&self, now: UnixNanos) {
        let unread = self.disk.as_ref().map_or(0, Disk::unread);
        let requests = self.ready.len() as u64 + self.handed.len() as u64 + unread;
        self.metrics.queue_requests.set(requests as f64);
        let held = self.bounds.held.load(Ordering::Relaxed);
        self.metrics.queue_bytes.set(held as f64);
        self.metrics.queue_limit.set(self.bounds.max_bytes as f64);
        let disk_bytes = self.disk.as_ref().map_or(0, Disk::bytes);
        self.metrics.disk_bytes.set(disk_bytes as f64);
        let oldest = self.handed.values().next().or(self.ready.front());
        let age = oldest.map_or(0, |entry| now.saturating_sub(entry.request.at));
        self.metrics.oldest_age.set(age as f64 / 1e9);
    }

    /// At the end: what is in memory alone goes to the disk. Returns how many requests wait for the next start.
    pub(super) fn close(&mut self) -> u64 {
        let handed = std::mem::take(&mut self.handed).into_values();
        let rest = handed.chain(std::mem::take(&mut self.ready));
        let (kept, rest): (Vec<Entry>, Vec<Entry>) = rest.partition(|entry| entry.place.is_some());
        let Some(disk) = &mut self.disk else {
            for entry in rest {
                self.metrics.dropped.shutdown.increment(entry.request.spans);
            }
            return 0;
        };
        let waiting = kept.len() as u64 + disk.unread();
        // They came before what is on the disk alone: a file of their own has a lower number.
        disk.close_file();
        let requests: Vec<(&Request, bool)> =
            rest.iter().map(|entry| (&entry.request, true)).collect();
        let closed = disk.append(&requests, true).and_then(|_| disk.tidy());
        if let Err(error) = closed {
            self.metrics.disk_errors.increment(1);
            tracing::error!(%error, requests = rest.len(), "Cannot keep what is left to forward.");
            return waiting;
        }
        waiting + rest.len() as u64
    }
}
