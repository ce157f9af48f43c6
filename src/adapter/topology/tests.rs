//! Tests of the service graph.
