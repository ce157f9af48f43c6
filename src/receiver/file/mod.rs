//! stub
use crate::model::batch::EventBatch;
use crate::model::finding::Finding;
use crate::model::span::SpanKind;
use crate::window::event::*;
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FileError(String);
#[derive(Default)]
pub struct FileSettings;
#[derive(Clone, Copy)]
pub enum TraceFormat {
    SpanList,
}
impl TraceFormat {
    pub fn label(self) -> &'static str {
        "span-list"
    }
}
pub struct TraceInput(String);
impl TraceInput {
    pub fn name(&self) -> &str {
        &self.0
    }
    pub fn bytes(&self) -> Option<u64> {
        None
    }
}
pub fn find_inputs(p: &[String]) -> Result<Vec<TraceInput>, FileError> {
    Ok(p.iter().cloned().map(TraceInput).collect())
}
pub trait FileSink {
    fn batch(&mut self, batch: &mut EventBatch);
    fn span_name(&mut self, _s: &[u8], _n: &[u8]) {}
    fn progress(&mut self, _b: u64) {}
}
pub struct FileSummary {
    pub format: Option<TraceFormat>,
    pub spans: u64,
    pub roots: u64,
    pub rejected: [u64; 2],
    pub unreadable_records: u64,
    pub findings: Vec<Finding>,
}
pub fn read_traces(
    input: &TraceInput,
    rules: &EventRules,
    _: &FileSettings,
    sink: &mut impl FileSink,
) -> Result<FileSummary, FileError> {
    let text = std::fs::read_to_string(&input.0).map_err(|e| FileError(e.to_string()))?;
    let mut batch = EventBatch::default();
    let mut scratch = OperationScratch::default();
    if text.starts_with('[') {
        let v: serde_json::Value = serde_json::from_str(&text).unwrap();
        for s in v.as_array().unwrap() {
            let name = s["attributes"][0]["value"]["stringValue"]
                .as_str()
                .unwrap()
                .to_owned();
            let mut r = ResourceAttributes::default();
            r.set(b"service.name", Scalar::Text(name.as_bytes()));
            push_resource(&mut batch, &mut scratch, &r);
            let span = SpanInput {
                name: s["name"].as_str().unwrap().as_bytes(),
                kind: SpanKind::Unspecified,
                has_parent: !s["parentSpanId"].is_null(),
                start: s["startTimeUnixNano"].as_u64().unwrap(),
                end: s["endTimeUnixNano"].as_u64().unwrap(),
                status: if s["status"]["code"] == "ERROR" {
                    SpanStatus::Error
                } else {
                    SpanStatus::Ok
                },
                ..SpanInput::default()
            };
            sink.span_name(b"", span.name);
            push_span(
                &mut batch,
                &mut scratch,
                &span,
                rules.entry_kinds,
                Sampling::Full,
            );
        }
        let (spans, roots) = (batch.spans, batch.roots);
        sink.batch(&mut batch);
        return Ok(FileSummary {
            format: Some(TraceFormat::SpanList),
            spans,
            roots,
            rejected: [0; 2],
            unreadable_records: 0,
            findings: vec![],
        });
    }
    let (mut spans, mut roots) = (0, 0);
    for line in text.lines() {
        crate::receiver::json::collect_json(line.as_bytes(), rules, &mut batch, &mut scratch)
            .map_err(|e| FileError(e.to_string()))?;
        spans += batch.spans;
        roots += batch.roots;
        sink.batch(&mut batch);
    }
    Ok(FileSummary {
        format: Some(TraceFormat::SpanList),
        spans,
        roots,
        rejected: [0; 2],
        unreadable_records: 0,
        findings: vec![],
    })
}
