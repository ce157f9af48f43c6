//! Worked documents.
