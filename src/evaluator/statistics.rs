//! Bounds and tests.
