//! The way into a cluster: founding it, or asking to be let in.

use super::{Cluster, kinds, service};
use crate::start::StartError;
use bytes::Bytes;
use jocko_consensus::{MembershipError, NodeId, Peer, ProposeError};
use jocko_forming::Action;
use jocko_metadata::{bootstrap, encode_entry};
use jocko_net::peers::{Lane, PeerIdentity, PeerRefusal};
use jocko_types::Uuid;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long one member has for an answer.
const ASK_MAX: Duration = Duration::from_secs(3);
/// How long to look who is there.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// How long a node whose log knows its group waits for a leader's word before it asks others.
const LONELY: Duration = Duration::from_secs(3);
/// The pause between rounds of asking all members.
const PAUSE: Duration = Duration::from_millis(200);

/// What a node says that wants to be let in.
#[derive(Debug, Serialize, Deserialize)]
struct Wish {
    node: Uuid,
    address: String,
    cluster: Uuid,
    /// Whether a member has passed it on: the next one does not.
    is_passed_on: bool,
}

/// Does what the forming came to; returns when this node is a member of the group, or will be told
/// so by its leader.
pub(crate) async fn enter(cluster: &Cluster, action: &Action) -> Result<(), StartError> {
    match action {
        Action::Found(proposal) => {
            cluster.belongs_to(proposal.cluster);
            if cluster.raft.is_blank() {
                let voters = proposal
                    .voters()
                    .iter()
                    .map(|seat| (NodeId::new(seat.node), Peer::at(seat.address.clone())));
                cluster.raft.bootstrap(voters.collect()).await?;
                tracing::info!(cluster_id = %proposal.cluster, "formed a new cluster");
            }
        }
        Action::Join { cluster: id } => {
            cluster.belongs_to(*id);
            ask_to_be_let_in(cluster, *id).await;
        }
    }
    Ok(())
}

/// Asks the members that are seen, one after the other, to be let in. Does nothing for a node that
/// is a member. What this node waits for then.
pub(crate) async fn ask_members(cluster: &Cluster, id: Uuid) -> String {
    let me = cluster.me();
    let wish =
        Wish { node: me.node, address: me.cluster_address, cluster: id, is_passed_on: false };
    let body = serde_json::to_vec(&wish).expect("ids and text become JSON");
    let members = cluster.discovery().map(|it| it.members()).unwrap_or_default();
    let mut words = format!("waiting for a member of cluster {id} to be found");
    for member in members.iter().filter(|member| member.cluster_id == Some(id)) {
        let address = &member.cluster_address;
        let asked = cluster.peers.call(address, Lane::Control, kinds::ADMIT, body.clone(), ASK_MAX);
        match asked.await {
            Ok(_) => return format!("let in by {address}; waiting for the cluster's leader"),
            Err(error) => words = format!("waiting to be let in; {address}: {error}"),
        }
    }
    words
}

/// Asks until the leader's messages arrive.
async fn ask_to_be_let_in(cluster: &Cluster, id: Uuid) {
    while cluster.raft.status().leader.is_none() {
        let words = ask_members(cluster, id).await;
        if cluster.waiting.is_for(&words) {
            tracing::info!("{words}");
        }
        let mut news = cluster.raft.watch();
        let has_leader = news.wait_for(|status| status.leader.is_some());
        // The leader comes, or the next round does.
        let _ = timeout(PAUSE, has_leader).await;
    }
}

/// Lets a node in as a learner, or passes its wish on to the leader.
pub(super) async fn admit(
    cluster: &Cluster,
    from: &PeerIdentity,
    body: &Bytes,
) -> Result<Vec<Bytes>, PeerRefusal> {
    let mut wish: Wish = serde_json::from_slice(body)
        .map_err(|error| PeerRefusal::new(kinds::MALFORMED, error.to_string()))?;
    let own = cluster.identity.get().cluster_id;
    let is_passed_on = wish.is_passed_on && from.cluster_id.is_some() && from.cluster_id == own;
    if own != Some(wish.cluster) || (from.node != wish.node && !is_passed_on) {
        let words = format!("{from} asks for {} of cluster {}", wish.node, wish.cluster);
        return Err(PeerRefusal::new(kinds::NOT_YOURS, words));
    }
    let status = cluster.raft.status();
    if status.is_serving {
        return admit_here(cluster, wish).await;
    }
    // A log may still name a leader that is gone, and even the one who asks.
    let leader = status.leader.filter(|(leader, _)| leader.directory_id() != wish.node);
    let Some((leader, peer)) = leader.filter(|_| !wish.is_passed_on) else {
        return Err(service::not_ready("no leader is known here"));
    };
    wish.is_passed_on = true;
    let body = serde_json::to_vec(&wish).expect("ids and text become JSON");
    let address = cluster.book.find(leader.directory_id(), &peer.address);
    let passed = cluster.peers.call(&address, Lane::Control, kinds::ADMIT, body, ASK_MAX).await;
    passed.map(|_| Vec::new()).map_err(|error| service::not_ready(format!("{address}: {error}")))
}

async fn admit_here(cluster: &Cluster, wish: Wish) -> Result<Vec<Bytes>, PeerRefusal> {
    let refused = |error: MembershipError| match error {
        MembershipError::Propose(ProposeError::TooLarge { .. }) => {
            PeerRefusal::new(kinds::MALFORMED, error.to_string())
        }
        error => service::not_ready(error.to_string()),
    };
    let raft = &cluster.raft;
    let own = NodeId::new(cluster.node);
    let status = raft.status();
    // A broker that began alone has told nobody where it is: now it matters.
    let own_address = cluster.me().cluster_address;
    if let Some(known) = status.voters.get(&own).filter(|known| known.address != own_address) {
        raft.relocate(own, known.moved_to(own_address)).await.map_err(refused)?;
    }
    let node = NodeId::new(wish.node);
    match status.voters.get(&node).or_else(|| status.learners.get(&node)) {
        Some(known) if known.address == wish.address => {}
        Some(known) => {
            raft.relocate(node, known.moved_to(wish.address)).await.map_err(refused)?;
        }
        None => {
            tracing::info!(%node, address = wish.address, "letting a node in");
            raft.admit(node, Peer::at(wish.address)).await.map_err(refused)?;
        }
    }
    Ok(Vec::new())
}

/// Waits until somebody leads. If it is this node, and the cluster has no name yet, it gets its
/// own: whoever the founders elect writes the same.
pub(crate) async fn hold_election(cluster: &Cluster) -> Result<(), StartError> {
    let mut news = cluster.raft.watch();
    let mut has_told = false;
    let mut asks_at = Instant::now() + LONELY;
    loop {
        let status = news.get();
        if let Some(words) = &status.fatal {
            return Err(StartError::NotReady(words.to_string()));
        }
        if status.is_serving {
            if cluster.published.load().image.cluster_id().is_some() {
                return Ok(());
            }
            let Some(id) = cluster.identity.get().cluster_id else {
                let words = "its log has no cluster id, and this directory knows none";
                return Err(StartError::NotReady(words.to_owned()));
            };
            let records = bootstrap(id, cluster.clock.wall(), cluster.me().expect);
            match cluster.raft.propose(Bytes::from(encode_entry(&records))).await {
                Ok(_) => return Ok(()),
                Err(error) => tracing::warn!(%error, "the cluster's id was not recorded yet"),
            }
        } else if status.leader.as_ref().is_some_and(|(id, _)| id.directory_id() != cluster.node) {
            return Ok(());
        } else if !has_told && !status.voters.is_empty() {
            has_told = true;
            let peers: Vec<&str> =
                status.voters.values().map(|peer| peer.address.as_str()).collect();
            let voters = peers.join(", ");
            tracing::info!(voters, "waiting for the cluster to elect a leader");
            cluster.waiting.is_for(&format!("waiting for {voters} to elect a leader"));
        }
        refuse_foreigners(cluster)?;
        let changed = async {
            if news.changed().await.is_none() {
                sleep(PAUSE).await;
            }
        };
        let cluster_id = cluster.identity.get().cluster_id;
        let Some(id) = cluster_id.filter(|_| Instant::now() >= asks_at) else {
            // News, or a look at who is there.
            let _ = timeout(PAUSE, changed).await;
            continue;
        };
        // The others may have forgotten this node meanwhile, and a leader that does not know it
        // says nothing to it, whatever the log here tells.
        tokio::select! {
            biased;
            () = changed => {}
            words = ask_members(cluster, id) => {
                still_waits(cluster, &words);
                asks_at = Instant::now() + LONELY;
            }
        }
    }
}

/// Says what a node waits for whose log knows voters, none of which it hears of.
pub(crate) fn still_waits(cluster: &Cluster, words: &str) {
    let status = cluster.raft.status();
    if status.voters.is_empty() {
        tracing::debug!("no leader is heard of: {words}");
        return;
    }
    let peers: Vec<&str> = status.voters.values().map(|peer| peer.address.as_str()).collect();
    let voters = peers.join(", ");
    let is_anybody_seen = cluster.discovery().is_some_and(|it| !it.changed().borrow().is_empty());
    let cure = if is_anybody_seen {
        ""
    } else {
        " (no other broker is found; if they have moved, name one with --join)"
    };
    let words = format!("waiting for {voters} to elect a leader; {words}{cure}");
    if cluster.waiting.is_for(&words) {
        tracing::info!("{words}");
    }
}

/// Looks who is there, for a moment, before a broker goes on alone that was told to join others.
pub(crate) async fn refuse_foreigners_soon(cluster: &Cluster) -> Result<(), StartError> {
    let Some(mut seen) = cluster.discovery().map(|it| it.changed()) else { return Ok(()) };
    let anybody = seen.wait_for(|members| !members.is_empty());
    // Nobody there is nothing against it.
    let _ = timeout(LOOK_MAX, anybody).await;
    refuse_foreigners(cluster)
}

/// A directory of one cluster that is started among brokers of another waits for ever: both ids
/// and the cure are said instead.
fn refuse_foreigners(cluster: &Cluster) -> Result<(), StartError> {
    let Some(own) = cluster.identity.get().cluster_id else { return Ok(()) };
    let members = cluster.discovery().map(|it| it.members()).unwrap_or_default();
    let is_home = members.iter().any(|member| member.cluster_id == Some(own));
    let foreign = members.iter().find_map(|member| {
        member.cluster_id.filter(|id| *id != own).map(|id| (id, member.cluster_address.clone()))
    });
    match foreign {
        Some((theirs, address)) if !is_home => Err(StartError::Foreign { own, theirs, address }),
        _ => Ok(()),
    }
}
