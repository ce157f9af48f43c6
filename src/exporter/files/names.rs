//! File names that stand for services: safe whatever the services call themselves, and unique.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::report::Report;
use crate::model::series::ServiceKey;
use crate::model::slug::{is_rfc1123_label, name_with_hash, name_with_long_hash};
use crate::openslo::grouping::objectives_by_service;

/// A unique RFC 1123 label for each service that the report speaks of.
///
/// A service whose name is a label already is called by it, as long as no other one is. The labels depend on the set
/// of services only, so that all exporters and replicas agree.
pub fn service_names(report: &Report) -> BTreeMap<ServiceKey, String> {
    let mut services: BTreeSet<ServiceKey> = objectives_by_service(report).into_keys().collect();
    services.extend(report.services.iter().map(|found| found.service.clone()));
    services.extend(
        report
            .verdicts
            .iter()
            .filter_map(|verdict| verdict.service.clone()),
    );
    unique_names(services)
}

/// A unique RFC 1123 label for each of these services.
pub fn unique_names(services: BTreeSet<ServiceKey>) -> BTreeMap<ServiceKey, String> {
    let mut wanted: BTreeMap<String, Vec<ServiceKey>> = BTreeMap::new();
    for service in services {
        wanted.entry(slug(&service.name)).or_default().push(service);
    }
    let mut taken: BTreeSet<String> = wanted
        .iter()
        .filter(|(_, services)| services.len() == 1)
        .map(|(name, _)| name.clone())
        .collect();
    let mut names = BTreeMap::new();
    for (name, mut services) in wanted {
        if services.len() == 1 {
            names.extend(services.pop().map(|service| (service, name)));
            continue;
        }
        for service in services {
            let parts = [&*service.name];
            let identity = [&*service.namespace, &*service.environment, &*service.name];
            // More digits only where six are taken, which somebody has to provoke.
            let name = [name_with_hash, name_with_long_hash]
                .into_iter()
                .map(|named| named(&parts, &identity))
                .find(|name| !taken.contains(name));
            if let Some(name) = name {
                taken.insert(name.clone());
                names.insert(service, name);
            }
        }
    }
    names
}

/// The text itself if it is an RFC 1123 label, else one that ends in a hash of the text.
fn slug(text: &str) -> String {
    if is_rfc1123_label(text) {
        text.to_owned()
    } else {
        name_with_hash(&[text], &[text])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::slug::is_rfc1123_label;
    use crate::openslo::fixture::{availability, report, service, status};

    fn names_of(services: &[ServiceKey]) -> Vec<String> {
        let names = unique_names(services.iter().cloned().collect());
        services.iter().map(|key| names[key].clone()).collect()
    }

    #[test]
    fn a_name_that_is_a_label_is_kept() {
        assert_eq!(slug("checkout--2"), "checkout--2");
        assert_eq!(slug(&"a".repeat(63)), "a".repeat(63));
    }

    #[test]
    fn a_name_that_loses_something_ends_in_six_digits_of_its_hash() {
        for (text, start) in [
            ("../../etc/passwd", "etc-passwd-"),
            ("Checkout", "checkout-"),
            ("com.example.Shop", "com-example-shop-"),
            ("A--B", "a-b-"),
            ("-a-", "a-"),
            ("größe", "gr-e-"),
            ("", "unnamed-"),
            ("結帳", "unnamed-"),
            ("..", "unnamed-"),
            ("\0\n", "unnamed-"),
        ] {
            let name = slug(text);
            assert!(is_rfc1123_label(&name), "{text:?} gives {name:?}");
            let hash = name.strip_prefix(start).unwrap();
            assert!(
                hash.len() == 6 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{text:?} gives {name:?}"
            );
        }
    }

    #[test]
    fn long_names_are_cut_and_still_differ() {
        let (one, two) = (slug(&"a".repeat(300)), slug(&"a".repeat(301)));
        assert_eq!((one.len(), two.len()), (63, 63));
        assert_ne!(one, two);
    }

    #[test]
    fn services_that_slug_to_the_same_get_names_of_their_own() {
        let names = names_of(&[
            ServiceKey::named("check out"),
            ServiceKey::named("check-out"),
            service("", "prod", "checkout"),
            service("", "staging", "checkout"),
        ]);
        assert_eq!(names[1], "check-out");
        assert!(names[0].starts_with("check-out-"));
        assert!(names[2].starts_with("checkout-") && names[3].starts_with("checkout-"));
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn a_name_that_imitates_the_hash_of_another_collides_with_nobody() {
        let keys = [
            service("", "prod", "checkout"),
            service("", "staging", "checkout"),
        ];
        let imitation = ServiceKey::named(&names_of(&keys)[0]);
        let [prod, staging] = keys;
        let names = names_of(&[prod, staging, imitation]);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(
            names[0].len(),
            names[2].len() + 10,
            "sixteen digits, not six"
        );
    }

    #[test]
    fn an_objective_of_an_unseen_service_has_a_name_too() {
        let mut report = report(0, &[]);
        report.baseline_evaluations = vec![status(availability("a", "checkout", 0.99))];
        let names = service_names(&report);
        assert_eq!(names[&ServiceKey::named("checkout")], "checkout");
    }

    proptest! {
        #[test]
        fn property_names_are_unique_labels(
            keys in prop::collection::btree_set(("[aA.-]{0,3}", "[p]?", any::<String>()), 0..20),
        ) {
            let keys = keys.into_iter().flat_map(|(name, environment, text)| {
                [service("", &environment, &name), service(&text, &environment, &text)]
            });
            let keys: BTreeSet<ServiceKey> = keys.collect();
            let names = unique_names(keys.clone());
            prop_assert_eq!(names.len(), keys.len());
            prop_assert_eq!(names.values().collect::<BTreeSet<_>>().len(), keys.len());
            prop_assert!(names.values().all(|name| is_rfc1123_label(name)));
        }
    }
}
