//! Attributes by the semantic conventions: reading them, and at which level they stand.

use crate::model::trace::{AttributeValue, Attributes};

/// Attributes of resources that spans do not have; those with a dot at their end stand for all below.
const OF_RESOURCES: [&str; 26] = [
    "service.name",
    "service.namespace",
    "service.version",
    "service.instance.id",
    "telemetry.sdk.",
    "telemetry.distro.",
    "deployment.environment",
    "deployment.environment.name",
    "k8s.",
    "host.name",
    "host.id",
    "host.arch",
    "host.type",
    "host.image.",
    "os.type",
    "os.version",
    "os.name",
    "os.description",
    "process.pid",
    "process.executable.",
    "process.command",
    "process.runtime.",
    "process.owner",
    "container.id",
    "container.name",
    "container.image.",
];

/// Attributes of spans that resources do not have.
const OF_SPANS: [&str; 12] = [
    "http.",
    "url.",
    "db.",
    "rpc.",
    "messaging.",
    "network.",
    "server.",
    "client.",
    "exception.",
    "error.type",
    "code.",
    "thread.",
];

/// Whether an attribute of a span belongs on the resource.
pub(super) fn belongs_on_the_resource(key: &str) -> bool {
    is_among(key, &OF_RESOURCES)
}

/// Whether an attribute of a resource belongs on spans.
pub(super) fn belongs_on_spans(key: &str) -> bool {
    is_among(key, &OF_SPANS)
}

fn is_among(key: &str, keys: &[&str]) -> bool {
    keys.iter().any(|known| {
        if known.ends_with('.') {
            key.starts_with(known)
        } else {
            key == *known
        }
    })
}

/// The first of these attributes that is a text and not empty.
pub(super) fn text<'a>(attributes: &'a Attributes, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| {
        let AttributeValue::Text(text) = value(attributes, key)? else {
            return None;
        };
        (!text.is_empty()).then_some(&**text)
    })
}

/// The first of these attributes that is a whole number; some SDKs say numbers as text.
pub(super) fn number(attributes: &Attributes, keys: &[&str]) -> Option<i64> {
    keys.iter().find_map(|key| match value(attributes, key)? {
        AttributeValue::Int(number) => Some(*number),
        AttributeValue::Text(text) => text.parse().ok(),
        AttributeValue::Bool(_)
        | AttributeValue::Float(_)
        | AttributeValue::List(_)
        | AttributeValue::Map(_) => None,
    })
}

/// Whether one of these attributes is there.
pub(super) fn says(attributes: &Attributes, keys: &[&str]) -> bool {
    keys.iter().any(|key| value(attributes, key).is_some())
}

fn value<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a AttributeValue> {
    let mut attributes = attributes.iter();
    attributes.find_map(|(name, value)| (**name == *key).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_one_level_where_the_conventions_say_so() {
        for key in ["service.name", "k8s.pod.uid", "telemetry.sdk.language"] {
            assert!(belongs_on_the_resource(key), "{key}");
        }
        // The peer's name is said on spans; browsers say user_agent.original on the resource.
        for key in ["service.peer.name", "http.route", "own.key", "process.args"] {
            assert!(!belongs_on_the_resource(key), "{key}");
        }
        for key in ["http.method", "db.system.name", "error.type"] {
            assert!(belongs_on_spans(key), "{key}");
        }
        for key in ["user_agent.original", "service.name", "error.typed"] {
            assert!(!belongs_on_spans(key), "{key}");
        }
    }

    #[test]
    fn values_are_read_by_the_first_key_that_has_one() {
        let attributes: Attributes = vec![
            ("a".into(), AttributeValue::Text("".into())),
            ("b".into(), AttributeValue::Text("80".into())),
            ("c".into(), AttributeValue::Int(7)),
        ];
        assert_eq!(text(&attributes, &["a", "b"]), Some("80"));
        assert_eq!(number(&attributes, &["b", "c"]), Some(80));
        assert_eq!(number(&attributes, &["x", "c"]), Some(7));
        assert!(says(&attributes, &["x", "a"]) && !says(&attributes, &["x"]));
    }
}
