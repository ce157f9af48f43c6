//! What changed reaches webhooks, watchers and Alertmanager, over restarts too.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::Value;
use slo_copilot::api::proto::guardrail_client::GuardrailClient;
use slo_copilot::api::proto::{WatchVerdictsRequest, WatchVerdictsResponse};
use slo_copilot::clock::Clock;
use slo_copilot::config::Config;
use slo_copilot::notify::WebhookConfig;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::Code;

use crate::support::grpc::{accepted, channel};
use crate::support::peers::one_of;
use crate::support::server::{Server, availability};
use crate::support::spans::{MINUTE, NOW, failed_spans, request, spans};
use crate::support::tls::TlsProxy;
use crate::support::{DEADLINE, eventually};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn with_objective(config: &mut Config) {
    config.objectives.list = vec![availability("checkout", 0.99)];
    config.evaluator.recovery = Duration::ZERO;
}

async fn send(server: &Server, good: u64, bad: u64) {
    let mut client = server.client().await;
    for batch in [spans(good, NOW - MINUTE), failed_spans(bad, NOW - MINUTE)] {
        accepted(&mut client, &request("checkout", batch)).await;
    }
    server.fresh_report().await;
}

/// A receiver of webhooks that takes everything.
async fn receiver() -> (SocketAddr, mpsc::Receiver<(HeaderMap, Bytes)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (out, received) = mpsc::channel(64);
    let app = Router::new().fallback(async move |headers: HeaderMap, body: Bytes| {
        out.send((headers, body)).await.unwrap();
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, received)
}

fn webhook(url: &str) -> WebhookConfig {
    let text = format!(
        "{{name: hook, url: '{url}', events: [verdict], services: [checkout], retry_min: 1ms, retry_max: 10ms, retries: 1000000}}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

type Received = mpsc::Receiver<(HeaderMap, Bytes)>;

/// From and to of the next message.
async fn change(received: &mut Received) -> (HeaderMap, Bytes, [String; 2]) {
    let (headers, body) = timeout(DEADLINE, received.recv()).await.unwrap().unwrap();
    let json: Value = serde_json::from_slice(&body).unwrap();
    let said = |key: &str| json["data"][key].as_str().unwrap().to_owned();
    (headers, body, [said("from"), said("to")])
}

#[tokio::test]
async fn a_change_of_the_verdict_reaches_a_webhook_over_https_signed() {
    let (address, mut received) = receiver().await;
    let proxy = TlsProxy::before(address).await;
    let secrets = tempfile::tempdir().unwrap();
    let secret = secrets.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let server = Server::start(|config| {
        with_objective(config);
        config.notifiers.ca_file = Some(proxy.ca_file());
        let place = format!("{{file: {}}}", secret.display());
        config.notifiers.webhooks = vec![WebhookConfig {
            secret: Some(serde_saphyr::from_str(&place).unwrap()),
            ..webhook(&proxy.url())
        }];
    })
    .await;
    send(&server, 400, 0).await;
    send(&server, 0, 200).await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|to| to != "fail") {
        let (headers, body, [_, to]) = change(&mut received).await;
        seen.push(to);
        let header = |name: &str| headers[name].to_str().unwrap();
        let signed = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap());
        let content = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
        let content = [content.as_bytes(), &body].concat();
        let key = STANDARD
            .decode(SECRET.strip_prefix("whsec_").unwrap())
            .unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        hmac::verify(&key, &content, &signed.unwrap()).unwrap();
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_webhook_misses_while_it_is_away_comes_after_a_restart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let server = Server::start(|config| {
        with_objective(config);
        config.notifiers.webhooks = vec![webhook(&away)];
    })
    .await;
    send(&server, 400, 0).await;
    send(&server, 0, 200).await;
    let (_, dir) = server.stop().await;
    let (address, mut received) = receiver().await;
    let server = Server::start_in(dir, Clock::manual(NOW), |config| {
        with_objective(config);
        config.notifiers.webhooks = vec![webhook(&format!("http://{address}"))];
    })
    .await;
    let mut before = None;
    loop {
        let (_, _, [from, to]) = change(&mut received).await;
        // Nothing is missing in between.
        assert!(before.is_none_or(|before| before == from), "{from}");
        if to == "fail" {
            break;
        }
        before = Some(to);
    }
    server.fresh_report().await;
    server.stop().await;
    // The restart changed nothing.
    assert!(received.try_recv().is_err());
}

async fn watch(server: &Server, since: Option<u64>) -> tonic::Streaming<WatchVerdictsResponse> {
    let mut client = GuardrailClient::new(channel(server.endpoints.admin).await);
    let question = WatchVerdictsRequest {
        service: "checkout".to_owned(),
        since,
        ..WatchVerdictsRequest::default()
    };
    client.watch_verdicts(question).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_watcher_that_comes_again_is_told_what_it_missed_and_then_what_follows() {
    let server = Server::start(with_objective).await;
    send(&server, 400, 0).await;
    let mut watched = watch(&server, Some(0)).await;
    let mut cursor = 0;
    let mut to = String::new();
    while to != "pass" {
        let message = timeout(DEADLINE, watched.next()).await.unwrap();
        let message = message.unwrap().unwrap();
        cursor = message.cursor;
        to = message.transition.map_or(to, |told| told.to);
    }
    drop(watched);
    // Two changes while nobody watches, one of them over a restart.
    send(&server, 0, 200).await;
    let (_, dir) = server.stop().await;
    let server = Server::start_in(dir, Clock::manual(NOW), with_objective).await;
    send(&server, 100_000, 0).await;
    let mut watched = watch(&server, Some(cursor)).await;
    let mut changes = Vec::new();
    let holds = loop {
        let message = timeout(DEADLINE, watched.next()).await.unwrap();
        let message = message.unwrap().unwrap();
        assert!(message.cursor >= cursor);
        cursor = message.cursor;
        match (message.transition, message.report) {
            (Some(told), None) if told.kind == "verdict" => changes.push([told.from, told.to]),
            (Some(_), None) => {}
            (None, Some(report)) => break report,
            both => panic!("{both:?}"),
        }
    };
    assert!(holds.ok);
    let changes: Vec<[&str; 2]> = changes
        .iter()
        .map(|all| all.each_ref().map(String::as_str))
        .collect();
    assert_eq!(changes.first(), Some(&["pass", "fail"]));
    assert_eq!(changes.last().map(|last| last[0]), Some("fail"));
    let gaps = changes.windows(2).filter(|pair| pair[0][1] != pair[1][0]);
    assert_eq!(gaps.count(), 0, "{changes:?}");

    let mut ahead = watch(&server, Some(1_000_000)).await;
    let refused = timeout(DEADLINE, ahead.next()).await.unwrap().unwrap();
    assert_eq!(refused.unwrap_err().code(), Code::OutOfRange);
    server.stop().await;
}

// === A real Alertmanager ===

/// Debian calls it so; `alertmanager` elsewhere.
const BINARIES: [&str; 2] = ["prometheus-alertmanager", "alertmanager"];

struct Alertmanager {
    child: Child,
    url: String,
    _dir: Arc<TempDir>,
}

impl Alertmanager {
    /// Nothing where it is not installed, which is said aloud.
    async fn start() -> Option<Self> {
        let binary = one_of(&BINARIES)?;
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let config = dir.path().join("alertmanager.yml");
        std::fs::write(
            &config,
            "route: {receiver: nobody, group_by: [service], group_wait: 1s}\nreceivers: [{name: nobody}]\n",
        )
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self {
            child,
            url: format!("http://{address}"),
            _dir: dir,
        };
        slo_copilot::outgoing::install_crypto_provider();
        eventually("Alertmanager is ready", async || {
            let ready = reqwest::get(format!("{}/-/ready", started.url))
                .await
                .ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
        Some(started)
    }

    async fn json(&self, path: &str) -> Value {
        let response = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
        response.json().await.unwrap()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn a_real_alertmanager_gets_groups_and_resolves_our_alerts() {
    let Some(alertmanager) = Alertmanager::start().await else {
        return;
    };
    // Alertmanager has a clock of its own.
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let clock = Clock::system();
    let server = Server::start_in(dir, clock.clone(), |config| {
        with_objective(config);
        let url = serde_saphyr::from_str(&alertmanager.url).unwrap();
        config.notifiers.alertmanager.urls = vec![url];
    })
    .await;
    let send = async |good: u64, bad: u64| {
        let mut client = server.client().await;
        let at = clock.now() - MINUTE;
        for batch in [spans(good, at), failed_spans(bad, at)] {
            accepted(&mut client, &request("checkout", batch)).await;
        }
    };
    send(100, 100).await;
    let groups = eventually("the alerts", async || {
        let groups = alertmanager.json("/api/v2/alerts/groups").await;
        let alerts = groups.get(0)?.get("alerts")?.as_array()?.len();
        (alerts >= 5).then_some(groups)
    })
    .await;
    assert_eq!(groups.as_array().unwrap().len(), 1, "{groups}");
    assert_eq!(groups[0]["labels"]["service"], "checkout");
    let page = "/api/v2/alerts?filter=severity%3D%22page%22&filter=long%3D%221h%22";
    let page = alertmanager.json(page).await;
    assert_eq!(
        page[0]["labels"]["alertname"], "SLOErrorBudgetBurn",
        "{page}"
    );
    assert_eq!(page[0]["labels"]["slo"], "availability-checkout");
    let summary = page[0]["annotations"]["summary"].as_str().unwrap();
    assert!(summary.contains("50.0 times too fast"), "{summary}");
    // So much good traffic that nothing burns any more.
    send(200_000, 0).await;
    eventually("the end of the alerts", async || {
        let alerts = alertmanager.json("/api/v2/alerts").await;
        alerts.as_array()?.is_empty().then_some(())
    })
    .await;
    server.stop().await;
}
