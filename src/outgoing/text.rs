//! Texts of the configuration that may stand in the environment or in a file instead.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::outgoing::SettingError;

/// A text, or where it stands: `{env: NAME}` or `{file: PATH}`. What stands elsewhere is never shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Text {
    /// Here.
    Plain(String),
    /// In an environment variable.
    Env {
        /// Its name.
        env: String,
    },
    /// In a file; white space at its end does not count.
    File {
        /// Its path.
        file: PathBuf,
    },
}

/// By hand, since an untagged enum does not say which key is wrong.
impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Place {
            Env(String),
            File(PathBuf),
        }
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, {env: NAME} or {file: PATH}")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
                // One key, which names the place.
                let place = Place::deserialize(MapAccessDeserializer::new(map))?;
                Ok(match place {
                    Place::Env(env) => Text::Env { env },
                    Place::File(file) => Text::File { file },
                })
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

impl Text {
    /// Whether it stands in the configuration itself, where no secret may stand.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// The text. `key` is the configuration key, for the error.
    pub fn resolve(&self, key: &str) -> Result<String, SettingError> {
        let wrong = |message: String| SettingError {
            key: key.to_owned(),
            message,
        };
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::Env { env } => std::env::var(env)
                .map_err(|_| wrong(format!("the environment variable {env} is not set"))),
            Self::File { file } => std::fs::read_to_string(file)
                .map(|text| text.trim_end().to_owned())
                .map_err(|error| wrong(format!("cannot read {}: {error}", file.display()))),
        }
    }
}

/// The headers, whose values no log shows.
pub fn headers(key: &str, texts: &BTreeMap<String, Text>) -> Result<HeaderMap, SettingError> {
    let mut headers = HeaderMap::new();
    for (name, text) in texts {
        let key = format!("{key}.headers.{name}");
        let value = text.resolve(&key)?;
        let wrong = |what: &str| SettingError {
            key: key.clone(),
            message: format!("the {what} is none that HTTP allows"),
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("name"))?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| wrong("value"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Text, serde_saphyr::Error> {
        serde_saphyr::from_str(text)
    }

    #[test]
    fn a_text_stands_here_in_the_environment_or_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from a file\n").unwrap();
        let path = file.path().display();
        assert_eq!(read("here").unwrap().resolve("k").unwrap(), "here");
        let text = read(&format!("{{file: {path}}}")).unwrap();
        assert_eq!(text.resolve("k").unwrap(), "from a file");
        let path = read("{env: PATH}").unwrap().resolve("k").unwrap();
        assert_eq!(path, std::env::var("PATH").unwrap());
        let error = read("{env: NOBODY_SETS_THIS}").unwrap().resolve("a.b");
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("a.b") && error.contains("NOBODY_SETS_THIS"),
            "{error}"
        );
    }

    #[test]
    fn another_place_is_refused_with_those_that_there_are() {
        let error = read("{vault: x}").unwrap_err().to_string();
        assert!(error.contains("env") && error.contains("file"), "{error}");
    }
}
