//! What a plan may choose, and the names that it gives.

use super::model::{EnvSetting, Mode};

/// Name of the `Instrumentation`.
pub(super) const INSTRUMENTATION: &str = "slo-copilot";

/// Name of the Collector and of all that belongs to it.
pub(super) const COLLECTOR: &str = "slo-copilot-collector";

/// Image of the Collector. The components of the configuration are in its distribution `contrib`.
pub(super) const COLLECTOR_IMAGE: &str = "otel/opentelemetry-collector-contrib:0.165.0";

/// Propagators of the applications.
pub(super) const PROPAGATORS: [&str; 2] = ["tracecontext", "baggage"];

/// What people choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where Collectors run; chosen by what is there if nothing is said.
    pub mode: Option<Mode>,
    /// Namespace of the Collector, of slo-copilot and of the `Instrumentation`.
    pub namespace: String,
    /// `host:port` of an slo-copilot that runs already, OTLP over gRPC; else the plan brings one.
    pub slo_copilot: Option<String>,
    /// Image of the slo-copilot that the plan brings.
    pub slo_copilot_image: String,
    /// `host:port` of a tracing backend, OTLP over gRPC.
    pub backend: Option<String>,
    /// Share of the traces that the backend gets, above 0 and at most 1.
    pub backend_share: f64,
    /// `host:port` of a Jaeger remote sampler, gRPC.
    pub remote_sampler: Option<String>,
    /// Whether the OpenTelemetry Operator is there.
    pub uses_operator: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: None,
            namespace: "observability".to_owned(),
            slo_copilot: None,
            slo_copilot_image: "registry.example.com/slo-copilot:0.1.0".to_owned(),
            backend: None,
            backend_share: 1.0,
            remote_sampler: None,
            uses_operator: true,
        }
    }
}

/// Why settings do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No name of a namespace.
    #[error(
        "`{0}` is no namespace: lower-case letters, digits and `-`, at most 63, a letter or digit at both ends"
    )]
    Namespace(String),
    /// No address.
    #[error("`{0}` is no address: write host:port, without http:// and without a path")]
    Address(String),
    /// No share.
    #[error("the share of traces for the backend is above 0 and at most 1, not {0}")]
    Share(String),
    /// No image.
    #[error("`{0}` is no image: write registry/name:tag without blanks")]
    Image(String),
    /// A sidecar without the Operator.
    #[error(
        "sidecars are put into pods by the OpenTelemetry Operator: leave out --no-operator, or choose another --mode"
    )]
    SidecarWithoutOperator,
}

impl Settings {
    /// Whether a plan can be made by them.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !is_label(&self.namespace) {
            return Err(SettingsError::Namespace(self.namespace.clone()));
        }
        let addresses = [&self.slo_copilot, &self.backend, &self.remote_sampler];
        if let Some(wrong) = addresses
            .into_iter()
            .flatten()
            .find(|address| !is_address(address))
        {
            return Err(SettingsError::Address(wrong.clone()));
        }
        if !(self.backend_share > 0.0 && self.backend_share <= 1.0) {
            return Err(SettingsError::Share(self.backend_share.to_string()));
        }
        let image = &self.slo_copilot_image;
        let is_image = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:@".contains(&byte);
        if image.is_empty() || !image.bytes().all(is_image) {
            return Err(SettingsError::Image(image.clone()));
        }
        if self.mode == Some(Mode::Sidecar) && !self.uses_operator {
            return Err(SettingsError::SidecarWithoutOperator);
        }
        Ok(())
    }

    /// Where Collectors send everything.
    pub(super) fn slo_copilot_address(&self) -> String {
        let planned = || format!("slo-copilot.{}.svc:4317", self.namespace);
        self.slo_copilot.clone().unwrap_or_else(planned)
    }

    /// Where applications send: OTLP over HTTP, which the agents of all languages speak.
    pub(super) fn application_endpoint(&self, mode: Mode) -> String {
        match mode {
            Mode::Gateway => format!("http://{COLLECTOR}.{}.svc:4318", self.namespace),
            // The Operator sets this variable before; without it, the plan does.
            Mode::Daemonset => "http://$(OTEL_NODE_IP):4318".to_owned(),
            Mode::Sidecar => "http://localhost:4318".to_owned(),
        }
    }
}

/// The environment of all applications. Agents differ, by language and version, in what they send and how if nothing is
/// said; and the Collector here takes traces only.
pub(super) fn common_environment() -> [EnvSetting; 4] {
    [
        EnvSetting::text("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        EnvSetting::text("OTEL_TRACES_EXPORTER", "otlp"),
        EnvSetting::text("OTEL_METRICS_EXPORTER", "none"),
        EnvSetting::text("OTEL_LOGS_EXPORTER", "none"),
    ]
}

/// The environment by which SDKs that know it ask a remote sampler: of those that are injected, the one of Java.
pub(super) fn remote_sampler_environment(address: &str) -> [EnvSetting; 2] {
    let argument =
        format!("endpoint=http://{address},pollingIntervalMs=60000,initialSamplingRate=1");
    [
        EnvSetting::text("OTEL_TRACES_SAMPLER", "parentbased_jaeger_remote"),
        EnvSetting::text("OTEL_TRACES_SAMPLER_ARG", argument),
    ]
}

/// A label of RFC 1123, as names of namespaces are.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_address(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    text.bytes().all(allowed)
        && text
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
