//! The names that the specification allows for keys of labels and annotations.

use crate::model::slug::is_rfc1123_label;

/// Most characters of the prefix of an annotation's key.
const PREFIX_LENGTH_MAX: usize = 253;

/// Most characters of a name.
const NAME_LENGTH_MAX: usize = 63;

/// `^[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$`.
pub(super) fn is_label_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    key.len() <= NAME_LENGTH_MAX
        && key.bytes().all(allowed)
        && is_end(key.bytes().next())
        && is_end(key.bytes().next_back())
}

/// A label's key, behind an optional DNS name of lower-case labels and a slash.
pub(super) fn is_annotation_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_label_key(key),
        Some((prefix, name)) => {
            prefix.len() <= PREFIX_LENGTH_MAX
                && prefix.split('.').all(is_rfc1123_label)
                && is_label_key(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_qualified_names() {
        let long = "a".repeat(63);
        for key in ["team", "Team_1.x-y", "a", &long] {
            assert!(is_label_key(key), "{key}");
            assert!(is_annotation_key(&format!("example.com/{key}")), "{key}");
        }
        let longer = "a".repeat(64);
        let long_prefix = format!("{}/a", vec!["a"; 128].join("."));
        for key in [
            "",
            "-a",
            "a-",
            "a b",
            "ä",
            &longer,
            "example.com/",
            "/a",
            "a/b/c",
            "A.com/a",
            "a..b/c",
            &long_prefix,
        ] {
            assert!(!is_annotation_key(key), "{key}");
        }
        assert!(!is_label_key("example.com/team"));
    }
}
