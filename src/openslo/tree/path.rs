//! JSON paths: where something stands in a document.

use std::fmt;

/// A JSON path such as `$.spec.objectives[0].target`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Step>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the value of a key.
    Key(String),
    /// To an item of a list, from 0.
    Index(usize),
}

impl Path {
    /// The steps from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path of a key below this one.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.below(Step::Key(key.to_owned()))
    }

    /// The path of an item below this one.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.below(Step::Index(index))
    }

    /// The path that leads on from the end of this one.
    #[must_use]
    pub fn join(&self, onward: &Self) -> Self {
        Self([self.0.as_slice(), &onward.0].concat())
    }

    fn below(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("$")?;
        for step in &self.0 {
            match step {
                Step::Index(index) => write!(formatter, "[{index}]")?,
                Step::Key(key) if is_name(key) => write!(formatter, ".{key}")?,
                Step::Key(key) => {
                    let escaped = key.replace('\\', "\\\\").replace('\'', "\\'");
                    write!(formatter, "['{escaped}']")?;
                }
            }
        }
        Ok(())
    }
}

/// Whether RFC 9535 lets the key stand behind a dot.
fn is_name(key: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    key.bytes().next().is_some_and(first)
        && key.bytes().all(|byte| first(byte) || byte.is_ascii_digit())
}
