//! The services of the shop, their endpoints and who calls whom: data only.
//!
//! ```text
//! frontend ─┬─ catalog ── products (PostgreSQL)
//!           ├─ cart ───── carts (Redis)
//!           └─ checkout ─┬─ cart
//!                        ├─ payment ── payments (PostgreSQL)
//!                        └─ orders (Kafka) ─→ fulfilment ── shipments (PostgreSQL)
//! ```

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::traffic::attribute::text;

/// `service.namespace` of every service of the shop.
pub(super) const NAMESPACE: &str = "shop";

/// `deployment.environment.name` of every service of the shop.
pub(super) const ENVIRONMENT: &str = "demo";

/// A service of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShopService {
    /// Serves the browsers over HTTP.
    Frontend,
    /// Places orders, over gRPC.
    Checkout,
    /// Keeps carts in Redis, over HTTP.
    Cart,
    /// Charges cards, over HTTP.
    Payment,
    /// Knows the products, over gRPC.
    Catalog,
    /// Consumes the queue of orders.
    Fulfilment,
}

impl ShopService {
    /// All services, callers before callees.
    pub const ALL: [Self; 6] = [
        Self::Frontend,
        Self::Checkout,
        Self::Cart,
        Self::Payment,
        Self::Catalog,
        Self::Fulfilment,
    ];

    /// `service.name`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::Checkout => "checkout",
            Self::Cart => "cart",
            Self::Payment => "payment",
            Self::Catalog => "catalog",
            Self::Fulfilment => "fulfilment",
        }
    }

    /// The service with this `service.name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// `service.version`.
    pub fn version(self) -> &'static str {
        match self {
            Self::Frontend => "3.8.1",
            Self::Checkout => "2.4.0",
            Self::Cart => "1.12.3",
            Self::Payment => "5.0.2",
            Self::Catalog => "2.0.7",
            Self::Fulfilment => "0.9.4",
        }
    }

    /// `telemetry.sdk.language`.
    fn language(self) -> &'static str {
        match self {
            Self::Frontend => "nodejs",
            Self::Checkout | Self::Fulfilment => "go",
            Self::Cart => "dotnet",
            Self::Payment => "java",
            Self::Catalog => "rust",
        }
    }

    /// The resource that the SDK of this service reports.
    pub(super) fn resource(self) -> Resource {
        let name = self.name();
        let attributes: Vec<KeyValue> = vec![
            text("service.name", name),
            text("service.namespace", NAMESPACE),
            text("service.version", self.version()),
            text("service.instance.id", format!("{name}-7c9d5b6f4-x2x8k")),
            text("deployment.environment.name", ENVIRONMENT),
            text("telemetry.sdk.name", "opentelemetry"),
            text("telemetry.sdk.language", self.language()),
        ];
        Resource {
            attributes,
            ..Resource::default()
        }
    }
}

/// A lognormal latency: `median · exp(sigma · z)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    pub(super) median_ms: f64,
    pub(super) sigma: f64,
}

/// How an endpoint is reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    Http {
        method: &'static str,
        route: &'static str,
    },
    /// The fully qualified method, `package.Service/Method`.
    Grpc { method: &'static str },
    /// A consumer of messages.
    Queue { destination: &'static str },
}

/// One entry of a service and what it does before it answers.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) service: ShopService,
    pub(super) protocol: Protocol,
    /// The service's own time, half of it before its steps and half after them.
    pub(super) work: Latency,
    /// Share of requests that fail by the service's own fault in good times.
    pub(super) error_ratio: f64,
    /// Share of requests that ask for something that is not there, the caller's fault.
    pub(super) not_found_ratio: f64,
    pub(super) steps: &'static [Step],
}

/// What an endpoint does, one after the other.
#[derive(Debug)]
pub(super) enum Step {
    /// A call whose failure fails the caller.
    Call(&'static Endpoint),
    /// Calls at the same time. The caller can do without them: a failure is swallowed.
    Optional(&'static [&'static Endpoint]),
    /// A database statement.
    Query {
        system: &'static str,
        operation: &'static str,
        /// Empty for stores without collections.
        collection: &'static str,
        latency: Latency,
    },
    /// Work worth an INTERNAL span.
    Compute {
        name: &'static str,
        latency: Latency,
    },
    /// A message to the queue of this consumer, which handles it after the answer.
    Publish(&'static Endpoint),
}

/// What the visitors do, with the relative frequency of each.
pub(super) static VISITS: [(f64, &Endpoint); 4] = [
    (0.30, &HOME),
    (0.40, &PRODUCT),
    (0.12, &ADD_TO_CART),
    (0.18, &PLACE_ORDER),
];

const fn latency(median_ms: f64, sigma: f64) -> Latency {
    Latency { median_ms, sigma }
}

static HOME: Endpoint = Endpoint {
    service: ShopService::Frontend,
    protocol: Protocol::Http {
        method: "GET",
        route: "/",
    },
    work: latency(6.0, 0.35),
    error_ratio: 0.000_1,
    not_found_ratio: 0.0,
    steps: &[Step::Optional(&[&LIST_PRODUCTS, &GET_CART])],
};

static PRODUCT: Endpoint = Endpoint {
    service: ShopService::Frontend,
    protocol: Protocol::Http {
        method: "GET",
        route: "/products/{id}",
    },
    work: latency(4.0, 0.35),
    error_ratio: 0.000_1,
    not_found_ratio: 0.0,
    steps: &[Step::Call(&GET_PRODUCT)],
};

static ADD_TO_CART: Endpoint = Endpoint {
    service: ShopService::Frontend,
    protocol: Protocol::Http {
        method: "POST",
        route: "/cart/items",
    },
    work: latency(4.0, 0.35),
    error_ratio: 0.000_1,
    not_found_ratio: 0.0,
    steps: &[Step::Call(&ADD_ITEM)],
};

static PLACE_ORDER: Endpoint = Endpoint {
    service: ShopService::Frontend,
    protocol: Protocol::Http {
        method: "POST",
        route: "/checkout",
    },
    work: latency(5.0, 0.35),
    error_ratio: 0.000_1,
    not_found_ratio: 0.0,
    steps: &[Step::Call(&CHECKOUT)],
};

static CHECKOUT: Endpoint = Endpoint {
    service: ShopService::Checkout,
    protocol: Protocol::Grpc {
        method: "shop.checkout.v1.Checkout/PlaceOrder",
    },
    work: latency(5.0, 0.35),
    error_ratio: 0.000_1,
    not_found_ratio: 0.0,
    steps: &[
        Step::Call(&GET_CART),
        Step::Compute {
            name: "calculate total",
            latency: latency(2.0, 0.3),
        },
        Step::Call(&CHARGE),
        Step::Publish(&FULFIL),
    ],
};

static CHARGE: Endpoint = Endpoint {
    service: ShopService::Payment,
    protocol: Protocol::Http {
        method: "POST",
        route: "/v1/charges",
    },
    work: latency(28.0, 0.35),
    error_ratio: 0.000_2,
    not_found_ratio: 0.0,
    steps: &[Step::Query {
        system: "postgresql",
        operation: "INSERT",
        collection: "payments",
        latency: latency(3.0, 0.4),
    }],
};

static GET_CART: Endpoint = Endpoint {
    service: ShopService::Cart,
    protocol: Protocol::Http {
        method: "GET",
        route: "/carts/{cart_id}",
    },
    work: latency(2.0, 0.3),
    error_ratio: 0.000_1,
    not_found_ratio: 0.0,
    steps: &[Step::Query {
        system: "redis",
        operation: "HGETALL",
        collection: "",
        latency: latency(0.6, 0.4),
    }],
};

static ADD_ITEM: Endpoint = Endpoint {
    service: ShopService::Cart,
    protocol: Protocol::Http {
        method: "POST",
        route: "/carts/{cart_id}/items",
    },
    work: latency(3.0, 0.3),
    error_ratio: 0.000_1,
    not_found_ratio: 0.0,
    steps: &[Step::Query {
        system: "redis",
        operation: "HSET",
        collection: "",
        latency: latency(0.7, 0.4),
    }],
};

static GET_PRODUCT: Endpoint = Endpoint {
    service: ShopService::Catalog,
    protocol: Protocol::Grpc {
        method: "shop.catalog.v1.Catalog/GetProduct",
    },
    work: latency(2.0, 0.3),
    error_ratio: 0.000_1,
    not_found_ratio: 0.01,
    steps: &[Step::Query {
        system: "postgresql",
        operation: "SELECT",
        collection: "products",
        latency: latency(2.0, 0.45),
    }],
};

static LIST_PRODUCTS: Endpoint = Endpoint {
    service: ShopService::Catalog,
    protocol: Protocol::Grpc {
        method: "shop.catalog.v1.Catalog/ListProducts",
    },
    work: latency(4.0, 0.3),
    error_ratio: 0.000_1,
    not_found_ratio: 0.0,
    steps: &[Step::Query {
        system: "postgresql",
        operation: "SELECT",
        collection: "products",
        latency: latency(6.0, 0.45),
    }],
};

static FULFIL: Endpoint = Endpoint {
    service: ShopService::Fulfilment,
    protocol: Protocol::Queue {
        destination: "orders",
    },
    work: latency(12.0, 0.4),
    error_ratio: 0.000_2,
    not_found_ratio: 0.0,
    steps: &[Step::Query {
        system: "postgresql",
        operation: "INSERT",
        collection: "shipments",
        latency: latency(3.0, 0.4),
    }],
};
