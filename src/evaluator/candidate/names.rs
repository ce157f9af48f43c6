//! Names of candidates, which are the names of their objectives once adopted.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::candidate::Candidate;
use crate::model::slo::Sli;
use crate::model::slug;

use crate::evaluator::figures::percentile;

/// The name of a candidate among candidates that it does not collide with: `availability-<service>`,
/// `error-rate-<service>`, `latency-p95-<service>`, and `-<operation>`.
pub(super) fn plain_name(candidate: &Candidate) -> String {
    named(candidate, slug::name)
}

/// Gives every candidate its name. Names that differ in what a name leaves out (namespace, environment, signs) would
/// be one: all of those get six hexadecimal digits of their identity, whatever their order. The name does not depend
/// on threshold or target of error objectives, so that it stays when they move. Candidates of one identity share one
/// name.
pub fn assign_names(candidates: &mut [Candidate]) {
    for candidate in &mut *candidates {
        candidate.name = plain_name(candidate);
    }
    // The second round parts those whose six digits agree, or that are named like another one's hash.
    for hashed_name in [slug::name_with_hash, slug::name_with_long_hash] {
        let mut identities: BTreeMap<&str, BTreeSet<Vec<&str>>> = BTreeMap::new();
        let labels: Vec<String> = candidates.iter().map(sli_label).collect();
        for (candidate, label) in candidates.iter().zip(&labels) {
            identities
                .entry(&candidate.name)
                .or_default()
                .insert(identity(candidate, label));
        }
        let shared: BTreeSet<String> = identities
            .into_iter()
            .filter(|(_, identities)| identities.len() > 1)
            .map(|(name, _)| name.to_owned())
            .collect();
        for candidate in &mut *candidates {
            if shared.contains(&candidate.name) {
                candidate.name = named(candidate, hashed_name);
            }
        }
    }
}

fn named(candidate: &Candidate, name: impl Fn(&[&str], &[&str]) -> String) -> String {
    let label = sli_label(candidate);
    let mut parts = vec![label.as_str(), &candidate.service.name];
    parts.extend(candidate.operation.as_deref());
    name(&parts, &identity(candidate, &label))
}

fn identity<'a>(candidate: &'a Candidate, label: &'a str) -> Vec<&'a str> {
    let service = &candidate.service;
    let mut identity = vec![&*service.namespace, &*service.environment, &*service.name];
    identity.extend(candidate.operation.as_deref());
    identity.push(label);
    identity
}

/// `availability`, `error-rate`, or the latency with its quantile: `latency-p95`, `latency-p99.9`.
fn sli_label(candidate: &Candidate) -> String {
    match candidate.sli {
        Sli::Availability | Sli::ErrorRate => candidate.sli.slug().to_owned(),
        Sli::Latency { .. } => {
            format!("{}-{}", candidate.sli.slug(), percentile(candidate.target))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::candidate::{CandidateState, Evidence};
    use crate::model::series::ServiceKey;
    use crate::model::window::Window;

    use super::*;

    fn candidate_of(
        namespace: &str,
        service: &str,
        operation: Option<&str>,
        sli: Sli,
        target: f64,
    ) -> Candidate {
        Candidate {
            name: String::new(),
            service: ServiceKey {
                namespace: namespace.into(),
                environment: "".into(),
                name: service.into(),
            },
            operation: operation.map(str::to_owned),
            sli,
            target,
            window: Window::D30,
            state: CandidateState::Provisional,
            missing: Vec::new(),
            evidence: Evidence::default(),
        }
    }

    fn names_of(mut candidates: Vec<Candidate>) -> Vec<String> {
        assign_names(&mut candidates);
        candidates
            .into_iter()
            .map(|candidate| candidate.name)
            .collect()
    }

    #[test]
    fn names_say_indicator_service_and_operation() {
        let latency = Sli::Latency {
            threshold_micros: 1,
        };
        let names = names_of(vec![
            candidate_of("", "checkout", None, Sli::Availability, 0.99),
            candidate_of(
                "",
                "checkout",
                Some("GET /carts/{id}"),
                Sli::ErrorRate,
                0.01,
            ),
            candidate_of("", "checkout", None, latency, 0.95),
            candidate_of("", "checkout", None, latency, 0.999),
            candidate_of("", &"x".repeat(70), None, Sli::Availability, 0.99),
        ]);
        assert_eq!(
            names[..4],
            [
                "availability-checkout",
                "error-rate-checkout-get-carts-id",
                "latency-p95-checkout",
                "latency-p99-9-checkout",
            ]
        );
        assert_eq!(names.last().unwrap().len(), 63);
    }

    #[test]
    fn colliding_names_get_the_hash_of_their_identity_in_any_order() {
        let candidates = || {
            vec![
                candidate_of("shop", "cart", None, Sli::Availability, 0.99),
                candidate_of("bank", "cart", None, Sli::Availability, 0.99),
                candidate_of("bank", "teller", None, Sli::Availability, 0.99),
                candidate_of("shop", "a", Some("b-c"), Sli::Availability, 0.99),
                candidate_of("shop", "a-b", Some("c"), Sli::Availability, 0.99),
            ]
        };
        let names = names_of(candidates());
        let hashed = |name: &str, plain: &str| {
            name.strip_prefix(plain)
                .is_some_and(|hash| hash.len() == 7 && hash.starts_with('-'))
        };
        assert!(hashed(&names[0], "availability-cart"));
        assert!(hashed(&names[1], "availability-cart"));
        assert_ne!(names[0], names[1]);
        assert_eq!(names[2], "availability-teller");
        assert!(hashed(&names[3], "availability-a-b-c"));
        assert!(hashed(&names[4], "availability-a-b-c"));
        assert_ne!(names[3], names[4]);

        let mut reversed = candidates();
        reversed.reverse();
        let mut reversed = names_of(reversed);
        reversed.reverse();
        assert_eq!(reversed, names);
        // A threshold or target that moves does not rename.
        let mut moved = candidates();
        moved[0].target = 0.999;
        assert_eq!(names_of(moved), names);
    }

    #[test]
    fn a_name_like_the_hash_of_another_is_told_apart() {
        let cart = |namespace| candidate_of(namespace, "cart", None, Sli::Availability, 0.99);
        let hashed = names_of(vec![cart("shop"), cart("bank")]).swap_remove(0);
        let service = hashed.strip_prefix("availability-").unwrap().to_owned();
        let impostor = candidate_of("", &service, None, Sli::Availability, 0.99);
        let mut names = names_of(vec![cart("shop"), cart("bank"), impostor]);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 3);
    }
}
