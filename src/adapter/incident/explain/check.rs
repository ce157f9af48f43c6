//! Whether an answer rests on what was asked: it cites facts that exist, at least one, and is about the first service.

use crate::adapter::incident::explain::Question;
use crate::model::rca::Explanation;

/// Longest id that is looked for.
const MAX_ID_BYTES: usize = 24;

/// Why an answer is not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfounded {
    /// It says nothing.
    #[error("the answer is empty")]
    Empty,
    /// It cites a fact that it was not given.
    #[error("the answer cites [{id}], which is no fact of the question")]
    UnknownFact {
        /// The id.
        id: String,
    },
    /// It cites nothing.
    #[error("the answer cites no fact")]
    NothingCited,
    /// It does not name the service that is ranked first.
    #[error("the answer does not name {service}, which is ranked first")]
    AnotherCause {
        /// The service.
        service: String,
    },
}

/// Takes an answer if it rests on the question.
pub(super) fn checked(
    question: &Question,
    model: &str,
    answer: &str,
) -> Result<Explanation, Unfounded> {
    let text = answer.trim();
    if text.is_empty() {
        return Err(Unfounded::Empty);
    }
    let mut cited: Vec<String> = Vec::new();
    for id in citations(text) {
        if !question.ids.iter().any(|known| known == id) {
            return Err(Unfounded::UnknownFact { id: id.to_owned() });
        }
        if !cited.iter().any(|known| known == id) {
            cited.push(id.to_owned());
        }
    }
    if cited.is_empty() {
        return Err(Unfounded::NothingCited);
    }
    if !text.contains(&question.first) {
        let service = question.first.clone();
        return Err(Unfounded::AnotherCause { service });
    }
    Ok(Explanation {
        model: model.to_owned(),
        text: text.to_owned(),
        cited,
    })
}

/// What stands in square brackets and looks like ids: a letter and digits, several by commas. Markers of the guardrail and
/// other words in brackets are none.
fn citations(text: &str) -> impl Iterator<Item = &str> {
    let brackets = text.split('[').skip(1);
    let inner = brackets.filter_map(|rest| rest.split_once(']').map(|(inner, _)| inner));
    inner
        .flat_map(|inner| inner.split([',', ';', ' ']))
        .map(str::trim)
        .filter(|word| looks_like_id(word))
}

fn looks_like_id(word: &str) -> bool {
    let mut chars = word.chars();
    let begins = chars.next().is_some_and(|first| first.is_ascii_uppercase());
    let digits = chars.as_str();
    begins
        && word.len() <= MAX_ID_BYTES
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            instructions: String::new(),
            facts: String::new(),
            ids: vec!["E1".to_owned(), "E2".to_owned(), "I7".to_owned()],
            first: "payment".to_owned(),
        }
    }

    #[test]
    fn an_answer_that_cites_what_there_is_is_taken() {
        let text =
            " payment is slow [E1], as once before [I7, E1]; [EMAIL] and [sic] are no facts. ";
        let taken = checked(&question(), "m", text).unwrap();
        assert_eq!(taken.cited, ["E1", "I7"]);
        assert_eq!(taken.text, text.trim());
        assert_eq!(taken.model, "m");
    }

    #[test]
    fn an_answer_that_rests_on_nothing_is_thrown_away() {
        let unfounded = |text: &str| checked(&question(), "m", text).unwrap_err();
        assert_eq!(unfounded(" \n"), Unfounded::Empty);
        assert_eq!(unfounded("payment is slow"), Unfounded::NothingCited);
        let id = "E9".to_owned();
        assert_eq!(
            unfounded("payment is slow [E1] [E9]"),
            Unfounded::UnknownFact { id }
        );
        let service = "payment".to_owned();
        assert_eq!(
            unfounded("the database is slow [E1]"),
            Unfounded::AnotherCause { service }
        );
    }
}
