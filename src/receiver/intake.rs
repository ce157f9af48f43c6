//! What stands before a request is read: how many bytes may be under way at once.
//!
//! A request takes its announced length from a semaphore before its body is read, and more if it turns out longer. A
//! compressed gRPC body reaches the server only when all of it is there: decompression and counting then run without waiting
//! for the network, so that at most one decompressed body a thread is in memory. Plain bodies flow through, so that the
//! transport can use its buffers again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes taken for a request that does not announce its length.
const UNKNOWN_LENGTH_BYTES: u64 = 64 * 1024;

/// What gRPC puts before its message.
const GRPC_PREFIX_BYTES: u64 = 5;

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many bytes are under way; come again.
    #[error(
        "too many request bytes are in flight; retry later, or raise receivers.otlp.max_in_flight_bytes"
    )]
    Overload,
    /// The forwarder's queue is full, and is not to drop anything; come again.
    #[error(
        "too much waits to be forwarded; retry later, or raise exporters.forward.queue.max_bytes"
    )]
    Backlog,
    /// The request alone is too large; do not come again.
    #[error(
        "the request is larger than {limit} bytes; send smaller batches, or raise receivers.otlp.max_request_bytes"
    )]
    TooLarge {
        /// `receivers.otlp.max_request_bytes`.
        limit: u64,
    },
}

/// Lets requests in by their bytes.
#[derive(Clone, Debug)]
pub struct Intake {
    in_flight: Arc<Semaphore>,
    /// Largest request, before and after decompression.
    pub max_request_bytes: u64,
    /// When a refused client may come again.
    pub retry_after: Duration,
}

impl Intake {
    /// At most `max_in_flight_bytes` at once, and at least one request of the largest size, packed and unpacked.
    pub fn new(max_in_flight_bytes: u64, max_request_bytes: u64, retry_after: Duration) -> Self {
        // A compressed request is held packed and unpacked at once.
        let largest = max_request_bytes
            .saturating_mul(2)
            .saturating_add(GRPC_PREFIX_BYTES);
        let permits = max_in_flight_bytes.max(largest);
        let permits = usize::try_from(permits)
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        Self {
            in_flight: Arc::new(Semaphore::new(permits)),
            max_request_bytes,
            retry_after,
        }
    }

    /// Takes the bytes of a request before its body is read.
    pub fn admit<B: Body>(&self, headers: &HeaderMap, body: B) -> Result<Metered<B>, Refused> {
        let announced = headers
            .get(http::header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
            .or(body.size_hint().exact());
        if announced.is_some_and(|length| length > self.most_bytes()) {
            return Err(Refused::TooLarge {
                limit: self.max_request_bytes,
            });
        }
        let reserved = announced
            .unwrap_or(UNKNOWN_LENGTH_BYTES)
            .min(self.max_request_bytes);
        let permit = self.take(reserved)?;
        let encoding = headers.get("grpc-encoding");
        Ok(Metered {
            holds: encoding.is_some_and(|encoding| encoding != "identity"),
            inner: Some(body),
            intake: self.clone(),
            lease: Lease(Arc::new(Mutex::new(permit))),
            reserved,
            received: 0,
            chunks: VecDeque::new(),
            trailers: None,
        })
    }

    /// Lets nothing in any more: whoever comes now comes too late for the last evaluation.
    pub fn close(&self) {
        self.in_flight.close();
    }

    /// Most bytes of a body.
    fn most_bytes(&self) -> u64 {
        self.max_request_bytes.saturating_add(GRPC_PREFIX_BYTES)
    }

    fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Refused> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.in_flight)
            .try_acquire_many_owned(bytes)
            .map_err(|_| Refused::Overload)
    }
}

/// The bytes that a request holds until it is answered.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Mutex<OwnedSemaphorePermit>>);

impl Lease {
    /// Takes more bytes, for what decompression adds.
    pub fn grow(&self, intake: &Intake, bytes: u64) -> Result<(), Refused> {
        let more = intake.take(bytes)?;
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .merge(more);
        Ok(())
    }
}

/// A body that counts its bytes. A compressed gRPC body is given only when all of it is there.
#[derive(Debug)]
pub struct Metered<B> {
    /// Whether chunks wait for the end of the body.
    holds: bool,
    inner: Option<B>,
    intake: Intake,
    lease: Lease,
    reserved: u64,
    received: u64,
    chunks: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl<B> Metered<B> {
    /// Keep it as long as the bytes are in memory.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    fn meter(&mut self, bytes: usize) -> Result<(), Refused> {
        self.received += bytes as u64;
        if self.received > self.intake.most_bytes() {
            return Err(Refused::TooLarge {
                limit: self.intake.max_request_bytes,
            });
        }
        if self.received > self.reserved {
            let wanted = self
                .received
                .max(self.reserved.saturating_mul(2))
                .min(self.intake.most_bytes());
            self.lease.grow(&self.intake, wanted - self.reserved)?;
            self.reserved = wanted;
        }
        Ok(())
    }
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError<E> {
    /// We did not let it in.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The connection broke.
    #[error("the request body ended early: {0}")]
    Transport(E),
}

impl<B: Body<Data = Bytes> + Unpin> Body for Metered<B> {
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        while let Some(inner) = &mut this.inner {
            match ready!(Pin::new(inner).poll_frame(context)) {
                None => this.inner = None,
                Some(Err(error)) => {
                    this.inner = None;
                    this.chunks.clear();
                    return Poll::Ready(Some(Err(BodyError::Transport(error))));
                }
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    if let Err(refused) = this.meter(bytes) {
                        this.inner = None;
                        this.chunks.clear();
                        return Poll::Ready(Some(Err(refused.into())));
                    }
                    if !this.holds {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    match frame.into_data() {
                        Ok(chunk) => this.chunks.push_back(chunk),
                        Err(frame) => this.trailers = frame.into_trailers().ok(),
                    }
                }
            }
        }
        let data = this.chunks.pop_front().map(Frame::data);
        Poll::Ready(
            data.or_else(|| this.trailers.take().map(Frame::trailers))
                .map(Ok),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none() && self.chunks.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    /// A body that does not say how long it is.
    struct Unannounced(Full<Bytes>);

    impl Body for Unannounced {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Pin::new(&mut self.0).poll_frame(context)
        }
    }

    /// How many bytes arrive of a body of `len` where a request may have 100 000.
    async fn read(len: usize, is_announced: bool) -> Result<usize, Refused> {
        let intake = Intake::new(100_000, 100_000, Duration::from_secs(1));
        let body = Full::new(Bytes::from(vec![0; len]));
        let headers = HeaderMap::new();
        let read = if is_announced {
            intake.admit(&headers, body)?.collect().await
        } else {
            intake.admit(&headers, Unannounced(body))?.collect().await
        };
        match read {
            Ok(body) => Ok(body.to_bytes().len()),
            Err(BodyError::Refused(refused)) => Err(refused),
            Err(BodyError::Transport(never)) => match never {},
        }
    }

    /// The prefix of gRPC did not fit beside the largest request, which was told to come again for ever.
    #[tokio::test]
    async fn the_largest_request_is_let_in_where_only_one_may_be_under_way() {
        let too_large = Err(Refused::TooLarge { limit: 100_000 });
        for is_announced in [true, false] {
            assert_eq!(read(0, is_announced).await, Ok(0));
            assert_eq!(read(100_005, is_announced).await, Ok(100_005));
            assert_eq!(read(100_006, is_announced).await, too_large);
        }
    }

    #[test]
    fn bytes_that_are_under_way_are_taken_until_their_lease_ends() {
        let intake = Intake::new(1_000, 600, Duration::from_secs(1));
        let admit = || intake.admit(&HeaderMap::new(), Full::new(Bytes::from(vec![0; 600])));
        let first = admit().unwrap();
        let lease = first.lease();
        drop(first);
        let _second = admit().unwrap();
        assert_eq!(admit().unwrap_err(), Refused::Overload);
        drop(lease);
        assert!(admit().is_ok());
    }

    #[test]
    fn no_limit_overflows() {
        let intake = Intake::new(u64::MAX, u64::MAX, Duration::ZERO);
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_LENGTH, u64::MAX.into());
        assert!(intake.admit(&headers, Full::new(Bytes::new())).is_ok());
    }
}
