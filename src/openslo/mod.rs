//! OpenSLO v1.
