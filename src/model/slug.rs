//! Names that Kubernetes, OpenSLO and file systems accept, made from whatever telemetry says.

use xxhash_rust::xxh3::xxh3_64;

/// Most characters of an RFC 1123 label.
pub const LABEL_LENGTH_MAX: usize = 63;

/// Stands for a text that has no letter and no digit.
const UNNAMED: &str = "unnamed";

/// Hexadecimal digits that tell names apart, as a rule.
const HASH_DIGITS: usize = 6;

/// Whether a text is an RFC 1123 label as it is.
pub fn is_rfc1123_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LABEL_LENGTH_MAX).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// An RFC 1123 label, `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, 63 characters at most: ASCII letters in lower case and digits
/// stay, everything between them becomes one hyphen. Different texts may have the same slug.
pub fn rfc1123_slug(text: &str) -> String {
    cut(slug(text), LABEL_LENGTH_MAX)
}

/// The slug of `parts`, joined by hyphens; with a hash of `identity` at its end where it had to be cut.
pub fn name(parts: &[&str], identity: &[&str]) -> String {
    let plain = joined(parts);
    if plain.len() <= LABEL_LENGTH_MAX {
        plain
    } else {
        hashed(plain, identity, HASH_DIGITS)
    }
}

/// The slug of `parts`, joined by hyphens, then a hyphen and six hexadecimal digits of the hash of `identity`: the
/// same on every machine, 63 characters at most.
pub fn name_with_hash(parts: &[&str], identity: &[&str]) -> String {
    hashed(joined(parts), identity, HASH_DIGITS)
}

/// As [`name_with_hash`] with sixteen digits, for the names that six do not tell apart.
pub fn name_with_long_hash(parts: &[&str], identity: &[&str]) -> String {
    hashed(joined(parts), identity, 16)
}

fn joined(parts: &[&str]) -> String {
    let slugs: Vec<String> = parts.iter().map(|part| slug(part)).collect();
    slugs.join("-")
}

fn hashed(plain: String, identity: &[&str], digits: usize) -> String {
    let mut bytes = Vec::with_capacity(64);
    for part in identity {
        // The length makes ("a", "bc") differ from ("ab", "c"), whatever the parts hold.
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    let hash = format!("{:016x}", xxh3_64(&bytes));
    let hash: String = hash.chars().take(digits).collect();
    let room = LABEL_LENGTH_MAX - hash.len() - 1;
    format!("{}-{hash}", cut(plain, room))
}

fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    let mut gap = false;
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            if gap && !slug.is_empty() {
                slug.push('-');
            }
            gap = false;
            slug.push(character.to_ascii_lowercase());
        } else {
            gap = true;
        }
    }
    if slug.is_empty() {
        UNNAMED.to_owned()
    } else {
        slug
    }
}

/// A slug cut to `length` characters that still does not end in a hyphen.
fn cut(mut slug: String, length: usize) -> String {
    // A slug is ASCII: every index is the edge of a character.
    slug.truncate(length);
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_rfc1123_label(name: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = name.as_bytes();
        !bytes.is_empty()
            && bytes.len() <= LABEL_LENGTH_MAX
            && bytes.iter().all(|byte| allowed(*byte) || *byte == b'-')
            && bytes.first().is_some_and(|byte| allowed(*byte))
            && bytes.last().is_some_and(|byte| allowed(*byte))
    }

    #[test]
    fn letters_and_digits_stay_and_everything_else_becomes_one_hyphen() {
        let cases = [
            ("checkout", "checkout"),
            ("GET /users/{id}", "get-users-id"),
            ("shop.v1.Cart/AddItem", "shop-v1-cart-additem"),
            ("../../etc/passwd", "etc-passwd"),
            ("_other", "other"),
            ("  a  b  ", "a-b"),
            ("Größe", "gr-e"),
            ("支付", "unnamed"),
            ("", "unnamed"),
        ];
        for (text, wanted) in cases {
            assert_eq!(rfc1123_slug(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_slug_is_cut_to_a_label_that_does_not_end_in_a_hyphen() {
        let text = format!("{} {}", "a".repeat(62), "b".repeat(9));
        assert_eq!(rfc1123_slug(&text), "a".repeat(62));
    }

    #[test]
    fn a_name_carries_a_hash_only_where_it_was_cut() {
        let identity = ["shop", "prod", "checkout"];
        assert_eq!(
            name(&["availability", "checkout"], &identity),
            "availability-checkout"
        );
        let long = name(&["availability", &"x".repeat(99)], &identity);
        assert_eq!(long.len(), LABEL_LENGTH_MAX);
        assert_eq!(
            long,
            name_with_hash(&["availability", &"x".repeat(99)], &identity)
        );
    }

    #[test]
    fn the_hash_is_of_the_whole_identity_and_never_changes() {
        // A changed hash renames every stored objective.
        assert_eq!(
            name_with_hash(&["checkout"], &["shop", "prod"]),
            "checkout-1a7e04"
        );
        assert_ne!(
            name_with_hash(&["checkout"], &["a", "bc"]),
            name_with_hash(&["checkout"], &["ab", "c"])
        );
    }

    proptest! {
        #[test]
        fn property_every_text_gives_a_label(text in "\\PC*", other in ".{0,80}") {
            let parts = [text.as_str(), other.as_str()];
            prop_assert!(is_rfc1123_label(&rfc1123_slug(&text)));
            prop_assert!(is_rfc1123_label(&name(&parts, &parts)));
            prop_assert!(is_rfc1123_label(&name_with_hash(&parts, &parts)));
            prop_assert!(is_rfc1123_label(&name_with_long_hash(&parts, &parts)));
        }

        #[test]
        fn property_a_slug_is_its_own_slug(text in "\\PC*") {
            let slug = rfc1123_slug(&text);
            prop_assert_eq!(rfc1123_slug(&slug), slug);
        }
    }
}
