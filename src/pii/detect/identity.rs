//! Bank accounts, and numbers that states give to people.

use iban::Iban;
use regex::Regex;

use crate::pii::Kind;
use crate::pii::detect::Found;
use crate::pii::detect::card::{is_card, passes_luhn};
use crate::pii::detect::context::{Context, Marks};
use crate::pii::detect::text::{digit, digits_of, is_apart, number, weighted};

pub(super) const IBAN: &str = r"[A-Z]{2}[0-9]{2}(?:[ \x{a0}\x{2009}\x{202f}]?[A-Z0-9]){11,30}";

/// In small letters it looks like many an id, so a word must name it.
pub(super) const SMALL_IBAN: &str =
    r"[A-Za-z]{2}[0-9]{2}(?:[ \x{a0}\x{2009}\x{202f}]?[A-Za-z0-9]){11,30}";

/// Runs of digits that a word may name; single spaces, dots and hyphens between.
pub(super) const DIGITS: &str = "[0-9](?:[ .-]?[0-9]){8,30}";

/// Whether digits are a number of a kind.
type DigitsCheck = fn(&[u8]) -> bool;

/// Whether a text of the right shape is one.
pub(super) type Check = fn(&str) -> bool;

/// Shapes that are rare enough, or checks that are strict enough, to need no word beside them.
pub(super) const FORMATTED: &[(&str, Check)] = &[
    // United States: social security number.
    ("[0-9]{3}-[0-9]{2}-[0-9]{4}", is_ssn),
    // United Kingdom: national insurance number.
    ("[A-Z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", is_nino),
    // Spain: DNI, and NIE of foreigners.
    ("[0-9]{8}[ -]?[A-Z]|[XYZ]-?[0-9]{7}-?[A-Z]", is_dni),
    // Italy: codice fiscale, with letters for digits where two people would share one.
    (
        "[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]",
        is_codice_fiscale,
    ),
    // France: INSEE number in its groups.
    (
        "[12] [0-9]{2} [0-9]{2} [0-9][0-9AB] [0-9]{3} [0-9]{3} [0-9]{2}",
        is_insee_text,
    ),
    // Switzerland: AHV number.
    (r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", is_ahv),
    // Brazil: CPF.
    (r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", is_cpf),
    // Finland: henkilötunnus.
    ("[0-9]{6}[-+A-F][0-9]{3}[0-9A-FHJ-NPR-Y]", is_hetu),
];

/// Numbers that count only near a word that names them.
const NAMED: &[(Context, Kind, DigitsCheck)] = &[
    (Context::CARD, Kind::Card, is_card),
    (Context::SSN, Kind::NationalId, is_ssn_digits),
    (Context::STEUER, Kind::NationalId, is_steuer_id),
    (Context::INSEE, Kind::NationalId, is_insee),
    (Context::PESEL, Kind::NationalId, is_pesel),
    (Context::BSN, Kind::NationalId, is_bsn),
    (Context::AADHAAR, Kind::NationalId, is_aadhaar),
    (Context::SIN, Kind::NationalId, is_sin),
    (Context::PERSONNUMMER, Kind::NationalId, is_personnummer),
];

/// An IBAN ends where its country says; letters and digits after it may belong to the next word.
pub(super) fn ibans(pattern: &Regex, out: &mut Found<'_>) {
    out.each(pattern, Kind::Iban, iban_end);
}

/// In small or mixed letters, beside a word that says what it is.
pub(super) fn named_ibans(pattern: &Regex, marks: &Marks, out: &mut Found<'_>) {
    out.each(pattern, Kind::Iban, |text, start, end| {
        let is_named = marks.near(start, end).has(Context::IBAN);
        is_named.then(|| iban_end(text, start, end)).flatten()
    });
}

fn iban_end(text: &str, start: usize, end: usize) -> Option<usize> {
    let ends = (start + 15..=end).rev();
    ends.filter(|end| is_apart(text, start, *end)).find(|end| {
        let shown = text.get(start..*end).unwrap_or_default();
        let compact: String = shown.chars().filter(|own| !own.is_whitespace()).collect();
        !shown.ends_with(char::is_whitespace)
            && compact.to_ascii_uppercase().parse::<Iban>().is_ok()
    })
}

pub(super) fn formatted(patterns: &[(Regex, Check)], out: &mut Found<'_>) {
    for (pattern, check) in patterns {
        out.each(pattern, Kind::NationalId, |text, start, end| {
            let shown = text.get(start..end)?;
            (check(shown) && is_apart(text, start, end)).then_some(end)
        });
    }
}

/// Looks at all groups of digits, and at those that stand together, which a word names.
pub(super) fn named(pattern: &Regex, marks: &Marks, out: &mut Found<'_>) {
    let text = out.text;
    for run in pattern.find_iter(text) {
        let near = marks.near(run.start(), run.end());
        let groups = groups_of(run.as_str(), run.start());
        let mut next = 0;
        while next < groups.len() {
            let found = (next..groups.len()).rev().find_map(|last| {
                let (start, end) = (groups.get(next)?.0, groups.get(last)?.1);
                let digits = digits_of(text.get(start..end)?);
                let mut kinds = NAMED.iter();
                let (_, kind, _) =
                    kinds.find(|(context, _, check)| near.has(*context) && check(&digits))?;
                is_apart(text, start, end).then_some((start, end, *kind, last))
            });
            next += 1;
            if let Some((start, end, kind, last)) = found {
                out.push(start, end, kind);
                next = last + 1;
            }
        }
    }
}

/// Where the groups of digits of a run stand.
fn groups_of(run: &str, offset: usize) -> Vec<(usize, usize)> {
    let mut groups = Vec::new();
    let mut at = offset;
    for group in run.split(|character: char| !character.is_ascii_digit()) {
        groups.push((at, at + group.len()));
        at += group.len() + 1;
    }
    groups
}

fn is_ssn(text: &str) -> bool {
    is_ssn_digits(&digits_of(text))
}

/// Areas, groups and serials that were never given; the two that were printed in advertisements are nobody's.
fn is_ssn_digits(digits: &[u8]) -> bool {
    let part = |from: usize, to: usize| number(digits.get(from..to).unwrap_or_default());
    let (area, group, serial) = (part(0, 3), part(3, 5), part(5, 9));
    let is_nobody = matches!(number(digits), 78_051_120 | 219_099_999);
    digits.len() == 9 && !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0 && !is_nobody
}

/// By the rules of HMRC for prefixes.
fn is_nino(text: &str) -> bool {
    let mut letters = text.chars().filter(char::is_ascii_alphabetic);
    let (Some(first), Some(second)) = (letters.next(), letters.next()) else {
        return false;
    };
    let prefix: String = [first, second].iter().collect();
    !matches!(first, 'D' | 'F' | 'I' | 'Q' | 'U' | 'V')
        && !matches!(second, 'D' | 'F' | 'I' | 'O' | 'Q' | 'U' | 'V')
        && !["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].contains(&&*prefix)
}

fn is_dni(text: &str) -> bool {
    let digits = digits_of(text);
    let leading = match text.chars().next() {
        Some('Y') => 1,
        Some('Z') => 2,
        _ => 0,
    };
    let ten_million = 10_000_000;
    let value = if digits.len() == 7 {
        leading * ten_million + number(&digits)
    } else {
        number(&digits)
    };
    let letters = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let at = usize::try_from(value % 23).unwrap_or_default();
    text.bytes().next_back() == letters.get(at).copied()
}

/// The check letter by the odd and even places.
fn is_codice_fiscale(text: &str) -> bool {
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let value = |byte: u8| match byte {
        b'0'..=b'9' => usize::from(byte - b'0'),
        _ => usize::from(byte.saturating_sub(b'A')),
    };
    let Some((last, head)) = text.as_bytes().split_last() else {
        return false;
    };
    let sum: u32 = head
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            let value = value(*byte);
            if at % 2 == 0 {
                ODD.get(value).copied().unwrap_or(0)
            } else {
                u32::try_from(value).unwrap_or(0)
            }
        })
        .sum();
    u32::from(last.saturating_sub(b'A')) == sum % 26
}

/// Départements of Corsica have letters: 2A counts as 19, 2B as 18.
fn is_insee_text(text: &str) -> bool {
    is_insee(&digits_of(&text.replace("2A", "19").replace("2B", "18")))
}

fn is_insee(digits: &[u8]) -> bool {
    let Some((body, key)) = digits.split_at_checked(13) else {
        return false;
    };
    let month = number(body.get(3..5).unwrap_or_default());
    let is_month = matches!(month, 1..=12 | 20 | 30..=42 | 50..=99);
    key.len() == 2
        && matches!(body.first(), Some(1 | 2))
        && is_month
        && 97 - number(body) % 97 == number(key)
}

/// The check digit of an EAN-13.
fn is_ahv(text: &str) -> bool {
    let digits = digits_of(text);
    let sum = weighted(&digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]);
    sum.is_multiple_of(10)
}

fn is_cpf(text: &str) -> bool {
    let digits = digits_of(text);
    let check = |weights: &[u32]| match weighted(&digits, weights) * 10 % 11 {
        10 => 0,
        rest => rest,
    };
    let is_repeated = digits.windows(2).all(|pair| pair.first() == pair.last());
    !is_repeated
        && check(&[10, 9, 8, 7, 6, 5, 4, 3, 2]) == digit(&digits, 9)
        && check(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) == digit(&digits, 10)
}

/// The day and month are right, and the check character is that of the number by 31.
fn is_hetu(text: &str) -> bool {
    let Some((head, last)) = text.split_at_checked(10) else {
        return false;
    };
    let digits = digits_of(head);
    let (day, month) = (
        number(digits.get(..2).unwrap_or_default()),
        number(digits.get(2..4).unwrap_or_default()),
    );
    let letters = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let at = usize::try_from(number(&digits) % 31).unwrap_or_default();
    digits.len() == 9
        && (1..=31).contains(&day)
        && (1..=12).contains(&month)
        && last.bytes().next() == letters.get(at).copied()
}

/// Germany: ISO 7064 MOD 11,10, and of the first ten digits one stands twice or three times, the others once at most.
fn is_steuer_id(digits: &[u8]) -> bool {
    let Some((body, check)) = digits.split_at_checked(10) else {
        return false;
    };
    let mut counts = [0_u8; 10];
    for digit in body {
        if let Some(count) = counts.get_mut(usize::from(*digit)) {
            *count += 1;
        }
    }
    let repeated: Vec<u8> = counts.into_iter().filter(|count| *count > 1).collect();
    let mut product = 10;
    for digit in body {
        let sum = (u32::from(*digit) + product) % 10;
        product = 2 * if sum == 0 { 10 } else { sum } % 11;
    }
    let expected = (11 - product) % 10;
    check.len() == 1
        && body.first() != Some(&0)
        && matches!(repeated.as_slice(), [2 | 3])
        && digit(check, 0) == expected
}

/// Poland: a date, whose month also tells the century, and the check digit.
fn is_pesel(digits: &[u8]) -> bool {
    let month = number(digits.get(2..4).unwrap_or_default()) % 20;
    let day = number(digits.get(4..6).unwrap_or_default());
    let sum = weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    digits.len() == 11
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && sum.is_multiple_of(10)
}

/// The Netherlands: the eleven test, the last digit with a weight of −1.
fn is_bsn(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2]);
    digits.len() == 9 && sum > 0 && sum % 11 == digit(digits, 8)
}

/// India: Verhoeff, and no 0 or 1 in front.
fn is_aadhaar(digits: &[u8]) -> bool {
    digits.len() == 12 && digit(digits, 0) >= 2 && passes_verhoeff(digits)
}

/// Canada: Luhn, and no 0 or 8 in front.
fn is_sin(digits: &[u8]) -> bool {
    digits.len() == 9 && !matches!(digits.first(), Some(0 | 8)) && passes_luhn(digits)
}

/// Sweden: a date and Luhn, the century left out.
fn is_personnummer(digits: &[u8]) -> bool {
    let short = match digits.len() {
        10 => digits,
        12 => digits.get(2..).unwrap_or_default(),
        _ => return false,
    };
    let month = number(short.get(2..4).unwrap_or_default());
    let day = number(short.get(4..6).unwrap_or_default());
    (1..=12).contains(&month) && (1..=91).contains(&day) && passes_luhn(short)
}

/// In the dihedral group of order ten: digits below five turn, the others turn and mirror.
fn passes_verhoeff(digits: &[u8]) -> bool {
    const TURNS: [[usize; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    let product = |left: usize, right: usize| match (left < 5, right < 5) {
        (true, true) => (left + right) % 5,
        (true, false) => 5 + (left + right - 5) % 5,
        (false, true) => 5 + (left - 5 + 5 - right) % 5,
        (false, false) => (left - 5 + 5 - (right - 5)) % 5,
    };
    let mut check = 0;
    for (at, digit) in digits.iter().rev().enumerate() {
        let turned = TURNS
            .get(at % 8)
            .and_then(|row| row.get(usize::from(*digit)));
        check = product(check, turned.copied().unwrap_or(0));
    }
    check == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, its check, what is right by its authority or by articles about it, and what is wrong.
    type Row<C> = (
        &'static str,
        C,
        &'static [&'static str],
        &'static [&'static str],
    );

    #[test]
    fn published_digits_pass_their_checks_and_others_do_not() {
        let rows: [Row<DigitsCheck>; 7] = [
            (
                "Steuer-ID",
                is_steuer_id,
                &["86095742719", "65929970489"],
                &["86095742710", "00000000000"],
            ),
            (
                "INSEE",
                is_insee,
                &["255081416802538", "185057800608491"],
                &["255081416802539"],
            ),
            (
                "PESEL",
                is_pesel,
                &["44051401359", "02070803628"],
                &["44051401358", "44991401359"],
            ),
            (
                "BSN",
                is_bsn,
                &["111222333", "123456782"],
                &["123456789", "000000000"],
            ),
            (
                "Verhoeff",
                passes_verhoeff,
                &["2363", "123451"],
                &["2364", "123450"],
            ),
            ("SIN", is_sin, &["130692544"], &["130692545", "046454286"]),
            (
                "personnummer",
                is_personnummer,
                &["8112189876", "198112189876"],
                &["8112189875"],
            ),
        ];
        for (name, check, right, wrong) in rows {
            let check = |text: &str| check(&digits_of(text));
            assert!(right.iter().all(|text| check(text)), "{name}");
            assert!(!wrong.iter().any(|text| check(text)), "{name}");
        }
    }

    #[test]
    fn published_numbers_pass_their_checks_and_others_do_not() {
        let rows: [Row<Check>; 8] = [
            (
                "SSN",
                is_ssn,
                &["536-90-4399"],
                &[
                    "000-12-3456",
                    "666-12-3456",
                    "912-12-3456",
                    "536-00-4399",
                    "078-05-1120",
                ],
            ),
            (
                "NINO",
                is_nino,
                &["AB123456C"],
                &["BG123456C", "DA123456A", "AO123456A"],
            ),
            (
                "DNI",
                is_dni,
                &["12345678Z", "X1234567L", "Y1234567X"],
                &["12345678A", "X1234567A"],
            ),
            (
                "codice fiscale",
                is_codice_fiscale,
                &["RSSMRA85T10A562S"],
                &["RSSMRA85T10A562T"],
            ),
            (
                "INSEE",
                is_insee_text,
                &["2 55 08 14 168 025 38"],
                &["2 55 08 14 168 025 39"],
            ),
            ("AHV", is_ahv, &["756.9217.0769.85"], &["756.9217.0769.84"]),
            (
                "CPF",
                is_cpf,
                &["111.444.777-35"],
                &["111.444.777-36", "111.111.111-11"],
            ),
            (
                "HETU",
                is_hetu,
                &["131052-308T"],
                &["131052-308U", "131352-308T"],
            ),
        ];
        for (name, check, right, wrong) in rows {
            assert!(right.iter().all(|text| check(text)), "{name}");
            assert!(!wrong.iter().any(|text| check(text)), "{name}");
        }
    }
}
