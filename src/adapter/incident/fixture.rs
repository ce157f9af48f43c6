//! Incidents and reports for tests.

use jiff::Timestamp;

use crate::model::incident::{Confirmation, Feature, Incident};
use crate::model::rca::{Change, Conclusion, Evidence, RankedCause, RcaReport, TraceWindow};
use crate::model::series::ServiceKey;

pub(super) fn evidence(id: &str, signal: &str, operation: Option<&str>, score: f64) -> Evidence {
    Evidence {
        id: id.to_owned(),
        signal: signal.to_owned(),
        operation: operation.map(str::to_owned),
        score,
        baseline: Some(0.01),
        incident: Some(0.2),
        unit: "s".to_owned(),
        text: format!("{signal} went up"),
        example_trace_ids: vec!["0af7651916cd43dd8448eb211c80319c".to_owned()],
    }
}

/// A report of these causes with their evidence.
pub(super) fn report(causes: &[(&str, Vec<Evidence>)]) -> RcaReport {
    let ranked = causes
        .iter()
        .zip(1_u8..)
        .map(|((service, evidence), rank)| RankedCause {
            service: (*service).to_owned(),
            key: ServiceKey::named(service),
            score: 1.0 / f64::from(rank),
            operations: Vec::new(),
            instances: Vec::new(),
            evidence: evidence.clone(),
        });
    RcaReport {
        conclusion: Conclusion::Found,
        text: "one service changed".to_owned(),
        ranked: ranked.collect(),
        changes: vec![Change {
            kind: "new_version".to_owned(),
            service: "payment".to_owned(),
            subject: "2.0.0".to_owned(),
            text: "payment 2.0.0 appeared".to_owned(),
        }],
        baseline: TraceWindow::default(),
        incident: TraceWindow::default(),
        similar: Vec::new(),
        explanation: None,
    }
}

pub(super) fn incident(id: u64, features: &[Feature]) -> Incident {
    Incident {
        id,
        began_at: id,
        ended_at: None,
        failing: vec!["frontend".to_owned()],
        reasons: Vec::new(),
        features: features.to_vec(),
        rca: report(&[]),
        confirmation: None,
    }
}

pub(super) fn confirmed(incident: Incident, cause: &str) -> Incident {
    Incident {
        confirmation: Some(Confirmation {
            cause: cause.to_owned(),
            resolution: "rolled back".to_owned(),
            by: Some("ada".to_owned()),
            at: Timestamp::UNIX_EPOCH,
        }),
        ..incident
    }
}
