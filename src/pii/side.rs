//! On which side of a call a span stands.

/// Who the peer of a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client: the span serves it.
    Server,
    /// A server: the span calls it.
    Client,
    /// Nobody knows.
    Unknown,
}

/// Keys of the peer's address, whoever the peer is.
const PEERS: [&str; 5] = [
    "network.peer.address",
    "net.peer.ip",
    "net.sock.peer.addr",
    "peer.ipv4",
    "peer.ipv6",
];

impl Side {
    /// The key that says what a key of such a span means: the peer of one that serves is a client, and that of one that
    /// calls is a server, which topology needs.
    pub fn key(self, key: &str) -> &str {
        match self {
            Self::Server if PEERS.contains(&key) => "client.address",
            Self::Client if PEERS.contains(&key) => "server.address",
            Self::Server | Self::Client | Self::Unknown => key,
        }
    }
}
