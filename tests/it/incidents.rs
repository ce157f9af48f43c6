//! From a failed verdict to its cause, over real OTLP, and back from the memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use slo_copilot::config::Config;
use slo_copilot::model::fault::{Fault, FaultTarget, LatencyChange};
use slo_copilot::model::{NANOS_PER_SEC, UnixNanos};
use slo_copilot::traffic::generate::{Faults, Generator, export_requests};
use slo_copilot::traffic::shop;

use crate::support::eventually;
use crate::support::grpc::accepted;
use crate::support::process::command;
use crate::support::server::{Server, availability};
use crate::support::spans::{MINUTE, NOW};

const VISITS_PER_MINUTE: f64 = 60.0;

/// A shop whose frontend promises something, and that sends its traffic minute by minute.
struct Shop {
    server: Server,
    generator: Generator,
    now: UnixNanos,
}

impl Shop {
    async fn open(adjust: impl FnOnce(&mut Config)) -> Self {
        let server = Server::start(|config| {
            adjust(config);
            config.objectives.list = vec![availability("frontend", 0.98)];
            config.adapters.incident.recovery = Duration::from_secs(45);
            // The clock stands while traces become over.
            config.adapters.incident.analyse_every = Duration::ZERO;
        })
        .await;
        Self {
            server,
            generator: shop::generator(7),
            now: NOW,
        }
    }

    /// So many minutes of traffic; the clock stands at their end, when the last traces are over.
    async fn trade(&mut self, minutes: u64, faults: &Faults) {
        let mut client = self.server.client().await;
        for _ in 0..minutes {
            let until = self.now + MINUTE;
            let traces = self
                .generator
                .traffic(self.now..until, VISITS_PER_MINUTE, faults);
            for request in export_requests(traces, 500) {
                accepted(&mut client, &request).await;
            }
            self.now = until;
            self.server.clock.set(until + 10 * NANOS_PER_SEC);
            self.server.fresh_report().await;
        }
    }

    /// The incident of this number once it is so.
    async fn incident(&self, number: usize, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually("an incident", async || {
            let list = self.server.json("/api/v1/incidents").await;
            let incident = list["incidents"].get(number - 1)?.clone();
            is_so(&incident).then_some(incident)
        })
        .await
    }
}

/// Payment fails, and is slow.
fn broken() -> Faults {
    let harm = Fault {
        latency: Some(LatencyChange::Added(Duration::from_millis(400))),
        ..Fault::error(0.9)
    };
    Faults::none().with(FaultTarget::service("payment"), harm)
}

fn is_found(incident: &Value) -> bool {
    incident["rca"]["conclusion"] == "found"
}

#[tokio::test(flavor = "multi_thread")]
async fn the_culprit_behind_a_failing_frontend_is_ranked_first_and_found_again_in_the_memory() {
    let mut shop = Shop::open(|_| {}).await;
    shop.trade(4, &Faults::none()).await;
    shop.trade(3, &broken()).await;
    let first = shop.incident(1, is_found).await;
    assert_eq!(first["failing"], json!(["frontend"]));
    assert_eq!(first["rca"]["ranked"][0]["service"], "payment");
    let began_at = first["began_at"].as_u64().unwrap();
    let fault_at = NOW + 4 * MINUTE;
    assert!(
        began_at.abs_diff(fault_at) <= 30 * NANOS_PER_SEC,
        "{} s off",
        began_at.abs_diff(fault_at) / NANOS_PER_SEC
    );
    assert_eq!(first["rca"]["similar"], json!([]));
    let report = shop.server.fresh_report().await;
    assert_eq!(report.rca.as_ref().unwrap().ranked[0].service, "payment");

    // A person says what it was, with the command.
    let endpoint = shop.server.endpoints.admin.to_string();
    let said = tokio::task::spawn_blocking(move || {
        let arguments = ["incidents", "confirm", "1", "--cause", "payment"];
        let how = ["--resolution", "rolled back", "--by", "ada", "--endpoint"];
        command(&arguments)
            .args(how)
            .arg(endpoint)
            .output()
            .unwrap()
    });
    let said = said.await.unwrap();
    assert!(said.status.success(), "{said:?}");

    // The budget stays spent, so the verdict stays; the traces tell that the incident is over.
    shop.trade(3, &Faults::none()).await;
    let ended = shop
        .incident(1, |incident| !incident["ended_at"].is_null())
        .await;
    assert_eq!(ended["confirmation"]["cause"], "payment");

    shop.trade(3, &broken()).await;
    let second = shop.incident(2, is_found).await;
    assert_eq!(second["rca"]["ranked"][0]["service"], "payment");
    let similar = &second["rca"]["similar"][0];
    assert_eq!(similar["id"], 1);
    assert_eq!(similar["confirmed_cause"], "payment");
    assert_eq!(similar["resolution"], "rolled back");
    assert!(similar["similarity"].as_f64().unwrap() > 0.7, "{similar}");
    shop.server.stop().await;
}

/// What a language model was asked.
type Asked = Arc<Mutex<Vec<Value>>>;

/// An OpenAI-compatible server that cites the first fact, and its address.
async fn model() -> (Asked, String) {
    let asked = Asked::default();
    let complete = async |State(asked): State<Asked>, Json(question): Json<Value>| {
        asked.lock().unwrap().push(question);
        Json(json!({
            "id": "1", "object": "chat.completion", "created": 1, "model": "local",
            "choices": [{
                "index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "payment is slow [E1]"},
            }],
        }))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/v1/chat/completions", post(complete))
        .with_state(Arc::clone(&asked));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (asked, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_language_model_explains_the_ranking_once_and_sees_no_span() {
    let (asked, url) = model().await;
    let mut shop = Shop::open(|config| {
        config.adapters.incident.llm.enabled = true;
        config.adapters.incident.llm.url = url;
        config.adapters.incident.llm.model = "local".to_owned();
    })
    .await;
    shop.trade(4, &Faults::none()).await;
    shop.trade(3, &broken()).await;
    let explained = |incident: &Value| !incident["rca"]["explanation"].is_null();
    let incident = shop.incident(1, explained).await;
    assert_eq!(
        incident["rca"]["explanation"],
        json!({"model": "local", "text": "payment is slow [E1]", "cited": ["E1"]})
    );
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    let facts = asked[0]["messages"][1]["content"].as_str().unwrap();
    assert!(facts.contains("Rank 1: payment"), "{facts}");
    let call = "shop/checkout@demo -> shop/payment@demo http";
    assert!(facts.contains(call), "{facts}");
    let trace = incident["rca"]["ranked"][0]["evidence"][0]["example_trace_ids"][0].as_str();
    assert!(!facts.contains(trace.unwrap()), "{facts}");
    shop.server.stop().await;
}
