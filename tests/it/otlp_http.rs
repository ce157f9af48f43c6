//! OTLP/HTTP: protobuf and JSON, and the answers that clients tell retries by.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use slo_copilot::model::window::Window;
use tonic::Code;
use tonic_types::pb::Status;

use crate::support::server::{Server, sums};
use crate::support::spans::{MINUTE, NOW, request, spans};
use crate::support::{HeldRequest, eventually, gzip, zstd};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The example of the OTLP specification.
const CANONICAL: &str = r#"{
  "resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
    "scopeSpans": [{
      "scope": {
        "name": "my.library",
        "version": "1.0.0",
        "attributes": [{"key": "my.scope.attribute", "value": {"stringValue": "some scope attribute"}}]
      },
      "spans": [{
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "EEE19B7EC3C1B173",
        "name": "I'm a server span",
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": "1544712661000000000",
        "kind": 2,
        "attributes": [{"key": "my.span.attr", "value": {"stringValue": "some value"}}]
      }]
    }]
  }]
}"#;

fn checkout() -> ExportTraceServiceRequest {
    request("checkout", spans(25, NOW - MINUTE))
}

async fn post(server: &Server, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Response {
    let url = server.http_url("/v1/traces");
    let mut request = reqwest::Client::new().post(url).body(body.into());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn counted(server: &Server, service: &str) -> u64 {
    let report = server.fresh_report().await;
    sums(&report, service, Window::D30).observed_total
}

/// Reads a `google.rpc.Status` in the encoding that the answer names, which must be the request's.
async fn status_in(response: Response, content_type: &str) -> Status {
    assert_eq!(response.headers()["content-type"], content_type);
    let body = response.bytes().await.unwrap();
    if content_type == PROTOBUF {
        return Status::decode(body).unwrap();
    }
    let value: Value = serde_json::from_slice(&body).unwrap();
    Status {
        code: value["code"].as_i64().unwrap().try_into().unwrap(),
        message: value["message"].as_str().unwrap().to_owned(),
        ..Status::default()
    }
}

/// The answer to a request that is not taken.
async fn check_refusal(response: Response, content_type: &str, expected: (StatusCode, Code)) {
    let code = response.status();
    let status = status_in(response, content_type).await;
    assert_eq!(
        (code, Code::from(status.code)),
        expected,
        "{}",
        status.message
    );
    assert!(!status.message.is_empty());
}

#[tokio::test]
async fn protobuf_is_taken_plain_and_packed_and_answered_as_protobuf() {
    let server = Server::start(|_| ()).await;
    let plain = checkout().encode_to_vec();
    let bodies = [
        ("identity", plain.clone()),
        ("gzip", gzip(&plain)),
        ("zstd", zstd(&plain)),
    ];
    for (encoding, body) in bodies {
        let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
        let response = post(&server, &headers, body).await;
        assert_eq!(response.status(), StatusCode::OK, "{encoding}");
        assert_eq!(response.headers()["content-type"], PROTOBUF);
        let body = response.bytes().await.unwrap();
        let answer = ExportTraceServiceResponse::decode(body).unwrap();
        assert_eq!(answer, ExportTraceServiceResponse::default());
    }
    assert_eq!(counted(&server, "checkout").await, 75);
    server.stop().await;
}

#[tokio::test]
async fn the_canonical_json_example_is_counted_and_answered_as_json() {
    let server = Server::start(|_| ()).await;
    let packed = gzip(CANONICAL.as_bytes());
    let json_type = "application/json; charset=utf-8";
    let plain = post(&server, &[("content-type", json_type)], CANONICAL).await;
    let headers = [("content-type", JSON), ("content-encoding", "gzip")];
    for response in [plain, post(&server, &headers, packed).await] {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], JSON);
        assert_eq!(response.json::<Value>().await.unwrap(), json!({}));
    }
    // It is of 2018: the counters move, and no window.
    assert_eq!(server.fresh_page().await.outcome("my.service", "ok"), 2);
    assert_eq!(counted(&server, "my.service").await, 0);
    server.stop().await;
}

#[tokio::test]
async fn an_empty_request_succeeds_in_both_encodings() {
    let server = Server::start(|_| ()).await;
    for (content_type, body) in [
        (PROTOBUF, ""),
        (JSON, "{}"),
        (JSON, r#"{"resourceSpans": []}"#),
    ] {
        let response = post(&server, &[("content-type", content_type)], body).await;
        assert_eq!(response.status(), StatusCode::OK, "{body}");
    }
    server.stop().await;
}

#[tokio::test]
async fn rejected_spans_are_reported_in_the_encoding_of_the_request() {
    let server = Server::start(|_| ()).await;
    let mut batch = checkout();
    batch.resource_spans[0].scope_spans[0].spans[0]
        .span_id
        .clear();
    let headers = [("content-type", PROTOBUF)];
    let response = post(&server, &headers, batch.encode_to_vec()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.bytes().await.unwrap();
    let answer = ExportTraceServiceResponse::decode(body).unwrap();
    let partial = answer.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);

    let example = CANONICAL.replace("EEE19B7EC3C1B174", "0000000000000000");
    let response = post(&server, &[("content-type", JSON)], example).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = response.json().await.unwrap();
    let expected = json!({"partialSuccess": {
        "rejectedSpans": "1",
        "errorMessage": partial.error_message,
    }});
    assert_eq!(answer, expected);
    assert_eq!(counted(&server, "checkout").await, 24);
    assert_eq!(server.fresh_page().await.requests("my.service"), 0);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_a_bad_request_and_counts_nothing() {
    let server = Server::start(|_| ()).await;
    let whole = checkout().encode_to_vec();
    let truncated = &whole[..whole.len() - 1];
    let packed = gzip(&whole);
    let bodies: [(&str, &str, &[u8]); 6] = [
        (PROTOBUF, "identity", &[0xff; 99]),
        (PROTOBUF, "identity", truncated),
        (PROTOBUF, "gzip", &packed[..packed.len() / 2]),
        (PROTOBUF, "zstd", b"no zstd at all"),
        (JSON, "identity", b"{\"resourceSpans\": [{"),
        (JSON, "identity", b"[1, 2]"),
    ];
    for (content_type, encoding, body) in bodies {
        let headers = [
            ("content-type", content_type),
            ("content-encoding", encoding),
        ];
        let response = post(&server, &headers, body).await;
        let expected = (StatusCode::BAD_REQUEST, Code::InvalidArgument);
        check_refusal(response, content_type, expected).await;
    }
    assert_eq!(counted(&server, "checkout").await, 0);
    server.stop().await;
}

#[tokio::test]
async fn what_is_too_large_before_or_after_unpacking_is_413() {
    let server = Server::start(|config| config.receivers.otlp.max_request_bytes = 1 << 20).await;
    let large = vec![0; (1 << 20) + 100];
    let bomb = vec![0; 64 << 20];
    for (encoding, body) in [
        ("identity", large),
        ("gzip", gzip(&bomb)),
        ("zstd", zstd(&bomb)),
    ] {
        let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
        let response = post(&server, &headers, body).await;
        let expected = (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted);
        check_refusal(response, PROTOBUF, expected).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn unknown_types_and_encodings_are_415() {
    let server = Server::start(|_| ()).await;
    let unknown_type = post(&server, &[("content-type", "text/plain")], "x").await;
    let no_type = post(&server, &[], "x").await;
    for response in [unknown_type, no_type] {
        let expected = (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument);
        check_refusal(response, JSON, expected).await;
    }
    let headers = [("content-type", PROTOBUF), ("content-encoding", "br")];
    let response = post(&server, &headers, "x").await;
    let expected = (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument);
    check_refusal(response, PROTOBUF, expected).await;
    server.stop().await;
}

#[tokio::test]
async fn overload_is_429_until_the_bytes_are_free_and_says_when_to_come_again() {
    let server = Server::start(|config| {
        config.receivers.otlp.max_request_bytes = 64 * 1024;
        config.receivers.otlp.max_in_flight_bytes = 64 * 1024;
        config.receivers.otlp.retry_after = Duration::from_millis(2_500);
    })
    .await;
    let large = request("checkout", spans(400, NOW - MINUTE)).encode_to_vec();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: {PROTOBUF}\r\nContent-Length: {}",
        large.len()
    );
    assert!((40_000..60_000).contains(&large.len()), "{}", large.len());
    // Room is there for two: the largest request, packed and unpacked.
    let held = HeldRequest::begin(server.endpoints.otlp_http, &head);
    let second = HeldRequest::begin(server.endpoints.otlp_http, &head);

    let headers = [("content-type", PROTOBUF)];
    let mut taken = 0;
    let refused = eventually("a refusal", async || {
        let response = post(&server, &headers, large.clone()).await;
        taken += u64::from(response.status() == StatusCode::OK);
        (response.status() != StatusCode::OK).then_some(response)
    })
    .await;
    assert_eq!(refused.headers()["retry-after"], "3");
    let expected = (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted);
    check_refusal(refused, PROTOBUF, expected).await;

    for held in [held, second] {
        let answer = held.finish(large.clone()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    let response = post(&server, &headers, large).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(counted(&server, "checkout").await, 400 * (taken + 3));
    server.stop().await;
}

#[tokio::test]
async fn other_signals_are_404_other_methods_405_and_both_say_what_to_do() {
    let server = Server::start(|_| ()).await;
    let client = reqwest::Client::new();
    for (method, path, expected, text) in [
        (
            Method::POST,
            "/v1/metrics",
            StatusCode::NOT_FOUND,
            "takes traces only",
        ),
        (
            Method::POST,
            "/v1/logs",
            StatusCode::NOT_FOUND,
            "takes traces only",
        ),
        (
            Method::POST,
            "/traces",
            StatusCode::NOT_FOUND,
            "POST /v1/traces",
        ),
        (
            Method::GET,
            "/v1/traces",
            StatusCode::METHOD_NOT_ALLOWED,
            "POST /v1/traces",
        ),
    ] {
        for content_type in [PROTOBUF, JSON] {
            let request = client.request(method.clone(), server.http_url(path));
            let response = request
                .header("content-type", content_type)
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), expected, "{method} {path}");
            let status = status_in(response, content_type).await;
            assert!(status.message.contains(text), "{path}: {}", status.message);
        }
    }
    server.stop().await;
}
