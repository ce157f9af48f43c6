//! Whose spans they are, where that may stand in more than one place.

use crate::model::batch::{BatchResource, EventBatch};
use crate::model::series::ServiceKey;
use crate::window::event::ResourceAttributes;

impl ResourceAttributes<'_> {
    /// Whether the service is named.
    pub fn names_service(&self) -> bool {
        self.service.is_some()
    }

    /// These attributes, and where one is missing, that of `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            service: self.service.or(other.service),
            namespace: self.namespace.or(other.namespace),
            environment: self.environment.or(other.environment),
            environment_old: self.environment_old.or(other.environment_old),
            version: self.version.or(other.version),
        }
    }

    /// Whether a version is said.
    pub fn names_version(&self) -> bool {
        self.version.is_some()
    }

    /// The version; empty if none is said.
    pub fn version(&self) -> &[u8] {
        self.version.unwrap_or_default()
    }

    /// Which service it is.
    pub fn service_key(&self) -> ServiceKey {
        let [service, namespace, environment, _] = self
            .identity()
            .map(|text| String::from_utf8_lossy(text).as_ref().into());
        ServiceKey {
            namespace,
            environment,
            name: service,
        }
    }

    /// The service and its version, cut where a batch cuts them.
    pub fn key(&self) -> (ServiceKey, Box<str>) {
        let [.., version] = self.identity();
        (self.service_key(), String::from_utf8_lossy(version).into())
    }

    /// Hash of the service, see [`ServiceKey::hash`].
    pub fn service_hash(&self, buffer: &mut Vec<u8>) -> u128 {
        let [service, namespace, environment, _] = self.identity();
        if [service, namespace, environment]
            .iter()
            .all(|text| std::str::from_utf8(text).is_ok())
        {
            return ServiceKey::hash_parts(buffer, namespace, environment, service);
        }
        // As a batch has them, whose texts are UTF-8.
        let [service, namespace, environment] =
            [service, namespace, environment].map(String::from_utf8_lossy);
        ServiceKey::hash_parts(
            buffer,
            namespace.as_bytes(),
            environment.as_bytes(),
            service.as_bytes(),
        )
    }

    /// Whether a resource of a batch is what these attributes make.
    pub fn describe(&self, batch: &EventBatch, resource: &BatchResource) -> bool {
        let [service, namespace, environment, version] = self.identity();
        batch.bytes(resource.service) == service
            && batch.bytes(resource.version) == version
            && batch.bytes(resource.namespace) == namespace
            && batch.bytes(resource.environment) == environment
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::event::{OperationScratch, Scalar, push_resource};

    fn attributes(pairs: &[(&str, &'static str)]) -> ResourceAttributes<'static> {
        let mut attributes = ResourceAttributes::default();
        for (key, value) in pairs {
            attributes.set(
                key.as_bytes(),
                Scalar::Text(value.as_bytes()),
                b"service.version",
            );
        }
        attributes
    }

    #[test]
    fn what_one_place_does_not_say_the_other_does() {
        let span = attributes(&[("service.name", "cart"), ("service.version", "2")]);
        let resource = attributes(&[("service.version", "1"), ("service.namespace", "shop")]);
        let wanted = attributes(&[
            ("service.name", "cart"),
            ("service.version", "2"),
            ("service.namespace", "shop"),
        ]);
        assert_eq!(span.or(resource), wanted);
        assert!(span.names_service() && !resource.names_service());
    }

    #[test]
    fn attributes_describe_the_resource_that_they_made_and_no_other() {
        let named = attributes(&[("service.name", "cart")]);
        let old = attributes(&[("service.name", "cart"), ("deployment.environment", "prod")]);
        let new = attributes(&[
            ("service.name", "cart"),
            ("deployment.environment.name", "prod"),
        ]);
        let mut batch = EventBatch::default();
        push_resource(&mut batch, &mut OperationScratch::default(), &old);
        assert!(old.describe(&batch, &batch.resources[0]));
        assert!(new.describe(&batch, &batch.resources[0]));
        assert!(!named.describe(&batch, &batch.resources[0]));
    }
}
