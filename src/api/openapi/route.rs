//! What a route is made of.

use self::Content::{Html, Json, Metrics, Text};

/// A route.
pub(in crate::api) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<Body>,
    pub(super) answers: &'static [Answer],
}

/// A parameter of the path, if the path names it, else of the query.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// JSON of its schema.
    pub(super) schema: &'static str,
    pub(super) is_required: bool,
}

/// What a request may carry.
pub(super) struct Body {
    pub(super) content_type: &'static str,
    pub(super) schema: &'static str,
    pub(super) is_required: bool,
}

/// A status with what comes along.
pub(super) struct Answer {
    pub(super) status: &'static str,
    pub(super) description: &'static str,
    pub(super) content: Content,
}

/// What an answer holds; JSON by the name of its schema.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Json(&'static str),
    Text,
    Html,
    Metrics,
}

pub(super) const STRING: &str = r#"{"type": "string"}"#;
pub(super) const BOOLEAN: &str = r#"{"type": "boolean"}"#;
pub(super) const DURATION: &str =
    r#"{"type": "string", "pattern": "^([0-9]+ ?(ns|us|ms|s|m|h|d) ?)+$"}"#;
/// Unix seconds or RFC 3339.
pub(super) const TIME: &str =
    r#"{"anyOf": [{"type": "number"}, {"type": "string", "format": "date-time"}]}"#;
/// Seconds, or a duration as Prometheus writes it.
pub(super) const STEP: &str = r#"{"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": "^[0-9]+(ms|[smhdwy])$"}]}"#;

pub(super) const fn answer(
    status: &'static str,
    description: &'static str,
    content: Content,
) -> Answer {
    Answer {
        status,
        description,
        content,
    }
}

pub(super) const fn ok(description: &'static str, schema: &'static str) -> Answer {
    answer("200", description, Json(schema))
}

pub(super) const fn refused(status: &'static str, description: &'static str) -> Answer {
    answer(status, description, Json("Error"))
}

pub(super) const fn optional(name: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        description,
        schema: STRING,
        is_required: false,
    }
}

pub(super) const fn needed(
    name: &'static str,
    description: &'static str,
    schema: &'static str,
) -> Parameter {
    Parameter {
        name,
        description,
        schema,
        is_required: true,
    }
}

pub(super) const fn json_body(schema: &'static str, is_required: bool) -> Body {
    Body {
        content_type: "application/json",
        schema,
        is_required,
    }
}

pub(super) const fn form_body(schema: &'static str) -> Body {
    Body {
        content_type: "application/x-www-form-urlencoded",
        schema,
        is_required: true,
    }
}

pub(super) const fn get(
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    answers: &'static [Answer],
) -> Route {
    Route {
        method: "GET",
        path,
        summary,
        parameters,
        body: None,
        answers,
    }
}

pub(super) const fn post(
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    body: Body,
    answers: &'static [Answer],
) -> Route {
    Route {
        method: "POST",
        path,
        summary,
        parameters,
        body: Some(body),
        answers,
    }
}

impl Content {
    /// The content type and, of JSON, the name of the schema.
    pub(super) fn parts(self) -> (&'static str, Option<&'static str>) {
        match self {
            Json(schema) => ("application/json", Some(schema)),
            Text => ("text/plain", None),
            Html => ("text/html", None),
            Metrics => ("text/plain; version=0.0.4", None),
        }
    }
}

impl std::fmt::Display for Route {
    /// As a hint: `GET /api/v1/transitions?since=&after=&limit=`.
    fn fmt(&self, hint: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(hint, "{} {}", self.method, self.path)?;
        let in_query = self.parameters.iter().filter(|one| !one.is_in(self.path));
        for (at, parameter) in in_query.enumerate() {
            let before = if at == 0 { '?' } else { '&' };
            write!(hint, "{before}{}=", parameter.name)?;
        }
        Ok(())
    }
}

impl Parameter {
    /// Whether it is a part of this path.
    pub(super) fn is_in(&self, path: &str) -> bool {
        path.contains(&format!("{{{}}}", self.name))
    }
}
