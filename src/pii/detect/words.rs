//! Words and beginnings that occur in a text, found in one walk.

use aho_corasick::{AhoCorasick, MatchKind};

use crate::pii::ConfigProblem;
use crate::pii::detect::Hit;
use crate::pii::detect::context::{self, Context, Marks};
use crate::pii::detect::secret::{self, Strength};
use crate::pii::detect::token::{SHAPES, Shape};

/// What an occurrence calls for.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    Token(&'static Shape),
    Name(Context),
    Secret(Strength),
    Jwt,
    PrivateKey,
    Url,
    Authorization,
    Scheme,
    Cookie,
    EncodedAt,
}

/// All words.
#[derive(Debug)]
pub(super) struct Words {
    automaton: AhoCorasick,
    meanings: Vec<Meaning>,
}

impl Words {
    pub(super) fn new() -> Result<Self, ConfigProblem> {
        let mut words: Vec<(&str, Meaning)> = vec![
            ("eyJ", Meaning::Jwt),
            ("-----BEGIN ", Meaning::PrivateKey),
            ("://", Meaning::Url),
            ("authorization", Meaning::Authorization),
            ("bearer ", Meaning::Scheme),
            ("basic ", Meaning::Scheme),
            ("cookie: ", Meaning::Cookie),
            ("%40", Meaning::EncodedAt),
        ];
        words.extend(
            SHAPES
                .iter()
                .map(|shape| (shape.literal, Meaning::Token(shape))),
        );
        words.extend(
            context::WORDS
                .iter()
                .map(|(word, named)| (*word, Meaning::Name(*named))),
        );
        words.extend(
            secret::NAMES
                .iter()
                .map(|(word, strength)| (*word, Meaning::Secret(*strength))),
        );
        let (literals, meanings): (Vec<&str>, Vec<Meaning>) = words.into_iter().unzip();
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(literals)
            .map_err(|error| ConfigProblem {
                key: "pii".to_owned(),
                message: error.to_string(),
            })?;
        Ok(Self {
            automaton,
            meanings,
        })
    }

    /// Notes what the words name, and finds what they begin.
    pub(super) fn find(&self, text: &str, marks: &mut Marks, hits: &mut Vec<Hit>) {
        for word in self.automaton.find_overlapping_iter(text) {
            let Some(meaning) = self.meanings.get(word.pattern().as_usize()) else {
                continue;
            };
            let (start, end) = (word.start(), word.end());
            let found = match meaning {
                Meaning::Token(shape) => shape.find(text, start),
                Meaning::Name(context) => {
                    if stands_alone(text, start, end) {
                        marks.add(start, end, *context);
                    }
                    None
                }
                Meaning::Secret(strength) => secret::pair(text, start, end, *strength),
                Meaning::Jwt => secret::jwt(text, start),
                Meaning::PrivateKey => secret::private_key(text, start),
                Meaning::Url => secret::user_info(text, end),
                Meaning::Authorization => secret::authorization(text, start, end),
                Meaning::Scheme => secret::credentials(text, start, end),
                Meaning::Cookie => secret::cookie(text, start, end),
                Meaning::EncodedAt => {
                    marks.add_encoded_at();
                    None
                }
            };
            hits.extend(found);
        }
    }
}

/// Whether a word is not a part of a longer one: `card` is none of `discard`, but one of `cardNumber`. Markers name kinds,
/// not numbers.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let before = text
        .get(..start)
        .and_then(|before| before.chars().next_back());
    let after = text.get(end..).and_then(|after| after.chars().next());
    let first = text.get(start..).and_then(|word| word.chars().next());
    let last = text.get(..end).and_then(|word| word.chars().next_back());
    let joins = |left: Option<char>, right: Option<char>| match (left, right) {
        (Some(left), Some(right)) => {
            left.is_alphabetic()
                && right.is_alphabetic()
                && !(left.is_lowercase() && right.is_uppercase())
        }
        _ => false,
    };
    before != Some('[') && !joins(before, first) && !joins(last, after)
}
