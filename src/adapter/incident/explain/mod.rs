//! An explanation by a language model: any server that speaks the chat completions of `OpenAI`. Off unless somebody turns it on.
//!
//! The model gets the ranked evidence, the graph and similar incidents, never a span, and everything passes the PII
//! guardrail first. It writes an explanation and nothing else: the ranking stands before it is asked, and an answer that
//! cites evidence that there is not, or that is about another service, is thrown away.

mod check;
mod client;
mod prompt;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::adapter::incident::explain::check::Unfounded;
pub use crate::adapter::incident::explain::client::{ExplainError, Explainer};
pub use crate::adapter::incident::explain::prompt::Question;

/// Section `adapters.incident.llm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether a model is asked. Default false.
    pub enabled: bool,
    /// Where chat completions stand, without `/chat/completions`. Default `https://api.openai.com/v1`.
    pub url: String,
    /// Name of the model.
    pub model: String,
    /// Environment variable that holds the key; nothing is sent as a key where it is not set. Default `OPENAI_API_KEY`.
    pub api_key_env: String,
    /// Certificates in PEM form that https trusts beside the system's.
    pub ca_file: Option<PathBuf>,
    /// A model that does not answer for so long is given up. Default 60s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Most tokens of one question; weaker evidence is left out. Default 4000.
    pub max_question_tokens: u32,
    /// Most tokens of one answer. Default 800.
    pub max_answer_tokens: u32,
    /// Most tokens of questions and answers in 24 hours; then none is asked, which is counted. Default 100000.
    pub max_tokens_per_day: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: false,
            url: "https://api.openai.com/v1".to_owned(),
            model: "gpt-4o-mini".to_owned(),
            api_key_env: "OPENAI_API_KEY".to_owned(),
            ca_file: None,
            timeout: Duration::from_mins(1),
            max_question_tokens: 4_000,
            max_answer_tokens: 800,
            max_tokens_per_day: 100_000,
        }
    }
}

/// About the tokens of a text: four bytes of English are one, and identifiers take more, so three are counted.
fn tokens(text: &str) -> u64 {
    text.len().div_ceil(3) as u64
}
