//! What the leader sees to before it registers another broker: that its process is the only one of
//! its disk, and that it is a member of the metadata's group. Whoever is registered without being
//! one would wait for ever for the entry that says so.

use super::{Cluster, addresses, service};
use jocko_consensus::{MembershipError, NodeId, Peer};
use jocko_metadata::{Broker, BrokerRegistration, BrokerState, Endpoint, Refusal};
use jocko_net::peers::PeerRefusal;
use jocko_types::ErrorCode;
use std::time::Duration;

/// A broker that has been heard of within this is alive: it beats more often.
const ALIVE: Duration = Duration::from_millis(450);

/// Why a process is not registered now: another one of the same disk is there, and is alive. Two
/// that run on copies of one directory would both take themselves for the same broker.
pub(super) fn duplicate(cluster: &Cluster, asked: &BrokerRegistration) -> Option<Refusal> {
    let published = cluster.published.load_full();
    let mut brokers = published.image.brokers();
    let known = brokers.find(|it| it.registration.directory == asked.directory)?;
    let now = cluster.clock.now();
    let silence = match asked.directory == cluster.node {
        // It does not beat for itself over any wire.
        true => Duration::ZERO,
        false => cluster.sessions.lock().silence(known.id(), known.epoch(), now),
    };
    let address = is_another(known, asked, silence)?;
    let message = format!(
        "Broker {} runs at {address} with this disk: a copy of a data directory is no broker of \
         its own. Stop that one first, or start this one with an empty directory.",
        known.id()
    );
    Some(Refusal { code: ErrorCode::DuplicateBrokerRegistration, message })
}

/// Where the registered process is, if it is alive and another than the one that asks. A port
/// belongs to one process: where both have the same, the one that was registered has ended.
fn is_another(known: &Broker, asked: &BrokerRegistration, silence: Duration) -> Option<String> {
    let at = |endpoints: &[Endpoint]| {
        let found = endpoints.iter().find(|it| it.listener == addresses::PEERS);
        found.map(|it| addresses::joined(&it.host, it.port))
    };
    let is_alive = known.state() == BrokerState::Live && silence < ALIVE;
    let is_other = known.registration.incarnation != asked.incarnation;
    let known_at = at(&known.registration.endpoints)?;
    (is_alive && is_other && Some(&known_at) != at(&asked.endpoints).as_ref()).then_some(known_at)
}

/// Has the node of a broker that asks to be registered be a member. One that was removed and comes
/// back is a member like any other: it may vote again, too.
pub(super) async fn admit(
    cluster: &Cluster,
    asked: &BrokerRegistration,
) -> Result<(), PeerRefusal> {
    let status = cluster.raft.status();
    let node = NodeId::new(asked.directory);
    let is_registered = {
        let published = cluster.published.load();
        let mut brokers = published.image.brokers();
        brokers.any(|it| it.registration.directory == asked.directory)
    };
    let changed = match status.voters.get(&node).or_else(|| status.learners.get(&node)) {
        Some(known) if known.stays_out && !is_registered => {
            cluster.raft.keep_out(node, false).await
        }
        Some(_) => Ok(()),
        None => {
            let is_peers = |it: &&Endpoint| it.listener == addresses::PEERS;
            let Some(at) = asked.endpoints.iter().find(is_peers) else { return Ok(()) };
            let address = addresses::joined(&at.host, at.port);
            tracing::info!(%node, address, "letting a node in again");
            cluster.raft.admit(node, Peer::at(address)).await
        }
    };
    changed.map_err(|error: MembershipError| service::not_ready(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_metadata::{ClusterImage, MetadataRecord, Registration};
    use jocko_types::{BrokerEpoch, BrokerId, Uuid};
    use std::sync::Arc;

    fn at(port: u16) -> Vec<Endpoint> {
        let peers = addresses::peers("127.0.0.1", port);
        vec![Endpoint { listener: "PLAINTEXT".to_owned(), port: 9_092, ..peers.clone() }, peers]
    }

    fn registered(fenced: bool) -> Arc<Broker> {
        let mut image = ClusterImage::default();
        image.apply(&MetadataRecord::RegisterBroker(Registration {
            broker_id: BrokerId::new(3),
            broker_epoch: BrokerEpoch::new(7),
            incarnation: Uuid::from_bytes([1; 16]),
            directory: Uuid::from_bytes([9; 16]),
            endpoints: at(1_001),
            rack: None,
            release: String::new(),
            fenced,
        }));
        Arc::clone(image.broker(BrokerId::new(3)).unwrap())
    }

    fn asks(incarnation: u8, port: u16) -> BrokerRegistration {
        BrokerRegistration {
            broker_id: Some(BrokerId::new(3)),
            cluster_id: None,
            incarnation: Uuid::from_bytes([incarnation; 16]),
            directory: Uuid::from_bytes([9; 16]),
            endpoints: at(port),
            rack: None,
            release: String::new(),
            kept_page_cache: true,
            is_claimed: true,
        }
    }

    #[test]
    fn a_copy_of_a_directory_is_not_registered_while_the_original_lives() {
        let (live, heard) = (registered(false), Duration::from_millis(300));
        let original = Some("127.0.0.1:1001".to_owned());
        assert_eq!(is_another(&live, &asks(2, 1_002), heard), original);
        // The same process asks again; or a new one on its port, which was free.
        assert_eq!(is_another(&live, &asks(1, 1_001), heard), None);
        assert_eq!(is_another(&live, &asks(2, 1_001), heard), None);
        // It has missed a beat, or is known to be gone.
        assert_eq!(is_another(&live, &asks(2, 1_002), ALIVE), None);
        assert_eq!(is_another(&registered(true), &asks(2, 1_002), heard), None);
    }
}
