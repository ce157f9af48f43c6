//! Whose spans are looked at more closely: nobody's as a rule, so that it costs one atomic load a resource.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::window::event::ResourceAttributes;

/// Who is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Services of which two versions take traffic.
    #[default]
    Rollouts,
    /// All that say a version, version by version: trace files, where nobody can go back.
    Versions,
    /// All services, whatever their versions: sets of trace files that are compared as they are.
    Everything,
}

/// The set of watched services. Receivers ask it, the windows fill it.
#[derive(Debug, Default)]
pub struct Watch {
    scope: Scope,
    count: AtomicUsize,
    services: RwLock<HashSet<u128>>,
}

impl Watch {
    /// Nobody is watched yet, save those that the scope says.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            ..Self::default()
        }
    }

    /// Who is watched.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether anybody is watched.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0 || self.scope != Scope::Rollouts
    }

    /// Whether the service of a resource is watched.
    #[cold]
    pub fn includes(&self, resource: &ResourceAttributes<'_>, buffer: &mut Vec<u8>) -> bool {
        match self.scope {
            Scope::Rollouts => self.contains(resource.service_hash(buffer)),
            Scope::Versions => resource.names_version(),
            Scope::Everything => true,
        }
    }

    /// Whether a service was added.
    pub(super) fn contains(&self, service: u128) -> bool {
        let services = self.services.read();
        services
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&service)
    }

    pub(super) fn add(&self, service: u128) {
        let services = self.services.write();
        let mut services = services.unwrap_or_else(PoisonError::into_inner);
        services.insert(service);
        self.count.store(services.len(), Ordering::Relaxed);
    }

    pub(super) fn remove(&self, service: u128) {
        let services = self.services.write();
        let mut services = services.unwrap_or_else(PoisonError::into_inner);
        services.remove(&service);
        self.count.store(services.len(), Ordering::Relaxed);
    }
}
