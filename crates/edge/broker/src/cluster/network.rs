//! Raft's messages over the cluster port. Each goes behind the id of the node it is meant for: an
//! address may have been given to another node meanwhile, whose disk must not speak for this one.

use super::book::AddressBook;
use super::kinds;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jocko_consensus::{CallError, Network, NodeId, Peer};
use jocko_net::peers::{Lane, Peers};
use std::time::Duration;

/// Messages of Raft that are larger go with bulk data: a snapshot must not delay heartbeats.
const CONTROL_BYTES_MAX: usize = 1 << 20;

/// How Raft reaches other nodes.
#[derive(Debug)]
pub(crate) struct RaftOverPeers {
    pub(crate) peers: Peers,
    pub(crate) book: AddressBook,
}

impl Network for RaftOverPeers {
    fn call(
        &self,
        target: NodeId,
        peer: &Peer,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let peers = self.peers.clone();
        let address = self.book.find(target.directory_id(), &peer.address);
        let lane = if request.len() > CONTROL_BYTES_MAX { Lane::Data } else { Lane::Control };
        let id = Bytes::copy_from_slice(target.directory_id().as_bytes());
        Box::pin(async move {
            let answer = peers.call(&address, lane, kinds::RAFT, vec![id, request], timeout).await;
            answer.map_err(|error| CallError::new(format!("{address}: {error}")))
        })
    }
}
