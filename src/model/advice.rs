//! What the neighbours found last. It joins the next report; nothing waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::coverage::CoverageReport;
use crate::model::rca::RcaReport;
use crate::model::recommendation::TelemetryRecommendation;
use crate::model::sampling::SamplingPlan;
use crate::model::topology::ServiceGraph;

/// The newest finished advice of each adapter.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    /// Coverage.
    pub coverage: Option<Arc<CoverageReport>>,
    /// Root causes of the incident that is under way, or of the last one.
    pub rca: Option<Arc<RcaReport>>,
    /// The shares that are to be sampled now; without one, all is.
    pub sampling: Option<Arc<SamplingPlan>>,
    /// Services whose spans were lately weighed by what their senders were asked.
    pub assumed_sampling: Vec<String>,
    /// The service graph. It is no part of the report: `/api/v1/topology` has it.
    pub topology: Option<Arc<ServiceGraph>>,
    /// What the telemetry will cost, and what to do about it.
    pub telemetry: Option<Arc<TelemetryRecommendation>>,
    /// State of each neighbour in words, by its name in the report's `integrations`.
    pub states: BTreeMap<&'static str, String>,
}
