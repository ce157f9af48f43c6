//! What stands around a candidate.

/// Whether a candidate is a word of its own, and not a part of a longer id, number or name.
pub(super) fn is_apart(text: &str, start: usize, end: usize) -> bool {
    begins_apart(text, start) && ends_apart(text, end)
}

/// Whether nothing before `start` belongs to it.
pub(super) fn begins_apart(text: &str, start: usize) -> bool {
    let mut before = text.get(..start).unwrap_or_default().chars().rev();
    match before.next() {
        Some(character) if is_word(character) => false,
        Some('-' | '.' | '+' | '~') => !before.next().is_some_and(is_word),
        None | Some(_) => true,
    }
}

/// Whether nothing after `end` belongs to it.
pub(super) fn ends_apart(text: &str, end: usize) -> bool {
    let mut after = text.get(end..).unwrap_or_default().chars();
    match after.next() {
        Some(character) if is_word(character) => false,
        Some('-' | '.' | '~') => !after.next().is_some_and(is_word),
        None | Some(_) => true,
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The word of letters and digits that ends at `end`.
pub(super) fn word_before(text: &str, end: usize) -> &str {
    let before = text.get(..end).unwrap_or_default();
    let word = before.trim_end_matches(|character: char| character.is_ascii_alphanumeric());
    before.get(word.len()..).unwrap_or_default()
}

/// The digits of a text as numbers.
pub(super) fn digits_of(text: &str) -> Vec<u8> {
    let digits = text.bytes().filter(u8::is_ascii_digit);
    digits.map(|byte| byte - b'0').collect()
}

/// The digit at a place, 0 beyond the end.
pub(super) fn digit(digits: &[u8], at: usize) -> u32 {
    u32::from(digits.get(at).copied().unwrap_or(0))
}

/// The number that digits write.
pub(super) fn number(digits: &[u8]) -> u64 {
    let digits = digits.iter();
    digits.fold(0, |number, digit| number * 10 + u64::from(*digit))
}

/// Sum of the digits by their weights.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    let pairs = digits.iter().zip(weights);
    pairs
        .map(|(digit, weight)| u32::from(*digit) * weight)
        .sum()
}
