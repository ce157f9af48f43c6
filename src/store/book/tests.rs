//! Who may decide what, what history tells of it, and merges against their promises.

use proptest::prelude::*;

use super::*;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::record::Terms;
use crate::model::series::ServiceKey;
use crate::openslo::fixture::latency_candidate;

const LIMIT: usize = 50;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn fit(second: i64) -> Edit {
    Edit::new(at(second), Actor::Fit)
}

fn ada(second: i64) -> Edit {
    let name = Some("ada".to_owned());
    Edit::new(at(second), Actor::Person { name })
}

fn import(second: i64) -> Edit {
    let file = "other.json".to_owned();
    Edit::new(at(second), Actor::Import { file })
}

fn service(namespace: &str, name: &str) -> ServiceKey {
    ServiceKey {
        namespace: namespace.into(),
        ..ServiceKey::named(name)
    }
}

/// A ready candidate for the availability of a service.
fn candidate(name: &str, service: &ServiceKey, target: f64) -> Candidate {
    Candidate {
        operation: None,
        sli: Sli::Availability,
        target,
        missing: Vec::new(),
        ..latency_candidate(name, service, CandidateState::Ready)
    }
}

fn checkout(target: f64) -> Candidate {
    let service = ServiceKey::named("checkout");
    candidate("availability-checkout", &service, target)
}

fn provisional(candidate: Candidate) -> Candidate {
    Candidate {
        state: CandidateState::Provisional,
        missing: vec!["14 days of history".to_owned()],
        ..candidate
    }
}

fn objective(name: &str, target: f64) -> Objective {
    Objective::new(name, "checkout", Sli::Availability, target)
}

fn book() -> Book {
    Book::new([], LIMIT)
}

/// As after a commit: nothing is changed.
fn saved(book: Book) -> Book {
    Book::new(book.into_records(), LIMIT)
}

fn proposed(candidates: &[Candidate]) -> Book {
    let mut book = book();
    book.propose(&mut candidates.to_vec(), &fit(1));
    saved(book)
}

fn history(book: &Book, name: &str) -> Vec<(ChangeKind, Actor)> {
    let changes = book.get(name).unwrap().history.iter();
    changes
        .map(|change| (change.what, change.actor.clone()))
        .collect()
}

fn person() -> Actor {
    ada(0).actor
}

#[test]
fn a_refit_that_says_the_same_changes_nothing_and_one_that_moves_is_told_with_its_evidence() {
    let mut book = proposed(&[provisional(checkout(0.99))]);
    let mut same = provisional(checkout(0.99));
    same.evidence.events += 1_000;
    same.missing = vec!["3 days of history".to_owned()];
    book.propose(&mut [same.clone()], &fit(2));
    assert!(!book.is_changed());

    book.propose(&mut [checkout(0.99)], &fit(3));
    book.propose(&mut [checkout(0.999)], &fit(4));
    let name = "availability-checkout";
    assert_eq!(
        history(&book, name),
        [
            (ChangeKind::Created, Actor::Fit),
            (ChangeKind::ReadinessChanged, Actor::Fit),
            (ChangeKind::TargetChanged, Actor::Fit),
        ]
    );
    let change = book.get(name).unwrap().history.last().unwrap();
    let targets = (change.from.as_ref().unwrap().target, change.to.target);
    assert_eq!(targets, (0.99, 0.999));
    assert_eq!(change.at, at(4));
    assert!(change.text.contains("events"), "{}", change.text);
    // Suggestions move all the time: nobody is told.
    assert!(book.transitions().is_empty());
}

#[test]
fn the_newest_evidence_is_kept_without_a_change() {
    let mut book = proposed(&[checkout(0.99)]);
    let mut newest = checkout(0.99);
    newest.evidence.events += 1;
    book.keep_evidence(&[newest.clone()]);
    let record = book.get("availability-checkout").unwrap();
    assert_eq!(record.candidate.as_ref(), Some(&newest));
    assert_eq!(record.history.len(), 1);
    assert!(book.is_changed());

    // What would be a change is none of its business.
    for other in [
        provisional(checkout(0.99)),
        Candidate {
            state: CandidateState::Adopted,
            ..checkout(0.99)
        },
    ] {
        let mut book = proposed(&[checkout(0.99)]);
        book.keep_evidence(&[other]);
        assert!(!book.is_changed());
    }
}

#[test]
fn a_rejected_candidate_stays_rejected_when_a_namesake_changes_its_name() {
    let shop = service("shop", "cart");
    let mut book = proposed(&[candidate("availability-cart", &shop, 0.99)]);
    book.reject("availability-cart", &ada(2)).unwrap();
    let bank = service("bank", "cart");
    let mut both = [
        candidate("availability-cart-111111", &bank, 0.9),
        candidate("availability-cart-222222", &shop, 0.9),
    ];
    book.propose(&mut both, &fit(3));
    assert_eq!(both[0].state, CandidateState::Ready);
    assert_eq!(both[1].state, CandidateState::Rejected);
    // It goes by the name under which it was rejected.
    assert_eq!(both[1].name, "availability-cart");

    // Alone again, the namesake is suggested by the short name, which is taken.
    let other = service("other", "cart");
    let mut third = [candidate("availability-cart", &other, 0.9)];
    book.propose(&mut third, &fit(4));
    assert_eq!(third[0].state, CandidateState::Ready);
    assert!(third[0].name.starts_with("availability-cart-"));
    assert_eq!(book.records().count(), 3);
}

#[test]
fn an_adopted_objective_never_moves_by_itself() {
    let mut book = proposed(&[checkout(0.99)]);
    let accepted = book.accept("availability-checkout", &ada(2)).unwrap();
    assert_eq!(accepted.objective.source, ObjectiveSource::Accepted);
    assert_eq!(accepted.warning, None);
    let mut book = saved(book);
    let mut refit = [checkout(0.9)];
    book.propose(&mut refit, &fit(3));
    assert_eq!(refit[0].state, CandidateState::Adopted);
    assert!(!book.is_changed());
    let target = book.adopted().next().unwrap().target;
    assert!((target - 0.99).abs() < 1e-12);
}

#[test]
fn who_decided_and_why_stands_in_the_history_and_is_told() {
    let mut book = proposed(&[checkout(0.99)]);
    let edit = Edit {
        text: "too loose".to_owned(),
        ..ada(2)
    };
    book.reject("availability-checkout", &edit).unwrap();
    book.accept("availability-checkout", &Edit::new(at(3), Actor::Auto))
        .unwrap();
    let record = book.get("availability-checkout").unwrap();
    assert_eq!(record.objective.source, ObjectiveSource::Auto);
    assert_eq!(record.history[1].text, "too loose");
    assert_eq!(record.history[1].actor, person());
    let told: Vec<_> = book
        .transitions()
        .iter()
        .map(|told| (told.kind.as_str(), told.from.as_str(), told.to.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("candidate", "proposed", "rejected"),
            ("objective", "rejected", "adopted")
        ]
    );
}

#[test]
fn what_cannot_be_decided_says_why() {
    let error_rate = Candidate {
        name: "error-rate-checkout".to_owned(),
        sli: Sli::ErrorRate,
        target: 0.01,
        ..checkout(0.99)
    };
    let mut book = proposed(&[provisional(checkout(0.99)), error_rate]);
    let refused = |book: &mut Book, name: &str| book.accept(name, &ada(2)).unwrap_err();
    let not_found = refused(&mut book, "nonsense").to_string();
    assert!(not_found.contains("nonsense"), "{not_found}");
    let complement = refused(&mut book, "error-rate-checkout").to_string();
    assert!(
        complement.contains("availability candidate of checkout"),
        "{complement}"
    );

    let warning = book.accept("availability-checkout", &ada(2)).unwrap();
    let warning = warning.warning.unwrap();
    assert!(
        warning.contains("provisional") && warning.contains("14 days of history"),
        "{warning}"
    );
    let adopted = refused(&mut book, "availability-checkout").to_string();
    assert_eq!(adopted, "availability-checkout is adopted already");
    assert!(book.reject("availability-checkout", &ada(3)).is_err());

    let mut book = proposed(&[checkout(0.99)]);
    book.configure(&[objective("our-promise", 0.9)], at(2));
    let covered = refused(&mut book, "availability-checkout").to_string();
    assert!(
        covered.ends_with("objective our-promise stands for it"),
        "{covered}"
    );
}

#[test]
fn an_objective_of_the_configuration_stands_for_the_candidate_that_measures_the_same() {
    let mut book = proposed(&[checkout(0.99)]);
    book.configure(&[objective("our-promise", 0.9)], at(2));
    let mut refit = [checkout(0.99)];
    book.propose(&mut refit, &fit(3));
    assert_eq!(refit[0].state, CandidateState::Adopted);
    // Nobody but fits touched the proposal, so it is no loss.
    let names: Vec<&str> = book.records().map(SloRecord::name).collect();
    assert_eq!(names, ["our-promise"]);
}

#[test]
fn the_configuration_is_recorded_when_it_changes_and_withdrawn_when_it_is_gone() {
    let mut book = book();
    book.configure(&[objective("a", 0.99)], at(1));
    let mut book = saved(book);
    book.configure(&[objective("a", 0.99)], at(2));
    assert!(!book.is_changed(), "a restart is no change");
    book.configure(&[objective("a", 0.999)], at(3));
    let weighty = Objective {
        weight: 2.0,
        ..objective("a", 0.999)
    };
    book.configure(&[weighty], at(4));
    book.configure(&[], at(5));
    assert_eq!(
        history(&book, "a"),
        [
            ChangeKind::Created,
            ChangeKind::TargetChanged,
            ChangeKind::SettingsChanged,
            ChangeKind::StateChanged
        ]
        .map(|what| (what, Actor::Config))
    );
    assert_eq!(book.get("a").unwrap().state, RecordState::Proposed);
    // It is a proposal, which a person may accept.
    let accepted = book.accept("a", &ada(6)).unwrap();
    assert_eq!(accepted.objective.source, ObjectiveSource::Accepted);
    let told: Vec<_> = book
        .transitions()
        .iter()
        .map(|told| (told.from.as_str(), told.to.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("0.99", "0.999"),
            ("adopted", "proposed"),
            ("proposed", "adopted")
        ]
    );
}

#[test]
fn a_history_is_bounded_and_counts_what_went() {
    let mut book = Book::new([], 3);
    for second in 0..8 {
        let target = if second % 2 == 0 { 0.99 } else { 0.9 };
        book.propose(&mut [checkout(target)], &fit(second));
    }
    let record = book.get("availability-checkout").unwrap();
    assert_eq!((record.history.len(), record.history_dropped), (3, 5));
    assert_eq!(record.history[0].at, at(5));
}

// === Merging ===

fn adopted(target: f64, second: i64) -> Vec<SloRecord> {
    let mut book = proposed(&[checkout(target)]);
    book.accept("availability-checkout", &ada(second)).unwrap();
    book.into_records()
}

#[test]
fn a_decision_prevails_over_a_suggestion_from_either_side() {
    let suggested = || proposed(&[checkout(0.9)]).into_records();
    let mut book = Book::new(adopted(0.99, 2), LIMIT);
    let update = book.merge(suggested(), &import(9));
    assert_eq!(update.kept, ["availability-checkout"]);
    assert!(!book.is_changed(), "a fit tells nothing but its terms");

    let mut book = Book::new(suggested(), LIMIT);
    let update = book.merge(adopted(0.99, 2), &import(9));
    assert_eq!(update.changed, ["availability-checkout"]);
    let record = book.get("availability-checkout").unwrap();
    assert_eq!(record.state, RecordState::Adopted);
    let last = record.history.last().unwrap();
    assert_eq!(last.actor, import(9).actor);
    let before = last.from.as_ref().map(|terms| (terms.state, terms.target));
    assert_eq!(before, Some((RecordState::Proposed, 0.9)));
    assert!(
        record.history.iter().any(|told| told.actor == person()),
        "ada's word came along"
    );
}

#[test]
fn of_two_decisions_the_later_one_holds() {
    for (here, there, target, count) in [(2, 3, 0.9, 4), (3, 2, 0.99, 3)] {
        let mut book = Book::new(adopted(0.99, here), LIMIT);
        book.merge(adopted(0.9, there), &import(9));
        let record = book.get("availability-checkout").unwrap();
        assert!((record.objective.target - target).abs() < 1e-12);
        let last = record.history.last().unwrap();
        assert!(last.to.same_as(&record.terms()), "{last:?}");
        assert!(record.history.len() >= count);
    }
}

#[test]
fn fits_of_one_after_the_other_are_one_history() {
    // As `analyze --slo-store` does: records that tell of nothing but themselves.
    let mut book = proposed(&[checkout(0.99)]);
    let again = |target, second| vec![SloRecord::proposed(&checkout(target), &fit(second))];
    let same = book.merge(again(0.99, 2), &fit(2));
    assert_eq!(same.kept.len(), 1);
    assert!(!book.is_changed());
    let moved = book.merge(again(0.999, 3), &fit(3));
    assert_eq!(moved.changed.len(), 1);
    assert_eq!(
        history(&book, "availability-checkout"),
        [ChangeKind::Created, ChangeKind::TargetChanged].map(|what| (what, Actor::Fit))
    );
}

#[test]
fn a_record_is_found_by_what_it_measures_if_it_goes_by_another_name() {
    let mut book = proposed(&[checkout(0.99)]);
    let renamed = Candidate {
        name: "availability-checkout-123456".to_owned(),
        ..checkout(0.9)
    };
    let update = book.merge(proposed(&[renamed]).into_records(), &fit(5));
    assert_eq!(update.changed, ["availability-checkout"]);
    assert_eq!(book.records().count(), 1);
}

#[test]
fn a_name_that_means_something_else_here_is_told_apart() {
    let mut book = proposed(&[checkout(0.99)]);
    let elsewhere = candidate("availability-checkout", &service("bank", "checkout"), 0.9);
    let update = book.merge(proposed(&[elsewhere]).into_records(), &import(5));
    assert_eq!(update.added.len(), 1);
    assert!(update.added[0].starts_with("availability-checkout-"));
    let record = book.get(&update.added[0]).unwrap();
    assert_eq!(record.candidate.as_ref().unwrap().name, update.added[0]);
}

#[test]
fn a_replacement_removes_what_is_not_told_of_and_says_which_promises_go() {
    let search = candidate("availability-search", &ServiceKey::named("search"), 0.9);
    let mut book = proposed(&[checkout(0.99), search.clone()]);
    book.accept("availability-checkout", &ada(2)).unwrap();
    book.accept("availability-search", &ada(2)).unwrap();
    let mut book = saved(book);
    let cart = candidate("availability-cart", &ServiceKey::named("cart"), 0.9);
    let incoming = vec![
        SloRecord::proposed(&cart, &fit(5)),
        SloRecord::proposed(&search, &fit(5)),
    ];
    let update = book.replace(incoming, &import(9));
    assert_eq!(update.added, ["availability-cart"]);
    assert_eq!(update.changed, ["availability-search"]);
    assert_eq!(update.removed, ["availability-checkout"]);
    let released = ["availability-checkout", "availability-search"];
    assert_eq!(update.released, released);
    let kept = history(&book, "availability-search");
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert_eq!(kept[1].1, person());
}

#[test]
fn what_another_configuration_promised_is_here_by_the_import() {
    let mut other = Book::new([], LIMIT);
    other.configure(&[objective("a", 0.99)], at(1));
    let mut book = book();
    book.merge(other.into_records(), &import(2));
    let source = book.adopted().next().unwrap().source;
    assert_eq!(source, ObjectiveSource::Accepted);
    // Else the next start would withdraw it.
    book.configure(&[], at(3));
    assert_eq!(book.adopted().count(), 1);
}

/// What may happen to one of the services of a store.
#[derive(Clone, Copy, Debug)]
enum Event {
    Fit(usize),
    Accept,
    Reject,
    Configure(usize),
}

const TARGETS: [f64; 3] = [0.9, 0.99, 0.999];

fn event() -> impl Strategy<Value = (usize, Event)> {
    let event = prop_oneof![
        3 => (0..TARGETS.len()).prop_map(Event::Fit),
        1 => Just(Event::Accept),
        1 => Just(Event::Reject),
        1 => (0..TARGETS.len()).prop_map(Event::Configure),
    ];
    (0..3_usize, event)
}

fn store(prefix: &'static str) -> impl Strategy<Value = Vec<SloRecord>> {
    proptest::collection::vec((event(), 0..4_i64), 0..12).prop_map(move |events| {
        let (mut book, mut now) = (book(), 1);
        for ((service, event), pause) in events {
            now += pause;
            let service = format!("{prefix}{service}");
            let name = format!("availability-{service}");
            let suggested = |target: f64| candidate(&name, &ServiceKey::named(&service), target);
            match event {
                Event::Fit(target) => book.propose(&mut [suggested(TARGETS[target])], &fit(now)),
                Event::Accept => drop(book.accept(&name, &ada(now))),
                Event::Reject => drop(book.reject(&name, &ada(now))),
                Event::Configure(target) => {
                    let promised = Objective {
                        service,
                        ..objective(&name, TARGETS[target])
                    };
                    book.configure(&[promised], at(now));
                }
            }
        }
        book.into_records()
    })
}

/// Without what tells of the import itself, and by whose word it stands here.
fn without_import(book: Book) -> Vec<SloRecord> {
    let mut records = book.into_records();
    for record in &mut records {
        record
            .history
            .retain(|told| told.what != ChangeKind::Imported);
        record.objective.source = ObjectiveSource::Accepted;
    }
    records
}

fn terms(book: &Book) -> Vec<(String, Terms)> {
    let records = book.records();
    records
        .map(|record| (record.name().to_owned(), record.terms()))
        .collect()
}

proptest! {
    #[test]
    fn property_a_second_merge_of_the_same_changes_nothing(here in store("s"), there in store("s")) {
        let mut book = Book::new(here, LIMIT);
        book.merge(there.clone(), &import(100));
        let mut book = saved(book);
        let before = book.clone().into_records();
        let update = book.merge(there, &import(101));
        prop_assert!(!book.is_changed());
        prop_assert_eq!((update.added.len(), update.changed.len()), (0, 0));
        prop_assert_eq!(book.into_records(), before);
    }

    #[test]
    fn property_a_second_replacement_by_the_same_changes_nothing(
        here in store("s"), there in store("s"),
    ) {
        let mut book = Book::new(here, LIMIT);
        book.replace(there.clone(), &import(100));
        let before = terms(&book);
        let update = book.replace(there.clone(), &import(101));
        prop_assert_eq!(update.changed.len() + update.added.len() + update.removed.len(), 0);
        prop_assert_eq!(terms(&book), before.clone());
        let wanted: Vec<(String, Terms)> = terms(&Book::new(there, LIMIT));
        prop_assert_eq!(before.len(), wanted.len());
    }

    #[test]
    fn property_stores_without_common_slos_merge_alike_in_both_orders(
        left in store("l"), right in store("r"),
    ) {
        let mut there = Book::new(left.clone(), LIMIT);
        there.merge(right.clone(), &import(100));
        let mut back = Book::new(right, LIMIT);
        back.merge(left, &import(100));
        prop_assert_eq!(without_import(there), without_import(back));
    }

    #[test]
    fn property_no_change_that_either_side_tells_of_is_lost(here in store("s"), there in store("s")) {
        for replaces in [false, true] {
            let mut book = Book::new(here.clone(), LIMIT);
            if replaces {
                book.replace(there.clone(), &import(100));
            } else {
                book.merge(there.clone(), &import(100));
            }
            for record in here.iter().chain(&there).filter(|record| !merge::is_fresh(record)) {
                let Some(held) = book.get(record.name()) else {
                    prop_assert!(replaces);
                    continue;
                };
                for told in &record.history {
                    prop_assert!(held.history.iter().any(|own| own.same_as(told)), "{told:?}");
                }
                let last = held.history.last().unwrap();
                prop_assert!(last.to.same_as(&held.terms()));
            }
        }
    }

    #[test]
    fn property_the_last_change_tells_what_holds(records in store("s")) {
        for record in records {
            prop_assert!(record.history.last().unwrap().to.same_as(&record.terms()));
            let times: Vec<_> = record.history.iter().map(|told| told.at).collect();
            prop_assert!(times.is_sorted());
        }
    }
}
