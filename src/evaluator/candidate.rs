//! What the history of a series suggests as objectives.
