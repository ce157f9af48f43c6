//! The gRPC services through real clients.

use tokio_stream::StreamExt;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;
use crate::api::proto::guardrail_client::GuardrailClient;
use crate::api::proto::{
    self, GetVerdictRequest, ListObjectivesRequest, VerdictReport, WatchVerdictsRequest,
};
use crate::model::report::SliceCoverage;
use crate::model::slo::{Budgeting, CompositeMember, EmptySlices};

const GUARDRAIL: &str = "slo_copilot.v1.Guardrail";

async fn channel(server: &Server) -> Channel {
    let target = format!("http://{}", server.address);
    let endpoint = Channel::from_shared(target).unwrap();
    endpoint.connect().await.unwrap()
}

async fn guardrail(server: &Server) -> GuardrailClient<Channel> {
    GuardrailClient::new(channel(server).await)
}

#[tokio::test]
async fn a_verdict_is_the_same_as_over_http() {
    let server = Server::with_report().await;
    let request = GetVerdictRequest {
        service: "checkout".to_owned(),
        ..GetVerdictRequest::default()
    };
    let answer = guardrail(&server).await.get_verdict(request).await.unwrap();
    let expected = fixture::verdict(Some(ServiceKey::named("checkout")), Verdict::Fail);
    let report = answer.into_inner().report.unwrap();
    assert_eq!(report, VerdictReport::from(&expected));
    assert_eq!(report.verdict(), proto::Verdict::Fail);
    assert_eq!(report.generated_at.unwrap().seconds, 1_790_000_000);
    server.stop().await;
}

#[tokio::test]
async fn a_version_that_nothing_is_computed_for_is_inconclusive() {
    let server = Server::with_report().await;
    let request = GetVerdictRequest {
        service: "checkout".to_owned(),
        version: "2.0".to_owned(),
        ..GetVerdictRequest::default()
    };
    let answer = guardrail(&server).await.get_verdict(request).await.unwrap();
    let report = answer.into_inner().report.unwrap();
    assert_eq!(report.verdict(), proto::Verdict::Inconclusive);
    assert_eq!(report.version, "2.0");
    assert_eq!(report.score, None);
    server.stop().await;
}

#[tokio::test]
async fn a_window_is_judged_as_over_http() {
    let server = Server::with_report().await;
    for version in ["", "1.4.0"] {
        let request = GetVerdictRequest {
            service: "checkout".to_owned(),
            version: version.to_owned(),
            window: "1h".to_owned(),
            ..GetVerdictRequest::default()
        };
        let answer = guardrail(&server).await.get_verdict(request).await.unwrap();
        let path = format!("/api/v1/verdict?service=checkout&version={version}&window=1h");
        let over_http = server.json(&path).await;
        let over_http: crate::model::report::VerdictReport =
            serde_json::from_value(over_http).unwrap();
        assert_eq!(over_http.verdict, Verdict::Warn);
        assert_eq!(
            answer.into_inner().report.unwrap(),
            VerdictReport::from(&over_http)
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn watchers_hear_the_current_verdict_then_changes_only_until_shutdown() {
    let server = Server::start().await;
    let request = WatchVerdictsRequest {
        service: "checkout".to_owned(),
        ..WatchVerdictsRequest::default()
    };
    let mut client = guardrail(&server).await;
    let answer = client.watch_verdicts(request).await;
    let mut stream = answer.unwrap().into_inner();
    let publish = |verdict: Verdict, spans: u64| {
        let mut report = fixture::report();
        report.verdicts[0] = fixture::verdict(Some(ServiceKey::named("checkout")), verdict);
        report.verdicts[0].evidence.spans = spans;
        server.reports.send_replace(Some(Arc::new(report)));
    };
    // Each report waits for the message of the one before: a watch channel keeps the newest value
    // alone.
    let first = stream.next().await.unwrap().unwrap().report.unwrap();
    assert_eq!(first.verdict(), proto::Verdict::Inconclusive);
    publish(Verdict::Pass, 1);
    let second = stream.next().await.unwrap().unwrap().report.unwrap();
    assert_eq!(
        (second.verdict(), second.evidence.unwrap().spans),
        (proto::Verdict::Pass, 1)
    );
    // The same verdict on more evidence is no news. While another question is answered, the stream
    // takes note of it.
    publish(Verdict::Pass, 2);
    let question = GetVerdictRequest::default();
    client.get_verdict(question).await.unwrap();
    publish(Verdict::Fail, 3);
    let third = stream.next().await.unwrap().unwrap().report.unwrap();
    assert_eq!(
        (third.verdict(), third.evidence.unwrap().spans),
        (proto::Verdict::Fail, 3)
    );
    server.shutdown.cancel();
    assert!(stream.next().await.is_none());
    server.stop().await;
}

#[tokio::test]
async fn objectives_are_listed_with_what_was_measured() {
    let server = Server::start().await;
    let mut client = guardrail(&server).await;
    let status = client
        .list_objectives(ListObjectivesRequest::default())
        .await;
    assert_eq!(status.unwrap_err().code(), Code::Unavailable);

    let mut report = fixture::report();
    let mut elsewhere = fixture::objective_status("latency-p95-search", "search");
    elsewhere.objective.environment = Some("staging".to_owned());
    elsewhere.objective.sli = crate::model::slo::Sli::Latency {
        threshold_micros: 250_000,
    };
    report.baseline_evaluations.push(elsewhere);
    server.reports.send_replace(Some(Arc::new(report)));

    let mut list = async |service: &str, environment: &str| {
        let request = ListObjectivesRequest {
            service: service.to_owned(),
            environment: environment.to_owned(),
            ..ListObjectivesRequest::default()
        };
        let answer = client.list_objectives(request).await.unwrap();
        answer.into_inner().objectives
    };
    assert_eq!(list("", "").await.len(), 2);
    assert_eq!(list("search", "production").await.len(), 0);
    let latency = list("search", "staging").await.remove(0);
    assert_eq!(latency.sli(), proto::Sli::Latency);
    assert_eq!(latency.latency_threshold_seconds, Some(0.25));
    let objective = list("checkout", "production").await.remove(0);
    assert_eq!(objective.name, "availability-checkout");
    assert_eq!(objective.state(), proto::Verdict::Fail);
    assert_eq!(
        (objective.target, objective.window.as_str()),
        (0.999, "30d")
    );
    assert_eq!(objective.budget.unwrap().remaining_ratio, Some(-99.0));
    let hour = &objective.windows[1];
    assert_eq!((hour.window.as_str(), hour.good_ratio), ("1h", Some(0.9)));
    let page = &objective.burn_rates[0];
    assert_eq!(
        (page.long_burn_rate, page.short_burn_rate),
        (Some(100.0), None)
    );
    server.stop().await;
}

#[tokio::test]
async fn composites_are_listed_with_the_members_that_are_asked_for() {
    let server = Server::start().await;
    let mut client = guardrail(&server).await;
    let mut report = fixture::report();
    let member = &mut report.baseline_evaluations[0];
    member.objective.composite = Some(CompositeMember {
        name: "shop".to_owned(),
        weight: 2.0,
    });
    member.objective.budgeting = Budgeting::RatioTimeslices {
        slice: "5m".parse().unwrap(),
        empty: EmptySlices::Good,
    };
    member.slices = Some(SliceCoverage {
        expected: 12.0,
        empty: 3,
        measured_ratio: Some(0.75),
        late_events: 1,
    });
    report.composites = vec![fixture::composite("shop", &["checkout"])];
    server.reports.send_replace(Some(Arc::new(report)));

    let request = |service: &str| ListObjectivesRequest {
        service: service.to_owned(),
        ..ListObjectivesRequest::default()
    };
    let other = client.list_objectives(request("search")).await.unwrap();
    assert!(other.into_inner().composites.is_empty());
    let listed = client.list_objectives(request("checkout")).await.unwrap();
    let mut listed = listed.into_inner();
    let shop = listed.composites.remove(0);
    assert_eq!(
        (shop.name.as_str(), shop.state()),
        ("shop", proto::Verdict::Fail)
    );
    assert_eq!(shop.members[0].name, "availability-checkout");
    let member = listed.objectives.remove(0);
    assert_eq!(member.composite, "shop");
    let method = proto::BudgetingMethod::RatioTimeslices;
    assert_eq!(member.budgeting_method(), method);
    let slices = member.slices.unwrap();
    assert_eq!((slices.slice.as_str(), slices.empty), ("5m", 3));
    server.stop().await;
}

#[tokio::test]
async fn health_follows_readiness_and_its_watchers_do_not_hold_up_the_shutdown() {
    let server = Server::start().await;
    let mut client = HealthClient::new(channel(&server).await);
    let request = HealthCheckRequest {
        service: GUARDRAIL.to_owned(),
    };
    let mut watch = client.watch(request.clone()).await.unwrap().into_inner();
    let mut next = async || watch.next().await.map(|answer| answer.unwrap().status());
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    server.ready.send_replace(true);
    assert_eq!(next().await, Some(ServingStatus::Serving));
    for service in ["", GUARDRAIL] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer: HealthCheckResponse = client.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    server.shutdown.cancel();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None);
    server.stop().await;
}

#[tokio::test]
async fn reflection_lists_our_services() {
    let server = Server::start().await;
    let mut client = ServerReflectionClient::new(channel(&server).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::once(request);
    let answer = client.server_reflection_info(requests).await;
    let answer = answer.unwrap().into_inner().next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let mut names: Vec<&str> = list.service.iter().map(|service| &*service.name).collect();
    names.sort_unstable();
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        GUARDRAIL,
    ];
    assert_eq!(names, expected);
    server.stop().await;
}

#[tokio::test]
async fn a_service_that_we_do_not_have_is_unimplemented() {
    let server = Server::start().await;
    let mut client =
        crate::otlp::trace_service_client::TraceServiceClient::new(channel(&server).await);
    let status = client.export(bytes::Bytes::new()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    assert!(
        status.message().contains("TraceService/Export"),
        "{status:?}"
    );
    server.stop().await;
}
