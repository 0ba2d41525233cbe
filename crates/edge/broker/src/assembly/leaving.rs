//! How a broker leaves those it ran with, when it stops: others lead what it led and vote in its
//! place, and are told that it goes.

use crate::cluster::{self, Beating, Cluster};
use jocko_consensus::{NodeId, Raft, RaftStatus};
use jocko_net::peers::PeerServer;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

/// How long others get to take over, at most, of the whole grace of a stop.
const STEP_BACK_MAX: Duration = Duration::from_secs(5);

/// Before a stop: others lead what this broker leads, the metadata's group, too.
pub(crate) async fn step_back(beating: &Beating, grace: Duration) {
    let raft = &beating.cluster.raft;
    let status = raft.status();
    if status.voters.len() + status.learners.len() <= 1 {
        return;
    }
    let wait = grace.min(STEP_BACK_MAX);
    beating.step_back(wait).await;
    let own = NodeId::new(beating.cluster.node);
    let status = raft.status();
    if !status.is_serving {
        return;
    }
    if status.voters.keys().eq([&own]) {
        leave_vote(&beating.cluster, &status, own, wait).await;
        return;
    }
    let progress = raft.progress();
    let heirs = status.voters.keys().filter(|node| **node != own);
    let Some(heir) = heirs.max_by_key(|node| progress.get(node).and_then(|it| it.matched_index))
    else {
        return;
    };
    hand_over(raft, *heir, wait).await;
}

async fn hand_over(raft: &Raft, heir: NodeId, wait: Duration) {
    let led_by_heir =
        |status: &RaftStatus| status.leader.as_ref().is_some_and(|(leader, _)| *leader == heir);
    if raft.hand_over_to(heir).await.is_ok()
        && timeout(wait, raft.watch().wait_for(led_by_heir)).await.is_err()
    {
        tracing::warn!(%heir, "leadership of the metadata was not taken over in time");
    }
}

/// Of two brokers one votes. When that one stops, the other is to vote in its place, or nothing
/// could be decided until it is back, not even that it is gone for good. For a moment both vote:
/// whoever leads then sees that one is enough, and that it is not the one that stops.
async fn leave_vote(cluster: &Cluster, status: &RaftStatus, own: NodeId, wait: Duration) {
    let raft = &cluster.raft;
    let Some(heir) = cluster::heir(cluster, status, status.learners.keys()) else { return };
    let left = async {
        if let Err(error) = raft.set_voters(BTreeSet::from([own, heir]), true).await {
            tracing::warn!(%error, %heir, "the only vote on the metadata stays with this broker");
            return;
        }
        hand_over(raft, heir, wait).await;
        raft.watch().wait_for(|status| !status.voters.contains_key(&own)).await;
        tracing::info!(%heir, "another broker votes on the metadata in this one's place");
    };
    if timeout(wait, left).await.is_err() {
        tracing::warn!(%heir, "the only vote on the metadata was not taken over in time");
    }
}

/// Tells whoever gossips that this broker is going, which takes some hundred milliseconds to spread.
pub(crate) async fn say_farewell(cluster: &Cluster) {
    if let Some(discovery) = cluster.discovery() {
        discovery.leave().await;
    }
}

/// The last thing others hear.
pub(crate) async fn close_cluster_port(cluster: &Cluster, peer_server: Option<PeerServer>) {
    if let Some(server) = peer_server {
        server.stop().await;
    }
    cluster.peers.close();
}
