//! What was probably meant.

use strsim::damerau_levenshtein;

/// The allowed word that differs in case alone, or by few letters.
pub fn nearest<'w>(found: &str, allowed: &[&'w str]) -> Option<&'w str> {
    let folded = found.to_ascii_lowercase();
    let distance = |word: &&str| damerau_levenshtein(&folded, &word.to_ascii_lowercase());
    let nearest = allowed.iter().min_by_key(|word| distance(word)).copied()?;
    // One letter in three is a slip, more is another word.
    (distance(&nearest) <= nearest.chars().count() / 3).then_some(nearest)
}

/// What is not known, what was probably meant, and what is allowed.
pub fn unknown(what: &str, found: &str, allowed: &[&str]) -> String {
    match nearest(found, allowed) {
        Some(near) => format!("{what} `{found}` is unknown; did you mean `{near}`?"),
        None => format!(
            "{what} `{found}` is unknown; allowed: {}",
            allowed.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_mended_and_other_words_are_not() {
        let keys = ["displayName", "name", "timeWindow", "op"];
        for (found, meant) in [
            ("displayname", Some("displayName")),
            ("DISPLAY_NAME", Some("displayName")),
            ("timeWindows", Some("timeWindow")),
            ("nmae", Some("name")),
            ("OP", Some("op")),
            ("is", None),
            ("weight", None),
        ] {
            assert_eq!(nearest(found, &keys), meant, "{found}");
        }
        assert_eq!(nearest("a", &[]), None);
    }
}
