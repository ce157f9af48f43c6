//! Properties of the candidates of any history.

use proptest::prelude::*;

use super::*;

/// Histories of up to three days with gaps, weights, errors and all latencies.
fn histories() -> impl Strategy<Value = Vec<MinuteRow>> {
    let minute = (
        0..4_320_u32,
        1..200_u64,
        prop_oneof![3 => Just(0), 1 => 0..=100_u64],
        0..90_000_000_u64,
        prop_oneof![Just(1.0), 1.0..50.0_f64],
    );
    prop::collection::vec(minute, 0..120).prop_map(|minutes| {
        let mut rows: Vec<_> = minutes
            .into_iter()
            .map(|(minute, total, percent, micros, weight)| {
                let bad = total * percent / 100;
                let mut row = row(minute, total, bad, micros);
                row.sums.total *= weight;
                row.sums.bad *= weight;
                row.sums.squared *= weight * weight;
                row
            })
            .collect();
        rows.sort_by_key(|row| row.minute);
        rows
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn property_no_candidate_is_violated_by_the_data_it_was_born_from(rows in histories()) {
        let data = rows.iter().fold(WindowSums::default(), |sums, row| sums.plus(row.sums));
        let mut counts = LatencyCounts::default();
        for (bucket, count) in rows.iter().flat_map(|row| &row.latency) {
            counts.add_bucket(*bucket, *count);
        }
        for candidate in fitted(&rows) {
            match candidate.sli {
                _ if candidate.state == CandidateState::Rejected => {
                    prop_assert!(candidate.evidence.rejection.is_some());
                }
                Sli::Availability => {
                    prop_assert!(candidate.target < 1.0 - data.error_ratio().unwrap());
                    prop_assert!(TARGET_LADDER.contains(&candidate.target));
                }
                Sli::ErrorRate => {
                    prop_assert!(candidate.target > data.error_ratio().unwrap());
                }
                Sli::Latency { threshold_micros } => {
                    let good = counts.at_most_micros(threshold_micros) as f64;
                    prop_assert!(good / counts.total() as f64 >= candidate.target);
                    prop_assert_eq!(ladder_edge_micros(threshold_micros), Some(threshold_micros));
                    let is_carried = candidate.evidence.bound * 1e6 <= threshold_micros as f64;
                    prop_assert!(is_carried || candidate.state == CandidateState::Provisional);
                }
            }
        }
    }

    #[test]
    fn property_evidence_is_finite_and_states_agree_with_what_is_missing(rows in histories()) {
        for candidate in fitted(&rows) {
            let evidence = &candidate.evidence;
            prop_assert!(evidence.over_dispersion >= 1.0);
            prop_assert!((0.0..=1.0).contains(&evidence.coverage_ratio));
            prop_assert!(evidence.effective_events <= evidence.events as f64 * (1.0 + 1e-9));
            prop_assert!(evidence.incidents <= evidence.slices_with_traffic);
            let is_rejected = candidate.state == CandidateState::Rejected;
            prop_assert_eq!(evidence.rejection.is_some(), is_rejected);
            prop_assert!(is_rejected || candidate.missing.is_empty() == (candidate.state == CandidateState::Ready));
            prop_assert_eq!(evidence.replay.is_none(), evidence.replay_missing.is_some());
            // JSON writes NaN and infinity as null, which is no number.
            let text = serde_json::to_string(&candidate).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Candidate>(&text).unwrap(), &candidate);
        }
    }

    #[test]
    fn property_the_same_history_gives_the_same_candidates(rows in histories()) {
        prop_assert_eq!(fitted(&rows), fitted(&rows.clone()));
    }
}
