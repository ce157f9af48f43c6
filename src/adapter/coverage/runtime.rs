//! SDK-001: the oldest version of a runtime that a version of its SDK supports.

/// A version by its first two numbers.
type Version = (u32, u32);

/// From this version of the SDK on, this version of the runtime is needed. The newest comes first; where the SDKs' packages do
/// not tell exactly when the floor rose, the later version stands here, so that nobody is blamed wrongly.
struct Floors(&'static [(Version, Version)]);

/// `Requires-Python` of opentelemetry-sdk.
const PYTHON: Floors = Floors(&[
    ((1, 34), (3, 9)),
    ((1, 33), (3, 8)),
    ((1, 20), (3, 7)),
    ((1, 0), (3, 6)),
]);

/// `engines.node` of @opentelemetry/sdk-trace-base.
const NODE: Floors = Floors(&[((2, 0), (18, 19)), ((1, 9), (14, 0)), ((1, 0), (8, 0))]);

/// Java 8; version 1.8 is how it called itself.
const JAVA: Floors = Floors(&[((1, 0), (8, 0))]);

/// .NET 6 was dropped by 1.10.
const DOTNET: Floors = Floors(&[((1, 10), (8, 0)), ((1, 0), (6, 0))]);

/// Whether the SDK of a language supports a runtime; `None` where that is not known.
pub(super) fn is_supported(language: &str, sdk: &str, runtime: &str) -> Option<bool> {
    let floors = match language {
        "python" => PYTHON,
        "nodejs" => NODE,
        "java" => JAVA,
        "dotnet" => DOTNET,
        _ => return None,
    };
    let (sdk, mut runtime) = (version(sdk)?, version(runtime)?);
    if language == "java" && runtime.0 == 1 {
        runtime = (runtime.1, 0);
    }
    let (_, floor) = floors.0.iter().find(|(from, _)| sdk >= *from)?;
    Some(runtime >= *floor)
}

/// `3.11.7`, `v20.20.2`, `17.0.9+9` by their first two numbers.
fn version(text: &str) -> Option<Version> {
    let text = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next().and_then(|text| text.parse().ok());
    Some((major, minor.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_below_the_floor_of_its_sdk_is_not_supported() {
        for (language, sdk, runtime, expected) in [
            ("nodejs", "2.0.0", "20.20.2", Some(true)),
            ("nodejs", "2.0.0", "v18.18.0", Some(false)),
            ("nodejs", "1.30.1", "14.21.3", Some(true)),
            ("python", "1.34.0", "3.8.20", Some(false)),
            ("python", "1.33.1", "3.8.20", Some(true)),
            ("python", "1.22.0", "3.11.7", Some(true)),
            ("java", "1.50.0", "1.8.0_402", Some(true)),
            ("java", "1.50.0", "17.0.9+9", Some(true)),
            ("java", "1.50.0", "1.7.0", Some(false)),
            ("dotnet", "1.10.0", "6.0.36", Some(false)),
            ("dotnet", "1.9.0", "6.0.36", Some(true)),
            ("go", "1.36.0", "go1.24", None),
            ("nodejs", "0.9.0", "20.0.0", None),
            ("nodejs", "2.0.0", "", None),
        ] {
            assert_eq!(
                is_supported(language, sdk, runtime),
                expected,
                "{language} {sdk} {runtime}"
            );
        }
    }
}
