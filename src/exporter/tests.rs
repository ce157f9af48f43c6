//! The loop with paused time, and the files of all exporters together.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::{Instant, sleep};

use super::*;
use crate::model::candidate::CandidateState;
use crate::model::series::ServiceKey;
use crate::openslo::check::{parse_bundle, parse_yaml, violations};
use crate::openslo::fixture::{availability, latency_candidate, report, service, status};
use crate::telemetry::EXPORTS;

const RULES: Limits = Limits {
    error_ratio_max: 0.9,
    min_bad_events: 2,
};

const LIMIT: Duration = Duration::from_secs(10);

/// Takes its time with each report, and notes which ones it exported.
struct SlowExporter {
    delay: Duration,
    exported: Arc<Mutex<Vec<u64>>>,
}

#[async_trait]
impl Exporter for SlowExporter {
    fn name(&self) -> &'static str {
        "slow"
    }

    async fn export(&mut self, report: &Report) -> Result<(), ExportError> {
        // The first report takes ten times as long as the others.
        let is_first = self.exported.lock().unwrap().is_empty();
        sleep(if is_first {
            self.delay * 10
        } else {
            self.delay
        })
        .await;
        self.exported
            .lock()
            .unwrap()
            .push(report.now / 1_000_000_000);
        Ok(())
    }
}

fn slow(delay: Duration) -> (Box<dyn Exporter>, Arc<Mutex<Vec<u64>>>) {
    let exported = Arc::default();
    let exporter = SlowExporter {
        delay,
        exported: Arc::clone(&exported),
    };
    (Box::new(exporter), exported)
}

fn at_second(second: i64) -> Arc<Report> {
    Arc::new(report(second, &[]))
}

#[tokio::test(start_paused = true)]
async fn a_slow_exporter_sees_the_newest_report_and_blocks_nobody() {
    let (exporter, exported) = slow(Duration::from_millis(500));
    let (sender, receiver) = watch::channel(None);
    let task = tokio::spawn(run(exporter, receiver, LIMIT));
    for second in 1..=4 {
        let before = Instant::now();
        sender.send(Some(at_second(second))).unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!(*exported.lock().unwrap(), [1, 4]);
    assert!(!task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn the_last_report_is_exported_when_the_sender_is_dropped() {
    let (exporter, exported) = slow(Duration::from_millis(500));
    let (sender, receiver) = watch::channel(None);
    let task = tokio::spawn(run(exporter, receiver, LIMIT));
    sender.send(Some(at_second(1))).unwrap();
    sleep(Duration::from_secs(1)).await;
    sender.send(Some(at_second(2))).unwrap();
    sender.send(Some(at_second(3))).unwrap();
    drop(sender);
    task.await.unwrap();
    assert_eq!(*exported.lock().unwrap(), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_report_that_was_there_before_the_exporter_is_exported_once() {
    let (exporter, exported) = slow(Duration::ZERO);
    let (sender, receiver) = watch::channel(Some(at_second(7)));
    drop(sender);
    run(exporter, receiver, LIMIT).await;
    assert_eq!(*exported.lock().unwrap(), [7]);
}

#[tokio::test(start_paused = true)]
async fn without_a_report_nothing_is_exported() {
    let (exporter, exported) = slow(Duration::ZERO);
    let (sender, receiver) = watch::channel(None);
    drop(sender);
    run(exporter, receiver, LIMIT).await;
    assert!(exported.lock().unwrap().is_empty());
}

/// Hangs, then fails, then works.
struct BadExporter(usize);

#[async_trait]
impl Exporter for BadExporter {
    fn name(&self) -> &'static str {
        "bad"
    }

    async fn export(&mut self, _report: &Report) -> Result<(), ExportError> {
        self.0 += 1;
        match self.0 {
            1 => std::future::pending().await,
            2 => Err(ExportError::Render {
                what: "a report".to_owned(),
                source: "no".into(),
            }),
            _ => Ok(()),
        }
    }
}

#[test]
fn timeouts_and_errors_are_counted_and_the_next_report_is_tried() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let (sender, receiver) = watch::channel(None);
            let exporting = run(Box::new(BadExporter(0)), receiver, LIMIT);
            let sending = async move {
                for second in 1..=3 {
                    sender.send(Some(at_second(second))).unwrap();
                    sleep(LIMIT * 2).await;
                }
            };
            tokio::join!(exporting, sending);
        });
    });
    let page = recorder.handle().render();
    for outcome in ["ok", "error", "timeout"] {
        let line = format!("{EXPORTS}{{exporter=\"bad\",outcome=\"{outcome}\"}} 1\n");
        assert!(page.contains(&line), "{page}");
    }
}

#[test]
fn an_empty_configuration_enables_everything_and_unknown_keys_are_refused() {
    let config: Config = serde_json::from_str("{}").unwrap();
    assert_eq!(config, Config::default());
    assert!(config.openslo.enabled && config.guardrail.enabled && config.report.enabled);
    assert!(serde_json::from_str::<Config>(r#"{"opensl": {}}"#).is_err());
    assert!(serde_json::from_str::<OutputConfig>(r#"{"directory": "x"}"#).is_err());
    let limits: LimitsConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(limits.output_files, 1000);
}

#[test]
fn only_enabled_exporters_are_built() {
    let config: Config = serde_json::from_str(r#"{"guardrail": {"enabled": false}}"#).unwrap();
    let exporters = build(
        &config,
        &OutputConfig::default(),
        &LimitsConfig::default(),
        RULES,
    );
    let names: Vec<&str> = exporters.iter().map(|exporter| exporter.name()).collect();
    assert_eq!(names, ["openslo", "rules", "sampling", "report"]);
}

/// A report of two services whose names slug to the same, with an objective and two candidates.
fn typical_report(second: i64) -> Report {
    let checkout = service("shop", "prod", "checkout");
    let mut report = report(second, &[checkout.clone(), ServiceKey::named("Check/out")]);
    let objective = availability("availability-checkout", "checkout", 0.999);
    report.baseline_evaluations = vec![status(objective)];
    report.slo_candidates = vec![
        latency_candidate("latency-p99-checkout", &checkout, CandidateState::Ready),
        latency_candidate(
            "latency-p99-checkout-2",
            &checkout,
            CandidateState::Provisional,
        ),
    ];
    report
}

async fn export_all(root: &Path, report: &Report) {
    let output = OutputConfig {
        dir: root.to_owned(),
        ..OutputConfig::default()
    };
    for mut exporter in build(&Config::default(), &output, &LimitsConfig::default(), RULES) {
        exporter.export(report).await.unwrap();
    }
}

fn file_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn all_exporters_write_what_the_documentation_names() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    export_all(root, &typical_report(1_700_000_000)).await;

    let mut listing = Vec::new();
    for sub in ["", "guardrail/", "guardrail/policies/", "openslo/"] {
        let names = file_names(&root.join(sub));
        listing.extend(names.iter().map(|name| format!("{sub}{name}")));
    }
    insta::assert_snapshot!("tree", listing.join("\n"));
    for (name, path) in [
        ("service_yaml", "openslo/checkout.yaml"),
        ("service_verdict", "guardrail/checkout.verdict.json"),
        ("report", "report.json"),
    ] {
        insta::assert_snapshot!(name, fs::read_to_string(root.join(path)).unwrap());
    }
}

#[tokio::test]
async fn the_files_of_each_service_and_the_bundle_are_valid_openslo() {
    let folder = tempfile::tempdir().unwrap();
    export_all(folder.path(), &typical_report(0)).await;
    let openslo = folder.path().join("openslo");
    let read = |name: &str| fs::read_to_string(openslo.join(name)).unwrap();
    let bundle = parse_bundle(&read("bundle.json"));
    assert_eq!(bundle.len(), 5);
    let none = Vec::<String>::new();
    assert_eq!(violations("bundle.json", &read("bundle.json")), none);
    for name in file_names(&openslo)
        .iter()
        .filter(|name| *name != "bundle.json")
    {
        let documents = parse_yaml(&read(name));
        assert_eq!(violations(name, &read(name)), none);
        assert!(documents.iter().all(|document| bundle.contains(document)));
    }
}

#[tokio::test]
async fn the_next_tick_with_the_same_findings_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    export_all(folder.path(), &typical_report(1)).await;
    let written = |path: &str| {
        fs::metadata(folder.path().join(path))
            .unwrap()
            .modified()
            .unwrap()
    };
    let paths = [
        "report.json",
        "guardrail/verdict.json",
        "openslo/checkout.yaml",
    ];
    let before = paths.map(written);
    export_all(folder.path(), &typical_report(2)).await;
    assert_eq!(paths.map(written), before);
    let report = fs::read_to_string(folder.path().join("report.json")).unwrap();
    assert!(report.contains("1970-01-01T00:00:01Z") && !report.contains("1970-01-01T00:00:02Z"));
}

#[tokio::test]
async fn files_of_a_vanished_service_go_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let both = [ServiceKey::named("cart"), ServiceKey::named("checkout")];
    export_all(folder.path(), &report(1, &both)).await;
    export_all(folder.path(), &report(2, &both[..1])).await;
    assert_eq!(
        file_names(&folder.path().join("openslo")),
        ["bundle.json", "cart.yaml"]
    );
    assert_eq!(
        file_names(&folder.path().join("guardrail")),
        ["cart.verdict.json", "verdict.json"]
    );
}

#[tokio::test]
async fn names_of_services_never_lead_out_of_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/out");
    let long = "x".repeat(300);
    let names = [
        "../../etc/passwd",
        "/etc/passwd",
        "",
        ".",
        "..",
        "結帳",
        "a\0b",
        long.as_str(),
    ];
    export_all(&root, &report(1, &names.map(ServiceKey::named))).await;
    assert_eq!(file_names(folder.path()), ["deep"]);
    assert_eq!(file_names(&folder.path().join("deep")), ["out"]);
    assert_eq!(file_names(&root.join("openslo")).len(), names.len() + 1);
    assert_eq!(file_names(&root.join("guardrail")).len(), names.len() + 1);
}
