//! What to do about a finding, in the language of the service.

use crate::model::coverage::CoverageFindingKind as Kind;

/// How a program of a language gets its first spans.
pub(super) fn instrument(language: Option<&str>) -> &'static str {
    match language {
        Some("java") => {
            "start the JVM with -javaagent:opentelemetry-javaagent.jar (in Kubernetes: the annotation instrumentation.opentelemetry.io/inject-java: \"true\" on the pod template)"
        }
        Some("python") => {
            "pip install opentelemetry-distro opentelemetry-exporter-otlp, run opentelemetry-bootstrap -a install, and start it with opentelemetry-instrument"
        }
        Some("nodejs") => {
            "npm install @opentelemetry/api @opentelemetry/auto-instrumentations-node, and start it with node --require @opentelemetry/auto-instrumentations-node/register"
        }
        Some("dotnet") => {
            "start it with the automatic instrumentation of OpenTelemetry .NET (in Kubernetes: the annotation instrumentation.opentelemetry.io/inject-dotnet: \"true\" on the pod template)"
        }
        Some("go") => {
            "wrap its servers and clients with otelhttp and otelgrpc; without a change of code OBI sees HTTP and gRPC by eBPF"
        }
        Some("ruby") => {
            "add the gems opentelemetry-sdk, opentelemetry-exporter-otlp and opentelemetry-instrumentation-all, and call use_all in OpenTelemetry::SDK.configure"
        }
        Some("php") => {
            "install the extension opentelemetry and the package of its framework (open-telemetry/opentelemetry-auto-*), and set OTEL_PHP_AUTOLOAD_ENABLED=true"
        }
        Some("rust") => {
            "add tracing-opentelemetry, or OBI, which sees its HTTP and gRPC by eBPF without a change of code"
        }
        Some(_) | None => {
            "instrument it with the SDK of its language; without a change of code OBI sees HTTP, gRPC and SQL by eBPF (coverage -o DIR writes its configuration)"
        }
    }
}

/// What to do about a finding; of those that lack instrumentation, [`instrument`].
pub(super) fn remedy(kind: Kind, language: Option<&str>) -> &'static str {
    match kind {
        Kind::DarkPeer | Kind::UninstrumentedWorkload | Kind::SilentListener => {
            instrument(language)
        }
        Kind::DefaultServiceName => {
            "set OTEL_SERVICE_NAME; services that share the SDK's default name are judged as one"
        }
        Kind::LostContext => lost_context(language),
        Kind::OrphanedEntries => {
            "the caller sends a trace context, but its own spans do not arrive: instrument the caller's exporter, let proxies that start spans export them, or sample by the parent (parentbased) on both sides"
        }
        Kind::OrphanedSpans => {
            "spans are lost on their way: look for dropped spans of the exporter (raise OTEL_BSP_MAX_QUEUE_SIZE), for a process that ends without flushing, and for a Collector that samples span by span"
        }
        Kind::ClientRoots => client_roots(language),
        Kind::MissingRoute => route(language),
        Kind::MissingErrorStatus => {
            "set the span's status to ERROR for HTTP 5xx, as the semantic conventions ask of servers; instrumentation libraries do so, hand-made spans must"
        }
        Kind::ExceptionWithoutStatus => exception(language),
        Kind::MissingVersion => {
            "set service.version (OTEL_RESOURCE_ATTRIBUTES=service.version=1.2.3): releases are compared by it"
        }
        Kind::ClockSkew => {
            "synchronise the clocks of both hosts (NTP, chrony): times between services cannot be compared until then"
        }
    }
}

fn lost_context(language: Option<&str>) -> &'static str {
    match language {
        Some("python") => {
            "instrument the caller's HTTP or RPC client (opentelemetry-instrumentation-requests, -httpx, -aiohttp-client, -grpc), use one OTEL_PROPAGATORS on both sides, and let proxies pass traceparent on"
        }
        Some("nodejs") => {
            "instrument the caller's client (@opentelemetry/instrumentation-http, -undici for fetch, -grpc), load it before the client is imported, use one OTEL_PROPAGATORS on both sides, and let proxies pass traceparent on"
        }
        Some("java") => {
            "let the agent instrument the caller's client library, carry the context into its thread pools, use one OTEL_PROPAGATORS on both sides, and let proxies pass traceparent on"
        }
        Some("go") => {
            "use otelhttp.NewTransport or otelgrpc's client handler with the request's context, call otel.SetTextMapPropagator on both sides (Go sets none by itself), and let proxies pass traceparent on"
        }
        Some(_) | None => {
            "inject the context where the caller sends and extract it where the callee receives: the same propagators on both sides (OTEL_PROPAGATORS=tracecontext,baggage), and proxies that pass traceparent on"
        }
    }
}

fn client_roots(language: Option<&str>) -> &'static str {
    match language {
        Some("go") => "pass the context of the request, or of a span around the job, into the call",
        Some("nodejs") => {
            "start a span around the job that calls; in a request handler, load the instrumentation before http is imported, so that the context is active"
        }
        Some("java" | "python" | "dotnet") => {
            "start a span around the job that calls; in a request handler, carry the context into the thread or task that calls"
        }
        Some(_) | None => {
            "start a span around the work that calls, or carry the context of the request to where the call is made"
        }
    }
}

fn route(language: Option<&str>) -> &'static str {
    match language {
        Some("python") => {
            "instrument the framework beside the server (opentelemetry-instrumentation-flask, -django, -fastapi): it knows the route; without http.route operations are told apart by the span's name alone"
        }
        Some("nodejs") => {
            "load the framework's instrumentation beside http (@opentelemetry/instrumentation-express, -fastify, -koa): it knows the route; without http.route operations are told apart by the span's name alone"
        }
        Some("java") => {
            "let the agent instrument the framework (Spring MVC, JAX-RS, Ktor …): it knows the route; without http.route operations are told apart by the span's name alone"
        }
        Some("go") => {
            "register handlers with patterns of http.ServeMux, or use the router's middleware (otelgin, otelmux, otelchi): it knows the route; without http.route operations are told apart by the span's name alone"
        }
        Some(_) | None => {
            "set http.route to the path's template, for example /users/{id}; without it operations are told apart by the span's name alone"
        }
    }
}

fn exception(language: Option<&str>) -> &'static str {
    match language {
        Some("python") => {
            "call span.set_status(StatusCode.ERROR) beside record_exception, or let the exception leave the span's with block; an exception that was handled needs no event"
        }
        Some("nodejs") => {
            "call span.setStatus({code: SpanStatusCode.ERROR}) beside recordException; an exception that was handled needs no event"
        }
        Some("java") => {
            "call span.setStatus(StatusCode.ERROR) beside recordException; an exception that was handled needs no event"
        }
        Some("go") => {
            "call span.SetStatus(codes.Error, …) beside RecordError, which does not set it; an error that was handled needs no event"
        }
        Some(_) | None => {
            "set the status to ERROR where an exception makes the work fail; one that was handled needs no event"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_speaks_the_language_of_the_service() {
        assert!(remedy(Kind::DarkPeer, Some("java")).contains("-javaagent"));
        assert!(remedy(Kind::DarkPeer, None).contains("OBI"));
        assert!(remedy(Kind::MissingRoute, Some("python")).contains("flask"));
        assert!(remedy(Kind::LostContext, Some("go")).contains("SetTextMapPropagator"));
        assert_ne!(
            remedy(Kind::MissingRoute, Some("erlang")),
            remedy(Kind::MissingRoute, Some("go"))
        );
    }
}
