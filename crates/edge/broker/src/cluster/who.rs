//! Who somebody is, as the cluster port tells it to anybody who can prove the secret.

use super::{Cluster, kinds};
use bytes::Bytes;
use jocko_discovery::{Member, Probe};
use jocko_net::peers::{Lane, PeerError, Peers};
use jocko_types::{BrokerId, Uuid};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long an address that is asked who it is may take.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// A member as it describes itself on the cluster port.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Described {
    pub(super) node: Uuid,
    broker_id: Option<BrokerId>,
    cluster_address: String,
    kafka_address: String,
    rack: Option<String>,
    release: String,
    pub(super) cluster_id: Option<Uuid>,
    expect: u32,
    /// Where it gossips, if it does.
    #[serde(default)]
    pub(super) gossip: Option<SocketAddr>,
}

/// What a broker answers about itself.
pub(super) fn describe(cluster: &Cluster) -> Bytes {
    let me = cluster.me();
    let described = Described {
        node: me.node,
        broker_id: me.broker_id,
        cluster_address: me.cluster_address,
        kafka_address: me.kafka_address,
        rack: me.rack,
        release: me.release,
        cluster_id: me.cluster_id,
        expect: me.expect,
        gossip: cluster.discovery().and_then(|it| it.address()),
    };
    serde_json::to_vec(&described).expect("ids, numbers and text become JSON").into()
}

/// Asks an address who is there; an error says why it did not tell.
pub(super) async fn ask(peers: &Peers, address: &str) -> Result<Described, String> {
    let answer = knock(peers, address).await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&answer).map_err(|error| error.to_string())
}

/// The same, for whoever only wants to know whether somebody answers.
pub(super) async fn knock(peers: &Peers, address: &str) -> Result<Bytes, PeerError> {
    peers.call(address, Lane::Control, kinds::WHO, Bytes::new(), PROBE_MAX).await
}

/// The same question, for discovery without gossip.
pub(super) fn probe(peers: Peers) -> Probe {
    Arc::new(move |address: String| {
        let peers = peers.clone();
        Box::pin(async move {
            let told = ask(&peers, &address).await?;
            Ok(Member {
                node: told.node,
                broker_id: told.broker_id,
                cluster_address: told.cluster_address,
                kafka_address: told.kafka_address,
                rack: told.rack,
                release: told.release,
                cluster_id: told.cluster_id,
                expect: told.expect,
            })
        })
    })
}
