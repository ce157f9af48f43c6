//! Rules of taking objectives from documents, beyond those of the documents themselves.

use super::Rule;

rules! {
    /// Annotated as ours.
    NOT_ANNOTATED = Rule::note(
        "adopt-not-annotated",
        "An SLO is measured here if annotations slo-copilot.dev/service and /sli say what it measures.",
        "slo-copilot measures traces, not foreign metric sources",
    )
    .examples(
        adopted!("annotations: {slo-copilot.dev/service: checkout, slo-copilot.dev/sli: availability}"),
        adopted!("annotations: {slo-copilot.dev/service: checkout}"),
    );

    /// Agreed on.
    SUGGESTION = Rule::note(
        "adopt-suggestion",
        "A suggestion, whose slo-copilot.dev/state is ready or provisional, is not adopted from a file.",
        "slo-copilot: an objective is what people agreed on",
    )
    .examples(
        adopted!(
            "annotations: {slo-copilot.dev/service: checkout, slo-copilot.dev/sli: availability, slo-copilot.dev/state: adopted}"
        ),
        adopted!(
            "annotations: {slo-copilot.dev/service: checkout, slo-copilot.dev/sli: availability, slo-copilot.dev/state: ready}"
        ),
    );

    /// Values that are understood.
    ANNOTATION = Rule::error(
        "adopt-annotation",
        "The value of an annotation slo-copilot.dev/* is one that slo-copilot understands.",
        "slo-copilot",
    )
    .examples(
        adopted!(
            "annotations: {slo-copilot.dev/service: checkout, slo-copilot.dev/sli: latency, slo-copilot.dev/threshold: 300ms}"
        ),
        adopted!(
            "annotations: {slo-copilot.dev/service: checkout, slo-copilot.dev/sli: latency, slo-copilot.dev/threshold: 0.3s}"
        ),
    );

    /// Keys that are known.
    ANNOTATION_UNKNOWN = Rule::warning(
        "adopt-annotation-unknown",
        "The name behind slo-copilot.dev/ is one that slo-copilot knows.",
        "slo-copilot",
    )
    .examples(
        adopted!(
            "annotations: {slo-copilot.dev/service: checkout, slo-copilot.dev/sli: availability, slo-copilot.dev/weight: '2'}"
        ),
        adopted!(
            "annotations: {slo-copilot.dev/service: checkout, slo-copilot.dev/sli: availability, slo-copilot.dev/wieght: '2'}"
        ),
    );

    /// A budget to burn.
    TARGET = Rule::error("adopt-target", "The target of an objective is above 0.", "slo-copilot")
        .examples(adopted!(objectives: "[{target: 0.5}]"), adopted!(objectives: "[{target: 0}]"));

    /// Lengths that can be judged.
    PERIOD = Rule::error(
        "adopt-period",
        "The period of an objective is of whole days, from 7 to 400 of them.",
        "slo-copilot: burn-rate windows of shorter periods are not held, days are kept for 400",
    )
    .examples(
        adopted!(window: "{duration: 90d, isRolling: true}"),
        adopted!(window: "{duration: 2Y, isRolling: true}"),
    );

    /// Slices that can be counted.
    SLICE = Rule::error(
        "adopt-slice",
        "A slice is a whole number of minutes up to an hour that divides a day.",
        "slo-copilot: minutes are the finest slots held",
    )
    .examples(
        adopted!(slices: "[{target: 0.99, timeSliceWindow: 5m}]"),
        adopted!(slices: "[{target: 0.99, timeSliceWindow: 7m}]"),
    );

    /// One objective of a name.
    NAME_TAKEN = Rule::error(
        "adopt-name",
        "Names of objectives are unique: an SLO's own, and for one of several objectives or a member of a composite \
         the SLO's with its displayName or its number behind it.",
        "slo-copilot",
    )
    .examples(
        adopted!(objectives: "[{target: 0.9, displayName: Loose}, {target: 0.99, displayName: Tight}]"),
        adopted!(objectives: "[{target: 0.9, displayName: Same}, {target: 0.99, displayName: Same}]"),
    );
}
