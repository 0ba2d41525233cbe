//! A client's connections: Kafka's frames over the simulated network.

use jocko_codec::Writer;
use jocko_net::ports::{BoxStream, MemoryNode, Net, SocketOptions};
use jocko_protocol::frame::{encode_request, parse_response};
use jocko_protocol::{Decode, Request};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections to brokers, one each.
#[derive(Debug)]
pub(super) struct Wire {
    node: MemoryNode,
    open: BTreeMap<SocketAddr, BoxStream>,
    correlation_id: i32,
}

impl Wire {
    pub(super) fn new(node: MemoryNode) -> Self {
        Self { node, open: BTreeMap::new(), correlation_id: 0 }
    }

    /// Asks a broker, and hands its answer to `read`.
    pub(super) async fn ask<R: Request, T>(
        &mut self,
        to: SocketAddr,
        version: i16,
        request: &R,
        read: impl for<'r> FnOnce(R::Response<'r>) -> T,
    ) -> io::Result<T> {
        self.correlation_id += 1;
        let mut writer = Writer::new();
        encode_request(self.correlation_id, Some("sim"), version, request, &mut writer)
            .map_err(io::Error::other)?;
        let exchanged = timeout(PATIENCE, self.exchange(to, writer.bytes())).await;
        let frame = match exchanged {
            Ok(Ok(frame)) => frame,
            Ok(Err(error)) => {
                self.open.remove(&to);
                return Err(error);
            }
            Err(_) => {
                self.open.remove(&to);
                return Err(io::ErrorKind::TimedOut.into());
            }
        };
        let (correlation_id, mut body) =
            parse_response(&frame, R::API_KEY, version).map_err(io::Error::other)?;
        if correlation_id != self.correlation_id {
            return Err(io::Error::other("an answer to another question"));
        }
        let response = R::Response::decode(&mut body, version).map_err(io::Error::other)?;
        Ok(read(response))
    }

    async fn exchange(&mut self, to: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
        if !self.open.contains_key(&to) {
            let stream = self.node.connect(to, &SocketOptions::default()).await?;
            self.open.insert(to, stream);
        }
        let stream = self.open.get_mut(&to).expect("it was opened just now");
        stream.write_all(request).await?;
        let size = stream.read_i32().await?;
        let mut frame = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        stream.read_exact(&mut frame).await?;
        Ok(frame)
    }
}
