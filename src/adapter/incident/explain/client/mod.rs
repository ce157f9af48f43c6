//! Asks the model: one request, a timeout, a day's budget of tokens.

use std::collections::VecDeque;

use async_openai::types::chat::{
    ChatCompletionRequestSystemMessage, ChatCompletionRequestUserMessage,
    CreateChatCompletionRequestArgs, CreateChatCompletionResponse,
};
use reqwest::{Client, Url};

use crate::adapter::incident::explain::check::{Unfounded, checked};
use crate::adapter::incident::explain::{Config, Question, tokens};
use crate::model::rca::Explanation;
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::outgoing::{self, OutgoingError};

/// The time that `max_tokens_per_day` is about.
const DAY_NANOS: u64 = 86_400 * NANOS_PER_SEC;

/// Bytes of an answer that are read; a chat completion of 800 tokens has about 5 KiB.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Characters of a refusal that are shown.
const MAX_REFUSAL_CHARS: usize = 200;

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The address is none.
    #[error(
        "adapters.incident.llm.url {url}: expected an address such as https://api.openai.com/v1"
    )]
    Url {
        /// As configured.
        url: String,
    },
    /// No client can be made.
    #[error("adapters.incident.llm: {0}")]
    Tls(#[from] OutgoingError),
    /// The day's tokens are spent.
    #[error("adapters.incident.llm.max_tokens_per_day is spent")]
    Budget,
    /// Nobody answers.
    #[error("the language model does not answer: {0}")]
    Unreachable(String),
    /// It refuses.
    #[error("the language model refuses with status {status}: {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The begin of its answer.
        text: String,
    },
    /// The answer is no chat completion.
    #[error("the language model's answer is no chat completion: {0}")]
    Answer(String),
    /// The answer rests on nothing.
    #[error(transparent)]
    Unfounded(#[from] Unfounded),
}

/// Asks a model, within its budget.
#[derive(Debug)]
pub struct Explainer {
    config: Config,
    url: Url,
    key: Option<String>,
    client: Client,
    /// When how many tokens were spent, the oldest first.
    spent: VecDeque<(UnixNanos, u64)>,
}

impl Explainer {
    /// An explainer by its configuration; `variable` reads the environment. Nothing is sent yet.
    pub fn new(
        config: &Config,
        variable: impl FnOnce(&str) -> Option<String>,
    ) -> Result<Self, ExplainError> {
        let invalid = || ExplainError::Url {
            url: config.url.clone(),
        };
        let mut url = Url::parse(&config.url).map_err(|_| invalid())?;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err(invalid());
        }
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["chat", "completions"]);
        }
        let client = outgoing::client([&url], config.ca_file.as_deref(), config.timeout)?;
        Ok(Self {
            key: variable(&config.api_key_env).filter(|key| !key.is_empty()),
            config: config.clone(),
            url,
            client,
            spent: VecDeque::new(),
        })
    }

    /// Most tokens of a question.
    pub fn max_question_tokens(&self) -> u32 {
        self.config.max_question_tokens
    }

    /// Takes the tokens of a question and of the longest answer from the day's budget. Call it before [`Self::ask`].
    pub fn reserve(&mut self, question: &Question, now: UnixNanos) -> Result<(), ExplainError> {
        let oldest = now.saturating_sub(DAY_NANOS);
        while self.spent.front().is_some_and(|(at, _)| *at < oldest) {
            self.spent.pop_front();
        }
        let wanted = question.tokens() + u64::from(self.config.max_answer_tokens);
        let spent: u64 = self.spent.iter().map(|(_, tokens)| tokens).sum();
        if spent + wanted > self.config.max_tokens_per_day {
            return Err(ExplainError::Budget);
        }
        self.spent.push_back((now, wanted));
        Ok(())
    }

    /// The future that asks; it borrows nothing, so that it may run anywhere.
    pub fn ask(
        &self,
        question: Question,
    ) -> impl Future<Output = Result<Explanation, ExplainError>> + Send + 'static {
        let request = self.client.post(self.url.clone());
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let (model, most) = (self.config.model.clone(), self.config.max_answer_tokens);
        async move {
            let body = CreateChatCompletionRequestArgs::default()
                .model(model.as_str())
                .temperature(0.0_f32)
                .max_completion_tokens(most)
                .messages(vec![
                    ChatCompletionRequestSystemMessage::from(question.instructions.as_str()).into(),
                    ChatCompletionRequestUserMessage::from(question.facts.as_str()).into(),
                ])
                .build()
                .map_err(|error| ExplainError::Answer(error.to_string()))?;
            let response = request.json(&body).send().await;
            let response =
                response.map_err(|error| ExplainError::Unreachable(outgoing::said(error)))?;
            let (status, bytes) = (response.status(), read(response).await?);
            if !status.is_success() {
                let text = String::from_utf8_lossy(&bytes);
                return Err(ExplainError::Refused {
                    status: status.as_u16(),
                    text: text.chars().take(MAX_REFUSAL_CHARS).collect(),
                });
            }
            let answer: CreateChatCompletionResponse = serde_json::from_slice(&bytes)
                .map_err(|error| ExplainError::Answer(error.to_string()))?;
            let first = answer.choices.into_iter().next();
            let text = first.and_then(|choice| choice.message.content);
            let text = text.ok_or_else(|| ExplainError::Answer("it has no text".to_owned()))?;
            if tokens(&text) > u64::from(most).saturating_mul(4) {
                let message = format!("its text is longer than {most} tokens");
                return Err(ExplainError::Answer(message));
            }
            Ok(checked(&question, &model, &text)?)
        }
    }
}

/// The body, as far as it is not absurdly long.
async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, ExplainError> {
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| ExplainError::Unreachable(outgoing::said(error)))?;
        let Some(chunk) = chunk else {
            return Ok(bytes);
        };
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            let message = format!("it is longer than {MAX_ANSWER_BYTES} bytes");
            return Err(ExplainError::Answer(message));
        }
        bytes.extend_from_slice(&chunk);
    }
}

#[cfg(test)]
mod tests;
