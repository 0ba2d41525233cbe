//! Opens the ways to others: the cluster port, discovery, and the forming over both.

use super::former::Former;
use super::{Cluster, ClusterService, addresses, seeking, who};
use crate::start::StartError;
use jocko_config::{HostPort, Settings};
use jocko_consensus::{NodeId, Raft};
use jocko_discovery::{Discovery, GossipSettings, SeedSettings, SerfDiscovery, StaticSeeds};
use jocko_disk::{DiskRef, Slots};
use jocko_forming::{Action, Bound, Envelope, Forming, Seat};
use jocko_net::peers::{Chance, OwnIdentity, PeerServer, PeerSettings, Peers, Secret};
use jocko_net::ports::{Net, NetRef, Reserved, SpawnRef};
use jocko_types::Uuid;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// The record of the forming, in the data directory.
pub(crate) const FORMING_FILE: &str = "forming";
/// How long the addresses of the settings may take to lead to others, before those are asked that the
/// log knows.
const JOIN_FIRST: Duration = Duration::from_secs(5);
/// How long a look for the original of a copied directory may take.
const COPY_MAX: Duration = Duration::from_secs(1);

/// How peers are talked to.
pub(crate) fn peer_settings(
    settings: &Settings,
    identity: OwnIdentity,
    chance: &Chance,
) -> PeerSettings {
    let secret = Secret::new(settings.cluster.secret.expose());
    let secret_accepted = Secret::new(settings.cluster.secret_accepted.expose());
    let chance = chance.clone();
    PeerSettings { secret, secret_accepted, chance, ..PeerSettings::new(identity) }
}

/// A cluster port that is reserved: bound to its address, open for nobody yet.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Where peers are to come; held until the port is opened, so that nobody else takes it.
    reserved: Reserved,
}

impl Doors {
    /// Reserves the cluster port. A broker that is alone goes without where it is taken, unless
    /// somebody asked for it by name.
    pub(crate) fn reserve(
        net: &dyn Net,
        settings: &Settings,
        is_alone: bool,
    ) -> Result<Option<Self>, StartError> {
        let Some(address) = settings.cluster_address() else { return Ok(None) };
        let is_wish = settings.listen.cluster.explicit().is_none() && is_alone;
        match resolve(&address).and_then(|address| net.reserve(address)) {
            Ok(reserved) => Ok(Some(Self { reserved })),
            Err(_) if is_wish => Ok(None),
            Err(source) => Err(StartError::Listen { address: address.to_string(), source }),
        }
    }
}

fn resolve(address: &HostPort) -> io::Result<SocketAddr> {
    if address.host.is_empty() {
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port)));
    }
    let mut found = (address.host.as_str(), address.port).to_socket_addrs()?;
    found.next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Opens the cluster port.
pub(crate) fn listen(
    cluster: &Arc<Cluster>,
    net: &NetRef,
    settings: PeerSettings,
    doors: &Doors,
) -> Result<PeerServer, StartError> {
    let service = Arc::new(ClusterService(Arc::clone(cluster)));
    let address = doors.reserved.address;
    PeerServer::start(net, address, settings, service)
        .map_err(|source| StartError::Listen { address: address.to_string(), source })
}

/// Begins to look for others, and keeps the address book.
pub(crate) async fn see_others(
    cluster: &Arc<Cluster>,
    settings: &Settings,
) -> Result<(), StartError> {
    let discovery: Arc<dyn Discovery> = match (&cluster.gathering, GossipSettings::of(settings)) {
        (Some(gathering), _) => Arc::new(gathering.enter(cluster.me())),
        (None, Some(gossip)) => {
            let started = SerfDiscovery::start(gossip, cluster.me()).await;
            Arc::new(started.map_err(|error| StartError::Gossip(error.to_string()))?)
        }
        (None, None) => {
            let known = seeking::seeds(cluster);
            let seeds = settings.join_addresses().into_iter().chain(known).collect();
            let seeds = SeedSettings::new(seeds);
            Arc::new(StaticSeeds::start(seeds, cluster.node, who::probe(cluster.peers.clone())))
        }
    };
    let (book, mut seen) = (cluster.book.clone(), discovery.changed());
    jocko_net::ports::spawn(async move {
        loop {
            let members = Arc::clone(&seen.borrow_and_update());
            book.note(members.iter().map(|it| (it.node, it.cluster_address.clone())));
            if seen.changed().await.is_err() {
                return;
            }
        }
    });
    let patience = if settings.cluster.join.is_empty() { Duration::ZERO } else { JOIN_FIRST };
    let is_sought = discovery.address().is_some();
    // Set once, at the start.
    cluster.waiting.looks_with(Arc::clone(&discovery));
    let _ = cluster.discovery.set(discovery);
    if is_sought {
        jocko_net::ports::spawn(seeking::seek(Arc::downgrade(cluster), patience));
    }
    Ok(())
}

/// Begins to form or find a cluster, from what the disk says was agreed to before.
///
/// # Errors
/// The record cannot be read or made.
pub(crate) fn begin_forming(
    cluster: &Arc<Cluster>,
    settings: &Settings,
    (disk, root, spawn): (&DiskRef, &Path, &SpawnRef),
    inbox: mpsc::Receiver<Envelope>,
) -> Result<watch::Receiver<Option<Action>>, StartError> {
    let path = root.join(FORMING_FILE);
    let (slots, stored) = Slots::open(disk.as_ref(), &path, &Bound::Free.to_bytes())?;
    let bound = Bound::from_bytes(&stored.payload)
        .map_err(|error| StartError::NotReady(format!("{}: {error}", path.display())))?;
    let expect = settings.cluster.expect.get();
    let expect = (expect > 1 || settings.cluster.join.is_empty()).then_some(expect);
    let slots = Some(Arc::new(Mutex::new(slots)));
    Ok(start(cluster, expect, bound, slots, (spawn, inbox)))
}

/// The cluster that this directory has agreed to belong to for good, if there is one.
///
/// # Errors
/// The record cannot be read.
pub(crate) fn settled_in(disk: &DiskRef, root: &Path) -> Result<Option<Uuid>, StartError> {
    Ok(match recorded(disk, root)? {
        Some(Bound::Settled { cluster, .. }) => Some(cluster),
        Some(Bound::Free | Bound::Pledged(_)) | None => None,
    })
}

/// What the record of the forming says, where there is one.
fn recorded(disk: &DiskRef, root: &Path) -> Result<Option<Bound>, StartError> {
    let path = root.join(FORMING_FILE);
    if !disk.exists(&path)? {
        return Ok(None);
    }
    let (_, stored) = Slots::open(disk.as_ref(), &path, &Bound::Free.to_bytes())?;
    let bound = Bound::from_bytes(&stored.payload)
        .map_err(|error| StartError::NotReady(format!("{}: {error}", path.display())))?;
    Ok(Some(bound))
}

/// Answers those who still form, as a member of a cluster.
pub(crate) fn go_on_forming(
    cluster: &Arc<Cluster>,
    (disk, root, spawn): (&DiskRef, &Path, &SpawnRef),
    inbox: mpsc::Receiver<Envelope>,
) -> Result<(), StartError> {
    let Some(id) = cluster.identity.get().cluster_id else { return Ok(()) };
    let bound = match recorded(disk, root)? {
        Some(settled @ Bound::Settled { .. }) => settled,
        Some(Bound::Free | Bound::Pledged(_)) | None => {
            Bound::Settled { cluster: id, proposal: None }
        }
    };
    start(cluster, None, bound, None, (spawn, inbox));
    Ok(())
}

fn start(
    cluster: &Arc<Cluster>,
    expect: Option<u32>,
    bound: Bound,
    slots: Option<Arc<Mutex<Slots>>>,
    (spawn, inbox): (&SpawnRef, mpsc::Receiver<Envelope>),
) -> watch::Receiver<Option<Action>> {
    let seat = Seat { node: cluster.node, address: cluster.me().cluster_address };
    let settings = jocko_forming::Settings { me: seat, expect };
    let (machine, first) = Forming::start(settings, bound, cluster.clock.now());
    let (outcome, decided) = watch::channel(None);
    let (cluster, spawn) = (Arc::clone(cluster), Arc::clone(spawn));
    let former = Former { cluster, machine, slots, spawn, inbox, outcome };
    jocko_net::ports::spawn(former.run(first));
    decided
}

/// A copy of a data directory takes itself for the node that it was copied from. Where that one
/// still answers at the address the log has for it, this one may not begin: the two would speak
/// to the others, and be spoken to, as one.
///
/// # Errors
/// [`StartError::Copy`].
pub(crate) async fn refuse_copy(
    raft: &Raft,
    peers: &Peers,
    node: Uuid,
    told: &str,
) -> Result<(), StartError> {
    let status = raft.status();
    let mut members = status.voters.iter().chain(&status.learners);
    let own = NodeId::new(node);
    let Some((_, known)) = members.find(|(id, _)| **id == own) else { return Ok(()) };
    // Whoever listens there now has that port for itself; and who is alone has told nobody.
    if known.address == told || status.voters.len() + status.learners.len() <= 1 {
        return Ok(());
    }
    let who = who::probe(peers.clone())(known.address.clone());
    match timeout(COPY_MAX, who).await {
        Ok(Ok(member)) if member.node == node => {
            Err(StartError::Copy { address: known.address.clone(), directory_id: node })
        }
        _ => Ok(()),
    }
}

/// Where others cannot reach this broker, what is to be done about it: it has company on other machines,
/// by its log, and tells an address of its own machine. That happens to one of several that is started
/// again without the addresses it had.
pub(crate) fn warn_if_unreachable(raft: &Raft, node: Uuid, told: &str) {
    let status = raft.status();
    let members = status.voters.iter().chain(&status.learners);
    let others = members.filter(|(id, _)| id.directory_id() != node);
    let others = others.map(|(_, peer)| peer.address.as_str());
    if let Some(away) = beyond_reach(told, others) {
        tracing::warn!(
            "others of its cluster are on other machines, as {away}, and cannot reach this broker at \
             {told}: start it with the listen.cluster, listen.gossip and listen.kafka, or the \
             cluster.join, that it had"
        );
    }
}

/// One of the others that is not on this machine, where this broker tells an address that is for it
/// alone.
fn beyond_reach<'o>(told: &str, mut others: impl Iterator<Item = &'o str>) -> Option<&'o str> {
    let is_loopback = |address: &str| {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
    };
    others.find(|other| is_loopback(told) && !is_loopback(other))
}

/// `host:port` of the cluster port as others are told it.
pub(crate) fn told(host: &str, doors: Option<&Doors>) -> String {
    doors.map_or_else(String::new, |doors| addresses::joined(host, doors.reserved.address.port()))
}

#[cfg(test)]
mod tests {
    use super::beyond_reach;

    #[test]
    fn only_an_address_for_this_machine_alone_is_out_of_reach() {
        for (told, others, expect) in [
            ("127.0.0.1:9093", &["127.0.0.2:9093", "10.0.0.2:9093"][..], Some("10.0.0.2:9093")),
            ("localhost:9093", &["node2:9093"], Some("node2:9093")),
            ("[::1]:9093", &["[fd00::2]:9093"], Some("[fd00::2]:9093")),
            ("127.0.0.1:9093", &["localhost:1", "[::1]:2"], None),
            ("10.0.0.1:9093", &["10.0.0.2:9093"], None),
            ("", &["10.0.0.2:9093"], None),
        ] {
            assert_eq!(beyond_reach(told, others.iter().copied()), expect, "{told}");
        }
    }
}
