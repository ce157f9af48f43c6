//! Empty for the first look.
