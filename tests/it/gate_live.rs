//! `gate --endpoint` as a pipeline runs it, against whole servers.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;
use slo_copilot::clock::Clock;
use slo_copilot::config::Config;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::canary::{Every, side_by_side};
use crate::support::DEADLINE;
use crate::support::eventually;
use crate::support::grpc::accepted;
use crate::support::process::{Process, command, stderr};
use crate::support::server::{Server, availability};
use crate::support::spans::{MINUTE, NOW, failed_spans, request, spans};
use crate::support::tls::TlsProxy;
use crate::trace_tests::{SUITE, report};

/// Runs the gate to its end while the servers of this process go on.
async fn gate(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(&["gate"]);
    command.args(arguments).env_remove("GITHUB_STEP_SUMMARY");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = timeout(DEADLINE, output).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code(), text, stderr(&output))
}

/// A gate under way, whose lines on standard error come one by one.
struct Waiting {
    lines: mpsc::Receiver<String>,
    ended: tokio::task::JoinHandle<(Option<i32>, String)>,
}

impl Waiting {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(&["gate", "--wait", "60s", "--interval", "20ms"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, lines) = mpsc::channel(64);
        let said = BufReader::new(child.stderr.take().unwrap());
        let reading = std::thread::spawn(move || {
            for line in said.lines() {
                // The test may have heard enough.
                drop(out.try_send(line.unwrap()));
            }
        });
        let ended = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            let mut stdout = child.stdout.take().unwrap();
            stdout.read_to_string(&mut text).unwrap();
            let status = child.wait().unwrap();
            reading.join().unwrap();
            (status.code(), text)
        });
        Self { lines, ended }
    }

    /// Waits until it says so.
    async fn says(&mut self, words: &str) {
        loop {
            let line = timeout(DEADLINE, self.lines.recv()).await;
            let line = line.unwrap_or_else(|_| panic!("it never says {words}"));
            if line.unwrap().contains(words) {
                return;
            }
        }
    }

    async fn ended(self) -> (Option<i32>, String) {
        timeout(DEADLINE, self.ended).await.unwrap().unwrap()
    }
}

fn with_objective(config: &mut Config) {
    config.objectives.list = vec![availability("checkout", 0.99)];
}

async fn send(server: &Server, good: u64, bad: u64) {
    let mut client = server.client().await;
    for batch in [spans(good, NOW - MINUTE), failed_spans(bad, NOW - MINUTE)] {
        accepted(&mut client, &request("checkout", batch)).await;
    }
    server.fresh_report().await;
}

#[tokio::test]
async fn the_exit_code_follows_the_servers_verdict_in_every_form() {
    let server = Server::start(with_objective).await;
    server.fresh_report().await;
    let url = server.admin_url("");
    let ask = ["--endpoint", &url, "--service", "checkout"];
    assert_eq!(gate(&ask).await.0, Some(3));
    send(&server, 400, 0).await;
    let (code, text, said) = gate(&ask).await;
    assert_eq!(code, Some(0), "{text}{said}");
    assert!(said.contains("gate: PASS"), "{said}");
    // Nothing is computed for a version, so the good verdict of the service does not count.
    let version = [&ask[..], &["--version", "2.0"]].concat();
    let (code, text, _) = gate(&version).await;
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("2.0"), "{text}");

    send(&server, 0, 200).await;
    let (code, text, said) = gate(&[&ask[..], &["--format", "json"]].concat()).await;
    assert_eq!(code, Some(1), "{said}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["verdict"], "fail");
    assert_eq!(json["service"]["name"], "checkout");
    assert_eq!(
        (&json["input"], &json["judged_against"]),
        (&Value::Null, &Value::Null)
    );
    for (form, word) in [
        ("junit", "<failure"),
        ("sarif", "burn-rate"),
        ("github", "::error"),
        ("text", "burns its error budget"),
    ] {
        let (code, text, _) = gate(&[&ask[..], &["--format", form]].concat()).await;
        assert_eq!(code, Some(1), "{form}");
        assert!(text.contains(word), "{form}: {text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_action_fails_the_gate_only_where_it_is_asked_to() {
    let steps = "[{remaining: 0.9, action: freeze, message: wait for the SREs}]";
    let server = Server::start(|config| {
        // The budget allows 20 of 400, of which three are more than a tenth.
        config.objectives.list = vec![availability("checkout", 0.95)];
        config.objectives.policy = serde_saphyr::from_str(steps).unwrap();
    })
    .await;
    send(&server, 397, 3).await;
    let url = server.admin_url("");
    let ask = ["--endpoint", &url, "--format", "json"];
    let (code, text, said) = gate(&ask).await;
    assert_eq!(code, Some(0), "{said}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&json["verdict"], &json["action"]),
        (&"pass".into(), &"freeze".into())
    );
    let reason = &json["reasons"][0];
    assert_eq!(reason["source"], "policy_step");
    let told = reason["text"].as_str().unwrap();
    assert!(
        told.starts_with("freeze: ") && told.ends_with("wait for the SREs"),
        "{told}"
    );

    let (code, _, said) = gate(&[&ask[..2], &["--fail-on-action", "freeze"]].concat()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("decided by action: freeze"), "{said}");
    let (code, ..) = gate(&[&ask[..2], &["--fail-on-action", "review"]].concat()).await;
    assert_eq!(code, Some(0));
    server.stop().await;
}

#[tokio::test]
async fn a_server_may_let_an_action_fail_its_verdict() {
    let server = Server::start(|config| {
        config.objectives.list = vec![availability("checkout", 0.95)];
        config.objectives.policy =
            serde_saphyr::from_str("[{remaining: 0.9, action: freeze}]").unwrap();
        config.objectives.fail_on_actions = vec!["freeze".to_owned()];
    })
    .await;
    send(&server, 397, 3).await;
    let answer = server.json("/api/v1/verdict?service=checkout").await;
    assert_eq!(
        (&answer["verdict"], &answer["ok"]),
        (&"fail".into(), &false.into())
    );
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_no_verdict() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (code, _, said) = gate(&["--endpoint", &url]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cannot ask"), "{said}");
    for usage in [
        &["--endpoint", "ftp://a"][..],
        &["--endpoint", &url, "--trace", "a.jsonl"],
        &["--endpoint", &url, "--hold", "1m"],
        &["--service", "checkout"],
        &["--endpoint", &url, "--version", "2"],
    ] {
        let (code, _, said) = gate(usage).await;
        assert_eq!(code, Some(2), "{usage:?}: {said}");
    }
}

#[tokio::test]
async fn what_only_files_or_only_servers_can_be_asked_is_refused_and_not_passed_over() {
    let server = Server::start(with_objective).await;
    send(&server, 400, 0).await;
    let url = server.admin_url("");
    for option in ["--canary", "--canary-version", "--suite"] {
        let (code, _, said) = gate(&["--endpoint", &url, option, "2.0"]).await;
        assert_eq!(code, Some(2), "{option}: {said}");
        assert!(
            said.contains(&format!("{option} is for trace files")),
            "{said}"
        );
    }
    for (option, value) in [
        ("--service", "checkout"),
        ("--window", "5m"),
        ("--wait", "1s"),
        ("--hold", "1s"),
        ("--ca-file", "ca.pem"),
    ] {
        let (code, _, said) = gate(&["--trace", "a.jsonl", option, value]).await;
        assert_eq!(code, Some(2), "{option}: {said}");
        assert!(
            said.contains(&format!("{option} needs --endpoint")),
            "{said}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn another_versions_comparison_decides_nothing() {
    let server = Server::start(with_objective).await;
    side_by_side(&server, Some(Every(100)), Some(Every(6))).await;
    server.fresh_report().await;
    let url = server.admin_url("");
    let about = async |service, version| {
        let ask = [
            "--endpoint",
            &url,
            "--service",
            service,
            "--version",
            version,
        ];
        gate(&[&ask[..], &["--format", "json"]].concat()).await
    };
    let (code, text, _) = about("checkout", "1.10.0").await;
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &json["parts"][3]["verdict"]),
        (Some(1), &"fail".into())
    );
    // The old version, and one that never was, are not 1.10.0; nor is another service.
    for (service, version) in [
        ("checkout", "1.9.0"),
        ("checkout", "1.11.0"),
        ("cart", "1.10.0"),
    ] {
        let (code, text, said) = about(service, version).await;
        assert_eq!(code, Some(3), "{service} {version}: {said}");
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["canaries"], Value::Array(Vec::new()));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_tests_decide_about_their_service_alone_and_not_about_a_version_or_a_window() {
    let dir = tempfile::tempdir().unwrap();
    let suite = dir.path().join("suite.yaml");
    std::fs::write(&suite, SUITE).unwrap();
    let suites = format!("tests.suites=[{}]", suite.display());
    let sets = [
        suites.as_str(),
        "evaluator.interval=100ms",
        "trace_buffer.quiet=100ms",
    ];
    let process = Process::serve(&sets).await;
    report(
        process.address("otlp_http"),
        "0000000000000000000000000000aa01",
        "",
        20,
    )
    .await;
    eventually("a test that passed", async || {
        let verdict = process.json("/api/v1/verdict?service=shop").await;
        (verdict["verdict"] == "pass").then_some(())
    })
    .await;
    let url = process.address("admin").to_string();
    let ask = async |more: &[&str]| gate(&[&["--endpoint", &url], more].concat()).await;
    for more in [&[][..], &["--service", "shop"]] {
        let (code, text, said) = ask(more).await;
        assert_eq!(code, Some(0), "{more:?}: {text}{said}");
    }
    for more in [
        &["--service", "nobody"][..],
        &["--service", "shop", "--version", "2.0"],
        &["--service", "shop", "--window", "5m"],
        &["--window", "5m"],
    ] {
        let (code, text, said) = ask(more).await;
        assert_eq!(code, Some(3), "{more:?}: {text}{said}");
    }
    // Good, but not for long enough.
    let hold = ["--wait", "200ms", "--hold", "200ms", "--interval", "150ms"];
    let (code, text, said) = ask(&hold).await;
    assert_eq!(code, Some(3), "{text}{said}");
    assert!(
        said.contains("decided by the answer: the verdict is pass, but"),
        "{said}"
    );
}

#[tokio::test]
async fn a_gate_waits_until_the_verdict_is_conclusive() {
    let server = Server::start(with_objective).await;
    server.fresh_report().await;
    let url = server.admin_url("");
    let mut waiting = Waiting::start(&["--endpoint", &url, "--service", "checkout"]);
    waiting.says("inconclusive").await;
    send(&server, 400, 0).await;
    assert_eq!(waiting.ended().await.0, Some(0));
    server.stop().await;
}

#[tokio::test]
async fn a_verdict_that_is_held_must_stay_good() {
    let server = Server::start(with_objective).await;
    send(&server, 400, 0).await;
    let url = server.admin_url("");
    let mut waiting = Waiting::start(&["--endpoint", &url, "--hold", "50s"]);
    waiting.says("pass for").await;
    send(&server, 0, 200).await;
    assert_eq!(waiting.ended().await.0, Some(1));
    server.stop().await;
}

#[tokio::test]
async fn a_gate_survives_a_restart_of_the_server() {
    let server = Server::start(with_objective).await;
    server.fresh_report().await;
    let admin = server.endpoints.admin;
    let mut waiting = Waiting::start(&["--endpoint", &admin.to_string()]);
    waiting.says("inconclusive").await;
    let (_, dir) = server.stop().await;
    waiting.says("cannot ask").await;
    let server = Server::start_in(Arc::clone(&dir), Clock::manual(NOW), |config| {
        with_objective(config);
        config.admin.endpoint = admin;
    })
    .await;
    send(&server, 400, 0).await;
    assert_eq!(waiting.ended().await.0, Some(0));
    server.stop().await;
}

#[tokio::test]
async fn an_https_endpoint_is_trusted_by_the_certificates_that_are_named() {
    let server = Server::start(with_objective).await;
    send(&server, 400, 0).await;
    let proxy = TlsProxy::before(server.endpoints.admin).await;
    let (url, ca_file) = (proxy.url(), proxy.ca_file());
    let ca_file = ca_file.to_str().unwrap();
    let (code, _, said) = gate(&["--endpoint", &url, "--ca-file", ca_file]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, _, said) = gate(&["--endpoint", &url]).await;
    assert_eq!(code, Some(2), "{said}");
    server.stop().await;
}
