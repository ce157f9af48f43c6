//! What clients ask, over the loopback interface, against the bytes that Jaeger would answer.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::jaeger::sampling_manager_client::SamplingManagerClient;
use super::*;
use crate::model::sampling::{OperationSampling, SamplingPlan};

fn plan(ratio: f64) -> Advice {
    let service = |name: &str, operations| ServiceSampling {
        service: name.to_owned(),
        default_ratio: ratio,
        operations,
    };
    let operation = OperationSampling {
        operation: "GET /cart".to_owned(),
        ratio: 0.5,
    };
    Advice {
        sampling: Some(Arc::new(SamplingPlan {
            services: vec![
                service("cart", vec![operation]),
                service("checkout", Vec::new()),
            ],
            ..SamplingPlan::default()
        })),
        ..Advice::default()
    }
}

struct Server {
    http: SocketAddr,
    grpc: SocketAddr,
    advice: watch::Sender<Advice>,
    asked: Arc<Asked>,
    shutdown: CancellationToken,
    tasks: [JoinHandle<()>; 2],
}

/// No connection of these tests is quiet for so long.
const IDLE: Duration = Duration::from_mins(1);

impl Server {
    async fn start(config: Config) -> Self {
        crate::outgoing::install_crypto_provider();
        let (advice, newest) = watch::channel(Advice::default());
        let shutdown = CancellationToken::new();
        let listeners = [
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        ];
        let [http, grpc] = listeners.each_ref().map(|one| one.local_addr().unwrap());
        let [over_http, over_grpc] = listeners;
        let asked = Arc::<Asked>::default();
        let answers = Answers {
            advice: newest,
            asked: Arc::clone(&asked),
            clock: Clock::manual(1),
        };
        let (other, stop) = ((config.clone(), answers.clone()), shutdown.clone());
        let tasks = [
            tokio::spawn(async move { serve_http(over_http, &other.0, other.1, IDLE, stop).await }),
            tokio::spawn({
                let stop = shutdown.clone();
                async move { serve_grpc(over_grpc, &config, answers, IDLE, stop).await }
            }),
        ];
        Self {
            http,
            grpc,
            advice,
            asked,
            shutdown,
            tasks,
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.http);
        let response = reqwest::get(url).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn stop(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn clients_over_http_get_what_jaeger_would_answer_byte_by_byte() {
    let server = Server::start(Config::default()).await;
    let full = r#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":1.0}}"#;
    assert_eq!(
        server.get("/sampling?service=cart").await,
        (200, full.to_owned())
    );
    server.advice.send_replace(plan(0.25));
    let cart = concat!(
        r#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":0.25},"#,
        r#""operationSampling":{"defaultSamplingProbability":0.25,"defaultLowerBoundTracesPerSecond":0.0,"#,
        r#""perOperationStrategies":[{"operation":"GET /cart","probabilisticSampling":{"samplingRate":0.5}}],"#,
        r#""defaultUpperBoundTracesPerSecond":0.0}}"#
    );
    // The paths of the SDKs for Go, JavaScript and Rust, of the old agent and of the collector.
    for path in ["/sampling", "/", "/api/sampling"] {
        let answer = server.get(&format!("{path}?service=cart")).await;
        assert_eq!(answer, (200, cart.to_owned()), "{path}");
    }
    let checkout =
        r#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":0.25}}"#;
    assert_eq!(
        server.get("/sampling?service=checkout").await,
        (200, checkout.to_owned())
    );
    assert_eq!(server.asked.served("cart", "GET /cart"), Some(0.5));
    assert_eq!(server.asked.served("checkout", "any"), Some(0.25));
    for unknown in ["search", ""] {
        assert_eq!(server.asked.served(unknown, "any"), None);
        let answer = server.get(&format!("/sampling?service={unknown}")).await;
        assert_eq!(answer, (200, full.to_owned()), "{unknown}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_question_that_names_no_service_or_two_is_refused_with_a_sentence() {
    let server = Server::start(Config::default()).await;
    for query in ["", "?", "?service=a&service=b", "?servcie=a"] {
        let (status, text) = server.get(&format!("/sampling{query}")).await;
        assert_eq!(status, 400, "{query}");
        let text: Value = serde_json::from_str(&text).unwrap();
        let text = text["error"].as_str().unwrap();
        assert!(text.contains("exactly one service"), "{text}");
    }
    let (status, text) = server.get("/baggageRestrictions?service=a").await;
    assert_eq!(status, 404);
    assert!(text.contains("/sampling?service=NAME"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn clients_over_grpc_get_the_same_and_follow_the_plan() {
    let server = Server::start(Config {
        lower_bound_traces_per_second: 0.5,
        ..Config::default()
    })
    .await;
    let mut client = SamplingManagerClient::connect(format!("http://{}", server.grpc))
        .await
        .unwrap();
    let mut ask = async |service: &str| {
        let question = SamplingStrategyParameters {
            service_name: service.to_owned(),
        };
        let answer = client.get_sampling_strategy(question).await.unwrap();
        serde_json::to_value(answer.into_inner()).unwrap()
    };
    let full =
        json!({"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 1.0}});
    assert_eq!(ask("checkout").await, full);
    for ratio in [0.25, 0.125] {
        server.advice.send_replace(plan(ratio));
        let over_http = server.get("/sampling?service=cart").await.1;
        let over_http: Value = serde_json::from_str(&over_http).unwrap();
        assert_eq!(ask("cart").await, over_http);
        assert_eq!(
            over_http["operationSampling"]["defaultSamplingProbability"],
            ratio
        );
        // Every service of the plan has the lower bound, also one without operations.
        let checkout = ask("checkout").await;
        assert_eq!(checkout["probabilisticSampling"]["samplingRate"], ratio);
        assert_eq!(
            checkout["operationSampling"]["defaultLowerBoundTracesPerSecond"],
            0.5
        );
        assert_eq!(
            checkout["operationSampling"]["perOperationStrategies"],
            json!([])
        );
    }
    assert_eq!(ask("search").await, full);
    drop(client);
    server.stop().await;
}

#[test]
fn a_lower_bound_below_nothing_is_refused() {
    for bound in [-1.0, f64::NAN, f64::INFINITY] {
        let config = Config {
            lower_bound_traces_per_second: bound,
            ..Config::default()
        };
        assert!(config.check().is_err(), "{bound}");
    }
}
