//! OTLP/gRPC clients: the usual one, and one that sends frames as they are.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, StreamBody};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use slo_copilot::otlp::trace_service_client::TraceServiceClient;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower_service::Service;

use super::DEADLINE;

pub(crate) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub(crate) type Client = TraceServiceClient<Channel>;

pub(crate) async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    endpoint.tcp_nodelay(true).connect().await.unwrap()
}

pub(crate) async fn client(address: SocketAddr) -> Client {
    TraceServiceClient::new(channel(address).await)
}

/// Exports and reads the answer.
pub(crate) async fn export(
    client: &mut Client,
    request: &ExportTraceServiceRequest,
) -> Result<ExportTraceServiceResponse, Status> {
    let answer = client.export(Bytes::from(request.encode_to_vec())).await?;
    Ok(ExportTraceServiceResponse::decode(answer.into_inner()).unwrap())
}

/// Exports what must be taken whole.
pub(crate) async fn accepted(client: &mut Client, request: &ExportTraceServiceRequest) {
    let response = export(client, request).await.unwrap();
    assert_eq!(response, ExportTraceServiceResponse::default());
}

/// A message with gRPC's five bytes before it.
pub(crate) fn frame(compressed: bool, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(compressed.into());
    frame.put_u32(message.len().try_into().unwrap());
    frame.put(message);
    frame.freeze()
}

/// Sends a body as it stands; its length is announced. Returns the status, `Ok` too.
pub(crate) async fn call(
    channel: &mut Channel,
    path: &str,
    encoding: Option<&str>,
    body: Bytes,
) -> Status {
    send(channel, path, encoding, Body::new(Full::new(body))).await
}

async fn send(channel: &mut Channel, path: &str, encoding: Option<&str>, body: Body) -> Status {
    let mut request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    std::future::poll_fn(|context| channel.poll_ready(context))
        .await
        .unwrap();
    let response = channel.call(request.body(body).unwrap()).await.unwrap();
    let early = Status::from_header_map(response.headers());
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().and_then(Status::from_header_map);
    early
        .or(trailers)
        .unwrap_or_else(|| Status::new(Code::Unknown, "no status"))
}

/// An export whose body is under way until it is finished.
pub(crate) struct HeldExport {
    body: mpsc::Sender<Bytes>,
    answer: JoinHandle<Status>,
}

impl HeldExport {
    pub(crate) fn begin(mut channel: Channel) -> Self {
        let (body, chunks) = mpsc::channel(1);
        let frames = ReceiverStream::new(chunks)
            .map(|chunk| Ok::<_, std::convert::Infallible>(http_body::Frame::data(chunk)));
        let stream = Body::new(StreamBody::new(frames));
        let answer = tokio::spawn(async move { send(&mut channel, TRACES, None, stream).await });
        Self { body, answer }
    }

    /// Sends a part of the body.
    pub(crate) async fn send(&self, part: &[u8]) {
        let part = Bytes::copy_from_slice(part);
        self.body.send(part).await.unwrap();
    }

    /// Sends the message and returns the status.
    pub(crate) async fn finish(self, request: &ExportTraceServiceRequest) -> Status {
        self.send(&frame(false, &request.encode_to_vec())).await;
        drop(self.body);
        self.answer.await.unwrap()
    }

    /// Waits for the server to lose its patience.
    pub(crate) async fn given_up(self) -> Status {
        let answer = timeout(DEADLINE, self.answer).await;
        answer.unwrap().unwrap()
    }
}
