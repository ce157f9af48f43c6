//! Tests of root cause analysis on hand-made traces.
