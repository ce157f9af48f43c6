//! Trace files as a Collector's file exporter writes them.

use std::fmt::Write as _;
use std::path::Path;

/// SERVER spans of one service, one a line of OTLP/JSON.
pub(crate) struct Requests<'a> {
    pub(crate) service: &'a str,
    /// How many.
    pub(crate) count: u64,
    /// Every n-th one fails; 0 for none.
    pub(crate) failing: u64,
    pub(crate) duration_millis: u64,
}

/// Seconds since the Unix epoch at which the first request starts.
pub(crate) const START_SECS: u64 = 1_700_000_000;

/// The lines of these requests, ten a second from [`START_SECS`] on.
pub(crate) fn lines(requests: &Requests<'_>) -> String {
    let mut text = String::new();
    for n in 0..requests.count {
        let start = START_SECS * 1_000_000_000 + n * 100_000_000;
        let end = start + requests.duration_millis * 1_000_000;
        let fails = requests.failing > 0 && n % requests.failing == 0;
        let status = if fails { r#"{"code":2}"# } else { "{}" };
        writeln!(
            text,
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{}"}}}}]}},"scopeSpans":[{{"spans":[{{"traceId":"{:032x}","spanId":"{:016x}","name":"GET /","kind":2,"startTimeUnixNano":"{start}","endTimeUnixNano":"{end}","status":{status}}}]}}]}}]}}"#,
            requests.service,
            n + 1,
            n + 1,
        )
        .unwrap();
    }
    text
}

/// Writes the requests to a file and gives its name.
pub(crate) fn write(dir: &Path, name: &str, all: &[Requests<'_>]) -> String {
    let path = dir.join(name);
    let text: String = all.iter().map(lines).collect();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}
