//! E-mail addresses, telephone numbers, and addresses of networks.

use std::net::{Ipv4Addr, Ipv6Addr};

use phonenumber::country;
use regex::Regex;

use crate::pii::Kind;
use crate::pii::detect::context::{Context, Marks};
use crate::pii::detect::text::{begins_apart, digits_of, ends_apart, is_apart, word_before};
use crate::pii::detect::{Found, Hit};

pub(super) const EMAIL: &str =
    r"[\pL\pN_][\pL\pN_.%+'&~-]*(?:@|%40)[\pL\pN](?:[\pL\pN-]*\.)+\pL[\pL\pN-]+";
pub(super) const IP4: &str = r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}";
pub(super) const IP6: &str = "(?:[0-9A-Fa-f]{1,4}:|::)[0-9A-Fa-f:]{1,39}(?:[.][0-9]{1,3}){0,3}";
pub(super) const MAC: &str = "[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})";
pub(super) const PLUS: &str = r"\+[0-9][0-9 ().\-/]{5,20}[0-9]";
pub(super) const PHONE: &str = r"\(?[0-9][0-9 ().\-/]{5,18}[0-9]";

/// Ends of file names that look like ends of domains.
const FILE_ENDS: [&str; 12] = [
    "png", "jpg", "jpeg", "gif", "svg", "webp", "js", "mjs", "css", "json", "html", "yaml",
];

/// Fewer digits are no telephone number of anybody.
const PHONE_DIGITS_MIN: usize = 7;

pub(super) fn emails(pattern: &Regex, out: &mut Found<'_>) {
    // Each fit is looked at once: local parts have no bound, and fits inside of refused ones are refused as well.
    for found in pattern.find_iter(out.text) {
        if is_email(
            found.as_str(),
            out.text.get(found.end()..).unwrap_or_default(),
        ) {
            out.hits.push(Hit {
                start: found.start(),
                end: found.end(),
                label: Kind::Email.at(),
            });
        }
    }
}

fn is_email(shown: &str, after: &str) -> bool {
    let parts = shown.split_once('@').or_else(|| shown.rsplit_once("%40"));
    let Some((local, domain)) = parts else {
        return false;
    };
    let mut labels = domain.split('.');
    let is_number = |label: Option<&str>| {
        label.is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // `lodash@4.17.21-beta.rc` is a version.
    let is_version = is_number(labels.next()) && is_number(labels.next());
    let last = domain.rsplit('.').next().unwrap_or_default();
    let is_file = FILE_ENDS.contains(&&*last.to_ascii_lowercase());
    // `git@host:path` is how repositories are named.
    let is_repository = local == "git" && after.starts_with(':');
    !is_version && !is_file && !is_repository
}

pub(super) fn ip4(pattern: &Regex, all: bool, marks: &Marks, out: &mut Found<'_>) {
    out.each(pattern, Kind::IpAddress, |text, start, end| {
        let address: Ipv4Addr = text.get(start..end)?.parse().ok()?;
        let is_sought = all || is_public(address);
        let is_version = is_version(text, start, marks);
        (is_sought && !is_version && is_apart(text, start, end)).then_some(end)
    });
}

/// Whether four numbers are a version: after such a word, or after the name of a product as in `Agent/1.2.3.4`.
fn is_version(text: &str, start: usize, marks: &Marks) -> bool {
    if marks.is_right_before(start, Context::VERSION) {
        return true;
    }
    let before = text.get(..start).unwrap_or_default();
    let Some(before) = before.strip_suffix('/') else {
        return false;
    };
    let product = word_before(before, before.len());
    let ahead = before.strip_suffix(product).unwrap_or_default();
    product.starts_with(|first: char| first.is_ascii_alphabetic())
        && (ahead.is_empty() || ahead.ends_with([' ', '(', ';']))
}

/// Outside of private, local and shared networks. Addresses of documentation count, as they stand for public ones.
fn is_public(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || is_shared
        || matches!(first, 0 | 240..))
}

pub(super) fn ip6(pattern: &Regex, all: bool, out: &mut Found<'_>) {
    out.each(pattern, Kind::IpAddress, |text, start, end| {
        let shown = text.get(start..end)?;
        let shown = shown.trim_end_matches(':');
        let end = start + shown.len();
        let address: Ipv6Addr = shown.parse().ok()?;
        let is_public = match address.to_ipv4_mapped() {
            Some(mapped) => is_public(mapped),
            None => address
                .segments()
                .first()
                .is_some_and(|first| first >> 13 == 1),
        };
        let has_digit = shown.bytes().any(|byte| byte.is_ascii_digit());
        let is_whole = is_apart(text, start, end) && !continues(text, start, end, 4);
        ((all || is_public) && has_digit && is_whole).then_some(end)
    });
}

pub(super) fn macs(pattern: &Regex, out: &mut Found<'_>) {
    out.each(pattern, Kind::MacAddress, |text, start, end| {
        let shown = text.get(start..end)?.to_ascii_lowercase();
        let has_letter = shown.bytes().any(|byte| byte.is_ascii_alphabetic());
        let is_anybody = shown.bytes().all(|byte| matches!(byte, b'f' | b':' | b'-'));
        let is_whole = is_apart(text, start, end) && !continues(text, start, end, 2);
        (has_letter && !is_anybody && is_whole).then_some(end)
    });
}

/// Whether groups of hexadecimal digits go on before or after.
fn continues(text: &str, start: usize, end: usize, longest: usize) -> bool {
    let is_group = |word: &str| {
        (1..=longest).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let before = text.get(..start).unwrap_or_default();
    let goes_before = before.strip_suffix(':').is_some_and(|before| {
        let word = word_before(before, before.len());
        is_group(word)
    });
    let after = text.get(end..).unwrap_or_default();
    let goes_after = after.strip_prefix(':').is_some_and(|after| {
        // A port may follow an address in brackets only, so a number here is a group.
        after.starts_with(|first: char| first.is_ascii_hexdigit() || first == ':')
    });
    goes_before || goes_after
}

/// With a country code.
pub(super) fn phones(pattern: &Regex, out: &mut Found<'_>) {
    out.each(pattern, Kind::Phone, |text, start, end| {
        let is_valid = |shown: &str| {
            let parsed = phonenumber::parse(None, shown);
            parsed.is_ok_and(|number| number.is_valid())
        };
        let first = begins_apart(text, start);
        first.then(|| longest(text, start, end, is_valid)).flatten()
    });
}

/// Without one, near a word or under a key that says what it is.
pub(super) fn named_phones(
    pattern: &Regex,
    regions: &[country::Id],
    marks: &Marks,
    out: &mut Found<'_>,
) {
    out.each(pattern, Kind::Phone, |text, start, end| {
        let is_valid = |shown: &str| {
            !is_date(shown)
                && regions.iter().any(|region| {
                    let parsed = phonenumber::parse(Some(*region), shown);
                    parsed.is_ok_and(|number| number.is_valid())
                })
        };
        let is_named = begins_apart(text, start) && marks.near(start, end).has(Context::PHONE);
        is_named
            .then(|| longest(text, start, end, is_valid))
            .flatten()
    });
}

/// The end of the longest piece that is valid: what follows may be another number.
fn longest(
    text: &str,
    start: usize,
    mut end: usize,
    is_valid: impl Fn(&str) -> bool,
) -> Option<usize> {
    loop {
        let shown = text.get(start..end)?;
        if digits_of(shown).len() < PHONE_DIGITS_MIN {
            return None;
        }
        if ends_apart(text, end) && is_valid(shown) {
            return Some(end);
        }
        let cut = shown.rfind(|character: char| !character.is_ascii_digit())?;
        end = start
            + shown
                .get(..cut)?
                .trim_end_matches(|last: char| !last.is_ascii_digit())
                .len();
    }
}

/// `2026-11-25` and the like.
fn is_date(shown: &str) -> bool {
    let shape: String = shown
        .chars()
        .map(|character| {
            if character.is_ascii_digit() {
                '0'
            } else {
                character
            }
        })
        .collect();
    ["0000-00-00", "0000/00/00", "0000.00.00"]
        .iter()
        .any(|date| shape.starts_with(date))
}
