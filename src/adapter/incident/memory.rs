//! Finds past incidents that looked alike.
//!
//! An incident is a vector: how much each signal of each operation deviated, on a logarithmic scale, since a deviation of 100
//! is not ten times as telling as one of 10. The signals of a whole service stand beside those of its operations, so that an
//! incident of another operation of the same service is near, too. Two incidents are as near as the cosine of their vectors.

use std::collections::BTreeMap;

use crate::model::incident::{Feature, Incident};
use crate::model::rca::{RcaReport, SimilarIncident};

/// Weight of what a service shows over all of its operations, against that of one operation.
const SERVICE_WEIGHT: f64 = 0.5;

/// Features of a report: the evidence of every cause, the strongest one where a signal is seen twice.
pub fn features(report: &RcaReport) -> Vec<Feature> {
    let mut strongest: BTreeMap<(&str, &str, &str), f64> = BTreeMap::new();
    for cause in &report.ranked {
        for evidence in &cause.evidence {
            let operation = evidence.operation.as_deref().unwrap_or_default();
            let key = (cause.service.as_str(), operation, evidence.signal.as_str());
            let held = strongest.entry(key).or_default();
            // A score that is no number says nothing.
            *held = held.max(evidence.score);
        }
    }
    let features = strongest.into_iter().filter(|(_, score)| *score > 0.0);
    features
        .map(|((service, operation, signal), score)| Feature {
            service: service.to_owned(),
            operation: operation.to_owned(),
            signal: signal.to_owned(),
            score,
        })
        .collect()
}

/// The incidents that are at least `min_similarity` near to these features, the nearest first and at most `most`. `id` is
/// the incident itself, which is never among them.
pub fn nearest(
    features: &[Feature],
    id: u64,
    known: &[Incident],
    (most, min_similarity): (usize, f64),
) -> Vec<SimilarIncident> {
    let own = Vector::new(features);
    let others = known.iter().filter(|incident| incident.id != id);
    let mut near: Vec<(f64, &Incident)> = others
        .map(|incident| (own.cosine(&Vector::new(&incident.features)), incident))
        .filter(|(similarity, _)| *similarity >= min_similarity)
        .collect();
    // Of two that are as near, the newer one, and the one whose cause is known.
    near.sort_by(|(left, one), (right, other)| {
        let by_knowledge = (other.confirmation.is_some(), other.began_at)
            .cmp(&(one.confirmation.is_some(), one.began_at));
        right.total_cmp(left).then(by_knowledge)
    });
    near.into_iter()
        .take(most)
        .map(|(similarity, incident)| SimilarIncident {
            id: incident.id,
            began_at: incident.began_at,
            similarity,
            ranked_first: incident.rca.ranked.first().map(|own| own.service.clone()),
            confirmed_cause: incident
                .confirmation
                .as_ref()
                .map(|said| said.cause.clone()),
            resolution: incident
                .confirmation
                .as_ref()
                .map(|said| said.resolution.clone())
                .filter(|text| !text.is_empty()),
        })
        .collect()
}

/// Features by what they are about; those of whole services have no operation.
struct Vector<'f> {
    values: BTreeMap<(&'f str, Option<&'f str>, &'f str), f64>,
    length: f64,
}

impl<'f> Vector<'f> {
    fn new(features: &'f [Feature]) -> Self {
        let mut values = BTreeMap::new();
        for feature in features {
            let value = feature.score.max(0.0).ln_1p();
            let (service, signal) = (feature.service.as_str(), feature.signal.as_str());
            let operation = Some(feature.operation.as_str());
            let own: &mut f64 = values.entry((service, operation, signal)).or_default();
            *own = own.max(value);
            let all: &mut f64 = values.entry((service, None, signal)).or_default();
            *all = all.max(SERVICE_WEIGHT * value);
        }
        let squares: f64 = values.values().map(|value| value * value).sum();
        Self {
            values,
            length: squares.sqrt(),
        }
    }

    /// 0 where one of the two has nothing.
    fn cosine(&self, other: &Self) -> f64 {
        let shared = self.values.iter().filter_map(|(key, value)| {
            let theirs = other.values.get(key)?;
            Some(value * theirs)
        });
        let product: f64 = shared.sum();
        let lengths = self.length * other.length;
        if lengths > 0.0 {
            (product / lengths).min(1.0)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::adapter::incident::fixture::{confirmed, evidence, incident, report};

    fn feature(service: &str, operation: &str, signal: &str, score: f64) -> Feature {
        Feature {
            service: service.to_owned(),
            operation: operation.to_owned(),
            signal: signal.to_owned(),
            score,
        }
    }

    #[test]
    fn features_are_the_strongest_evidence_of_each_signal() {
        let report = report(&[
            (
                "payment",
                vec![
                    evidence("E1", "self_time", Some("charge"), 12.0),
                    evidence("E2", "self_time", Some("charge"), 3.0),
                    evidence("E3", "errors", None, 5.0),
                ],
            ),
            ("cart", vec![evidence("E4", "errors", None, 0.0)]),
        ]);
        let wanted = [
            feature("payment", "", "errors", 5.0),
            feature("payment", "charge", "self_time", 12.0),
        ];
        assert_eq!(features(&report), wanted);
    }

    /// By hand: ln 2 of the operation and half of it for the service; the product of the halves over the lengths is 0.2.
    #[test]
    fn another_operation_of_the_same_service_is_a_fifth_alike() {
        let one = [feature("payment", "charge", "self_time", 1.0)];
        let other = [feature("payment", "refund", "self_time", 1.0)];
        let cosine = Vector::new(&one).cosine(&Vector::new(&other));
        assert!((cosine - 0.2).abs() < 1e-12, "{cosine}");
    }

    #[test]
    fn the_nearest_incident_comes_first_and_never_the_incident_itself() {
        let slow_payment = [feature("payment", "charge", "self_time", 20.0)];
        let failing_cart = [feature("cart", "add", "errors", 20.0)];
        let known = [
            incident(1, &slow_payment),
            incident(2, &failing_cart),
            confirmed(incident(3, &slow_payment), "payment"),
            incident(4, &slow_payment),
        ];
        let near = nearest(&slow_payment, 4, &known, (5, 0.5));
        let ids: Vec<u64> = near.iter().map(|own| own.id).collect();
        assert_eq!(ids, [3, 1]);
        assert_eq!(near[0].confirmed_cause.as_deref(), Some("payment"));
        assert_eq!(nearest(&slow_payment, 4, &known, (1, 0.5)).len(), 1);
    }

    #[test]
    fn what_has_no_features_is_like_nothing() {
        let known = [incident(1, &[])];
        assert!(nearest(&[], 0, &known, (5, 0.1)).is_empty());
        assert!(nearest(&[], 0, &known, (5, 0.0))[0].similarity.abs() < 1e-12);
    }

    fn any_features() -> impl Strategy<Value = Vec<Feature>> {
        let name = || prop::sample::select(vec!["a", "b", "c"]);
        let any = (name(), name(), name(), 0.1..1e6_f64);
        let any = any.prop_map(|(service, operation, signal, score)| {
            feature(service, operation, signal, score)
        });
        prop::collection::vec(any, 1..8)
    }

    proptest! {
        #[test]
        fn likeness_is_mutual_within_0_and_1_and_1_with_itself(
            one in any_features(),
            other in any_features(),
        ) {
            let (one, other) = (Vector::new(&one), Vector::new(&other));
            let (there, back) = (one.cosine(&other), other.cosine(&one));
            prop_assert!((there - back).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&there));
            prop_assert!((one.cosine(&one) - 1.0).abs() < 1e-12);
        }
    }
}
