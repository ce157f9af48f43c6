//! Runs CEL and Rego policies over one input. Whatever goes wrong is an error, never a permission.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use cel::{Context, Env};
use regorus::utils::limits::{ExecutionTimerConfig, PolicyLengthConfig};
use serde_json::Value;

/// Longest policy that is read, in bytes.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;

/// Longest time that a Rego policy may take. CEL has no loops but those over its input, which end by themselves.
const REGO_RUN_TIME_MAX: Duration = Duration::from_secs(5);

/// Steps of a Rego policy between two looks at the time.
const REGO_STEPS_PER_CHECK: NonZeroU32 = NonZeroU32::new(1_000).unwrap();

/// Most messages that a decision keeps.
const MESSAGES_MAX: usize = 100;

/// The language of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Common Expression Language.
    Cel,
    /// Rego, version 1.
    Rego,
}

impl Language {
    /// The language of a file by how its name ends: `.cel` or `.rego`.
    pub fn of_file(file: &str) -> Result<Self, PolicyError> {
        match file.rsplit_once('.') {
            Some((_, "cel")) => Ok(Self::Cel),
            Some((_, "rego")) => Ok(Self::Rego),
            Some(_) | None => Err(PolicyError::Language {
                file: file.to_owned(),
            }),
        }
    }
}

/// One policy.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name in errors.
    pub file: &'a str,
    /// Its language.
    pub language: Language,
    /// Its text.
    pub text: &'a str,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it allows.
    pub allow: bool,
    /// Why not, in sorted order where the policy has none; empty when it allows.
    pub messages: Vec<String>,
}

impl Decision {
    fn new(allow: bool, why_not: &str) -> Self {
        let messages = (!allow).then(|| why_not.to_owned());
        Self {
            allow,
            messages: messages.into_iter().collect(),
        }
    }

    fn denied_by(mut messages: Vec<String>) -> Self {
        let omitted = messages.len().saturating_sub(MESSAGES_MAX);
        messages.truncate(MESSAGES_MAX);
        if omitted > 0 {
            messages.push(format!("… and {omitted} more"));
        }
        Self {
            allow: messages.is_empty(),
            messages,
        }
    }
}

/// Why a policy gave no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The name of the file does not say its language.
    #[error(
        "{file}: its name ends neither in .cel nor in .rego, so its language is unknown; rename it"
    )]
    Language {
        /// The file.
        file: String,
    },
    /// It is too long.
    #[error("{file}: {bytes} bytes, at most {POLICY_BYTES_MAX}; split it into several policies")]
    Length {
        /// The file.
        file: String,
        /// Its length.
        bytes: usize,
    },
    /// It is not written in its language.
    #[error("{file}:{line}: {message}; see {} for the syntax", syntax(*language))]
    Syntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u32,
        /// What is wrong.
        message: String,
        /// Its language.
        language: Language,
    },
    /// Its package has no rule that decides.
    #[error(
        "{file}: its package has neither `deny` nor `allow`; add `deny contains \"why not\" if …` or `allow if …`"
    )]
    NoRule {
        /// The file.
        file: String,
    },
    /// What it gives is no decision.
    #[error("{file}: it gives {found}, which is no decision; {}", remedy(*language))]
    Shape {
        /// The file.
        file: String,
        /// What it gave.
        found: String,
        /// Its language.
        language: Language,
    },
    /// It could not be run to its end.
    #[error(
        "{file}{}: {message}; check it against `input`, the report with its `objectives` by name",
        line.map_or(String::new(), |line| format!(":{line}"))
    )]
    Run {
        /// The file.
        file: String,
        /// Line, from 1, where it is known.
        line: Option<u32>,
        /// What went wrong.
        message: String,
    },
}

fn syntax(language: Language) -> &'static str {
    match language {
        Language::Cel => "https://cel.dev",
        Language::Rego => "https://www.openpolicyagent.org/docs/policy-language (version 1)",
    }
}

fn remedy(language: Language) -> &'static str {
    match language {
        Language::Cel => {
            "make it true or false, a list of messages, or {\"allow\": bool, \"messages\": [string]}"
        }
        Language::Rego => "make `deny` a set of texts, or `allow` true or false",
    }
}

/// The document that policies see, made ready once for all of them.
pub struct Input {
    cel: Context<'static, 'static>,
    rego: regorus::Value,
}

impl Input {
    /// The input of these policies is this document.
    pub fn new(document: &Value) -> Self {
        let mut context = Context::with_env(Arc::new(Env::stdlib()));
        context.add_variable_from_value("input", cel_value(document));
        Self {
            cel: context,
            rego: regorus::Value::from(document.clone()),
        }
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Input").finish_non_exhaustive()
    }
}

/// What this policy says of the input.
pub fn evaluate(source: Source<'_>, input: &Input) -> Result<Decision, PolicyError> {
    if source.text.len() > POLICY_BYTES_MAX {
        return Err(PolicyError::Length {
            file: source.file.to_owned(),
            bytes: source.text.len(),
        });
    }
    match source.language {
        Language::Cel => cel_decision(source, &input.cel),
        Language::Rego => rego_decision(source, &input.rego, REGO_RUN_TIME_MAX),
    }
}

/// A JSON value in CEL, where all of JSON's numbers are doubles.
fn cel_value(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(truth) => cel::Value::Bool(*truth),
        Value::Number(number) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(cel_value).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            let entry = |(key, value): (&String, &Value)| (key.clone(), cel_value(value));
            let fields: std::collections::HashMap<String, cel::Value> =
                fields.iter().map(entry).collect();
            fields.into()
        }
    }
}

fn cel_decision(source: Source<'_>, context: &Context<'_, '_>) -> Result<Decision, PolicyError> {
    let program = cel::Program::compile(source.text).map_err(|errors| {
        let first = errors.errors.first();
        let (line, message) = first.map_or((1, errors.to_string()), |error| {
            (u32::try_from(error.pos.0).unwrap_or(1), error.msg.clone())
        });
        syntax_error(source, line, &message)
    })?;
    let value = program.execute(context).map_err(|error| PolicyError::Run {
        file: source.file.to_owned(),
        line: None,
        message: error.to_string(),
    })?;
    let shape = |found: &cel::Value| shape_error(source, found.type_of().to_string());
    match &value {
        cel::Value::Bool(allow) => Ok(Decision::new(*allow, "the expression is false")),
        cel::Value::List(_) => cel_messages(&value)
            .ok_or_else(|| shape(&value))
            .map(Decision::denied_by),
        cel::Value::Map(map) => {
            let field = |name: &str| map.get(&cel::objects::Key::from(name));
            let messages = field("messages").map_or(Some(Vec::new()), cel_messages);
            match (field("allow"), messages) {
                (Some(cel::Value::Bool(true)), Some(_)) => Ok(Decision::new(true, "")),
                (Some(cel::Value::Bool(false)), Some(messages)) if messages.is_empty() => {
                    Ok(Decision::new(false, "`allow` is false"))
                }
                (Some(cel::Value::Bool(false)), Some(messages)) => {
                    Ok(Decision::denied_by(messages))
                }
                (_, _) => Err(shape(&value)),
            }
        }
        other => Err(shape(other)),
    }
}

/// A list of texts.
fn cel_messages(value: &cel::Value) -> Option<Vec<String>> {
    let cel::Value::List(items) = value else {
        return None;
    };
    let texts = items.iter().map(|item| match item {
        cel::Value::String(text) => Some(text.to_string()),
        _ => None,
    });
    texts.collect()
}

/// What a Rego policy says when it may take this long.
pub(super) fn rego_decision(
    source: Source<'_>,
    input: &regorus::Value,
    limit: Duration,
) -> Result<Decision, PolicyError> {
    let mut engine = regorus::Engine::new();
    engine.set_policy_length_config(PolicyLengthConfig::default());
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit,
        check_interval: REGO_STEPS_PER_CHECK,
    });
    engine
        .add_policy(source.file.to_owned(), source.text.to_owned())
        .map_err(|error| rego_syntax_error(source, &error.to_string()))?;
    engine.set_input(input.clone());
    let declares = |engine: &regorus::Engine, rule: &str| {
        let declared = engine.has_declared_rule_rooted_at(source.file, rule);
        declared.map_err(|error| rego_run_error(source, &error.to_string()))
    };
    let rule = if declares(&engine, "deny")? {
        "deny"
    } else if declares(&engine, "allow")? {
        "allow"
    } else {
        return Err(PolicyError::NoRule {
            file: source.file.to_owned(),
        });
    };
    let package = engine.get_policy_package_components();
    let path = package
        .map_err(|error| rego_run_error(source, &error.to_string()))?
        .into_iter()
        .flat_map(|package| package.components)
        .map(|component| format!("[{}]", Value::from(component)));
    let query = format!("data{}.{rule}", path.collect::<String>());
    let value = engine
        .eval_rule(query)
        .map_err(|error| rego_run_error(source, &error.to_string()))?;
    if rule == "deny" {
        denial(source, &value)
    } else {
        permission(source, &value)
    }
}

fn denial(source: Source<'_>, value: &regorus::Value) -> Result<Decision, PolicyError> {
    use regorus::Value as Rego;
    let messages: Option<Vec<String>> = match value {
        Rego::Undefined => Some(Vec::new()),
        Rego::Bool(denied) => return Ok(Decision::new(!denied, "`deny` is true")),
        Rego::Set(set) => set.iter().map(rego_message).collect(),
        Rego::Array(array) => array.iter().map(rego_message).collect(),
        Rego::Null | Rego::Number(_) | Rego::String(_) | Rego::Object(_) => None,
    };
    messages
        .map(Decision::denied_by)
        .ok_or_else(|| shape_error(source, value.to_string()))
}

fn permission(source: Source<'_>, value: &regorus::Value) -> Result<Decision, PolicyError> {
    match value {
        regorus::Value::Bool(allow) => Ok(Decision::new(*allow, "`allow` is false")),
        regorus::Value::Undefined => Ok(Decision::new(false, "`allow` is undefined")),
        other => Err(shape_error(source, other.to_string())),
    }
}

/// A text, or the text `msg` of an object.
fn rego_message(value: &regorus::Value) -> Option<String> {
    let text = match value {
        regorus::Value::Object(fields) => fields.get(&regorus::Value::from("msg"))?,
        other => other,
    };
    text.as_string().ok().map(ToString::to_string)
}

fn syntax_error(source: Source<'_>, line: u32, message: &str) -> PolicyError {
    PolicyError::Syntax {
        file: source.file.to_owned(),
        line,
        message: one_line(message),
        language: source.language,
    }
}

fn shape_error(source: Source<'_>, found: String) -> PolicyError {
    PolicyError::Shape {
        file: source.file.to_owned(),
        found: found.chars().take(200).collect(),
        language: source.language,
    }
}

fn rego_syntax_error(source: Source<'_>, error: &str) -> PolicyError {
    let (line, message) = rego_place(source, error);
    syntax_error(source, line.unwrap_or(1), &message)
}

fn rego_run_error(source: Source<'_>, error: &str) -> PolicyError {
    let (line, message) = rego_place(source, error);
    PolicyError::Run {
        file: source.file.to_owned(),
        line,
        message,
    }
}

/// Line and message of an error that shows them as `--> FILE:LINE:COLUMN`, the source below it, then `error: MESSAGE`.
fn rego_place(source: Source<'_>, error: &str) -> (Option<u32>, String) {
    let place = error.split_once(&format!("--> {}:", source.file));
    let line = place.and_then(|(_, place)| place.split(':').next()?.parse().ok());
    let message = error
        .rsplit_once("\nerror: ")
        .map_or(error, |(_, message)| message);
    (line, one_line(message))
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
