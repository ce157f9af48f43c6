//! The messages and the service of `jaeger.api_v2`, also as the JSON that its HTTP endpoint answers.

use serde::Serializer;

#[expect(clippy::pedantic, reason = "generated code")]
#[expect(
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    reason = "generated code"
)]
mod generated {
    tonic::include_proto!("jaeger.api_v2");
}

pub use generated::*;

/// Enums by their names: the clients for JavaScript and Rust know no numbers. A name is said even where it is the default.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn by_name<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    let strategy = SamplingStrategyType::try_from(*value).unwrap_or_default();
    serializer.serialize_str(strategy.as_str_name())
}
