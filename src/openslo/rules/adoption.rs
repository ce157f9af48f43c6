//! Rules of taking objectives from documents, beyond those of the documents themselves.

use super::Rule;

/// The rules of this file.
pub const RULES: &[Rule] = &[];
