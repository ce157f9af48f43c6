//! Who calls whom, exactly: entry spans joined with the spans that began them, by trace and span id.
//!
//! Spans come in any order, so both sides wait for each other in one table of bounded size; the oldest falls out. Ids of 64
//! bits stand for traces and spans: of half a million that wait, two are taken for each other once in ten million runs.

use std::collections::{BTreeMap, HashMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

use crate::model::canary::CallSums;
use crate::model::series::ServiceKey;
use crate::model::span::Outcome;

/// A span as the join sees it.
#[derive(Clone, Copy, Debug)]
pub struct LinkedSpan {
    /// Who made it, from [`EdgeJoin::owner`].
    pub owner: u32,
    /// Whether it is an entry span.
    pub is_entry: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub duration_nanos: u64,
    /// Adjusted count.
    pub weight: f64,
}

/// A version of a service.
type Owner = (ServiceKey, String);

/// What waits under one id: the span itself, and the entry spans that it began.
#[derive(Debug, Default)]
struct Waiting {
    span: Option<LinkedSpan>,
    begun: Vec<LinkedSpan>,
}

/// Joins spans to edges between services.
#[derive(Debug)]
pub struct EdgeJoin {
    most: usize,
    owners: Vec<Owner>,
    /// Their places by hash of the service and of the version.
    places: HashMap<(u128, u64), u32>,
    waiting: HashMap<u64, Waiting>,
    order: VecDeque<u64>,
    calls: BTreeMap<(u32, u32), CallSums>,
    fallen: u64,
}

impl EdgeJoin {
    /// A join in which so many spans wait at most.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            owners: Vec::new(),
            places: HashMap::new(),
            waiting: HashMap::new(),
            order: VecDeque::new(),
            calls: BTreeMap::new(),
            fallen: 0,
        }
    }

    /// The number of a version of a service; `make` says who it is the first time. `None` beyond as many as may wait.
    pub fn owner(
        &mut self,
        service: u128,
        version: &[u8],
        make: impl FnOnce() -> Owner,
    ) -> Option<u32> {
        let key = (service, xxh3_64(version));
        if let Some(place) = self.places.get(&key) {
            return Some(*place);
        }
        if self.owners.len() >= self.most {
            return None;
        }
        let place = u32::try_from(self.owners.len()).ok()?;
        self.owners.push(make());
        self.places.insert(key, place);
        Some(place)
    }

    /// Takes a span, whose parent is `parent`.
    pub fn add(&mut self, trace_id: &[u8], (span_id, parent): (&[u8], &[u8]), span: LinkedSpan) {
        let own = id_of(trace_id, span_id);
        let is_shared = span_id == parent;
        if span.is_entry && !parent.is_empty() {
            let key = id_of(trace_id, parent);
            let caller = self.waiting.get(&key).and_then(|waiting| waiting.span);
            match caller {
                Some(caller) => self.count(caller, span),
                None => self.wait(key, |waiting| waiting.begun.push(span)),
            }
        }
        // Where both halves of a call have one id, the caller's half is the one that others look for.
        if is_shared && span.is_entry {
            return;
        }
        let begun = self
            .waiting
            .get_mut(&own)
            .map(|waiting| std::mem::take(&mut waiting.begun));
        for entry in begun.into_iter().flatten() {
            self.count(span, entry);
        }
        self.wait(own, |waiting| waiting.span = Some(span));
    }

    fn wait(&mut self, key: u64, change: impl FnOnce(&mut Waiting)) {
        if !self.waiting.contains_key(&key) {
            if self.waiting.len() >= self.most
                && let Some(oldest) = self.order.pop_front()
                && let Some(fallen) = self.waiting.remove(&oldest)
            {
                // Those that began nothing yet may have been alone, too; they are counted since nobody knows.
                self.fallen += 1 + fallen.begun.len() as u64;
            }
            self.order.push_back(key);
        }
        change(self.waiting.entry(key).or_default());
    }

    /// A call as its caller saw it, where its own span is a call; else as its callee did.
    fn count(&mut self, caller: LinkedSpan, entry: LinkedSpan) {
        if self.service(caller.owner) == self.service(entry.owner) {
            return;
        }
        let seen = if caller.is_entry { entry } else { caller };
        let sums = self.calls.entry((caller.owner, entry.owner)).or_default();
        sums.calls += entry.weight;
        sums.observed += 1;
        sums.duration_secs += entry.weight * seen.duration_nanos as f64 / 1e9;
        if seen.outcome == Outcome::Error || entry.outcome == Outcome::Error {
            sums.errors += entry.weight;
        }
    }

    fn service(&self, owner: u32) -> Option<&ServiceKey> {
        self.owners.get(owner as usize).map(|(service, _)| service)
    }

    /// Calls by caller, its version, and callee of any version.
    pub fn calls(&self) -> BTreeMap<(ServiceKey, String, ServiceKey), CallSums> {
        let mut calls: BTreeMap<(ServiceKey, String, ServiceKey), CallSums> = BTreeMap::new();
        for ((caller, callee), sums) in &self.calls {
            let named = self.owners.get(*caller as usize).zip(self.service(*callee));
            let Some(((service, version), callee)) = named else {
                continue;
            };
            let key = (service.clone(), version.clone(), callee.clone());
            let held = calls.entry(key).or_default();
            held.calls += sums.calls;
            held.errors += sums.errors;
            held.observed += sums.observed;
            held.duration_secs += sums.duration_secs;
        }
        calls
    }

    /// Spans that fell out of the table before anybody knew whether they belong together.
    pub fn fallen(&self) -> u64 {
        self.fallen
    }
}

fn id_of(trace_id: &[u8], span_id: &[u8]) -> u64 {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(trace_id);
    bytes.push(0);
    bytes.extend_from_slice(span_id);
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Spans of traces of three services, each with its parent: (service, parent, failed).
    fn owner(join: &mut EdgeJoin, service: u8) -> u32 {
        let name = format!("s{service}");
        let key = ServiceKey::named(&name);
        let hash = key.hash();
        join.owner(hash, b"1", || (key, "1".to_owned())).unwrap()
    }

    fn join_of(spans: &[(u64, u8, Option<u64>, bool)], most: usize) -> EdgeJoin {
        let mut join = EdgeJoin::new(most);
        for (id, service, parent, failed) in spans {
            let span = LinkedSpan {
                owner: owner(&mut join, *service),
                is_entry: true,
                outcome: if *failed { Outcome::Error } else { Outcome::Ok },
                duration_nanos: 1_000_000,
                weight: 1.0,
            };
            let parent = parent.map(u64::to_be_bytes);
            let parent = parent.as_ref().map_or(&[][..], |parent| parent);
            join.add(b"trace", (&id.to_be_bytes(), parent), span);
        }
        join
    }

    proptest! {
        #[test]
        fn property_edges_do_not_depend_on_the_order_of_the_spans(
            spans in proptest::collection::vec((0..3_u8, any::<prop::sample::Index>(), any::<bool>()), 1..40),
            seed in any::<u64>(),
        ) {
            let mut tree: Vec<(u64, u8, Option<u64>, bool)> = Vec::new();
            for (at, (service, parent, failed)) in spans.iter().enumerate() {
                let parent = (at > 0).then(|| parent.index(at) as u64);
                tree.push((at as u64, *service, parent, *failed));
            }
            let mut model: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
            for (_, service, parent, failed) in &tree {
                let Some(parent) = parent else { continue };
                let caller = tree[usize::try_from(*parent).unwrap()].1;
                if caller != *service {
                    let sums = model.entry((format!("s{caller}"), format!("s{service}"))).or_default();
                    sums.0 += 1;
                    sums.1 += u64::from(*failed);
                }
            }
            let mut shuffled = tree.clone();
            shuffled.sort_by_key(|(id, ..)| xxh3_64(&(id ^ seed).to_be_bytes()));
            for spans in [&tree, &shuffled] {
                let join = join_of(spans, 1_000);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts")]
                let seen: BTreeMap<(String, String), (u64, u64)> = join
                    .calls()
                    .iter()
                    .map(|((caller, _, callee), sums)| {
                        let names = (caller.name.to_string(), callee.name.to_string());
                        (names, (sums.observed, sums.errors as u64))
                    })
                    .collect();
                prop_assert_eq!(&seen, &model);
                prop_assert_eq!(join.fallen(), 0);
            }
        }
    }

    #[test]
    fn what_falls_out_of_a_full_table_is_counted_and_its_edge_is_missing() {
        let spans = [
            (1, 0, None, false),
            (2, 0, None, false),
            (3, 0, None, false),
            (4, 1, Some(1), false),
        ];
        let join = join_of(&spans, 2);
        assert!(join.calls().is_empty());
        assert!(join.fallen() > 0);
        assert_eq!(join_of(&spans, 10).calls().len(), 1);
    }
}
