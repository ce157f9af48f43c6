//! Silent peers are let go; those who speak are answered.

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

const IDLE: Duration = Duration::from_millis(200);

/// More than any wait of these tests.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server that answers `/`, never answers `/slow`, and stops when it is told to.
async fn server(idle: Duration) -> (std::net::SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", get(async || "here"))
        .route("/slow", get(std::future::pending::<()>));
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(
        listener,
        router,
        idle,
        stop.clone().cancelled_owned(),
    ));
    (address, stop, served)
}

async fn said(address: std::net::SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// What comes until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes));
    // A connection that is reset is closed, too.
    drop(read.await.expect("the connection stays open"));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn connections_over_which_nothing_comes_are_closed() {
    let (address, stop, served) = server(IDLE).await;
    for beginning in [
        "",
        "G",
        "GET / HTTP/1.1\r\nHost: x\r\n",
        "PRI * HTTP/2.0\r\n",
    ] {
        let answer = rest(said(address, beginning.as_bytes()).await).await;
        assert!(!answer.contains("200 OK"), "{beginning:?}: {answer}");
    }
    let answered = rest(said(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await).await;
    assert!(answered.ends_with("here"), "{answered}");
    stop.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn a_connection_lives_on_while_requests_come() {
    let (address, stop, served) = server(DEADLINE).await;
    let mut stream = said(address, b"").await;
    for _ in 0..3 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
    }
    // It is between two requests, so a stop does not wait for it.
    stop.cancel();
    tokio::time::timeout(DEADLINE / 2, served)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rest(stream).await, "");
}

#[tokio::test]
async fn a_server_that_is_dropped_cuts_off_what_is_under_way() {
    let (address, _stop, served) = server(DEADLINE).await;
    let waiting = said(address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // Another request was answered since, so the first one is under way.
    let other = said(
        address,
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(rest(other).await.ends_with("here"));
    served.abort();
    assert_eq!(rest(waiting).await, "");
}
