//! Payment cards.

use regex::Regex;

use crate::pii::Kind;
use crate::pii::detect::Found;
use crate::pii::detect::text::{digits_of, is_apart};

/// Numbers in the groups in which cards show them, with spaces (those that break no line, too) or hyphens between.
pub(super) const GROUPED: &str = r"(?x)
    [0-9]{4} (?: [\ \x{a0}\x{2009}\x{202f}] [0-9]{4} ){2} [\ \x{a0}\x{2009}\x{202f}] [0-9]{1,7}
    | [0-9]{4} (?: - [0-9]{4} ){2} - [0-9]{1,7}
    | [0-9]{4} [\ \x{a0}\x{2009}\x{202f}] [0-9]{6} [\ \x{a0}\x{2009}\x{202f}] [0-9]{4,5}
    | [0-9]{4} - [0-9]{6} - [0-9]{4,5}";

/// Cards in groups need no word beside them.
pub(super) fn grouped(pattern: &Regex, out: &mut Found<'_>) {
    out.each(pattern, Kind::Card, |text, start, end| {
        let shown = text.get(start..end)?;
        (is_card(&digits_of(shown)) && is_apart(text, start, end)).then_some(end)
    });
}

/// Whether an issuer gives numbers of this beginning and length, and the check digit is right.
pub(super) fn is_card(digits: &[u8]) -> bool {
    let length = digits.len();
    let beginning = |count: usize| {
        let first = digits.get(..count).unwrap_or_default();
        crate::pii::detect::text::number(first)
    };
    let (one, two, three, four, six) = (
        beginning(1),
        beginning(2),
        beginning(3),
        beginning(4),
        beginning(6),
    );
    let is_issued = match length {
        12..=19 if matches!(four, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763) => true,
        13 | 19 if one == 4 => true,
        14 => matches!(three, 300..=305) || matches!(two, 36 | 38 | 39),
        15 => matches!(two, 34 | 37),
        16 if one == 4 || matches!(two, 51..=55) || matches!(four, 2221..=2720) => true,
        16..=19 => {
            matches!(four, 3528..=3589 | 6011 | 2200..=2204)
                || matches!(three, 644..=649)
                || matches!(two, 62 | 65)
                || matches!(six, 622_126..=622_925)
        }
        _ => false,
    };
    is_issued && passes_luhn(digits)
}

/// The check digit by Luhn.
pub(super) fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(*digit);
            let doubled = if at % 2 == 1 { 2 * digit } else { digit };
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    sum.is_multiple_of(10)
}
