//! What senders were asked to send, which is what their spans stand for where they do not say it themselves.
//!
//! SDKs that ask a sampling server write no `ot=th`. Of a trace that begins in such a service the share is known that was
//! served last; whoever is called in it inherits that share. Both are assumptions: an SDK asks once a minute, matches the name
//! that a span had when it began, and nobody says whether it obeyed. So spans are weighed by them, and whoever reads the
//! counts is told.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::model::sampling::ServiceSampling;
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::window::event::{Sampling, SpanInput};

const DAY_NANOS: u64 = 86_400 * NANOS_PER_SEC;

/// What spans without a threshold stand for.
#[derive(Clone, Debug)]
pub enum Weighing {
    /// As the configuration says.
    Said(Sampling),
    /// As their senders were asked.
    Asked(Arc<AskedService>),
}

impl From<Sampling> for Weighing {
    fn from(sampling: Sampling) -> Self {
        Self::Said(sampling)
    }
}

/// The shares of a service as they were served at one time.
#[derive(Debug)]
struct Shares {
    since: UnixNanos,
    others: f64,
    by_name: HashMap<Box<[u8]>, f64>,
}

impl Shares {
    fn new(own: Option<&ServiceSampling>, since: UnixNanos) -> Self {
        let operations = own.map_or(&[][..], |own| &own.operations);
        let named = operations
            .iter()
            .map(|known| (known.operation.as_bytes().into(), known.ratio));
        Self {
            since,
            others: own.map_or(1.0, |own| own.default_ratio),
            by_name: named.collect(),
        }
    }

    fn of(&self, name: &[u8]) -> f64 {
        self.by_name.get(name).copied().unwrap_or(self.others)
    }

    fn is_full(&self) -> bool {
        self.others >= 1.0 && self.by_name.values().all(|share| *share >= 1.0)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.by_name == other.by_name && (self.others - other.others).abs() < f64::EPSILON
    }
}

/// What is known of one service.
#[derive(Clone, Debug)]
pub struct AskedService {
    now: Arc<Shares>,
    /// Of traces that began earlier.
    before: Option<Arc<Shares>>,
    /// The share of those traces that come from elsewhere.
    inherited: f64,
    state: Arc<State>,
}

/// What changes without the shares.
#[derive(Debug, Default)]
struct State {
    /// When it was asked for last; 0 for never.
    polled: AtomicU64,
    /// End of the newest span that was weighed by an assumption; 0 for none.
    assumed: AtomicU64,
}

impl AskedService {
    fn new(now: Shares, polled: UnixNanos) -> Self {
        Self {
            now: Arc::new(now),
            before: None,
            inherited: 1.0,
            state: Arc::new(State {
                polled: AtomicU64::new(polled),
                assumed: AtomicU64::new(0),
            }),
        }
    }

    /// What a span without a threshold weighs.
    pub fn weight(&self, span: &SpanInput<'_>) -> f64 {
        let share = if span.has_parent {
            self.inherited
        } else {
            let earlier = self.before.as_ref();
            let shares = earlier.filter(|_| span.start < self.now.since);
            shares.unwrap_or(&self.now).of(span.name)
        };
        if share >= 1.0 {
            return 1.0;
        }
        self.state.assumed.store(span.end, Ordering::Relaxed);
        1.0 / share
    }

    fn is_over(&self, now: UnixNanos) -> bool {
        let polled = self.state.polled.load(Ordering::Relaxed);
        self.inherited >= 1.0 && now.saturating_sub(polled) > DAY_NANOS
    }
}

/// What senders were asked, by service. The sampling server fills it, receivers ask it; while nobody was asked for less than
/// everything it costs one atomic load a resource.
#[derive(Debug, Default)]
pub struct Asked {
    count: AtomicUsize,
    services: RwLock<BTreeMap<Box<[u8]>, Arc<AskedService>>>,
}

impl Asked {
    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<Box<[u8]>, Arc<AskedService>>) -> T) -> T {
        let services = self.services.write();
        let mut services = services.unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut services);
        self.count.store(services.len(), Ordering::Relaxed);
        changed
    }

    fn read<T>(&self, look: impl FnOnce(&BTreeMap<Box<[u8]>, Arc<AskedService>>) -> T) -> T {
        let services = self.services.read();
        look(&services.unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of a service.
    #[inline]
    pub fn service(&self, name: &[u8]) -> Option<Arc<AskedService>> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.read(|services| services.get(name).cloned())
    }

    /// Notes what a service was answered; `None` is everything. A service that was never asked for less is not remembered, and
    /// one that did not ask for a day is forgotten: no more are held than plans name within a day.
    pub fn answered(&self, service: &str, own: Option<&ServiceSampling>, now: UnixNanos) {
        let known = self.service(service.as_bytes());
        let shares = Shares::new(own, now);
        match &known {
            None if shares.is_full() => return,
            // After a clock was set back, no span would begin late enough.
            Some(known) if known.now.is_same(&shares) && known.now.since <= now => {
                known.state.polled.store(now, Ordering::Relaxed);
                return;
            }
            Some(_) | None => {}
        }
        self.with(|services| {
            services.retain(|_, known| !known.is_over(now));
            let next = match services.get(service.as_bytes()) {
                Some(known) => {
                    known.state.polled.store(now, Ordering::Relaxed);
                    AskedService {
                        before: Some(Arc::clone(&known.now)),
                        now: Arc::new(shares),
                        ..AskedService::clone(known)
                    }
                }
                None => AskedService::new(shares, now),
            };
            services.insert(service.as_bytes().into(), Arc::new(next));
        });
    }

    /// The share that is served of the traces that begin with this name; `None` where nobody asked.
    pub fn served(&self, service: &str, name: &str) -> Option<f64> {
        let known = self.service(service.as_bytes())?;
        let is_polled = known.state.polled.load(Ordering::Relaxed) > 0;
        is_polled.then(|| known.now.of(name.as_bytes()))
    }

    /// Which share of the traces from elsewhere reaches each service; what is not named gets them all.
    pub fn inherit(&self, shares: &BTreeMap<Arc<str>, f64>, now: UnixNanos) {
        let is_idle = self.count.load(Ordering::Relaxed) == 0;
        if is_idle && shares.values().all(|share| *share >= 1.0) {
            return;
        }
        self.with(|services| {
            for (service, known) in services.iter_mut() {
                let named = std::str::from_utf8(service).ok();
                let share = named.and_then(|name| shares.get(name)).copied();
                let share = share.unwrap_or(1.0);
                if (known.inherited - share).abs() > f64::EPSILON {
                    *known = Arc::new(AskedService {
                        inherited: share,
                        ..AskedService::clone(known)
                    });
                }
            }
            for (service, share) in shares.iter().filter(|(_, share)| **share < 1.0) {
                services
                    .entry(service.as_bytes().into())
                    .or_insert_with(|| {
                        Arc::new(AskedService {
                            inherited: *share,
                            ..AskedService::new(Shares::new(None, now), 0)
                        })
                    });
            }
            services.retain(|_, known| !known.is_over(now));
        });
    }

    /// The services of which spans were weighed by an assumption, with the end of the newest one, sorted.
    pub fn assumed(&self) -> BTreeMap<String, UnixNanos> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return BTreeMap::new();
        }
        self.read(|services| {
            let each = services.iter().map(|(service, known)| {
                let newest = known.state.assumed.load(Ordering::Relaxed);
                (String::from_utf8_lossy(service).into_owned(), newest)
            });
            each.filter(|(_, newest)| *newest > 0).collect()
        })
    }

    /// Those of them whose newest span is at most a day old.
    pub fn assumed_lately(&self, now: UnixNanos) -> Vec<String> {
        let all = self.assumed().into_iter();
        let lately = all.filter(|(_, newest)| now.saturating_sub(*newest) <= DAY_NANOS);
        lately.map(|(service, _)| service).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sampling::OperationSampling;
    use crate::window::event::{EventRules, weight_of};
    use crate::window::settings::SliConfig;

    const SECOND: u64 = NANOS_PER_SEC;

    fn strategy(others: f64, page: f64) -> ServiceSampling {
        ServiceSampling {
            service: "shop".to_owned(),
            default_ratio: others,
            operations: vec![OperationSampling {
                operation: "page".to_owned(),
                ratio: page,
            }],
        }
    }

    fn span(name: &'static str, start: u64) -> SpanInput<'static> {
        SpanInput {
            name: name.as_bytes(),
            start,
            end: start + 1,
            ..SpanInput::default()
        }
    }

    fn rules(asked: &Arc<Asked>, config: &SliConfig) -> EventRules {
        EventRules::new(config).heeding(Arc::clone(asked))
    }

    fn weight(asked: &Arc<Asked>, service: &str, span: &SpanInput<'_>) -> f64 {
        let rules = rules(asked, &SliConfig::default());
        weight_of(span, &rules.weighing(service.as_bytes()))
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn a_trace_weighs_what_its_service_was_asked_when_it_began() {
        let asked = Arc::new(Asked::default());
        asked.answered("shop", Some(&strategy(0.5, 0.25)), 10 * SECOND);
        near(weight(&asked, "shop", &span("page", 11 * SECOND)), 4.0);
        near(weight(&asked, "shop", &span("other", 11 * SECOND)), 2.0);
        near(weight(&asked, "cart", &span("page", 11 * SECOND)), 1.0);
        asked.answered("shop", Some(&strategy(0.5, 0.1)), 20 * SECOND);
        near(weight(&asked, "shop", &span("page", 19 * SECOND)), 4.0);
        near(weight(&asked, "shop", &span("page", 20 * SECOND)), 10.0);
        // The same answer again is no new one.
        asked.answered("shop", Some(&strategy(0.5, 0.1)), 30 * SECOND);
        near(weight(&asked, "shop", &span("page", 19 * SECOND)), 4.0);
        // And back to everything.
        asked.answered("shop", None, 40 * SECOND);
        near(weight(&asked, "shop", &span("page", 39 * SECOND)), 10.0);
        near(weight(&asked, "shop", &span("page", 41 * SECOND)), 1.0);
    }

    #[test]
    fn what_a_span_says_itself_and_what_people_say_stand_before_what_was_asked() {
        let asked = Arc::new(Asked::default());
        asked.answered("shop", Some(&strategy(0.5, 0.25)), SECOND);
        let says = SpanInput {
            trace_state: b"ot=th:e",
            ..span("page", 2 * SECOND)
        };
        near(weight(&asked, "shop", &says), 8.0);
        assert_eq!(asked.assumed(), BTreeMap::new());
        for (sampling, by_service, wanted) in [
            (Sampling::Full, Some(Sampling::Full), 1.0),
            (Sampling::Full, Some(Sampling::Ratio(0.1)), 10.0),
            (Sampling::Unknown, None, 1.0),
            (Sampling::Ratio(0.2), None, 5.0),
            (Sampling::Full, None, 4.0),
        ] {
            let config = SliConfig {
                sampling,
                sampling_by_service: by_service
                    .map(|own| ("shop".to_owned(), own))
                    .into_iter()
                    .collect(),
                ..SliConfig::default()
            };
            let weighing = rules(&asked, &config).weighing(b"shop");
            near(weight_of(&span("page", 2 * SECOND), &weighing), wanted);
        }
        assert_eq!(asked.assumed_lately(DAY_NANOS), ["shop"]);
        assert_eq!(asked.assumed_lately(3 * DAY_NANOS), [""; 0]);
    }

    #[test]
    fn whoever_is_called_inherits_the_share_of_the_traces_that_reach_it() {
        let asked = Arc::new(Asked::default());
        let called = SpanInput {
            has_parent: true,
            ..span("get", 2 * SECOND)
        };
        asked.inherit(&BTreeMap::from([("cart".into(), 1.0)]), SECOND);
        near(weight(&asked, "cart", &called), 1.0);
        asked.answered("shop", Some(&strategy(0.5, 0.25)), SECOND);
        asked.inherit(&BTreeMap::from([("cart".into(), 0.2)]), SECOND);
        near(weight(&asked, "cart", &called), 5.0);
        // Traces that begin there are sent in full: it was never asked for less.
        near(weight(&asked, "cart", &span("get", 2 * SECOND)), 1.0);
        assert_eq!(asked.served("cart", "get"), None);
        assert_eq!(asked.served("shop", "page"), Some(0.25));
        // The shop is called by nobody.
        let called = SpanInput {
            has_parent: true,
            ..span("page", 2 * SECOND)
        };
        near(weight(&asked, "shop", &called), 1.0);
        asked.inherit(&BTreeMap::new(), SECOND);
        near(weight(&asked, "cart", &called), 1.0);
    }

    #[test]
    fn only_who_was_asked_for_less_is_remembered_and_for_a_day() {
        let asked = Arc::new(Asked::default());
        for number in 0..100 {
            asked.answered(&format!("service-{number}"), None, SECOND);
        }
        assert_eq!(asked.count.load(Ordering::Relaxed), 0);
        asked.answered("shop", Some(&strategy(1.0, 1.0)), SECOND);
        assert_eq!(asked.count.load(Ordering::Relaxed), 0);
        asked.answered("shop", Some(&strategy(1.0, 0.5)), SECOND);
        asked.answered("cart", Some(&strategy(0.5, 0.5)), DAY_NANOS);
        assert_eq!(asked.count.load(Ordering::Relaxed), 2);
        asked.inherit(&BTreeMap::new(), 2 * SECOND + DAY_NANOS);
        assert_eq!(asked.served("shop", "page"), None);
        assert_eq!(asked.served("cart", "page"), Some(0.5));
    }
}
