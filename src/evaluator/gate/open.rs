//! What keeps a gate from passing that its parts do not know of.

use crate::evaluator::verdict::REQUEST_SOURCE;
use crate::model::report::Report;

/// What keeps a gate from passing, whatever its parts say.
#[derive(Debug)]
pub(super) enum Open {
    /// The verdict that was asked for is not there, or does not count yet, for this reason.
    Answer(String),
    /// A trace file ends before it should.
    Input,
    /// An objective that must be known is not.
    Requirement,
}

impl Open {
    pub(super) fn of(report: &Report, required_is_open: bool) -> Option<Self> {
        let mut reasons = report.verdict.reasons.iter();
        if let Some(reason) = reasons.find(|reason| reason.source == REQUEST_SOURCE) {
            return Some(Self::Answer(reason.text.clone()));
        }
        let mut files = report.input.iter().flat_map(|input| &input.files);
        if files.any(|file| file.is_truncated) {
            return Some(Self::Input);
        }
        required_is_open.then_some(Self::Requirement)
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Answer(text) => format!("the answer: {text}"),
            Self::Input => {
                "the input: a trace file is cut off, and what is missing may be what fails"
                    .to_owned()
            }
            Self::Requirement => "baseline: a required objective cannot be decided".to_owned(),
        }
    }
}
