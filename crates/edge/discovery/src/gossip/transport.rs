//! The library's transport, with a filter in front of the packets.
//!
//! A packet says in the clear how it was padded and how long it is; the seal covers neither. A
//! stranger who changes both in a packet it has overheard makes the library take the last byte of what
//! is sealed for the length of a padding, and a length that is too large ends the task that reads
//! packets: the broker is deaf from then on. Brokers pad nothing, so whatever says otherwise is
//! dropped here.

use super::{Name, PACKETS_MAX, stream};
use memberlist_core::proto::Payload;
use serf::net::NetTransport;
use serf::tokio::{TokioRuntime, TokioSocketAddrResolver};
use serf::transport::{PacketSubscriber, StreamSubscriber, Transport, packet_stream};
use std::net::SocketAddr;
use tokio::time::Instant;

type Net = NetTransport<Name, TokioSocketAddrResolver, stream::BoundedTcp, TokioRuntime>;
type NetError = <Net as Transport>::Error;
type NetOptions = <Net as Transport>::Options;

/// UDP and TCP, without what is sealed in another way than ours.
pub(crate) struct GuardedTransport {
    net: Net,
    packets: PacketSubscriber<SocketAddr, Instant>,
}

impl Transport for GuardedTransport {
    type Error = NetError;
    type Id = Name;
    type Address = SocketAddr;
    type ResolvedAddress = SocketAddr;
    type Resolver = TokioSocketAddrResolver;
    type Connection = stream::BoundedStream;
    type Runtime = TokioRuntime;
    type Options = NetOptions;

    async fn new(options: NetOptions) -> Result<Self, NetError> {
        let net = Net::new(options).await?;
        let (passed_on, packets) = packet_stream::<Self>(PACKETS_MAX);
        let all = net.packet();
        // It ends when the sockets are closed.
        tokio::spawn(async move {
            while let Ok(packet) = all.recv().await {
                if stream::is_sealed_as_ours(packet.payload())
                    && passed_on.send(packet).await.is_err()
                {
                    break;
                }
            }
        });
        Ok(Self { net, packets })
    }

    async fn resolve(&self, address: &SocketAddr) -> Result<SocketAddr, NetError> {
        self.net.resolve(address).await
    }

    fn local_id(&self) -> &Name {
        self.net.local_id()
    }

    fn local_address(&self) -> &SocketAddr {
        self.net.local_address()
    }

    fn advertise_address(&self) -> &SocketAddr {
        self.net.advertise_address()
    }

    fn max_packet_size(&self) -> usize {
        self.net.max_packet_size()
    }

    fn header_overhead(&self) -> usize {
        self.net.header_overhead()
    }

    fn blocked_address(&self, address: &SocketAddr) -> Result<(), NetError> {
        self.net.blocked_address(address)
    }

    async fn send_to(
        &self,
        address: &SocketAddr,
        packet: Payload,
    ) -> Result<(usize, Instant), NetError> {
        self.net.send_to(address, packet).await
    }

    async fn open(
        &self,
        address: &SocketAddr,
        deadline: Instant,
    ) -> Result<Self::Connection, NetError> {
        self.net.open(address, deadline).await
    }

    fn packet(&self) -> PacketSubscriber<SocketAddr, Instant> {
        self.packets.clone()
    }

    fn stream(&self) -> StreamSubscriber<SocketAddr, Self::Connection> {
        self.net.stream()
    }

    fn packet_reliable(&self) -> bool {
        self.net.packet_reliable()
    }

    fn packet_secure(&self) -> bool {
        self.net.packet_secure()
    }

    fn stream_secure(&self) -> bool {
        self.net.stream_secure()
    }

    async fn shutdown(&self) -> Result<(), NetError> {
        self.net.shutdown().await
    }
}
