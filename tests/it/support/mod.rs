//! What the tests share: servers, clients, spans, and the reading of answers.

pub(crate) mod grpc;
pub(crate) mod page;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod schema;
pub(crate) mod server;
pub(crate) mod spans;
pub(crate) mod tls;
pub(crate) mod traces;
pub(crate) mod truth;

use std::io::{Read, Write};
use std::time::Duration;

use tokio::time::{interval, timeout};

/// Far longer than anything here takes; who waits so long fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = interval(Duration::from_millis(10));
    let asking = async {
        loop {
            ticks.tick().await;
            if let Some(answer) = probe().await {
                return answer;
            }
        }
    };
    let answer = timeout(DEADLINE, asking).await;
    answer.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).unwrap()
}

/// Asks with HTTP/1.1 on a connection of its own for what no client library would: `head` ends before its empty line.
/// Nothing of the body is sent until [`HeldRequest::finish`].
pub(crate) struct HeldRequest {
    stream: std::net::TcpStream,
}

impl HeldRequest {
    pub(crate) fn begin(address: std::net::SocketAddr, head: &str) -> Self {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "{head}\r\n\r\n").unwrap();
        Self { stream }
    }

    /// Sends the body and returns the whole answer as text.
    pub(crate) async fn finish(mut self, body: Vec<u8>) -> String {
        let exchange = tokio::task::spawn_blocking(move || {
            self.stream.write_all(&body).unwrap();
            let mut answer = String::new();
            self.stream.read_to_string(&mut answer).unwrap();
            answer
        });
        exchange.await.unwrap()
    }
}
