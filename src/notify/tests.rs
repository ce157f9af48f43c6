//! Webhooks and Alertmanagers against real receivers that fail, ask to wait, hang and come back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::alerts::{Alerts, BURN, Frame, SPENT};
use super::*;
use crate::evaluator::objective::tests::{LIMITS, status};
use crate::model::NANOS_PER_SEC;
use crate::model::record::Transition;
use crate::model::series::ServiceKey;
use crate::openslo::fixture;

const NOW: u64 = 1_790_000_000 * NANOS_PER_SEC;

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// How a receiver answers one request.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Status(u16),
    RetryAfter(u16, &'static str),
    Hang,
}

struct Received {
    headers: HeaderMap,
    body: Value,
    raw: Bytes,
}

/// A server that answers as it is told to, then with 200.
struct Receiver {
    url: String,
    received: mpsc::UnboundedReceiver<Received>,
}

type Script = (Mutex<VecDeque<Answer>>, mpsc::UnboundedSender<Received>);

async fn receive(State(script): State<Arc<Script>>, headers: HeaderMap, raw: Bytes) -> Response {
    let (answers, out) = &*script;
    let body = serde_json::from_slice(&raw).unwrap();
    let received = Received { headers, body, raw };
    out.send(received).unwrap();
    let next = answers
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop_front();
    match next.unwrap_or(Answer::Status(200)) {
        Answer::Status(code) => StatusCode::from_u16(code).unwrap().into_response(),
        Answer::RetryAfter(code, after) => {
            let code = StatusCode::from_u16(code).unwrap();
            (code, [("retry-after", after)]).into_response()
        }
        Answer::Hang => std::future::pending().await,
    }
}

impl Receiver {
    async fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (out, received) = mpsc::unbounded_channel();
        let script = Arc::new((Mutex::new(answers.iter().copied().collect()), out));
        let app = Router::new().fallback(receive).with_state(script);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, received }
    }

    async fn next(&mut self) -> Received {
        let next = timeout(DEADLINE, self.received.recv()).await;
        next.unwrap().unwrap()
    }

    /// The numbers of the next transitions.
    async fn sequences(&mut self, count: usize) -> Vec<u64> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.next().await.body["data"]["sequence"].as_u64().unwrap());
        }
        all
    }
}

/// Transitions in memory. Those before `oldest` went for want of room.
#[derive(Default)]
struct Log {
    transitions: Mutex<Vec<Transition>>,
    cursors: Mutex<BTreeMap<String, u64>>,
    oldest: u64,
    told: watch::Sender<u64>,
}

impl Log {
    fn push(&self, kind: &str, service: Option<&str>) {
        let mut transitions = self.transitions.lock().unwrap();
        let sequence = transitions.len() as u64 + 1;
        transitions.push(Transition {
            sequence,
            at: NOW,
            kind: kind.to_owned(),
            subject: service.unwrap_or("*").to_owned(),
            service: service.map(ServiceKey::named),
            from: "pass".to_owned(),
            to: "fail".to_owned(),
            text: "it burns".to_owned(),
        });
        self.told.send_replace(sequence);
    }

    fn cursor_of(&self, reader: &str) -> Option<u64> {
        self.cursors.lock().unwrap().get(reader).copied()
    }
}

impl TransitionLog for Log {
    fn after(&self, cursor: u64, limit: usize) -> Result<TransitionPage, LogError> {
        let transitions = self.transitions.lock().unwrap();
        let last = transitions.len() as u64;
        let kept = transitions
            .iter()
            .filter(|told| told.sequence >= self.oldest);
        let next = kept.filter(|told| told.sequence > cursor).take(limit);
        Ok(TransitionPage {
            transitions: next.cloned().collect(),
            last,
            dropped: self.oldest.saturating_sub(1).saturating_sub(cursor),
        })
    }

    fn cursor(&self, reader: &str) -> Result<Option<u64>, LogError> {
        Ok(self.cursor_of(reader))
    }

    fn keep_cursor(&self, reader: &str, cursor: u64) -> Result<(), LogError> {
        self.cursors
            .lock()
            .unwrap()
            .insert(reader.to_owned(), cursor);
        Ok(())
    }
}

/// A webhook that tries again at once.
fn hook(name: &str, url: &str) -> WebhookConfig {
    WebhookConfig {
        name: name.to_owned(),
        url: Text::Plain(url.to_owned()),
        events: Vec::new(),
        services: Vec::new(),
        secret: None,
        headers: BTreeMap::new(),
        timeout: Duration::from_millis(200),
        retries: 10,
        retry_min: Duration::from_millis(1),
        retry_max: Duration::from_millis(5),
    }
}

struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// From the beginning of the log, unless it was here before.
fn run(config: &WebhookConfig, log: &Arc<Log>) -> Running {
    let webhook = Webhook::new("key", config, None, Clock::manual(NOW)).unwrap();
    let reader = format!("webhook/{}", config.name);
    log.cursors.lock().unwrap().entry(reader).or_insert(0);
    let stop = CancellationToken::new();
    let told = log.told.subscribe();
    let log: Arc<dyn TransitionLog> = Arc::clone(log) as _;
    let task = tokio::spawn(webhook.run(log, told, stop.clone()));
    Running { stop, task }
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.task).await.unwrap().unwrap();
    }
}

fn counted(receiver: &str, outcome: &str) -> Option<String> {
    let page = crate::telemetry::render(&crate::telemetry::install_metrics().unwrap());
    let sample = page.lines().find(|line| {
        line.contains(&format!("receiver=\"{receiver}\""))
            && line.contains(&format!("outcome=\"{outcome}\""))
    });
    sample.and_then(|line| line.rsplit(' ').next().map(str::to_owned))
}

#[tokio::test]
async fn a_message_is_sent_again_until_it_is_taken_and_the_next_one_waits_for_it() {
    crate::telemetry::install_metrics().unwrap();
    let answers = [
        Answer::Status(503),
        Answer::RetryAfter(429, "0"),
        Answer::Hang,
        Answer::Status(302),
    ];
    let mut receiver = Receiver::start(&answers).await;
    let log = Arc::new(Log::default());
    log.push("verdict", Some("checkout"));
    log.push("action", None);
    let running = run(&hook("again", &receiver.url), &log);
    let mut ids = Vec::new();
    for _ in 0..5 {
        let received = receiver.next().await;
        assert_eq!(received.body["data"]["sequence"], 1);
        ids.push(received.headers["webhook-id"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(receiver.sequences(1).await, [2]);
    running.stop().await;
    assert_eq!(log.cursor_of("webhook/again"), Some(2));
    let counts = ["delivered", "failed", "dropped"].map(|outcome| counted("again", outcome));
    assert_eq!(counts.map(Option::unwrap), ["2", "4", "0"]);
}

#[tokio::test]
async fn the_body_says_its_version_and_the_signature_covers_it_with_id_and_time() {
    let mut receiver = Receiver::start(&[]).await;
    let log = Arc::new(Log::default());
    log.push("verdict", Some("checkout"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let place = Text::File {
        file: file.path().to_owned(),
    };
    let config = WebhookConfig {
        secret: Some(place),
        headers: BTreeMap::from([("x-team".to_owned(), Text::Plain("sre".to_owned()))]),
        ..hook("signed", &receiver.url)
    };
    let running = run(&config, &log);
    let Received { headers, body, raw } = receiver.next().await;
    running.stop().await;
    let expected = serde_json::json!({
        "schema_version": "slo-copilot/webhook/v1",
        "type": "verdict.changed",
        "timestamp": "2026-09-21T14:13:20Z",
        "data": {
            "sequence": 1, "kind": "verdict", "subject": "checkout",
            "service": {"namespace": "", "environment": "", "name": "checkout"},
            "from": "pass", "to": "fail", "text": "it burns",
        },
    });
    assert_eq!(body, expected);
    assert_eq!(headers["x-team"], "sre");
    assert_eq!(headers["webhook-timestamp"], "1790000000");
    // As a receiver does it, by the bytes that came.
    let key = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key.unwrap());
    let signed = headers["webhook-signature"].to_str().unwrap();
    let tag = signed.strip_prefix("v1,").unwrap();
    let tag = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, tag).unwrap();
    let id = headers["webhook-id"].to_str().unwrap();
    let content = [format!("{id}.1790000000.").as_bytes(), &raw].concat();
    ring::hmac::verify(&key, &content, &tag).unwrap();
}

#[tokio::test]
async fn what_was_not_taken_before_a_stop_is_told_after_it_and_nothing_else_again() {
    // The second message is refused until the server stops.
    let mut receiver = Receiver::start(&[Answer::Status(200), Answer::Status(500)]).await;
    let log = Arc::new(Log::default());
    log.push("verdict", None);
    log.push("verdict", None);
    let slow = WebhookConfig {
        retry_min: DEADLINE,
        retry_max: DEADLINE,
        ..hook("restarted", &receiver.url)
    };
    let running = run(&slow, &log);
    assert_eq!(receiver.sequences(2).await, [1, 2]);
    running.stop().await;
    assert_eq!(log.cursor_of("webhook/restarted"), Some(1));
    log.push("verdict", None);
    let running = run(&slow, &log);
    assert_eq!(receiver.sequences(2).await, [2, 3]);
    running.stop().await;
    assert!(receiver.received.try_recv().is_err());
}

#[tokio::test]
async fn a_stop_delivers_what_is_left_once_more() {
    let mut receiver = Receiver::start(&[]).await;
    let log = Arc::new(Log::default());
    log.push("verdict", None);
    let running = run(&hook("last", &receiver.url), &log);
    // It stops before it has looked for the first time.
    running.stop().await;
    assert_eq!(receiver.sequences(1).await, [1]);
}

#[tokio::test]
async fn a_message_is_given_up_after_its_retries_or_where_the_receiver_is_gone() {
    crate::telemetry::install_metrics().unwrap();
    let answers = [
        Answer::Status(500),
        Answer::Status(500),
        Answer::Status(410),
    ];
    let mut receiver = Receiver::start(&answers).await;
    let log = Arc::new(Log::default());
    for _ in 0..3 {
        log.push("verdict", None);
    }
    let config = WebhookConfig {
        retries: 1,
        ..hook("given-up", &receiver.url)
    };
    let running = run(&config, &log);
    assert_eq!(receiver.sequences(4).await, [1, 1, 2, 3]);
    running.stop().await;
    assert_eq!(counted("given-up", "dropped").as_deref(), Some("2"));
    assert_eq!(counted("given-up", "delivered").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_webhook_hears_of_its_events_and_services_alone() {
    let mut receiver = Receiver::start(&[]).await;
    let log = Arc::new(Log::default());
    log.push("verdict", Some("checkout"));
    log.push("candidate", Some("checkout"));
    log.push("verdict", Some("payment"));
    log.push("action", None);
    log.push("verdict", None);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let config = WebhookConfig {
        events: words(&["verdict", "action"]),
        services: words(&["payment", "*"]),
        ..hook("picky", &receiver.url)
    };
    let running = run(&config, &log);
    assert_eq!(receiver.sequences(3).await, [3, 4, 5]);
    running.stop().await;
    assert_eq!(log.cursor_of("webhook/picky"), Some(5));
}

#[tokio::test]
async fn what_the_store_keeps_no_longer_is_counted_as_dropped() {
    crate::telemetry::install_metrics().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let log = Arc::new(Log {
        oldest: 4,
        ..Log::default()
    });
    for _ in 0..4 {
        log.push("verdict", None);
    }
    let running = run(&hook("late", &receiver.url), &log);
    assert_eq!(receiver.sequences(1).await, [4]);
    running.stop().await;
    assert_eq!(counted("late", "dropped").as_deref(), Some("3"));
}

#[test]
fn what_is_wrong_with_a_webhook_is_named_with_its_remedy() {
    let check = |change: &dyn Fn(&mut WebhookConfig), key: &str, remedy: &str| {
        let mut webhook = hook("a", "http://a");
        change(&mut webhook);
        let config = Config {
            webhooks: vec![webhook],
            ..Config::default()
        };
        let error = config.check().unwrap_err();
        assert_eq!(error.key, format!("notifiers.webhooks[0].{key}"));
        assert!(error.message.contains(remedy), "{error}");
    };
    check(&|hook| "A".clone_into(&mut hook.name), "name", "lower-case");
    check(
        &|hook| hook.events = vec!["vertict".to_owned()],
        "events",
        "verdict, action",
    );
    let plain = Some(Text::Plain("whsec_secret".to_owned()));
    check(
        &|hook| hook.secret.clone_from(&plain),
        "secret",
        "{env: NAME}",
    );
    check(&|hook| hook.retry_min = DEADLINE, "retry_min", "retry_max");
    for wrong in ["ftp://a", "a", ""] {
        let error = Webhook::new("key", &hook("a", wrong), None, Clock::manual(NOW));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("key.url") && error.contains("https://"),
            "{error}"
        );
    }
}

// === Alertmanager ===

fn at(secs: u64) -> Timestamp {
    Timestamp::from_second(i64::try_from(1_790_000_000 + secs).unwrap()).unwrap()
}

fn alerts() -> Alerts {
    Alerts::new(Frame {
        labels: BTreeMap::from([("cluster".to_owned(), "eu".to_owned())]),
        generator_url: Some("https://slo.example/".to_owned()),
        resend: Duration::from_mins(1),
        limits: LIMITS,
    })
}

fn report_of(bad: u64) -> Report {
    Report {
        baseline_evaluations: vec![status("availability-checkout", bad, 1_000)],
        ..fixture::report(1_790_000_000, &[])
    }
}

#[test]
fn what_fires_becomes_an_alert_that_is_renewed_and_ends_when_it_is_over() {
    let mut alerts = alerts();
    assert!(!alerts.update(&report_of(0), at(0)));
    assert_eq!(alerts.payload(at(0)), []);
    // Five times its budget: the budget is spent, and both tickets burn.
    assert!(alerts.update(&report_of(50), at(10)));
    let told = alerts.payload(at(10));
    let label = |at: usize, name: &str| told[at].labels.get(name).map(String::as_str);
    let shown: Vec<_> = (0..told.len())
        .map(|at| {
            [
                label(at, "alertname"),
                label(at, "severity"),
                label(at, "long"),
                label(at, "short"),
            ]
        })
        .collect();
    assert_eq!(
        shown,
        [
            [Some(BURN), Some("ticket"), Some("1d"), Some("2h")],
            [Some(BURN), Some("ticket"), Some("3d"), Some("6h")],
            [Some(SPENT), Some("ticket"), None, None],
        ]
    );
    for (name, value) in [
        ("cluster", "eu"),
        ("slo", "availability-checkout"),
        ("service", "checkout"),
        ("sloth_id", "checkout-availability-checkout"),
    ] {
        assert_eq!(label(0, name), Some(value));
    }
    let spent = &told[2].annotations["description"];
    assert_eq!(
        spent,
        "50 bad of 1000 in 30d, 10.0 are allowed; -400.0 % of the error budget of 30d is left at a target of 99 %."
    );
    assert_eq!((told[0].starts_at, told[0].ends_at), (at(10), at(250)));

    // Nothing new, but renewed.
    assert!(!alerts.update(&report_of(50), at(70)));
    let told = alerts.payload(at(70));
    assert_eq!((told[0].starts_at, told[0].ends_at), (at(10), at(310)));

    assert!(alerts.update(&report_of(0), at(80)));
    for now in [80, 320] {
        let told = alerts.payload(at(now));
        assert_eq!(told.len(), 3);
        assert!(told.iter().all(|alert| alert.ends_at == at(80)));
    }
    assert_eq!(alerts.payload(at(321)), []);
    // It begins anew.
    assert!(alerts.update(&report_of(50), at(330)));
    assert_eq!(alerts.payload(at(330))[0].starts_at, at(330));
}

#[tokio::test]
async fn every_alertmanager_of_a_cluster_is_told_and_one_that_fails_is_told_again() {
    let mut healthy = Receiver::start(&[]).await;
    let mut failing = Receiver::start(&[Answer::Status(500)]).await;
    let config = AlertmanagerConfig {
        urls: [&healthy.url, &failing.url]
            .map(|url| Text::Plain(url.replace("/hook", "/prefix/")))
            .to_vec(),
        // Far off: only what is new is told.
        resend_interval: Duration::from_hours(1),
        ..AlertmanagerConfig::default()
    };
    let clock = Clock::manual(NOW);
    let alertmanagers = Alertmanagers::new(&config, None, LIMITS, &clock)
        .unwrap()
        .unwrap();
    let (publish, reports) = watch::channel(Some(Arc::new(report_of(50))));
    let task = tokio::spawn(alertmanagers.run(reports));
    assert_eq!(healthy.next().await.body.as_array().unwrap().len(), 3);
    failing.next().await;
    // The next evaluation finds it due.
    publish.send_replace(Some(Arc::new(report_of(50))));
    assert_eq!(failing.next().await.body.as_array().unwrap().len(), 3);
    // The last report before a stop is told.
    publish.send_replace(Some(Arc::new(report_of(0))));
    drop(publish);
    timeout(DEADLINE, task).await.unwrap().unwrap();
    for receiver in [&mut healthy, &mut failing] {
        let told = receiver.next().await.body;
        assert_eq!(told[0]["endsAt"], "2026-09-21T14:13:20Z", "{told}");
        assert!(receiver.received.try_recv().is_err());
    }
}
