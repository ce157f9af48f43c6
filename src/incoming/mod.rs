//! Connections from outside: HTTP on a listener, and how long one that says nothing is kept.
//!
//! Peers vanish without a word, and some never say one. Whoever keeps their connections for ever runs out of what a process
//! may open, and then takes no spans either.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// The shortest first line of a request has so many bytes: `GET / HTTP/1.1` and the end of the line.
const FIRST_BYTES: usize = 16;

/// A peer of HTTP/2 that does not answer a ping for so long is gone.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves HTTP/1 and HTTP/2 until `shutdown` ends, then lets the requests under way finish. Dropped, it cuts them off.
///
/// A connection over which no request comes for `idle` is closed: between requests, in the middle of a head, or before the
/// first one. One of HTTP/2 is asked for a sign of life instead.
pub async fn serve(
    mut listener: TcpListener,
    router: Router,
    idle: Duration,
    shutdown: impl Future<Output = ()>,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(idle))
        .keep_alive_timeout(PING_TIMEOUT);
    let builder = Arc::new(builder);
    // Done once here rather than for each request.
    let router: Router = router.with_state(());
    let stop = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            (stream, _) = Listener::accept(&mut listener) => {
                let stream = Punctual::new(stream, idle);
                let (router, builder) = (router.clone(), Arc::clone(&builder));
                connections.spawn(converse(stream, router, builder, stop.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    stop.cancel();
    while connections.join_next().await.is_some() {}
}

/// Answers what is asked over one connection.
async fn converse(
    stream: Punctual,
    router: Router,
    builder: Arc<Builder<TokioExecutor>>,
    stop: CancellationToken,
) {
    // Small answers must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.stream.set_nodelay(true) {
        tracing::debug!(%error, "Cannot set TCP_NODELAY.");
    }
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "A connection ended early.");
    }
}

/// A stream that fails if its first bytes do not come in time. After them it is like any other.
#[derive(Debug)]
pub struct Punctual {
    stream: TcpStream,
    /// First bytes that have not come yet.
    missing: usize,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Punctual {
    /// The first bytes have this long.
    pub fn new(stream: TcpStream, limit: Duration) -> Self {
        Self {
            stream,
            missing: FIRST_BYTES,
            deadline: Some(Box::pin(tokio::time::sleep(limit))),
        }
    }
}

impl AsyncRead for Punctual {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let held = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(deadline) = &mut this.deadline else {
            return read;
        };
        if read.is_pending() {
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let came = buffer.filled().len().saturating_sub(held);
        this.missing = this.missing.saturating_sub(came);
        if this.missing == 0 {
            this.deadline = None;
        }
        read
    }
}

impl AsyncWrite for Punctual {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Connected for Punctual {
    type ConnectInfo = <TcpStream as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}
