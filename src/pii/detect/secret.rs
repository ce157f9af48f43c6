//! Secrets that their surroundings tell: pairs, headers, URLs, web tokens, private keys.

use data_encoding::{BASE64, BASE64_NOPAD};

use crate::pii::Kind;
use crate::pii::detect::Hit;

/// How much a name says about what stands after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strength {
    /// A secret, in a query or a pair.
    Strong,
    /// One in the query of a URL; the word has other meanings elsewhere.
    Query,
}

/// Names of secrets, in lower case.
pub(super) const NAMES: &[(&str, Strength)] = &[
    ("password", Strength::Strong),
    ("passwd", Strength::Strong),
    ("passphrase", Strength::Strong),
    ("pwd", Strength::Strong),
    ("secret", Strength::Strong),
    ("client_secret", Strength::Strong),
    ("secret_key", Strength::Strong),
    ("secret_access_key", Strength::Strong),
    ("private_key", Strength::Strong),
    ("api_key", Strength::Strong),
    ("api-key", Strength::Strong),
    ("apikey", Strength::Strong),
    ("access_key", Strength::Strong),
    ("access_token", Strength::Strong),
    ("refresh_token", Strength::Strong),
    ("id_token", Strength::Strong),
    ("auth_token", Strength::Strong),
    ("auth-token", Strength::Strong),
    ("security-token", Strength::Strong),
    ("session_token", Strength::Strong),
    ("token", Strength::Strong),
    ("accountkey", Strength::Strong),
    ("sharedaccesskey", Strength::Strong),
    ("jsessionid", Strength::Strong),
    ("phpsessid", Strength::Strong),
    ("x-amz-signature", Strength::Query),
    ("x-amz-credential", Strength::Query),
    ("x-goog-signature", Strength::Query),
    ("x-goog-credential", Strength::Query),
    ("awsaccesskeyid", Strength::Query),
    ("signature", Strength::Query),
    ("sig", Strength::Query),
    ("key", Strength::Query),
    ("pass", Strength::Query),
    ("auth", Strength::Query),
    ("session", Strength::Query),
    ("sessionid", Strength::Query),
    ("session_id", Strength::Query),
    ("sid", Strength::Query),
    ("code", Strength::Query),
    ("jwt", Strength::Query),
    ("otp", Strength::Query),
];

/// Fewer bytes after a colon, without quotes, are a word of a sentence.
const UNQUOTED_BYTES_MIN: usize = 8;

/// Shorter credentials are words.
const CREDENTIAL_BYTES_MIN: usize = 8;

/// Credentials as long as this need no digit.
const LONG_CREDENTIAL_BYTES: usize = 24;

/// Each part of a web token is at least so long, the signature aside.
const JWT_PART_BYTES_MIN: usize = 8;

fn hit(start: usize, end: usize, kind: Kind) -> Hit {
    Hit {
        start,
        end,
        label: kind.at(),
    }
}

/// Bytes of a text from `at` on for which a condition holds.
fn run(text: &str, at: usize, holds: impl Fn(u8) -> bool) -> usize {
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    rest.iter().take_while(|byte| holds(**byte)).count()
}

fn byte_at(text: &str, at: usize) -> Option<u8> {
    text.as_bytes().get(at).copied()
}

fn byte_before(text: &str, at: usize) -> Option<u8> {
    at.checked_sub(1).and_then(|at| byte_at(text, at))
}

/// The value of `password=…`, `"password": "…"`, `password: …` and the like.
pub(super) fn pair(text: &str, start: usize, end: usize, strength: Strength) -> Option<Hit> {
    let before = byte_before(text, start);
    let begins = match strength {
        Strength::Strong => {
            !before.is_some_and(|byte| byte.is_ascii_alphanumeric()) || is_hump(text, start)
        }
        Strength::Query => matches!(before, Some(b'?' | b'&' | b';')),
    };
    if !begins {
        return None;
    }
    let mut at = end;
    let quotes = run(text, at, |byte| matches!(byte, b'"' | b'\'' | b'\\'));
    at += quotes;
    let spaces = run(text, at, |byte| byte == b' ');
    let sign = byte_at(text, at + spaces).filter(|sign| matches!(sign, b'=' | b':'))?;
    if strength == Strength::Query && (sign != b'=' || spaces > 0 || quotes > 0) {
        return None;
    }
    at += spaces + 1;
    let gap = run(text, at, |byte| byte == b' ');
    at += gap;
    let escapes = run(text, at, |byte| byte == b'\\');
    let quote = byte_at(text, at + escapes).filter(|byte| matches!(byte, b'"' | b'\''));
    let (from, to) = match quote {
        Some(quote) => {
            let from = at + escapes + 1;
            (
                from,
                from + run(text, from, |byte| {
                    byte != quote && byte != b'\\' && byte != b'\n'
                }),
            )
        }
        None => (
            at,
            at + run(text, at, |byte| {
                !byte.is_ascii_whitespace()
                    && !matches!(byte, b'&' | b';' | b',' | b'"' | b'\'' | b'}' | b')' | b'>')
            }),
        ),
    };
    let value = text.get(from..to)?;
    let is_pair = quote.is_some() || (sign == b'=' && gap == 0 && spaces == 0) || {
        value.len() >= UNQUOTED_BYTES_MIN && value.bytes().any(|byte| byte.is_ascii_digit())
    };
    (is_pair && !is_placeholder(value)).then(|| hit(from, to, Kind::Credential))
}

/// Whether a word begins inside of another one as in `dbPassword`.
fn is_hump(text: &str, start: usize) -> bool {
    byte_at(text, start).is_some_and(|byte| byte.is_ascii_uppercase())
        && byte_before(text, start).is_some_and(|byte| byte.is_ascii_lowercase())
}

/// What stands where a secret would be.
fn is_placeholder(value: &str) -> bool {
    const NOTHING: [&str; 10] = [
        "null",
        "none",
        "nil",
        "true",
        "false",
        "undefined",
        "redacted",
        "required",
        "missing",
        "invalid",
    ];
    let bare = value.trim_end_matches(['.', '!']);
    value.is_empty()
        || value.starts_with(['$', '{', '<', '%', '*', '?', '[', ':', '(', '='])
        || NOTHING
            .iter()
            .any(|nothing| bare.eq_ignore_ascii_case(nothing))
}

/// A JSON web token that begins at `start`: parts of base64 with dots between.
pub(super) fn jwt(text: &str, start: usize) -> Option<Hit> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if text.get(start..)?.starts_with("eyJ") && !byte_before(text, start).is_some_and(is_part) {
        let mut end = start;
        let mut parts = 0;
        loop {
            let length = run(text, end, is_part);
            let is_signature = parts == 2;
            if !is_signature && length < JWT_PART_BYTES_MIN {
                break;
            }
            end += length;
            parts += 1;
            if parts == 5 || byte_at(text, end) != Some(b'.') {
                break;
            }
            end += 1;
        }
        // A full stop ends the sentence.
        let end = start + text.get(start..end)?.trim_end_matches('.').len();
        return (parts >= 2).then(|| hit(start, end, Kind::Jwt));
    }
    None
}

/// A private key in PEM, to its end or to that of the text.
pub(super) fn private_key(text: &str, start: usize) -> Option<Hit> {
    let rest = text.get(start..)?;
    let header = rest.lines().next()?;
    let named = header.find("PRIVATE KEY-----")?;
    let end = match rest.get(named..)?.find("-----END ") {
        Some(at) => {
            let last = start + named + at + "-----END ".len();
            let dashes = text.get(last..)?.find("-----")?;
            last + dashes + "-----".len()
        }
        None => text.len(),
    };
    Some(hit(start, end, Kind::PrivateKey))
}

/// User and password of a URL whose authority begins at `start`.
pub(super) fn user_info(text: &str, start: usize) -> Option<Hit> {
    let length = run(text, start, |byte| {
        !byte.is_ascii_whitespace()
            && !matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b',')
    });
    let authority = text.get(start..start + length)?;
    let (user_info, _) = authority.rsplit_once('@')?;
    let (_, password) = user_info.split_once(':')?;
    (!password.is_empty()).then(|| hit(start, start + user_info.len(), Kind::Credential))
}

/// Schemes of authorization headers whose credentials have spaces in them.
const LONG_SCHEMES: [&str; 3] = ["digest", "aws4-hmac-sha256", "hawk"];

/// Schemes whose credentials are one word.
const SCHEMES: [&str; 7] = [
    "bearer",
    "basic",
    "negotiate",
    "ntlm",
    "token",
    "apikey",
    "dpop",
];

/// What an authorization header says after its scheme.
pub(super) fn authorization(text: &str, start: usize, end: usize) -> Option<Hit> {
    if byte_before(text, start).is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let mut at = end
        + run(text, end, |byte| {
            matches!(byte, b'"' | b'\'' | b'\\' | b' ')
        });
    byte_at(text, at).filter(|sign| matches!(sign, b'=' | b':'))?;
    at += 1;
    at += run(text, at, |byte| {
        matches!(byte, b'"' | b'\'' | b'\\' | b' ' | b'[')
    });
    let word = |at: usize| {
        run(text, at, |byte| {
            !byte.is_ascii_whitespace()
                && !matches!(
                    byte,
                    b'"' | b'\'' | b'\\' | b',' | b';' | b'}' | b']' | b'['
                )
        })
    };
    let first = text.get(at..at + word(at))?;
    let scheme = first.to_ascii_lowercase();
    let from = at + first.len() + 1;
    if LONG_SCHEMES.contains(&&*scheme) && byte_at(text, from - 1) == Some(b' ') {
        let to = from + run(text, from, |byte| !matches!(byte, b'\n' | b'\r' | b'['));
        return (to > from).then(|| hit(from, to, Kind::Authorization));
    }
    if SCHEMES.contains(&&*scheme) {
        return is_credential(text.get(from..from + word(from))?)
            .then(|| hit(from, from + word(from), Kind::Authorization));
    }
    is_credential(first).then(|| hit(at, at + first.len(), Kind::Authorization))
}

fn is_credential(word: &str) -> bool {
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    word.len() >= CREDENTIAL_BYTES_MIN
        && (has_digit || word.len() >= LONG_CREDENTIAL_BYTES || is_user_and_password(word))
}

/// Whether a word is what the scheme Basic sends.
fn is_user_and_password(word: &str) -> bool {
    let word = word.as_bytes();
    let decoded = BASE64.decode(word).or_else(|_| BASE64_NOPAD.decode(word));
    decoded.is_ok_and(|bytes| std::str::from_utf8(&bytes).is_ok_and(|text| text.contains(':')))
}

/// Credentials after the word `bearer` or `basic`.
pub(super) fn credentials(text: &str, start: usize, end: usize) -> Option<Hit> {
    if byte_before(text, start).is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let length = run(text, end, |byte| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'-')
    });
    let word = text.get(end..end + length)?;
    let is_basic = text.get(start..end)?.eq_ignore_ascii_case("basic ");
    let is_one = if is_basic {
        is_user_and_password(word)
    } else {
        is_credential(word)
    };
    is_one.then(|| hit(end, end + length, Kind::Authorization))
}

/// The pairs of a cookie header, to the end of the line.
pub(super) fn cookie(text: &str, start: usize, end: usize) -> Option<Hit> {
    // `Set-Cookie` ends in the same word.
    if byte_before(text, start).is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let length = run(text, end, |byte| {
        !matches!(byte, b'\n' | b'\r' | b'"' | b'[')
    });
    let pairs = text.get(end..end + length)?.trim_end();
    pairs
        .contains('=')
        .then(|| hit(end, end + pairs.len(), Kind::Credential))
}
