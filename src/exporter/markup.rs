//! Names from telemetry within HTML and XML.

use std::fmt::{self, Display, Formatter};

/// Text that cannot leave its element or attribute.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, page: &mut Formatter<'_>) -> fmt::Result {
        // XML has no other control characters.
        let is_special = |character: char| {
            matches!(
                character,
                '&' | '<' | '>' | '"' | '\'' | '\u{fffe}' | '\u{ffff}'
            ) || (character.is_control() && character != '\n')
        };
        for piece in self.0.split_inclusive(is_special) {
            let mut characters = piece.chars();
            let entity = match characters.next_back() {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('"') => "&quot;",
                Some('\'') => "&#39;",
                Some(other) if is_special(other) => " ",
                _ => {
                    page.write_str(piece)?;
                    continue;
                }
            };
            page.write_str(characters.as_str())?;
            page.write_str(entity)?;
        }
        Ok(())
    }
}
