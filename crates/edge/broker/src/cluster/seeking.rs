//! Looks for brokers where the log knows them. One that starts again without `cluster.join`, or with
//! names that lead to nobody any more, still knows the cluster ports of the others: whoever answers
//! there tells where it gossips, and gossip leads to all who have moved meanwhile.

use super::{Cluster, who};
use futures_util::future::join_all;
use jocko_config::HostPort;
use jocko_types::Uuid;
use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Duration;
use tokio::time::sleep;

/// The pause after the first round. It doubles while somebody is missing.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The members that the log knows, but for this one, and where their cluster ports were.
fn known(cluster: &Cluster) -> Vec<(Uuid, String)> {
    let status = cluster.raft.status();
    let members = status.voters.into_iter().chain(status.learners);
    let all = members.map(|(id, peer)| (id.directory_id(), peer.address));
    all.filter(|(node, _)| *node != cluster.node).collect()
}

/// Where their cluster ports were, for discovery without gossip.
pub(super) fn seeds(cluster: &Cluster) -> Vec<HostPort> {
    let known = known(cluster).into_iter();
    let seed = |address: &str| {
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(HostPort { host, port: port.parse().ok()? })
    };
    known.filter_map(|(_, address)| seed(&address)).collect()
}

/// Asks the members that gossip does not show where they gossip, as long as this broker lives. It
/// begins after `patience`, and sleeps while nobody is missing.
pub(super) async fn seek(cluster: Weak<Cluster>, patience: Duration) {
    let Some(mut seen) = cluster.upgrade().and_then(|it| Some(it.discovery()?.changed())) else {
        return;
    };
    let Some(mut status) = cluster.upgrade().map(|it| it.raft.watch()) else { return };
    // Nobody knows members yet: a blank node, or one whose Raft has only just started.
    if status.wait_for(|status| !status.voters.is_empty()).await.is_none() {
        return;
    }
    sleep(patience).await;
    let mut pause = PAUSE_MIN;
    loop {
        seen.borrow_and_update();
        let is_missed = match cluster.upgrade() {
            Some(cluster) => round(&cluster).await,
            None => return,
        };
        let again = async {
            if is_missed {
                // Brokers that start together would else ask in step.
                sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            changed = seen.changed() => {
                if changed.is_err() {
                    return;
                }
                pause = PAUSE_MIN;
            }
            () = again => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
}

/// Asks everybody who is missing once. Whether somebody is.
async fn round(cluster: &Cluster) -> bool {
    let (Some(discovery), Some(own)) = (cluster.discovery(), cluster.identity.get().cluster_id)
    else {
        return false;
    };
    let seen = discovery.members();
    let mut missing = known(cluster);
    missing.retain(|(node, _)| seen.iter().all(|member| member.node != *node));
    if missing.is_empty() {
        return false;
    }
    let asked = missing.iter().map(|(_, address)| who::ask(&cluster.peers, address));
    let found: Vec<SocketAddr> = join_all(asked)
        .await
        .into_iter()
        .flatten()
        // Their addresses may be another cluster's by now, or this broker's.
        .filter(|told| told.cluster_id == Some(own) && told.node != cluster.node)
        .filter_map(|told| told.gossip)
        .collect();
    if !found.is_empty() {
        discovery.seek(found);
    }
    true
}
