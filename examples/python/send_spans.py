"""A pretended web shop that sends an exact number of spans with the OpenTelemetry SDK.

    send_spans.py [SPANS]       default 1000

Nothing here knows slo-copilot. The SDK takes its settings from the environment:

    OTEL_EXPORTER_OTLP_ENDPOINT   http://localhost:4317 over gRPC, http://localhost:4318 over HTTP
    OTEL_EXPORTER_OTLP_PROTOCOL   grpc (default) or http/protobuf
    OTEL_SERVICE_NAME             for example checkout

Each request is a SERVER span with one CLIENT span below it; if SPANS is odd, the last request has no CLIENT
span. So there are ceil(SPANS / 2) requests, and every 50th of them fails: with 1000 spans 500 requests, 10 of
them errors. The spans carry time stamps that ended just now, so nothing sleeps.

Exit code 0 if every span was taken by the endpoint, 1 if not, 2 on wrong usage.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode

ROUTES = [
    ("GET", "/products", 0.012),
    ("GET", "/products/{id}", 0.020),
    ("POST", "/cart/items", 0.035),
    ("POST", "/orders", 0.080),
]
REQUESTS_PER_ERROR = 50
# Below the smallest batch queue of the SDK (2048 spans), which drops what does not fit.
SPANS_PER_FLUSH = 500


class CountingExporter(SpanExporter):
    """Counts the spans that the endpoint took, since the batch processor keeps the outcome to itself."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.exporter = exporter
        self.exported_spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self.exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.exported_spans += len(spans)
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        self.exporter.shutdown()


def otlp_exporter() -> SpanExporter:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"
    )
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    elif protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    else:
        print(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, not grpc or http/protobuf", file=sys.stderr)
        sys.exit(2)
    return OTLPSpanExporter()


def send_request(tracer: trace.Tracer, number: int, with_database: bool, chance: random.Random) -> None:
    """Records one request that ended now: a SERVER span, and below it a CLIENT span for half of its time."""
    method, route, median_seconds = chance.choice(ROUTES)
    duration = int(chance.lognormvariate(0, 0.5) * median_seconds * 1e9)
    end = time.time_ns()
    is_error = number % REQUESTS_PER_ERROR == 0

    server = tracer.start_span(
        f"{method} {route}",
        kind=SpanKind.SERVER,
        start_time=end - duration,
        attributes={
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": 500 if is_error else 200,
            "url.path": route.replace("{id}", str(number)),
            "url.scheme": "http",
        },
    )
    if with_database:
        client = tracer.start_span(
            "SELECT shop.items",
            context=trace.set_span_in_context(server),
            kind=SpanKind.CLIENT,
            start_time=end - duration * 3 // 4,
            attributes={"db.system.name": "postgresql", "server.address": "shop-db"},
        )
        client.end(end - duration // 4)
    if is_error:
        server.set_status(Status(StatusCode.ERROR, "out of stock"))
    server.end(end)


def main() -> int:
    parser = argparse.ArgumentParser(description="sends an exact number of spans over OTLP")
    parser.add_argument("spans", nargs="?", type=int, default=1000, help="how many (default 1000)")
    spans = parser.parse_args().spans
    if spans < 1:
        parser.error("at least 1 span")

    exporter = CountingExporter(otlp_exporter())
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("shop")
    chance = random.Random(1)

    requests = (spans + 1) // 2
    for number in range(1, requests + 1):
        send_request(tracer, number, with_database=2 * number <= spans, chance=chance)
        if 2 * number % SPANS_PER_FLUSH == 0:
            provider.force_flush()
    provider.shutdown()

    sent = exporter.exported_spans
    errors = requests // REQUESTS_PER_ERROR
    print(f"{sent} of {spans} spans sent: {requests} requests (SERVER spans), {errors} of them errors")
    return 0 if sent == spans else 1


if __name__ == "__main__":
    sys.exit(main())
