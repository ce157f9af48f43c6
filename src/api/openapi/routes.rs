//! Every route with what it takes and answers: the table behind the description and the hints of 404 and 405.

use super::route::Content::{Html, Json, Metrics, Text};
use super::route::{
    Answer, BOOLEAN, DURATION, Parameter, Route, STEP, STRING, TIME, answer, form_body, get,
    json_body, needed, ok, optional, post, refused,
};

const NO_REPORT: Answer = refused("503", "The first evaluation has not finished yet.");
const STOPPING: Answer = refused("503", "The server is shutting down.");
const ANOTHER_SITE: Answer = refused("403", "A browser sent it from another site's page.");
const TOO_LARGE: Answer = answer("413", "The body is too large.", Text);

const BAD_QUERY: Answer = answer(
    "400",
    "The query cannot be read, or asks for what there is not.",
    Json("PrometheusError"),
);
const NO_EXECUTION: Answer = answer(
    "422",
    "The query cannot be executed on these series.",
    Json("PrometheusError"),
);
const NO_SERIES: Answer = answer(
    "503",
    "The first evaluation has not finished yet.",
    Json("PrometheusError"),
);
const QUERY: Parameter = needed(
    "query",
    "A query in the part of PromQL that is answered.",
    r#"{"type": "string", "minLength": 1, "maxLength": 4096}"#,
);
const QUERY_ANSWERS: &[Answer] = &[
    ok(
        "As Prometheus answers; values are those of /metrics.",
        "PrometheusAnswer",
    ),
    BAD_QUERY,
    TOO_LARGE,
    NO_EXECUTION,
    NO_SERIES,
];

/// Every route, in the order in which they are listed.
pub(in crate::api) const ROUTES: &[Route] = &[
    get(
        "/",
        "An overview for people",
        &[],
        &[answer("200", "A page that loads nothing.", Html)],
    ),
    get(
        "/metrics",
        "Metrics in the Prometheus text format",
        &[],
        &[answer("200", "Text format 0.0.4.", Metrics)],
    ),
    get(
        "/livez",
        "Whether the process answers",
        &[],
        &[answer("200", "It does.", Text)],
    ),
    get(
        "/readyz",
        "Whether receivers are bound and state is restored",
        &[],
        &[
            answer("200", "They are.", Text),
            answer("503", "Not yet.", Text),
        ],
    ),
    get(
        "/api/openapi.json",
        "This description",
        &[],
        &[ok("OpenAPI 3.1.", "OpenApi")],
    ),
    get(
        "/api/v1/report",
        "Everything that the newest evaluation found",
        &[],
        &[ok("The report.", "Report"), NO_REPORT],
    ),
    get(
        "/api/v1/services",
        "Services with their windows",
        &[],
        &[ok("The services.", "Services"), NO_REPORT],
    ),
    get(
        "/api/v1/slos",
        "Adopted objectives, measured",
        &[],
        &[ok("Objectives and composites.", "Slos"), NO_REPORT],
    ),
    get(
        "/api/v1/candidates",
        "Suggested objectives",
        &[],
        &[ok("The candidates.", "Candidates"), NO_REPORT],
    ),
    get(
        "/api/v1/verdict",
        "May this go on?",
        &[
            optional("service", "service.name; empty asks about all together."),
            optional("namespace", "service.namespace; empty means any."),
            optional(
                "environment",
                "deployment.environment.name; empty means any.",
            ),
            optional(
                "version",
                "service.version; without a window the comparison with the version before answers.",
            ),
            optional(
                "window",
                "5m, 30m, 1h, 2h, 6h, 1d, 3d, 7d, 28d or 30d: objectives are held to their targets over it alone.",
            ),
        ],
        &[
            ok("The verdict, whatever it is.", "VerdictReport"),
            refused("400", "A parameter is unknown or comes twice."),
        ],
    ),
    get(
        "/api/v1/tests",
        "Trace-based tests: the results of the newest evaluation",
        &[],
        &[
            ok("The results; null without suites.", "TestResults"),
            NO_REPORT,
        ],
    ),
    get(
        "/api/v1/traces",
        "Whole traces that are kept: a sample",
        &[
            optional("service", "A service that has a span in it."),
            optional("operation", "The operation of an entry span in it."),
            Parameter {
                name: "error",
                description: "Whether a span of it failed.",
                schema: BOOLEAN,
                is_required: false,
            },
            Parameter {
                name: "min_duration",
                description: "For example 300ms.",
                schema: DURATION,
                is_required: false,
            },
            Parameter {
                name: "max_duration",
                description: "For example 2s.",
                schema: DURATION,
                is_required: false,
            },
            optional("version", "A version that has a span in it."),
            Parameter {
                name: "complete",
                description: "Whether all of it is there.",
                schema: BOOLEAN,
                is_required: false,
            },
            Parameter {
                name: "sort",
                description: "In which order.",
                schema: r#"{"type": "string", "enum": ["newest", "slowest"], "default": "newest"}"#,
                is_required: false,
            },
            Parameter {
                name: "limit",
                description: "At most so many.",
                schema: r#"{"type": "integer", "minimum": 0, "maximum": 1000, "default": 100}"#,
                is_required: false,
            },
        ],
        &[
            ok("Summaries.", "Traces"),
            refused("400", "A parameter is unknown or wrong."),
            refused("404", "No traces are kept (trace_buffer.enabled)."),
        ],
    ),
    get(
        "/api/v1/traces/{id}",
        "One whole trace, as OTLP/JSON or as a tree for people",
        &[
            needed("id", "The trace id in hexadecimal.", STRING),
            Parameter {
                name: "format",
                description: "`tree` is text.",
                schema: r#"{"type": "string", "enum": ["otlp", "tree"], "default": "otlp"}"#,
                is_required: false,
            },
        ],
        &[
            ok("The trace, as `analyze` and `test` read it.", "OtlpTraces"),
            refused("400", "A parameter is unknown or wrong."),
            refused("404", "The trace is not kept."),
        ],
    ),
    get(
        "/api/v1/store",
        "SLOs with their histories",
        &[],
        &[ok("The store.", "SloStore"), STOPPING],
    ),
    get(
        "/api/v1/store/{name}",
        "One SLO with its history",
        &[needed("name", "Name of the SLO.", STRING)],
        &[
            ok("The SLO.", "StoreRecord"),
            refused("404", "No SLO has this name."),
            STOPPING,
        ],
    ),
    get(
        "/api/v1/transitions",
        "What changed, the oldest first",
        &[
            Parameter {
                name: "since",
                description: "RFC 3339; the newest ones if it is left out.",
                schema: r#"{"type": "string", "format": "date-time"}"#,
                is_required: false,
            },
            Parameter {
                name: "after",
                description: "Only those with a greater number.",
                schema: r#"{"type": "integer", "minimum": 0}"#,
                is_required: false,
            },
            Parameter {
                name: "limit",
                description: "At most so many.",
                schema: r#"{"type": "integer", "minimum": 0, "maximum": 10000, "default": 100}"#,
                is_required: false,
            },
        ],
        &[
            ok("The changes.", "Transitions"),
            refused("400", "A parameter is unknown or wrong."),
            STOPPING,
        ],
    ),
    get(
        "/api/v1/incidents",
        "What failed before, with root causes",
        &[],
        &[
            ok("The incidents, the oldest first.", "Incidents"),
            STOPPING,
        ],
    ),
    get(
        "/api/v1/incidents/{id}",
        "One incident",
        &[needed(
            "id",
            "Its number.",
            r#"{"type": "integer", "minimum": 1}"#,
        )],
        &[
            ok("The incident.", "Incident"),
            refused("404", "There is no such incident."),
            STOPPING,
        ],
    ),
    post(
        "/api/v1/incidents/{id}",
        "Say what the cause of an incident was",
        &[needed(
            "id",
            "Its number, then `:confirm`.",
            r#"{"type": "string", "pattern": "^[0-9]+:confirm$"}"#,
        )],
        json_body("Said", true),
        &[
            ok("The incident with what was said.", "Incident"),
            refused("400", "The body names no cause."),
            ANOTHER_SITE,
            refused("404", "There is no such incident."),
            TOO_LARGE,
            refused("500", "The store failed."),
            STOPPING,
        ],
    ),
    post(
        "/api/v1/candidates/{name_and_verb}",
        "Accept or reject a candidate",
        &[needed(
            "name_and_verb",
            "Name of the candidate, then `:accept` or `:reject`.",
            r#"{"type": "string", "pattern": "^.+:(accept|reject)$"}"#,
        )],
        json_body("Decision", false),
        &[
            ok("What became of it.", "Decided"),
            refused("400", "The body is not a decision."),
            ANOTHER_SITE,
            refused("404", "No candidate has this name, or the verb is neither."),
            refused("409", "It is adopted already."),
            TOO_LARGE,
            refused("422", "It cannot be adopted."),
            refused("500", "The store failed."),
            STOPPING,
        ],
    ),
    post(
        "/api/v1/flagger/{hook}",
        "A webhook of Flagger",
        &[needed(
            "hook",
            "Type of the webhook.",
            r#"{"enum": ["confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "post-rollout", "rollback", "event"]}"#,
        )],
        json_body("FlaggerPayload", true),
        &[
            answer("200", "Yes; of `rollback`: do roll back.", Text),
            refused("400", "The body is not what Flagger sends."),
            ANOTHER_SITE,
            refused("404", "There is no such webhook."),
            answer("412", "No, with the reasons.", Text),
            TOO_LARGE,
        ],
    ),
    get(
        "/api/v1/query",
        "A Prometheus query at one instant",
        &[
            QUERY,
            Parameter {
                name: "time",
                description: "Now, if it is left out.",
                schema: TIME,
                is_required: false,
            },
        ],
        QUERY_ANSWERS,
    ),
    post(
        "/api/v1/query",
        "A Prometheus query at one instant, as a form",
        &[],
        form_body("PrometheusQuery"),
        QUERY_ANSWERS,
    ),
    get(
        "/api/v1/query_range",
        "A Prometheus query over time; only the newest evaluation is held",
        &[
            QUERY,
            needed("start", "The first instant.", TIME),
            needed("end", "The last instant at most.", TIME),
            needed("step", "Between two instants.", STEP),
        ],
        QUERY_ANSWERS,
    ),
    post(
        "/api/v1/query_range",
        "A Prometheus query over time, as a form",
        &[],
        form_body("PrometheusRangeQuery"),
        QUERY_ANSWERS,
    ),
    get(
        "/api/v1/kayenta/canaryConfig",
        "Canary configurations, in the shape of Kayenta's",
        &[
            optional("application", "Any: the configuration serves all."),
            optional("configurationAccountName", "Any."),
        ],
        &[ok("The one configuration.", "KayentaConfigs")],
    ),
    post(
        "/api/v1/kayenta/canary/{id}",
        "Begin a canary analysis",
        &[
            needed(
                "id",
                "Id of the configuration.",
                r#"{"const": "slo-copilot"}"#,
            ),
            optional("application", "Any: scopes name the service."),
            optional("metricsAccountName", "Any."),
            optional("configurationAccountName", "Any."),
            optional("storageAccountName", "Any."),
        ],
        json_body("KayentaRequest", true),
        &[
            ok("It began.", "KayentaBegun"),
            refused("400", "The body is no analysis that can be made."),
            ANOTHER_SITE,
            refused("404", "There is no such configuration."),
            TOO_LARGE,
        ],
    ),
    get(
        "/api/v1/kayenta/canary/{id}",
        "How a canary analysis stands",
        &[needed("id", "What began it answered.", STRING)],
        &[
            ok(
                "Its state, and its result once it is complete.",
                "KayentaExecution",
            ),
            refused("404", "It is not held any more, or never was."),
        ],
    ),
];
