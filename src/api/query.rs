//! `/api/v1/query` and `/api/v1/query_range`: the part of the Prometheus HTTP API that Argo Rollouts, Flagger and Keptn use.
//!
//! Answers come from the page of the newest report, the one that `/metrics` shows, so that a query and a scrape say the
//! same. There is no past: a range holds one sample a series, at its last step, and a time further than
//! [`LOOKBACK_SECS`] from the evaluation has none. Both are said in `warnings`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query as UrlQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value as JsonValue, json};
use tokio::task::spawn_blocking;

use super::Shared;
use crate::exporter::prometheus::negotiate::PageFormat;
use crate::exporter::prometheus::query::{Query, QueryError, Shape, Value};
use crate::exporter::prometheus::read::Sample;

/// Bytes of the largest form.
pub(super) const MAX_FORM_BYTES: usize = 16 * 1024;

/// How long a sample is seen, as in Prometheus.
const LOOKBACK_SECS: f64 = 300.0;

/// Steps of a range at most, as in Prometheus.
const MAX_STEPS: f64 = 11_000.0;

/// The name and value of each parameter, in their order.
type Parameters = Vec<(String, String)>;

/// An error as Prometheus tells it.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

impl Refusal {
    fn bad_data(text: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "bad_data",
            text,
        }
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::BadData(text) => Self::bad_data(text),
            QueryError::Execution(text) => Self {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                kind: "execution",
                text,
            },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"status": "error", "errorType": self.kind, "error": self.text});
        (self.status, Json(body)).into_response()
    }
}

/// `GET /api/v1/query`.
pub(super) async fn instant(
    State(shared): State<Arc<Shared>>,
    UrlQuery(parameters): UrlQuery<Parameters>,
) -> Response {
    answer(&shared, &parameters, false).await
}

/// `GET /api/v1/query_range`.
pub(super) async fn range(
    State(shared): State<Arc<Shared>>,
    UrlQuery(parameters): UrlQuery<Parameters>,
) -> Response {
    answer(&shared, &parameters, true).await
}

/// `POST /api/v1/query`; the form goes before the URL.
pub(super) async fn instant_form(
    State(shared): State<Arc<Shared>>,
    UrlQuery(parameters): UrlQuery<Parameters>,
    form: Result<Form<Parameters>, FormRejection>,
) -> Response {
    answer_form(&shared, form, parameters, false).await
}

/// `POST /api/v1/query_range`.
pub(super) async fn range_form(
    State(shared): State<Arc<Shared>>,
    UrlQuery(parameters): UrlQuery<Parameters>,
    form: Result<Form<Parameters>, FormRejection>,
) -> Response {
    answer_form(&shared, form, parameters, true).await
}

async fn answer_form(
    shared: &Shared,
    form: Result<Form<Parameters>, FormRejection>,
    url: Parameters,
    is_range: bool,
) -> Response {
    match form {
        Ok(Form(mut parameters)) => {
            parameters.extend(url);
            answer(shared, &parameters, is_range).await
        }
        Err(rejection) => Refusal::bad_data(rejection.body_text()).into_response(),
    }
}

async fn answer(shared: &Shared, parameters: &Parameters, is_range: bool) -> Response {
    match asked(shared, parameters, is_range).await {
        Ok(body) => Json(body).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn asked(
    shared: &Shared,
    parameters: &Parameters,
    is_range: bool,
) -> Result<JsonValue, Refusal> {
    let text = needed(parameters, "query")?;
    let query = Query::parse(text)?;
    if is_range && query.shape() == Shape::Matrix {
        let text = "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector";
        return Err(Refusal::bad_data(text.to_owned()));
    }
    let report = shared.report();
    let evaluated_at = report
        .as_ref()
        .map_or(shared.state.started_at, |report| report.generated_at);
    let times = Times::read(parameters, is_range, seconds(evaluated_at))?;
    let page = match report {
        Some(report) => shared
            .page
            .families(report, PageFormat::Text, None)
            .await
            .map_err(|failure| {
                tracing::error!(%failure, "the metrics page could not be encoded");
                internal()
            })?,
        None if query.reads_series() => {
            return Err(Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                kind: "unavailable",
                text: "the first evaluation has not finished yet".to_owned(),
            });
        }
        None => bytes::Bytes::new(),
    };
    let evaluated = spawn_blocking(move || {
        let page = std::str::from_utf8(&page).unwrap_or_default();
        let value = query.evaluate(page)?;
        Ok::<_, QueryError>((query, value))
    });
    let (query, value) = evaluated.await.map_err(|failure| {
        tracing::error!(%failure, "a query could not be evaluated");
        internal()
    })??;
    Ok(told(&query, value, &times, evaluated_at))
}

fn internal() -> Refusal {
    Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        kind: "internal",
        text: "the query could not be evaluated; the log says why".to_owned(),
    }
}

/// When the answer is wanted, in seconds since the epoch.
#[derive(Debug, PartialEq)]
enum Times {
    At(f64),
    Range { start: f64, end: f64, step: f64 },
}

impl Times {
    fn read(parameters: &Parameters, is_range: bool, now: f64) -> Result<Self, Refusal> {
        if !is_range {
            let time = given(parameters, "time");
            return Ok(Self::At(
                time.map_or(Ok(now), |text| read_time("time", text))?,
            ));
        }
        let start = read_time("start", needed(parameters, "start")?)?;
        let end = read_time("end", needed(parameters, "end")?)?;
        let step = read_step(needed(parameters, "step")?)?;
        if end < start {
            return Err(invalid(
                "end",
                "end timestamp must not be before start time",
            ));
        }
        if (end - start) / step > MAX_STEPS {
            let text = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution \
                        (?step=XX)";
            return Err(Refusal::bad_data(text.to_owned()));
        }
        Ok(Self::Range { start, end, step })
    }

    /// The last instant that is asked about.
    fn last(&self) -> f64 {
        match *self {
            Self::At(time) => time,
            Self::Range { start, end, step } => start + ((end - start) / step).floor() * step,
        }
    }

    /// Every instant that is asked about.
    fn all(&self) -> Vec<f64> {
        match *self {
            Self::At(time) => vec![time],
            Self::Range { start, end, step } => {
                let mut times = Vec::new();
                let mut at = start;
                while at <= end {
                    times.push(at);
                    at = start + times.len() as f64 * step;
                }
                times
            }
        }
    }
}

fn given<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    let mut found = parameters.iter().filter(|(known, _)| known == name);
    found.next().map(|(_, value)| value.as_str())
}

fn needed<'a>(parameters: &'a Parameters, name: &str) -> Result<&'a str, Refusal> {
    let value = given(parameters, name).filter(|value| !value.trim().is_empty());
    value.ok_or_else(|| invalid(name, "it is missing or empty"))
}

fn invalid(name: &str, why: &str) -> Refusal {
    Refusal::bad_data(format!("invalid parameter \"{name}\": {why}"))
}

/// Seconds since the epoch, or RFC 3339.
fn read_time(name: &str, text: &str) -> Result<f64, Refusal> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    let date = || text.parse::<Timestamp>().ok().map(seconds);
    number
        .or_else(date)
        .ok_or_else(|| invalid(name, &format!("cannot parse {text:?} to a valid timestamp")))
}

/// Seconds, or a duration such as `1m`.
fn read_step(text: &str) -> Result<f64, Refusal> {
    let number: Option<f64> = text.parse().ok();
    let duration = || promql_parser::util::parse_duration(text).ok();
    let step = number.or_else(|| duration().map(|duration| duration.as_secs_f64()));
    match step {
        Some(step) if step.is_finite() && step > 0.0 => Ok(step),
        Some(_) => Err(invalid(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        )),
        None => {
            let why = format!("cannot parse {text:?} to a valid duration");
            Err(invalid("step", &why))
        }
    }
}

/// Seconds since the epoch, to the millisecond as Prometheus has them.
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1_000.0
}

/// The answer in the shape of Prometheus.
fn told(query: &Query, value: Value, times: &Times, evaluated_at: Timestamp) -> JsonValue {
    let (now, last) = (seconds(evaluated_at), times.last());
    let is_range = matches!(times, Times::Range { .. });
    let reads_series = query.reads_series();
    let is_held = !reads_series || (last - now).abs() <= LOOKBACK_SECS;
    let mut warnings = Vec::new();
    if !is_held {
        warnings.push(format!(
            "only the evaluation of {evaluated_at} is held, and the query asks about another time: ask a Prometheus that \
             scrapes /metrics"
        ));
    } else if is_range && reads_series {
        warnings.push(format!(
            "only the evaluation of {evaluated_at} is held: the range has one sample a series, at its last step; ask a \
             Prometheus that scrapes /metrics for the past"
        ));
    }
    let samples = |value: Value| match value {
        Value::Vector(samples) if is_held => samples,
        Value::Vector(_) => Vec::new(),
        Value::Scalar(value) => vec![Sample {
            labels: std::collections::BTreeMap::new(),
            value,
        }],
    };
    let (kind, result) = match (value, query.shape()) {
        (value, _) if is_range => {
            let at = if reads_series {
                vec![last]
            } else {
                times.all()
            };
            ("matrix", matrix(samples(value), &at))
        }
        (Value::Scalar(_), _) if !is_held => ("scalar", json!([last, number(f64::NAN)])),
        (Value::Scalar(value), _) => ("scalar", json!([last, number(value)])),
        // A range of the only sample: at the instant that it was taken.
        (value, Shape::Matrix) => ("matrix", matrix(samples(value), &[now])),
        (value, Shape::Scalar | Shape::Vector) => {
            let vector = samples(value).into_iter().map(
                |sample| json!({"metric": sample.labels, "value": [last, number(sample.value)]}),
            );
            ("vector", vector.collect())
        }
    };
    let mut body = json!({"status": "success", "data": {"resultType": kind, "result": result}});
    if let (false, Some(fields)) = (warnings.is_empty(), body.as_object_mut()) {
        fields.insert("warnings".to_owned(), json!(warnings));
    }
    body
}

fn matrix(samples: Vec<Sample>, times: &[f64]) -> JsonValue {
    let series = samples.into_iter().map(|sample| {
        let values = times.iter().map(|at| json!([at, number(sample.value)]));
        json!({"metric": sample.labels, "values": values.collect::<Vec<_>>()})
    });
    series.collect()
}

/// A value is a text, since JSON has neither NaN nor infinities.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn times_are_read_as_prometheus_reads_them() {
        let at = |text| Times::read(&parameters(&[("time", text)]), false, 7.0).ok();
        assert_eq!(at("1790000000.5"), Some(Times::At(1_790_000_000.5)));
        let second = Some(Times::At(1_790_000_000.0));
        assert_eq!(at("2026-09-21T14:13:20Z"), second);
        assert_eq!(at("noon"), None);
        assert_eq!(at("NaN"), None);
        assert_eq!(
            Times::read(&Parameters::new(), false, 7.0).ok(),
            Some(Times::At(7.0))
        );
        for step in ["60", "1m", "60s", "60.0"] {
            let range = parameters(&[("start", "0"), ("end", "150"), ("step", step)]);
            let times = Times::read(&range, true, 7.0).unwrap();
            assert_eq!(times.all(), [0.0, 60.0, 120.0], "{step}");
            assert!((times.last() - 120.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_range_that_is_none_is_refused() {
        for (start, end, step, word) in [
            ("0", "150", "0", "zero or negative"),
            ("0", "150", "-1m", "step"),
            ("0", "150", "often", "\"step\""),
            ("150", "0", "60", "before start"),
            ("0", "1000000", "1", "11,000"),
            ("0", "150", "", "missing"),
        ] {
            let range = parameters(&[("start", start), ("end", end), ("step", step)]);
            let refusal = Times::read(&range, true, 7.0).unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
            assert!(refusal.text.contains(word), "{}", refusal.text);
        }
    }

    #[test]
    fn numbers_are_texts_as_prometheus_writes_them() {
        for (value, text) in [
            (1.0, "1"),
            (0.5, "0.5"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (-0.25, "-0.25"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
