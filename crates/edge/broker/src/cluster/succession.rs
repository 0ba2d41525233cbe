//! Where the process that led has ended, its port refuses, and nobody needs to wait until its lease is
//! over. One that hangs or is cut off refuses nothing, and is waited for.

use super::Cluster;
use jocko_consensus::NodeId;
use std::time::Duration;
use tokio::time::sleep;

/// How long a look may take whether anybody listens where a broker was.
pub(super) const LOOK_MAX: Duration = Duration::from_millis(100);
/// A leader that was heard of less long ago may be alive behind a port that refuses: it says so
/// every 100 ms.
const QUIET: Duration = Duration::from_millis(250);
/// Who comes next in the order of voters waits so much longer: one election at a time.
const STEP: Duration = Duration::from_millis(100);

/// Stands for election if the leader has surely ended. Called when it does not answer.
pub(super) async fn succeed_if_gone(cluster: &Cluster) {
    let status = cluster.raft.status();
    let own = NodeId::new(cluster.node);
    let Some((leader, peer)) = status.leader.filter(|(leader, _)| *leader != own) else { return };
    let others = status.voters.keys().filter(|node| **node != leader);
    let Some(turn) = others.into_iter().position(|node| *node == own) else { return };
    let address = cluster.book.find(leader.directory_id(), &peer.address);
    if !cluster.peers.is_refused(&address, LOOK_MAX).await {
        return;
    }
    let silence = || match cluster.raft.leader_silence() {
        Some((heard, silence)) if heard == leader => silence,
        // It has said nothing since this process began.
        _ => QUIET,
    };
    sleep(QUIET.saturating_sub(silence()) + STEP * u32::try_from(turn).unwrap_or(0)).await;
    let still_leads = cluster.raft.status().leader.is_some_and(|(node, _)| node == leader);
    if !still_leads || silence() < QUIET || !cluster.peers.is_refused(&address, LOOK_MAX).await {
        return;
    }
    tracing::info!(%leader, address, "nobody listens where the leader was; standing for election");
    if let Err(error) = cluster.raft.succeed(leader).await {
        tracing::debug!(%error, "not standing for election");
    }
}
