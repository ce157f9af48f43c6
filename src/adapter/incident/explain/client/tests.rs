//! Against an OpenAI-compatible server on the loopback interface.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};

use super::*;
use crate::adapter::incident::fixture::{evidence, report};

const DAY: u64 = DAY_NANOS;

/// What the server answers, and what it was asked.
struct Model {
    status: StatusCode,
    answer: String,
    asked: Mutex<Vec<(Option<String>, Value)>>,
    /// Where an answer never comes.
    never: Option<Notify>,
}

fn completion(text: &str) -> String {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_770_000_000,
        "model": "local",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    })
    .to_string()
}

async fn complete(
    State(model): State<Arc<Model>>,
    headers: HeaderMap,
    body: String,
) -> impl IntoResponse {
    let key = headers.get("authorization");
    let key = key.map(|key| key.to_str().unwrap().to_owned());
    let body = serde_json::from_str(&body).unwrap();
    model.asked.lock().await.push((key, body));
    if let Some(never) = &model.never {
        never.notified().await;
    }
    (model.status, model.answer.clone())
}

/// A server that answers so, and its address.
async fn serve(status: StatusCode, answer: String, never: Option<Notify>) -> (Arc<Model>, String) {
    let model = Arc::new(Model {
        status,
        answer,
        asked: Mutex::default(),
        never,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/chat/completions", post(complete));
    let router = router.with_state(Arc::clone(&model));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (model, url)
}

fn config(url: &str) -> Config {
    Config {
        enabled: true,
        url: url.to_owned(),
        model: "local".to_owned(),
        ..Config::default()
    }
}

fn explainer(config: &Config) -> Explainer {
    Explainer::new(config, |_| Some("sesame".to_owned())).unwrap()
}

fn question() -> Question {
    let causes = [("payment", vec![evidence("E1", "self_time", None, 9.0)])];
    Question::new(&report(&causes), &[], "", 4_000, str::to_owned).unwrap()
}

#[tokio::test]
async fn the_model_gets_the_facts_with_the_key_and_its_answer_is_checked() {
    let (model, url) = serve(StatusCode::OK, completion("payment is slow [E1]"), None).await;
    let explainer = explainer(&config(&url));
    let explanation = explainer.ask(question()).await.unwrap();
    assert_eq!(explanation.cited, ["E1"]);
    assert_eq!(explanation.model, "local");
    let asked = model.asked.lock().await;
    let (key, body) = &asked[0];
    assert_eq!(key.as_deref(), Some("Bearer sesame"));
    assert_eq!(body["model"], "local");
    assert_eq!(body["max_completion_tokens"], 800);
    assert_eq!(body["messages"][0]["role"], "system");
    let facts = body["messages"][1]["content"].as_str().unwrap();
    assert!(facts.contains("[E1] self_time went up"), "{facts}");
}

#[tokio::test]
async fn without_a_key_none_is_sent() {
    let (model, url) = serve(StatusCode::OK, completion("payment [E1]"), None).await;
    let explainer = Explainer::new(&config(&url), |_| None).unwrap();
    explainer.ask(question()).await.unwrap();
    assert_eq!(model.asked.lock().await[0].0, None);
}

#[tokio::test]
async fn an_answer_that_cites_what_there_is_not_is_thrown_away() {
    let (_model, url) = serve(StatusCode::OK, completion("payment [E1] [E2]"), None).await;
    let refused = explainer(&config(&url)).ask(question()).await.unwrap_err();
    assert!(refused.to_string().contains("[E2]"), "{refused}");
}

#[tokio::test]
async fn what_is_no_completion_is_said_and_no_secret_with_it() {
    let cases = [
        (StatusCode::UNAUTHORIZED, "bad key", "status 401: bad key"),
        (StatusCode::OK, "<html>", "no chat completion"),
        (
            StatusCode::OK,
            r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[]}"#,
            "no text",
        ),
    ];
    for (status, answer, wanted) in cases {
        let (_model, url) = serve(status, answer.to_owned(), None).await;
        let error = explainer(&config(&url)).ask(question()).await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains(wanted), "{said}");
        assert!(!said.contains("sesame"), "{said}");
    }
}

#[tokio::test]
async fn a_model_that_does_not_answer_is_given_up() {
    let never = Some(Notify::new());
    let (_model, url) = serve(StatusCode::OK, String::new(), never).await;
    let config = Config {
        timeout: Duration::from_millis(50),
        ..config(&url)
    };
    let error = explainer(&config).ask(question()).await.unwrap_err();
    assert!(matches!(error, ExplainError::Unreachable(_)), "{error}");
}

#[test]
fn a_day_s_tokens_are_spent_once_and_come_back_with_the_next_day() {
    let question = question();
    let one = question.tokens() + 800;
    let config = Config {
        max_tokens_per_day: 2 * one,
        ..config("http://127.0.0.1:1/v1")
    };
    let mut explainer = explainer(&config);
    for now in [DAY, DAY + 1] {
        explainer.reserve(&question, now).unwrap();
    }
    let spent = explainer.reserve(&question, DAY + 2).unwrap_err();
    assert!(matches!(spent, ExplainError::Budget), "{spent}");
    explainer.reserve(&question, 2 * DAY + 1).unwrap();
}

#[test]
fn what_is_no_address_is_refused_with_the_key_of_the_configuration() {
    for url in ["", "ftp://model", "model:8000", "http://"] {
        let error = Explainer::new(&config(url), |_| None).unwrap_err();
        assert!(
            error.to_string().contains("adapters.incident.llm.url"),
            "{error}"
        );
    }
}
