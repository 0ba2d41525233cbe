//! How a broker gets into its cluster: alone it forms one at once, as it always has; among others it
//! forms or joins one with them, and is registered by whoever leads.

use crate::cluster::{
    self, AddressBook, Cluster, Doors, FORMING_FILE, Forwarding, Parts, RaftOverPeers, Waiting,
    addresses,
};
use crate::controller::{ControllerHandle, ControllerLoop, Undecided};
use crate::data_dir::SharedDataDir;
use crate::disk_guard::DiskGuard;
use crate::disk_health::DiskHealth;
use crate::listen::{self, Http, KafkaDoors};
use crate::published::Published;
use crate::publisher::Publisher;
use crate::start::StartError;
use crate::world::World;
use arc_swap::ArcSwap;
use bytes::Bytes;
use jocko_commitlog::data_dir::{Identity, META};
use jocko_config::LoadedSettings;
use jocko_consensus::{NodeId, Peer, Raft, RaftConfig};
use jocko_discovery::Member;
use jocko_disk::DiskRef;
use jocko_forming::{Action, Envelope};
use jocko_metadata::{
    Answer, BrokerRegistration, Command, Endpoint, RegisteredBroker, Reply, bootstrap, encode_entry,
};
use jocko_net::peers::{OwnIdentity, PeerIdentity, PeerServer, PeerSettings, Peers};
use jocko_net::ports::{SpawnRef, spawn};
use jocko_types::{BrokerEpoch, BrokerId, ErrorCode, Uuid};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::random_uuid;

/// The Raft log's folder in the data directory.
const METADATA_FOLDER: &str = "__cluster_metadata-0";
/// How long a lone voter may take to elect itself before something is wrong.
const ELECTION_MAX: Duration = Duration::from_secs(30);
/// How long a number that seems to be another disk's is asked for: that broker may just have been
/// replaced by this one.
const DUPLICATE_MAX: Duration = Duration::from_secs(10);
/// The pause before a registration is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// What an entry stands on.
pub(crate) struct Ground<'g> {
    pub(crate) settings: &'g Arc<LoadedSettings>,
    pub(crate) disk: &'g DiskRef,
    pub(crate) root: &'g Path,
    pub(crate) world: &'g World,
    pub(crate) waiting: &'g Waiting,
    pub(crate) data_dir: &'g SharedDataDir,
    pub(crate) identity: Identity,
    pub(crate) guard: &'g Arc<DiskGuard>,
    pub(crate) health: &'g Arc<DiskHealth>,
    /// Whether all that the last processes wrote is still there, synced or not.
    pub(crate) kept_page_cache: bool,
    pub(crate) published: &'g Arc<ArcSwap<Published>>,
}

/// A broker that is in.
pub(crate) struct Entered {
    pub(crate) raft: Raft,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) controller: ControllerHandle,
    pub(crate) cluster_id: Uuid,
    pub(crate) node_id: BrokerId,
    pub(crate) broker_epoch: BrokerEpoch,
    pub(crate) kafka: KafkaDoors,
    pub(crate) peer_server: Option<PeerServer>,
    /// Forming messages, where nobody takes them yet.
    pub(crate) inbox: Option<mpsc::Receiver<Envelope>>,
    /// Where it said what it waited for, if it had to wait.
    pub(crate) lobby: Option<Http>,
}

/// The number this directory has, or gets if it founds a cluster alone; `None` where a controller
/// gives it one.
pub(crate) fn own_number(settings: &LoadedSettings, identity: &Identity) -> Option<BrokerId> {
    let settings = settings.settings();
    let alone = || {
        let wanted = settings.node.id.set().map_or(BrokerId::new(1), |id| id.0);
        (!settings.expects_peers()).then_some(wanted)
    };
    let owned = identity.owner.map(|(_, node_id)| node_id);
    // A number that is set beside another that the directory has is refused by its claim.
    settings.node.id.set().map(|id| id.0).filter(|_| owned.is_some()).or(owned).or_else(alone)
}

/// Starts Raft and gets this broker in. Waits as long as that takes, and says for what.
pub(crate) async fn enter(
    ground: &Ground<'_>,
    publisher: Publisher,
) -> Result<Entered, StartError> {
    let settings = ground.settings.settings();
    let (directory, owner) = (ground.identity.directory_id, ground.identity.owner);
    // Whoever has to wait for others says so; alone, a broker is ready before anybody asks.
    let open_lobby = || listen::serve_lobby(ground.settings, ground.waiting);
    let lobby = settings.expects_peers().then(open_lobby).transpose()?;
    // Before anybody hears of this broker: what it registered would stay when it is refused.
    if let (Some((cluster_id, _)), Some(wanted)) = (owner, settings.node.id.set()) {
        ground.data_dir.with(|it| it.claim(cluster_id, wanted.0)).transpose()?;
    }
    let doors = Doors::reserve(&*ground.world.ports.net, settings, !settings.expects_peers())?;
    let kafka = KafkaDoors::reserve(&*ground.world.ports.net, ground.settings)?;
    let host = addresses::own_host(settings);
    let told = cluster::told(&host, doors.as_ref());
    // A directory that is settled in a cluster belongs to it, before it has a number there, too.
    let cluster_id = match owner {
        Some((cluster_id, _)) => Some(cluster_id),
        None => cluster::settled_in(ground.disk, ground.root)?,
    };
    let identity = OwnIdentity::new(PeerIdentity { node: directory, cluster_id });
    let peer_settings = cluster::peer_settings(settings, identity.clone(), &ground.world.chance);
    let peers = Peers::start(&ground.world.ports.net, peer_settings.clone());
    let book = AddressBook::default();
    let network = RaftOverPeers { peers: peers.clone(), book: book.clone() };
    let raft = start_raft(ground, &told, publisher, network).await?;
    refuse_anothers_log(ground, &raft, cluster_id)?;
    let is_alone = is_alone(ground, &raft)?;
    // Its settings may name nobody where its log does.
    let lobby = if is_alone || lobby.is_some() { lobby } else { Some(open_lobby()?) };
    cluster::refuse_copy(&raft, &peers, directory, &told).await?;
    cluster::warn_if_unreachable(&raft, directory, &told);
    let mut endpoints: Vec<Endpoint> =
        addresses::clients(settings, &kafka.addresses, &host).into_iter().collect();
    let kafka_address = endpoints.first().map(|it| addresses::joined(&it.host, it.port));
    let me = described(ground, cluster_id, told, kafka_address.unwrap_or_default());
    let (cluster, inbox) = Cluster::new(Parts {
        me,
        identity,
        peers,
        book,
        raft: raft.clone(),
        published: Arc::clone(ground.published),
        clock: Arc::clone(&ground.world.ports.clock),
        gathering: ground.world.gathering.clone(),
        waiting: ground.waiting.clone(),
        health: Arc::clone(ground.health),
    });
    let controller = start_controller(ground, &cluster);
    let peer_server = open(ground, &cluster, peer_settings, (doors.as_ref(), is_alone))?;
    let port = peer_server.as_ref().map(|server| server.address().port());
    endpoints.extend(port.map(|port| addresses::peers(&host, port)));
    let way = Way { ground, raft: &raft, cluster: &cluster, controller: &controller, endpoints };
    let (registered, cluster_id, inbox) = if is_alone {
        let (registered, cluster_id) = way.alone().await?;
        (registered, cluster_id, Some(inbox))
    } else {
        let (registered, cluster_id) = way.among_others(inbox).await?;
        (registered, cluster_id, None)
    };
    let RegisteredBroker { broker_id: node_id, broker_epoch } = registered;
    cluster.is_broker(node_id);
    Ok(Entered {
        raft,
        cluster,
        controller,
        cluster_id,
        node_id,
        broker_epoch,
        kafka,
        peer_server,
        inbox,
        lobby,
    })
}

/// Lets commands be decided, here or by whoever leads.
fn start_controller(ground: &Ground<'_>, cluster: &Cluster) -> ControllerHandle {
    let Cluster { raft, peers, book, published, clock, .. } = cluster;
    let forwarding = Forwarding { raft: raft.clone(), peers: peers.clone(), book: book.clone() };
    let (deciding, controller) = ControllerLoop::new(
        raft.clone(),
        Arc::clone(published),
        Arc::clone(ground.settings),
        Arc::clone(clock),
        Arc::clone(ground.guard),
        Some(forwarding),
    );
    spawn(deciding.run());
    cluster.serve_commands(controller.clone());
    controller
}

/// This broker as others are told of it.
fn described(
    ground: &Ground<'_>,
    cluster_id: Option<Uuid>,
    cluster_address: String,
    kafka_address: String,
) -> Member {
    let settings = ground.settings.settings();
    Member {
        node: ground.identity.directory_id,
        broker_id: ground.identity.owner.map(|(_, id)| id),
        cluster_address,
        kafka_address,
        rack: Some(settings.node.rack.clone()).filter(|rack| !rack.is_empty()),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        cluster_id,
        expect: settings.cluster.expect.get(),
    }
}

/// Opens the cluster port. A broker that is alone goes without where somebody else was quicker,
/// unless a person named the port.
fn open(
    ground: &Ground<'_>,
    cluster: &Arc<Cluster>,
    peer_settings: PeerSettings,
    (doors, is_alone): (Option<&Doors>, bool),
) -> Result<Option<PeerServer>, StartError> {
    let is_wish = is_alone && ground.settings.settings().listen.cluster.explicit().is_none();
    let opened =
        doors.map(|doors| cluster::listen(cluster, &ground.world.ports.net, peer_settings, doors));
    match opened {
        Some(Ok(server)) => Ok(Some(server)),
        Some(Err(_)) if is_wish => {
            cluster.announce(|me| me.cluster_address.clear());
            Ok(None)
        }
        Some(Err(error)) => Err(error),
        None if is_alone => Ok(None),
        None => {
            let words = "other brokers belong to its cluster, and listen.cluster is none";
            Err(StartError::NotReady(words.to_owned()))
        }
    }
}

/// Whether this node is, or shall be, the only voter: then nobody has to be waited for.
fn is_alone(ground: &Ground<'_>, raft: &Raft) -> Result<bool, StartError> {
    if !raft.is_blank() {
        return Ok(raft.voters_found().iter().eq([&NodeId::new(ground.identity.directory_id)]));
    }
    let expects_peers = ground.settings.settings().expects_peers();
    if expects_peers && let Some((cluster_id, node_id)) = ground.identity.owner {
        let words = format!(
            "{} says it is broker {node_id} of cluster {cluster_id}, and the metadata log that \
             belongs to it is gone: restore {METADATA_FOLDER}, or start with another node.data_dir",
            ground.root.join(META).display()
        );
        return Err(StartError::NotReady(words));
    }
    let path = ground.root.join(FORMING_FILE);
    if !expects_peers && ground.disk.exists(&path)? {
        let words = format!(
            "{} says that this broker agreed to be part of a cluster: start it with the \
             cluster.join and cluster.expect it had then, or remove that file if no such cluster \
             was ever formed",
            path.display()
        );
        return Err(StartError::NotReady(words));
    }
    Ok(!expects_peers)
}

async fn start_raft(
    ground: &Ground<'_>,
    told: &str,
    publisher: Publisher,
    network: RaftOverPeers,
) -> Result<Raft, StartError> {
    let directory_id = ground.identity.directory_id;
    let node = NodeId::new(directory_id);
    // A broker that is alone and has no cluster port is reached by nobody.
    let peer = if told.is_empty() { "localhost:9093" } else { told };
    let config = RaftConfig::new(node, Peer::at(peer), ground.root.join(METADATA_FOLDER));
    let raft = Raft::start(
        config,
        Arc::clone(ground.disk),
        Arc::clone(&ground.world.ports.spawn),
        Box::new(publisher),
        Arc::new(network),
    )
    .await?;
    Ok(raft)
}

/// A node that its own log does not know would never hear of anybody. A newcomer may be one that
/// ended before it had the entry that let it in; it asks again.
fn refuse_anothers_log(
    ground: &Ground<'_>,
    raft: &Raft,
    cluster_id: Option<Uuid>,
) -> Result<(), StartError> {
    let is_newcomer = ground.identity.owner.is_none() && cluster_id.is_some();
    if is_newcomer || raft.is_blank() || is_known(ground, raft) {
        return Ok(());
    }
    Err(StartError::Mismatched {
        meta: ground.root.join(META),
        directory_id: ground.identity.directory_id,
        voters: raft.voters_found().iter().map(|voter| voter.directory_id()).collect(),
    })
}

/// Whether the log of this node says that it is a member.
fn is_known(ground: &Ground<'_>, raft: &Raft) -> bool {
    let node = NodeId::new(ground.identity.directory_id);
    let voters = raft.voters_found();
    voters.is_empty() || voters.contains(&node) || raft.status().learners.contains_key(&node)
}

/// The two ways in.
struct Way<'w> {
    ground: &'w Ground<'w>,
    raft: &'w Raft,
    cluster: &'w Arc<Cluster>,
    controller: &'w ControllerHandle,
    endpoints: Vec<Endpoint>,
}

impl Way<'_> {
    /// As the only voter of a group, which is made if there is none.
    async fn alone(self) -> Result<(RegisteredBroker, Uuid), StartError> {
        if self.raft.is_blank() {
            self.raft.bootstrap_single().await?;
        } else if !self.ground.settings.settings().cluster.join.is_empty() {
            cluster::see_others(self.cluster, self.ground.settings.settings()).await?;
            cluster::refuse_foreigners_soon(self.cluster).await?;
        }
        let mut status = self.raft.watch();
        let serving = status.wait_for(|status| status.is_serving || status.fatal.is_some());
        match timeout(ELECTION_MAX, serving).await {
            Ok(Some(status)) if status.is_serving => {}
            Ok(Some(status)) => {
                let words = status.fatal.as_deref().unwrap_or("it ended").to_owned();
                return Err(StartError::NotReady(words));
            }
            Ok(None) => return Err(StartError::NotReady("it ended".to_owned())),
            Err(_) => {
                return Err(StartError::NotReady(format!("no leader within {ELECTION_MAX:?}")));
            }
        }
        let cluster_id = self.form_alone().await?;
        self.cluster.belongs_to(cluster_id);
        let node_id = own_number(self.ground.settings, &self.ground.identity);
        // Brokers were expected once, and this one alone founded the cluster before they came.
        let node_id = node_id.or(self.ground.settings.settings().node.id.set().map(|id| id.0));
        let node_id = node_id.unwrap_or(BrokerId::new(1));
        self.ground.data_dir.with(|it| it.claim(cluster_id, node_id)).transpose()?;
        let undecided = |Undecided(code)| StartError::Refused(code.to_string());
        let registered = self.register(Some(node_id), cluster_id).await.map_err(undecided)?;
        let registered = registered.map_err(|refusal| StartError::Refused(refusal.message))?;
        let unfenced = self.unfence(registered).await.map_err(undecided)?;
        unfenced.map_err(|refusal| StartError::Refused(refusal.message))?;
        Ok((registered, cluster_id))
    }

    /// The cluster's id; a blank node forms a cluster of its own first.
    async fn form_alone(&self) -> Result<Uuid, StartError> {
        if let Some(id) = self.ground.published.load().image.cluster_id() {
            return Ok(id);
        }
        let id = self.cluster.identity.get().cluster_id.unwrap_or_else(random_uuid);
        let records = bootstrap(id, self.ground.world.ports.clock.wall(), 1);
        self.raft
            .propose(Bytes::from(encode_entry(&records)))
            .await
            .map_err(|error| StartError::NotReady(error.to_string()))?;
        Ok(id)
    }

    /// With others: a cluster is formed or joined, or gone back to.
    async fn among_others(
        self,
        inbox: mpsc::Receiver<Envelope>,
    ) -> Result<(RegisteredBroker, Uuid), StartError> {
        let Ground { settings, disk, root, world, identity, .. } = self.ground;
        cluster::see_others(self.cluster, settings.settings()).await?;
        let place = (*disk, *root, &world.ports.spawn);
        if self.raft.is_blank() {
            let mut outcome =
                cluster::begin_forming(self.cluster, settings.settings(), place, inbox)?;
            let lost = |_| StartError::NotReady("the forming of the cluster ended".to_owned());
            let action = outcome.wait_for(Option::is_some).await.map_err(lost)?.clone();
            if let Some(action) = action {
                cluster::enter(self.cluster, &action).await?;
            }
        } else {
            cluster::go_on_forming(self.cluster, place, inbox)?;
            if let Some(cluster) = self.cluster.identity.get().cluster_id
                && !is_known(self.ground, self.raft)
            {
                cluster::enter(self.cluster, &Action::Join { cluster }).await?;
            }
        }
        let wanted = settings.settings().node.id.set().map(|id| id.0);
        let wanted = wanted.or(identity.owner.map(|(_, node_id)| node_id));
        let (registered, cluster_id) = tokio::select! {
            biased;
            entered = self.be_registered(wanted) => entered?,
            never = cluster::look_for_voters(self.cluster) => match never {},
        };
        tracing::info!(%cluster_id, broker_id = %registered.broker_id, "is part of the cluster");
        Ok((registered, cluster_id))
    }

    /// Is registered, and may lead.
    async fn be_registered(
        &self,
        mut wanted: Option<BrokerId>,
    ) -> Result<(RegisteredBroker, Uuid), StartError> {
        loop {
            let registered = self.register_somewhere(wanted).await?;
            let cluster_id = self.claim(registered).await?;
            // Its directory says so from now on, whatever becomes of this registration.
            wanted = Some(registered.broker_id);
            if self.unfence_somewhere(registered).await? {
                return Ok((registered, cluster_id));
            }
        }
    }

    /// Notes on the disk whose directory this is. From then on its log has to know this node, after a
    /// power cut as well.
    async fn claim(&self, registered: RegisteredBroker) -> Result<Uuid, StartError> {
        let cluster_id = self.ground.published.load().image.cluster_id();
        let cluster_id =
            cluster_id.ok_or_else(|| StartError::NotReady("its log has no cluster".to_owned()))?;
        self.raft.flush().await?;
        let claimed = self.ground.data_dir.with(|it| it.claim(cluster_id, registered.broker_id));
        claimed.transpose()?;
        self.cluster.belongs_to(cluster_id);
        Ok(cluster_id)
    }

    /// Has whoever leads register this broker, however long that takes to find.
    async fn register_somewhere(
        &self,
        wanted: Option<BrokerId>,
    ) -> Result<RegisteredBroker, StartError> {
        let mut refused_since = None;
        loop {
            cluster::hold_election(self.cluster).await?;
            let Some(cluster_id) = self.cluster.identity.get().cluster_id else {
                return Err(StartError::NotReady("its directory knows no cluster".to_owned()));
            };
            self.cluster.waiting.is_for("waiting for the controller to register this broker");
            match self.register(wanted, cluster_id).await {
                Ok(Ok(registered)) => return Ok(registered),
                Ok(Err(refusal))
                    if refusal.code == ErrorCode::DuplicateBrokerRegistration
                        && refused_since.get_or_insert_with(Instant::now).elapsed()
                            < DUPLICATE_MAX =>
                {
                    if self.cluster.waiting.is_for(&refusal.message) {
                        tracing::warn!(wait = ?DUPLICATE_MAX, "{}", refusal.message);
                    }
                }
                Ok(Err(refusal)) => return Err(StartError::Refused(refusal.message)),
                Err(Undecided(code)) => {
                    tracing::info!(%code, "waiting for the controller to register this broker");
                    // The leader that its log knows may lead no more, and the next not know it.
                    let words = cluster::ask_members(self.cluster, cluster_id).await;
                    cluster::still_waits(self.cluster, &words);
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn register(
        &self,
        broker_id: Option<BrokerId>,
        cluster_id: Uuid,
    ) -> Result<Answer<RegisteredBroker>, Undecided> {
        let me = self.cluster.me();
        let owner = self.ground.data_dir.with(|it| it.identity().owner).flatten();
        let registration = BrokerRegistration {
            broker_id,
            cluster_id: Some(cluster_id),
            incarnation: random_uuid(),
            directory: self.ground.identity.directory_id,
            endpoints: self.endpoints.clone(),
            rack: me.rack,
            release: me.release,
            kept_page_cache: self.ground.kept_page_cache,
            is_claimed: owner.is_some(),
        };
        match self.controller.submit(Command::RegisterBroker(registration)).await? {
            Reply::RegisterBroker(answer) => Ok(answer),
            _ => unreachable!("each command has its own kind of reply"),
        }
    }

    /// Lets this broker lead: its image shows all that was committed when it was registered.
    async fn unfence(&self, registered: RegisteredBroker) -> Result<Answer<()>, Undecided> {
        let heartbeat = Command::BrokerHeartbeat {
            broker_id: registered.broker_id,
            broker_epoch: registered.broker_epoch,
            want_fence: false,
            want_shutdown: false,
        };
        match self.controller.submit(heartbeat).await? {
            Reply::BrokerHeartbeat(answer) => Ok(answer.map(drop)),
            _ => unreachable!("each command has its own kind of reply"),
        }
    }

    /// The same, however long it takes somebody to lead. `false` if this process is registered so
    /// no more.
    async fn unfence_somewhere(&self, registered: RegisteredBroker) -> Result<bool, StartError> {
        loop {
            match self.unfence(registered).await {
                Ok(Ok(())) => return Ok(true),
                Ok(Err(refusal)) => {
                    return match refusal.code {
                        ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered => Ok(false),
                        _ => Err(StartError::Refused(refusal.message)),
                    };
                }
                Err(Undecided(code)) => {
                    tracing::info!(%code, "waiting for the controller to let this broker lead");
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// A broker that is alone lets others find it, if its ports are free; one among others does already.
pub(crate) async fn open_to_others(
    cluster: Arc<Cluster>,
    (settings, disk, spawn): (Arc<LoadedSettings>, DiskRef, SpawnRef),
    inbox: Option<mpsc::Receiver<Envelope>>,
) {
    let settings = settings.settings();
    let Some(inbox) = inbox else { return };
    // Whoever cannot be called need not be found.
    if cluster.me().cluster_address.is_empty() {
        return;
    }
    if cluster.discovery().is_none()
        && let Err(error) = cluster::see_others(&cluster, settings).await
    {
        tracing::debug!(%error, "this broker is not found by gossip");
        return;
    }
    let place = (&disk, settings.node.data_dir.as_path(), &spawn);
    if let Err(error) = cluster::go_on_forming(&cluster, place, inbox) {
        tracing::warn!(%error, "this broker does not answer those who form a cluster");
    }
}
