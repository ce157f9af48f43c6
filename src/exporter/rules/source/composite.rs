//! Composites: several indicators that burn one budget, as `serve` judges them.

use super::{Placed, Sources, labels, spec_path};
use crate::evaluator::burn_rate::Limits;
use crate::exporter::rules::slo::{Indicator, Member, Slo};
use crate::model::slo::{Budgeting, exact_ratio};
use crate::openslo::adopt::{member_name, objective_name, suggested_state};
use crate::openslo::rules::prometheus::COMPOSITE;
use crate::openslo::v1::{Metadata, ObjectiveSpec, SloSpec};

impl<'d> Sources<'d> {
    /// The SLO of a composite, unless something is wrong with one of its members.
    pub(super) fn composite(
        &mut self,
        own: &Placed<'d, Metadata>,
        spec: &'d SloSpec,
        limits: Limits,
    ) -> Option<Slo> {
        let (document, name) = (own.document, own.value.name.as_str());
        if let Some(state) = suggested_state(own.value) {
            self.suggested(document, name, state);
            return None;
        }
        let id = self.id(document, &spec_path(), &spec.service, name)?;
        let whole = Slo {
            id,
            service: spec.service.clone(),
            name: name.to_owned(),
            labels: labels(own.value),
            title: own.value.display_name.as_deref().unwrap_or(name).to_owned(),
            target: 0.0,
            period: self.period(document, spec)?,
            budgeting: Budgeting::Occurrences,
            indicator: Indicator::Members(Vec::new()),
            limits,
        };
        let objectives = spec.objectives.iter().enumerate();
        let members = objectives
            .map(|(index, objective)| self.member(own, spec, (index, objective), whole.clone()));
        // Every member is looked at, so that all that is wrong is said at once.
        let members: Vec<Option<Member>> = members.collect();
        let members: Vec<Member> = members.into_iter().collect::<Option<_>>()?;
        let first = members.first()?.slo.clone();
        for (index, member) in members.iter().enumerate() {
            if let Err(shared) = agree(&first, &member.slo) {
                let path = spec_path().key("objectives").index(index);
                let message = format!(
                    "the members `{}` and `{}` must have the same {shared}, since they share slices",
                    first.name, member.slo.name
                );
                self.found(&COMPOSITE, document, path, message);
                return None;
            }
        }
        Some(Slo {
            target: target(&members, &first),
            budgeting: first.budgeting,
            indicator: Indicator::Members(members),
            ..whole
        })
    }

    /// A member; what it does not say is as in the whole.
    fn member(
        &mut self,
        own: &Placed<'d, Metadata>,
        spec: &'d SloSpec,
        (index, objective): (usize, &'d ObjectiveSpec),
        whole: Slo,
    ) -> Option<Member> {
        let document = own.document;
        let path = spec_path().key("objectives").index(index);
        let levels = (
            objective.indicator.as_ref(),
            objective.indicator_ref.as_deref(),
        );
        let (indicator, metadata) = self.indicator(document, &path, levels)?;
        if let Some(state) = suggested_state(metadata.value) {
            self.suggested(document, &own.value.name, state);
            return None;
        }
        let name = member_name(metadata.value).map_or_else(
            || objective_name(&own.value.name, spec, index),
            str::to_owned,
        );
        let id = self.id(document, &path, &spec.service, &name)?;
        let said = [
            metadata,
            Placed {
                value: own.value,
                document,
                path: own.path.clone(),
            },
        ];
        let empty = self.empty_slices(&said, spec.budgeting_method);
        let at = (indicator.document, indicator.path.clone());
        let questions = self.questions(&indicator);
        let target = self.target(document, &path, objective);
        let budgeting =
            self.budgeting(document, &path, objective, (spec.budgeting_method, empty?))?;
        let indicator = questions?;
        if let Indicator::Ratio { .. } = indicator {
            let message = "a raw ratio says nothing of how many events a member has; give good and total events".to_owned();
            self.found(
                &COMPOSITE,
                at.0,
                at.1.key("ratioMetric").key("raw"),
                message,
            );
            return None;
        }
        Some(Member {
            weight: objective.composite_weight.unwrap_or(1.0),
            slo: Slo {
                id,
                title: name.clone(),
                name,
                target: target?,
                budgeting,
                indicator,
                ..whole
            },
        })
    }
}

/// Whether both can be members of one composite; if not, what they must share.
#[expect(clippy::float_cmp, reason = "the same number was written")]
fn agree(first: &Slo, other: &Slo) -> Result<(), &'static str> {
    if !first.budgeting.agrees_with(other.budgeting) {
        return Err("timeSliceWindow and slo-copilot.dev/empty-slices");
    }
    if first.slice_secs().is_some() && first.target != other.target {
        return Err("target");
    }
    Ok(())
}

/// The target of one objective that burns as the members do: by occurrences its budget is Σw/Σ(w/B).
fn target(members: &[Member], first: &Slo) -> f64 {
    if first.slice_secs().is_some() {
        return first.target;
    }
    let weights: f64 = members.iter().map(|member| member.weight).sum();
    let shares: f64 = members.iter().map(Member::share).sum();
    exact_ratio(1.0 - weights / shares)
}
