//! Operation names: what a span is called, with its unbounded parts templated.
//!
//! The rules are fixed, not learned, since replicas must agree on the name. They work on bytes and write into a buffer
//! of the caller, so they allocate nothing.

use crate::model::series::SeriesId;

/// Longer names are cut here, so that one attribute cannot fill the memory.
pub const OPERATION_BYTES_MAX: usize = 256;

const ID: &[u8] = b"{id}";
const HEX: &[u8] = b"{hex}";
const EMAIL: &[u8] = b"{email}";

/// Fewer digits inside a word are part of its meaning (`v2`, `s3`, `utf-16`).
const EMBEDDED_DIGITS_MIN: usize = 4;
const HEX_DIGITS_MIN: usize = 8;
const RANDOM_CHARS_MIN: usize = 20;
const RANDOM_DIGITS_MIN: usize = 4;

/// So many digits in groups are a date, a telephone number or the number of a person.
const GROUPED_DIGITS_MIN: usize = 7;

/// Series of the names that were seen last, since templating and hashing again costs more than a look.
///
/// Direct-mapped: a name takes the place of another one with the same low bits.
#[derive(Clone, Debug)]
pub struct OperationScratch {
    seen: Box<[(u128, SeriesId)]>,
    /// For hashing.
    pub(super) buffer: Vec<u8>,
}

/// Names remembered, a power of two: 128 KiB a receiver thread.
const NAMES_SEEN: usize = 4_096;

impl Default for OperationScratch {
    fn default() -> Self {
        Self {
            seen: vec![(0, SeriesId(0)); NAMES_SEEN].into_boxed_slice(),
            buffer: Vec::new(),
        }
    }
}

impl OperationScratch {
    #[inline]
    pub(super) fn series_of(
        &mut self,
        named: u128,
        compute: impl FnOnce() -> SeriesId,
    ) -> SeriesId {
        let Some(place) = self.seen.get_mut(named as usize % NAMES_SEEN) else {
            return compute();
        };
        if place.0 != named {
            *place = (named, compute());
        }
        place.1
    }
}

/// Appends `name` to `out` with its ids, hexadecimal numbers and e-mail addresses replaced, query string removed.
///
/// Words end at a space or a slash; `{…}`, `:…` and `<…>` are templates already and stay.
pub fn template_into(out: &mut Vec<u8>, name: &[u8]) {
    let start = out.len();
    let name = name.get(..OPERATION_BYTES_MAX).unwrap_or(name);
    if !name
        .iter()
        .any(|byte| byte.is_ascii_digit() || matches!(byte, b'@' | b'?'))
    {
        out.extend_from_slice(name);
        return;
    }
    for word in name.split_inclusive(|byte| matches!(byte, b' ' | b'/')) {
        let (word, end) = match word.split_last() {
            Some((b' ', word)) => (word, &b" "[..]),
            Some((b'/', word)) => (word, &b"/"[..]),
            _ => (word, &b""[..]),
        };
        let query = word.iter().position(|byte| *byte == b'?');
        template_word(out, word.get(..query.unwrap_or(word.len())).unwrap_or(word));
        // A query string may hold slashes; nothing after it belongs to the route.
        if query.is_some() && out.len() > start {
            return;
        }
        out.extend_from_slice(end);
    }
}

/// The template of a name, as text; bytes that are not UTF-8 become replacement characters.
pub fn template(name: &[u8]) -> String {
    let mut out = Vec::with_capacity(name.len());
    template_into(&mut out, name);
    String::from_utf8_lossy(&out).into_owned()
}

fn template_word(out: &mut Vec<u8>, word: &[u8]) {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    if word.contains(&b'@') && word.contains(&b'.') {
        out.extend_from_slice(EMAIL);
    } else if digits == 0 || matches!(word.first(), Some(b'{' | b':' | b'<')) {
        out.extend_from_slice(word);
    } else if digits == word.len() || is_uuid(word) || is_grouped(word, digits) {
        out.extend_from_slice(ID);
    } else if is_hex(word) {
        out.extend_from_slice(HEX);
    } else if is_random(word, digits) {
        out.extend_from_slice(ID);
    } else {
        template_parts(out, word);
    }
}

/// Replaces the parts of `order-48151623` and the like.
fn template_parts(out: &mut Vec<u8>, word: &[u8]) {
    for part in word.split_inclusive(|byte| !byte.is_ascii_alphanumeric()) {
        let (part, end) = match part.split_last() {
            Some((last, head)) if !last.is_ascii_alphanumeric() => (head, part.get(head.len()..)),
            _ => (part, None),
        };
        let digits = part.iter().filter(|byte| byte.is_ascii_digit()).count();
        if digits == part.len() && digits >= EMBEDDED_DIGITS_MIN {
            out.extend_from_slice(ID);
        } else if is_hex(part) {
            out.extend_from_slice(HEX);
        } else if is_random(part, digits) {
            out.extend_from_slice(ID);
        } else {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(end.unwrap_or_default());
    }
}

/// Groups of digits: `2026-11-25`, `536-90-4399`, `+1.415.555.0199`.
fn is_grouped(word: &[u8], digits: usize) -> bool {
    let is_part =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'+' | b'(' | b')');
    digits >= GROUPED_DIGITS_MIN && word.iter().all(is_part)
}

fn is_uuid(word: &[u8]) -> bool {
    word.len() == 36
        && word
            .iter()
            .enumerate()
            .all(|(position, byte)| match position {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
}

/// At least eight hexadecimal digits, a decimal one and a letter among them (`deadbeef` may be a word).
fn is_hex(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"0x").unwrap_or(word);
    word.len() >= HEX_DIGITS_MIN
        && word.iter().all(u8::is_ascii_hexdigit)
        && word.iter().any(u8::is_ascii_digit)
}

/// Long runs of letters and digits: tokens, ULIDs, base62 ids.
fn is_random(word: &[u8], digits: usize) -> bool {
    word.len() >= RANDOM_CHARS_MIN
        && digits >= RANDOM_DIGITS_MIN
        && word
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'='))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unbounded_parts_are_replaced_and_the_rest_stays() {
        for (name, expected) in [
            ("GET /users/{id}", "GET /users/{id}"),
            ("GET /users/17", "GET /users/{id}"),
            ("GET /users/17/orders/9", "GET /users/{id}/orders/{id}"),
            ("GET /api/v2/users", "GET /api/v2/users"),
            ("GET /s3/bucket", "GET /s3/bucket"),
            ("/items/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/items/{id}"),
            ("/blob/9f86d081884c7d65", "/blob/{hex}"),
            ("/blob/0x9f86d081", "/blob/{hex}"),
            ("/mail/jane.doe@example.com/inbox", "/mail/{email}/inbox"),
            ("process order-48151623", "process order-{id}"),
            ("utf-16 decode", "utf-16 decode"),
            ("GET /days/2026-11-25", "GET /days/{id}"),
            ("GET /people/536-90-4399/mail", "GET /people/{id}/mail"),
            ("call +1(415)555.0199", "call {id}"),
            ("GET /v1.20.3", "GET /v1.20.3"),
            ("GET 10.0.0.7", "GET 10.0.0.7"),
            ("GET /search?q=shoes/2024&page=3", "GET /search"),
            ("/t/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/t/{id}"),
            ("GET /users/:id9", "GET /users/:id9"),
            ("GET /users/<int:id2>", "GET /users/<int:id2>"),
            ("shop.Cart/AddItem", "shop.Cart/AddItem"),
            ("deadbeef", "deadbeef"),
            ("?", ""),
            ("", ""),
        ] {
            assert_eq!(template(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(
            template("a".repeat(10_000).as_bytes()).len(),
            OPERATION_BYTES_MAX
        );
    }

    proptest! {
        #[test]
        fn property_templating_twice_changes_nothing(name in "[a-z0-9/ @?._-]{0,80}") {
            let once = template(name.as_bytes());
            prop_assert_eq!(template(once.as_bytes()), once);
        }

        #[test]
        fn property_the_number_of_an_id_does_not_matter(first in 0..u64::MAX, second in 0..u64::MAX) {
            prop_assert_eq!(template(format!("GET /a/{first}/b").as_bytes()), template(format!("GET /a/{second}/b").as_bytes()));
        }

        #[test]
        fn property_no_bytes_panic(name in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut out = Vec::new();
            template_into(&mut out, &name);
            // A template is at most five bytes for the one byte that asked for it.
            prop_assert!(out.len() <= 5 * name.len());
        }
    }
}
